//! Schedules: starting a run or publishing an event at planned instants.
//!
//! For: their settings, and what their instants have come to. Not for: acting on events (see `triggers`).
//! Invariant: each instant is counted once, as what it has come to.

use consort_types::{Code, RunId, Span, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Accepts, Document, EmptyRequest, ErrorDetail, Items, Method, NoParams, Operation, Spec, runs, schema};

/// The outcome of an instant while a run of the schedule is still active.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// It is skipped: the default.
    Skip,
    /// It waits for the end of the run, unless another instant does.
    BufferOne,
    /// It waits behind the others that do.
    BufferAll,
    /// Its run starts beside the active one.
    Allow,
    /// The active run is cancelled, and its run starts at the end of that.
    CancelOther,
}

/// The run that a schedule starts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduledStart {
    /// The workflow, which is looked up by its name when an instant comes.
    pub workflow: String,
    /// A revision number or an author's version; without it, the one that the name takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The input, the same at each instant; the run's labels `schedule` and `scheduled_at` tell them apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Document>,
}

/// The event that a schedule publishes. Its id is `schedule:NAME:INSTANT`, its source `/schedules/NAME`, and its time the
/// instant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduledEvent {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its topic; by default its type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Its data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Document>,
}

/// Makes a schedule, or changes one: exactly one of `cron` and `every` is given, and exactly one of `start` and `publish`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduleRequest {
    /// A cron expression of five fields: minute, hour, day, month, weekday.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// The time zone of the expression, by its name in the IANA database; `UTC` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// The distance between two instants, in whole seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Duration>")]
    pub every: Option<Span>,
    /// How long after the multiples of the distance, counted from 1970-01-01T00:00:00Z; none without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Duration>")]
    pub phase: Option<Span>,
    /// Start a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<ScheduledStart>,
    /// Publish an event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish: Option<ScheduledEvent>,
    /// The outcome of an instant while a run is active; `skip` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<Overlap>,
    /// How late an instant may be acted on; older ones are counted as missed. One day without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Duration>")]
    pub catch_up: Option<Span>,
    /// How much later than its instant an action comes at most; how much follows from the schedule and the instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Duration>")]
    pub jitter: Option<Span>,
    /// No instant comes behind this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Instant>")]
    pub until: Option<Time>,
    /// After how many instants that were acted on it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Whether a new schedule begins paused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
}

/// An instant to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UpcomingInstant {
    /// The instant.
    #[schemars(with = "schema::Instant")]
    pub instant: Time,
    /// When it is acted on: with its jitter.
    #[schemars(with = "schema::Instant")]
    pub due: Time,
}

/// An instant on which a schedule acted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ActedInstant {
    /// The instant.
    #[schemars(with = "schema::Instant")]
    pub instant: Time,
    /// When it acted.
    #[schemars(with = "schema::Instant")]
    pub at: Time,
    /// The run that it started; none for an event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Run>")]
    pub run: Option<RunId>,
    /// The status of the run; none where it was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<runs::RunStatus>,
}

/// An instant on which a schedule could not act.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ScheduleFailure {
    /// The instant.
    #[schemars(with = "schema::Instant")]
    pub instant: Time,
    /// When it was to act.
    #[schemars(with = "schema::Instant")]
    pub at: Time,
    /// Why it could not.
    pub error: ErrorDetail,
}

/// What the instants of a schedule have come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScheduleCounts {
    /// Acted on.
    pub done: u64,
    /// Skipped: a run was active, too many waited, or the instant had been acted on before.
    pub skipped: u64,
    /// Older than the catch-up window when they could be acted on.
    pub missed: u64,
    /// What was to be done could not be.
    pub failed: u64,
    /// How many of all instants were requested by hand.
    pub by_hand: u64,
}

/// A schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Schedule {
    /// Its name.
    pub name: String,
    /// What was set.
    pub settings: ScheduleRequest,
    /// When it was made.
    #[schemars(with = "schema::Instant")]
    pub created_at: Time,
    /// Whether it is paused: what comes due waits for its end, and is acted on then where it is not too old.
    pub paused: bool,
    /// Whether no planned instant will come any more.
    pub finished: bool,
    /// The next instants, at most 5.
    pub next: Vec<UpcomingInstant>,
    /// Planned instants that count against `limit`.
    pub spent: u64,
    /// Instants that wait for the end of a run.
    #[schemars(with = "Vec<schema::Instant>")]
    pub waiting: Vec<Time>,
    /// Past instants that are still to be filled in.
    pub backfilling: u64,
    /// Its runs that are active.
    #[schemars(with = "Vec<schema::Run>")]
    pub running: Vec<RunId>,
    /// What the instants have come to.
    pub counts: ScheduleCounts,
    /// The last instants on which it acted, the newest last.
    pub acted: Vec<ActedInstant>,
    /// The latest failures, the newest last.
    pub failures: Vec<ScheduleFailure>,
}

/// A schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduleParams {
    /// Its name.
    pub name: String,
}

/// Has a schedule act now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TriggerScheduleRequest {
    /// The outcome while a run is active; as the schedule says, without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<Overlap>,
}

/// The outcome of an instant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InstantOutcome {
    /// A run was started.
    Started,
    /// An event was published.
    Published,
    /// It waits for the end of the active run.
    Waiting,
    /// It was skipped: a run is active.
    Skipped,
    /// An outcome that this version does not know.
    #[schemars(skip)]
    #[serde(untagged)]
    Other(String),
}

/// The outcome of having a schedule act now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TriggeredSchedule {
    /// The instant that it was given.
    #[schemars(with = "schema::Instant")]
    pub instant: Time,
    /// Its outcome.
    pub outcome: InstantOutcome,
    /// The run that was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Run>")]
    pub run: Option<RunId>,
}

/// Has a schedule act on its instants in a time that has passed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BackfillRequest {
    /// The beginning, included.
    #[schemars(with = "schema::Instant")]
    pub from: Time,
    /// The end, included.
    #[schemars(with = "schema::Instant")]
    pub to: Time,
    /// The outcome of each while a run is active; `buffer_all` without it, which is one after the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<Overlap>,
}

/// How many instants a backfill has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BackfilledInstants {
    /// The number.
    pub instants: u64,
}

const CHANGE: Spec = Spec { group: "schedules", errors: &[Code::ScheduleNotFound], ..Spec::CHANGE };

/// Lists schedules.
pub struct ListSchedules;

impl Operation for ListSchedules {
    type Params = NoParams;
    type Body = ();
    type Reply = Items<Schedule>;
    const SPEC: Spec = Spec {
        id: "listSchedules",
        group: "schedules",
        path: "/v1/schedules",
        doc: "Lists schedules, with their next instants and what the earlier ones have come to.",
        words: &["schedules list"],
        answers: &[(200, "The schedules, by name.")],
        ..Spec::READ
    };
}

/// Makes a schedule, or changes one.
pub struct SetSchedule;

impl Operation for SetSchedule {
    type Params = ScheduleParams;
    type Body = ScheduleRequest;
    type Reply = ();
    const SPEC: Spec = Spec {
        id: "setSchedule",
        method: Method::Put,
        path: "/v1/schedules/{name}",
        doc: "Makes a schedule, or changes one; with other times it is planned again from now on.",
        words: &["schedules set"],
        accepts: Accepts::SMALL,
        errors: &[Code::BadSchedule, Code::BadTopic, Code::BadEvent, Code::LimitReached, Code::PayloadTooLarge],
        ..CHANGE
    };
}

/// Shows a schedule.
pub struct ShowSchedule;

impl Operation for ShowSchedule {
    type Params = ScheduleParams;
    type Body = ();
    type Reply = Schedule;
    const SPEC: Spec = Spec {
        id: "showSchedule",
        group: "schedules",
        path: "/v1/schedules/{name}",
        doc: "Shows a schedule with its next instants, its last runs and its latest failures.",
        words: &["schedules show"],
        answers: &[(200, "The schedule.")],
        errors: &[Code::ScheduleNotFound],
        ..Spec::READ
    };
}

/// Deletes a schedule.
pub struct DeleteSchedule;

impl Operation for DeleteSchedule {
    type Params = ScheduleParams;
    type Body = ();
    type Reply = ();
    const SPEC: Spec = Spec {
        id: "deleteSchedule",
        method: Method::Delete,
        path: "/v1/schedules/{name}",
        doc: "Deletes a schedule; its runs continue.",
        words: &["schedules delete"],
        accepts: Accepts::Nothing,
        ..CHANGE
    };
}

/// Pauses a schedule.
pub struct PauseSchedule;

impl Operation for PauseSchedule {
    type Params = ScheduleParams;
    type Body = EmptyRequest;
    type Reply = ();
    const SPEC: Spec = Spec {
        id: "pauseSchedule",
        path: "/v1/schedules/{name}/pause",
        doc: "Pauses a schedule: what comes due waits until it is resumed.",
        words: &["schedules pause"],
        ..CHANGE
    };
}

/// Resumes a schedule.
pub struct ResumeSchedule;

impl Operation for ResumeSchedule {
    type Params = ScheduleParams;
    type Body = EmptyRequest;
    type Reply = ();
    const SPEC: Spec = Spec {
        id: "resumeSchedule",
        path: "/v1/schedules/{name}/resume",
        doc: "Resumes a schedule: what came due meanwhile is acted on where it is not too old.",
        words: &["schedules resume"],
        ..CHANGE
    };
}

/// Has a schedule act now.
pub struct TriggerSchedule;

impl Operation for TriggerSchedule {
    type Params = ScheduleParams;
    type Body = TriggerScheduleRequest;
    type Reply = TriggeredSchedule;
    const SPEC: Spec = Spec {
        id: "triggerSchedule",
        path: "/v1/schedules/{name}/trigger",
        doc: "Has a schedule act now, paused or not.",
        words: &["schedules trigger"],
        returns: crate::Returns::Json,
        answers: &[(200, "Its outcome.")],
        errors: &[Code::ScheduleNotFound, Code::WorkflowNotFound, Code::BadInput, Code::LimitReached],
        ..CHANGE
    };
}

/// Has a schedule act on instants that have passed.
pub struct BackfillSchedule;

impl Operation for BackfillSchedule {
    type Params = ScheduleParams;
    type Body = BackfillRequest;
    type Reply = BackfilledInstants;
    const SPEC: Spec = Spec {
        id: "backfillSchedule",
        path: "/v1/schedules/{name}/backfill",
        doc: "Has a schedule act on its instants in a time that has passed, but for those that have a run.",
        words: &["schedules backfill"],
        accepts: Accepts::SMALL,
        returns: crate::Returns::Json,
        answers: &[(200, "How many instants there are.")],
        errors: &[Code::ScheduleNotFound, Code::BadSchedule, Code::ScheduleChanged, Code::LimitReached],
        ..CHANGE
    };
}
