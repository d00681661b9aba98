//! A YAML text as a tree with source positions.
//!
//! For: reading definitions. Not for: writing YAML, or reading more than one document.
//! Invariant: depth and number of nodes are checked while the events come in, aliases counted as what they refer to, so
//! no text can make the tree (or a walk over it) deep or large.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use consort_types::limits;
use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};
use serde_json::Value;

use crate::diagnostic::Report;

/// A node of the tree.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Bytes of the source.
    pub(crate) span: Range<usize>,
    pub(crate) kind: NodeKind,
    size: usize,
    height: usize,
}

#[derive(Clone, Debug)]
pub(crate) enum NodeKind {
    /// Null, a truth value, a number or a text.
    Scalar(Value),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One key and its value; keys of a map are distinct.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_span: Range<usize>,
    pub(crate) value: Node,
}

impl Node {
    fn leaf(span: Range<usize>, value: Value) -> Self {
        Self { span, kind: NodeKind::Scalar(value), size: 1, height: 0 }
    }

    /// The text of a string.
    pub(crate) fn as_str(&self) -> Option<&str> {
        match &self.kind {
            NodeKind::Scalar(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.kind, NodeKind::Scalar(Value::Null))
    }

    /// For messages: `a text`.
    pub(crate) fn kind_name(&self) -> &'static str {
        match &self.kind {
            NodeKind::Scalar(value) => consort_workflow::cel::kind_name(value),
            NodeKind::List(_) => "a list",
            NodeKind::Map(_) => "a map",
        }
    }

    /// The same as JSON.
    pub(crate) fn to_json(&self) -> Value {
        match &self.kind {
            NodeKind::Scalar(value) => value.clone(),
            NodeKind::List(items) => items.iter().map(Self::to_json).collect(),
            NodeKind::Map(entries) => entries.iter().map(|entry| (entry.key.clone(), entry.value.to_json())).collect(),
        }
    }
}

/// Reads the one document of a source. `None` means that an error was reported.
pub(crate) fn read(source: &str, report: &mut Report<'_>) -> Option<Node> {
    let mut builder = Builder {
        source,
        offsets: offsets(source),
        report,
        open: Vec::new(),
        anchors: BTreeMap::new(),
        nodes: 0,
        root: None,
    };
    builder.document()
}

/// Byte offsets by character, where the two differ.
fn offsets(source: &str) -> Option<Vec<u32>> {
    let list = || source.char_indices().map(|(at, _)| at as u32).chain([source.len() as u32]).collect();
    (!source.is_ascii()).then(list)
}

/// A list or map whose end has not come.
struct Open {
    start: Range<usize>,
    anchor: usize,
    kind: NodeKind,
    /// The key that waits for its value.
    key: Option<(String, Range<usize>)>,
    seen: BTreeSet<String>,
    size: usize,
    height: usize,
}

struct Builder<'s, 'r, 't> {
    source: &'s str,
    offsets: Option<Vec<u32>>,
    report: &'r mut Report<'t>,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
    root: Option<Node>,
}

impl Builder<'_, '_, '_> {
    fn document(&mut self) -> Option<Node> {
        for event in Parser::new_from_str(self.source) {
            let (event, span) = match event {
                Ok(event) => event,
                Err(error) => {
                    let at = self.byte(error.marker().index());
                    self.syntax(at, error.info());
                    return None;
                }
            };
            let span = self.bytes(span);
            if matches!(event, Event::DocumentStart(_)) && self.root.is_some() {
                let found = self.report.error("several-documents", span, "the file holds more than one document");
                found.hint("put each workflow in a file of its own");
                return None;
            }
            self.event(event, span)?;
        }
        let empty = self.root.as_ref().is_none_or(Node::is_null);
        if empty && !self.report.is_full() {
            self.report.error("empty", 0..0, "the file is empty").hint("start with `workflow: NAME` and `steps:`");
            return None;
        }
        self.root.take()
    }

    fn byte(&self, index: usize) -> usize {
        let found = self.offsets.as_ref().map_or(Some(index), |list| list.get(index).map(|at| *at as usize));
        found.unwrap_or(self.source.len()).min(self.source.len())
    }

    fn bytes(&self, span: Span) -> Range<usize> {
        self.byte(span.start.index())..self.byte(span.end.index())
    }

    fn syntax(&mut self, at: usize, info: &str) {
        let line_start = self.source[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = self.source[at..].find('\n').map_or(self.source.len(), |length| at + length);
        let line = self.source.get(line_start..line_end).unwrap_or_default();
        let (expression, tab) =
            (line.contains("${{"), line.starts_with('\t') || line.trim_start_matches(' ').starts_with('\t'));
        let end = (at + 1).min(line_end).max(at);
        if info.contains("recursion limit") {
            let message = format!("nested deeper than {} levels", limits::NESTING_DEPTH_MAX);
            self.report.error("too-deep", at..end, message);
            return;
        }
        let found = self.report.error("yaml-syntax", at..end, format!("not YAML: {info}"));
        if expression {
            found.hint(
                "put the whole value in quotes: `\"${{ … }}\"`, as an expression may hold `: `, ` #`, `{` or `,`",
            );
        } else if tab {
            found.hint("indent with spaces, not tabs");
        }
    }

    /// Takes one event. `None` ends the reading, after an error.
    fn event(&mut self, event: Event<'_>, span: Range<usize>) -> Option<()> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = self.scalar(&text, style, tag.as_deref(), &span)?;
                self.place(Node::leaf(span, value), anchor, 1)
            }
            Event::SequenceStart(anchor, tag) => self.begin(NodeKind::List(Vec::new()), span, anchor, tag.as_deref()),
            Event::MappingStart(anchor, tag) => self.begin(NodeKind::Map(Vec::new()), span, anchor, tag.as_deref()),
            Event::SequenceEnd | Event::MappingEnd => self.end(&span),
            Event::Alias(anchor) => {
                let Some(mut node) = self.anchors.get(&anchor).cloned() else {
                    let found = self.report.error("bad-alias", span, "the alias is inside of what it refers to");
                    found.hint("an alias can only repeat what is complete");
                    return None;
                };
                node.span = span;
                let cost = node.size;
                self.place(node, 0, cost)
            }
            _ => Some(()),
        }
    }

    fn begin(&mut self, kind: NodeKind, span: Range<usize>, anchor: usize, tag: Option<&Tag>) -> Option<()> {
        let collection = tag.is_none_or(|tag| tag.is_yaml_core_schema() && matches!(&*tag.suffix, "map" | "seq"));
        if !collection {
            self.bad_tag(&span);
            return None;
        }
        if let Some(Open { kind: NodeKind::Map(_), key: None, .. }) = self.open.last() {
            self.report.error("bad-key", span, "a key must be a text, found a list or a map");
            return None;
        }
        if self.open.len() >= limits::NESTING_DEPTH_MAX {
            let message = format!("nested deeper than {} levels", limits::NESTING_DEPTH_MAX);
            self.report.error("too-deep", span, message);
            return None;
        }
        self.open.push(Open { start: span, anchor, kind, key: None, seen: BTreeSet::new(), size: 1, height: 0 });
        Some(())
    }

    fn end(&mut self, span: &Range<usize>) -> Option<()> {
        let open = self.open.pop()?;
        let last = match &open.kind {
            NodeKind::List(items) => items.last().map(|item| item.span.end),
            NodeKind::Map(entries) => entries.last().map(|entry| entry.value.span.end.max(entry.key_span.end)),
            NodeKind::Scalar(_) => None,
        };
        let flow = span.end > span.start;
        let end = if flow { span.end } else { last.unwrap_or(open.start.end).max(open.start.start) };
        let node = Node { span: open.start.start..end, kind: open.kind, size: open.size, height: open.height + 1 };
        self.place(node, open.anchor, 1)
    }

    /// Puts a finished node where it belongs; `cost` is the number of nodes that it adds to those inside it.
    fn place(&mut self, node: Node, anchor: usize, cost: usize) -> Option<()> {
        self.nodes += cost;
        if self.nodes > limits::YAML_NODES_MAX {
            let message =
                format!("the file has more than {} values, aliases counted each time", limits::YAML_NODES_MAX);
            self.report.error("too-large", node.span, message).hint("split the workflow, or pass data as input");
            return None;
        }
        if self.open.len() + node.height > limits::NESTING_DEPTH_MAX {
            let message = format!("nested deeper than {} levels", limits::NESTING_DEPTH_MAX);
            self.report.error("too-deep", node.span, message);
            return None;
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        if matches!(self.open.last(), Some(Open { kind: NodeKind::Map(_), key: None, .. })) {
            let key = self.key(&node)?;
            self.open.last_mut()?.key = Some((key, node.span));
            return Some(());
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Some(());
        };
        match (&mut open.kind, open.key.take()) {
            (NodeKind::List(items), _) => {
                open.size += node.size;
                open.height = open.height.max(node.height);
                items.push(node);
            }
            (NodeKind::Map(entries), Some((key, key_span))) => {
                open.size += node.size;
                open.height = open.height.max(node.height);
                if open.seen.insert(key.clone()) {
                    entries.push(Entry { key, key_span, value: node });
                } else {
                    let message = format!("the key `{key}` appears twice in this map");
                    self.report.error("duplicate-key", key_span, message).hint("keep one of them");
                }
            }
            (NodeKind::Map(_) | NodeKind::Scalar(_), _) => {}
        }
        Some(())
    }

    fn key(&mut self, node: &Node) -> Option<String> {
        match &node.kind {
            NodeKind::Scalar(Value::String(text)) => Some(text.clone()),
            NodeKind::Scalar(Value::Null) | NodeKind::List(_) | NodeKind::Map(_) => {
                let message = format!("a key must be a text, found {}", node.kind_name());
                self.report.error("bad-key", node.span.clone(), message);
                None
            }
            NodeKind::Scalar(_) => Some(self.source[node.span.clone()].to_owned()),
        }
    }

    fn bad_tag(&mut self, span: &Range<usize>) {
        let found = self.report.error("unknown-tag", span.clone(), "YAML tags are not supported, except `!!str`");
        found.hint("leave the tag out, and quote what shall be a text");
    }

    /// The value of a scalar, by the core schema of YAML 1.2: `no` and `on` are texts.
    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>, span: &Range<usize>) -> Option<Value> {
        match tag {
            Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => return Some(Value::from(text)),
            Some(_) => {
                self.bad_tag(span);
                return None;
            }
            None => {}
        }
        if style != ScalarStyle::Plain {
            return Some(Value::from(text));
        }
        let value = plain(text);
        if value.is_none() {
            let message = format!("`{}` is no number that JSON can hold", text.chars().take(60).collect::<String>());
            self.report.error("bad-number", span.clone(), message).hint("quote it to make it a text");
        }
        Some(value.unwrap_or_default())
    }
}

/// The value of an unquoted scalar; `None` for a number that does not fit.
fn plain(text: &str) -> Option<Value> {
    let radix = |prefix: &str, radix: u32| {
        let digits = text.strip_prefix(prefix)?;
        (!digits.is_empty() && digits.chars().all(|c| c.is_digit(radix))).then(|| u64::from_str_radix(digits, radix))
    };
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Some(Value::Null),
        "true" | "True" | "TRUE" => return Some(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Some(Value::Bool(false)),
        ".inf" | "-.inf" | "+.inf" | ".Inf" | "-.Inf" | ".INF" | "-.INF" | ".nan" | ".NaN" | ".NAN" => return None,
        _ => {}
    }
    if let Some(number) = radix("0x", 16).or_else(|| radix("0o", 8)) {
        return number.ok().map(Value::from);
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') || !digits.contains(|c: char| c.is_ascii_digit()) {
        return Some(Value::from(text));
    }
    if digits.bytes().all(|b| b.is_ascii_digit()) {
        let unsigned = text.strip_prefix('+').unwrap_or(text);
        let signed = unsigned.parse::<i64>().map(Value::from);
        return signed.or_else(|_| unsigned.parse::<u64>().map(Value::from)).ok();
    }
    let shaped = digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    match text.parse::<f64>() {
        Ok(number) if shaped => serde_json::Number::from_f64(number).map(Value::Number),
        _ => Some(Value::from(text)),
    }
}
