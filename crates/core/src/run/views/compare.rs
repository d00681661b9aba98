//! Two runs side by side: where their steps differ.
//!
//! For: forks and regressions. Not for: comparing definitions.
//! Invariant: a pure function of the two lists of steps; steps are matched by path.

use std::collections::{BTreeMap, BTreeSet};

use consort_types::{Payload, RunId, Span};
use serde::Serialize;

use crate::run::{rows::step::StepState, views::steps::StepView};

/// How a step differs between two runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// The step's path.
    pub path: String,
    /// Its state in the first run; `None` where that has no such step.
    pub left: Option<StepState>,
    /// Its state in the second run.
    pub right: Option<StepState>,
    /// Whether the outputs are equal.
    pub same_output: bool,
    /// How long it took in the first run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_took: Option<Span>,
    /// How long it took in the second run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub right_took: Option<Span>,
}

/// Two runs compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The first run.
    pub left: RunId,
    /// The second run.
    pub right: RunId,
    /// Steps with the same end and equal outputs.
    pub same: usize,
    /// Steps that differ, by path.
    pub differences: Vec<Difference>,
}

/// Compares the steps of two runs.
pub fn compare(left: (RunId, &[StepView]), right: (RunId, &[StepView])) -> Comparison {
    let by_path = |steps: &[StepView]| -> BTreeMap<String, StepView> {
        steps.iter().map(|step| (step.path.clone(), step.clone())).collect()
    };
    let (lefts, rights) = (by_path(left.1), by_path(right.1));
    let paths: BTreeSet<&String> = lefts.keys().chain(rights.keys()).collect();
    let mut comparison = Comparison { left: left.0, right: right.0, same: 0, differences: Vec::new() };
    for path in paths {
        let (l, r) = (lefts.get(path), rights.get(path));
        let output = |step: Option<&StepView>| step.and_then(|step| step.output.clone()).unwrap_or(Payload::null());
        let same_output = output(l) == output(r);
        let state = |step: Option<&StepView>| step.map(|step| step.state);
        if same_output && state(l) == state(r) {
            comparison.same += 1;
            continue;
        }
        let took = |step: Option<&StepView>| step.and_then(|step| Some(step.ended?.since(step.began?)));
        comparison.differences.push(Difference {
            path: path.clone(),
            left: state(l),
            right: state(r),
            same_output,
            left_took: took(l),
            right_took: took(r),
        });
    }
    comparison
}
