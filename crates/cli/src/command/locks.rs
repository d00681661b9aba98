//! `consort locks`: locks, elections and semaphores.
//!
//! For: looking at locks, acquiring, renewing, releasing, breaking and following them. Not for: running a command under a
//! lock (see `locks_run`).
//! Invariant: what is printed of a grant is what the server has recorded.

use std::time::{Duration, Instant};

use consort_api::locks::{
    AcquireLock, AcquireLockRequest, BreakLock, BreakLockRequest, ListLocks, LockEvent, LockFilter, LockGrant,
    LockParams, LockState, ReleaseLock, ReleaseLockRequest, RenewLock, RenewLockRequest, ShowLock, WatchLock,
    WatchLockParams,
};
use consort_types::{Code, Error, Result, Span};
use serde_json::json;

use super::{decide::user, locks_run};
use crate::{
    app::{App, Need},
    args::{LockArgs, LocksCommand, ReleaseArgs},
    client::{Client, Event},
    exit::Exit,
    show::{locks, when},
    signals::Signals,
};

/// Tries to reach the server again, and the pause between them.
const TRIES: u32 = 40;
const PAUSE: Duration = Duration::from_millis(250);

pub(crate) async fn execute(app: &App, command: LocksCommand) -> Result<Exit> {
    match command {
        LocksCommand::Run(args) => locks_run::execute(app, args).await,
        LocksCommand::Watch { name } => watch(app, name).await,
        LocksCommand::List { .. } | LocksCommand::Show { .. } => {
            app.with_session(Need::Look, async |session| look(app, &session.client, command).await).await
        }
        command => app.with_session(Need::Change, async |session| change(app, &session.client, command).await).await,
    }
}

async fn look(app: &App, client: &Client, command: LocksCommand) -> Result<Exit> {
    match command {
        LocksCommand::Show { name } => {
            let lock = client.call::<ShowLock>(&LockParams { name }, &()).await?;
            if app.json {
                app.print_json(&lock);
            } else {
                app.print(&locks::detail(&lock, when::now(), app.out));
            }
        }
        LocksCommand::List { prefix } => {
            let page = |cursor| LockFilter { prefix: prefix.clone(), cursor, limit: None };
            let found = client.all::<ListLocks, _>(page).await?;
            if app.json {
                app.print_lines(&found);
            } else if found.is_empty() && app.err.terminal {
                app.eprint("no lock is known");
            } else {
                app.print(&locks::list(&found, when::now(), app.out));
            }
        }
        _ => unreachable!("the other commands change something"),
    }
    Ok(Exit::Ok)
}

async fn change(app: &App, client: &Client, command: LocksCommand) -> Result<Exit> {
    match command {
        LocksCommand::Acquire { lock, holder } => {
            let mut signals = Signals::install()?;
            tokio::select! {
                grant = acquire(app, client, &lock, &holder) => told(app, &grant?),
                exit = signals.next() => {
                    locks_run::give_up(client, &lock.name, &holder, None).await;
                    return Ok(exit);
                }
            }
        }
        LocksCommand::Renew { name, holder, token, ttl, value } => {
            let request = RenewLockRequest { holder, token, ttl, value };
            told(app, &client.call::<RenewLock>(&LockParams { name }, &request).await?);
        }
        LocksCommand::Release(args) => release(app, client, args).await?,
        _ => unreachable!("the other commands change nothing, or have a module of their own"),
    }
    Ok(Exit::Ok)
}

/// Prints a grant: the token alone, so that a script has it without parsing.
fn told(app: &App, grant: &LockGrant) {
    if app.json {
        app.print_json(grant);
        return;
    }
    app.print(&format!("{}\n", grant.token.unwrap_or_default()));
    app.eprint(&format!("`{}` holds lock `{}` until {}", grant.holder, grant.lock, grant.until));
}

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

async fn release(app: &App, client: &Client, args: ReleaseArgs) -> Result<()> {
    let ReleaseArgs { name, holder, token, force, reason, by } = args;
    let params = LockParams { name: name.clone() };
    if force {
        let request = BreakLockRequest { holder, by: by.unwrap_or_else(user), reason: reason.unwrap_or_default() };
        client.call::<BreakLock>(&params, &request).await?;
        report(app, &name, "broken");
        return Ok(());
    }
    let holder = holder.ok_or_else(|| Error::new(Code::BadRequest, "`--holder` is missing"))?;
    client.call::<ReleaseLock>(&params, &ReleaseLockRequest { holder, token }).await?;
    report(app, &name, "released");
    Ok(())
}

fn report(app: &App, name: &str, done: &str) {
    if app.json {
        app.print_json(&json!({ "lock": name, "done": done }));
    } else {
        app.eprint(&format!("lock `{name}` is {done}"));
    }
}

async fn watch(app: &App, name: String) -> Result<Exit> {
    let mut signals = Signals::install()?;
    app.with_session(Need::Look, async |session| {
        tokio::select! {
            result = follow(app, &session.client, &name) => result,
            exit = signals.next() => Ok(exit),
        }
    })
    .await
}

/// Follows until an error ends it; a lost connection goes on behind the last event.
async fn follow(app: &App, client: &Client, name: &str) -> Result<Exit> {
    let (mut seen, mut tries) = (None::<String>, 0);
    loop {
        let error = match stream(app, client, name, &mut seen, &mut tries).await {
            Ok(()) => Error::new(Code::Unreachable, format!("the server has ended the stream of lock `{name}`"))
                .hint("is it still running? `consort locks watch` again follows on"),
            Err(error) => error,
        };
        if tries >= TRIES || !matches!(error.code, Code::Unreachable | Code::Overloaded) {
            return Err(error);
        }
        tries += 1;
        tokio::time::sleep(PAUSE).await;
    }
}

async fn stream(app: &App, client: &Client, name: &str, seen: &mut Option<String>, tries: &mut u32) -> Result<()> {
    let params = WatchLockParams { name: name.to_owned(), after: None, last_event_id: seen.clone() };
    let mut events = client.events::<WatchLock>(&params).await?;
    while let Some(Event { id, what }) = events.next().await? {
        *tries = 0;
        if let LockEvent::Error(problem) = what {
            return Err(problem.into());
        }
        if !id.is_empty() {
            *seen = Some(id);
        }
        if app.json {
            app.print_line(&what);
        } else {
            app.print(&locks::event(&what));
        }
    }
    Ok(())
}
