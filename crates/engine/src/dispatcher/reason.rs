//! Why nothing is handed out, in words.
//!
//! For: the line that an operator reads when tasks wait. Not for: deciding.
//! Invariant: the reason named is one that, taken away, would let a task go or show the next reason.

use consort_types::registry::Health;

use super::{
    Dispatcher,
    order::{GroupKey, Level},
    pool::{Instance, Kind, KindId},
    queue::{Queue, Target},
};

impl Dispatcher {
    /// Why the tasks of a queue wait.
    pub(super) fn why_waiting(&self, queue: &Queue) -> String {
        if self.draining {
            return "the server is draining".to_owned();
        }
        if queue.waiting() == queue.aside {
            return "its runs are paused".to_owned();
        }
        if let Some(gate) = queue.parked.and_then(|(gate, _)| self.gates.get(gate)) {
            return gate.reason(u32::MAX);
        }
        if queue.priority().is_none()
            && let Some((GroupKey::Key(gate, own), _)) = queue.levels.values().flat_map(Level::parked).next()
            && let Some(gate) = self.gates.get(gate)
        {
            return gate.reason(own);
        }
        self.why_nobody(&queue.target).unwrap_or_else(|| self.why_busy(queue))
    }

    /// Why no instance is asked at all, where that is so.
    fn why_nobody(&self, target: &Target) -> Option<String> {
        let able = || self.pool.kinds().filter(|(_, kind)| kind.can(target));
        if able().next().is_none() {
            let nobody = match (&target.capability, &target.agent) {
                (Some(capability), Some(agent)) => {
                    format!("no instance of the agent `{agent}` with the capability `{capability}` is connected")
                }
                (Some(capability), None) => format!("no instance has the capability `{capability}`"),
                (None, Some(agent)) => format!("no instance of the agent `{agent}` is connected"),
                (None, None) => "no instance is connected".to_owned(),
            };
            return Some(match self.built_in_elsewhere(target) {
                Some(namespace) => format!("{nobody}; the built-in agents serve the namespace `{namespace}`"),
                None => nobody,
            });
        }
        let fits = |kind: &Kind| target.selector.as_ref().is_none_or(|selector| selector.fits_version(&kind.version));
        let mut fitting = able().filter(|(_, kind)| fits(kind)).peekable();
        if fitting.peek().is_none() {
            return Some("no instance has a version that matches the route".to_owned());
        }
        if fitting.all(|(_, kind)| kind.state.draining) {
            return Some("an operator drains every version that could take them".to_owned());
        }
        if !able().any(|(_, kind)| kind.serves(target)) {
            return Some("every version that could take them has a weight of 0".to_owned());
        }
        let matches = |id: KindId| self.pool.members(id).any(|(id, _)| self.pool.fits(id, target));
        if !able().any(|(id, kind)| kind.serves(target) && matches(id)) {
            return Some("no instance has the labels that the route asks for".to_owned());
        }
        None
    }

    /// The namespace in which a built-in agent could do the tasks of a target, where it is not the target's own.
    fn built_in_elsewhere(&self, target: &Target) -> Option<&str> {
        let kinds = self.pool.kinds().filter(|(_, kind)| {
            let there = Target { namespace: kind.namespace.to_string(), ..target.clone() };
            kind.can(&there)
        });
        let mut built_in = kinds.filter(|(id, _)| {
            self.pool.members(*id).any(|(_, instance)| instance.locality == consort_types::Locality::Local)
        });
        built_in.next().map(|(_, kind)| &*kind.namespace)
    }

    /// Why none of those that could take the tasks does.
    fn why_busy(&self, queue: &Queue) -> String {
        if let Some(gate) = self.shut_out(queue).and_then(|gate| self.gates.get(gate)) {
            return gate.reason(u32::MAX);
        }
        let members = queue.lots.iter().flat_map(|lot| self.pool.members_of_lot(*lot));
        let members: Vec<&Instance> = members.map(|(_, instance)| instance).collect();
        let unhealthy = |instance: &&&Instance| instance.breaker.health().0 == Health::Unhealthy;
        let (all, ill) = (members.len(), members.iter().filter(unhealthy).count());
        let leaving = members.iter().filter(|instance| instance.leaving).count();
        if leaving == all {
            return "every instance that could take them is leaving".to_owned();
        }
        if ill + leaving == all {
            return format!("all {ill} instances that could take them are unhealthy, and are tried now and then");
        }
        let deaf = members.iter().filter(|instance| !instance.leaving && instance.reads_too_slowly()).count();
        if deaf > 0 && ill + leaving + deaf >= all {
            return format!("{deaf} instances that could take them do not read what they are sent");
        }
        let busy = all - ill - leaving;
        let (who, are) =
            if busy == 1 { ("the one instance".to_owned(), "is") } else { (format!("all {busy} instances"), "are") };
        format!("{who} that could take them {are} busy")
    }
}
