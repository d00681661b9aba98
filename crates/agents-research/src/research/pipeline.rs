//! All steps of a research run in one call.
//!
//! For: trials, evaluation and tests. Not for: real runs, where the engine records each step.
//! Invariant: the steps and their order are those of `workflows/research.yaml`.

use consort_types::Result;
use serde::Serialize;

use super::config::Observer;
use super::index::Library;
use super::model::{
    AnalyzeInput, Plan, PlanInput, QueryInput, Report, Review, ReviewInput, SearchInput, Sources, ValidateInput,
    WriteInput,
};

/// Score at which no further round is made.
const GOOD_ENOUGH: f64 = 0.8;
/// Rounds of writing and reviewing.
const ROUNDS_MAX: u32 = 3;

/// What a run ends with.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The plan.
    pub plan: Plan,
    /// The last report.
    pub report: Report,
    /// Its review.
    pub review: Review,
    /// Rounds of writing and reviewing.
    pub rounds: u32,
}

/// Answers a question from sources.
pub fn run(library: &Library, question: &str, sources: &str, observer: &dyn Observer) -> Result<Outcome> {
    let plan = super::plan(&PlanInput { question: question.to_owned() })?;
    let mut results = Vec::new();
    for query in &plan.queries {
        let query = QueryInput::Full(Box::new(query.clone()));
        results.push(super::search(
            library,
            &SearchInput { query, sources: Sources::One(sources.to_owned()) },
            observer,
        )?);
    }
    let evidence = super::validate(&ValidateInput { plan: plan.clone(), results })?;
    let analysis = super::analyze(&AnalyzeInput { plan: plan.clone(), evidence: evidence.clone() })?;
    let mut feedback = None;
    let mut rounds = 0;
    loop {
        rounds += 1;
        let (plan, evidence, analysis) = (plan.clone(), evidence.clone(), analysis.clone());
        let report = super::write(&WriteInput { plan: plan.clone(), evidence, analysis, feedback })?;
        let review = super::review(library, &ReviewInput { plan: plan.clone(), report: report.clone() }, observer)?;
        if review.score >= GOOD_ENOUGH || rounds >= ROUNDS_MAX {
            return Ok(Outcome { plan, report, review, rounds });
        }
        feedback = Some(review);
    }
}
