//! Errors as users meet them: a stable code, what is wrong, what to do next.
//!
//! For: every refusal and failure that can leave Consort. Not for: control flow inside a crate.
//! Invariant: a code never changes its meaning; each has one page, generated from this table.

use std::{fmt, str::FromStr};

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// The result of an operation of a user.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller should do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// Refused by a rule: mend the request.
    Rejected,
    /// Clashes with what is there: look again, then decide.
    Conflict,
    /// A newer owner exists: stop.
    Fenced,
    /// Not now: try again later, after the hinted time.
    Unavailable,
    /// Over a limit: send less.
    TooLarge,
    /// There is no such thing.
    NotFound,
    /// Not allowed.
    Denied,
    /// Stored bytes are damaged: call an operator.
    Corrupt,
    /// It may or may not have happened: ask before repeating.
    OutcomeUnknown,
    /// The requested work ran and failed.
    Failed,
    /// A defect of Consort itself.
    Internal,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $number:literal, $kind:ident, $title:literal;)+) => {
        /// The stable codes of errors, `C0001` and up.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $($(#[doc = $doc])+ $name,)+ }

        impl Code {
            /// Every code, in order of its number.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The number behind the `C`.
            pub fn number(self) -> u16 {
                match self { $(Self::$name => $number,)+ }
            }

            /// What the caller should do.
            pub fn kind(self) -> ErrorKind {
                match self { $(Self::$name => ErrorKind::$kind,)+ }
            }

            /// A few words, for a heading.
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ }
            }

            /// The text of the code's page: when it comes and what to do.
            pub fn explain(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc, "\n"),+),)+ }
            }

            /// The code with this number.
            pub fn from_number(number: u16) -> Option<Self> {
                match number { $($number => Some(Self::$name),)+ _ => None }
            }
        }
    };
}

codes! {
    /// The request could not be read: a field is missing, unknown or of the wrong type.
    /// Compare it with the documented form; nothing was changed.
    BadRequest = 1, Rejected, "bad request";
    /// A name is empty, too long or has other characters than letters, digits, `_`, `-` and `.`.
    BadName = 2, Rejected, "bad name";
    /// A duration could not be read. Write a number and a unit, such as `30s` or `1h30m`.
    BadDuration = 3, Rejected, "bad duration";
    /// An instant could not be read. Write RFC 3339 in UTC, such as `2026-11-22T10:00:00Z`.
    BadTime = 4, Rejected, "bad instant";
    /// A payload is not one JSON document.
    BadJson = 5, Rejected, "bad JSON";
    /// A payload is over the limit of 64 MiB. Store it elsewhere and pass a reference.
    PayloadTooLarge = 6, TooLarge, "payload too large";
    /// A limit of Consort was reached; the message names it with its value.
    /// Every limit is listed in the reference with its reason.
    LimitReached = 7, TooLarge, "limit reached";
    /// A page cursor was not made by this listing. Start again without a cursor.
    BadCursor = 8, Rejected, "bad cursor";
    /// No blob has that hash; what referred to it may have been deleted by its retention.
    BlobNotFound = 9, NotFound, "no such blob";
    /// A setting has a value that does not fit, or a configuration file cannot be read. `consort config show --origin`
    /// shows where each value comes from.
    BadSetting = 10, Rejected, "bad setting";
    /// A file that a command should write is there already. Nothing was changed; choose another place or move it away.
    FileExists = 11, Conflict, "file exists";
    /// The HTTP interface has nothing at that path. `GET /v1/openapi.json` lists every path.
    RouteNotFound = 21, NotFound, "no such path";
    /// The path is there, but not for that method; the `Allow` header names the methods that it takes.
    MethodNotAllowed = 22, Rejected, "method not allowed";
    /// The body has no `Content-Type`, or one that this path does not take; the message names those that it does.
    MediaType = 23, Rejected, "unsupported media type";
    /// The body of the request did not arrive in time. Send it again over a better connection, or send less.
    SlowRequest = 24, Rejected, "request too slow";
    /// Worker and server have no version of the worker protocol in common; the message has the versions of both.
    /// Update the older of the two.
    BadProtocol = 25, Rejected, "no common protocol version";

    /// A workflow definition has errors; all of them are listed with line and column.
    BadWorkflow = 101, Rejected, "workflow has errors";
    /// No workflow of that name (and version) is deployed in the namespace.
    WorkflowNotFound = 102, NotFound, "no such workflow";
    /// The input does not fit the workflow's declared input; the message names the field.
    BadInput = 103, Rejected, "input does not fit";
    /// An expression could not be evaluated: a missing key, a wrong type, an overflow.
    /// The message shows the expression; guard it with `has()` or a condition.
    Expression = 104, Failed, "expression failed";
    /// An expression cost more than its budget. Make it simpler, or compute it in an agent.
    ExpressionBudget = 105, TooLarge, "expression too costly";
    /// A file or folder that a research run should read is missing or cannot be opened.
    /// Check the path: it is taken from the folder in which Consort runs.
    SourceNotFound = 106, NotFound, "no such source";
    /// The workflow takes no new starts, because an operator has retired it; its runs in flight continue.
    /// Deploying it again ends the retirement.
    WorkflowRetired = 107, Conflict, "workflow is retired";
    /// The workflow cannot be deleted: it is not retired yet, or runs of it have not ended. The message says which.
    /// Retire it with `consort workflows retire`, and wait until its runs have ended or cancel them.
    WorkflowInUse = 108, Conflict, "workflow is in use";

    /// No run has that id in the namespace; it may have been deleted by its retention.
    RunNotFound = 201, NotFound, "no such run";
    /// The run has ended; terminal states are final. `consort runs retry` and `fork` make a new run from it.
    RunEnded = 202, Conflict, "run has ended";
    /// The run has not ended, and the request needs a run that has.
    RunActive = 203, Conflict, "run has not ended";
    /// The idempotency key was used before, for a start with other content.
    IdempotencyMismatch = 204, Conflict, "idempotency key reused";
    /// The run has no such step (or the step is nested, where only a top-level step can be named).
    StepNotFound = 205, NotFound, "no such step";
    /// The step is not in a state in which this can be done, for example an approval that was already decided.
    StepState = 206, Conflict, "step is not in that state";
    /// The run was deleted while it was being read.
    RunDeleted = 207, NotFound, "run was deleted";
    /// A run of this id exists already. Ids are made by Consort; choose none of your own.
    RunExists = 208, Conflict, "run exists";
    /// The update was not answered: its run, or the step whose code took it, has ended. What the code did with it until then
    /// is in the run (`consort runs show`); send an update to a run that takes it.
    UpdateUnanswered = 210, Failed, "update was not answered";
    /// The code of the run rejected the update; the message is its own.
    UpdateRejected = 211, Failed, "update rejected";
    /// The run has no update of this id. `consort runs update` sends one, and shows the id that it has.
    UpdateNotFound = 212, NotFound, "no such update";
    /// The code of the run exposes no value of this name (so far). `consort runs query RUN` lists those that it has.
    ValueNotFound = 213, NotFound, "no such exposed value";

    /// No task has that id, or it has ended.
    TaskNotFound = 301, NotFound, "no such task";
    /// The attempt is no longer the task's owner: a newer attempt has been made ready.
    /// Drop the work; what was recorded stays.
    Fenced = 302, Fenced, "attempt is fenced";
    /// A journal entry does not continue the task's journal: the code took another path than the recorded one. The task
    /// waits for an instance whose code fits, or for a decision in the inbox.
    JournalDiverged = 303, Conflict, "journal diverged";
    /// The agent failed; the message is the agent's own.
    AgentFailed = 304, Failed, "agent failed";
    /// An attempt did not end within its `timeout`.
    TimedOut = 305, Failed, "attempt timed out";
    /// A step did not end within its `deadline`.
    DeadlinePassed = 306, Failed, "deadline passed";
    /// The instance that held the attempt is disconnected.
    InstanceLost = 307, Failed, "instance lost";
    /// The outcome of a `write` attempt is unknown. Decide it in the inbox: done, retry or fail.
    OutcomeUnknown = 308, OutcomeUnknown, "outcome unknown";
    /// A step that this one needed has failed, or was cancelled or rejected.
    UpstreamFailed = 309, Failed, "an earlier step failed";
    /// A person rejected it.
    NotApproved = 310, Failed, "not approved";
    /// A result does not fit the capability's output schema; the message has the JSON path.
    BadOutput = 311, Failed, "output does not fit";
    /// The run, or a run above it, was cancelled.
    Cancelled = 312, Failed, "cancelled";
    /// A child run failed.
    ChildFailed = 313, Failed, "child run failed";
    /// No agent of that name (and version) has joined the namespace, or it was removed. `consort agents list` shows
    /// those that have; an agent is known again as soon as one of its instances connects.
    AgentNotFound = 314, NotFound, "no such agent";
    /// Instances of the agent are connected, so that it cannot be removed. Stop them first, or remove it by force: its
    /// instances are then disconnected, and their tasks are assigned to others.
    AgentConnected = 315, Conflict, "agent is connected";
    /// No quota is set for that scope. `consort quotas list` shows those that are.
    QuotaNotFound = 316, NotFound, "no such quota";
    /// The name belongs to a built-in agent of that namespace. Call the agent something else; an operator can free the
    /// name with `consort agents remove` where the server has no built-in agents.
    AgentReserved = 317, Conflict, "agent name is reserved";
    /// Tasks that have not ended hang on the version: its code wrote their journals. Wait until they have ended
    /// (`consort agents list` counts them), or remove it by force: other versions may then try to continue with them.
    AgentPinned = 318, Conflict, "tasks hang on the version";
    /// Instances of the same agent and version are connected that declare something else; the message says what differs.
    /// Give the changed agent another version, or stop the others first: once they are disconnected, it is taken.
    AgentClash = 319, Conflict, "declarations clash";

    /// A queue is full. Try again after the hinted time.
    Overloaded = 401, Unavailable, "overloaded";
    /// The engine is stopping and takes nothing new.
    Stopping = 402, Unavailable, "stopping";
    /// The partition has halted because it could not keep its promises; the message has the reason. It starts again
    /// only by hand: run `consort doctor`.
    Halted = 403, Unavailable, "partition halted";
    /// Another process has this folder open.
    Locked = 404, Unavailable, "folder is in use";
    /// The server could not be reached.
    Unreachable = 405, Unavailable, "server unreachable";
    /// The server has let a worker go that was silent for too long, or did not read what it was sent.
    /// Connect again and claim what is still held.
    SessionLost = 406, Unavailable, "session lost";

    /// Stored bytes are damaged; the message names the file. Nothing was repaired or deleted. `consort doctor` lists all
    /// damage. Rows of the store are made again at the next start, or by `consort doctor --rebuild-store`; whatever else is
    /// damaged has to come from a backup: `consort restore`.
    Damaged = 501, Corrupt, "stored data is damaged";
    /// The disk refused an operation. What was acknowledged before is safe.
    Disk = 502, Unavailable, "disk error";
    /// The folder was written by a newer version, or is not a Consort folder.
    BadFormat = 503, Corrupt, "unknown format";
    /// There is no data folder at the place where Consort looks for it. `consort run` and `consort up` make one.
    FolderNotFound = 504, NotFound, "no data folder";
    /// A record of the log cannot be applied, so the partition cannot continue; the message names its number. Start the
    /// version of Consort that wrote it, or restore the folder from a backup. As the last way out an operator may have
    /// the record refused: `consort doctor --refuse-record N --reason TEXT --by NAME`.
    BadRecord = 505, Corrupt, "record cannot be applied";
    /// The log has no record of that number: it ends before, or was trimmed behind it.
    RecordNotFound = 506, NotFound, "no such record";
    /// What a record did is in the store, or it was refused before; neither can be changed.
    RecordSettled = 507, Conflict, "record is settled";

    /// The request has no valid token, or comes from where none may come.
    Denied = 601, Denied, "denied";

    /// There is no space of that name. A space is made by the first write into it, or by its settings;
    /// `consort state spaces` shows those that are there.
    SpaceNotFound = 701, NotFound, "no such space";
    /// The key has no value: it was never written, was deleted, or has expired.
    KeyNotFound = 702, NotFound, "no such key";
    /// The write did not see the latest value of its key, and the key's policy is `reject`; or the condition of a write
    /// does not hold. Read the key again, and write with the version that you have read then.
    StateConflict = 703, Conflict, "write did not see the latest value";
    /// The version of a key, or the position of a watch, is no longer kept: a space keeps a number of changes. Read the
    /// keys as they are now, and continue from there; or have the space keep more changes. Under the policies `text` and
    /// `list`, the history of a value is kept for some hundred writes; a value that was deleted has none.
    VersionGone = 704, NotFound, "version is no longer kept";
    /// The space has as many keys or bytes as it may have. Delete some, let values expire, or raise what the space may
    /// have.
    SpaceFull = 705, TooLarge, "space is full";
    /// The value cannot be merged by the policy of its key: a counter takes whole numbers, `max` and `min` take numbers, a
    /// set and a list take lists, a map takes objects, a text takes texts.
    NotMergeable = 706, Rejected, "value does not fit the policy";
    /// There is no conflict of that number, or it is not kept any more.
    ConflictNotFound = 707, NotFound, "no such conflict";

    /// The namespace knows no lock of that name: it was never acquired, or it was idle for so long that it is forgotten.
    /// `consort locks list` shows those that are known.
    LockNotFound = 721, NotFound, "no such lock";
    /// Every permit of the lock is held by others, and the request does not wait, or has waited in vain. Try again later,
    /// or wait longer; `consort locks show` tells who holds it and until when.
    LockHeld = 722, Conflict, "lock is held";
    /// The token is not that of the holder's current grant, or the holder neither holds the lock nor waits for it: the lease
    /// has ended, was released or was broken. Stop what the lock protects; acquire it again before continuing.
    LeaseLost = 723, Fenced, "lease is lost";
    /// The lock is in use with another number of permits. Use that number, or another name; once the lock has neither
    /// holder nor waiter, the next request decides the number.
    LockPermits = 724, Conflict, "other number of permits";
    /// The namespace knows no barrier of that name: no member has come to it, or it was idle for so long that it is forgotten.
    BarrierNotFound = 725, NotFound, "no such barrier";
    /// The current generation of the barrier waits for another number of parties, or the request names a generation that
    /// has not begun or whose outcome is no longer known. `consort barriers show` tells both.
    BarrierMismatch = 726, Conflict, "barrier does not fit";
    /// The generation of the barrier did not fill in its time: its members were not released. Come again: that begins
    /// the next generation.
    BarrierExpired = 727, Conflict, "barrier did not fill";

    /// The namespace has no event at that position: it was never published, or its retention has removed it.
    EventNotFound = 741, NotFound, "no such event";
    /// Events behind the position have been removed by the retention of the namespace, so reading on from there would
    /// leave some out. The message names the oldest position that is left: read from there, or from a time.
    EventsTrimmed = 742, Conflict, "events were removed";
    /// The namespace has no subscription of that name. `consort subscriptions list` shows those that there are.
    SubscriptionNotFound = 743, NotFound, "no such subscription";
    /// The delivery is over: it was acknowledged before, was delivered again to another consumer, became a dead letter,
    /// or the subscription was moved. What the consumer did with the event stays done; the event may be delivered again.
    DeliveryOver = 744, Fenced, "delivery is over";
    /// The subscription exists with another order of its deliveries, which cannot be changed.
    /// Delete it and make it again, or give the other one another name.
    SubscriptionClash = 745, Conflict, "subscription has another order";
    /// The namespace has no trigger of that name. `consort triggers list` shows those that there are.
    TriggerNotFound = 746, NotFound, "no such trigger";
    /// A topic or a pattern of topics cannot be used; the message says why. A topic is made of segments with dots
    /// between, such as `orders.created`; in a pattern, `*` is any one segment and `>` at its end the rest.
    BadTopic = 747, Rejected, "bad topic";
    /// An event is not one of CloudEvents 1.0; the message names the attribute.
    BadEvent = 748, Rejected, "bad event";
    /// A trigger has an expression that is wrong, or an action that is not complete, or the filter of a subscription is
    /// wrong; the message says which.
    BadTrigger = 749, Rejected, "bad trigger";

    /// No ballot of that name is in the namespace; an ended one is deleted when its time to be kept is over.
    BallotNotFound = 761, NotFound, "no such ballot";
    /// A ballot of that name was opened with other content. Choose another name, or delete the ended one first.
    BallotExists = 762, Conflict, "ballot exists";
    /// The ballot does not list that voter. Who may vote is fixed when the ballot is opened.
    NotEligible = 763, Rejected, "voter is not eligible";
    /// The ballot has ended: it takes no further vote, and cannot be closed or cancelled again. `consort ballots show`
    /// shows its result.
    BallotClosed = 764, Conflict, "ballot has ended";
    /// The vote names another round than the open one. Read the votes of the last round, and vote again.
    WrongRound = 765, Conflict, "wrong round";
    /// The vote names an option that the ballot does not have; the hint lists them.
    UnknownOption = 766, Rejected, "no such option";
    /// The vote does not fit the rule of the ballot: for example, a ranking where one option is chosen.
    BadVote = 767, Rejected, "vote does not fit the rule";
    /// The voter has voted in this round, and the ballot lets no vote be changed. The same vote again is accepted.
    AlreadyVoted = 768, Conflict, "already voted";
    /// There are too few voters to tolerate so many faulty ones; the message has the numbers.
    FaultsNotTolerated = 769, Rejected, "too many faults for the voters";
    /// The ballot has not ended, and only an ended one can be deleted. Close or cancel it first.
    BallotOpen = 770, Conflict, "ballot has not ended";
    /// The voters of a `consensus` step came to no decision; the message has the tally. Give the step `on_undecided`, a rule
    /// for ties, or more rounds.
    NotDecided = 771, Failed, "no decision";

    /// The namespace has no schedule of that name. `consort schedules list` shows those that there are.
    ScheduleNotFound = 791, NotFound, "no such schedule";
    /// A schedule has a cron expression or a time zone that cannot be used, a length of time that is out of its bounds, or
    /// no action, or two; the message says which.
    BadSchedule = 792, Rejected, "bad schedule";
    /// The times of the schedule were changed while the request was on its way. Look at the schedule, and try again.
    ScheduleChanged = 793, Conflict, "schedule was changed";

    /// The other side of a mirror or bridge cannot be reached, or does not answer now. Is it running, and is its address
    /// right?
    PeerUnreachable = 801, Unavailable, "other side cannot be reached";
    /// The other side of a mirror or bridge refuses what is requested: its address, user, rights or settings do not fit; the
    /// message says which.
    PeerRefused = 802, Rejected, "other side refuses";
    /// The webhook of a subscription cannot be used as it is given: its address is none of `http` or `https`, or has a user,
    /// a password or a fragment in it, or its `timeout` is not shorter than the `ack_wait`; the message says which.
    BadWebhook = 811, Rejected, "bad webhook";
    /// A subscription that pushes to a webhook, or hands its events to agents, is not fetched from, since consumers would
    /// take events that its receiver or agents then do not get; and nothing is pushed of one that has no webhook. Make a subscription of its own for other consumers.
    SubscriptionPushes = 812, Conflict, "subscription pushes";
    /// The subscription is declared by an agent, and changes with what the agent declares; or an agent declares one that is
    /// not its own. A subscription of an agent can be paused, moved and deleted as any.
    SubscriptionOwned = 813, Conflict, "subscription of an agent";
    /// No pattern of that name ships. `consort patterns list` shows those that there are.
    PatternNotFound = 821, NotFound, "no such pattern";
    /// An auction found no agent to award its task to: none has the capability, or none has bid in time, or the bids were
    /// declined or refused; the message says why of each. Start an agent that bids, or change `award`.
    NotAwarded = 831, Failed, "auction found no agent";
    /// The agent that won an auction did not take the task in time. The next bid gets it, where there is one; `accept` says
    /// how long to wait.
    AwardNotTaken = 832, Failed, "award was not taken";
    /// One of two mirrored servers was taken back to an earlier state, for example by a backup: it does not have what the
    /// other one has seen of it. What was written there since is not told from what was lost, so nothing is carried.
    /// The page on mirrors says under "Two servers" how both sides are compared again.
    MirrorTakenBack = 841, Conflict, "mirrored side was taken back";
    /// The two sides cannot be mirrored under this name: it is that of a mirror of other spaces, or these spaces have a
    /// mirror of another name, or both sides are one. The message says which.
    MirrorPaired = 842, Conflict, "mirror does not fit its pair";
    /// A line of a replica's file does not fit its checksum, or the file has another format, or it could not be written. A
    /// line that was torn by a crash is no damage: it counts as not written. Keep the file to see what it holds, and open
    /// another one under a new name: it begins with what the server has.
    ReplicaDamaged = 843, Corrupt, "replica is damaged";
    /// A replica's file is open in another process, is that of another replica, or is not the one whose pushes the server
    /// knows: another file has the name, or this one is an older copy. Pushing from it could do a write twice. Use a file
    /// and a name of its own for each replica.
    ReplicaTaken = 844, Conflict, "replica is used elsewhere";

    /// A defect of Consort. Please report it with the message.
    Internal = 901, Internal, "internal error";
}

impl Code {
    /// Whether an agent may report the code as that of its own failure. Codes from `C0400` to `C0699` and from `C0900`
    /// on concern Consort itself (it is overloaded, damaged, or has a defect), which no agent can know: its failure is
    /// [`Code::AgentFailed`] then. The others are those with which calls, journals, documents, shared state and
    /// coordination fail, and which an agent passes on.
    pub fn is_reportable(self) -> bool {
        matches!(self.number(), ..400 | 700..900)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "C{:04}", self.number())
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for Code {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let code = text.strip_prefix('C').and_then(|n| n.parse().ok()).and_then(Self::from_number);
        code.ok_or_else(|| {
            Error::new(Self::BadRequest, format!("`{text}` is not an error code"))
                .hint("write it as `C0304`; `GET /v1/errors` lists them")
        })
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|error: Error| serde::de::Error::custom(error.message))
    }
}

impl<C> Encode<C> for Code {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> std::result::Result<(), minicbor::encode::Error<W::Error>> {
        e.u16(self.number()).map(|_| ())
    }
}

impl<'b, C> Decode<'b, C> for Code {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> std::result::Result<Self, minicbor::decode::Error> {
        let number = d.u16()?;
        Self::from_number(number).ok_or_else(|| minicbor::decode::Error::message("unknown error code"))
    }
}

/// An error that a user may meet: lower case, one sentence, values in backticks, the limit beside the value.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Error {
    /// The stable code.
    #[n(0)]
    pub code: Code,
    /// What is wrong.
    #[n(1)]
    pub message: String,
    /// What to do next.
    #[n(2)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Error {
    /// An error without a hint.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What the caller should do.
    pub fn kind(&self) -> ErrorKind {
        self.code.kind()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error[{}]: {}", self.code, self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_pass_on_failures_of_calls_and_say_nothing_of_consort_itself() {
        for code in [Code::AgentFailed, Code::TimedOut, Code::ChildFailed, Code::Cancelled, Code::BadJson] {
            assert!(code.is_reportable(), "{code}");
        }
        for code in [Code::Overloaded, Code::Halted, Code::Damaged, Code::Denied, Code::Internal] {
            assert!(!code.is_reportable(), "{code}");
        }
    }

    #[test]
    fn codes_are_unique_and_found_again() {
        for code in Code::ALL {
            assert_eq!(Code::from_number(code.number()), Some(*code));
            assert!(!code.explain().trim().is_empty());
        }
        assert!(Code::ALL.windows(2).all(|pair| pair[0].number() < pair[1].number()));
    }
}
