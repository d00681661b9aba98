//! Scores the research assistant on the evaluation set: `evaluate [--held] [--json]`.
//!
//! For: knowing whether a change makes answers better. Not for: timing.
//! Invariant: the figures depend on the corpus, the questions and the code alone.

use std::process::ExitCode;

use consort_agents_research::research::evaluation::{Set, evaluate};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let held = args.iter().any(|a| a == "--held");
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../evaluation");
    let scores = match evaluate(&root) {
        Ok(scores) => scores,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    if args.iter().any(|a| a == "--json") {
        println!("{}", serde_json::to_string(&scores.summary()).unwrap_or_default());
        return ExitCode::SUCCESS;
    }
    for result in scores.results.iter().filter(|r| !r.passed() && (held || r.set == Set::Tune)) {
        println!("{} {}\n    {}", result.id, result.question, result.why());
    }
    print!("{scores}");
    ExitCode::SUCCESS
}
