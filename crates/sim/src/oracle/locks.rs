//! What one record may do to locks.
//!
//! For: laws 3, 6 and 8 of locks, from their rows. Not for: barriers, or waiting callers.
//! Invariant: every check reads only rows and the command; what was granted is remembered here, so that a lock that is
//! forgotten and made again is held to its old tokens.

use std::collections::{BTreeMap, BTreeSet};

use consort_core::{
    Command, TABLES,
    keys::{MemberKey, NamedKey, PlaceKey, PlaceKind},
    rows::{Claim, Lock, Place},
};
use consort_types::Token;

use super::rows::{Change, Context, Rows, decode, key_bytes, key_of, table};
use crate::plan::{Checked, Violation};

/// Grants of a lock that are remembered for those who try old tokens.
const REMEMBERED: usize = 12;

/// A lock: its namespace and name.
type Name = (String, String);

/// What was granted.
#[derive(Debug, Default)]
pub(crate) struct Grants {
    highest: BTreeMap<Name, Token>,
    last: BTreeMap<Name, Vec<(String, Token)>>,
}

impl Grants {
    /// The last grants of a lock.
    pub(crate) fn of(&self, namespace: &str, name: &str) -> Vec<(String, Token)> {
        self.last.get(&(namespace.to_owned(), name.to_owned())).cloned().unwrap_or_default()
    }

    /// Looks at what a record did to locks.
    pub(crate) fn check(&mut self, context: &Context<'_>, changes: &[Change], rows: &Rows) -> Checked {
        let mut touched = BTreeSet::new();
        let mut granted = Vec::new();
        for change in changes {
            if TABLES.locks.has(&change.key) {
                touched.extend(key_of::<NamedKey>(&change.key).map(|key| (key.namespace, key.name)));
            }
            let Some(key) = key_of::<MemberKey>(&change.key).filter(|_| TABLES.lock_claims.has(&change.key)) else {
                continue;
            };
            let claim = |row: &Option<Vec<u8>>| row.as_deref().and_then(decode::<Claim>);
            let (old, new) = (claim(&change.old), claim(&change.new));
            check_claim(context, &key, old.as_ref(), new.as_ref())?;
            if let Some(new) = new
                && let (Some(token), None) = (new.token, old.as_ref().and_then(|old| old.token))
            {
                check_order(context, &key, &new, rows)?;
                granted.push((token, key.clone()));
            }
            touched.insert((key.namespace, key.name));
        }
        granted.sort_unstable();
        for (token, key) in granted {
            self.note(context, token, key)?;
        }
        touched.iter().try_for_each(|name| check_lock(context, name, rows))
    }

    /// Tokens only grow.
    fn note(&mut self, context: &Context<'_>, token: Token, key: MemberKey) -> Checked {
        let name = (key.namespace, key.name);
        let highest = self.highest.entry(name.clone()).or_default();
        if token <= *highest {
            let what = format!("record {}: lock {name:?} was granted by token {token} after {highest}", context.seq);
            return Err(Violation::of(3, what));
        }
        *highest = token;
        let last = self.last.entry(name).or_default();
        last.push((key.member, token));
        let surplus = last.len().saturating_sub(REMEMBERED);
        last.drain(..surplus);
        Ok(())
    }
}

/// A claim ends by its holder, by an operator, or by its time; a lease is never shortened.
fn check_claim(context: &Context<'_>, key: &MemberKey, old: Option<&Claim>, new: Option<&Claim>) -> Checked {
    let Some(old) = old else { return Ok(()) };
    let (seq, of) = (context.seq, (&key.namespace, &key.name, &key.member));
    match new {
        Some(new) if old.token.is_some() && new.token != old.token => Err(Violation::of(
            3,
            format!("record {seq}: {of:?} held by token {:?}, and now by {:?}", old.token, new.token),
        )),
        Some(new) if old.token == new.token && new.due < old.due => {
            Err(Violation::of(6, format!("record {seq}: {of:?} was due at {}, and now at {}", old.due, new.due)))
        }
        // The claim of a step ends with the step (see `flow`).
        None if old.step.is_some() => Ok(()),
        None if matches!(context.command, Command::Tick(_)) && context.now < old.due => {
            Err(Violation::of(6, format!("record {seq}: {of:?} ended before its time, {}", old.due)))
        }
        None if !may_end(context.command, key, old) => {
            Err(Violation::of(3, format!("record {seq}: {of:?} ended by {:?}", context.command)))
        }
        _ => Ok(()),
    }
}

fn may_end(command: &Command, key: &MemberKey, old: &Claim) -> bool {
    match command {
        Command::Tick(_) => true,
        Command::ReleaseLock(release) => {
            release.holder == key.member && (release.token.is_none() || release.token == old.token)
        }
        Command::BreakLock(broken) => match &broken.holder {
            Some(holder) => *holder == key.member,
            None => old.token.is_some(),
        },
        _ => false,
    }
}

/// First come, first served: a claim is served after all that came before it. One record may serve one, and have others
/// come after it.
fn check_order(context: &Context<'_>, key: &MemberKey, served: &Claim, rows: &Rows) -> Checked {
    let name = (key.namespace.clone(), key.name.clone());
    let mut waiting = claims(rows, &name).filter(|(_, claim)| claim.token.is_none());
    let before = waiting.find(|(_, claim)| claim.ticket < served.ticket);
    match before {
        Some((holder, _)) => {
            let what = format!("record {}: {name:?} went to `{}` before `{holder}`", context.seq, key.member);
            Err(Violation::of(8, what))
        }
        None => Ok(()),
    }
}

/// The claims on a lock, with their holders.
fn claims<'a>(rows: &'a Rows, (namespace, name): &'a Name) -> impl Iterator<Item = (String, Claim)> + 'a {
    let all = table(rows, TABLES.lock_claims).filter_map(|(key, row)| Some((key_of::<MemberKey>(key)?, decode(row)?)));
    all.filter(move |(key, _)| key.namespace == *namespace && key.name == *name).map(|(key, claim)| (key.member, claim))
}

/// A lock has no more holders than permits, none waits for a free one, and its counts and places are those of its claims.
fn check_lock(context: &Context<'_>, name: &Name, rows: &Rows) -> Checked {
    let seq = context.seq;
    let key = NamedKey::of(&name.0, &name.1);
    let lock = rows.get(&key_bytes(TABLES.locks, &key)).and_then(|row| decode::<Lock>(row));
    let claims: Vec<(String, Claim)> = claims(rows, name).collect();
    let held = claims.iter().filter(|(_, claim)| claim.token.is_some()).count();
    let Some(lock) = lock else {
        let what = format!("record {seq}: lock {name:?} is not there, and `{}` claims it", claims.len());
        return if claims.is_empty() { Ok(()) } else { Err(Violation::of(8, what)) };
    };
    if held > lock.permits as usize {
        return Err(Violation::of(3, format!("record {seq}: lock {name:?} has {held} holders: {claims:?}")));
    }
    let waiting = claims.len() - held;
    if waiting > 0 && held < lock.permits as usize {
        return Err(Violation::of(8, format!("record {seq}: `{waiting}` wait for lock {name:?}, which is free")));
    }
    let placed: BTreeSet<(String, bool)> = table(rows, TABLES.lock_places)
        .filter_map(|(key, row)| Some((key_of::<PlaceKey>(key)?, decode::<Place>(row)?)))
        .filter(|(key, _)| key.namespace == name.0 && key.name == name.1)
        .map(|(key, place)| (place.holder, key.kind == PlaceKind::Holder))
        .collect();
    let found: BTreeSet<(String, bool)> =
        claims.into_iter().map(|(holder, claim)| (holder, claim.token.is_some())).collect();
    if (lock.held as usize, lock.waiting as usize) != (held, waiting) || placed != found {
        let what = format!("record {seq}: lock {name:?} is {lock:?}, with places {placed:?}, and its claims {found:?}");
        return Err(Violation::of(8, what));
    }
    Ok(())
}

/// Whether no lock has a holder or a waiter.
pub(crate) fn is_idle(rows: &Rows) -> bool {
    table(rows, TABLES.lock_claims).next().is_none()
}
