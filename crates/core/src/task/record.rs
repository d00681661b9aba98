//! `TaskRecord`: a task records an entry in its own journal, so that a later attempt continues after it.
//!
//! For: code-first work that survives its instance. Not for: what an agent does with it (the worker SDK).
//! Invariant: an entry is recorded once at its position; the same entry again gets the first answer.

use consort_types::{
    Code, Error, Payload, Result, StepInstanceId, Token, WorkerInstance,
    bounds::{check_error, check_optional_text},
    limits, replay,
    worker::{JournalEntry, JournalRequest, check_positions},
};
use minicbor::{Decode, Encode};

use crate::{
    context::ApplyContext,
    effect::Effect,
    fatal::split_fatal,
    run::{
        beside,
        keys::TimerKind,
        rows::{
            history::HistoryEvent,
            step::{AwaitedEnd, Pin, Step},
        },
        signal, update,
    },
    space::journaled,
    state::missing,
    task::{
        answer,
        attempt::{self, Current, check_instance, check_version},
        calls, forget,
        keys::EntryKey,
        offer, pin,
        rows::TaskEntry,
        task_spec::check_request,
    },
};

/// Appends an entry to a task's journal.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct TaskRecord {
    /// The task.
    #[n(0)]
    pub task: StepInstanceId,
    /// The attempt's token.
    #[n(1)]
    pub token: Token,
    /// The entry's position, from 0 without gaps.
    #[n(2)]
    pub index: u32,
    /// The entry; only a `run` has a result.
    #[n(3)]
    pub entry: TaskEntry,
    /// The instance that reports.
    #[n(4)]
    pub by: WorkerInstance,
    /// The version of the agent that the instance serves; the task is pinned to it. `None` in logs of before.
    #[n(5)]
    pub version: Option<String>,
}

impl TaskRecord {
    /// A command from a worker's message.
    pub fn new(
        (task, token): (StepInstanceId, Token),
        (by, version): (WorkerInstance, String),
        index: u32,
        entry: &JournalEntry,
    ) -> Self {
        let row = TaskEntry::new(entry.request.clone(), entry.after.clone(), entry.result.clone());
        let row = TaskEntry { title: entry.title.clone(), ..row };
        Self { task, token, index, entry: row, by, version: Some(version) }
    }

    pub(crate) fn check(&self) -> Result<()> {
        check_instance(&self.by)?;
        check_version(self.version.as_deref())?;
        self.entry.request.check_size()?;
        check_positions(&self.entry.after)?;
        check_optional_text("title of the entry", self.entry.title.as_deref(), limits::NAME_BYTES_MAX)?;
        self.entry.error.as_ref().map_or(Ok(()), check_error)
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<()> {
        let Self { task, token, index, ref entry, ref by, ref version } = *self;
        let Current::Live(step) = attempt::reported(ctx.state, task, token, by)? else {
            return Err(Error::new(Code::Fenced, format!("task `{task}` has completed and records nothing more")));
        };
        if index < step.entries {
            return record_again(ctx, task, token, index, entry);
        }
        if index > step.entries {
            let message = format!("entry {index} of task `{task}` leaves a gap: the next one is {}", step.entries);
            return Err(Error::new(Code::JournalDiverged, message).hint("record entries in order, from 0"));
        }
        if step.entries >= limits::TASK_JOURNAL_ENTRIES_MAX {
            let message = format!("task `{task}` has {} journal entries, which is the limit", step.entries);
            return Err(Error::new(Code::LimitReached, message).hint("split the work into several tasks"));
        }
        let writer = version.clone().map(|version| Pin { agent: by.agent.clone(), version });
        append_entry(ctx, task, *step, entry, writer)
    }
}

/// The same entry again gets the first answer; another one at its place means that the code has changed.
fn record_again(
    ctx: &mut ApplyContext<'_>,
    task: StepInstanceId,
    token: Token,
    index: u32,
    entry: &TaskEntry,
) -> Result<()> {
    let known = ctx.state.tables.entries.get(&EntryKey { task, entry: index })?;
    let known = known.ok_or_else(|| missing("journal entry", &format_args!("{task}/{index}")))?;
    // The input of a request that is not recorded is counted by no row: it may be missing where the log is replayed,
    // and the answer changes no row either.
    if !replay::is_same(&known.request, &entry.request, |hash| ctx.state.find_blob(hash))? {
        let message = format!(
            "entry {index} of task `{task}` is `{}` in the journal, but the code now asks for `{}`",
            what(&known.request),
            what(&entry.request)
        );
        return Err(Error::new(Code::JournalDiverged, message)
            .hint("run the code that recorded the journal, or start a new run with the new code"));
    }
    let entry = offer::journal_entry(ctx.state, &known)?;
    ctx.effect(Effect::Recorded { task, token, index, entry });
    Ok(())
}

fn append_entry(
    ctx: &mut ApplyContext<'_>,
    task: StepInstanceId,
    mut step: Step,
    entry: &TaskEntry,
    writer: Option<Pin>,
) -> Result<()> {
    let index = step.entries;
    let request = &entry.request;
    let mut row = entry.clone();
    if !matches!(request, JournalRequest::Run { .. }) {
        row.output = None;
        row.error = None;
    } else if !row.is_answered() {
        return Err(Error::new(Code::BadRequest, "a `run` entry must bring its result"));
    }
    for document in row.documents() {
        ctx.retain(document)?;
    }
    if writer.is_some() {
        attempt::note_version(&mut step, writer.as_ref().map(|pin| &pin.version));
        pin::set(ctx, task, &mut step, writer)?;
    }
    step.entries += 1;
    // It gets on: what it lost before is no sign that it cannot.
    step.deaths = None;
    step.entries_pending += u32::from(!row.is_answered());
    ctx.state.tables.entries.insert_new(EntryKey { task, entry: index }, row.clone());
    ctx.record_history(task.run, Some(task), HistoryEvent::TaskRecorded { entry: index, what: titled(&row) });
    let (token, ends_as) = (step.token, step.ends_as.clone());
    ctx.put_step(task, step);
    let shown = offer::journal_entry(ctx.state, &row)?;
    ctx.effect(Effect::Recorded { task, token, index, entry: shown });
    if let Err(error) = check_request(request) {
        return answer::answer(ctx, task, index, Err(error));
    }
    // Only what it has begun is awaited: it begins nothing more.
    let begins = !matches!(
        request,
        JournalRequest::Run { .. }
            | JournalRequest::Forget { .. }
            | JournalRequest::Expose { .. }
            | JournalRequest::Labels { .. }
            | JournalRequest::Answer { .. }
    );
    if let Some(AwaitedEnd { error, .. }) = ends_as.filter(|_| begins) {
        return answer::answer(ctx, task, index, Err(error));
    }
    begin(ctx, task, index, &row)
}

/// Begins what an entry requests.
fn begin(ctx: &mut ApplyContext<'_>, task: StepInstanceId, index: u32, row: &TaskEntry) -> Result<()> {
    match &row.request {
        JournalRequest::Run { .. } => Ok(()),
        JournalRequest::Call { .. } | JournalRequest::Approval { .. } => calls::begin_call(ctx, task, index),
        JournalRequest::Sleep { span } => {
            let due = ctx.now.after(*span);
            ctx.arm(due, task, TimerKind::Sleep, index);
            ctx.state.tables.entries.put(EntryKey { task, entry: index }, TaskEntry { due: Some(due), ..row.clone() });
            Ok(())
        }
        JournalRequest::Forget { entries } => forget::forget(ctx, task, index, entries),
        JournalRequest::State { transaction } => {
            let step = ctx.state.known_step(task)?;
            let agent = step.pinned.map(|pin| pin.agent).or(step.instance.map(|instance| instance.agent));
            let done = journaled::transact(ctx, task, transaction, agent);
            answer::answer(ctx, task, index, split_fatal(done)?)
        }
        JournalRequest::Signal { name, .. } => signal::await_signal(ctx, task, Some(index), name),
        JournalRequest::Update { name, .. } => {
            signal::await_signal(ctx, task, Some(index), &format!("{}{name}", beside::LINE))
        }
        JournalRequest::Expose { name, value } => {
            let done = beside::expose(ctx, task, index, (name, value));
            said(ctx, task, index, done)
        }
        JournalRequest::Labels { labels } => {
            let done = beside::set_labels(ctx, task.run, labels);
            said(ctx, task, index, done)
        }
        JournalRequest::Answer { update, value, rejection } => {
            let done = update::answer(ctx, (task, index), *update, (value.as_ref(), rejection.as_ref()));
            said(ctx, task, index, done)
        }
    }
}

/// Answers an entry that is done at once.
fn said(ctx: &mut ApplyContext<'_>, task: StepInstanceId, index: u32, done: Result<()>) -> Result<()> {
    let answer = split_fatal(done)?.map(|()| Payload::null());
    answer::answer(ctx, task, index, answer)
}

/// An entry in a few words, with the title that its author gave it.
fn titled(row: &TaskEntry) -> String {
    match &row.title {
        Some(title) => format!("{} ({title})", what(&row.request)),
        None => what(&row.request),
    }
}

/// A request in a few words, for the journal of the run and for errors.
fn what(request: &JournalRequest) -> String {
    match request {
        JournalRequest::Run { name } => format!("run {name}"),
        JournalRequest::Call { capability, .. } => format!("call {capability}"),
        JournalRequest::Sleep { span } => format!("sleep {span}"),
        JournalRequest::Signal { name, .. } => format!("wait for signal {name}"),
        JournalRequest::Approval { prompt, .. } => format!("approval {prompt}"),
        JournalRequest::Forget { entries } => {
            let list: Vec<String> = entries.iter().map(u32::to_string).collect();
            format!("go past {}", list.join(", "))
        }
        JournalRequest::State { .. } => "state".to_owned(),
        JournalRequest::Expose { name, .. } => format!("expose {name}"),
        JournalRequest::Labels { labels } => {
            let list: Vec<String> = labels.iter().map(|(label, value)| format!("{label}={value}")).collect();
            format!("labels {}", list.join(", "))
        }
        JournalRequest::Update { name, .. } => format!("wait for update {name}"),
        JournalRequest::Answer { update, value: Some(_), .. } => format!("answer to update {update}"),
        JournalRequest::Answer { update, .. } => format!("rejection of update {update}"),
    }
}
