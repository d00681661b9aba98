//! The connected instances, grouped by what they can do.
//!
//! For: credit, load, and when an instance was last heard of. Not for: the order of tasks.
//! Invariant: an instance is free in its profile exactly while it holds less than it takes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use consort_types::{TaskId, Time, worker::Hello};

use super::{
    InstanceId,
    queue::{QueueId, Rank},
};
use crate::{Locality, handle::AgentStatus};

/// Instances that declare the same. Numbers are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ProfileId(u64);

/// What instances declare, and those that do.
#[derive(Debug)]
pub(super) struct Profile {
    pub(super) namespace: String,
    pub(super) agent: String,
    pub(super) version: String,
    pub(super) capabilities: BTreeSet<String>,
    /// Instances with credit, the least loaded first.
    free: BTreeSet<(usize, InstanceId)>,
    /// The heads of the queues that it serves, the first to go first.
    heads: BTreeSet<(Rank, QueueId)>,
    members: usize,
}

#[derive(Debug)]
struct Instance {
    name: Arc<str>,
    profile: ProfileId,
    locality: Locality,
    takes: usize,
    held: BTreeSet<TaskId>,
    heard: Time,
}

/// An instance that has left.
pub(super) struct Left {
    pub(super) name: Arc<str>,
    pub(super) held: BTreeSet<TaskId>,
    /// Its profile, where it was the last of it.
    pub(super) last_of: Option<ProfileId>,
}

/// The connected instances.
#[derive(Debug, Default)]
pub(super) struct Pool {
    instances: BTreeMap<InstanceId, Instance>,
    profiles: BTreeMap<ProfileId, Profile>,
    /// Profiles that have both a free instance and a head.
    matches: BTreeSet<ProfileId>,
    /// Remote instances that hold tasks, by when they were last heard of, or earlier.
    silences: BTreeSet<(Time, InstanceId)>,
    instances_made: u64,
    profiles_made: u64,
}

impl Pool {
    pub(super) fn join(&mut self, hello: &Hello, locality: Locality, prefix: &str, now: Time) -> InstanceId {
        self.instances_made += 1;
        let id = InstanceId(self.instances_made);
        let profile = self.find_or_make(hello);
        if let Some(profile) = self.profiles.get_mut(&profile) {
            profile.members += 1;
            profile.free.insert((0, id));
        }
        let takes = hello.concurrency as usize;
        let name = Arc::from(format!("{prefix}:{}:{}", id.0, hello.agent.name));
        let instance = Instance { name, profile, locality, takes, held: BTreeSet::new(), heard: now };
        self.instances.insert(id, instance);
        self.rematch(profile);
        id
    }

    fn find_or_make(&mut self, hello: &Hello) -> ProfileId {
        let capabilities: BTreeSet<String> =
            hello.agent.capabilities.iter().map(|capability| capability.name.clone()).collect();
        let same = self.profiles.iter().find(|(_, known)| {
            known.namespace == hello.namespace
                && known.agent == hello.agent.name
                && known.version == hello.agent.version
                && known.capabilities == capabilities
        });
        if let Some((id, _)) = same {
            return *id;
        }
        self.profiles_made += 1;
        let id = ProfileId(self.profiles_made);
        let profile = Profile {
            namespace: hello.namespace.clone(),
            agent: hello.agent.name.clone(),
            version: hello.agent.version.clone(),
            capabilities,
            free: BTreeSet::new(),
            heads: BTreeSet::new(),
            members: 0,
        };
        self.profiles.insert(id, profile);
        id
    }

    pub(super) fn leave(&mut self, id: InstanceId) -> Option<Left> {
        let instance = self.instances.remove(&id)?;
        self.silences.remove(&(instance.heard, id));
        let mut last_of = None;
        if let Some(profile) = self.profiles.get_mut(&instance.profile) {
            profile.free.remove(&(instance.held.len(), id));
            profile.members -= 1;
            if profile.members == 0 {
                self.profiles.remove(&instance.profile);
                last_of = Some(instance.profile);
            }
        }
        self.rematch(instance.profile);
        Some(Left { name: instance.name, held: instance.held, last_of })
    }

    /// How many tasks an instance wants to hold at once from now on.
    pub(super) fn set_credit(&mut self, id: InstanceId, tasks: usize) {
        let Some(instance) = self.instances.get_mut(&id) else { return };
        instance.takes = tasks;
        let (profile, held) = (instance.profile, instance.held.len());
        if let Some(profile) = self.profiles.get_mut(&profile) {
            if held < tasks {
                profile.free.insert((held, id));
            } else {
                profile.free.remove(&(held, id));
            }
        }
        self.rematch(profile);
    }

    pub(super) fn give_no_more(&mut self, id: InstanceId) {
        let Some(instance) = self.instances.get_mut(&id) else { return };
        instance.takes = 0;
        let (profile, held) = (instance.profile, instance.held.len());
        if let Some(profile) = self.profiles.get_mut(&profile) {
            profile.free.remove(&(held, id));
        }
        self.rematch(profile);
    }

    fn rematch(&mut self, id: ProfileId) {
        let fits = self.profiles.get(&id).is_some_and(|known| !known.free.is_empty() && !known.heads.is_empty());
        if fits {
            self.matches.insert(id);
        } else {
            self.matches.remove(&id);
        }
    }

    /// The queue whose head goes next to some free instance.
    pub(super) fn next_queue(&self) -> Option<QueueId> {
        let profile = self.profiles.get(self.matches.first()?)?;
        profile.heads.first().map(|(_, queue)| *queue)
    }

    /// The free instance that holds least, among these profiles.
    pub(super) fn least_loaded(&self, profiles: impl Iterator<Item = ProfileId>) -> Option<InstanceId> {
        let free = profiles.filter_map(|id| self.profiles.get(&id)?.free.first().copied());
        free.min().map(|(_, id)| id)
    }

    pub(super) fn hold(&mut self, id: InstanceId, task: TaskId) {
        self.change(id, |held| held.insert(task));
    }

    pub(super) fn release(&mut self, id: InstanceId, task: TaskId) {
        self.change(id, |held| held.remove(&task));
    }

    fn change(&mut self, id: InstanceId, change: impl FnOnce(&mut BTreeSet<TaskId>) -> bool) {
        let Some(instance) = self.instances.get_mut(&id) else { return };
        let before = instance.held.len();
        assert!(change(&mut instance.held), "an instance gets and gives back each task once");
        let after = instance.held.len();
        if instance.locality == Locality::Remote {
            if after == 0 {
                self.silences.remove(&(instance.heard, id));
            } else {
                self.silences.insert((instance.heard, id));
            }
        }
        let (profile, takes) = (instance.profile, instance.takes);
        if let Some(profile) = self.profiles.get_mut(&profile) {
            profile.free.remove(&(before, id));
            if after < takes {
                profile.free.insert((after, id));
            }
        }
        self.rematch(profile);
    }

    pub(super) fn set_head(&mut self, id: ProfileId, queue: QueueId, before: Option<Rank>, after: Option<Rank>) {
        let Some(profile) = self.profiles.get_mut(&id) else { return };
        if let Some(rank) = before {
            profile.heads.remove(&(rank, queue));
        }
        if let Some(rank) = after {
            profile.heads.insert((rank, queue));
        }
        self.rematch(id);
    }

    pub(super) fn heard(&mut self, id: InstanceId, now: Time) {
        let Some(instance) = self.instances.get_mut(&id).filter(|instance| instance.heard < now) else { return };
        if self.silences.remove(&(instance.heard, id)) {
            self.silences.insert((now, id));
        }
        instance.heard = now;
    }

    pub(super) fn silent(&self, heard_before: Time) -> Vec<InstanceId> {
        self.silences.iter().take_while(|(heard, _)| *heard < heard_before).map(|(_, id)| *id).collect()
    }

    pub(super) fn longest_silence(&self) -> Option<Time> {
        self.silences.first().map(|(heard, _)| *heard)
    }

    pub(super) fn profiles(&self) -> impl Iterator<Item = (ProfileId, &Profile)> {
        self.profiles.iter().map(|(id, profile)| (*id, profile))
    }

    pub(super) fn profile(&self, id: ProfileId) -> Option<&Profile> {
        self.profiles.get(&id)
    }

    pub(super) fn profile_of(&self, id: InstanceId) -> Option<ProfileId> {
        self.instances.get(&id).map(|instance| instance.profile)
    }

    pub(super) fn locality(&self, id: InstanceId) -> Option<Locality> {
        self.instances.get(&id).map(|instance| instance.locality)
    }

    pub(super) fn name(&self, id: InstanceId) -> Option<&Arc<str>> {
        self.instances.get(&id).map(|instance| &instance.name)
    }

    pub(super) fn instances(&self) -> impl Iterator<Item = InstanceId> + '_ {
        self.instances.keys().copied()
    }

    /// The instances of a version of an agent, in the order in which they joined.
    pub(super) fn instances_of(&self, namespace: &str, agent: &str, version: &str) -> Vec<InstanceId> {
        let is_it =
            |profile: &Profile| profile.namespace == namespace && profile.agent == agent && profile.version == version;
        let known = self.instances.iter();
        known.filter(|(_, it)| self.profiles.get(&it.profile).is_some_and(is_it)).map(|(id, _)| *id).collect()
    }

    pub(super) fn agents(&self) -> Vec<AgentStatus> {
        let mut found: BTreeMap<ProfileId, AgentStatus> = BTreeMap::new();
        for (id, profile) in &self.profiles {
            let (namespace, agent, version) =
                (profile.namespace.clone(), profile.agent.clone(), profile.version.clone());
            found.insert(*id, AgentStatus { namespace, agent, version, instances: 0, held: 0, credit: 0 });
        }
        for instance in self.instances.values() {
            if let Some(status) = found.get_mut(&instance.profile) {
                status.instances += 1;
                status.held += instance.held.len();
                status.credit += instance.takes.saturating_sub(instance.held.len());
            }
        }
        found.into_values().collect()
    }
}
