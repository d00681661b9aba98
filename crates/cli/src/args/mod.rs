//! What was typed: the commands and flags, with their help.
//!
//! For: one place that names every command and flag; help, completions and `docs/cli.md` are made from it.
//! Not for: what they mean (see `app` and `command`).
//! Invariant: nothing here reads a file, the environment or a clock.

mod agents;
mod ballots;
#[cfg(feature = "bridge")]
mod bridge;
mod events;
mod keep;
mod locks;
#[cfg(feature = "mirror")]
mod mirror;
mod operate;
mod patterns;
mod replay;
mod schedules;
mod start;
mod state;
mod workflows;

use std::collections::BTreeMap;

use clap::{Args, Parser, Subcommand, ValueEnum};
use consort_server::settings::keys;

pub(crate) use agents::{AgentFilterArgs, AgentsCommand, QuotaSetArgs, QuotasCommand};
pub(crate) use ballots::{BallotEndArgs, BallotOpenArgs, BallotVoteArgs, BallotsCommand};
#[cfg(feature = "bridge")]
pub(crate) use bridge::{BridgeArgs, BridgeDirection, BridgeStart};
pub(crate) use events::{
    CreateArgs, DeadArgs, DeadCommand, EventsCommand, PublishArgs, SubscriptionsCommand, TriggerArgs, TriggersCommand,
};
pub(crate) use keep::{BackupArgs, BackupCommand, DoctorArgs, RestoreArgs};
pub(crate) use locks::{BarriersCommand, LockArgs, LockRunArgs, LocksCommand, ReleaseArgs};
#[cfg(feature = "mirror")]
pub(crate) use mirror::{MirrorArgs, MirrorDirection};
pub(crate) use operate::{DecisionArgs, InboxCommand, ListArgs, RunsCommand, UpdateArgs};
pub(crate) use patterns::PatternsCommand;
pub(crate) use replay::ReplayCheckArgs;
pub(crate) use schedules::{ScheduleArgs, SchedulesCommand};
pub(crate) use start::{DevArgs, RunArgs, UpArgs};
pub(crate) use state::{
    DecideArgs as StateDecideArgs, KeyArgs as StateKeyArgs, PutArgs, SetArgs as StateSetArgs, StateCommand,
};
pub(crate) use workflows::{GraphFormat, WorkflowTestArgs, WorkflowsCommand};

/// Runs workflows of agents durably: what is acknowledged survives any crash, and runs continue after it.
#[derive(Debug, Parser)]
#[command(name = "consort", version, max_term_width = 100, propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Globals {
    /// The folder that holds runs, log and store [default: `.consort` of the project]
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<String>,
    /// The server to talk to, instead of the data folder of the project
    #[arg(long, global = true, value_name = "HOST:PORT")]
    server: Option<String>,
    /// The namespace to work in [default: `default`]
    #[arg(long, global = true, value_name = "NAME")]
    namespace: Option<String>,
    /// How much to log to standard error: `off`, `error`, `warn`, `info`, `debug` or `trace` [default: `warn`]
    #[arg(long, global = true, value_name = "LEVEL")]
    log: Option<String>,
    /// Print JSON: one document, or one a line where there are many
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// When to use colour
    #[arg(long, global = true, value_enum, default_value_t = ColorChoice::Auto, value_name = "WHEN")]
    pub(crate) color: ColorChoice,
}

impl Globals {
    /// The settings that were given as flags, by name.
    pub(crate) fn settings(&self) -> BTreeMap<&'static str, String> {
        let given = [
            (keys::DATA_DIR, &self.data_dir),
            (keys::SERVER, &self.server),
            (keys::NAMESPACE, &self.namespace),
            (keys::LOG, &self.log),
        ];
        given.into_iter().filter_map(|(key, value)| Some((key.name, value.clone()?))).collect()
    }
}

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// Commands on namespaces.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum NamespacesCommand {
    /// List the namespaces, with the runs, agents, workflows and bytes in each
    List,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a workflow and show its result
    Run(RunArgs),
    /// Start a server on the data folder
    Up(UpArgs),
    /// Start a server and workers beside it; a worker is started again when its files change, or when it exits
    ///
    /// Each line that a worker prints has its name in front. Ctrl-C (or SIGTERM) asks the workers to stop, kills those that
    /// have not within 10 seconds, and stops the server; a second one stops at once. It then ends with 0, as `consort up`
    /// does, with 4 where the server cannot be started, and with 6 where it halts.
    Dev(DevArgs),
    /// Show runs, and operate them
    #[command(subcommand)]
    Runs(RunsCommand),
    /// Check, show and deploy workflows
    #[command(subcommand)]
    Workflows(WorkflowsCommand),
    /// List and show the patterns that ship, and write one as files that run
    #[command(subcommand)]
    Patterns(PatternsCommand),
    /// See what waits for a person, and decide it
    Inbox {
        /// What to do; without it, the inbox is listed
        #[command(subcommand)]
        command: Option<InboxCommand>,
    },
    /// See the agents and what they can do, and operate them
    #[command(subcommand)]
    Agents(AgentsCommand),
    /// Replay the journals of tasks in flight against new code, before it is deployed; nothing is done
    ReplayCheck(ReplayCheckArgs),
    /// See what waits for agents, and why
    Queues {
        /// Draw them again each second
        #[arg(long)]
        watch: bool,
    },
    /// Show and set how many tasks run, how fast they start, and how many wait
    #[command(subcommand)]
    Quotas(QuotasCommand),
    /// Read, write and follow what agents share, and decide conflicts
    #[command(subcommand)]
    State(StateCommand),
    /// Acquire, renew, release and watch locks, elections and semaphores, or run a command under one
    #[command(subcommand)]
    Locks(LocksCommand),
    /// Have programs wait for each other
    #[command(subcommand)]
    Barriers(BarriersCommand),
    /// Ask voters a question, vote, and see what was decided
    #[command(subcommand)]
    Ballots(BallotsCommand),
    /// Publish, list and follow events
    #[command(subcommand)]
    Events(EventsCommand),
    /// See and operate durable subscriptions to events, and consume their deliveries
    #[command(subcommand)]
    Subscriptions(SubscriptionsCommand),
    /// See and set what starts workflows and signals runs when events come
    #[command(subcommand)]
    Triggers(TriggersCommand),
    /// Set and see schedules, which start workflows and publish events at planned instants
    #[command(subcommand)]
    Schedules(SchedulesCommand),
    /// See the namespaces of the server, and what each holds
    #[command(subcommand)]
    Namespaces(NamespacesCommand),
    /// List the built-in limits, with their reasons
    Limits,
    /// Write a backup of everything, while a server works or without one, or verify one
    Backup(BackupArgs),
    /// Make a data folder of a backup
    Restore(RestoreArgs),
    /// Examine the data folder and the machine; changes nothing, unless one of its flags says so
    Doctor(DoctorArgs),
    /// Show the settings
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Make a starter project in a folder
    Init {
        /// The folder, made where there is none
        #[arg(default_value = ".")]
        folder: String,
        /// Add the workflows of an example
        #[arg(long, value_enum, value_name = "NAME")]
        example: Option<Example>,
        /// Add an agent in Python with its tests, and a workflow that calls it
        #[arg(long, group = "language")]
        python: bool,
        /// Add an agent in TypeScript with its tests, and a workflow that calls it
        #[arg(long, group = "language")]
        typescript: bool,
        /// Add an agent in Rust with its tests, and a workflow that calls it
        #[arg(long, group = "language")]
        rust: bool,
    },
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Read a PDF file in a process of its own, and print its text as JSON
    #[command(name = "internal-extract-pdf", hide = true)]
    InternalExtractPdf {
        /// The file
        file: std::path::PathBuf,
    },
    /// Print a generated page of the documentation
    #[command(name = "internal-docs", hide = true)]
    InternalDocs {
        /// `cli` or `configuration`
        page: DocsPage,
    },
}

/// What a starter project may begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Example {
    /// The workflows of the tour in the documentation
    Tour,
}

/// The settings.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print every setting with its value
    Show {
        /// Print where each value comes from too
        #[arg(long)]
        origin: bool,
    },
}

/// Pages that are made from the code.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum DocsPage {
    /// `docs/cli.md`
    Cli,
    /// `docs/configuration.md`
    Configuration,
}
