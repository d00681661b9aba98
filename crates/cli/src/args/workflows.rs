//! What was typed after `workflows`.
//!
//! For: the commands for writing workflows. Not for: their meaning.
//! Invariant: every command names workflows in the same way: a file, a project's, a shipped or a deployed one.

use clap::{Args, Subcommand, ValueEnum};

/// `consort workflows`.
#[derive(Debug, Subcommand)]
pub(crate) enum WorkflowsCommand {
    /// Check workflow files and report every mistake
    Check {
        /// The files or names; without any, all of the project's `workflows/` folder
        workflows: Vec<String>,
    },
    /// Test workflows with mocked agents, in memory and with time skipped; docs/developing.md has the form of the files
    Test(WorkflowTestArgs),
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
    /// List workflows: those that are deployed, with the revision that starts by name take, and those that can be run
    /// without deploying
    List,
    /// List the revisions of a deployed workflow: when each was deployed, how many runs use it, which one its name takes
    Versions {
        /// The name
        name: String,
    },
    /// Have a workflow's name take an earlier revision again; runs in flight keep their own
    Rollback {
        /// The name
        name: String,
        /// The revision: its number, its content hash (at least 8 digits of it), or the version that its author wrote;
        /// without it, the one before the current one
        #[arg(long, value_name = "REVISION")]
        to: Option<String>,
    },
    /// Have a workflow take no new starts; runs in flight continue, and deploying it again ends the retirement
    Retire {
        /// The name
        name: String,
    },
    /// Delete a retired workflow of which no run is active; its ended runs keep their definitions
    Delete {
        /// The name
        name: String,
    },
    /// Print the JSON Schema of the language, for editors
    Schema,
}

/// `consort workflows test`.
#[derive(Debug, Args)]
pub(crate) struct WorkflowTestArgs {
    /// Files of tests; without any, every `*.test.yaml` of the project's `tests/` folder
    pub(crate) files: Vec<String>,
    /// Run only the tests that have this text in their name
    #[arg(long, value_name = "TEXT")]
    pub(crate) only: Option<String>,
    /// Write a report in the form of JUnit into this file
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<String>,
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
