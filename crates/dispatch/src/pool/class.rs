//! Worker classes: instances that declare the same.
//!
//! For: what a class can do, and which targets it serves. Not for: single instances.
//! Invariant: a class that an operator drains serves nothing but tasks whose journals it wrote: they have nowhere else to
//! go.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use consort_types::registry::AgentState;

use super::{
    agents::AgentId,
    candidates::{CandidateSetId, Choice},
};
use crate::{model::WorkerInstanceId, route::Target, stats::StatsId};

#[derive(Debug)]
pub(crate) struct WorkerClass {
    pub(crate) namespace: Arc<str>,
    pub(crate) agent: Arc<str>,
    pub(crate) agent_id: AgentId,
    pub(crate) version: Arc<str>,
    pub(crate) capabilities: BTreeSet<String>,
    /// What an operator has set for the version.
    pub(crate) state: AgentState,
    pub(super) members: BTreeSet<WorkerInstanceId>,
    pub(super) sets: BTreeMap<Choice, CandidateSetId>,
    /// The statistics by capability, once they were looked up.
    pub(super) stats: BTreeMap<String, Option<StatsId>>,
}

impl WorkerClass {
    /// Whether it can do the tasks of a target, whatever an operator has set.
    pub(crate) fn can(&self, target: &Target) -> bool {
        *self.namespace == *target.namespace
            && target.agent.as_ref().is_none_or(|agent| **agent == *self.agent)
            && target.written_by.as_ref().is_none_or(|writer| *writer.0 == *self.agent && *writer.1 == *self.version)
            && target.capability.as_ref().is_none_or(|capability| self.capabilities.contains(capability))
    }

    /// Whether it gets the tasks of a target.
    pub(crate) fn serves(&self, target: &Target) -> bool {
        let named = target.selector.as_ref().is_some_and(|selector| selector.version.is_some());
        let fits = target.selector.as_ref().is_none_or(|selector| selector.fits_version(&self.version));
        let there = target.pinned.is_none_or(|instance| self.members.contains(&instance));
        let goes_on = target.written_by.is_some();
        let wanted = goes_on || (!self.state.draining && (self.state.weight > 0 || named));
        self.can(target) && (fits || goes_on) && there && wanted
    }
}
