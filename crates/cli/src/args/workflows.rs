//! What was typed after `workflows`.
//!
//! For: the commands for writing workflows. Not for: their meaning.
//! Invariant: every command names workflows in the same way: a file, a project's, a shipped or a deployed one.

use clap::{Subcommand, ValueEnum};

/// `consort workflows`.
#[derive(Debug, Subcommand)]
pub(crate) enum WorkflowsCommand {
    /// Check workflow files and report every mistake
    Check {
        /// The files or names; without any, all of the project's `workflows/` folder
        workflows: Vec<String>,
    },
    /// Print a workflow: what it takes and its steps
    Show {
        /// The workflow
        workflow: String,
        /// Print the YAML text instead
        #[arg(long)]
        source: bool,
    },
    /// Draw a workflow's steps
    Graph {
        /// The workflow
        workflow: String,
        /// How to draw
        #[arg(long, value_enum, default_value_t = GraphFormat::Tree)]
        format: GraphFormat,
    },
    /// Deploy a workflow, so that runs can be started by its name
    Deploy {
        /// The workflow
        workflow: String,
    },
    /// List deployed workflows, and those that can be run without deploying
    List,
    /// Print the JSON Schema of the language, for editors
    Schema,
}

/// How a graph is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum GraphFormat {
    /// Indented text
    Tree,
    /// Mermaid flowchart
    Mermaid,
    /// Graphviz
    Dot,
}
