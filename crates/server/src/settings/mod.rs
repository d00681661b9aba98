//! Settings with their origins.
//!
//! For: typed values for the rest of the program, and `config show`. Not for: reading them again later (a process
//! keeps what it started with).
//! Invariant: every value was checked when it was loaded, so the getters cannot fail; a secret is never shown.

pub mod keys;
mod load;
mod page;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use consort_types::Span;

pub use keys::{Key, Kind};
pub use load::{Origin, PROJECT_FILE, Sources};
pub use page::reference_page;

/// Where a server listens for gRPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrpcListen {
    /// On the address of HTTP; the two are distinguished by protocol and content type.
    Same,
    /// On an address of its own.
    At(SocketAddr),
    /// Nowhere.
    Off,
}

/// The settings of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    values: BTreeMap<&'static str, (String, Origin)>,
    root: PathBuf,
    folder: PathBuf,
}

impl Settings {
    fn text(&self, key: &Key) -> &str {
        &self.values[key.name].0
    }

    fn span(&self, key: &Key) -> Span {
        self.text(key).parse().expect("a span was checked when it was loaded")
    }

    /// What may be shown of a setting, and its origin.
    pub fn show(&self, key: &Key) -> (&str, &Origin) {
        let (text, origin) = &self.values[key.name];
        let shown = if key.kind == Kind::Secret && !text.is_empty() { "(set)" } else { text };
        (shown, origin)
    }

    /// The folder that the process was started in, absolute.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The project's folder: that of `consort.toml`, or the current one.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The data folder, absolute.
    pub fn data_dir(&self) -> &Path {
        Path::new(self.text(keys::DATA_DIR))
    }

    /// The `HOST:PORT` of the server to talk to, where one is named.
    pub fn server(&self) -> Option<String> {
        keys::server_address(self.text(keys::SERVER))
    }

    /// The token, where one is set.
    pub fn token(&self) -> Option<&str> {
        Some(self.text(keys::TOKEN)).filter(|token| !token.is_empty())
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        self.text(keys::NAMESPACE)
    }

    /// Where a server listens.
    pub fn listen(&self) -> SocketAddr {
        self.text(keys::LISTEN).parse().expect("an address was checked when it was loaded")
    }

    /// Where a server listens for gRPC.
    pub fn grpc_listen(&self) -> GrpcListen {
        match self.text(keys::GRPC_LISTEN) {
            "same" => GrpcListen::Same,
            "off" => GrpcListen::Off,
            address => GrpcListen::At(address.parse().expect("an address was checked when it was loaded")),
        }
    }

    /// The log level.
    pub fn log(&self) -> &str {
        self.text(keys::LOG)
    }

    /// How long ended runs are kept; the outer `None` where it is not set, the inner one for "without end".
    pub fn retention(&self) -> Option<Option<Span>> {
        let (text, origin) = &self.values[keys::RETENTION.name];
        (*origin != Origin::Default).then(|| text.parse().ok())
    }

    /// Tasks that each built-in agent runs at once.
    pub fn concurrency(&self) -> u32 {
        self.text(keys::CONCURRENCY).parse().expect("a count was checked when it was loaded")
    }

    /// The folder of the model with which `research` ranks by meaning, where one is set.
    pub fn research_model(&self) -> Option<&Path> {
        Some(self.text(keys::RESEARCH_MODEL)).filter(|text| *text != "off").map(Path::new)
    }

    /// How events are pushed to webhooks.
    pub fn webhooks(&self) -> consort_webhooks::Options {
        consort_webhooks::Options {
            secrets: Some(self.text(keys::WEBHOOK_SECRETS)).filter(|text| *text != "off").map(Into::into),
            allow: self.text(keys::WEBHOOK_ALLOW).parse().expect("what may be reached was checked when it was loaded"),
        }
    }

    /// The commands that start workers under `consort dev`, and the folder in which they run: that of the project's file,
    /// unless they were given on the command line.
    pub fn dev_workers(&self) -> (Vec<&str>, &Path) {
        let (text, origin) = &self.values[keys::DEV_WORKERS.name];
        let commands = text.lines().map(str::trim).filter(|command| !command.is_empty()).collect();
        (commands, if *origin == Origin::Flag { &self.folder } else { &self.root })
    }

    /// How long a stopping server waits for tasks.
    pub fn drain_timeout(&self) -> Span {
        self.span(keys::DRAIN_TIMEOUT)
    }

    /// Bytes of log between two snapshots; `None` for no snapshots.
    pub fn snapshot_log(&self) -> Option<u64> {
        self.mebibytes(keys::SNAPSHOT_LOG)
    }

    /// Bytes that must be free for commands to be taken; `None` for any.
    pub fn free_space(&self) -> Option<u64> {
        self.mebibytes(keys::FREE_SPACE)
    }

    fn mebibytes(&self, key: &Key) -> Option<u64> {
        self.text(key).parse::<u64>().ok().map(|count| count << 20)
    }

    /// The engine's part.
    pub fn engine(&self) -> consort_engine::Config {
        consort_engine::Config {
            grace: self.span(keys::GRACE),
            heartbeat_timeout: self.span(keys::HEARTBEAT_TIMEOUT),
            pinned_wait: self.span(keys::PINNED_WAIT),
            flush_interval: self.span(keys::FLUSH_INTERVAL),
            sync_interval: self.span(keys::SYNC_INTERVAL),
            ..consort_engine::Config::default()
        }
    }
}
