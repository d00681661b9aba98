//! The life of a run: created, opened, paused, ended.
//!
//! For: what concerns a run as a whole. Not for: its steps.
//! Invariant: a run ends once, and when it has ended nothing of it is at work.

use std::{collections::BTreeMap, sync::Arc};

use consort_types::{BlobHash, Code, Error, Payload, Result, RunId, Seq, Span, TaskId, limits};
use consort_workflow::{BlockId, Definition};

use crate::{
    effect::Effect,
    fold::{Fold, Outcome, Work},
    keys::{ListKey, NamedKey, ScopeKey, SignalKey, TimerKind},
    rows::{Event, Mark, Namespace, Origin, Run, RunStatus, ScopeKind},
};

/// What a new run is made of.
pub(crate) struct NewRun {
    pub(crate) id: RunId,
    pub(crate) namespace: String,
    pub(crate) definition: Arc<Definition>,
    pub(crate) input: Payload,
    pub(crate) parent: Option<TaskId>,
    pub(crate) depth: u32,
    pub(crate) paused: bool,
    pub(crate) origin: Option<Origin>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) priority: i32,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) timeout: Option<Span>,
    pub(crate) traceparent: Option<String>,
    /// The run at the top of the tree, for a run that a step starts.
    pub(crate) root: Option<RunId>,
}

impl Fold<'_> {
    /// The content hash of a deployed workflow, by name and (revision number or author's) version.
    pub(crate) fn resolve_workflow(&mut self, namespace: &str, name: &str, version: Option<&str>) -> Result<BlobHash> {
        let Some(head) = self.machine.head(namespace, name)? else {
            return Err(Error::new(
                Code::WorkflowNotFound,
                format!("there is no workflow `{name}` in namespace `{namespace}`"),
            )
            .hint("deploy it: `consort workflows deploy FILE`; `consort workflows list` shows what is there"));
        };
        let Some(version) = version else { return Ok(head.hash) };
        let key = |number| NamedKey { namespace: namespace.to_owned(), name: name.to_owned(), number };
        if let Ok(number) = version.parse::<u32>()
            && number > 0
            && let Some(found) = self.machine.tables.deployed.get(&key(number))?
        {
            return Ok(found.hash);
        }
        // Newest first: an author may deploy the same version again.
        let all = self.machine.tables.deployed.range(&key(1), &key(u32::MAX), limits::PAGE_ITEMS_MAX)?;
        let found = all.into_iter().rev().find(|(_, row)| row.version.as_deref() == Some(version));
        found.map(|(_, row)| row.hash).ok_or_else(|| {
            Error::new(Code::WorkflowNotFound, format!("workflow `{name}` has no version `{version}`"))
                .hint(format!("its newest revision is {}", head.revision))
        })
    }

    pub(crate) fn check_runs_active(&mut self, namespace: &str) -> Result<()> {
        let active = self.namespace(namespace)?.runs_active;
        if active < limits::RUNS_ACTIVE_MAX {
            return Ok(());
        }
        let message =
            format!("{active} runs of namespace `{namespace}` are active, the limit is {}", limits::RUNS_ACTIVE_MAX);
        Err(Error::new(Code::LimitReached, message).hint("wait until some have ended"))
    }

    /// What is set and counted for a namespace.
    pub(crate) fn namespace(&mut self, name: &str) -> Result<Namespace> {
        Ok(self.machine.tables.namespaces.get(&namespace_key(name))?.unwrap_or_default())
    }

    /// Keeps what is set and counted for a namespace, as long as that says something.
    pub(crate) fn put_namespace(&mut self, name: &str, row: Namespace) {
        let key = namespace_key(name);
        if row == Namespace::default() {
            self.machine.tables.namespaces.delete(&key);
        } else {
            self.machine.tables.namespaces.put(key, row);
        }
    }

    pub(crate) fn create_run(&mut self, new: NewRun) -> Result<()> {
        let mut of_namespace = self.namespace(&new.namespace)?;
        of_namespace.runs_active += 1;
        self.put_namespace(&new.namespace, of_namespace);
        let deadline = new.timeout.or(new.definition.timeout).map(|span| self.now.after(span));
        let run = Run {
            namespace: new.namespace,
            workflow: new.definition.name.clone(),
            hash: new.definition.hash,
            input: new.input,
            status: RunStatus::Running,
            paused: new.paused,
            created: self.now,
            ended: None,
            output: None,
            error: None,
            parent: new.parent,
            depth: new.depth,
            next_scope: 0,
            steps_made: 0,
            origin: new.origin,
            labels: new.labels,
            priority: new.priority,
            idempotency_key: new.idempotency_key,
            deadline,
            ending: None,
            forced: false,
            signals_waiting: 0,
            changed: Seq::ZERO,
            children: 0,
            drained: false,
            traceparent: new.traceparent,
            root: new.root,
            descendants: 0,
            cancelling: None,
            stopping: 0,
            pausing: None,
            continues: false,
        };
        if let Some(due) = deadline {
            self.arm(due, root_task(new.id), TimerKind::RunTimeout, 0);
        }
        if run.paused {
            self.effect(Effect::Hold { run: new.id, held: true });
        }
        self.machine.tables.listing.insert_new(ListKey::of(&run.namespace, new.id), Mark);
        self.machine.meta.runs_active += 1;
        self.machine.meta.runs_made += 1;
        self.journal(new.id, None, Event::RunStarted);
        self.put_run(new.id, run);
        Ok(())
    }

    /// Opens the workflow's own block.
    pub(crate) fn open_root(&mut self, id: RunId) -> Result<()> {
        self.open_block(id, None, BlockId::ROOT)?;
        Ok(())
    }

    /// The workflow's own block has closed. A run that a step had started may still be stopping or compensating,
    /// though its step has ended: nothing outlives its run (law 7), so this one ends after it.
    pub(crate) fn root_closed(&mut self, key: ScopeKey) -> Result<()> {
        let scope = self.scope(key)?;
        let mut run = self.run(key.run)?;
        run.drained = run.children > 0;
        // The last steps may have ended by themselves before their cancellation came to them.
        if self.end_cancelling(key.run, &mut run) || run.drained {
            self.put_run(key.run, run.clone());
        }
        if run.drained {
            return Ok(());
        }
        let error = match (run.status, scope.failed) {
            (RunStatus::Running, 0) => match super::soft(self.run_output(key))? {
                Ok(output) => return self.end_run(key.run, RunStatus::Completed, Some(output), None),
                Err(error) => error,
            },
            (RunStatus::Cancelling, _) => {
                let fallback = || Error::new(Code::Cancelled, "the run was cancelled");
                run.error.clone().unwrap_or_else(fallback)
            }
            _ => scope.error.unwrap_or_else(|| Error::new(Code::UpstreamFailed, "a step failed")),
        };
        let ending = if run.status == RunStatus::Cancelling { RunStatus::Cancelled } else { RunStatus::Failed };
        run.ending = Some(ending);
        run.error = Some(error);
        self.put_run(key.run, run);
        self.compensate(key.run)
    }

    fn run_output(&mut self, key: ScopeKey) -> Result<Payload> {
        let at = root_task(key.run);
        let place = self.place(at)?;
        match &place.definition.output {
            Some(template) => {
                let value = self.evaluate(&place, at, template)?;
                self.keep("run's output", serde_json::to_vec(&value).unwrap_or_default())
            }
            None => self.block_output(key, BlockId::ROOT),
        }
    }

    pub(crate) fn end_run(
        &mut self,
        id: RunId,
        status: RunStatus,
        output: Option<Payload>,
        error: Option<Error>,
    ) -> Result<()> {
        let mut run = self.run(id)?;
        assert!(!run.status.is_terminal() && status.is_terminal(), "run {id} ends once (law 7)");
        let first = TaskId { run: id, scope: 0, index: 0 };
        let past = TaskId { run: id, scope: u32::MAX, index: u32::MAX };
        let left = self.machine.tables.live.range(&first, &past, 1)?;
        assert!(left.is_empty(), "run {id} ended while {} is at work (law 7)", left[0].0);
        self.disarm(run.deadline, root_task(id), TimerKind::RunTimeout);
        self.drop_signals(id)?;
        if run.paused {
            self.effect(Effect::Hold { run: id, held: false });
        }
        run.status = status;
        run.paused = false;
        run.ended = Some(self.now);
        run.output.clone_from(&output);
        run.error.clone_from(&error);
        self.machine.meta.runs_active -= 1;
        let mut of_namespace = self.namespace(&run.namespace)?;
        assert!(of_namespace.runs_active > 0, "namespace {} has fewer runs than have ended", run.namespace);
        of_namespace.runs_active -= 1;
        self.put_namespace(&run.namespace, of_namespace);
        self.machine.documents.run_ended(id);
        self.journal(id, None, Event::RunEnded { status });
        match run.parent {
            Some(parent) => self.tell_parent(id, parent, status, output, error)?,
            None => self.arm_retention(id, &run.namespace)?,
        }
        self.put_run(id, run);
        Ok(())
    }

    fn tell_parent(
        &mut self,
        id: RunId,
        parent: TaskId,
        status: RunStatus,
        output: Option<Payload>,
        error: Option<Error>,
    ) -> Result<()> {
        let message = || error.map_or_else(|| status.as_str().to_owned(), |error| error.message);
        let outcome = match (status, output) {
            (RunStatus::Completed, Some(output)) => {
                self.retain(&output)?;
                Outcome::Completed(output)
            }
            (RunStatus::Cancelled, _) => Outcome::Cancelled(Error::new(Code::Cancelled, message())),
            _ => Outcome::Failed(
                Error::new(Code::ChildFailed, format!("child run `{id}` failed: {}", message()))
                    .hint(format!("look at it with `consort runs show {id}`")),
            ),
        };
        let mut above = self.run(parent.run)?;
        assert!(above.children > 0, "run {} has fewer children than have ended", parent.run);
        above.children -= 1;
        let last = above.drained && above.children == 0;
        self.put_run(parent.run, above);
        self.work(Work::Finish(parent, outcome));
        if last {
            self.work(Work::Close(ScopeKey { run: parent.run, scope: 0 }));
        }
        Ok(())
    }

    fn arm_retention(&mut self, id: RunId, namespace: &str) -> Result<()> {
        if let Some(keep) = self.namespace(namespace)?.retention {
            self.arm(self.now.after(keep), root_task(id), TimerKind::Retention, 0);
        }
        Ok(())
    }

    /// Signals and waiters go with the run.
    fn drop_signals(&mut self, id: RunId) -> Result<()> {
        let (from, to) = signals_of(id);
        for (key, signal) in self.machine.tables.signals.range(&from, &to, limits::SIGNALS_WAITING_MAX as usize)? {
            self.charge(1);
            self.machine.tables.signals.delete(&key);
            self.release(&signal.payload)?;
        }
        self.drop_waiters(id)
    }

    /// Removes what had waited for signals of an ended run; many rows go in several records.
    pub(super) fn drop_waiters(&mut self, id: RunId) -> Result<()> {
        let (from, to) = signals_of(id);
        let waiters = self.machine.tables.waiters.range(&from, &to, limits::PAGE_ITEMS_MAX)?;
        self.charge(waiters.len());
        for (key, _) in &waiters {
            self.machine.tables.waiters.delete(key);
        }
        if waiters.len() == limits::PAGE_ITEMS_MAX { self.arm_go_on(id) } else { Ok(()) }
    }

    pub(crate) fn pause_run(&mut self, id: RunId, paused: bool) -> Result<()> {
        let Some(mut run) = self.machine.tables.runs.get(&id)? else { return Ok(()) };
        if run.paused == paused || run.status.is_terminal() {
            return Ok(());
        }
        run.paused = paused;
        let held = run.is_held();
        self.put_run(id, run);
        self.journal(id, None, if paused { Event::RunPaused } else { Event::RunResumed });
        self.effect(Effect::Hold { run: id, held });
        self.pause_children(id, (0, 0))
    }

    /// Makes room for `count` more step instances in a run.
    pub(crate) fn count_instances(&mut self, id: RunId, count: u32) -> Result<()> {
        let mut run = self.run(id)?;
        let made = run.steps_made.saturating_add(count);
        if made > limits::RUN_STEPS_MAX {
            let message = format!("run `{id}` would have {made} steps, the limit is {}", limits::RUN_STEPS_MAX);
            return Err(Error::new(Code::LimitReached, message).hint("split the work into several runs"));
        }
        run.steps_made = made;
        self.put_run(id, run);
        Ok(())
    }

    /// Opens a scope below an instance (or, without one, the root or the compensations).
    pub(crate) fn new_scope(
        &mut self,
        id: RunId,
        parent: Option<TaskId>,
        kind: ScopeKind,
        total: u32,
    ) -> Result<ScopeKey> {
        let mut run = self.run(id)?;
        let key = ScopeKey { run: id, scope: run.next_scope };
        run.next_scope += 1;
        self.put_run(id, run);
        let parent = parent.map(|task| (task.scope, task.index));
        let scope =
            crate::rows::Scope { kind, parent, total, started: 0, ended: 0, failed: 0, error: None, closed: false };
        self.machine.tables.scopes.insert_new(key, scope);
        Ok(key)
    }
}

/// Refuses what needs a run that goes on.
pub(crate) fn refuse_ended(id: RunId, run: &Run) -> Result<()> {
    if !run.status.is_terminal() {
        return Ok(());
    }
    Err(Error::new(Code::RunEnded, format!("run `{id}` has ended: it is {}", run.status.as_str()))
        .hint("terminal states are final; `consort runs retry` and `consort runs fork` make a new run from it"))
}

/// The range of a run's signals, and of what waits for them.
fn signals_of(run: RunId) -> (SignalKey, SignalKey) {
    let key = |name: &str| SignalKey { run, name: name.to_owned(), seq: Seq::ZERO, n: 0 };
    (key(""), key("\u{7f}"))
}

fn namespace_key(name: &str) -> NamedKey {
    NamedKey { namespace: name.to_owned(), name: String::new(), number: 0 }
}

/// The key of a run's own timers.
pub(crate) fn root_task(run: RunId) -> TaskId {
    TaskId { run, scope: 0, index: 0 }
}
