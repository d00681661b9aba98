//! What every command shares: settings, output streams, and the session with an engine.
//!
//! For: what every command needs. Not for: any single command.
//! Invariant: results go to standard output, everything else to standard error.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    time::{Duration, Instant},
};

use consort_server::{DataFolder, GrpcListen, Role, Server, Settings, settings::Sources};
use consort_types::{Code, Error, Result, Time};
use serde::Serialize;

use crate::{
    args::Globals,
    client::{self, Client},
    show::{
        style::{Style, clean_json},
        when,
    },
};

/// What every command needs.
pub(crate) struct App {
    pub(crate) settings: Settings,
    /// Whether documents are printed instead of text.
    pub(crate) json: bool,
    /// Standard output.
    pub(crate) out: Style,
    /// Standard error.
    pub(crate) err: Style,
}

/// What a command needs an engine for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// To read, or to operate what is there; the data folder must exist.
    Look,
    /// To change something, also in a new folder; tasks are not run.
    Change,
    /// To run tasks too, where no server does.
    Work,
}

/// A connection to an engine, which may be in this process.
pub(crate) struct Session {
    pub(crate) client: Client,
    /// When it was opened.
    pub(crate) opened: Time,
    server: Option<Server>,
}

impl App {
    /// Loads the settings; `flags` are those that were given on the command line, by name.
    pub(crate) fn new(globals: &Globals, flags: BTreeMap<&'static str, String>) -> Result<Self> {
        let settings = Sources::of_process(flags)?.load()?;
        let (out, err) = (Style::stdout(globals.color), Style::stderr(globals.color));
        Ok(Self { settings, json: globals.json, out, err })
    }

    /// Prints to standard output. Where the pipe is closed, the process exits: it has nothing left to do.
    #[expect(clippy::unused_self, reason = "printing belongs to the application, whatever it needs for it")]
    pub(crate) fn print(&self, text: &str) {
        if io::stdout().lock().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()).is_err() {
            std::process::exit(0);
        }
    }

    /// Prints a document, indented for people and on one line in a pipe.
    pub(crate) fn print_json(&self, document: &impl Serialize) {
        if self.out.terminal {
            let text = serde_json::to_string_pretty(document).unwrap_or_default();
            self.print(&format!("{}\n", clean_json(&text)));
        } else {
            self.print_line(document);
        }
    }

    /// Prints a document on one line, wherever it goes.
    pub(crate) fn print_line(&self, document: &impl Serialize) {
        let text = serde_json::to_string(document).unwrap_or_default();
        self.print(&format!("{}\n", if self.out.terminal { clean_json(&text) } else { text }));
    }

    /// Prints documents, one a line.
    pub(crate) fn print_lines(&self, documents: &[impl Serialize]) {
        for document in documents {
            self.print_line(document);
        }
    }

    /// Says that something was done: as a document, or in words on standard error.
    pub(crate) fn done(&self, document: &impl Serialize, text: &str) {
        if self.json {
            self.print_json(document);
        } else {
            self.eprint(text);
        }
    }

    /// Prints a line to standard error.
    #[expect(clippy::unused_self, reason = "as above")]
    pub(crate) fn eprint(&self, text: &str) {
        // Where standard error is closed, there is nowhere to report that.
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    /// Opens a session: with the configured server, the process that has the data folder open, or an engine in this process.
    pub(crate) async fn session(&self, need: Need) -> Result<Session> {
        let opened = when::now();
        let session = |client: Client, server| {
            let client = client.namespace(self.settings.namespace());
            let client = match self.settings.token() {
                Some(token) => client.token(token),
                None => client,
            };
            Session { client, opened, server }
        };
        if let Some(address) = self.settings.server() {
            return Ok(session(client::remote(&address)?, None));
        }
        let folder = DataFolder::at(self.settings.data_dir());
        if need == Need::Look && !folder.exists() {
            let message = format!("there is no data folder `{}`", folder.path().display());
            return Err(Error::new(Code::FolderNotFound, message)
                .hint("`consort run` and `consort up` make one; `--data-dir` and `--server` name another place"));
        }
        let role = match need {
            Need::Look | Need::Change => Role::Look,
            Need::Work => Role::Work { listen: ([127, 0, 0, 1], 0).into(), grpc: GrpcListen::Off },
        };
        let deadline = Instant::now() + HOLDER_WITHIN;
        loop {
            if let Some(address) = self.holder()? {
                return Ok(session(client::remote(&address)?, None));
            }
            match Server::open(&self.settings, role).await {
                Ok(server) => return Ok(session(client::local(server.router()), Some(server))),
                // The process that holds the folder either will publish its address shortly, or is about to exit.
                Err(error) if error.code == Code::Locked && Instant::now() < deadline => {
                    tokio::time::sleep(HOLDER_PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Opens a session, uses it, and closes it again.
    pub(crate) async fn with_session<T>(
        &self,
        need: Need,
        command: impl AsyncFnOnce(&Session) -> Result<T>,
    ) -> Result<T> {
        let session = self.session(need).await?;
        let result = command(&session).await;
        session.close(std::future::pending()).await;
        result
    }

    /// The `HOST:PORT` of the process that has the data folder open, once it has published it.
    pub(crate) fn holder(&self) -> Result<Option<String>> {
        let holder = consort_server::holder(self.settings.data_dir())?;
        Ok(holder.and_then(|holder| holder.text.strip_prefix("http://").map(str::to_owned)))
    }
}

/// How long to wait until the process that holds a folder publishes its address.
const HOLDER_WITHIN: Duration = Duration::from_secs(10);
/// The pause between two attempts.
const HOLDER_PAUSE: Duration = Duration::from_millis(20);

impl Session {
    /// The engine, where it is in this process.
    pub(crate) fn server(&self) -> Option<&Server> {
        self.server.as_ref()
    }

    /// Closes the session; an engine in this process finishes its running tasks, unless `at_once` resolves first.
    pub(crate) async fn close(self, at_once: impl Future<Output = ()>) {
        if let Some(server) = self.server {
            server.close(at_once).await;
        }
    }
}
