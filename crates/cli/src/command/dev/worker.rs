//! One worker: started, watched, started again, stopped.
//!
//! For: the life of its process. Not for: other workers, or the server.
//! Invariant: at most one process at a time, in a process group of its own, which is killed whole once the process has
//! ended: nothing that it has started stays.

use std::{
    io,
    os::unix::process::ExitStatusExt as _,
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use consort_types::Span;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use serde_json::json;
use tokio::{
    process::{Child, Command},
    sync::watch as state,
    task::JoinSet,
};

use super::{
    output::{Printer, Stream},
    plan::Plan,
    watch::Changes,
};

/// How long a process that was asked to stop may take.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// How often it is looked whether what a process has started has ended too.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long what it has printed last may take to arrive.
const OUTPUT_WITHIN: Duration = Duration::from_secs(1);
/// The pause before one that has exited is started again; it doubles.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// One that has run for so long had started well.
const STEADY: Duration = Duration::from_secs(10);

/// What all workers are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stop {
    No,
    Gently,
    AtOnce,
}

/// A worker.
pub(super) struct Worker {
    pub(super) plan: Plan,
    pub(super) environment: Vec<(String, String)>,
    pub(super) changes: Changes,
    pub(super) printer: Printer,
    pub(super) orders: state::Receiver<Stop>,
}

/// Why a process is no longer waited for.
enum Turn {
    Ended(io::Result<ExitStatus>),
    Changed(String),
    Stop,
}

impl Worker {
    /// Keeps a process running until it is told to stop.
    pub(super) async fn run(mut self) {
        let mut pause = PAUSE_FIRST;
        loop {
            let begun = Instant::now();
            let turn = match Process::start(&self.plan, &self.environment, &self.printer) {
                Ok(process) => self.accompany(process).await,
                Err(error) => Turn::Ended(Err(error)),
            };
            match turn {
                Turn::Stop => return,
                Turn::Changed(file) => {
                    self.printer.say("restarting", json!({ "file": file }), &format!("{file} changed: started again"));
                    pause = PAUSE_FIRST;
                }
                Turn::Ended(how) => {
                    if begun.elapsed() >= STEADY {
                        pause = PAUSE_FIRST;
                    }
                    self.tell_end(&how, pause);
                    tokio::select! {
                        () = tokio::time::sleep(pause) => pause = (pause * 2).min(PAUSE_MAX),
                        _ = self.changes.next() => pause = PAUSE_FIRST,
                        () = told(&mut self.orders, Stop::Gently) => return,
                    }
                }
            }
        }
    }

    /// Waits until the process ends, its files change, or it is told to stop; it has ended afterwards.
    async fn accompany(&mut self, mut process: Process) -> Turn {
        let turn = tokio::select! {
            ended = process.child.wait() => Turn::Ended(ended),
            file = self.changes.next() => Turn::Changed(file),
            () = told(&mut self.orders, Stop::Gently) => Turn::Stop,
        };
        if !matches!(turn, Turn::Ended(_)) {
            process.signal(Signal::TERM);
            let in_time = tokio::select! {
                () = process.all_ended() => true,
                () = tokio::time::sleep(STOP_WITHIN) => false,
                () = told(&mut self.orders, Stop::AtOnce) => false,
            };
            if !in_time {
                self.printer.say("killed", json!({}), "does not stop: killed");
            }
        }
        process.end().await;
        // What it wrote while it stopped is no reason to start it again.
        if !matches!(turn, Turn::Stop) {
            self.changes.forget();
        }
        turn
    }

    fn tell_end(&self, how: &io::Result<ExitStatus>, pause: Duration) {
        let (code, what) = match how {
            Ok(status) => match (status.code(), status.signal()) {
                (Some(code), _) => (json!(code), format!("exited with code {code}")),
                (None, signal) => (json!(null), format!("ended by signal {}", signal.unwrap_or_default())),
            },
            Err(error) => (json!(null), format!("cannot be started: {error}")),
        };
        let again = Span::from_millis(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX));
        let fields = json!({ "code": code, "reason": what, "again_in": again.to_string() });
        self.printer.say("exited", fields, &format!("{what}; again in {again}, or when a file changes"));
    }
}

/// Ends when the order is at least this one.
async fn told(orders: &mut state::Receiver<Stop>, order: Stop) {
    // Without a sender the command is ending.
    let _ = orders.wait_for(|told| *told >= order).await;
}

/// A process that runs, with what it prints.
struct Process {
    child: Child,
    group: Option<Pid>,
    pipes: JoinSet<()>,
}

impl Process {
    fn start(plan: &Plan, environment: &[(String, String)], printer: &Printer) -> io::Result<Self> {
        let mut command = Command::new("sh");
        command.args(["-c", &plan.command]).current_dir(&plan.folder).kill_on_drop(true).process_group(0);
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        // Python keeps lines back where it does not print to a terminal.
        command.env("PYTHONUNBUFFERED", "1");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        printer.say("started", json!({ "process": child.id() }), &format!("started: {}", plan.command));
        let mut pipes = JoinSet::new();
        if let Some(out) = child.stdout.take() {
            pipes.spawn(printer.clone().copy(out, Stream::Out));
        }
        if let Some(err) = child.stderr.take() {
            pipes.spawn(printer.clone().copy(err, Stream::Err));
        }
        Ok(Self { child, group, pipes })
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // It fails only where all of it has ended.
            let _ = kill_process_group(group, signal);
        }
    }

    /// Waits for the end of the process and of all that it has started: a shell ends before the worker that it runs.
    async fn all_ended(&mut self) {
        // A process that has ended is not waited for.
        let _ = self.child.wait().await;
        while self.group.is_some_and(|group| test_kill_process_group(group).is_ok()) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Kills what is left, and waits for what was printed.
    async fn end(mut self) {
        self.signal(Signal::KILL);
        // A process that has ended is not waited for.
        let _ = self.child.wait().await;
        let pipes = async { while self.pipes.join_next().await.is_some() {} };
        // What has left the group may keep them open.
        let _ = tokio::time::timeout(OUTPUT_WITHIN, pipes).await;
    }
}
