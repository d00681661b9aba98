//! A workflow as nodes and edges.
//!
//! For: drawings. Not for: scheduling (that is `Step::needs`).
//! Invariant: nodes come in the order of the source, a group before its steps; edges are sorted; texts from the
//! source are escaped for the language that they are put into.

use std::fmt::Write as _;

use consort_workflow::{Action, BlockId, Definition, Step, Template, TextPart, Wait};
use serde::Serialize;
use serde_json::Value;

/// A step in a drawing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Node {
    /// Step names from the root, joined by `/`.
    pub path: String,
    /// The step's name.
    pub name: String,
    /// The kind of its action, as [`Action::kind`] says.
    pub kind: &'static str,
    /// What it calls, waits for or asks; empty for a group.
    pub target: String,
    /// How often and when: `for each, 8 at once`, `repeat up to 3`, `if …`.
    pub notes: Vec<String>,
    /// The group that contains it, by position in [`Graph::nodes`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<usize>,
}

impl Node {
    fn of(step: &Step, parent: Option<(usize, &Self)>) -> Self {
        let path = parent.map_or_else(|| step.name.clone(), |(_, group)| format!("{}/{}", group.path, step.name));
        Self {
            path,
            name: step.name.clone(),
            kind: step.action.kind(),
            target: target(&step.action),
            notes: notes(step),
            parent: parent.map(|(at, _)| at),
        }
    }

    /// Whether there are steps inside of it.
    fn is_group(&self) -> bool {
        matches!(self.kind, "group" | "consensus")
    }

    /// The lines of a box: name, target, notes.
    fn lines(&self) -> Vec<String> {
        let what = match self.kind {
            "call" | "group" => self.target.clone(),
            kind => format!("{kind} {}", self.target),
        };
        let lines = [vec![self.name.clone(), what], self.notes.clone()].concat();
        lines.into_iter().filter(|line| !line.is_empty()).collect()
    }
}

/// Nodes and edges of a definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Graph {
    /// The workflow's name.
    pub name: String,
    /// Every step, a group before the steps inside it.
    pub nodes: Vec<Node>,
    /// From the needed step to the one that needs it, as positions in `nodes`.
    pub edges: Vec<(usize, usize)>,
}

impl Graph {
    /// The graph of a definition.
    pub fn of(definition: &Definition) -> Self {
        let mut graph = Self { name: definition.name.clone(), nodes: Vec::new(), edges: Vec::new() };
        graph.add_block(definition, BlockId::ROOT, None);
        graph.edges.sort_unstable();
        graph
    }

    /// Recursion is as deep as groups are nested, which `limits::WORKFLOW_DEPTH_MAX` bounds.
    fn add_block(&mut self, definition: &Definition, id: BlockId, parent: Option<usize>) {
        let steps = &definition.block(id).steps;
        let mut places = Vec::with_capacity(steps.len());
        for step in steps {
            let at = self.nodes.len();
            places.push(at);
            let node = Node::of(step, parent.map(|group| (group, &self.nodes[group])));
            self.nodes.push(node);
            if let Some(inner) = step.action.block() {
                self.add_block(definition, inner, Some(at));
            }
        }
        for (at, step) in steps.iter().enumerate() {
            self.edges.extend(step.needs.iter().map(|needed| (places[*needed], places[at])));
        }
    }

    fn children(&self, parent: Option<usize>) -> Vec<usize> {
        (0..self.nodes.len()).filter(|at| self.nodes[*at].parent == parent).collect()
    }

    /// Mermaid flowchart text.
    pub fn mermaid(&self) -> String {
        let mut text = "flowchart TD\n".to_owned();
        self.draw(
            None,
            1,
            &mut text,
            &|node, at, pad| {
                let label = node.lines().iter().map(|line| mermaid_text(line)).collect::<Vec<_>>().join("<br/>");
                match node.kind {
                    "group" | "consensus" => format!("{pad}subgraph n{at}[\"{label}\"]\n"),
                    "wait" => format!("{pad}n{at}([\"{label}\"])\n"),
                    "approve" => format!("{pad}n{at}{{{{\"{label}\"}}}}\n"),
                    _ => format!("{pad}n{at}[\"{label}\"]\n"),
                }
            },
            "end",
        );
        for (from, to) in &self.edges {
            let _ = writeln!(text, "  n{from} --> n{to}");
        }
        text
    }

    /// Graphviz DOT text.
    pub fn dot(&self) -> String {
        let mut text = format!("digraph \"{}\" {{\n  compound=true;\n  node [shape=box];\n", dot_text(&self.name));
        self.draw(None, 1, &mut text, &|node, at, pad| {
            let label = node.lines().iter().map(|line| dot_text(line)).collect::<Vec<_>>().join("\\n");
            match node.kind {
                "group" | "consensus" => format!("{pad}subgraph cluster_{at} {{\n{pad}  label=\"{label}\";\n{pad}  n{at} [shape=point, style=invis];\n"),
                "wait" | "approve" => format!("{pad}n{at} [label=\"{label}\", shape=ellipse];\n"),
                _ => format!("{pad}n{at} [label=\"{label}\"];\n"),
            }
        }, "}");
        for (from, to) in &self.edges {
            let group = |at: usize| self.nodes[at].is_group();
            let tail = if group(*from) { format!("ltail=cluster_{from}") } else { String::new() };
            let head = if group(*to) { format!("lhead=cluster_{to}") } else { String::new() };
            let both = [tail, head].into_iter().filter(|end| !end.is_empty()).collect::<Vec<_>>().join(", ");
            let ends = if both.is_empty() { both } else { format!(" [{both}]") };
            let _ = writeln!(text, "  n{from} -> n{to}{ends};");
        }
        text + "}\n"
    }

    fn draw(
        &self,
        parent: Option<usize>,
        depth: usize,
        text: &mut String,
        open: &dyn Fn(&Node, usize, &str) -> String,
        close: &str,
    ) {
        let pad = "  ".repeat(depth);
        for at in self.children(parent) {
            text.push_str(&open(&self.nodes[at], at, &pad));
            if self.nodes[at].is_group() {
                self.draw(Some(at), depth + 1, text, open, close);
                let _ = writeln!(text, "{pad}{close}");
            }
        }
    }

    /// Indented text with what each step does and needs, for a terminal.
    pub fn tree(&self) -> String {
        let mut text = format!("{}\n", self.name);
        let mut needs = vec![Vec::new(); self.nodes.len()];
        for (from, to) in &self.edges {
            needs[*to].push(self.nodes[*from].name.as_str());
        }
        self.tree_below(None, "", &needs, &mut text);
        text
    }

    fn tree_below(&self, parent: Option<usize>, prefix: &str, needs: &[Vec<&str>], text: &mut String) {
        let children = self.children(parent);
        for (position, at) in children.iter().enumerate() {
            let node = &self.nodes[*at];
            let last = position + 1 == children.len();
            let mut parts = vec![format!("{} {}", node.kind, node.target).trim_end().to_owned()];
            parts.extend(node.notes.iter().cloned());
            if !needs[*at].is_empty() {
                parts.push(format!("needs {}", needs[*at].join(", ")));
            }
            let branch = if last { "└─" } else { "├─" };
            let _ = writeln!(text, "{prefix}{branch} {}: {}", node.name, printable(&parts.join(" · ")));
            let deeper = format!("{prefix}{}", if last { "   " } else { "│  " });
            self.tree_below(Some(*at), &deeper, needs, text);
        }
    }
}

fn target(action: &Action) -> String {
    match action {
        Action::Call { capability: Some(capability), agent: Some(agent) } => format!("{capability} by {agent}"),
        Action::Call { capability: Some(name), agent: None } | Action::Workflow { name, version: None } => name.clone(),
        Action::Call { capability: None, agent } => format!("agent {}", agent.as_deref().unwrap_or_default()),
        Action::Group(_) => String::new(),
        Action::Consensus(consensus) => {
            format!("of {} by {}", consensus.spec.voters.len(), consensus.spec.rule)
        }
        Action::Workflow { name, version: Some(version) } => format!("{name} {version}"),
        Action::Wait(Wait::For(span)) => format!("for {}", shown(span)),
        Action::Wait(Wait::Until(time)) => format!("until {}", shown(time)),
        Action::Wait(Wait::Signal { name, .. }) => format!("for signal {name}"),
        Action::Wait(Wait::Event { topic, .. }) => format!("for event {}", shown(topic)),
        Action::Approve(approve) => shown(&approve.title),
        Action::Publish(event) => member(event, "topic").or_else(|| member(event, "type")).unwrap_or_default(),
        Action::State(state) => of_state(&state.transaction),
    }
}

/// A member of a map in a few words.
fn member(map: &Template, name: &str) -> Option<String> {
    match map {
        Template::Map(entries) => entries.iter().find(|(key, _)| key == name).map(|(_, value)| shown(value)),
        Template::Literal(value) => value.get(name).map(|value| shown(&Template::Literal(value.clone()))),
        _ => None,
    }
}

/// The operations of a transaction in a few words.
fn of_state(transaction: &Template) -> String {
    let words = |operation: &Template| {
        let part = |name| member(operation, name).unwrap_or_default();
        format!("{} {} in {}", part("op"), part("key"), part("space"))
    };
    let operations: Vec<Template> = match transaction {
        Template::Map(entries) => match entries.iter().find(|(key, _)| key == "do").map(|(_, value)| value) {
            Some(Template::List(items)) => items.clone(),
            Some(Template::Literal(Value::Array(items))) => items.iter().cloned().map(Template::Literal).collect(),
            _ => Vec::new(),
        },
        Template::Literal(value) => {
            value["do"].as_array().into_iter().flatten().cloned().map(Template::Literal).collect()
        }
        _ => Vec::new(),
    };
    match &operations[..] {
        [] => "a transaction".to_owned(),
        [only] => words(only),
        [first, others @ ..] => {
            let space = member(first, "space").unwrap_or_default();
            let one = others.iter().all(|other| member(other, "space").as_deref() == Some(&*space));
            format!("{} operations in {}", operations.len(), if one { space.as_str() } else { "several spaces" })
        }
    }
}

fn notes(step: &Step) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(condition) = &step.condition {
        notes.push(format!("if {}", cut(condition.source())));
    }
    if let Some(each) = &step.for_each {
        let parallel = each.max_parallel.map(|count| format!(", {count} at once")).unwrap_or_default();
        notes.push(format!("for each of {}{parallel}", shown(&each.items)));
    }
    if let Some(repeat) = &step.repeat {
        notes.push(format!("repeat up to {}", repeat.max));
    }
    if let Some(auction) = &step.auction {
        notes.push(format!("by auction, bids by {}", auction.ask));
    }
    if let Some(lock) = &step.with_lock {
        notes.push(format!("under lock {}", shown(&lock.name)));
    }
    if let Some(compensate) = &step.compensate {
        notes.push(format!("taken back by {}", compensate.capability));
    }
    notes
}

/// A template in a few words.
fn shown(template: &Template) -> String {
    let text = match template {
        Template::Literal(Value::String(text)) => text.clone(),
        Template::Literal(Value::Array(items)) => format!("{} items", items.len()),
        Template::Literal(value) => value.to_string(),
        Template::Expression(expression) => expression.source().to_owned(),
        Template::List(items) => format!("{} items", items.len()),
        Template::Map(_) => "a map".to_owned(),
        Template::Text(parts) => {
            let part = |part: &TextPart| match part {
                TextPart::Literal(text) => text.clone(),
                TextPart::Expression(_) => "…".to_owned(),
            };
            parts.iter().map(part).collect()
        }
    };
    cut(&text)
}

/// One line of at most 60 characters.
fn cut(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 60;
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= SHOWN_CHARS_MAX {
        return line;
    }
    line.chars().take(SHOWN_CHARS_MAX - 1).chain(['…']).collect()
}

/// Without control characters, which a terminal might obey.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn mermaid_text(text: &str) -> String {
    let escaped = printable(text).replace('#', "#35;").replace('"', "#quot;").replace('<', "#lt;");
    escaped.replace('>', "#gt;").replace('`', "#96;")
}

fn dot_text(text: &str) -> String {
    printable(text).replace('\\', "\\\\").replace('"', "\\\"")
}
