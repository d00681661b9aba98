//! What can be known of an expression before a run.
//!
//! For: refusing `input.quesiton` and `if` over a text at check time. Not for: a full type system: what is not known
//! is allowed, and checked when it is evaluated.
//! Invariant: never refuses an expression that could be evaluated with some declared input.

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::{
    ast::{Id, MacroKind, NodeKind, Operator, Program, Root, StepField},
    catalog::Function,
    problem::Problem,
};
use crate::suggest::{did_you_mean, listed};

/// A JSON Schema, where one is known.
pub type Schema<'s> = Option<&'s Value>;

/// What a value is known to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Not known.
    Any,
    /// Null.
    Null,
    /// A truth value.
    Bool,
    /// A number.
    Number,
    /// A text.
    Text,
    /// A list.
    List,
    /// A map.
    Map,
}

impl Kind {
    /// For messages: `a text`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Any => "any value",
            Self::Null => "null",
            Self::Bool => "a truth value",
            Self::Number => "a number",
            Self::Text => "a text",
            Self::List => "a list",
            Self::Map => "a map",
        }
    }

    fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(_) => Self::Bool,
            Value::Number(_) => Self::Number,
            Value::String(_) => Self::Text,
            Value::Array(_) => Self::List,
            Value::Object(_) => Self::Map,
        }
    }

    fn of_schema(schema: &Value) -> Self {
        match schema.get("type").and_then(Value::as_str) {
            Some("string") => Self::Text,
            Some("number" | "integer") => Self::Number,
            Some("boolean") => Self::Bool,
            Some("array") => Self::List,
            Some("object") => Self::Map,
            Some("null") => Self::Null,
            _ => Self::Any,
        }
    }

    fn is(self, wanted: &[Self]) -> bool {
        self == Self::Any || wanted.contains(&self)
    }
}

static RUN: LazyLock<Value> = LazyLock::new(|| {
    json!({"type": "object", "additionalProperties": false, "properties": {
        "id": {"type": "string"}, "workflow": {"type": "string"}, "started_at": {"type": "string"}}})
});

static LOOP: LazyLock<Value> = LazyLock::new(|| {
    json!({"type": "object", "additionalProperties": false, "properties": {
        "index": {"type": "integer"}, "previous": {}}})
});

static LOCK: LazyLock<Value> = LazyLock::new(|| {
    json!({"type": "object", "additionalProperties": false, "properties": {
        "name": {"type": "string"}, "token": {"type": "integer"}}})
});

static BID: LazyLock<Value> = LazyLock::new(|| {
    json!({"type": "object", "additionalProperties": false, "properties": {
        "agent": {"type": "string"}, "cost": {"type": "number"}, "seconds": {"type": "number"},
        "confidence": {"type": "number"}, "reply": {},
        "record": {"type": "object", "additionalProperties": false, "properties": {
            "won": {"type": "integer"}, "done": {"type": "integer"}, "failed": {"type": "integer"},
            "reliability": {"type": "number"}, "slowness": {"type": "number"}}}}})
});

#[derive(Clone, Copy)]
struct Known<'s> {
    kind: Kind,
    schema: Schema<'s>,
}

impl<'s> Known<'s> {
    fn kind(kind: Kind) -> Self {
        Self { kind, schema: None }
    }

    /// What `$ref` leads elsewhere stays unknown.
    fn schema(schema: &'s Value) -> Self {
        let known = schema.get("$ref").is_none().then_some(schema);
        Self { kind: known.map_or(Kind::Any, Kind::of_schema), schema: known }
    }
}

/// What the expression's value is known to be, and what is certainly wrong inside.
pub fn infer(program: &Program, text: &str, input: Schema<'_>) -> (Kind, Vec<Problem>) {
    let mut check = Check { program, text, input, known: Vec::new(), problems: Vec::new() };
    for id in 0..program.nodes.len() as Id {
        let known = check.node(id);
        check.known.push(known);
    }
    let kind = check.known.last().map_or(Kind::Any, |known| known.kind);
    (kind, check.problems)
}

struct Check<'p, 's> {
    program: &'p Program,
    text: &'p str,
    input: Schema<'s>,
    /// By node; children come before their parents.
    known: Vec<Known<'s>>,
    problems: Vec<Problem>,
}

impl<'s> Check<'_, 's> {
    fn kind(&self, id: Id) -> Kind {
        self.known[id as usize].kind
    }

    fn shown(&self, id: Id) -> &str {
        self.text.get(self.program.node(id).span.clone()).unwrap_or_default()
    }

    fn wrong(&mut self, id: Id, message: String, hint: Option<String>) {
        let span = self.program.node(id).span.clone();
        self.problems.push(Problem { code: "type-mismatch", message, span, hint });
    }

    fn want(&mut self, id: Id, wanted: &[Kind], by: &str) {
        let kind = self.kind(id);
        if !kind.is(wanted) {
            let names: Vec<&str> = wanted.iter().map(|kind| kind.name()).collect();
            let message = format!("{by} needs {}, but `{}` is {}", names.join(" or "), self.shown(id), kind.name());
            self.wrong(id, message, None);
        }
    }

    fn node(&mut self, id: Id) -> Known<'s> {
        let program = self.program;
        match &program.node(id).kind {
            NodeKind::Literal(value) => Known::kind(Kind::of(value)),
            NodeKind::Root(root) => self.root(*root),
            NodeKind::Step(_, StepField::Status) => Known::kind(Kind::Text),
            NodeKind::Step(_, StepField::Attempts) => Known::kind(Kind::Number),
            NodeKind::Step(..) | NodeKind::Local(_) => Known::kind(Kind::Any),
            NodeKind::Select(of, field) => self.select(id, *of, field),
            NodeKind::Has(of, _) => {
                self.want(*of, &[Kind::Map, Kind::Null], "`has`");
                Known::kind(Kind::Bool)
            }
            NodeKind::Index(of, key) => self.index(*of, *key),
            NodeKind::Not(of) => {
                self.want(*of, &[Kind::Bool], "`!`");
                Known::kind(Kind::Bool)
            }
            NodeKind::Negate(of) => {
                self.want(*of, &[Kind::Number], "`-`");
                Known::kind(Kind::Number)
            }
            NodeKind::And(all) | NodeKind::Or(all) => {
                let by = if matches!(program.node(id).kind, NodeKind::And(_)) { "`&&`" } else { "`||`" };
                for operand in all {
                    self.want(*operand, &[Kind::Bool], by);
                }
                Known::kind(Kind::Bool)
            }
            NodeKind::Choose(condition, yes, no) => {
                self.want(*condition, &[Kind::Bool], "`?`");
                let (yes, no) = (self.kind(*yes), self.kind(*no));
                Known::kind(if yes == no { yes } else { Kind::Any })
            }
            NodeKind::Binary(operator, left, right) => Known::kind(self.binary(id, *operator, *left, *right)),
            NodeKind::List(_) => Known::kind(Kind::List),
            NodeKind::Map(_) => Known::kind(Kind::Map),
            NodeKind::Call(function, arguments) => Known::kind(self.call(*function, arguments)),
            NodeKind::Matches(text, _) => {
                self.want(*text, &[Kind::Text], "`matches`");
                Known::kind(Kind::Bool)
            }
            NodeKind::Macro(call) => {
                self.want(call.range, &[Kind::List, Kind::Map], "a macro");
                if call.kind != MacroKind::Map {
                    self.want(call.body, &[Kind::Bool], "the condition");
                }
                let gathers = matches!(call.kind, MacroKind::Map | MacroKind::Filter);
                Known::kind(if gathers { Kind::List } else { Kind::Bool })
            }
        }
    }

    fn root(&self, root: Root) -> Known<'s> {
        match root {
            Root::Input => self.input.map_or(Known::kind(Kind::Any), Known::schema),
            Root::Run => Known::schema(&RUN),
            Root::Loop => Known::schema(&LOOP),
            Root::Index => Known::kind(Kind::Number),
            Root::Lock => Known::schema(&LOCK),
            Root::Bid => Known::schema(&BID),
            Root::Event | Root::Reads | Root::Write => Known::kind(Kind::Map),
            Root::Item | Root::Output => Known::kind(Kind::Any),
        }
    }

    fn select(&mut self, id: Id, of: Id, field: &str) -> Known<'s> {
        let base = self.known[of as usize];
        if !base.kind.is(&[Kind::Map]) {
            let message = format!("`{}` is {}, which has no fields", self.shown(of), base.kind.name());
            self.wrong(id, message, None);
            return Known::kind(Kind::Any);
        }
        let Some(schema) = base.schema else { return Known::kind(Kind::Any) };
        let properties = schema.get("properties").and_then(Value::as_object);
        if let Some(found) = properties.and_then(|map| map.get(field)) {
            return Known::schema(found);
        }
        let closed = schema.get("additionalProperties") == Some(&Value::Bool(false));
        if closed && schema.get("patternProperties").is_none() {
            let names = || properties.into_iter().flat_map(|map| map.keys().map(String::as_str));
            let hint = did_you_mean(field, names()).unwrap_or_else(|| match names().next() {
                Some(_) => format!("there are {}", listed(names())),
                None => "it has no fields".to_owned(),
            });
            let message = format!("`{}` has no field `{field}`", self.shown(of));
            let span = self.program.node(id).span.clone();
            self.problems.push(Problem { code: "unknown-field", message, span, hint: Some(hint) });
        }
        Known::kind(Kind::Any)
    }

    fn index(&mut self, of: Id, key: Id) -> Known<'s> {
        self.want(of, &[Kind::List, Kind::Map], "`[ ]`");
        match self.kind(of) {
            Kind::List => self.want(key, &[Kind::Number], "the position in a list"),
            Kind::Map => self.want(key, &[Kind::Text], "the key of a map"),
            _ => {}
        }
        let items = self.known[of as usize].schema.and_then(|schema| schema.get("items"));
        match items {
            Some(items) if self.kind(of) == Kind::List => Known::schema(items),
            _ => Known::kind(Kind::Any),
        }
    }

    fn binary(&mut self, id: Id, operator: Operator, left: Id, right: Id) -> Kind {
        let (a, b) = (self.kind(left), self.kind(right));
        let known = a != Kind::Any && b != Kind::Any;
        let ordered = [Kind::Number, Kind::Text, Kind::Bool];
        let (fits, result) = match operator {
            Operator::Equal | Operator::NotEqual => (true, Kind::Bool),
            Operator::In => (b.is(&[Kind::List, Kind::Map]), Kind::Bool),
            Operator::Less | Operator::LessEqual | Operator::Greater | Operator::GreaterEqual => {
                (a.is(&ordered) && b.is(&ordered) && (!known || a == b), Kind::Bool)
            }
            Operator::Add => {
                let added = [Kind::Number, Kind::Text, Kind::List];
                let result = if a == Kind::Any { b } else { a };
                (a.is(&added) && b.is(&added) && (!known || a == b), result)
            }
            _ => (a.is(&[Kind::Number]) && b.is(&[Kind::Number]), Kind::Number),
        };
        if !fits {
            let message = format!("`{}` between {} and {}", operator.symbol(), a.name(), b.name());
            let texts = operator == Operator::Add && (a == Kind::Text || b == Kind::Text);
            self.wrong(id, message, texts.then(|| "make a text of the other with `string()`".to_owned()));
            return Kind::Any;
        }
        result
    }

    fn call(&mut self, function: Function, arguments: &[Id]) -> Kind {
        use Function as F;
        let first = arguments.first().copied();
        let (wanted, result): (&[Kind], Kind) = match function {
            F::Success | F::Failure | F::Always | F::Cancelled | F::Bool => (&[], Kind::Bool),
            F::Size => (&[Kind::Text, Kind::List, Kind::Map], Kind::Number),
            F::Contains | F::StartsWith | F::EndsWith | F::Matches => (&[Kind::Text], Kind::Bool),
            F::LowerAscii | F::UpperAscii | F::Trim | F::Replace | F::Substring => (&[Kind::Text], Kind::Text),
            F::Split => (&[Kind::Text], Kind::List),
            F::Join => (&[Kind::List], Kind::Text),
            F::Int | F::Double => (&[Kind::Number, Kind::Text, Kind::Bool], Kind::Number),
            F::String | F::Type | F::Json => (&[], Kind::Text),
            F::Min | F::Max => (&[], Kind::Any),
            F::Sum => (&[Kind::List], Kind::Number),
            F::Range => (&[Kind::Number], Kind::List),
            F::Keys => (&[Kind::Map], Kind::List),
            F::Flatten | F::Distinct | F::Sort | F::Reverse | F::Slice => (&[Kind::List], Kind::List),
            F::FromJson => (&[Kind::Text], Kind::Any),
        };
        if let Some(first) = first.filter(|_| !wanted.is_empty()) {
            let name = F::NAMES[function as usize];
            self.want(first, wanted, &format!("`{name}`"));
        }
        result
    }
}
