//! The project's own chores: `cargo xtask tidy|shape|test|bench|sim|powercut|docs`.
//!
//! For: what a person or CI runs on the project as a whole. Not for: anything that ships.
//! Invariant: every chore runs from any folder of the workspace, needs no standard input, and exits with 1 when it
//! found something wrong and with 2 when it was called wrongly.

mod docs;
mod gate;
mod project;
mod rust;
mod stages;
mod tidy;

use std::process::ExitCode;

use project::Project;

const USAGE: &str = "\
usage: cargo xtask COMMAND

commands:
  tidy                 check the rules that the compiler does not know
  shape                list the types with the most methods, largest first
  test [--only STAGE]  run the whole gate, or one stage of it (may be given more than once)
  test --list          list the stages
  bench [ARGS]         run the benchmarks in release; ARGS go to consort-bench
  sim [ARGS]           run the simulator in release; ARGS go to consort-sim
  powercut [CUTS]      cut the power of a file system under the release binary; needs root and loop devices
  docs [--check]       write the generated reference pages, or fail when they have drifted
";

/// How a chore ended, short of an error in itself.
enum Outcome {
    Good,
    FoundProblems,
    BadUsage,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(Outcome::Good) => ExitCode::SUCCESS,
        Ok(Outcome::FoundProblems) => ExitCode::from(1),
        Ok(Outcome::BadUsage) => {
            eprint!("{USAGE}");
            ExitCode::from(2)
        }
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::from(1)
        }
    }
}

fn run(args: &[String]) -> Result<Outcome, String> {
    let Some((command, rest)) = args.split_first() else {
        return Ok(Outcome::BadUsage);
    };
    let project = Project::find()?;
    let flags: Vec<&str> = rest.iter().map(String::as_str).collect();
    match (command.as_str(), flags.as_slice()) {
        ("help" | "--help" | "-h", _) => {
            print!("{USAGE}");
            Ok(Outcome::Good)
        }
        ("tidy", []) => tidy::report(&project).map(outcome),
        ("shape", []) => tidy::print_shape(&project).map(|()| Outcome::Good),
        ("test", ["--list"]) => {
            print!("{}", stages::listing());
            Ok(Outcome::Good)
        }
        ("test", flags) => match gate::choose(flags) {
            Ok(chosen) => gate::run(&project, &chosen).map(outcome),
            Err(message) => {
                eprintln!("error: {message}");
                Ok(Outcome::BadUsage)
            }
        },
        ("bench", flags) => gate::run_binary(&project, "consort-bench", flags).map(outcome),
        ("sim", flags) => gate::run_binary(&project, "consort-sim", flags).map(outcome),
        ("powercut", flags) => {
            gate::build_binary(&project, "consort")?;
            gate::run_binary(&project, "consort-powercut", flags).map(outcome)
        }
        ("docs", []) => docs::write(&project).map(|()| Outcome::Good),
        ("docs", ["--check"]) => docs::check(&project).map(outcome),
        _ => Ok(Outcome::BadUsage),
    }
}

fn outcome(good: bool) -> Outcome {
    if good { Outcome::Good } else { Outcome::FoundProblems }
}
