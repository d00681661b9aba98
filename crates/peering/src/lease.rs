//! The lease of a process: one process works under a name at a time.
//!
//! For: acquiring the lock of the name, and renewing it in a task of its own. Not for: keeping a process that has lost it
//! from writing (the token does, where it is checked).
//! Invariant: while the lease is held, it is renewed, however long one step of the process takes.

use std::time::Duration;

use consort_api::{
    client::Client,
    locks::{
        AcquireLock, AcquireLockRequest, LockParams, LockState, ReleaseLock, ReleaseLockRequest, RenewLock,
        RenewLockRequest,
    },
};
use consort_types::{Code, Error, Result, Span};
use tokio::task::JoinSet;

/// How long one request waits in the queue of the lock.
const WAIT: Span = Span::from_secs(30);
/// The pause before a renewal is tried again.
const PAUSE: Duration = Duration::from_millis(250);

/// A lease that is held.
pub struct Lease {
    client: Client,
    lock: String,
    holder: String,
    token: u64,
    keeper: JoinSet<Error>,
}

impl Lease {
    /// Acquires the lock, for as long as it takes. `standing_by` is called once where another process has it.
    pub async fn acquire(
        client: &Client,
        lock: String,
        holder: &str,
        ttl: Duration,
        standing_by: impl FnOnce() + Send,
    ) -> Result<Self> {
        let params = LockParams { name: lock.clone() };
        let ttl = Span(u64::try_from(ttl.as_micros()).unwrap_or(u64::MAX));
        let mut request =
            AcquireLockRequest { holder: holder.to_owned(), permits: 1, ttl: Some(ttl), wait: None, value: None };
        let mut standing_by = Some(standing_by);
        loop {
            match client.call::<AcquireLock>(&params, &request).await {
                Ok(grant) if grant.state == LockState::Held => {
                    let token = grant.token.unwrap_or_default();
                    let (client, holder) = (client.clone(), holder.to_owned());
                    let mut keeper = JoinSet::new();
                    keeper.spawn(keep(client.clone(), params.clone(), holder.clone(), token, ttl));
                    return Ok(Self { client, lock, holder, token, keeper });
                }
                Ok(_) => {}
                // Without a wait, a lock that is held is refused.
                Err(error) if error.code == Code::LockHeld => {}
                Err(error) => return Err(error),
            }
            if let Some(tell) = standing_by.take() {
                tell();
            }
            request.wait = Some(WAIT);
        }
    }

    /// The fencing token of the grant.
    pub fn token(&self) -> u64 {
        self.token
    }

    /// Resolves when the lease is lost.
    pub async fn lost(&mut self) -> Error {
        match self.keeper.join_next().await {
            Some(Ok(error)) => error,
            _ => Error::new(Code::LeaseLost, format!("the lease of lock `{}` is not renewed any more", self.lock)),
        }
    }

    /// Gives the lock back. Where that fails, the lease ends by itself.
    pub async fn release(mut self) {
        self.keeper.abort_all();
        let request = ReleaseLockRequest { holder: self.holder.clone(), token: Some(self.token) };
        let _ = self.client.call::<ReleaseLock>(&LockParams { name: self.lock.clone() }, &request).await;
    }
}

/// Renews until the server says that there is nothing to renew.
async fn keep(client: Client, params: LockParams, holder: String, token: u64, ttl: Span) -> Error {
    let request = RenewLockRequest { holder, token, ttl: None, value: None };
    loop {
        tokio::time::sleep(Duration::from_micros(ttl.0 / 3)).await;
        while let Err(error) = client.call::<RenewLock>(&params, &request).await {
            if !matches!(error.code, Code::Unreachable | Code::Overloaded | Code::Stopping) {
                return error;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}
