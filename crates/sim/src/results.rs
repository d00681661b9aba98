//! The runs that clients want, and the results that they must give.
//!
//! For: one run for each idempotency key, and results equal to those of an undisturbed run. Not for: starting runs
//! (see `actors::starter`).
//! Invariant: a run is compared only where nothing but its input decides how it ends.

use consort_types::{Error, RunId};
use serde_json::json;

use crate::{
    oracle::{Fold, Reference},
    plan::{Checked, Figures, Law, Violation},
    random::Random,
    roster::NAMESPACES,
    workflows::Workflow,
};

/// A run that a client wants.
#[derive(Debug)]
pub(crate) struct WantedRun {
    pub(crate) namespace: usize,
    pub(crate) workflow: String,
    pub(crate) input: String,
    pub(crate) key: String,
    pub(crate) run: Option<RunId>,
    /// Nothing but its input decides its result.
    pure: bool,
    /// It may be deleted, so the same key may start another run.
    pub(crate) deletable: bool,
}

/// What is expected of the runs that clients start.
pub(crate) struct ResultOracle {
    pub(crate) wanted: Vec<WantedRun>,
    /// Whether runs that have ended may be deleted by the engine.
    pub(crate) retention: bool,
    reference: Reference,
}

impl ResultOracle {
    pub(crate) fn new(wanted: Vec<WantedRun>, reference: Reference) -> Self {
        Self { wanted, retention: false, reference }
    }

    /// Wanted runs without an acknowledged start.
    pub(crate) fn unstarted(&self) -> usize {
        self.wanted.iter().filter(|wanted| wanted.run.is_none()).count()
    }

    /// A start was acknowledged: one run for each key (law 1).
    pub(crate) fn started(&mut self, index: usize, run: RunId) -> Checked {
        let wanted = &mut self.wanted[index];
        let before = wanted.run.replace(run);
        if let Some(before) = before.filter(|before| *before != run)
            && !wanted.deletable
            && !self.retention
        {
            let what = format!("key `{}` had started run {before}, and now has started {run}", wanted.key);
            return Err(Violation::of(1, what));
        }
        Ok(())
    }

    /// The wanted run at the top of a run's tree is disturbed, and no longer compared.
    pub(crate) fn mark(&mut self, fold: &Fold, run: RunId, deletable: bool) {
        let top = fold.top(run);
        let Some(key) = fold.started.get(&top) else { return };
        for wanted in self.wanted.iter_mut().filter(|wanted| wanted.key == *key) {
            wanted.pure = false;
            wanted.deletable |= deletable;
        }
    }

    /// Runs that ended gave what they give undisturbed.
    pub(crate) fn compare_ended(&mut self, fold: &mut Fold, figures: &mut Figures) -> Checked {
        for ended in std::mem::take(&mut fold.ended) {
            figures.runs += 1;
            let Some(key) = fold.started.get(&ended.run) else { continue };
            let Some(wanted) = self.wanted.iter().find(|wanted| wanted.key == *key && wanted.pure) else {
                continue;
            };
            if fold.worn_out.contains(&ended.run) {
                figures.fault("tasks that wore out");
                continue;
            }
            let broken = |error: Error| Violation { law: Law::Result, what: error.to_string() };
            let output = ended.output.as_ref().map(|output| fold.text(output)).transpose().map_err(broken)?;
            let expected = self.reference.result(&wanted.workflow, &wanted.input).map_err(broken)?;
            figures.compared += 1;
            if (ended.status, &output) != (expected.0, &expected.1) {
                let what = format!(
                    "run {} of `{}` with {:.200} ended as {:?} {output:.400?}, undisturbed it gives {:?} {:.400?}",
                    ended.run, wanted.workflow, wanted.input, ended.status, expected.0, expected.1
                );
                return Err(Violation { law: Law::Result, what });
            }
        }
        Ok(())
    }
}

/// Runs drawn by chance of these workflows, of which the last is the long one.
pub(crate) fn draw_wanted(random: &mut Random, workflows: &[Workflow]) -> Vec<WantedRun> {
    let mut wanted = Vec::new();
    for number in 0..random.between(5, 14) {
        let long = random.chance(60);
        let at = if long { workflows.len() - 1 } else { random.below(workflows.len() as u64 - 1) as usize };
        let namespace = random.below(2) as usize;
        let mut input = json!({ "ns": NAMESPACES[namespace], "n": random.below(10) });
        if random.chance(60) {
            input["pad"] = json!("y".repeat(34_000));
        }
        if random.chance(300) {
            input["items"] = json!((0..random.below(6)).collect::<Vec<_>>());
        }
        wanted.push(WantedRun {
            namespace,
            workflow: workflows[at].name.clone(),
            input: input.to_string(),
            key: format!("{}-{number}", if long { "long" } else { "key" }),
            run: None,
            pure: workflows[at].pure,
            deletable: false,
        });
    }
    wanted
}
