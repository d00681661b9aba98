//! `consort locks run`: a command that runs while a lock is held.
//!
//! For: acquiring, renewing by itself, ending the command when the lease is lost, releasing. Not for: what the lock
//! protects (that has to check the token, which the command has in its environment).
//! Invariant: the command does not outlive the lease, as far as this process can tell: it counts the lease from before
//! the request that was answered, by the steady clock.

use std::{
    io::IsTerminal as _,
    os::unix::process::ExitStatusExt as _,
    process::ExitStatus,
    time::{Duration, Instant},
};

use consort_api::locks::{LockParams, RenewLock, RenewLockRequest};
use consort_types::{Code, Error, Result, Span, limits};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::{Child, Command};

use super::lock_claim::{acquire, give_up};
use crate::{
    app::{App, Need},
    args::LockRunArgs,
    client::Client,
    exit::Exit,
    show::when,
    signals::Signals,
};

/// The pause before a renewal is tried again that has not reached the server.
const PAUSE: Duration = Duration::from_millis(500);

pub(crate) async fn execute(app: &App, args: LockRunArgs) -> Result<Exit> {
    let mut signals = Signals::install()?;
    app.with_session(Need::Change, async |session| {
        let holder = args.holder.clone().unwrap_or_else(|| format!("run-{}-{}", std::process::id(), when::now().0));
        let begun = Instant::now();
        let granted = tokio::select! {
            granted = acquire(app, &session.client, &args.lock, &holder) => Ok(granted?),
            exit = signals.next() => Err(exit),
        };
        match granted {
            Ok(grant) => {
                let mut lease = Lease::new(&session.client, &args, holder, grant.token.unwrap_or_default(), begun);
                if begun.elapsed() > lease.ttl / 3 {
                    // It has waited, and cannot tell when in that time the lease began.
                    lease.renew().await?;
                }
                lease.run(app, &args, &mut signals).await
            }
            Err(exit) => {
                give_up(&session.client, &args.lock.name, &holder, None).await;
                Ok(exit)
            }
        }
    })
    .await
}

/// A lease that is held.
struct Lease<'a> {
    client: &'a Client,
    params: LockParams,
    holder: String,
    token: u64,
    ttl: Duration,
    /// When it ends unless it is renewed.
    ends: Instant,
}

impl<'a> Lease<'a> {
    fn new(client: &'a Client, args: &LockRunArgs, holder: String, token: u64, since: Instant) -> Self {
        let default = Span::from_secs(limits::LOCK_TTL_DEFAULT_SECONDS);
        let ttl = Duration::from_micros(args.lock.ttl.unwrap_or(default).0);
        let params = LockParams { name: args.lock.name.clone() };
        Self { client, params, holder, token, ttl, ends: since + ttl }
    }

    /// Runs the command to its end, or to the end of the lease.
    async fn run(mut self, app: &App, args: &LockRunArgs, signals: &mut Signals) -> Result<Exit> {
        let mut running = match Running::start(args, &self.params.name, &self.holder, self.token) {
            Ok(running) => running,
            Err(error) => {
                self.release().await;
                return Err(error);
            }
        };
        let mut signalled = false;
        let ended = loop {
            tokio::select! {
                biased;
                ended = running.child.wait() => break ended,
                exit = signals.next() => {
                    // The first asks, the second insists.
                    running.signal(if signalled { Signal::KILL } else { signal_of(exit) });
                    signalled = true;
                }
                lost = self.keep() => {
                    running.signal(Signal::KILL);
                    // It ends for certain now; how, does not matter any more.
                    let _ = running.child.wait().await;
                    return Err(lost);
                }
            }
        };
        self.release().await;
        let status = ended.map_err(|error| cannot_run(&args.command, &error))?;
        if app.json {
            app.print_json(
                &serde_json::json!({ "lock": self.params.name, "token": self.token, "exit": code_of(status) }),
            );
        }
        Ok(Exit::Command(code_of(status)))
    }

    /// Renews the lease again and again; ends when it is lost.
    async fn keep(&mut self) -> Error {
        loop {
            let left = self.ends.saturating_duration_since(Instant::now());
            // Two more tries fit where one fails.
            tokio::time::sleep(left.saturating_sub(self.ttl * 2 / 3).min(left)).await;
            let until = tokio::time::Instant::from_std(self.ends);
            match tokio::time::timeout_at(until, self.renew()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) if error.code == Code::LeaseLost => return error,
                Ok(Err(error)) if Instant::now() + PAUSE >= self.ends => return self.out_of_reach(&error.message),
                Ok(Err(_)) => tokio::time::sleep(PAUSE).await,
                Err(_) => return self.out_of_reach("no answer came in time"),
            }
        }
    }

    /// Renews the lease once.
    async fn renew(&mut self) -> Result<()> {
        let asked = Instant::now();
        let request = RenewLockRequest { holder: self.holder.clone(), token: self.token, ttl: None, value: None };
        self.client.call::<RenewLock>(&self.params, &request).await?;
        self.ends = asked + self.ttl;
        Ok(())
    }

    fn out_of_reach(&self, why: &str) -> Error {
        Error::new(Code::LeaseLost, format!("the lease of lock `{}` could not be renewed: {why}", self.params.name))
            .hint("the command was killed; a longer `--ttl` outlasts longer absences of the server")
    }

    async fn release(&self) {
        give_up(self.client, &self.params.name, &self.holder, Some(self.token)).await;
    }
}

/// The command.
struct Running {
    child: Child,
    /// Whether it has a process group of its own, so that what it starts is ended with it. At a terminal it stays in the
    /// group of this process, to be able to read what is typed.
    own_group: bool,
}

impl Running {
    fn start(args: &LockRunArgs, name: &str, holder: &str, token: u64) -> Result<Self> {
        let own_group = !std::io::stdin().is_terminal();
        let mut command = Command::new(&args.command[0]);
        command.args(&args.command[1..]).kill_on_drop(true);
        command.env("CONSORT_LOCK_NAME", name).env("CONSORT_LOCK_HOLDER", holder);
        command.env("CONSORT_LOCK_TOKEN", token.to_string());
        if own_group {
            command.process_group(0);
        }
        let child = command.spawn().map_err(|error| cannot_run(&args.command, &error))?;
        Ok(Self { child, own_group })
    }

    fn signal(&self, signal: Signal) {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(id) = id {
            // It fails only where the command has ended.
            let _ = if self.own_group { kill_process_group(id, signal) } else { kill_process(id, signal) };
        }
    }
}

fn signal_of(exit: Exit) -> Signal {
    if exit == Exit::Interrupted { Signal::INT } else { Signal::TERM }
}

/// The exit code, as shells count it: 128 and the signal, where one has ended the command.
fn code_of(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

fn cannot_run(command: &[String], error: &std::io::Error) -> Error {
    Error::new(Code::BadRequest, format!("`{}` cannot be run: {error}", command[0]))
        .hint("give the path of a program and its arguments behind `--`")
}
