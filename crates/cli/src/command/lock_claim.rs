//! Acquiring a lock and giving it up, for `locks acquire` and `locks run`.
//!
//! For: waiting over many requests and absences of the server. Not for: what is done with the lock.
//! Invariant: while the caller waits it keeps its place, as long as the server has recorded it.

use std::time::{Duration, Instant};

use consort_api::locks::{
    AcquireLock, AcquireLockRequest, LockGrant, LockParams, LockState, ReleaseLock, ReleaseLockRequest,
};
use consort_types::{Code, Error, Result, Span};

use crate::{app::App, args::LockArgs, client::Client};

/// The pause before the server is tried again.
const PAUSE: Duration = Duration::from_millis(250);

/// Acquires a lock, for as long as the caller waits. The place is kept when a request ends without a grant: a server
/// answers after a while, and may be away for a while.
pub(super) async fn acquire(app: &App, client: &Client, lock: &LockArgs, holder: &str) -> Result<LockGrant> {
    let (begun, params) = (Instant::now(), LockParams { name: lock.name.clone() });
    let (wait, mut away) = (lock.wait.unwrap_or_default(), false);
    let mut request = AcquireLockRequest {
        holder: holder.to_owned(),
        permits: lock.permits,
        ttl: lock.ttl,
        wait: lock.wait,
        value: lock.value.clone(),
    };
    loop {
        let answer = client.call::<AcquireLock>(&params, &request).await;
        let passed = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        let is_away = |error: &Error| matches!(error.code, Code::Unreachable | Code::Overloaded | Code::Stopping);
        match answer {
            Ok(grant) if grant.state == LockState::Held => return Ok(grant),
            Ok(_) => away = false,
            Err(error) if passed < wait.0 && is_away(&error) => {
                if !away {
                    app.eprint(&format!("{}; trying again", error.message));
                }
                away = true;
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(error),
        }
        // Too short a rest would end the wait before its time: the machine ends it.
        request.wait = Some(Span(wait.0.saturating_sub(passed).max(Span::from_secs(1).0)));
    }
}

/// Gives up what a holder has. Where that fails, the lease ends by itself.
pub(super) async fn give_up(client: &Client, name: &str, holder: &str, token: Option<u64>) {
    let request = ReleaseLockRequest { holder: holder.to_owned(), token };
    let _ = client.call::<ReleaseLock>(&LockParams { name: name.to_owned() }, &request).await;
}
