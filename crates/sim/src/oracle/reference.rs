//! Undisturbed runs: the same workflows and inputs, with nothing going wrong.
//!
//! For: knowing what a run must give. Not for: durability, time or agents that misbehave.
//! Invariant: what comes out depends on workflow and input alone.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use consort_core::{
    Backing, Command, Effect, Machine, Reply,
    command::{Approve, Deploy, SignalRun, StartRun, TaskComplete, TaskFail, TaskPark, TaskRecord, Tick, UpdateRun},
    rows::RunStatus,
    view::RunFilter,
};
use consort_types::{Code, Error, Locality, Payload, Result, RunId, Seq, StepInstanceId, Time, WorkerInstance};
use consort_workflow::CompiledWorkflow;

use super::fold::Memory;
use crate::answers::{Answer, Next, UPDATE, answer, document, next};

/// Records that an undisturbed run may take.
const RECORDS_MAX: u32 = 20_000;
/// Ticks in a row that nothing comes of.
const TICKS_MAX: u32 = 64;
const NAMESPACE: &str = "reference";

/// How a run ends.
pub(crate) type Ending = (RunStatus, Option<String>);

/// A machine on which runs proceed undisturbed.
pub(crate) struct Reference {
    machine: Machine,
    now: Time,
    ready: VecDeque<StepInstanceId>,
    ticks: u32,
    known: BTreeMap<(String, String), Ending>,
}

/// The payload that every signal brings.
pub(crate) fn signal_payload() -> Payload {
    Payload::inline(&b"{\"go\":1}"[..])
}

impl Reference {
    pub(crate) fn new(workflows: impl Iterator<Item = CompiledWorkflow>) -> Result<Self> {
        let backing: Arc<dyn Backing> = Arc::new(Memory::default());
        let machine = Machine::open(backing, Seq::ZERO)?;
        let mut reference = Self { machine, now: Time(1), ready: VecDeque::new(), ticks: 0, known: BTreeMap::new() };
        for workflow in workflows {
            reference.apply(&Command::Deploy(Deploy { namespace: NAMESPACE.to_owned(), workflow }))?;
        }
        Ok(reference)
    }

    fn apply(&mut self, command: &Command) -> Result<Reply> {
        let applied = self.machine.apply(self.machine.applied().next(), self.now, command)?;
        for effect in applied.effects {
            if let Effect::Ready(ready) = effect {
                self.ready.push_back(ready.task);
            }
        }
        applied.reply
    }

    /// How a run of this workflow with this input ends.
    pub(crate) fn result(&mut self, workflow: &str, input: &str) -> Result<Ending> {
        let key = (workflow.to_owned(), input.to_owned());
        if let Some(known) = self.known.get(&key) {
            return Ok(known.clone());
        }
        let mut id = [1; 16];
        id[..8].copy_from_slice(&self.machine.applied().0.to_be_bytes());
        let run = RunId(id);
        let requested = StartRun::requested(run, NAMESPACE, workflow, Payload::inline(input.as_bytes()));
        let start = self.machine.prepare_start(requested, None)?;
        self.apply(&Command::StartRun(start))?;
        for _ in 0..RECORDS_MAX {
            let view = self.machine.run_view(NAMESPACE, run)?;
            if view.summary.status.is_terminal() {
                let output = match &view.output {
                    Some(output) => Some(self.machine.payload_bytes(output)?),
                    None => None,
                };
                let output = output.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
                self.known.insert(key, (view.summary.status, output.clone()));
                return Ok((view.summary.status, output));
            }
            self.go_on()?;
        }
        Err(Error::new(Code::Internal, format!("the undisturbed run of `{workflow}` does not end")))
    }

    fn go_on(&mut self) -> Result<()> {
        if let Some(task) = self.ready.pop_front() {
            self.ticks = 0;
            return self.work(task);
        }
        if let Some(item) = self.machine.tasks().inbox(NAMESPACE, None, 1)?.items.pop() {
            let decision = Approve {
                namespace: NAMESPACE.to_owned(),
                task: item.task,
                approved: true,
                by: "ann".to_owned(),
                comment: None,
                value: None,
            };
            return self.apply(&Command::Approve(decision)).map(drop);
        }
        // A lock that a step holds is renewed without end: where only that is left, a signal is waited for.
        if let Some(due) = self.machine.next_timer()?.filter(|_| self.ticks < TICKS_MAX) {
            self.ticks += 1;
            self.now = self.now.max(due);
            return self.apply(&Command::Tick(Tick {})).map(drop);
        }
        self.ticks = 0;
        // Only a signal can help; a run below may be the one that waits for it.
        let open = RunFilter { statuses: vec![RunStatus::Running], children: true, ..RunFilter::default() };
        for item in self.machine.list_runs(NAMESPACE, &open, None, 100)?.items {
            let (namespace, name, payload) = (NAMESPACE.to_owned(), "go".to_owned(), signal_payload());
            // A signal before this one may have ended it.
            drop(self.apply(&Command::SignalRun(SignalRun { namespace, run: item.run, name, payload })));
            let (namespace, name, id) =
                (NAMESPACE.to_owned(), UPDATE.to_owned(), format!("u{}", self.machine.applied()));
            let update = UpdateRun { namespace, run: item.run, name, id, input: signal_payload() };
            drop(self.apply(&Command::UpdateRun(update)));
        }
        Ok(())
    }

    fn work(&mut self, task: StepInstanceId) -> Result<()> {
        let Some(offer) = self.machine.offer(task)? else { return Ok(()) };
        let token = offer.token;
        match answer(&offer.capability, &document(&offer.input)) {
            Answer::Done(output) => self.complete(task, token, &output),
            Answer::Fails(error) => {
                let fail = TaskFail {
                    task,
                    token,
                    error,
                    retryable: false,
                    retry_after: None,
                    taken: None,
                    by: worker(),
                    version: None,
                };
                self.apply(&Command::TaskFail(fail)).map(drop)
            }
            Answer::Journal(program) => match next(&program, &offer.journal) {
                Next::Done(output) => self.complete(task, token, &output),
                Next::Record(index, entry) => {
                    self.apply(&Command::TaskRecord(TaskRecord::new(
                        (task, token),
                        (worker(), "1".to_owned()),
                        index,
                        &entry,
                    )))?;
                    self.ready.push_front(task);
                    Ok(())
                }
                Next::Wait(waiting) => {
                    self.apply(&Command::TaskPark(TaskPark { task, token, waiting, by: worker() })).map(drop)
                }
            },
        }
    }

    fn complete(
        &mut self,
        task: StepInstanceId,
        token: consort_types::Token,
        output: &serde_json::Value,
    ) -> Result<()> {
        let output = Payload::from_value(output);
        self.apply(&Command::TaskComplete(TaskComplete {
            task,
            token,
            output,
            taken: None,
            by: worker(),
            version: None,
        }))
        .map(drop)
    }
}

/// The one instance that does everything.
fn worker() -> WorkerInstance {
    WorkerInstance { locality: Locality::Local, start: 1, number: 1, agent: "one".to_owned() }
}
