//! The tree of an expression, as a flat list of nodes.
//!
//! For: the evaluator and the type check. Not for: text.
//! Invariant: children come before their parents, so the last node is the root, and dropping a tree never recurses.

use std::{ops::Range, sync::Arc};

use minicbor::{Decode, Encode};
use serde_json::Value;

use super::catalog::Function;

/// The position of a node in [`Program::nodes`].
pub(crate) type Id = u32;

/// A parsed expression.
#[derive(Clone, Debug)]
pub struct Program {
    pub(crate) nodes: Vec<Node>,
    /// Its references, in order of the text; may repeat. Empty in a program that was read from a normal form: by then
    /// the names are resolved.
    pub uses: Vec<Use>,
    /// Whether it calls a status function.
    pub uses_status: bool,
}

impl Program {
    /// The program that is a variable alone, whose name has so many bytes.
    pub(crate) fn of_root(root: Root, bytes: usize) -> Self {
        let node = Node { kind: NodeKind::Root(root), span: 0..bytes, height: 1 };
        Self { nodes: vec![node], uses: Vec::new(), uses_status: false }
    }

    /// The texts that the status of a step is compared with, and where they are written.
    pub fn compared_statuses(&self) -> Vec<(&str, &Range<usize>)> {
        let mut found = Vec::new();
        for node in &self.nodes {
            let NodeKind::Binary(operator, left, right) = &node.kind else { continue };
            let of_status = |id: Id| matches!(self.node(id).kind, NodeKind::Step(_, StepField::Status));
            let other = match operator {
                Operator::Equal | Operator::NotEqual | Operator::In if of_status(*left) => *right,
                Operator::Equal | Operator::NotEqual if of_status(*right) => *left,
                _ => continue,
            };
            match &self.node(other).kind {
                NodeKind::List(items) => found.extend(items.iter().filter_map(|item| self.text(*item))),
                _ => found.extend(self.text(other)),
            }
        }
        found
    }

    fn text(&self, id: Id) -> Option<(&str, &Range<usize>)> {
        let node = self.node(id);
        if let NodeKind::Literal(Value::String(text)) = &node.kind { Some((text, &node.span)) } else { None }
    }

    pub(crate) fn root(&self) -> Id {
        self.nodes.len() as Id - 1
    }

    pub(crate) fn node(&self, id: Id) -> &Node {
        &self.nodes[id as usize]
    }
}

#[derive(Clone, Debug, Encode, Decode)]
pub(crate) struct Node {
    #[n(0)]
    pub(crate) kind: NodeKind,
    /// Bytes of the expression's text.
    #[n(1)]
    pub(crate) span: Range<usize>,
    /// The longest way down to a leaf; bounds the evaluator's recursion.
    #[cbor(skip)]
    pub(crate) height: u32,
}

#[derive(Clone, Debug, Encode, Decode)]
pub(crate) enum NodeKind {
    #[n(0)]
    Literal(
        #[n(0)]
        #[cbor(with = "crate::form::json")]
        Value,
    ),
    #[n(1)]
    Root(#[n(0)] Root),
    /// `steps.NAME.field`
    #[n(2)]
    Step(
        #[n(0)]
        #[cbor(with = "crate::form::shared_text")]
        Arc<str>,
        #[n(1)] StepField,
    ),
    /// The variable of a macro, by position on the stack of such variables.
    #[n(3)]
    Local(#[n(0)] usize),
    #[n(4)]
    Select(#[n(0)] Id, #[n(1)] String),
    /// `has(of.field)`
    #[n(5)]
    Has(#[n(0)] Id, #[n(1)] String),
    #[n(6)]
    Index(#[n(0)] Id, #[n(1)] Id),
    #[n(7)]
    Not(#[n(0)] Id),
    #[n(8)]
    Negate(#[n(0)] Id),
    #[n(9)]
    And(#[n(0)] Vec<Id>),
    #[n(10)]
    Or(#[n(0)] Vec<Id>),
    #[n(11)]
    Choose(#[n(0)] Id, #[n(1)] Id, #[n(2)] Id),
    #[n(12)]
    Binary(#[n(0)] Operator, #[n(1)] Id, #[n(2)] Id),
    #[n(13)]
    List(#[n(0)] Vec<Id>),
    #[n(14)]
    Map(#[n(0)] Vec<(Id, Id)>),
    #[n(15)]
    Call(#[n(0)] Function, #[n(1)] Vec<Id>),
    /// `matches` with a pattern that is known at parse.
    #[n(16)]
    Matches(
        #[n(0)] Id,
        #[n(1)]
        #[cbor(with = "crate::form::pattern")]
        regex::Regex,
    ),
    #[n(17)]
    Macro(#[n(0)] Box<Macro>),
}

/// `range.all(variable, body)` and its kin.
#[derive(Clone, Debug, Encode, Decode)]
pub(crate) struct Macro {
    #[n(0)]
    pub(crate) kind: MacroKind,
    #[n(1)]
    pub(crate) range: Id,
    /// The condition of a three-argument `map`.
    #[n(2)]
    pub(crate) filter: Option<Id>,
    #[n(3)]
    pub(crate) body: Id,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub(crate) enum MacroKind {
    #[n(0)]
    All,
    #[n(1)]
    Exists,
    #[n(2)]
    ExistsOne,
    #[n(3)]
    Map,
    #[n(4)]
    Filter,
}

impl MacroKind {
    pub(crate) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "all" => Self::All,
            "exists" => Self::Exists,
            "exists_one" | "existsOne" => Self::ExistsOne,
            "map" => Self::Map,
            "filter" => Self::Filter,
            _ => return None,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub(crate) enum Operator {
    #[n(0)]
    Add,
    #[n(1)]
    Subtract,
    #[n(2)]
    Multiply,
    #[n(3)]
    Divide,
    #[n(4)]
    Modulo,
    #[n(5)]
    Equal,
    #[n(6)]
    NotEqual,
    #[n(7)]
    Less,
    #[n(8)]
    LessEqual,
    #[n(9)]
    Greater,
    #[n(10)]
    GreaterEqual,
    #[n(11)]
    In,
}

impl Operator {
    pub(crate) fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Modulo => "%",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::Greater => ">",
            Self::GreaterEqual => ">=",
            Self::In => "in",
        }
    }
}

/// A variable outside of the expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Root {
    /// The run's input.
    #[n(0)]
    Input,
    /// The item of the nearest `for_each`.
    #[n(1)]
    Item,
    /// Its position.
    #[n(2)]
    Index,
    /// The nearest `repeat`.
    #[n(3)]
    Loop,
    /// The run.
    #[n(4)]
    Run,
    /// The iteration's output.
    #[n(5)]
    Output,
    /// The event that a trigger, or a step that waits for one, looks at.
    #[n(6)]
    Event,
    /// The lock of the nearest step that has one.
    #[n(7)]
    Lock,
    /// What the nearest step with `reads` has read.
    #[n(8)]
    Reads,
    /// The two values that a write of shared state brings together; no workflow has it.
    #[n(9)]
    Write,
    /// The bid that an auction looks at.
    #[n(10)]
    Bid,
}

impl Root {
    pub(crate) const NAMES: [&'static str; 9] =
        ["input", "steps", "item", "index", "loop", "run", "output", "lock", "reads"];

    pub(crate) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "input" => Self::Input,
            "item" => Self::Item,
            "index" => Self::Index,
            "loop" => Self::Loop,
            "run" => Self::Run,
            "output" => Self::Output,
            "event" => Self::Event,
            "lock" => Self::Lock,
            "reads" => Self::Reads,
            "write" => Self::Write,
            "bid" => Self::Bid,
            _ => return None,
        })
    }

    /// The word for it in an expression.
    pub fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Item => "item",
            Self::Index => "index",
            Self::Loop => "loop",
            Self::Run => "run",
            Self::Output => "output",
            Self::Event => "event",
            Self::Lock => "lock",
            Self::Reads => "reads",
            Self::Write => "write",
            Self::Bid => "bid",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub(crate) enum StepField {
    #[n(0)]
    Output,
    #[n(1)]
    Status,
    #[n(2)]
    Error,
    #[n(3)]
    Attempts,
}

impl StepField {
    pub(crate) const NAMES: [&'static str; 4] = ["output", "status", "error", "attempts"];

    pub(crate) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "output" => Self::Output,
            "status" => Self::Status,
            "error" => Self::Error,
            "attempts" => Self::Attempts,
            _ => return None,
        })
    }
}

/// One reference to something outside the expression.
#[derive(Clone, Debug)]
pub enum Use {
    /// A variable, and its place in the text.
    Root(Root, Range<usize>),
    /// A step by name, and its place in the text.
    Step(Arc<str>, Range<usize>),
}
