//! Changes of the other side, as they come into the space.
//!
//! For: the transactions, and what their outcome means for the next look at a key. Not for: which changes come in.
//! Invariant: a change and the cursor that tells of it are written together, on the condition that the lease is current; a
//! change is written as one that saw the version which the other side had.

use consort_api::{
    NoParams,
    state::{StateAction, StateOperation, StateResult, StateTransaction, TransactState, TransactStateRequest},
};
use consort_types::{Code, Error, Payload, Result, state::WriteOutcome};

use crate::{
    cursor::Arrived,
    decide::Carried,
    mirror::Mirror,
    peer::{Change, Content, Entry, Write},
    report::Event,
    values::Mark,
};

/// Changes of one transaction; the cursor needs one operation more.
const TOGETHER: usize = 32;
/// Bytes of the values of one transaction.
const BYTES: usize = 4 * 1024 * 1024;

/// A change that is to come in.
#[derive(Clone, Debug)]
pub(crate) struct Incoming {
    /// The key.
    pub(crate) key: String,
    /// The key as it was read.
    pub(crate) theirs: Entry,
    /// The version that the other side had seen.
    pub(crate) seen: u64,
    /// Whether the state store has changed as well.
    pub(crate) contended: bool,
}

impl Incoming {
    fn bytes(&self) -> usize {
        match &self.theirs.content {
            Content::Text { document, .. } => document.len(),
            Content::Absent | Content::Foreign(_) => 0,
        }
    }

    fn operation(&self, space: &str) -> StateOperation {
        let value = match &self.theirs.content {
            Content::Text { document, .. } => Some(Payload::inline(document.as_bytes()).into()),
            Content::Absent | Content::Foreign(_) => None,
        };
        StateOperation {
            op: if value.is_some() { StateAction::Put } else { StateAction::Delete },
            space: space.to_owned(),
            key: self.key.clone(),
            value,
            version: Some(self.seen),
            ttl: None,
            stamp: None,
            base: None,
        }
    }
}

impl Mirror<'_> {
    /// Takes changes in. Marks that are to be written for them go to `writes`; the keys that need another look are answered.
    pub(crate) async fn take(
        &mut self,
        token: u64,
        incoming: Vec<Incoming>,
        writes: &mut Vec<Write>,
    ) -> Result<Vec<String>> {
        let mut again = Vec::new();
        // One change that is rejected would have all of its transaction rejected.
        let (mut alone, together): (Vec<_>, Vec<_>) = incoming.into_iter().partition(|one| one.contended);
        for batch in batches(together) {
            match self.transact(token, &batch).await {
                Ok(done) => self.taken(batch, done, writes, &mut again),
                Err(error) if is_refusal(&error) => alone.extend(batch),
                Err(error) => return Err(error),
            }
        }
        for one in alone {
            match self.transact(token, std::slice::from_ref(&one)).await {
                Ok(done) => self.taken(vec![one], done, writes, &mut again),
                Err(error) if is_refusal(&error) => again.push(self.not_taken(one, &error)),
                Err(error) => return Err(error),
            }
        }
        Ok(again)
    }

    async fn transact(&mut self, token: u64, batch: &[Incoming]) -> Result<StateTransaction> {
        let arrived = batch.iter().map(|one| Arrived::new(&one.key, one.theirs.content.digest(), None)).collect();
        let cursor = self.cursor_with(arrived).operation(&self.options.name)?;
        let writes = batch.iter().map(|one| one.operation(&self.options.space));
        let request = TransactStateRequest {
            then: writes.chain([cursor]).collect(),
            fence: self.fence(token),
            by: Some(self.options.writer()),
            ..Default::default()
        };
        self.unsure = true;
        self.client.call::<TransactState>(&NoParams {}, &request).await
    }

    fn taken(
        &mut self,
        batch: Vec<Incoming>,
        done: StateTransaction,
        writes: &mut Vec<Write>,
        again: &mut Vec<String>,
    ) {
        for (one, result) in batch.into_iter().zip(done.results) {
            let digest = one.theirs.content.digest();
            if result.conflict.is_some() {
                self.conflict(&one.key);
            }
            self.counts.taken += 1;
            (self.report)(&Event::In { key: one.key.clone(), version: result.version });
            if is_exact(&result) {
                self.unnoted.push(Arrived::new(&one.key, digest, Some(done.version)));
                let mark = digest.map(|digest| Mark { version: result.version, digest: Some(digest) });
                writes.push(Write { key: one.key, seen: one.theirs, change: Change::Keep, mark });
            } else {
                self.carried.insert(one.key.clone(), Carried { digest, version: done.version });
                again.push(one.key);
            }
        }
    }

    /// The state store keeps what it has; that goes out where the other side does not have it.
    fn not_taken(&mut self, one: Incoming, error: &Error) -> String {
        if error.code == Code::StateConflict {
            self.conflict(&one.key);
        } else {
            self.refuse(&one.key, &error.message);
        }
        self.carried.insert(one.key.clone(), Carried { digest: one.theirs.content.digest(), version: 0 });
        one.key
    }

    fn conflict(&mut self, key: &str) {
        self.counts.conflicts += 1;
        (self.report)(&Event::Conflict { key: key.to_owned() });
    }
}

/// Whether the key has now exactly what came in.
fn is_exact(result: &StateResult) -> bool {
    result.value.is_none() && !matches!(result.outcome, WriteOutcome::Superseded | WriteOutcome::Undecided)
}

/// Whether the state store does not take a change, and would not take it later either.
fn is_refusal(error: &Error) -> bool {
    matches!(
        error.code,
        Code::StateConflict
            | Code::VersionGone
            | Code::SpaceFull
            | Code::NotMergeable
            | Code::LimitReached
            | Code::PayloadTooLarge
            | Code::BadJson
    )
}

fn batches(all: Vec<Incoming>) -> Vec<Vec<Incoming>> {
    let mut batches: Vec<Vec<Incoming>> = Vec::new();
    let mut bytes = 0;
    for one in all {
        match batches.last_mut() {
            Some(last) if last.len() < TOGETHER && bytes + one.bytes() <= BYTES => {
                bytes += one.bytes();
                last.push(one);
            }
            _ => {
                bytes = one.bytes();
                batches.push(vec![one]);
            }
        }
    }
    batches
}
