//! Clients that deploy workflows and start runs.
//!
//! For: deploying, starting with idempotency keys, and reading what was acknowledged. Not for: what is done to runs
//! that are under way (see `operator`).
//! Invariant: a client that gets no reply repeats its request where that is safe, and nowhere else.

use std::collections::BTreeSet;

use consort_core::{
    Command,
    command::{Deploy, StartRun},
};
use consort_types::{Code, Payload, RunId};

use crate::{
    clock::SECOND,
    context::Context,
    event::Event,
    plan::{Checked, InjectedBug, Violation},
    requests::Purpose,
    roster::NAMESPACES,
    workflows::Workflow,
};

/// One in so many starts brings its workflow.
const BROUGHT: usize = 3;

/// The clients.
#[derive(Debug)]
pub(crate) struct Starter {
    workflows: Vec<Workflow>,
    to_deploy: BTreeSet<(usize, usize)>,
    /// How many runs are requested so far.
    requested: usize,
}

impl Starter {
    pub(crate) fn new(workflows: Vec<Workflow>) -> Self {
        let count = workflows.len();
        let to_deploy = (0..2).flat_map(|namespace| (0..count).map(move |workflow| (namespace, workflow))).collect();
        Self { workflows, to_deploy, requested: 0 }
    }

    /// Whether everything that is wanted has been started.
    pub(crate) fn is_settled(&self, ctx: &Context) -> bool {
        self.to_deploy.is_empty() && ctx.results.unstarted() == 0
    }

    pub(crate) fn step(&mut self, ctx: &mut Context) -> Checked {
        let pause = if ctx.is_quiescent() { 5 * SECOND } else { ctx.random.span(10_000, 12 * SECOND) };
        ctx.at(pause, Event::Start);
        ctx.requests.check_replies(ctx.now, ctx.host.incarnation)?;
        if ctx.host.partition.is_none() || self.deploy_missing(ctx) {
            return Ok(());
        }
        let all = ctx.results.wanted.len();
        self.requested = if ctx.is_quiescent() { all } else { (self.requested + 1).min(all) };
        self.start_requested(ctx);
        if ctx.is_quiescent() {
            ctx.post(Event::Register);
        }
        ctx.post(Event::Operate);
        Ok(())
    }

    /// Deploys what is not deployed yet; returns whether something was missing.
    fn deploy_missing(&self, ctx: &mut Context) -> bool {
        for (namespace, workflow) in &self.to_deploy {
            let purpose = Purpose::Deploy { namespace: *namespace, workflow: *workflow };
            if !ctx.requests.is_pending(&purpose) {
                let (namespace, workflow) =
                    (NAMESPACES[*namespace].to_owned(), self.workflows[*workflow].compiled.clone());
                ctx.request(Command::Deploy(Deploy { namespace, workflow }), purpose);
            }
        }
        !self.to_deploy.is_empty()
    }

    fn start_requested(&self, ctx: &mut Context) {
        for index in 0..self.requested {
            let again = ctx.results.wanted[index].run.is_some();
            if again && (ctx.is_quiescent() || !ctx.random.chance(20)) {
                continue;
            }
            if ctx.requests.is_pending(&Purpose::Start { index }) && !ctx.random.chance(50) {
                continue;
            }
            let run = ctx.new_run();
            let wanted = &ctx.results.wanted[index];
            let input = Payload::inline(wanted.input.as_bytes());
            // Some starts bring their workflow: the same ones each time, since a repeated start is the same request.
            let own = self.workflows.iter().find(|workflow| index % BROUGHT == 0 && workflow.name == wanted.workflow);
            let command = StartRun {
                definitions: own.map(|workflow| workflow.compiled.clone()).into_iter().collect(),
                idempotency_key: Some(wanted.key.clone()),
                ..StartRun::requested(run, NAMESPACES[wanted.namespace], &wanted.workflow, input)
            };
            ctx.request(Command::StartRun(command), Purpose::Start { index });
        }
    }

    /// A deployment was acknowledged.
    pub(crate) fn deployed(&mut self, namespace: usize, workflow: usize) -> Checked {
        self.to_deploy.remove(&(namespace, workflow));
        Ok(())
    }
}

/// A start was acknowledged.
pub(crate) fn started(ctx: &mut Context, index: usize, run: RunId) -> Checked {
    ctx.results.started(index, run)?;
    check_read(ctx, index, run)
}

/// What was acknowledged can be read (law 9), and only in its namespace (law 12).
fn check_read(ctx: &mut Context, index: usize, run: RunId) -> Checked {
    let wanted = &ctx.results.wanted[index];
    if wanted.deletable || ctx.results.retention || ctx.has_bug(InjectedBug::ReplyBeforeDurable) {
        return Ok(());
    }
    let (namespace, other) = (NAMESPACES[wanted.namespace], NAMESPACES[1 - wanted.namespace]);
    let found = if ctx.has_bug(InjectedBug::StaleRead) {
        let mut key = vec![b'r'];
        key.extend(run.0);
        let row = consort_store::Store::get(&ctx.host.store.memory, &key);
        row.ok().flatten().map(|_| ())
    } else {
        let Ok(partition) = ctx.host.partition() else { return Ok(()) };
        let Ok(machine) = partition.machine() else { return Ok(()) };
        if machine.run_view(other, run).is_ok() {
            return Err(Violation::of(12, format!("run {run} of `{namespace}` is seen from another namespace")));
        }
        match machine.run_view(namespace, run) {
            Err(error) if error.code == Code::RunNotFound => None,
            // A store that fails to read says nothing about its rows.
            _ => Some(()),
        }
    };
    found.ok_or_else(|| Violation::of(9, format!("run {run} was acknowledged, but a read does not find it")))
}
