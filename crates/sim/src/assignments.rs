//! The assignment oracle: tasks with their holders, as they leave the engine.
//!
//! For: an attempt with one holder, credit, and limits on tasks at once. Not for: what instances do with tasks (see
//! `actors::worker`), or rates (the dispatcher's own tests have those).
//! Invariant: it knows only what left the engine and what is durable, never what the dispatcher thinks.

use std::collections::{BTreeMap, BTreeSet};

use consort_engine::InstanceId;
use consort_types::{StepInstanceId, Token, registry::LimitScope, worker::TaskOffer};

use crate::{
    clock::SECOND,
    network::Network,
    oracle::Fold,
    plan::{Checked, Violation},
    roster::{self, NAMESPACES, Roster},
};

/// How long a limit must have been durable before it is held against the engine: longer than anything is on its way
/// inside of a process.
const SETTLED: u64 = 60 * SECOND;

/// A task that an instance holds.
#[derive(Clone, Debug)]
struct Assignment {
    token: Token,
    session: u64,
    instance: usize,
    namespace: usize,
    capability: String,
}

/// What the oracle sees of the world at a moment.
pub(crate) struct Scene<'a> {
    pub(crate) fold: &'a Fold,
    pub(crate) network: &'a Network,
    pub(crate) roster: &'a Roster,
    /// The process that runs.
    pub(crate) incarnation: u64,
    pub(crate) now: u64,
}

/// What was assigned by the process that runs.
#[derive(Debug, Default)]
pub(crate) struct AssignmentOracle {
    incarnation: u64,
    out: BTreeMap<StepInstanceId, Assignment>,
    /// The instances that were given an attempt, by any process: an instance may claim what it was given before a
    /// restart, although the record of it was lost.
    given: BTreeSet<(StepInstanceId, Token, usize)>,
    /// Limits on tasks at once, and since when they are in the log.
    limits: BTreeMap<(usize, LimitScope), (u32, u64)>,
}

impl AssignmentOracle {
    /// Looks at which limits are in the log.
    fn note_limits(&mut self, scene: &Scene<'_>) {
        let durable = scene.fold.machine.registry().limits().unwrap_or_default();
        let known = std::mem::take(&mut self.limits);
        for (namespace, scope, limit) in durable {
            let Some(most) = limit.concurrency else { continue };
            let key = (roster::position(&namespace), scope);
            let since = known.get(&key).filter(|(before, _)| *before == most).map_or(scene.now, |(_, since)| *since);
            self.limits.insert(key, (most, since));
        }
    }

    /// An instance claims tasks from before a reconnect.
    pub(crate) fn claims(
        &mut self,
        scene: &Scene<'_>,
        instance: usize,
        session: u64,
        held: &[(StepInstanceId, Token)],
    ) -> Checked {
        self.prune(scene);
        for (task, token) in held {
            if !scene.fold.is_out(*task, *token) {
                continue;
            }
            if !self.was_given(*task, *token, instance) {
                let what = format!("attempt {token} of task {task} is claimed by an instance that never had it");
                return Err(Violation::of(3, what));
            }
            // Where another instance has got it since, because the record of the first assignment was lost, the claim
            // is refused.
            let mine = |known: &&mut Assignment| known.token == *token && known.instance == instance;
            if let Some(known) = self.out.get_mut(task).filter(mine) {
                known.session = session;
            }
        }
        Ok(())
    }

    /// Whether an instance was ever given the attempt.
    pub(crate) fn was_given(&self, task: StepInstanceId, token: Token, instance: usize) -> bool {
        self.given.contains(&(task, token, instance))
    }

    /// Whether an instance of the same agent was ever given the attempt.
    pub(crate) fn had_by_agent_of(&self, roster: &Roster, task: StepInstanceId, token: Token, instance: usize) -> bool {
        let mut given = self.given.range((task, token, 0)..=(task, token, usize::MAX));
        given.any(|(_, _, other)| roster.is_same_agent(*other, instance))
    }

    /// The instance that was given the attempt, as the process of this incarnation knows it.
    pub(crate) fn holder(
        &self,
        network: &Network,
        incarnation: u64,
        task: StepInstanceId,
        token: Token,
    ) -> Option<InstanceId> {
        let known = self.out.get(&task).filter(|known| known.token == token)?;
        let session = network.sessions.get(&known.session)?;
        Some(session.remote).filter(|_| session.incarnation == incarnation)
    }

    /// A task leaves the engine for an instance.
    pub(crate) fn assigned(&mut self, scene: &Scene<'_>, session: u64, offer: &TaskOffer) -> Checked {
        self.prune(scene);
        self.note_limits(scene);
        let Some(instance) = scene.network.instance(session) else { return Ok(()) };
        let (task, token) = (offer.task, offer.token);
        if self.out.get(&task).is_some_and(|known| known.token == token && known.instance != instance) {
            return Err(Violation::of(3, format!("attempt {token} of task {task} was handed out twice")));
        }
        let identity = scene.roster.get(instance);
        let (namespace, credit) = (identity.namespace, identity.max_concurrent as usize);
        let assignment = Assignment { token, session, instance, namespace, capability: offer.capability.clone() };
        self.out.insert(task, assignment);
        self.given.insert((task, token, instance));
        let held = self.out.values().filter(|known| known.session == session).count();
        if held > credit {
            return Err(Violation::of(10, format!("an instance requested {credit} tasks and got {held}")));
        }
        self.check_limits(scene.now, namespace, &offer.capability)
    }

    fn check_limits(&self, now: u64, namespace: usize, capability: &str) -> Checked {
        let own = [LimitScope::Namespace, LimitScope::Capability(capability.to_owned())];
        for scope in own {
            let Some((most, since)) = self.limits.get(&(namespace, scope.clone())) else { continue };
            let of_scope = |known: &&Assignment| {
                known.namespace == namespace && (scope == LimitScope::Namespace || known.capability == capability)
            };
            let out = self.out.values().filter(of_scope).count();
            if now > since + SETTLED && out > *most as usize {
                let what =
                    format!("{out} tasks of `{}` are out in `{scope}`, the limit is {most}", NAMESPACES[namespace]);
                return Err(Violation::of(10, what));
            }
        }
        Ok(())
    }

    /// Forgets attempts that are over, or whose process or connection has ended.
    fn prune(&mut self, scene: &Scene<'_>) {
        if self.incarnation != scene.incarnation {
            (self.incarnation, self.out) = (scene.incarnation, BTreeMap::new());
        }
        let (fold, sessions) = (scene.fold, &scene.network.sessions);
        self.out.retain(|task, known| fold.is_out(*task, known.token) && sessions.contains_key(&known.session));
    }
}
