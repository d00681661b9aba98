//! What was typed after `events bridge`.
//!
//! For: the flags of a bridge, with their help. Not for: their meaning.
//! Invariant: an address may be given where no list of processes shows it.

use clap::{Args, ValueEnum};
use consort_types::Span;

/// A bridge.
#[derive(Debug, Args)]
pub(crate) struct BridgeArgs {
    /// The other side: `nats://HOST:PORT`, `amqp://HOST:PORT[/VHOST]` or `redis://HOST:PORT[/DATABASE]`
    #[arg(long, value_name = "URL", env = "CONSORT_BRIDGE_TO", hide_env_values = true)]
    pub(crate) to: String,
    /// The topics that are carried: `*` is any one segment, `>` at the end the rest
    #[arg(long, value_name = "PATTERN")]
    pub(crate) topic: String,
    /// Which way events go
    #[arg(long, value_enum, default_value_t = BridgeDirection::Both)]
    pub(crate) direction: BridgeDirection,
    /// The name of the bridge, also on the other side: one process works under it at a time, others stand by
    #[arg(long, value_name = "NAME", default_value = "bridge")]
    pub(crate) name: String,
    /// The stream of NATS, the exchange of RabbitMQ, or the key of Redis; made where it is not there
    #[arg(long, value_name = "NAME", default_value = "consort")]
    pub(crate) stream: String,
    /// What subjects and routing keys have before the topic
    #[arg(long, value_name = "TEXT", default_value = "consort.")]
    pub(crate) prefix: String,
    /// Where a new bridge begins, on both sides
    #[arg(long, value_enum, default_value_t = BridgeStart::New)]
    pub(crate) from: BridgeStart,
    /// After how long without a sign of life another process takes over [default: 10s]
    #[arg(long, value_name = "TIME")]
    pub(crate) lease: Option<Span>,
}

/// Which way the events of a bridge go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BridgeDirection {
    /// To the other side and back
    Both,
    /// To the other side
    Out,
    /// From the other side
    In,
}

/// Where a new bridge begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BridgeStart {
    /// With what comes from now on
    New,
    /// With the oldest that is kept
    All,
}
