//! One list of scenarios for every SDK, judged from outside.
//!
//! For: showing that an agent behaves the same whatever language it is written in. Not for: the inside of an SDK (its
//! own tests have that).
//! Invariant: a scenario does not know which SDK it runs against; the judge sees only what any client can see.

pub mod deploys;
pub mod fire;
pub mod ledger;
pub mod run;
pub mod scenario;
pub mod sdk;
pub mod stage;

use std::fmt::Write as _;

use parking_lot::Mutex;
use sdk::Sdk;

/// A scenario's name, and its outcome with each SDK.
pub type Row = (String, Vec<(Sdk, Result<(), String>)>);

/// Scenarios that are run at once: most of them wait most of the time.
const AT_ONCE: usize = 6;

/// Runs these scenarios (all, where none is named) against every SDK.
///
/// # Errors
/// Where the list is not understood.
pub fn all_outcomes(names: &[String]) -> Result<Vec<Row>, String> {
    let scenarios = scenario::all()?.into_iter().filter(|one| names.is_empty() || names.contains(&one.name));
    let scenarios: Vec<_> = scenarios.collect();
    let outcomes: Vec<Vec<_>> = Sdk::ALL.iter().map(|sdk| outcomes(&scenarios, *sdk)).collect();
    let row = |at: usize| Sdk::ALL.iter().zip(&outcomes).map(|(sdk, all)| (*sdk, all[at].clone())).collect();
    Ok(scenarios.iter().enumerate().map(|(at, one)| (one.name.clone(), row(at))).collect())
}

/// Runs scenarios against one SDK, some at once; returns the outcomes, in their order.
pub fn outcomes(scenarios: &[scenario::Scenario], sdk: Sdk) -> Vec<Result<(), String>> {
    let next = Mutex::new(0..scenarios.len());
    let done = Mutex::new(vec![Err("it was not run".to_owned()); scenarios.len()]);
    std::thread::scope(|threads| {
        for _ in 0..AT_ONCE.min(scenarios.len()) {
            threads.spawn(|| {
                loop {
                    let at = next.lock().next();
                    let Some(at) = at else { return };
                    let outcome = run::run(&scenarios[at], sdk);
                    done.lock()[at] = outcome;
                }
            });
        }
    });
    done.into_inner()
}

/// Every scenario, every SDK, as a Markdown table.
pub fn table(rows: &[Row]) -> String {
    let mut text = String::from("| scenario |");
    let Some((_, first)) = rows.first() else { return text };
    for (sdk, _) in first {
        let _ = write!(text, " {} |", sdk.name());
    }
    text.push_str("\n|---|");
    text.push_str(&"---|".repeat(first.len()));
    for (scenario, outcomes) in rows {
        let _ = write!(text, "\n| {scenario} |");
        for (_, outcome) in outcomes {
            text.push_str(if outcome.is_ok() { " ✓ |" } else { " ✗ |" });
        }
    }
    text.push('\n');
    text
}
