//! Why nothing is assigned, in words.
//!
//! For: the line that an operator reads when tasks wait. Not for: deciding.
//! Invariant: the reason named is one that, taken away, would let a task go or show the next reason.

use consort_types::{Locality, registry::Health};

use super::Views;
use crate::{
    model::QueueId,
    pool::{WorkerClass, WorkerClassId, WorkerInstance},
    queues::{GroupKey, Queue},
    route::Target,
};

impl Views<'_> {
    /// Why the tasks of a queue wait.
    pub(super) fn why_waiting(&self, id: QueueId, queue: &Queue) -> String {
        if self.draining {
            return "the server is draining".to_owned();
        }
        if queue.waiting() == queue.held {
            return "its runs are paused".to_owned();
        }
        if let Some(limiter) = queue.parked.and_then(|(limiter, _)| self.placement.limits.get(limiter)) {
            return limiter.reason(u32::MAX);
        }
        if queue.priority().is_none()
            && let Some((GroupKey::Key(limiter, own), _)) = queue.parked_groups().next()
            && let Some(limiter) = self.placement.limits.get(limiter)
        {
            return limiter.reason(own);
        }
        self.why_unserved(&queue.target).unwrap_or_else(|| self.why_busy(id))
    }

    /// Why no connected instance serves the queue, where none does.
    fn why_unserved(&self, target: &Target) -> Option<String> {
        let able = || self.placement.pool.classes().filter(|(_, class)| class.can(target));
        if let (None, Some((agent, version))) = (able().next(), &target.written_by) {
            return Some(format!("no instance of `{agent}@{version}`, whose code wrote their journals, is connected"));
        }
        if able().next().is_none() {
            let unserved = match (&target.capability, &target.agent) {
                (Some(capability), Some(agent)) => {
                    format!("no instance of the agent `{agent}` with the capability `{capability}` is connected")
                }
                (Some(capability), None) => format!("no instance has the capability `{capability}`"),
                (None, Some(agent)) => format!("no instance of the agent `{agent}` is connected"),
                (None, None) => "no instance is connected".to_owned(),
            };
            return Some(match self.built_in_elsewhere(target) {
                Some(namespace) => format!("{unserved}; the built-in agents serve the namespace `{namespace}`"),
                None => unserved,
            });
        }
        let fits =
            |class: &WorkerClass| target.selector.as_ref().is_none_or(|selector| selector.fits_version(&class.version));
        let mut fitting = able().filter(|(_, class)| fits(class)).peekable();
        if fitting.peek().is_none() {
            return Some("no instance has a version that matches the route".to_owned());
        }
        if fitting.all(|(_, class)| class.state.draining) {
            return Some("an operator drains every version that could take them".to_owned());
        }
        if !able().any(|(_, class)| class.serves(target)) {
            return Some("every version that could take them has a weight of 0".to_owned());
        }
        let matches =
            |id: WorkerClassId| self.placement.pool.members(id).any(|(id, _)| self.placement.pool.fits(id, target));
        if !able().any(|(id, class)| class.serves(target) && matches(id)) {
            return Some("no instance has the labels that the route requires".to_owned());
        }
        None
    }

    /// The namespace in which a built-in agent could do the tasks of a target, where it is not the target's own.
    fn built_in_elsewhere(&self, target: &Target) -> Option<&str> {
        let pool = &self.placement.pool;
        let able = pool.classes().filter(|(_, class)| {
            let there = Target { namespace: class.namespace.to_string(), ..target.clone() };
            class.can(&there)
        });
        let mut built_in =
            able.filter(|(id, _)| pool.members(*id).any(|(_, instance)| instance.locality == Locality::Local));
        built_in.next().map(|(_, class)| &*class.namespace)
    }

    /// Why none of the instances that could take the tasks does.
    fn why_busy(&self, id: QueueId) -> String {
        if let Some(limiter) = self.closed_by(id).and_then(|limiter| self.placement.limits.get(limiter)) {
            return limiter.reason(u32::MAX);
        }
        let members: Vec<&WorkerInstance> = self.candidates(id).collect();
        let unhealthy = |instance: &&&WorkerInstance| instance.breaker.health().0 == Health::Unhealthy;
        let (all, ill) = (members.len(), members.iter().filter(unhealthy).count());
        let leaving = members.iter().filter(|instance| instance.draining).count();
        if leaving == all {
            return "every instance that could take them is leaving".to_owned();
        }
        if ill + leaving == all {
            return format!("all {ill} instances that could take them are unhealthy, and are tried now and then");
        }
        let deaf = members.iter().filter(|instance| !instance.draining && instance.reads_too_slowly()).count();
        if deaf > 0 && ill + leaving + deaf >= all {
            return format!("{deaf} instances that could take them do not read what they are sent");
        }
        let busy = all - ill - leaving;
        let (who, are) =
            if busy == 1 { ("the one instance".to_owned(), "is") } else { (format!("all {busy} instances"), "are") };
        format!("{who} that could take them {are} busy")
    }
}
