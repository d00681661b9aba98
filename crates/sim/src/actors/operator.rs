//! Operators of runs: cancellations, pauses, signals, forks, deletions and retention.
//!
//! For: what people do to runs that are under way. Not for: agents and limits (see `registrar`) or the inbox (see
//! `approver`).
//! Invariant: once faults have ended, every paused run is resumed, and every run that waits for a signal gets one.

use std::collections::BTreeSet;

use consort_core::{
    Command,
    command::{CancelRun, DeleteRun, ForkRun, KeptJournal, PauseRun, SetRetention, SignalRun, UpdateRun},
    view::RunFilter,
};
use consort_types::{Code, Payload, RunId, Span, limits};

use crate::{
    answers::UPDATE, clock::SECOND, context::Context, event::Event, oracle::signal_payload, plan::Checked,
    requests::Purpose, roster::NAMESPACES,
};

/// The operators.
#[derive(Debug, Default)]
pub(crate) struct Operator {
    paused: BTreeSet<(usize, RunId)>,
}

impl Operator {
    pub(crate) fn step(&mut self, ctx: &mut Context) -> Checked {
        if ctx.is_quiescent() {
            settle(ctx);
        } else if ctx.random.chance(ctx.faults.disturb) {
            self.disturb(ctx);
        } else if let Some((namespace, run)) = some_run(ctx)
            && ctx.random.chance(300)
        {
            signal(ctx, namespace, run);
        }
        Ok(())
    }

    fn disturb(&mut self, ctx: &mut Context) {
        let Some((at, run)) = some_run(ctx) else { return };
        let namespace = NAMESPACES[at].to_owned();
        match ctx.random.below(15) {
            12..=14 => ctx.post(Event::Register),
            0..=2 => {
                ctx.results.mark(&ctx.fold, run, false);
                let reason = format!("reason {}", ctx.requests.count());
                let force = ctx.random.chance(300);
                ctx.request(Command::CancelRun(CancelRun { namespace, run, reason, force }), Purpose::Any);
            }
            3 | 4 => self.pause(ctx, at, run, true),
            5 => {
                for (namespace, run) in std::mem::take(&mut self.paused) {
                    self.pause(ctx, namespace, run, false);
                }
            }
            6 | 7 => {
                let step = ctx.random.chance(500).then(|| format!("s{}", ctx.random.below(4)));
                let fork = ForkRun {
                    run: ctx.new_run(),
                    namespace,
                    from: run,
                    step,
                    input: None,
                    journal: Some(KeptJournal::BeforeFailure),
                };
                ctx.request(Command::ForkRun(fork), Purpose::Any);
            }
            8 => {
                ctx.results.mark(&ctx.fold, run, true);
                ctx.request(Command::DeleteRun(DeleteRun { namespace, run }), Purpose::Any);
            }
            9 => {
                ctx.results.retention = true;
                let keep = Some(Span(ctx.random.span(10 * SECOND, 3_600 * SECOND)));
                ctx.request(Command::SetRetention(SetRetention { namespace, keep }), Purpose::Any);
            }
            10 => cancel_from_outside(ctx, at, run),
            _ if ctx.random.chance(100) => {
                let payload = Payload::inline(vec![b' '; limits::RECORD_BYTES_MAX + 1]);
                let command = SignalRun { namespace, run, name: "go".to_owned(), payload };
                ctx.request(Command::SignalRun(command), Purpose::Refuse(Code::LimitReached));
            }
            _ => {}
        }
    }

    fn pause(&mut self, ctx: &mut Context, namespace: usize, run: RunId, paused: bool) {
        let command = PauseRun { namespace: NAMESPACES[namespace].to_owned(), run, paused };
        if paused {
            self.paused.insert((namespace, run));
        }
        // A resumption whose reply is lost is repeated at the end.
        ctx.request(Command::PauseRun(command), Purpose::Any);
    }
}

/// Faults have ended: everything that waits gets what it waits for.
fn settle(ctx: &mut Context) {
    for (namespace, run) in ctx.fold.paused() {
        ctx.request(Command::PauseRun(PauseRun { namespace, run, paused: false }), Purpose::Any);
    }
    for (at, namespace) in NAMESPACES.iter().enumerate() {
        let own = |run: &RunId| ctx.fold.namespace(*run).as_deref() == Some(*namespace);
        let waiting: Vec<RunId> = ctx.fold.waiting().into_iter().filter(own).collect();
        for run in waiting {
            signal(ctx, at, run);
        }
    }
}

/// A run of any namespace.
fn some_run(ctx: &mut Context) -> Option<(usize, RunId)> {
    let namespace = ctx.random.below(2) as usize;
    let filter = RunFilter { children: true, ..RunFilter::default() };
    let partition = ctx.host.partition.as_mut()?;
    let page = partition.machine().ok()?.list_runs(NAMESPACES[namespace], &filter, None, 30).ok()?;
    if page.items.is_empty() {
        return None;
    }
    Some((namespace, ctx.random.pick(&page.items).run))
}

fn signal(ctx: &mut Context, namespace: usize, run: RunId) {
    let (namespace, name) = (NAMESPACES[namespace].to_owned(), "go".to_owned());
    let (of, update) = (namespace.clone(), UPDATE.to_owned());
    ctx.request(Command::SignalRun(SignalRun { namespace, run, name, payload: signal_payload() }), Purpose::Any);
    // The same update of a run comes again and again, beside others; a run may wait for several.
    let id = format!("u{}", ctx.requests.count() / 4 % 16);
    let command = UpdateRun { namespace: of, run, name: update, id, input: signal_payload() };
    ctx.request(Command::UpdateRun(command), Purpose::Any);
}

/// A cancellation from another namespace, which must be refused.
fn cancel_from_outside(ctx: &mut Context, namespace: usize, run: RunId) {
    let namespace = NAMESPACES[1 - namespace].to_owned();
    let command = CancelRun { namespace, run, reason: "not mine".to_owned(), force: false };
    ctx.request(Command::CancelRun(command), Purpose::Refuse(Code::RunNotFound));
}
