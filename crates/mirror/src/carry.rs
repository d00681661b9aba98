//! Carrying values between two servers.
//!
//! For: reading keys and marks of both, and writing what is decided (see `agreement`). Not for: deciding.
//! Invariant: a value and the mark that tells of it are written by one transaction, on the condition that the mark is the
//! one that was read and that the lease of that side is current; so what has come is never taken a second time, whatever is
//! killed.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use consort_api::{
    Document, NoParams,
    client::Client,
    state::{
        GetState, GetStateParams, StateAction, StateCondition, StateFence, StateOperation, StateStamp,
        StateTransaction, TransactState, TransactStateRequest,
    },
};
use consort_types::{
    Code, Error, Payload, Result, Span, Time, limits,
    state::{MergePolicy, SpaceSettings, WriteOutcome},
};
use futures::StreamExt as _;

use crate::{
    agreement::{End, Half, Halves, Kept, Mark, Step, decide},
    far::{Far, Policies, of_far},
    mirror::Mirror,
    options::Options,
    peer::KEYS_AT_ONCE,
    report::Event,
    source::READS,
    values::text_of,
};

/// Steps that one look at a key may take: a value goes one way, is answered by a merged one, and both are noted.
const STEPS_MAX: usize = 8;

/// One side, as it is read and written.
struct Side<'a> {
    client: &'a Client,
    space: &'a str,
    policies: &'a SpaceSettings,
    fence: StateFence,
}

/// Both sides.
struct Link<'a> {
    options: &'a Options,
    near: Side<'a>,
    far: Side<'a>,
}

/// The outcome of a step.
enum Outcome {
    /// It is done, or it need not be done any more.
    Done,
    /// What it was decided from has changed: the key is looked at again.
    Moved,
    /// The side does not take the value.
    Refused(Error),
}

impl Mirror<'_> {
    /// Looks at some of the keys. Those that another look is needed for stay.
    pub(crate) async fn agree(
        &mut self,
        far: &Far,
        policies: &Policies,
        tokens: (u64, u64),
        dirty: &mut BTreeSet<String>,
    ) -> Result<()> {
        let mut keys = Vec::with_capacity(KEYS_AT_ONCE);
        while keys.len() < KEYS_AT_ONCE
            && let Some(key) = dirty.pop_first()
        {
            keys.push(key);
        }
        let fence = |token| StateFence { lock: self.options.lock(), token };
        let options = self.options.clone();
        let client = self.client.clone();
        let link = Link {
            options: &options,
            near: Side { client: &client, space: &options.space, policies: &policies.near, fence: fence(tokens.0) },
            far: Side { client: &far.client, space: &far.space, policies: &policies.far, fence: fence(tokens.1) },
        };
        let mut looks = futures::stream::iter(keys).map(|key| link.look(key)).buffer_unordered(READS);
        let mut failed = Ok(());
        while let Some((key, told, looked)) = looks.next().await {
            for event in &told {
                self.tell(event);
            }
            match looked {
                Ok(true) => {}
                Ok(false) => drop(dirty.insert(key)),
                Err(error) => {
                    dirty.insert(key);
                    failed = Err(error);
                }
            }
        }
        failed
    }

    fn tell(&mut self, event: &Event) {
        match event {
            Event::Out { .. } => self.counts.out += 1,
            Event::In { .. } => self.counts.taken += 1,
            Event::Conflict { .. } => self.counts.conflicts += 1,
            Event::Refused { key, reason } => return self.refuse(key, reason),
            _ => {}
        }
        (self.report)(event);
    }
}

impl Link<'_> {
    fn side(&self, end: End) -> &Side<'_> {
        match end {
            End::Near => &self.near,
            End::Far => &self.far,
        }
    }

    /// Makes a key equal on both sides: the key, what is told, and whether it is settled.
    async fn look(&self, key: String) -> (String, Vec<Event>, Result<bool>) {
        let mut told = Vec::new();
        let looked = self.steps(&key, &mut told).await;
        (key, told, looked)
    }

    async fn steps(&self, key: &str, told: &mut Vec<Event>) -> Result<bool> {
        for _ in 0..STEPS_MAX {
            let (near, far) = tokio::join!(self.read(End::Near, key), self.read(End::Far, key));
            let adds = self.near.adds(key) || self.far.adds(key);
            let both = Halves { near: near?, far: far?, adds };
            let done = match decide(self.options.direction, &both)? {
                Step::Nothing => return Ok(true),
                Step::Forget => self.forget(key, &both).await?,
                Step::Note { into, settled } => self.note(into, settled, key, &both).await?,
                Step::Carry { into } => self.carry(into, key, &both, told).await?,
                Step::Replace { into } => self.replace(into, key, &both, told).await?,
            };
            match done {
                Outcome::Done => {}
                Outcome::Moved => return Ok(false),
                Outcome::Refused(error) => {
                    told.push(Event::Refused { key: key.to_owned(), reason: error.message });
                    return Ok(true);
                }
            }
        }
        // Writers are faster, or the policies of both sides do not agree: what changes next is looked at again.
        Ok(true)
    }

    /// A key of one side with its mark.
    async fn read(&self, end: End, key: &str) -> Result<Half> {
        let side = self.side(end);
        let marks = self.options.marks();
        let (value, mark) = tokio::join!(get(side.client, side.space, key), get(side.client, &marks, key));
        let read = || {
            let (value, mark) = (value?, mark?);
            let mut half = Half::default();
            if let Some(found) = mark {
                half.kept = Some(Kept { version: found.version, mark: found.value.read::<Mark>("mark")? });
            }
            if let Some(found) = value {
                half.version = found.version;
                half.text = Some(text_of(&found.value)?);
                half.written = found.written_at.0;
                half.expires = found.expires_at.map(|at| at.0);
                half.undecided = found.conflict.is_some();
            }
            Ok(half)
        };
        read().map_err(|error| if end == End::Far { of_far(error) } else { error })
    }

    /// Writes into a side; `None` where a condition does not hold any more.
    async fn transact(
        &self,
        into: End,
        conditions: Vec<StateCondition>,
        then: Vec<StateOperation>,
    ) -> Result<Option<StateTransaction>> {
        let side = self.side(into);
        let request = TransactStateRequest {
            conditions,
            then,
            fence: vec![side.fence.clone()],
            by: Some(self.options.writer()),
            ..TransactStateRequest::default()
        };
        match side.client.call::<TransactState>(&NoParams {}, &request).await {
            Ok(done) => Ok(done.succeeded.then_some(done)),
            Err(error) if into == End::Far => Err(of_far(error)),
            Err(error) => Err(error),
        }
    }

    /// The condition that the mark of a side is the one that was read.
    fn unmarked(&self, into: End, key: &str, both: &Halves) -> StateCondition {
        let version = both.of(into).kept.as_ref().map_or(0, |kept| kept.version);
        has_version(&self.options.marks(), key, version)
    }

    /// The operation that writes the mark of a side: it includes what was read of the other one.
    fn mark(&self, into: End, key: &str, both: &Halves, equal: bool) -> Result<StateOperation> {
        let from = both.of(into.other());
        let mark = Mark { turn: both.turn(into, equal), peer: from.version, equal, value: from.text.clone() };
        let operation = operation(StateAction::Put, &self.options.marks(), key);
        Ok(StateOperation { value: Some(Document::of("mark", &mark)?), ..operation })
    }

    /// Removes the marks of a key that neither side has.
    async fn forget(&self, key: &str, both: &Halves) -> Result<Outcome> {
        for end in [End::Near, End::Far] {
            if both.of(end).kept.is_none() {
                continue;
            }
            let absent = has_version(self.side(end).space, key, 0);
            let removal = operation(StateAction::Delete, &self.options.marks(), key);
            if self.transact(end, vec![absent, self.unmarked(end, key, both)], vec![removal]).await?.is_none() {
                return Ok(Outcome::Moved);
            }
        }
        Ok(Outcome::Done)
    }

    async fn note(&self, into: End, settled: bool, key: &str, both: &Halves) -> Result<Outcome> {
        let mut conditions = vec![self.unmarked(into, key, both)];
        if !settled {
            conditions.push(has_version(self.side(into).space, key, both.of(into).version));
        }
        let written = self.transact(into, conditions, vec![self.mark(into, key, both, true)?]).await?;
        Ok(if written.is_some() { Outcome::Done } else { Outcome::Moved })
    }

    /// Writes the value of the other side, as one that has seen what it includes.
    async fn carry(&self, into: End, key: &str, both: &Halves, told: &mut Vec<Event>) -> Result<Outcome> {
        let includes = both.mark(into.other());
        let seen = Some(includes.map_or(0, |mark| mark.peer));
        let base = includes.and_then(|mark| mark.value.clone());
        let seen_latest = seen == Some(both.of(into).version);
        let write = Write { seen, base: base.clone(), stamped: true };
        match self.write(into, key, both, write, Vec::new()).await {
            Err(error) if error.code == Code::StateConflict => {
                told.push(Event::Conflict { key: key.to_owned() });
                self.replace(End::Near, key, both, told).await
            }
            // Of a text or a list whose history begins later, all is added; a stamp that is ahead of the clock there is left out.
            Err(error) if error.code == Code::VersionGone && includes.is_none() || error.code == Code::BadRequest => {
                let seen = seen.filter(|_| error.code == Code::BadRequest);
                let write = Write { seen, base, stamped: false };
                written(into, key, self.write(into, key, both, write, Vec::new()).await, told)
            }
            done => {
                if !seen_latest && done.as_ref().is_ok_and(|done| has_conflict(done.as_ref())) {
                    told.push(Event::Conflict { key: key.to_owned() });
                }
                written(into, key, done, told)
            }
        }
    }

    /// Writes the value of the other side in place of the one that is there.
    async fn replace(&self, into: End, key: &str, both: &Halves, told: &mut Vec<Event>) -> Result<Outcome> {
        let version = both.of(into).version;
        let unchanged = vec![has_version(self.side(into).space, key, version)];
        let write = Write { seen: Some(version), base: None, stamped: false };
        let done = self.write(into, key, both, write, unchanged).await;
        written(into, key, done, told)
    }

    async fn write(
        &self,
        into: End,
        key: &str,
        both: &Halves,
        write: Write,
        mut conditions: Vec<StateCondition>,
    ) -> Result<Option<StateTransaction>> {
        let (from, side) = (both.of(into.other()), self.side(into));
        check_size(from)?;
        conditions.push(self.unmarked(into, key, both));
        let base = operation(StateAction::Delete, side.space, key);
        let put = match &from.text {
            None => StateOperation { version: write.seen, ..base },
            Some(text) => StateOperation {
                op: StateAction::Put,
                value: Some(document(text)),
                version: write.seen,
                ttl: from.expires.map(left),
                stamp: (write.stamped && side.keeps_stamps(key)).then(|| stamp(from.written)),
                base: write.base.filter(|_| write.seen.is_some_and(|seen| seen > 0)).as_deref().map(document),
                ..base
            },
        };
        self.transact(into, conditions, vec![put, self.mark(into, key, both, false)?]).await
    }
}

/// How a value is written.
struct Write {
    seen: Option<u64>,
    base: Option<String>,
    stamped: bool,
}

impl Side<'_> {
    /// Whether under the policy of a key the same value of two writers may be two changes.
    fn adds(&self, key: &str) -> bool {
        self.policies.policy_of(key) == MergePolicy::Counter
    }

    /// Whether the policy of a key compares when values were written.
    fn keeps_stamps(&self, key: &str) -> bool {
        matches!(self.policies.policy_of(key), MergePolicy::LastWriterWins | MergePolicy::Map)
    }
}

/// The outcome of a write.
fn written(into: End, key: &str, done: Result<Option<StateTransaction>>, told: &mut Vec<Event>) -> Result<Outcome> {
    let done = match done {
        Ok(Some(done)) => done,
        Ok(None) => return Ok(Outcome::Moved),
        Err(error) if error.code == Code::StateConflict => return Ok(Outcome::Moved),
        Err(error) if is_refusal(error.code) => return Ok(Outcome::Refused(error)),
        Err(error) => return Err(error),
    };
    let version = done.results.first().map_or(0, |result| result.version);
    let key = key.to_owned();
    told.push(if into == End::Far { Event::Out { key, version } } else { Event::In { key, version } });
    Ok(Outcome::Done)
}

async fn get(client: &Client, space: &str, key: &str) -> Result<Option<consort_api::state::StateValue>> {
    let params = GetStateParams { space: space.to_owned(), key: key.to_owned(), version: None };
    match client.call::<GetState>(&params, &()).await {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.code == Code::KeyNotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn has_version(space: &str, key: &str, version: u64) -> StateCondition {
    StateCondition { space: space.to_owned(), key: key.to_owned(), version: Some(version), exists: None, equals: None }
}

fn operation(op: StateAction, space: &str, key: &str) -> StateOperation {
    StateOperation {
        op,
        space: space.to_owned(),
        key: key.to_owned(),
        value: None,
        version: None,
        ttl: None,
        stamp: None,
        base: None,
    }
}

fn document(text: &str) -> Document {
    Payload::inline(text.as_bytes()).into()
}

fn check_size(from: &Half) -> Result<()> {
    let (bytes, max) = (from.text.as_ref().map_or(0, String::len), limits::MIRROR_VALUE_BYTES_MAX);
    if bytes <= max {
        return Ok(());
    }
    let message = format!("the value has {bytes} bytes, a mirror carries at most {max}");
    Err(Error::new(Code::PayloadTooLarge, message).hint("use several keys"))
}

fn has_conflict(done: Option<&StateTransaction>) -> bool {
    let result = done.and_then(|done| done.results.first());
    result.is_some_and(|result| result.conflict.is_some() || result.outcome == WriteOutcome::Undecided)
}

/// Whether a side does not take a value, and would not take it later either.
fn is_refusal(code: Code) -> bool {
    matches!(
        code,
        Code::VersionGone
            | Code::SpaceFull
            | Code::NotMergeable
            | Code::LimitReached
            | Code::PayloadTooLarge
            | Code::BadJson
    )
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The stamp of what was written at that time; never ahead of this machine's clock.
fn stamp(written: u64) -> StateStamp {
    let now = u64::try_from(now().as_micros()).unwrap_or(u64::MAX);
    StateStamp { time: Time(written.min(now)), count: 0 }
}

/// How long a copy stays: a little longer than its original, which decides when it ends.
fn left(expires: u64) -> Span {
    let now = u64::try_from(now().as_micros()).unwrap_or(u64::MAX);
    let left = expires.saturating_sub(now) + Span::from_secs(limits::MIRROR_TTL_MARGIN_SECONDS).0;
    Span(left.min(Span::from_secs(limits::STATE_TTL_SECONDS_MAX).0))
}
