//! Coordination: locks with leases, their queues, and barriers.
//!
//! For: the commands, rules, rows and views of locks (mutexes, elections, semaphores) and barriers. Not for: waiting (the
//! engine does), or for limits on tasks (see `quota`).
//! Invariant: a lock never has more holders than permits; the tokens of its grants only grow, also when it is forgotten
//! and made again; a lease ends before its time only by its holder's wish or an operator's.
//! The claim of a step is kept while the step is active.
//!
//! The tests of its commands are the scenarios in `tests/locks.rs` and `tests/barriers.rs`.

pub(crate) mod acquire;
pub(crate) mod arrive;
pub(crate) mod break_lock;
pub(crate) mod due;
pub(crate) mod keys;
pub(crate) mod lock;
pub(crate) mod release;
pub(crate) mod renew;
pub(crate) mod rows;
pub(crate) mod step_claim;
pub(crate) mod ticket;
pub(crate) mod views;

use consort_types::{Code, Error, Name, Result, Span, Token, bounds::check_text, limits};

use crate::{coordination::keys::PlaceKey, key::NamedKey, state::State};

/// Whether a token is that of a current grant of a lock: what is done for its holder is done for no other. It changes
/// nothing, and any command may ask it while it is applied.
///
/// # Errors
/// Where rows cannot be read.
pub(crate) fn is_current(state: &mut State, namespace: &str, name: &str, token: Token) -> Result<bool> {
    let key = PlaceKey::holder(&NamedKey::of(namespace, name), token);
    Ok(state.tables.lock_places.get_shared(&key)?.is_some())
}

/// Refuses names that are none; `what` names the kind.
fn check_names(namespace: &str, what: &str, name: &str) -> Result<()> {
    Name::check("namespace", namespace)?;
    Name::check(what, name)
}

/// Refuses the id of a holder or member that is empty or too long.
fn check_holder(what: &str, holder: &str) -> Result<()> {
    if holder.is_empty() {
        return Err(Error::new(Code::BadRequest, format!("the {what} is empty"))
            .hint("give an id that no other program uses at the same time, such as host and process"));
    }
    check_text(what, holder, limits::LOCK_HOLDER_BYTES_MAX)
}

/// Refuses the id of a holder that no program has.
fn check_program(holder: &str) -> Result<()> {
    check_holder("holder", holder)?;
    step_claim::refuse_steps(holder)
}

/// Refuses a lease, or the life of a generation of a barrier, that is too short or too long.
fn check_ttl(ttl: Span) -> Result<()> {
    let (min, max) = (Span::from_secs(limits::LOCK_TTL_SECONDS_MIN), Span::from_secs(limits::LOCK_TTL_SECONDS_MAX));
    if (min..=max).contains(&ttl) {
        return Ok(());
    }
    let message = format!("`ttl` is `{ttl}`, but must be from `{min}` to `{max}`");
    Err(Error::new(Code::LimitReached, message).hint("hold longer by renewing, not by a longer `ttl`"))
}
