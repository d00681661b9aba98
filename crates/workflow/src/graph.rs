//! A workflow as nodes and edges.
//!
//! For: drawings. Not for: scheduling (that is `Step::needs`).
//! Invariant: nodes come in the order of the source, edges sorted.

use serde::Serialize;

use crate::Definition;

/// A step in a drawing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Node {
    /// Step names from the root, joined by `/`.
    pub path: String,
    /// `call`, `group`, `workflow`, `wait` or `approve`.
    pub kind: &'static str,
    /// What it calls or waits for, and how often.
    pub label: String,
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
        Self { name: definition.name.clone(), nodes: Vec::new(), edges: Vec::new() }
    }

    /// Mermaid flowchart text.
    pub fn mermaid(&self) -> String {
        String::new()
    }

    /// Graphviz DOT text.
    pub fn dot(&self) -> String {
        String::new()
    }

    /// Indented text with what each step needs.
    pub fn tree(&self) -> String {
        String::new()
    }
}
