//! The arguments of `consort schedules`.
//!
//! For: what may be typed about schedules. Not for: what it means (see `command::schedules`).
//! Invariant: nothing here reads a file or a clock.

use clap::{ArgGroup, Args, Subcommand};

/// `consort schedules`.
#[derive(Debug, Subcommand)]
pub(crate) enum SchedulesCommand {
    /// Make a schedule, or change one; with other times it is planned again from now on
    Set(Box<ScheduleArgs>),
    /// List schedules, with their next instants
    List,
    /// Show a schedule with its next instants, its last runs and its latest failures
    Show {
        /// Its name
        name: String,
    },
    /// Pause a schedule: what comes due waits
    Pause {
        /// The schedule
        name: String,
    },
    /// Resume a schedule: what came due meanwhile is acted on where it is not too old
    Resume {
        /// The schedule
        name: String,
    },
    /// Have a schedule act now, paused or not
    Trigger {
        /// The schedule
        name: String,
        /// The outcome while a run is active [default: as the schedule says]
        #[arg(long, value_name = "POLICY", value_parser = OVERLAPS)]
        overlap: Option<String>,
    },
    /// Have a schedule act on its instants in a time that has passed, but for those that have a run
    Backfill {
        /// The schedule
        name: String,
        /// The beginning, included: RFC 3339 in UTC
        #[arg(long, value_name = "INSTANT")]
        from: String,
        /// The end, included
        #[arg(long, value_name = "INSTANT")]
        to: String,
        /// The outcome of each while a run is active [default: `buffer_all`: one after the other]
        #[arg(long, value_name = "POLICY", value_parser = OVERLAPS)]
        overlap: Option<String>,
    },
    /// Delete a schedule; its runs continue
    Delete {
        /// The schedule
        name: String,
    },
}

const OVERLAPS: [&str; 5] = ["skip", "buffer_one", "buffer_all", "allow", "cancel_other"];

/// A schedule.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("times").required(true).args(["cron", "every"]))]
#[command(group = ArgGroup::new("action").required(true).args(["start", "publish"]))]
pub(crate) struct ScheduleArgs {
    /// Its name
    pub(crate) name: String,
    /// A cron expression of five fields: minute, hour, day, month, weekday
    #[arg(long, value_name = "EXPRESSION")]
    pub(crate) cron: Option<String>,
    /// The time zone of the expression, such as `Europe/Vienna` [default: `UTC`]
    #[arg(long, value_name = "ZONE", requires = "cron")]
    pub(crate) timezone: Option<String>,
    /// The distance between two instants, in whole seconds
    #[arg(long, value_name = "DURATION")]
    pub(crate) every: Option<String>,
    /// How long after the multiples of the distance, counted from 1970-01-01T00:00:00Z
    #[arg(long, value_name = "DURATION", requires = "every")]
    pub(crate) phase: Option<String>,
    /// Start a run of this workflow
    #[arg(long, value_name = "WORKFLOW")]
    pub(crate) start: Option<String>,
    /// A revision number or an author's version of the workflow
    #[arg(long, value_name = "REVISION", requires = "start")]
    pub(crate) revision: Option<String>,
    /// The input of the run: a JSON object, or `@FILE.json`
    #[arg(long, value_name = "JSON|@FILE", requires = "start")]
    pub(crate) input: Option<String>,
    /// Publish an event of this type
    #[arg(long, value_name = "TYPE")]
    pub(crate) publish: Option<String>,
    /// The topic of the event [default: its type]
    #[arg(long, requires = "publish")]
    pub(crate) topic: Option<String>,
    /// What the event is about
    #[arg(long, requires = "publish")]
    pub(crate) subject: Option<String>,
    /// The data of the event: JSON, `@FILE`, or plain text
    #[arg(long, value_name = "JSON|@FILE", requires = "publish")]
    pub(crate) data: Option<String>,
    /// The outcome of an instant while a run is active [default: `skip`]
    #[arg(long, value_name = "POLICY", value_parser = OVERLAPS)]
    pub(crate) overlap: Option<String>,
    /// How late an instant may be acted on; older ones are missed [default: `1d`]
    #[arg(long, value_name = "DURATION")]
    pub(crate) catch_up: Option<String>,
    /// How much later than its instant an action comes at most
    #[arg(long, value_name = "DURATION")]
    pub(crate) jitter: Option<String>,
    /// No instant comes behind this: RFC 3339 in UTC
    #[arg(long, value_name = "INSTANT")]
    pub(crate) until: Option<String>,
    /// After how many instants that were acted on it ends
    #[arg(long, value_name = "COUNT")]
    pub(crate) limit: Option<u64>,
    /// Begin paused, where it is new
    #[arg(long)]
    pub(crate) paused: bool,
}
