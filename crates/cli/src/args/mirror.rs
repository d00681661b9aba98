//! What was typed after `state mirror`.
//!
//! For: the flags of a mirror, with their help. Not for: their meaning.
//! Invariant: an address may be given where no list of processes shows it.

use clap::{Args, ValueEnum};
use consort_types::Span;

/// A mirror.
#[derive(Debug, Args)]
pub(crate) struct MirrorArgs {
    /// The space, made where it is not there
    pub(crate) space: String,
    /// The other side: `redis://[USER:PASSWORD@]HOST:PORT[/DATABASE]`, `etcd://[USER:PASSWORD@]HOST:PORT`, or a space of
    /// another server, `consort://[TOKEN@]HOST:PORT/[NAMESPACE/]SPACE`
    #[arg(long, value_name = "URL", env = "CONSORT_MIRROR_TO", hide_env_values = true)]
    pub(crate) to: String,
    /// What keys begin with in Redis or etcd
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) prefix: String,
    /// Which way changes go
    #[arg(long, value_enum, default_value_t = MirrorDirection::Both)]
    pub(crate) direction: MirrorDirection,
    /// The name of the mirror: one process mirrors under it at a time, others stand by [default: the space]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// How often everything is compared with Redis, whose notifications may be lost [default: 30s]
    #[arg(long, value_name = "TIME")]
    pub(crate) compare: Option<Span>,
    /// After how long without a sign of life another process takes over [default: 10s]
    #[arg(long, value_name = "TIME")]
    pub(crate) lease: Option<Span>,
}

/// Which way the changes of a mirror go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MirrorDirection {
    /// To the other side and back
    Both,
    /// To the other side; what is changed there is overwritten
    Out,
    /// From the other side
    In,
}
