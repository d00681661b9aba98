//! Every setting, declared once: its name, its kind, its default and what it is for.
//!
//! For: the loader, `config show`, the flags and `docs/configuration.md`, which are all made from this table.
//! Not for: limits (those are `consort_types::limits`) or for values (see `Settings`).
//! Invariant: a name is written in one place; its environment variable and its flag follow from it.

use std::net::SocketAddr;

use consort_types::{Code, Error, Name, Result, Span};

/// What the text of a setting must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A path; a relative one in a file is taken from the folder of that file.
    Path,
    /// The same, or `off` for none.
    OptionalPath,
    /// `HOST:PORT`; port 0 lets the system choose.
    Address,
    /// `same` as another address, an address of its own, or `off`.
    Listener,
    /// `HOST:PORT` or `http://HOST:PORT`; empty for none.
    Server,
    /// A name of letters, digits, `_`, `-` and `.`.
    Name,
    /// Any text that must not be shown.
    Secret,
    /// `off`, `error`, `warn`, `info`, `debug` or `trace`.
    Level,
    /// A duration such as `30s` or `1h30m`.
    Span,
    /// A duration, or `keep` for "without end".
    Keep,
    /// A whole number from 1 on.
    Count,
    /// A whole number of mebibytes from 1 on, or `off`.
    Mebibytes,
    /// Ranges of addresses and hosts, with commas between; empty for none.
    Targets,
    /// Commands of a shell, one a line; in a file a list of them. Empty for none.
    Commands,
}

impl Kind {
    /// The words that the reference uses.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::OptionalPath => "path or `off`",
            Self::Address => "`HOST:PORT`",
            Self::Listener => "`same`, `HOST:PORT` or `off`",
            Self::Server => "`HOST:PORT` or URL",
            Self::Name => "name",
            Self::Secret => "text, never shown",
            Self::Level => "`off`, `error`, `warn`, `info`, `debug`, `trace`",
            Self::Span => "duration",
            Self::Keep => "duration or `keep`",
            Self::Count => "whole number",
            Self::Mebibytes => "whole number of MiB, or `off`",
            Self::Targets => "ranges of addresses and hosts, with commas between",
            Self::Commands => "list of texts in a file, one a line elsewhere",
        }
    }
}

/// One setting.
#[derive(Debug, PartialEq, Eq)]
pub struct Key {
    /// Its name, as in a configuration file.
    pub name: &'static str,
    /// What its text must look like.
    pub kind: Kind,
    /// The default.
    pub default: &'static str,
    /// Whether a flag of the same name exists on the command line.
    pub flag: bool,
    /// What it is for.
    pub doc: &'static str,
}

macro_rules! keys {
    ($($(#[doc = $doc:literal])+ $id:ident = $name:literal, $kind:ident, $default:literal, $flag:literal;)+) => {
        $($(#[doc = $doc])+ pub const $id: &Key = &Key {
            name: $name, kind: Kind::$kind, default: $default, flag: $flag, doc: concat!($($doc),+),
        };)+

        /// Every setting, in the order of the reference.
        pub const ALL: &[&Key] = &[$($id),+];
    };
}

keys! {
    /// The folder that holds runs, log and store. The default is beside `consort.toml`, where there is one, or else in
    /// the current folder.
    DATA_DIR = "data-dir", Path, ".consort", true;
    /// The server that commands talk to. Without it a command finds the process that has the data folder open, or opens it itself.
    SERVER = "server", Server, "", true;
    /// The token that a server demands and a client sends. A server without a token listens on loopback only.
    TOKEN = "token", Secret, "", false;
    /// The namespace that commands work in.
    NAMESPACE = "namespace", Name, "default", true;
    /// Where `consort up` listens for HTTP and gRPC.
    LISTEN = "listen", Address, "127.0.0.1:7878", true;
    /// Where workers reach `consort up` over gRPC: `same` as `listen`, an address of its own, or `off` for nowhere.
    GRPC_LISTEN = "grpc-listen", Listener, "same", true;
    /// How much is logged to standard error.
    LOG = "log", Level, "warn", true;
    /// How long ended runs are kept; `keep` keeps them. Applied at the start of a server.
    RETENTION = "retention", Keep, "keep", false;
    /// How many tasks each built-in agent runs at once.
    CONCURRENCY = "concurrency", Count, "8", false;
    /// How long the tasks of a disconnected worker wait for it to reconnect.
    GRACE = "grace", Span, "10s", false;
    /// How long a remote worker that holds tasks may be silent before it counts as lost.
    HEARTBEAT_TIMEOUT = "heartbeat-timeout", Span, "30s", false;
    /// How long a task with a journal waits for the version of its agent that wrote it, while no instance of that version is
    /// connected, before another version may continue with it.
    PINNED_WAIT = "pinned-wait", Span, "1m", false;
    /// How long a stopping server waits for running tasks.
    DRAIN_TIMEOUT = "drain-timeout", Span, "30s", false;
    /// How long changed rows stay in memory at most before they go to the store.
    FLUSH_INTERVAL = "flush-interval", Span, "250ms", false;
    /// How long rows stay unsynced in the store at most; the log is trimmed behind a sync.
    SYNC_INTERVAL = "sync-interval", Span, "5s", false;
    /// After how much log a snapshot of the store is made. The last two are kept, and the log from the older one on: a store
    /// that is missing or damaged is made again from them.
    SNAPSHOT_LOG = "snapshot-log", Mebibytes, "64", false;
    /// How much room the disk must have for commands to be taken. With less, requests that change something are refused
    /// until there is room again.
    FREE_SPACE = "free-space", Mebibytes, "64", false;
    /// The folder of a sentence-embedding model with which `research` ranks by meaning as well. It needs a program that was
    /// built with `--features semantic`.
    RESEARCH_MODEL = "research-model", OptionalPath, "off", false;
    /// The folder of the secrets with which events are signed that are pushed to webhooks: a file for each, by its name.
    /// Without it nothing is pushed.
    WEBHOOK_SECRETS = "webhook-secrets", OptionalPath, "off", false;
    /// What webhooks may be at beyond public addresses, such as `10.1.0.0/16,hooks.internal`. A host that is named may be
    /// at any address.
    WEBHOOK_ALLOW = "webhook-allow", Targets, "", false;
    /// The commands that start workers under `consort dev`, such as `["python agent/worker.py"]`; its flag `--worker` gives
    /// others. They are run by `sh`, in the folder of the file.
    DEV_WORKERS = "dev-workers", Commands, "", false;
}

impl Key {
    /// The setting of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|key| key.name == name).copied()
    }

    /// The environment variable that sets it.
    pub fn variable(&self) -> String {
        format!("CONSORT_{}", self.name.replace('-', "_").to_uppercase())
    }

    /// Refuses a text that does not fit, saying what would.
    pub(crate) fn check(&self, text: &str, origin: &dyn std::fmt::Display) -> Result<()> {
        let fits = match self.kind {
            Kind::Path | Kind::OptionalPath => !text.is_empty(),
            Kind::Address => text.parse::<SocketAddr>().is_ok(),
            Kind::Listener => matches!(text, "same" | "off") || text.parse::<SocketAddr>().is_ok(),
            Kind::Server => text.is_empty() || server_address(text).is_some(),
            Kind::Name => Name::check("namespace", text).is_ok(),
            Kind::Secret => !text.contains(|c: char| c.is_control()),
            Kind::Level => matches!(text, "off" | "error" | "warn" | "info" | "debug" | "trace"),
            Kind::Span => text.parse::<Span>().is_ok(),
            Kind::Keep => text == "keep" || text.parse::<Span>().is_ok(),
            Kind::Count => text.parse::<u32>().is_ok_and(|count| count > 0),
            Kind::Mebibytes => text == "off" || text.parse::<u32>().is_ok_and(|count| count > 0),
            Kind::Targets => text.parse::<consort_webhooks::Allow>().is_ok(),
            Kind::Commands => !text.contains(|c: char| c.is_control() && c != '\n' && c != '\t'),
        };
        if fits {
            return Ok(());
        }
        let shown = match self.kind {
            Kind::Secret => "…".to_owned(),
            Kind::Server => without_user(text),
            _ => text.to_owned(),
        };
        let message = format!("the setting `{}` cannot be `{shown}` ({origin})", self.name);
        Err(Error::new(Code::BadSetting, message).hint(format!("give it as {}", self.kind.describe())))
    }
}

/// The text of an address without the user and the password that may be in it.
fn without_user(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").map_or(("", text), |(scheme, rest)| (scheme, rest));
    match rest.rsplit_once('@') {
        Some((_, host)) if scheme.is_empty() => format!("…@{host}"),
        Some((_, host)) => format!("{scheme}://…@{host}"),
        None => text.to_owned(),
    }
}

/// The `HOST:PORT` of a server, with or without `http://`.
pub(crate) fn server_address(text: &str) -> Option<String> {
    let rest = text.strip_prefix("http://").unwrap_or(text);
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = rest.rsplit_once(':')?;
    let plain = !host.is_empty() && !host.contains(['/', ' ', '@']) && port.parse::<u16>().is_ok();
    plain.then(|| rest.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_name_a_doc_and_a_default_that_fits() {
        for (i, key) in ALL.iter().enumerate() {
            assert!(!key.doc.is_empty());
            key.check(key.default, &"default").unwrap();
            assert!(ALL[..i].iter().all(|other| other.name != key.name), "{}", key.name);
            assert_eq!(Key::find(key.name), Some(*key));
        }
    }

    #[test]
    fn texts_that_do_not_fit_are_refused_with_what_would() {
        for (key, text) in [
            (LISTEN, "7878"),
            (LISTEN, "off"),
            (GRPC_LISTEN, "on"),
            (SERVER, "nowhere"),
            (LOG, "loud"),
            (GRACE, "10"),
            (RETENTION, "ever"),
            (CONCURRENCY, "0"),
            (SNAPSHOT_LOG, "0"),
            (FREE_SPACE, "1 GiB"),
            (NAMESPACE, "a b"),
            (DATA_DIR, ""),
            (RESEARCH_MODEL, ""),
            (WEBHOOK_ALLOW, "10.0.0.0/33"),
        ] {
            let error = key.check(text, &"flag").unwrap_err();
            assert!(error.message.contains(key.name) && error.hint.is_some(), "{error}");
        }
        assert!(!TOKEN.check("a\nb", &"flag").unwrap_err().message.contains("a\nb"));
        for text in ["http://ada:sesame@host:1", "ada:ses@me@host:1", "https://sesame@host", "//ada:sesame@host:1/x"] {
            let message = SERVER.check(text, &"flag").unwrap_err().message;
            assert!(message.contains("…@host") && !message.contains("ses") && !message.contains("ada"), "{message}");
        }
    }

    #[test]
    fn servers_are_read_with_and_without_scheme() {
        assert_eq!(server_address("http://127.0.0.1:80/").as_deref(), Some("127.0.0.1:80"));
        assert_eq!(server_address("[::1]:80").as_deref(), Some("[::1]:80"));
        for bad in ["https://a:1", "a", "a:b", ":80", "http://a:1/x"] {
            assert_eq!(server_address(bad), None, "{bad}");
        }
    }
}
