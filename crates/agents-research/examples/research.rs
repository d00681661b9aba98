//! Runs the research pipeline in one process, without the engine: `research SOURCES QUESTION… [--json] [--cache DIR] [--model DIR] [--pdf-child]`.
//!
//! For: trying questions while working on the agents. Not for: users, who run the workflow.
//! Invariant: the steps and their order are those of `workflows/research.yaml`.

use std::path::PathBuf;
use std::process::ExitCode;

use consort_agents_research::research::{Library, Outcome, ResearchConfig, Silent, pdf_child_main, run};

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    if let [command, path] = args.as_slice()
        && command == "internal-extract-pdf"
    {
        return pdf_child_main(path.as_ref());
    }
    let in_child = take_flag(&mut args, "--pdf-child");
    let json = take_flag(&mut args, "--json");
    let cache = take_value(&mut args, "--cache");
    let model = take_value(&mut args, "--model");
    if args.len() < 2 {
        eprintln!("usage: research SOURCES QUESTION… [--json] [--cache DIR] [--model DIR] [--pdf-child]");
        return ExitCode::from(2);
    }
    let sources = args.remove(0);
    let pdf_executable = std::env::current_exe().ok().filter(|_| in_child);
    let model = model.map(PathBuf::from);
    let library = Library::new(ResearchConfig { cache: cache.map(PathBuf::from), pdf_executable, model });
    for question in &args {
        match run(&library, question, &sources, &Silent) {
            Ok(outcome) => print(&outcome, json),
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

fn print(outcome: &Outcome, json: bool) {
    if json {
        println!("{}", serde_json::to_string_pretty(outcome).unwrap_or_default());
    } else {
        println!("{}\n<!-- score {}, {} rounds -->\n", outcome.report.markdown, outcome.review.score, outcome.rounds);
        for problem in &outcome.review.problems {
            println!("<!-- {}: {} -->", problem.kind, problem.message);
        }
    }
}

fn take_flag(args: &mut Vec<String>, name: &str) -> bool {
    let before = args.len();
    args.retain(|a| a != name);
    args.len() < before
}

fn take_value(args: &mut Vec<String>, name: &str) -> Option<String> {
    let at = args.iter().position(|a| a == name)?;
    args.remove(at);
    (at < args.len()).then(|| args.remove(at))
}
