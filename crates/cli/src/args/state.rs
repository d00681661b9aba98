//! What was typed after `state`.
//!
//! For: the commands for shared state, with their help. Not for: their meaning.
//! Invariant: every command that is about a key takes the space and then the key.

use clap::{ArgGroup, Args, Subcommand};

/// `consort state`.
#[derive(Debug, Subcommand)]
pub(crate) enum StateCommand {
    /// Print the value of a key
    Get {
        #[command(flatten)]
        key: KeyArgs,
        /// The value that it had at this version
        #[arg(long, value_name = "VERSION")]
        at: Option<u64>,
    },
    /// Give a key a value
    Put(PutArgs),
    /// Remove the value of a key
    Delete {
        #[command(flatten)]
        key: KeyArgs,
        /// The version that you have seen; without it, whatever is there is removed
        #[arg(long, value_name = "VERSION")]
        seen: Option<u64>,
        #[command(flatten)]
        writer: WriterArgs,
    },
    /// List keys, with their values
    List {
        /// The space
        space: String,
        /// Only keys that begin with this
        #[arg(long, value_name = "TEXT")]
        prefix: Option<String>,
    },
    /// Show the changes of a key that are kept, the newest first
    History {
        #[command(flatten)]
        key: KeyArgs,
    },
    /// Follow the keys of a space as they change
    Watch {
        /// The space
        space: String,
        /// Only keys that begin with this
        #[arg(long, value_name = "TEXT")]
        prefix: Option<String>,
        /// Begin after this position, which `list` and `watch` print; without it, with what changes from now on
        #[arg(long, value_name = "POSITION")]
        after: Option<String>,
    },
    /// Mirror a space to and from Redis, etcd or another server, until it is interrupted
    #[cfg(feature = "mirror")]
    Mirror(super::MirrorArgs),
    /// Read and write keys together: all of it is done, or nothing
    Transact {
        /// A file with the transaction as JSON (`{"if": […], "do": […], "else": […]}`), or `-` for standard input
        #[arg(value_name = "FILE")]
        file: String,
    },
    /// List the spaces, or show one: what is set for it, and what it holds
    Spaces {
        /// The space
        space: Option<String>,
    },
    /// Set how a space merges writes, how many changes it keeps and how much it may hold; what is not given has its default
    Set(SetArgs),
    /// Forget a space with everything in it
    Drop {
        /// The space
        space: String,
    },
    /// List the writes that had not seen the latest value, or show one: both values, and what was done about it
    Conflicts {
        /// The space
        space: String,
        /// The conflict
        conflict: Option<String>,
        /// Only those that wait for a decision
        #[arg(long, conflicts_with = "conflict")]
        undecided: bool,
    },
    /// Decide a conflict, also one that a policy has settled: its key has the chosen value from then on
    Decide(DecideArgs),
}

/// A key of a space.
#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    /// The space
    pub(crate) space: String,
    /// The key
    pub(crate) key: String,
}

/// Who writes.
#[derive(Debug, Args)]
pub(crate) struct WriterArgs {
    /// The name of the writer, which the value remembers [default: the user's name]
    #[arg(long, value_name = "NAME")]
    pub(crate) by: Option<String>,
}

/// A write.
#[derive(Debug, Args)]
pub(crate) struct PutArgs {
    #[command(flatten)]
    pub(crate) key: KeyArgs,
    /// The value: JSON, `@FILE`, or plain text
    #[arg(value_name = "JSON|@FILE", allow_hyphen_values = true)]
    pub(crate) value: String,
    /// The version that you have seen; without it, you have seen nothing: by the policy `reject` the write overwrites, by
    /// the others it is merged
    #[arg(long, value_name = "VERSION", conflicts_with = "new")]
    pub(crate) seen: Option<u64>,
    /// Only where the key has no value
    #[arg(long)]
    pub(crate) new: bool,
    /// The value that you have seen at `--seen`: JSON, `@FILE`, or plain text. It is what the write is compared with where
    /// that version is not kept any more, instead of a refusal
    #[arg(long, value_name = "JSON|@FILE", requires = "seen", allow_hyphen_values = true)]
    pub(crate) base: Option<String>,
    /// Only while this token is that of a current grant of the lock, such as `leader=17`; `consort locks run` gives it to its
    /// command as `CONSORT_LOCK_TOKEN`
    #[arg(long, value_name = "LOCK=TOKEN")]
    pub(crate) fence: Vec<String>,
    /// How long the value stays, such as `30s` or `7d`
    #[arg(long, value_name = "TIME")]
    pub(crate) ttl: Option<String>,
    #[command(flatten)]
    pub(crate) writer: WriterArgs,
}

/// What is set for a space.
#[derive(Debug, Args)]
pub(crate) struct SetArgs {
    /// The space, made where it is not there
    pub(crate) space: String,
    /// How writes to keys with a prefix are merged: `reject`, `last_writer_wins`, `max`, `min`, `counter`, `set`, `map`,
    /// `text`, `list`, `agent`, or `expression:` and CEL over `write.current`, `write.incoming` and `write.base`; `=POLICY` is for every key
    #[arg(long, value_name = "PREFIX=POLICY")]
    pub(crate) policy: Vec<String>,
    /// How many changes are kept, for watches and for the history of keys [default: 10000]
    #[arg(long, value_name = "COUNT")]
    pub(crate) keep_changes: Option<u32>,
    /// How many keys the space may have
    #[arg(long, value_name = "COUNT")]
    pub(crate) max_keys: Option<u64>,
    /// How many bytes its keys and values may have
    #[arg(long, value_name = "BYTES")]
    pub(crate) max_bytes: Option<u64>,
    /// Have changes and conflicts of the space as events on the bus: `state.SPACE.changed`, `state.SPACE.conflict`,
    /// `state.SPACE.decided`
    #[arg(long)]
    pub(crate) events: bool,
}

/// A decision about a conflict.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("choice").required(true))]
pub(crate) struct DecideArgs {
    /// The space
    pub(crate) space: String,
    /// The conflict
    pub(crate) conflict: String,
    /// One of its values, counted from 0: the one that was there, and then those that came
    #[arg(long, value_name = "NUMBER", group = "choice")]
    pub(crate) take: Option<u32>,
    /// Another value: JSON, `@FILE`, or plain text
    #[arg(long, value_name = "JSON|@FILE", group = "choice")]
    pub(crate) value: Option<String>,
    #[command(flatten)]
    pub(crate) decision: super::DecisionArgs,
}
