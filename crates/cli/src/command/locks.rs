//! `consort locks`: locks, elections and semaphores.
//!
//! For: looking at locks, acquiring, renewing, releasing, breaking and following them. Not for: running a command under a
//! lock (see `locks_run`).
//! Invariant: what is printed of a grant is what the server has recorded.

use consort_api::locks::{
    BreakLock, BreakLockRequest, ListLocks, LockEvent, LockFilter, LockGrant, LockParams, ReleaseLock,
    ReleaseLockRequest, RenewLock, RenewLockRequest, ShowLock, WatchLock, WatchLockParams,
};
use consort_types::{Code, Error, Result};
use serde_json::json;

use super::{
    decide::user,
    lock_claim::{acquire, give_up},
    locks_run,
};
use crate::{
    app::{App, Need},
    args::{LocksCommand, ReleaseArgs},
    client::{Client, Event},
    exit::Exit,
    reach::Retries,
    show::{locks, when},
    signals::Signals,
};

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
                    give_up(client, &lock.name, &holder, None).await;
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
    app.done(&json!({ "lock": name, "done": done }), &format!("lock `{name}` is {done}"));
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

/// Follows until an error ends it; a lost connection continues behind the last event.
async fn follow(app: &App, client: &Client, name: &str) -> Result<Exit> {
    let (mut seen, mut retries) = (None::<String>, Retries::default());
    loop {
        let error = match stream(app, client, name, &mut seen, &mut retries).await {
            Ok(()) => Error::new(Code::Unreachable, format!("the server has ended the stream of lock `{name}`"))
                .hint("is it still running? `consort locks watch` again follows on"),
            Err(error) => error,
        };
        retries.after(error).await?;
    }
}

async fn stream(
    app: &App,
    client: &Client,
    name: &str,
    seen: &mut Option<String>,
    retries: &mut Retries,
) -> Result<()> {
    let params = WatchLockParams { name: name.to_owned(), after: None, last_event_id: seen.clone() };
    let mut events = client.events::<WatchLock>(&params).await?;
    while let Some(Event { id, what }) = events.next().await? {
        retries.reached();
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
