//! Locks and barriers.
//!
//! For: mutexes, elections and semaphores (all of them locks), and barriers. Not for: quotas on tasks (see `queues`).
//! Invariant: a grant, a renewal and a release are answered once they are durable; a token is never given twice.

use consort_types::{Code, Span, Time, limits};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Accepts, Operation, Page, Problem, Returns, Spec, schema};

/// A lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LockParams {
    /// The lock.
    pub name: String,
}

/// Acquires a permit of a lock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AcquireLockRequest {
    /// An id that no other holder uses at the same time, such as host and process. Asking again with it joins the same
    /// grant, or the same place in the queue.
    pub holder: String,
    /// How many may hold the lock at once: 1 (the default) for a mutex or an election, more for a semaphore. All holders
    /// name the same number.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    #[schemars(range(min = 1, max = limits::LOCK_PERMITS_MAX))]
    pub permits: u32,
    /// How long the lease lasts from the grant on, unless it is renewed; `30s` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Duration>")]
    pub ttl: Option<Span>,
    /// How long to wait in the queue where the lock is held; without it, a held lock is refused. A request is answered
    /// after a minute at the latest: where the answer is `waiting`, ask again to continue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Duration>")]
    pub wait: Option<Span>,
    /// What observers see, such as the address of a leader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_one(permits: &u32) -> bool {
    *permits == 1
}

/// What a holder has of a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LockGrant {
    /// The lock.
    pub lock: String,
    /// The holder.
    pub holder: String,
    /// Whether it holds the lock, or waits.
    pub state: LockState,
    /// The fencing token of the grant, where it holds: each grant of a lock has a greater one than those before. Give it
    /// to whatever the lock protects, which refuses smaller ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<u64>,
    /// Since when it holds, or waits.
    #[schemars(with = "schema::Instant")]
    pub since: Time,
    /// When the lease ends unless it is renewed, or the wait.
    #[schemars(with = "schema::Instant")]
    pub until: Time,
}

/// Whether a holder holds a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LockState {
    /// It holds a permit.
    Held,
    /// It has a place in the queue.
    Waiting,
    /// Something that this version does not know.
    #[schemars(skip)]
    #[serde(untagged)]
    Other(String),
}

/// Acquires a permit of a lock.
pub struct AcquireLock;

impl Operation for AcquireLock {
    type Params = LockParams;
    type Body = AcquireLockRequest;
    type Reply = LockGrant;
    const SPEC: Spec = Spec {
        id: "acquireLock",
        group: "locks",
        path: "/v1/locks/{name}/acquire",
        doc: "Acquires a permit of a lock, or waits for one in its queue; by its holder, renews it.",
        words: &["locks acquire", "locks run"],
        accepts: Accepts::SMALL,
        returns: Returns::Json,
        answers: &[(200, "The grant with its token, or the place in the queue.")],
        errors: &[Code::LockHeld, Code::LockPermits, Code::LimitReached],
        ..Spec::CHANGE
    };
}

/// Renews a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RenewLockRequest {
    /// The holder.
    pub holder: String,
    /// The token of its grant.
    pub token: u64,
    /// How long the lease lasts from now on; without it, as long as the last time. A renewal never shortens a lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Duration>")]
    pub ttl: Option<Span>,
    /// What observers see from now on; without it, as before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// Renews a lease.
pub struct RenewLock;

impl Operation for RenewLock {
    type Params = LockParams;
    type Body = RenewLockRequest;
    type Reply = LockGrant;
    const SPEC: Spec = Spec {
        id: "renewLock",
        group: "locks",
        path: "/v1/locks/{name}/renew",
        doc: "Continues to hold a lock: its lease lasts from now on.",
        words: &["locks renew", "locks run"],
        accepts: Accepts::SMALL,
        returns: Returns::Json,
        answers: &[(200, "The grant as it is now.")],
        errors: &[Code::LeaseLost, Code::LimitReached],
        ..Spec::CHANGE
    };
}

/// Gives a permit back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseLockRequest {
    /// The holder.
    pub holder: String,
    /// The token of its grant; without it, whatever the holder has is given up, a place in the queue too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<u64>,
}

/// Gives a permit back.
pub struct ReleaseLock;

impl Operation for ReleaseLock {
    type Params = LockParams;
    type Body = ReleaseLockRequest;
    type Reply = ();
    const SPEC: Spec = Spec {
        id: "releaseLock",
        group: "locks",
        path: "/v1/locks/{name}/release",
        doc: "Gives a permit back, or leaves the queue; the next waiter has the permit at once.",
        words: &["locks release", "locks run"],
        accepts: Accepts::SMALL,
        errors: &[Code::LeaseLost, Code::LimitReached],
        ..Spec::CHANGE
    };
}

/// Ends leases whose holders do not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BreakLockRequest {
    /// The holder whose lease ends; without it, that of every holder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    /// Who breaks the lock.
    pub by: String,
    /// Why; it is shown with the lock.
    pub reason: String,
}

/// Ends leases whose holders do not.
pub struct BreakLock;

impl Operation for BreakLock {
    type Params = LockParams;
    type Body = BreakLockRequest;
    type Reply = ();
    const SPEC: Spec = Spec {
        id: "breakLock",
        group: "locks",
        path: "/v1/locks/{name}/break",
        doc: "Ends the leases of a lock, or of one holder, whatever they want; their tokens are not current any more.",
        words: &["locks release"],
        accepts: Accepts::SMALL,
        errors: &[Code::LockNotFound, Code::LeaseLost, Code::LimitReached],
        ..Spec::CHANGE
    };
}

/// A holder of a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LockHolder {
    /// The id that it has given itself.
    pub holder: String,
    /// The fencing token of its grant.
    pub token: u64,
    /// Since when it holds the lock.
    #[schemars(with = "schema::Instant")]
    pub since: Time,
    /// When its lease ends unless it is renewed.
    #[schemars(with = "schema::Instant")]
    pub until: Time,
    /// How long its lease lasts from a renewal on.
    #[schemars(with = "schema::Duration")]
    pub ttl: Span,
    /// What it shows to observers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// A holder that waits for a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LockWaiter {
    /// The id that it has given itself.
    pub holder: String,
    /// Since when it waits.
    #[schemars(with = "schema::Instant")]
    pub since: Time,
    /// Until when it waits.
    #[schemars(with = "schema::Instant")]
    pub until: Time,
}

/// What has happened to a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LockChangeKind {
    /// A permit was granted.
    Granted,
    /// A holder shows another value.
    ValueSet,
    /// A holder has given its permit back.
    Released,
    /// A lease has ended.
    Expired,
    /// An operator has ended a lease.
    Broken,
    /// Something that this version does not know.
    #[schemars(skip)]
    #[serde(untagged)]
    Other(String),
}

/// A change of a lock. Renewals are none, and waiters that come or go neither.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LockChange {
    /// Its place: a watch after it begins with the next change.
    pub cursor: String,
    /// When.
    #[schemars(with = "schema::Instant")]
    pub time: Time,
    /// What.
    pub change: LockChangeKind,
    /// Whose permit it is about.
    pub holder: String,
    /// The token of the permit.
    pub token: u64,
    /// What the holder shows, or showed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Who has broken the lock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why it was broken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A lock with those who hold it and those who are served next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Lock {
    /// Its name.
    pub name: String,
    /// How many may hold it at once.
    pub permits: u32,
    /// How many hold it.
    pub held: u32,
    /// How many wait for it.
    pub waiting: u32,
    /// Who holds it, the oldest grant first; in a listing, the first of them.
    pub holders: Vec<LockHolder>,
    /// Who is served next, in order; a bounded number of them, and none in a listing.
    pub waiters: Vec<LockWaiter>,
    /// The last change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_change: Option<LockChange>,
    /// Where a watch begins that shows what happens from here on.
    pub cursor: String,
}

/// Which locks or barriers to list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LockFilter {
    /// Only names that begin with this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Where the page begins: the `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// How many items at most; 100 without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = limits::PAGE_ITEMS_MAX))]
    pub limit: Option<usize>,
}

/// Lists locks.
pub struct ListLocks;

impl Operation for ListLocks {
    type Params = LockFilter;
    type Body = ();
    type Reply = Page<Lock>;
    const SPEC: Spec = Spec {
        id: "listLocks",
        group: "locks",
        path: "/v1/locks",
        doc: "Lists locks with their first holders, by name.",
        words: &["locks list"],
        answers: &[(200, "A page of locks.")],
        ..Spec::READ
    };
}

/// Shows a lock.
pub struct ShowLock;

impl Operation for ShowLock {
    type Params = LockParams;
    type Body = ();
    type Reply = Lock;
    const SPEC: Spec = Spec {
        id: "showLock",
        group: "locks",
        path: "/v1/locks/{name}",
        doc: "Shows a lock: who holds it since when and by which token, who is served next, and the last change.",
        words: &["locks show"],
        answers: &[(200, "The lock.")],
        errors: &[Code::LockNotFound],
        ..Spec::READ
    };
}

/// Nothing is known of a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnknownLock {
    /// The lock.
    pub lock: String,
    /// A watch after this begins with the first change.
    pub cursor: String,
}

/// An event of a watch of a lock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LockEvent {
    /// The lock as it is: at first, and where changes since the cursor are not kept any more.
    Lock(Box<Lock>),
    /// Nothing is known of the lock: it has no holder.
    Unknown(UnknownLock),
    /// A change.
    Change(Box<LockChange>),
    /// Why the watch ends; nothing follows.
    Error(Problem),
}

/// A lock, and from where to follow it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WatchLockParams {
    /// The lock.
    pub name: String,
    /// Only what happened after this cursor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// The id of the last event that was seen; goes before `after`. Browsers send it by themselves.
    #[serde(rename = "Last-Event-ID", default, skip_serializing_if = "Option::is_none")]
    pub last_event_id: Option<String>,
}

/// Follows a lock.
pub struct WatchLock;

impl Operation for WatchLock {
    type Params = WatchLockParams;
    type Body = ();
    type Reply = LockEvent;
    const SPEC: Spec = Spec {
        id: "watchLock",
        group: "locks",
        path: "/v1/locks/{name}/watch",
        doc: "Follows a lock: events `lock` (as it is), `unknown` (free), `change` (its cursor is the id) and \
              `error`.",
        words: &["locks watch"],
        headers: &["Last-Event-ID"],
        returns: Returns::Events,
        answers: &[(200, "Server-sent events until the client leaves.")],
        errors: &[Code::BadCursor],
        ..Spec::READ
    };
}

/// A barrier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BarrierParams {
    /// The barrier.
    pub name: String,
}

/// Comes to a barrier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ArriveBarrierRequest {
    /// An id that no other member uses. Each member counts once in a generation.
    pub member: String,
    /// How many members it waits for; all of them name the same number.
    #[schemars(range(min = 1, max = limits::LOCK_BARRIER_PARTIES_MAX))]
    pub parties: u32,
    /// The generation that the member comes to, from 1: a repeat that names it never comes to a later one. Without it,
    /// the current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// How long to wait for the others in this request, at most a minute; without it, the answer comes at once. Ask again
    /// with the generation of the answer to continue waiting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Duration>")]
    pub wait: Option<Span>,
    /// How long the generation may take to fill, from its first member on; `10m` without it. The first member decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Duration>")]
    pub ttl: Option<Span>,
}

/// The state of a barrier, for a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BarrierArrival {
    /// The barrier.
    pub barrier: String,
    /// The generation.
    pub generation: u64,
    /// Whether all have come.
    pub released: bool,
    /// How many have come.
    pub arrived: u32,
    /// How many it waits for.
    pub parties: u32,
}

/// Comes to a barrier.
pub struct ArriveBarrier;

impl Operation for ArriveBarrier {
    type Params = BarrierParams;
    type Body = ArriveBarrierRequest;
    type Reply = BarrierArrival;
    const SPEC: Spec = Spec {
        id: "arriveBarrier",
        group: "locks",
        path: "/v1/barriers/{name}/arrive",
        doc: "Comes to a barrier, and waits for the others; the last member releases all.",
        words: &["barriers arrive"],
        accepts: Accepts::SMALL,
        returns: Returns::Json,
        answers: &[(200, "Released, or how many have come.")],
        errors: &[Code::BarrierMismatch, Code::BarrierExpired, Code::LimitReached],
        ..Spec::CHANGE
    };
}

/// A member that has come to a barrier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BarrierMember {
    /// The id that it has given itself.
    pub member: String,
    /// When it came.
    #[schemars(with = "schema::Instant")]
    pub time: Time,
}

/// How a generation of a barrier has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BarrierGeneration {
    /// Its number.
    pub generation: u64,
    /// Whether it was released; otherwise it did not fill in time.
    pub released: bool,
    /// When.
    #[schemars(with = "schema::Instant")]
    pub time: Time,
}

/// A barrier with those who have come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Barrier {
    /// Its name.
    pub name: String,
    /// The generation that members come to now.
    pub generation: u64,
    /// How many members it waits for; without any, as many as the generation before.
    pub parties: u32,
    /// How many have come.
    pub arrived: u32,
    /// When the generation expires, where any has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Instant>")]
    pub expires_at: Option<Time>,
    /// Who has come; none in a listing.
    pub members: Vec<BarrierMember>,
    /// The last generations that are over, the newest last.
    pub over: Vec<BarrierGeneration>,
}

/// Lists barriers.
pub struct ListBarriers;

impl Operation for ListBarriers {
    type Params = LockFilter;
    type Body = ();
    type Reply = Page<Barrier>;
    const SPEC: Spec = Spec {
        id: "listBarriers",
        group: "locks",
        path: "/v1/barriers",
        doc: "Lists barriers, by name.",
        words: &["barriers list"],
        answers: &[(200, "A page of barriers.")],
        ..Spec::READ
    };
}

/// Shows a barrier.
pub struct ShowBarrier;

impl Operation for ShowBarrier {
    type Params = BarrierParams;
    type Body = ();
    type Reply = Barrier;
    const SPEC: Spec = Spec {
        id: "showBarrier",
        group: "locks",
        path: "/v1/barriers/{name}",
        doc: "Shows a barrier: its generation, who has come, and how the last generations have ended.",
        words: &["barriers show"],
        answers: &[(200, "The barrier.")],
        errors: &[Code::BarrierNotFound],
        ..Spec::READ
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_says_little_where_the_defaults_fit() {
        let request: AcquireLockRequest = serde_json::from_str(r#"{"holder": "a"}"#).unwrap();
        assert_eq!((request.permits, request.ttl, request.wait), (1, None, None));
        assert_eq!(serde_json::to_string(&request).unwrap(), r#"{"holder":"a"}"#);
        assert!(serde_json::from_str::<AcquireLockRequest>(r#"{"holder": "a", "tll": "1s"}"#).is_err());
        let kind: LockChangeKind = serde_json::from_str(r#""seized""#).unwrap();
        assert_eq!(kind, LockChangeKind::Other("seized".to_owned()));
    }
}
