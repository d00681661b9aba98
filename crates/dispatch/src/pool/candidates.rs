//! Which free worker instance can take the task of which queue.
//!
//! For: candidate sets, the heads of the queues that choose from them, and the matches of both. Not for: whether an
//! instance is free, or fits (the pool decides that).
//! Invariant: a set has a match exactly while it is open and has both a free instance and a head.

use std::collections::{BTreeMap, BTreeSet};

use super::agents::WorkerClassId;
use crate::{
    model::{QueueId, WorkerInstanceId},
    queues::HeadKey,
    route::{Target, has_labels},
};

/// Instances of one class that some queues choose from. Numbers are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CandidateSetId(u64);

/// The rank of a free instance, the lowest goes first: the share of its capacity that is used, in thousandths, how slow
/// it is, and its number.
pub(crate) type Rank = (u32, u8, WorkerInstanceId);

/// Which instances of a class.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Choice {
    All,
    Labels(BTreeMap<String, String>),
    One(WorkerInstanceId),
}

impl Choice {
    pub(crate) fn of(target: &Target) -> Self {
        match (target.pinned, &target.selector) {
            (Some(instance), _) => Self::One(instance),
            (None, Some(selector)) if !selector.labels.is_empty() => Self::Labels(selector.labels.clone()),
            _ => Self::All,
        }
    }

    pub(crate) fn fits(&self, id: WorkerInstanceId, labels: &BTreeMap<String, String>) -> bool {
        match self {
            Self::All => true,
            Self::Labels(wanted) => has_labels(labels, wanted),
            Self::One(one) => *one == id,
        }
    }
}

#[derive(Debug)]
pub(crate) struct CandidateSet {
    pub(crate) class: WorkerClassId,
    pub(crate) choice: Choice,
    /// Whether the limit of its agent admits more.
    is_open: bool,
    free: BTreeSet<Rank>,
    /// The heads of the queues that choose from it.
    heads: BTreeSet<(HeadKey, QueueId)>,
    /// Queues that choose from it.
    queues: usize,
    /// Its entry among the matches.
    matched: Option<(HeadKey, QueueId)>,
}

/// What a queue chooses from.
#[derive(Debug, Default)]
struct Link {
    sets: BTreeSet<CandidateSetId>,
    /// The head of the queue in each of the sets.
    head: Option<HeadKey>,
}

/// All candidate sets.
#[derive(Debug, Default)]
pub(crate) struct CandidateSets {
    all: BTreeMap<CandidateSetId, CandidateSet>,
    links: BTreeMap<QueueId, Link>,
    /// Sets with a match, by the head that goes first.
    matches: BTreeSet<(HeadKey, QueueId, CandidateSetId)>,
    added: u64,
}

impl CandidateSets {
    pub(super) fn add(
        &mut self,
        class: WorkerClassId,
        choice: Choice,
        is_open: bool,
        free: BTreeSet<Rank>,
    ) -> CandidateSetId {
        self.added += 1;
        let id = CandidateSetId(self.added);
        let (heads, queues, matched) = (BTreeSet::new(), 0, None);
        self.all.insert(id, CandidateSet { class, choice, is_open, free, heads, queues, matched });
        id
    }

    /// A queue chooses from a set from now on.
    pub(super) fn link(&mut self, queue: QueueId, id: CandidateSetId) {
        let Some(set) = self.all.get_mut(&id) else { return };
        let link = self.links.entry(queue).or_default();
        if link.sets.insert(id) {
            set.queues += 1;
            set.heads.extend(link.head.map(|head| (head, queue)));
            rematch(&mut self.matches, id, set);
        }
    }

    /// A queue no longer chooses from a set. Returns the set where no queue does: it is removed.
    pub(super) fn unlink(&mut self, queue: QueueId, id: CandidateSetId) -> Option<CandidateSet> {
        let set = self.all.get_mut(&id)?;
        let link = self.links.get_mut(&queue)?;
        if !link.sets.remove(&id) {
            return None;
        }
        set.queues -= 1;
        if let Some(head) = link.head {
            set.heads.remove(&(head, queue));
        }
        rematch(&mut self.matches, id, set);
        if set.queues > 0 { None } else { self.all.remove(&id) }
    }

    /// A queue is removed, after it was unlinked from each of its sets.
    pub(super) fn remove_queue(&mut self, queue: QueueId) {
        self.links.remove(&queue);
    }

    /// The head of a queue has changed.
    pub(super) fn set_head(&mut self, queue: QueueId, head: Option<HeadKey>) {
        let link = self.links.entry(queue).or_default();
        let before = std::mem::replace(&mut link.head, head);
        if before == head {
            return;
        }
        for id in &link.sets {
            let Some(set) = self.all.get_mut(id) else { continue };
            if let Some(head) = before {
                set.heads.remove(&(head, queue));
            }
            set.heads.extend(head.map(|head| (head, queue)));
            rematch(&mut self.matches, *id, set);
        }
    }

    /// An instance is free with another rank, or (`None`) not free.
    pub(super) fn set_rank(&mut self, id: CandidateSetId, before: Option<Rank>, after: Option<Rank>) {
        let Some(set) = self.all.get_mut(&id) else { return };
        if let Some(rank) = before {
            set.free.remove(&rank);
        }
        set.free.extend(after);
        rematch(&mut self.matches, id, set);
    }

    pub(super) fn set_open(&mut self, id: CandidateSetId, is_open: bool) {
        if let Some(set) = self.all.get_mut(&id) {
            set.is_open = is_open;
            rematch(&mut self.matches, id, set);
        }
    }

    /// The queue whose head goes next, of those for which an instance is free.
    pub(crate) fn next_queue(&self) -> Option<QueueId> {
        self.matches.first().map(|(_, queue, _)| *queue)
    }

    /// The sets that a queue chooses from.
    pub(crate) fn of_queue(&self, queue: QueueId) -> impl ExactSizeIterator<Item = CandidateSetId> + '_ {
        const NONE: &BTreeSet<CandidateSetId> = &BTreeSet::new();
        self.links.get(&queue).map_or(NONE, |link| &link.sets).iter().copied()
    }

    /// The queues that choose from one of these sets.
    pub(super) fn linked_to(&self, sets: &BTreeSet<CandidateSetId>) -> Vec<QueueId> {
        let linked = self.links.iter().filter(|(_, link)| !link.sets.is_disjoint(sets));
        linked.map(|(queue, _)| *queue).collect()
    }

    pub(crate) fn get(&self, id: CandidateSetId) -> Option<&CandidateSet> {
        self.all.get(&id)
    }

    /// The first free instance of an open set.
    pub(crate) fn first_free(&self, id: CandidateSetId) -> Option<Rank> {
        self.all.get(&id).filter(|set| set.is_open)?.free.first().copied()
    }
}

fn rematch(matches: &mut BTreeSet<(HeadKey, QueueId, CandidateSetId)>, id: CandidateSetId, set: &mut CandidateSet) {
    let has_match = set.is_open && !set.free.is_empty();
    let wanted = if has_match { set.heads.first().copied() } else { None };
    if wanted == set.matched {
        return;
    }
    if let Some((key, queue)) = std::mem::replace(&mut set.matched, wanted) {
        matches.remove(&(key, queue, id));
    }
    if let Some((key, queue)) = wanted {
        matches.insert((key, queue, id));
    }
}
