//! Scores the research assistant on Debian's documentation: `evaluate_documentation DIR [--model=DIR]
//! [--practice | --scored | --all] [--verbose]`.
//!
//! For: knowing how it does on documents that others wrote. Not for: showing the questions of the scored half, which
//! the author of a change to the rules should not read; of these only the figures are printed.
//! Invariant: the figures depend on the packages, the questions and the code alone.

use std::path::Path;
use std::process::ExitCode;

use consort_agents_research::research::ResearchConfig;
use consort_agents_research::research::evaluation::documentation::{Half, Verdict, evaluate};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| args.iter().any(|a| a == name);
    let Some(packages) = args.iter().find(|a| !a.starts_with("--")) else {
        eprintln!("usage: evaluate_documentation DIR [--model=DIR] [--practice | --scored | --all] [--verbose]");
        return ExitCode::from(2);
    };
    let half = match () {
        () if has("--all") => None,
        () if has("--scored") => Some(Half::Scored),
        () => Some(Half::Work),
    };
    let questions = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../evaluation/debian");
    let questions = questions.join(if has("--practice") { "practice.jsonl" } else { "questions.jsonl" });
    let model = args.iter().find_map(|a| a.strip_prefix("--model=")).map(Into::into);
    let cache = Some(Path::new(packages).join("cache"));
    let config = ResearchConfig { cache, model, ..ResearchConfig::default() };
    let table = match evaluate(&questions, Path::new(packages), half, &config) {
        Ok(table) => table,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let passed = |v: Verdict| matches!(v, Verdict::Right | Verdict::Honest);
    for result in table.results.iter().filter(|r| r.half == Half::Work && !(passed(r.verdict) && r.verified)) {
        let answer: String = result.answer.chars().take(400).collect();
        println!("{} {:?} ({}) {}\n    {answer}", result.id, result.verdict, result.strength, result.question);
    }
    if has("--verbose") {
        for result in table.results.iter().filter(|r| r.half == Half::Work) {
            println!("{:>4} {:?} {} {}", result.strength, result.verdict, result.kind, result.question);
        }
    }
    print!("{table}");
    ExitCode::SUCCESS
}
