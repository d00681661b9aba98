//! The engine's door: what arrives at the engine, and what leaves it.
//!
//! For: handing requests and reports to the partition, and its replies and messages to their receivers, with the
//! checks of what passes. Not for: what clients and workers do (see there).
//! Invariant: a request or report that was sent to a dead process has no effect.

use consort_core::{Command, Machine, Reply, command::StartRun};
use consort_engine::{InstanceId, Ticket};
use consort_types::{
    Code, ErrorKind, Result, RunId,
    worker::{FromWorker, ToWorker},
};

use crate::{
    answers::is_write,
    context::Context,
    event::Event,
    plan::{Checked, InjectedBug, Violation},
    requests::{Purpose, Request, check_error},
};

// Arrivals.

/// A command arrives.
pub(crate) fn request(ctx: &mut Context, request: Request) -> Checked {
    let Request { ticket, mut command } = request;
    if !ctx.requests.reaches(ticket, ctx.host.incarnation) || ctx.host.partition.is_none() {
        ctx.requests.take(ticket);
        return Ok(());
    }
    if let Command::StartRun(start) = &mut command {
        let machine = ctx.host.partition.as_mut().and_then(|partition| partition.machine().ok());
        match machine.map(|machine| prepare_start(machine, start)) {
            // It was answered before, and nothing is logged.
            Some(Ok(Some(run))) => return reply(ctx, ticket, Ok(Reply::Run { run, existing: true })),
            // The door refuses it, and nothing is logged.
            Some(Err(error)) => return reply(ctx, ticket, Err(error)),
            // A partition that has halted answers why.
            Some(Ok(None)) | None => {}
        }
        let Some(admitted) = ctx.admit(start.input.clone()) else {
            // A store that fails takes nothing.
            ctx.requests.take(ticket);
            return Ok(());
        };
        start.input = admitted;
    }
    if let Command::PublishEvents(publish) = &mut command {
        for data in publish.events.iter_mut().filter_map(|event| event.data.as_mut()) {
            let Some(admitted) = ctx.admit(data.clone()) else {
                ctx.requests.take(ticket);
                return Ok(());
            };
            *data = admitted;
        }
    }
    ctx.requests.arrived(ticket, *blake3::hash(&command.encode()).as_bytes());
    let premature = premature_reply(ctx, &command);
    if let Some(partition) = &mut ctx.host.partition {
        partition.submit(command, Some(ticket));
    }
    if let Some(premature) = premature {
        reply(ctx, ticket, Ok(premature))?;
    }
    let pause = ctx.random.span(5, 500);
    ctx.wake(pause);
    Ok(())
}

/// Pins a start and accepts its input, as the engine's door does; the run where it was started before.
fn prepare_start(machine: &mut Machine, start: &mut StartRun) -> Result<Option<RunId>> {
    if let Some(key) = &start.idempotency_key {
        let asked = StartRun::asked_version(None, &start.definitions);
        let request = StartRun::request_hash(&start.workflow, asked.as_deref(), &start.input);
        let before = machine.started_before(&start.namespace, key, request)?;
        if before.is_some() {
            return Ok(before);
        }
    }
    *start = machine.prepare_start(start.clone(), None)?;
    Ok(None)
}

/// An injected bug: a reply before the command is durable.
fn premature_reply(ctx: &Context, command: &Command) -> Option<Reply> {
    match command {
        _ if !ctx.has_bug(InjectedBug::ReplyBeforeDurable) => None,
        Command::StartRun(start) => Some(Reply::Run { run: start.run, existing: false }),
        Command::CancelRun(_) => Some(Reply::Done),
        _ => None,
    }
}

/// A report arrives.
pub(crate) fn report(ctx: &mut Context, session: u64, mut report: FromWorker) -> Checked {
    let current = ctx.network.sessions.get(&session).filter(|known| known.incarnation == ctx.host.incarnation);
    let Some(mut remote) = current.map(|known| known.remote) else { return Ok(()) };
    if ctx.has_bug(InjectedBug::OldTokenAccepted) {
        remote = renew_token(ctx, remote, &mut report);
    }
    let now = ctx.log_time();
    let large = match &mut report {
        FromWorker::Complete { output, .. } => Some(output),
        FromWorker::Record { entry, .. } => entry.result.as_mut().and_then(|result| result.as_mut().ok()),
        _ => None,
    };
    if let Some(payload) = large {
        // A store that fails takes nothing; the worker learns of the halt that follows.
        let Some(admitted) = ctx.admit(payload.clone()) else { return Ok(()) };
        *payload = admitted;
    }
    if let Some(partition) = &mut ctx.host.partition {
        partition.report(remote, report, now);
    }
    let pause = ctx.random.span(5, 500);
    ctx.wake(pause);
    Ok(())
}

/// An injected bug: a result counts for the attempt that is the current one, whichever instance holds it.
fn renew_token(ctx: &Context, remote: InstanceId, report: &mut FromWorker) -> InstanceId {
    let current = report.attempt().and_then(|(task, _)| Some((task, ctx.fold.token(task)?)));
    match (report, current) {
        (FromWorker::Complete { token, .. }, Some((task, current))) => {
            *token = current;
            ctx.assignments.holder(&ctx.network, ctx.host.incarnation, task, current).unwrap_or(remote)
        }
        _ => remote,
    }
}

/// The engine notices that a connection has ended.
pub(crate) fn detach(ctx: &mut Context, session: u64) -> Checked {
    let Some(gone) = ctx.network.sessions.remove(&session) else { return Ok(()) };
    let now = ctx.log_time();
    if let Some(partition) = ctx.host.partition.as_mut().filter(|_| gone.incarnation == ctx.host.incarnation) {
        partition.detach(gone.remote, now);
    }
    ctx.wake(10);
    Ok(())
}

// Departures.

/// The engine replies to a request.
pub(crate) fn reply(ctx: &mut Context, ticket: Ticket, reply: Result<Reply>) -> Checked {
    if ctx.has_bug(InjectedBug::ReplyLost) && ctx.random.chance(50) {
        return Ok(());
    }
    let Some(pending) = ctx.requests.take(ticket) else {
        let expected = ctx.has_bug(InjectedBug::ReplyBeforeDurable);
        return if expected { Ok(()) } else { Err(Violation::of(10, format!("{ticket:?} was answered twice"))) };
    };
    ctx.trace.note(ctx.now, format_args!("reply {ticket:?} {:?}: {reply:?}", pending.purpose));
    if reply.is_ok() {
        ctx.requests.acknowledge(pending.body);
    }
    match (pending.purpose, reply) {
        (Purpose::Deploy { namespace, workflow }, Ok(_)) => ctx.post(Event::Deployed { namespace, workflow }),
        (Purpose::Start { index }, Ok(Reply::Run { run, .. })) => ctx.post(Event::Started { index, run }),
        (Purpose::Register { instance }, Ok(_)) => ctx.post(Event::Registered { instance }),
        (Purpose::Publish { index }, Ok(Reply::Published(published))) => {
            ctx.post(Event::Published { index, published });
        }
        (Purpose::Fetch { namespace, subscription }, Ok(Reply::Fetched(fetched))) => {
            ctx.post(Event::Fetched { namespace, subscription, fetched: Box::new(fetched) });
        }
        (Purpose::Access { number }, Ok(Reply::Transacted(told))) => {
            ctx.post(Event::Accessed { number, answer: Box::new(told) });
        }
        (Purpose::Refuse(code), reply) => check_refused(code, &reply)?,
        (Purpose::Any, Ok(_)) | (Purpose::Decide { .. }, _) => {}
        (purpose, Err(error)) => check_error(&purpose, &error)?,
        (purpose, Ok(reply)) => {
            return Err(Violation::of(9, format!("{purpose:?} is answered with {reply:?}")));
        }
    }
    Ok(())
}

fn check_refused(code: Code, reply: &Result<Reply>) -> Checked {
    match reply {
        Err(error) if error.code == code || error.kind() == ErrorKind::Unavailable => Ok(()),
        other => {
            let law = if code == Code::LimitReached { 10 } else { 12 };
            Err(Violation::of(law, format!("a command that is to be refused with {code} is answered: {other:?}")))
        }
    }
}

/// The engine sends messages to an instance.
pub(crate) fn send(ctx: &mut Context, remote: InstanceId, mut messages: Vec<ToWorker>) -> Checked {
    if let Some(partition) = &mut ctx.host.partition {
        partition.has_read(remote, messages.iter().map(ToWorker::weight).sum());
    }
    let Some(mut session) = ctx.network.session_of(remote, ctx.host.incarnation) else { return Ok(()) };
    for message in &messages {
        check_offer(ctx, message)?;
        if let ToWorker::Task(offer) = message {
            let (oracle, scene) = ctx.assignments();
            oracle.assigned(&scene, session, offer)?;
        }
    }
    assign_twice(ctx, session, &messages)?;
    match ctx.plan.injected {
        // A refused report tells an instance as well that its task is over.
        Some(InjectedBug::CancelLost) => {
            messages.retain(|message| !matches!(message, ToWorker::Cancel { .. } | ToWorker::Refused { .. }));
        }
        Some(InjectedBug::TaskLost) if ctx.random.chance(30) => {
            messages.retain(|message| !matches!(message, ToWorker::Task(_)));
        }
        Some(InjectedBug::WrongNamespace) if ctx.random.chance(100) => {
            session = *ctx.random.pick(&ctx.network.sessions.keys().copied().collect::<Vec<_>>());
        }
        _ => {}
    }
    let delay = ctx.delay();
    let Some(known) = ctx.network.sessions.get_mut(&session) else { return Ok(()) };
    known.to_worker = (ctx.now + delay).max(known.to_worker + 1);
    let after = known.to_worker - ctx.now;
    ctx.at(after, Event::Receive { session, messages });
    Ok(())
}

/// A `write` task leaves only when its assignment is durable.
fn check_offer(ctx: &Context, message: &ToWorker) -> Checked {
    let ToWorker::Task(offer) = message else { return Ok(()) };
    let (task, token) = (offer.task, offer.token);
    if is_write(&offer.capability) && !ctx.fold.is_taken(task, token) && ctx.fold.is_live(task, token) {
        return Err(Violation::of(1, format!("write task {task} was sent before its hand-out was durable")));
    }
    Ok(())
}

/// An injected bug: another instance of the agent gets the same tasks.
fn assign_twice(ctx: &mut Context, session: u64, messages: &[ToWorker]) -> Checked {
    if !ctx.has_bug(InjectedBug::HandedOutTwice) || !ctx.random.chance(100) {
        return Ok(());
    }
    let Some(own) = ctx.network.instance(session) else { return Ok(()) };
    let mut sessions = ctx.network.sessions.iter();
    let other = sessions.find(|(at, known)| **at != session && ctx.roster.is_same_agent(known.instance, own));
    let other = other.map(|(at, _)| *at);
    for message in messages {
        if let (ToWorker::Task(offer), Some(other)) = (message, other) {
            let (oracle, scene) = ctx.assignments();
            oracle.assigned(&scene, other, offer)?;
        }
    }
    Ok(())
}
