//! Views of locks and barriers.
//!
//! For: what people and programs see of them, by pages. Not for: changing anything.
//! Invariant: what is shown of one lock is bounded, however many wait for it.

use consort_types::{Code, Error, Position, Result, Span, Time, Token, limits};

use super::{
    acquire::LockClaim,
    arrive::{BarrierState, outcome},
    break_lock::not_found,
    is_current,
    keys::{ChangeKey, MemberKey, PlaceKey, PlaceKind},
    rows::{Barrier, Claim, Generation, Lock, LockChange},
};
use crate::{
    Machine,
    key::NamedKey,
    page::{Page, bounded},
    registry::agents::PAST,
    state::{State, missing},
};

/// A holder of a lock, or a waiter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HolderView {
    /// The id that it has given itself.
    pub holder: String,
    /// What it has.
    pub claim: LockClaim,
    /// How long its lease lasts from a grant or renewal on.
    pub ttl: Span,
    /// What it shows.
    pub value: Option<String>,
}

/// A lock.
#[derive(Clone, Debug, PartialEq)]
pub struct LockView {
    /// Its name.
    pub name: String,
    /// How many may hold it at once.
    pub permits: u32,
    /// How many hold it.
    pub held: u32,
    /// How many wait.
    pub waiting: u32,
    /// Who holds it, by token; in a listing, the first.
    pub holders: Vec<HolderView>,
    /// Who is served next, at most [`limits::LOCK_WAITERS_SHOWN_MAX`]; none in a listing.
    pub waiters: Vec<HolderView>,
    /// The last change, where it is known.
    pub last: Option<LockChange>,
    /// A watch from here on misses nothing that is not shown.
    pub cursor: Position,
}

/// What is new of a lock.
#[derive(Clone, Debug, PartialEq)]
pub enum LockNews {
    /// What has happened.
    Changes {
        /// Whether the lock had no holder between the cursor and the first change: it was forgotten, or not known.
        anew: bool,
        /// Every change after the cursor, up to a page of them.
        changes: Vec<(Position, LockChange)>,
    },
    /// Some changes after the cursor are not kept any more: the lock as it is now.
    Lock(Box<LockView>),
    /// The lock is not known: it has no holder.
    Unknown,
}

/// A barrier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BarrierView {
    /// Its name.
    pub name: String,
    /// The generation that members come to now.
    pub generation: u64,
    /// How many members it waits for; of a generation without members, as many as the one before.
    pub parties: u32,
    /// How many have come.
    pub arrived: u32,
    /// When the generation expires; `None` without a member.
    pub expires: Option<Time>,
    /// Who has come, at most a page; none in a listing.
    pub members: Vec<(String, Time)>,
    /// The last generations that are over, the newest last.
    pub over: Vec<Generation>,
}

/// The locks and barriers of a machine, for reading.
pub struct Coordination<'a> {
    state: &'a mut State,
}

impl<'a> Coordination<'a> {
    /// Those of a machine.
    pub fn of(machine: &'a mut Machine) -> Self {
        Self { state: &mut machine.state }
    }

    /// Whether a token is that of a current grant of a lock.
    pub fn is_current(&mut self, namespace: &str, name: &str, token: Token) -> Result<bool> {
        is_current(self.state, namespace, name, token)
    }

    /// A lock with its holders and those who are served next.
    ///
    /// # Errors
    /// [`Code::LockNotFound`] where it is not known.
    pub fn lock(&mut self, namespace: &str, name: &str) -> Result<LockView> {
        let key = NamedKey::of(namespace, name);
        let lock = self.state.tables.locks.get(&key)?.ok_or_else(|| not_found(name))?;
        let waiters = claims(self.state, &key, PlaceKind::Waiter, lock.queue_from, limits::LOCK_WAITERS_SHOWN_MAX)?;
        let holders = claims(self.state, &key, PlaceKind::Holder, Position::ZERO, lock.held as usize)?;
        view(self.state, &key, &lock, (holders, waiters))
    }

    /// Locks of a namespace whose names begin with a text, by name, each with its first holder.
    pub fn locks(
        &mut self,
        namespace: &str,
        prefix: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<LockView>> {
        let from = NamedKey::of(namespace, cursor.unwrap_or(prefix).max(prefix));
        let to = NamedKey::of(namespace, &format!("{prefix}{PAST}"));
        let limit = bounded(limit);
        let mut rows = self.state.tables.locks.range(&from, &to, limit + 1)?;
        let next = if rows.len() > limit { rows.pop().map(|(key, _)| key.name) } else { None };
        let mut items = Vec::with_capacity(rows.len());
        for (key, lock) in rows {
            let holders = claims(self.state, &key, PlaceKind::Holder, Position::ZERO, 1)?;
            items.push(view(self.state, &key, &lock, (holders, Vec::new()))?);
        }
        Ok(Page { items, next })
    }

    /// What a holder has of a lock; `None` where it has nothing.
    pub fn lock_claim(&mut self, namespace: &str, name: &str, holder: &str) -> Result<Option<LockClaim>> {
        let member = MemberKey::of(&NamedKey::of(namespace, name), holder);
        Ok(self.state.tables.lock_claims.get_shared(&member)?.map(|claim| LockClaim::from(&*claim)))
    }

    /// What has happened to a lock after a cursor; without one, the lock as it is now.
    pub fn lock_news(
        &mut self,
        namespace: &str,
        name: &str,
        after: Option<Position>,
        limit: usize,
    ) -> Result<LockNews> {
        let key = NamedKey::of(namespace, name);
        let Some(lock) = self.state.tables.locks.get(&key)? else { return Ok(LockNews::Unknown) };
        let Some(after) = after else {
            return self.lock(namespace, name).map(Box::new).map(LockNews::Lock);
        };
        let anew = after < lock.trimmed;
        if anew && lock.trimmed.n > 0 {
            return self.lock(namespace, name).map(Box::new).map(LockNews::Lock);
        }
        let from = ChangeKey::of(&key, after.next());
        let rows = self.state.tables.lock_changes.range(&from, &ChangeKey::last(&key), bounded(limit))?;
        let changes = rows.into_iter().map(|(key, change)| (key.at, change)).collect();
        Ok(LockNews::Changes { anew, changes })
    }

    /// A barrier with those who have come.
    ///
    /// # Errors
    /// [`Code::BarrierNotFound`] where it is not known.
    pub fn barrier(&mut self, namespace: &str, name: &str) -> Result<BarrierView> {
        let key = NamedKey::of(namespace, name);
        let barrier = self.state.tables.barriers.get(&key)?.ok_or_else(|| barrier_not_found(name))?;
        let (from, to) = (MemberKey::of(&key, ""), MemberKey::last(&key));
        let rows = self.state.tables.barrier_arrivals.range(&from, &to, limits::PAGE_ITEMS_MAX)?;
        let members = rows.into_iter().map(|(key, arrival)| (key.member, arrival.at)).collect();
        Ok(BarrierView { members, ..barrier_view(key, barrier) })
    }

    /// Barriers of a namespace whose names begin with a text, by name.
    pub fn barriers(
        &mut self,
        namespace: &str,
        prefix: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<BarrierView>> {
        let from = NamedKey::of(namespace, cursor.unwrap_or(prefix).max(prefix));
        let to = NamedKey::of(namespace, &format!("{prefix}{PAST}"));
        let limit = bounded(limit);
        let mut rows = self.state.tables.barriers.range(&from, &to, limit + 1)?;
        let next = if rows.len() > limit { rows.pop().map(|(key, _)| key.name) } else { None };
        Ok(Page { items: rows.into_iter().map(|(key, barrier)| barrier_view(key, barrier)).collect(), next })
    }

    /// The state of a generation of a barrier, for a member that has come to it.
    ///
    /// # Errors
    /// [`Code::BarrierExpired`] where it did not fill in time, [`Code::BarrierMismatch`] where it is not known any more.
    pub fn barrier_state(&mut self, namespace: &str, name: &str, generation: u64) -> Result<BarrierState> {
        let barrier = self.state.tables.barriers.get(&NamedKey::of(namespace, name))?;
        match &barrier {
            Some(Barrier { generation: current, arrived, parties, .. }) if *current == generation => {
                Ok(BarrierState { generation, released: false, arrived: *arrived, parties: *parties })
            }
            known => outcome(name, known.as_ref(), generation, known.as_ref().map_or(0, |known| known.parties)),
        }
    }
}

/// The claims that have places of a kind, in order.
fn claims(state: &mut State, key: &NamedKey, kind: PlaceKind, from: Position, limit: usize) -> Result<Vec<HolderView>> {
    let from = match kind {
        PlaceKind::Holder => PlaceKey::holder(key, Token(from.seq.0)),
        PlaceKind::Waiter => PlaceKey::waiter(key, from),
    };
    let places = state.tables.lock_places.range(&from, &PlaceKey::last(key, kind), limit)?;
    let of = |(_, place): (PlaceKey, super::rows::Place)| {
        let member = MemberKey::of(key, &place.holder);
        let claim = state.tables.lock_claims.get_shared(&member)?.ok_or_else(|| missing("claim", &place.holder))?;
        let Claim { ttl, value, .. } = &*claim;
        Ok(HolderView { claim: LockClaim::from(&*claim), ttl: *ttl, value: value.clone(), holder: place.holder })
    };
    places.into_iter().map(of).collect()
}

fn view(
    state: &mut State,
    key: &NamedKey,
    lock: &Lock,
    (holders, waiters): (Vec<HolderView>, Vec<HolderView>),
) -> Result<LockView> {
    let Lock { permits, held, waiting, changed, .. } = *lock;
    let last = state.tables.lock_changes.get(&ChangeKey::of(key, changed))?;
    Ok(LockView { name: key.name.clone(), permits, held, waiting, holders, waiters, last, cursor: changed })
}

fn barrier_view(key: NamedKey, barrier: Barrier) -> BarrierView {
    let Barrier { generation, parties, arrived, due, over, .. } = barrier;
    let expires = (arrived > 0).then_some(due);
    BarrierView { name: key.name, generation, parties, arrived, expires, members: Vec::new(), over }
}

fn barrier_not_found(name: &str) -> Error {
    Error::new(Code::BarrierNotFound, format!("there is no barrier `{name}`"))
        .hint("`consort barriers list` shows those that are known")
}
