//! What was handed out, as it leaves the engine.
//!
//! For: an attempt with one holder, credit, and limits on tasks at once. Not for: what instances do with tasks (see
//! `agents`), or rates (the dispatcher's own tests have those).
//! Invariant: it knows only what left the engine and what is durable, never what the dispatcher thinks.

use std::collections::{BTreeMap, BTreeSet};

use consort_engine::InstanceId;
use consort_types::{TaskId, Token, registry::LimitScope, worker::TaskOffer};

use crate::{
    clients::NAMESPACES,
    plan::{Checked, Violation},
    world::{SECOND, World},
};

/// How long a limit must have been durable before it is held against the engine: longer than anything is on its way
/// inside of a process.
const SETTLED: u64 = 60 * SECOND;

/// A task that is with an instance.
#[derive(Clone, Debug)]
struct Handout {
    token: Token,
    session: u64,
    instance: usize,
    namespace: usize,
    capability: String,
}

/// What was handed out by the process that runs.
#[derive(Debug, Default)]
pub(crate) struct Handouts {
    incarnation: u64,
    out: BTreeMap<TaskId, Handout>,
    /// Who was given which attempt, by any process: an instance may claim what it was given before a restart, although
    /// the record of it was lost.
    given: BTreeSet<(TaskId, Token, usize)>,
    /// Limits on tasks at once, and since when they are in the log.
    limits: BTreeMap<(usize, LimitScope), (u32, u64)>,
}

impl World {
    /// Looks at which limits are in the log.
    fn note_limits(&mut self) {
        let now = self.now;
        let durable = self.fold.machine.registry().limits().unwrap_or_default();
        let known = std::mem::take(&mut self.handouts.limits);
        for (namespace, scope, limit) in durable {
            let at = NAMESPACES.iter().position(|known| *known == namespace).unwrap_or(0);
            let Some(most) = limit.concurrency else { continue };
            let key = (at, scope);
            let since = known.get(&key).filter(|(before, _)| *before == most).map_or(now, |(_, since)| *since);
            self.handouts.limits.insert(key, (most, since));
        }
    }

    /// An instance holds tasks from before a reconnect.
    pub(crate) fn claims(&mut self, instance: usize, session: u64, held: &[(TaskId, Token)]) -> Checked {
        self.prune();
        for (task, token) in held {
            if !self.fold.is_out(*task, *token) {
                continue;
            }
            if !self.handouts.given.contains(&(*task, *token, instance)) {
                return Err(Violation::of(3, format!("attempt {token} of task {task} is claimed by who never had it")));
            }
            // Where another instance has got it since, because the record of the first hand-out was lost, the claim is
            // refused.
            let mine = |known: &&mut Handout| known.token == *token && known.instance == instance;
            if let Some(known) = self.handouts.out.get_mut(task).filter(mine) {
                known.session = session;
            }
        }
        Ok(())
    }

    /// Whether an instance was ever given the attempt.
    pub(crate) fn was_given(&self, task: TaskId, token: Token, instance: usize) -> bool {
        self.handouts.given.contains(&(task, token, instance))
    }

    /// Whether an instance of the same agent was ever given the attempt.
    pub(crate) fn had_by_agent_of(&self, task: TaskId, token: Token, instance: usize) -> bool {
        let mut given = self.handouts.given.range((task, token, 0)..=(task, token, usize::MAX));
        given.any(|(_, _, other)| self.is_same_agent(*other, instance))
    }

    /// The instance that was given the attempt, as the process that runs knows it.
    pub(crate) fn holder(&self, task: TaskId, token: Token) -> Option<InstanceId> {
        let known = self.handouts.out.get(&task).filter(|known| known.token == token)?;
        let session = self.sessions.get(&known.session)?;
        Some(session.remote).filter(|_| session.incarnation == self.host.incarnation)
    }

    /// A task leaves the engine for an instance.
    pub(crate) fn handed_out(&mut self, session: u64, offer: &TaskOffer) -> Checked {
        self.prune();
        self.note_limits();
        let Some(instance) = self.sessions.get(&session).map(|known| known.instance) else { return Ok(()) };
        let (task, token) = (offer.task, offer.token);
        if self.handouts.out.get(&task).is_some_and(|known| known.token == token && known.instance != instance) {
            return Err(Violation::of(3, format!("attempt {token} of task {task} was handed out twice")));
        }
        let (namespace, credit) = self.place_and_credit(instance);
        let handout = Handout { token, session, instance, namespace, capability: offer.capability.clone() };
        self.handouts.out.insert(task, handout);
        self.handouts.given.insert((task, token, instance));
        let held = self.handouts.out.values().filter(|known| known.session == session).count();
        if held > credit {
            return Err(Violation::of(10, format!("an instance asked for {credit} tasks and got {held}")));
        }
        self.check_limits(namespace, &offer.capability)
    }

    fn check_limits(&self, namespace: usize, capability: &str) -> Checked {
        let now = self.now;
        let own = [LimitScope::Namespace, LimitScope::Capability(capability.to_owned())];
        for scope in own {
            let Some((most, since)) = self.handouts.limits.get(&(namespace, scope.clone())) else { continue };
            let of_scope = |known: &&Handout| {
                known.namespace == namespace && (scope == LimitScope::Namespace || known.capability == capability)
            };
            let out = self.handouts.out.values().filter(of_scope).count();
            if now > since + SETTLED && out > *most as usize {
                let what =
                    format!("{out} tasks of `{}` are out in `{scope}`, the limit is {most}", NAMESPACES[namespace]);
                return Err(Violation::of(10, what));
            }
        }
        Ok(())
    }

    /// Forgets what is over, and what went with a process or a connection.
    fn prune(&mut self) {
        let (incarnation, sessions, fold) = (self.host.incarnation, &self.sessions, &self.fold);
        let handouts = &mut self.handouts;
        if handouts.incarnation != incarnation {
            (handouts.incarnation, handouts.out) = (incarnation, BTreeMap::new());
        }
        handouts.out.retain(|task, known| fold.is_out(*task, known.token) && sessions.contains_key(&known.session));
    }
}
