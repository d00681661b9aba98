//! The tree of an expression, as a flat list of nodes.
//!
//! For: the evaluator and the type check. Not for: text.
//! Invariant: children come before their parents, so the last node is the root, and dropping a tree never recurses.

use std::{ops::Range, sync::Arc};

use serde_json::Value;

use super::functions::Function;

/// The position of a node in [`Program::nodes`].
pub(crate) type Id = u32;

/// A parsed expression.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) nodes: Vec<Node>,
    /// What it looks at, in order of the text; may repeat.
    pub(crate) uses: Vec<Use>,
    pub(crate) uses_status: bool,
}

impl Program {
    pub(crate) fn root(&self) -> Id {
        self.nodes.len() as Id - 1
    }

    pub(crate) fn node(&self, id: Id) -> &Node {
        &self.nodes[id as usize]
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) kind: NodeKind,
    /// Bytes of the expression's text.
    pub(crate) span: Range<usize>,
    /// The longest way down to a leaf; bounds the evaluator's recursion.
    pub(crate) height: u32,
}

#[derive(Clone, Debug)]
pub(crate) enum NodeKind {
    Literal(Value),
    Root(Root),
    /// `steps.NAME.field`
    Step(Arc<str>, StepField),
    /// The variable of a macro, by position on the stack of such variables.
    Local(usize),
    Select(Id, String),
    /// `has(of.field)`
    Has(Id, String),
    Index(Id, Id),
    Not(Id),
    Negate(Id),
    And(Vec<Id>),
    Or(Vec<Id>),
    Choose(Id, Id, Id),
    Binary(Operator, Id, Id),
    List(Vec<Id>),
    Map(Vec<(Id, Id)>),
    Call(Function, Vec<Id>),
    /// `matches` with a pattern that is known at parse.
    Matches(Id, regex::Regex),
    Macro(Box<Macro>),
}

/// `range.all(variable, body)` and its kin.
#[derive(Clone, Debug)]
pub(crate) struct Macro {
    pub(crate) kind: MacroKind,
    pub(crate) range: Id,
    /// The condition of a three-argument `map`.
    pub(crate) filter: Option<Id>,
    pub(crate) body: Id,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MacroKind {
    All,
    Exists,
    ExistsOne,
    Map,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
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

/// A variable that every workflow has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Root {
    Input,
    Item,
    Index,
    Loop,
    Run,
    Output,
}

impl Root {
    pub(crate) const NAMES: [&'static str; 7] = ["input", "steps", "item", "index", "loop", "run", "output"];

    pub(crate) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "input" => Self::Input,
            "item" => Self::Item,
            "index" => Self::Index,
            "loop" => Self::Loop,
            "run" => Self::Run,
            "output" => Self::Output,
            _ => return None,
        })
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Item => "item",
            Self::Index => "index",
            Self::Loop => "loop",
            Self::Run => "run",
            Self::Output => "output",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StepField {
    Output,
    Status,
    Error,
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

/// One look at something outside the expression.
#[derive(Clone, Debug)]
pub(crate) enum Use {
    Root(Root, Range<usize>),
    Step(Arc<str>, Range<usize>),
}
