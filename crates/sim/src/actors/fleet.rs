//! The fleet: all worker instances.
//!
//! For: making them, and giving each event to the instance that it is for. Not for: what an instance does (see
//! `worker`).
//! Invariant: every agent has at least one instance in every namespace.

use consort_engine::Locality;
use consort_types::worker::ToWorker;

use super::worker::Worker;
use crate::{
    answers,
    clock::SECOND,
    context::Context,
    event::Event,
    plan::Checked,
    random::Random,
    roster::{Identity, NAMESPACES, Roster},
    verdict::Held,
};

/// All worker instances, in the order of the roster.
#[derive(Debug)]
pub(crate) struct Fleet {
    workers: Vec<Worker>,
}

/// Makes the instances of a world.
pub(crate) fn spawn_workers(random: &mut Random) -> (Roster, Fleet) {
    let (mut roster, mut workers) = (Roster::default(), Vec::new());
    for namespace in 0..NAMESPACES.len() {
        for agent in 0..answers::AGENTS.len() {
            // The name of a local agent is reserved for such.
            let locality = if random.chance(250) { Locality::Local } else { Locality::Remote };
            for _ in 0..random.between(1, 2) {
                let max_concurrent = random.between(1, 6) as u32;
                let identity = Identity { namespace, agent, locality, max_concurrent };
                workers.push(Worker::new(workers.len(), identity, *random.pick(&[1, 1, 1, 20])));
                roster.0.push(identity);
            }
        }
    }
    (roster, Fleet { workers })
}

impl Fleet {
    /// Every instance connects soon.
    pub(crate) fn begin(&self, ctx: &mut Context) {
        for instance in 0..self.workers.len() {
            let pause = ctx.random.span(1_000, 5 * SECOND);
            ctx.at(pause, Event::Connect { instance });
            ctx.at(pause + 10 * SECOND, Event::Beat { instance });
        }
    }

    /// One instance.
    pub(crate) fn worker(&mut self, instance: usize) -> &mut Worker {
        &mut self.workers[instance]
    }

    /// Messages arrive at the worker's end of a session.
    pub(crate) fn receive(&mut self, ctx: &mut Context, session: u64, messages: Vec<ToWorker>) -> Checked {
        let Some(known) = ctx.network.sessions.get(&session).filter(|known| known.open) else { return Ok(()) };
        let worker = &mut self.workers[known.instance];
        if worker.session() == Some(session) { worker.receive(ctx, messages) } else { Ok(()) }
    }

    /// The worker's end of a session is disconnected.
    pub(crate) fn broken(&mut self, ctx: &mut Context, session: u64) -> Checked {
        let Some(known) = ctx.network.sessions.get(&session) else { return Ok(()) };
        let (instance, open) = (known.instance, known.open);
        // Where the worker has left it already, the engine still has to notice.
        if open {
            ctx.network.sessions.remove(&session);
        }
        let worker = &mut self.workers[instance];
        if worker.session() == Some(session) { worker.disconnected(ctx) } else { Ok(()) }
    }

    /// Every instance behaves from here on.
    pub(crate) fn heal(&mut self, ctx: &mut Context) -> Checked {
        for worker in &mut self.workers {
            worker.heal(ctx);
        }
        Ok(())
    }

    /// An injected bug: the `write` tasks of each instance are given to another one of its agent too.
    pub(crate) fn expire_leases(&mut self, ctx: &mut Context) -> Checked {
        let held =
            |(at, worker): (usize, &Worker)| worker.writes().map(|offer| (at, offer.clone())).collect::<Vec<_>>();
        let held: Vec<_> = self.workers.iter().enumerate().flat_map(held).collect();
        for (holder, offer) in held {
            let fits = |at: &usize| *at != holder && ctx.roster.is_same_agent(*at, holder);
            if let Some(other) = (0..self.workers.len()).find(fits) {
                self.workers[other].take(ctx, offer)?;
            }
        }
        Ok(())
    }

    /// All attempts that instances work on.
    pub(crate) fn held(&self) -> Vec<Held> {
        self.workers.iter().flat_map(Worker::held).collect()
    }
}
