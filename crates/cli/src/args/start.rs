//! What was typed after `run`, `up` and `dev`.
//!
//! For: the flags that start things. Not for: their meaning.
//! Invariant: as in `args`.

use std::collections::BTreeMap;

use clap::Args;
use consort_server::settings::keys;

/// `consort run`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own on the command line")]
pub(crate) struct RunArgs {
    /// The workflow: a YAML file, a name in the project's `workflows/` folder, a shipped one, or a deployed one
    pub(crate) workflow: String,
    /// A field of the input (`question=why`, `notes=@notes.txt`), or all of it (`@input.json`, `@-` for standard input)
    ///
    /// The declared type decides how a value is read: text stays text, a list takes one item each time it is given,
    /// anything else is read as JSON. Fields of format `path` are made absolute.
    #[arg(long, short, value_name = "KEY=VALUE|@FILE")]
    pub(crate) input: Vec<String>,
    /// Show progress where it would be left out: with `--json`, one event a line before the result
    #[arg(long)]
    pub(crate) watch: bool,
    /// Show no progress, only the result
    #[arg(long, short, conflicts_with = "watch")]
    pub(crate) quiet: bool,
    /// Start a new run on a server, print its id and leave it there
    #[arg(long, conflicts_with_all = ["watch", "out"])]
    pub(crate) detach: bool,
    /// Write the result into this folder: `report.md` and `report.json`, or `output.json`
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<String>,
    /// Start at most one run under this key; giving it again answers the first run
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
    /// Start a new run even where the same command was interrupted before
    #[arg(long)]
    pub(crate) new: bool,
    /// A label of the run
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) label: Vec<String>,
    /// Added to the priority of every step
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub(crate) priority: Option<i32>,
    /// How long the run may take, such as `10m`
    #[arg(long, value_name = "DURATION")]
    pub(crate) timeout: Option<String>,
}

/// `consort up`.
#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// Where to listen, for HTTP and gRPC [default: 127.0.0.1:7878]
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "port")]
    listen: Option<String>,
    /// The port to listen on, on loopback; 0 lets the system choose
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Where to listen for gRPC: `same` as `--listen`, an address of its own, or `off` [default: same]
    #[arg(long, value_name = "HOST:PORT")]
    grpc_listen: Option<String>,
}

impl UpArgs {
    /// The settings that were given as flags, by name.
    pub(crate) fn settings(&self) -> BTreeMap<&'static str, String> {
        let listen = self.port.map(|port| format!("127.0.0.1:{port}")).or_else(|| self.listen.clone());
        let given = [(keys::LISTEN.name, listen), (keys::GRPC_LISTEN.name, self.grpc_listen.clone())];
        given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

/// `consort dev`.
#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    /// A command that starts a worker, such as `python agent/worker.py`; may be given more than once [default: the
    /// setting `dev-workers`]
    ///
    /// It is run by `sh`, with `CONSORT_SERVER` and `CONSORT_TOKEN` in its environment. The folder of the first path in it
    /// is watched; without one, the folder that it runs in.
    #[arg(long, value_name = "COMMAND")]
    worker: Vec<String>,
    #[command(flatten)]
    up: UpArgs,
}

impl DevArgs {
    /// The settings that were given as flags, by name.
    pub(crate) fn settings(&self) -> BTreeMap<&'static str, String> {
        let mut settings = self.up.settings();
        if !self.worker.is_empty() {
            settings.insert(keys::DEV_WORKERS.name, self.worker.join("\n"));
        }
        settings
    }
}
