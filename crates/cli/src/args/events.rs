//! What was typed after `events`, `subscriptions` and `triggers`.
//!
//! For: the commands of the event bus. Not for: their meaning.
//! Invariant: a place in the events is typed in the same way everywhere: a position, an instant, `new` or `all`.

use clap::{Args, Subcommand};

use super::operate::at_least_one;

/// `consort events`.
#[derive(Debug, Subcommand)]
pub(crate) enum EventsCommand {
    /// Publish an event, or those of a file
    Publish(Box<PublishArgs>),
    /// List events in the order in which they were published
    List {
        /// Only of topics that match: `*` is any one segment, `>` at the end the rest
        #[arg(long, value_name = "PATTERN")]
        topic: Option<String>,
        /// Only from here on: behind a position, or from an instant on
        #[arg(long, value_name = "POSITION|INSTANT")]
        from: Option<String>,
        /// How many at most
        #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = at_least_one)]
        limit: usize,
    },
    /// Show an event, as JSON
    Show {
        /// Its position, such as `1042-0`
        position: String,
    },
    /// Follow events until it is interrupted; a lost connection is opened again without a gap
    Watch {
        /// Only of topics that match: `*` is any one segment, `>` at the end the rest
        #[arg(long, value_name = "PATTERN")]
        topic: Option<String>,
        /// From here on: behind a position, from an instant on, or `all`; without it, only new ones
        #[arg(long, value_name = "POSITION|INSTANT|all")]
        from: Option<String>,
        /// End after so many events
        #[arg(long, value_name = "COUNT", value_parser = at_least_one)]
        count: Option<usize>,
    },
    /// Carry events to and from NATS JetStream, RabbitMQ or Redis Streams, until it is interrupted
    #[cfg(feature = "bridge")]
    Bridge(Box<super::BridgeArgs>),
    /// Show or set how long and how many events are kept; what is not given stays as it is
    Retention {
        /// A duration such as `7d`, or `keep` for without end
        #[arg(long, value_name = "DURATION|keep")]
        age: Option<String>,
        /// Bytes of events, or `keep` for without end
        #[arg(long, value_name = "BYTES|keep")]
        bytes: Option<String>,
        /// How many events, or `keep` for without end
        #[arg(long, value_name = "COUNT|keep")]
        count: Option<String>,
    },
}

/// An event to publish.
#[derive(Debug, Args)]
pub(crate) struct PublishArgs {
    /// A file with an event of CloudEvents in JSON, or a list of them (`@-` for standard input)
    #[arg(value_name = "@FILE", conflicts_with_all = ["kind", "topic", "subject", "id", "data", "extension"])]
    pub(crate) file: Option<String>,
    /// The kind of event, such as `orders.created`
    #[arg(long = "type", value_name = "TYPE", required_unless_present = "file")]
    pub(crate) kind: Option<String>,
    /// By what it is subscribed to [default: its type]
    #[arg(long)]
    pub(crate) topic: Option<String>,
    /// What it is about
    #[arg(long)]
    pub(crate) subject: Option<String>,
    /// Where it happened, as a URI reference
    #[arg(long, default_value = "/consort/cli")]
    pub(crate) source: String,
    /// What identifies it among those of its source: published again, it is not there twice [default: a new one]
    #[arg(long)]
    pub(crate) id: Option<String>,
    /// Its data: JSON, `@FILE`, or plain text
    #[arg(long, value_name = "JSON|@FILE")]
    pub(crate) data: Option<String>,
    /// An extension attribute
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) extension: Vec<String>,
}

/// `consort subscriptions`.
#[derive(Debug, Subcommand)]
pub(crate) enum SubscriptionsCommand {
    /// Make a subscription, or change the settings of one, which keeps its place
    Create(Box<CreateArgs>),
    /// List subscriptions, with their lag
    List,
    /// Show a subscription
    Show {
        /// Its name
        name: String,
    },
    /// Take deliveries, one document a line; each is to be acknowledged
    Fetch {
        /// The subscription
        name: String,
        /// How many at most
        #[arg(long, value_name = "COUNT", default_value_t = 1)]
        max: u32,
        /// How long to wait for one where there is none, up to `60s`
        #[arg(long, value_name = "DURATION")]
        wait: Option<String>,
        /// Who takes them, for people who look
        #[arg(long, value_name = "NAME")]
        consumer: Option<String>,
    },
    /// Acknowledge deliveries: their events are not delivered again
    Ack {
        /// The subscription
        name: String,
        /// The deliveries, as `fetch` names them
        #[arg(required = true)]
        deliveries: Vec<String>,
    },
    /// Give deliveries back: their events are delivered again later, or become dead letters
    Nack {
        /// The subscription
        name: String,
        /// The deliveries, as `fetch` names them
        #[arg(required = true)]
        deliveries: Vec<String>,
        /// How long the events wait [default: as the back-off says]
        #[arg(long, value_name = "DURATION")]
        delay: Option<String>,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Move a subscription, to deliver events again or to pass over some; what is in flight is over
    Seek {
        /// The subscription
        name: String,
        /// Behind a position, from an instant on, `new` or `all`
        #[arg(value_name = "POSITION|INSTANT|new|all")]
        to: String,
    },
    /// Pause a subscription: it hands nothing out and pushes nothing, and keeps its place
    Pause {
        /// The subscription
        name: String,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Resume a subscription
    Resume {
        /// The subscription
        name: String,
    },
    /// Delete a subscription with its deliveries and dead letters
    Delete {
        /// The subscription
        name: String,
    },
    /// See the dead letters of a subscription, and settle them
    #[command(subcommand)]
    Dead(DeadCommand),
}

/// A subscription.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Its name
    pub(crate) name: String,
    /// The topics whose events are delivered: `*` is any one segment, `>` at the end the rest
    #[arg(long, value_name = "PATTERN")]
    pub(crate) topic: String,
    /// Where a new one begins: behind a position, from an instant on, `new` or `all`
    #[arg(long, value_name = "POSITION|INSTANT|new|all", default_value = "new")]
    pub(crate) start: String,
    /// Deliver events with the same `subject` or `partitionkey` one at a time, in their order
    #[arg(long, value_name = "KEY", value_parser = ["subject", "partitionkey"])]
    pub(crate) ordered: Option<String>,
    /// How long a consumer may hold a delivery [default: `30s`]
    #[arg(long, value_name = "DURATION")]
    pub(crate) ack_wait: Option<String>,
    /// After how many deliveries an event becomes a dead letter [default: 10]
    #[arg(long, value_name = "COUNT")]
    pub(crate) max_deliveries: Option<u32>,
    /// The first and the longest wait between deliveries [default: `1s,1m`]
    #[arg(long, value_name = "FIRST,LONGEST")]
    pub(crate) back_off: Option<String>,
    /// Deliveries that consumers hold at once [default: 100; 64 where they are tasks]
    #[arg(long, value_name = "COUNT")]
    pub(crate) max_in_flight: Option<u32>,
    /// Deliver only events for which this is true: CEL over `event`
    #[arg(long, value_name = "EXPRESSION")]
    pub(crate) filter: Option<String>,
    /// Hand the events as tasks to agents with this capability; its input is the event
    #[arg(long, value_name = "CAPABILITY", conflicts_with = "push")]
    pub(crate) to_capability: Option<String>,
    /// Hand them only to this agent
    #[arg(long, value_name = "AGENT", requires = "to_capability")]
    pub(crate) to_agent: Option<String>,
    /// How long the run of an acknowledged event is kept [default: not at all]
    #[arg(long, value_name = "DURATION", requires = "to_capability")]
    pub(crate) keep: Option<String>,
    /// Send the events to this webhook, signed as in Standard Webhooks; without it, consumers fetch them
    #[arg(long, value_name = "URL", requires = "secret")]
    pub(crate) push: Option<String>,
    /// The name of the secret that they are signed with: a file in the server's folder `webhook-secrets`
    #[arg(long, value_name = "NAME", requires = "push")]
    pub(crate) secret: Option<String>,
    /// How long the webhook may take to answer [default: `15s`], or an agent for one attempt [default: as it does]
    #[arg(long, value_name = "DURATION")]
    pub(crate) timeout: Option<String>,
}

/// `consort subscriptions dead`.
#[derive(Debug, Subcommand)]
pub(crate) enum DeadCommand {
    /// List dead letters in the order of their events
    List {
        /// The subscription
        name: String,
    },
    /// Deliver dead letters again, as if they had never been delivered
    Redrive(DeadArgs),
    /// Drop dead letters
    Drop(DeadArgs),
}

/// Dead letters.
#[derive(Debug, Args)]
pub(crate) struct DeadArgs {
    /// The subscription
    pub(crate) name: String,
    /// The positions of their events
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub(crate) positions: Vec<String>,
    /// All of them
    #[arg(long)]
    pub(crate) all: bool,
}

/// `consort triggers`.
#[derive(Debug, Subcommand)]
pub(crate) enum TriggersCommand {
    /// Make a trigger, or change what it does
    Set(Box<TriggerArgs>),
    /// List triggers, with what they have done
    List,
    /// Show a trigger with its latest failures
    Show {
        /// Its name
        name: String,
    },
    /// Delete a trigger; what it has started continues
    Delete {
        /// The trigger
        name: String,
    },
    /// Pause a trigger: it keeps its place
    Pause {
        /// The trigger
        name: String,
    },
    /// Resume a trigger: it sees what it has missed
    Resume {
        /// The trigger
        name: String,
    },
}

/// A trigger.
#[derive(Debug, Args)]
pub(crate) struct TriggerArgs {
    /// Its name
    pub(crate) name: String,
    /// The topics that it looks at: `*` is any one segment, `>` at the end the rest
    #[arg(long, value_name = "PATTERN")]
    pub(crate) topic: String,
    /// Which of their events it acts on: CEL over `event` that gives `true` or `false`
    #[arg(long, value_name = "EXPRESSION")]
    pub(crate) filter: Option<String>,
    /// Start a run of this workflow
    #[arg(long, value_name = "WORKFLOW", required_unless_present = "signal", conflicts_with = "signal")]
    pub(crate) start: Option<String>,
    /// A revision number or an author's version of the workflow
    #[arg(long, value_name = "REVISION", requires = "start")]
    pub(crate) revision: Option<String>,
    /// The input of the run: CEL over `event` [default: `event.data`]
    #[arg(long, value_name = "EXPRESSION", requires = "start")]
    pub(crate) input: Option<String>,
    /// Send this signal to a run
    #[arg(long, value_name = "NAME", requires = "run")]
    pub(crate) signal: Option<String>,
    /// The id of the run: CEL over `event` that gives a text
    #[arg(long, value_name = "EXPRESSION", requires = "signal")]
    pub(crate) run: Option<String>,
    /// The payload of the signal: CEL over `event` [default: `event.data`]
    #[arg(long, value_name = "EXPRESSION", requires = "signal")]
    pub(crate) payload: Option<String>,
}
