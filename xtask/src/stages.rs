//! The stages of `cargo xtask test`, as a table.
//!
//! For: what the gate consists of, in what order, and why. Not for: how a stage is run (that is `gate`).
//! Invariant: a stage needs no standard input, writes only into the target folder and temporary folders, and can be
//! run alone once the stage `build` has run.

use std::fmt::Write as _;
use std::time::Duration;

use crate::project::Project;
use crate::{docs, tidy};

/// What a stage runs.
#[derive(Clone, Copy)]
pub(crate) enum Action {
    /// Cargo, with these arguments.
    Cargo(&'static [&'static str]),
    /// A program of the workspace, from the folder of the gate's profile, with its arguments.
    Binary(&'static [&'static str]),
    /// A script, from the root, with its arguments.
    Script(&'static [&'static str]),
    /// A chore of `cargo xtask`, with these arguments, inside this process: true when there is nothing to mend.
    Own(&'static [&'static str], fn(&Project) -> Result<bool, String>),
}

/// One stage of the gate.
pub(crate) struct Stage {
    /// Its name, for `--only`.
    pub(crate) name: &'static str,
    /// What it shows.
    pub(crate) why: &'static str,
    /// What it runs.
    pub(crate) action: Action,
    /// After this time it is stopped and counts as failed. Only for single programs: what cargo starts is not stopped
    /// with it.
    pub(crate) time_max: Option<Duration>,
    /// Whether the stages behind it would only repeat its failure.
    pub(crate) others_need_it: bool,
}

const fn stage(name: &'static str, why: &'static str, action: Action) -> Stage {
    Stage { name, why, action, time_max: None, others_need_it: false }
}

impl Stage {
    const fn needed(self) -> Self {
        Self { others_need_it: true, ..self }
    }

    const fn within(self, seconds: u64) -> Self {
        Self { time_max: Some(Duration::from_secs(seconds)), ..self }
    }
}

/// The profile that everything in the gate is built with, and the folder of its programs.
pub(crate) const PROFILE: &str = "gate";

/// The gate. Clippy runs in the gate's profile too: build scripts and procedural macros are then compiled once for
/// lints, tests and programs. Measured on the dependencies of `consort-sdk`, lints and then a release build: 64 CPU
/// seconds, against 159 with lints in the dev profile. Programs are started from the profile's folder and not by `cargo
/// run -p`, which may choose other features and compile dependencies again; a single test target is best chosen by
/// `--workspace --test NAME` for the same reason.
pub(crate) const STAGES: &[Stage] = &[
    stage("setup", "what the build needs is installed", Action::Script(&["scripts/setup"])).needed(),
    stage("fmt", "the source has one form", Action::Cargo(&["fmt", "--all", "--check"])),
    stage("tidy", "headers, lengths, arrows, leftovers, links", Action::Own(&["tidy"], tidy::report)),
    stage("docs", "the generated reference is current", Action::Own(&["docs", "--check"], docs::check)),
    stage(
        "clippy",
        "no warning in any target",
        Action::Cargo(&["clippy", "--workspace", "--all-targets", "--profile", PROFILE, "--", "-D", "warnings"]),
    ),
    stage(
        "build",
        "every program and example is built",
        Action::Cargo(&["build", "--workspace", "--profile", PROFILE, "--bins", "--examples"]),
    )
    .needed(),
    stage("sdks", "the Python and TypeScript SDKs, and the adapters", Action::Script(&["scripts/sdks"])).within(1200),
    stage(
        "tests",
        "unit, integration and documentation tests",
        Action::Cargo(&["test", "--workspace", "--profile", PROFILE, "--no-fail-fast"]),
    ),
    stage("evaluate", "research answers, and cites the right place", Action::Binary(&["examples/evaluate"]))
        .within(300),
    stage("sim", "the laws hold under every fault, seed by seed", Action::Binary(&["consort-sim", "--seeds", "100"]))
        .within(600),
    stage("fuzz", "hostile bytes are refused, some seconds for each target", Action::Script(&["scripts/fuzz", "5"]))
        .within(600),
    stage(
        "bench",
        "every workload runs; figures are for release builds",
        Action::Binary(&["consort-bench", "--quick"]),
    )
    .within(600),
];

/// The stages as `--list` shows them.
pub(crate) fn listing() -> String {
    let mut text = String::new();
    for stage in STAGES {
        let _ = writeln!(text, "{:<10} {:<45} {}", stage.name, stage.why, shown(stage.action));
    }
    text
}

/// The command as a person would type it.
pub(crate) fn shown(action: Action) -> String {
    let (start, args) = match action {
        Action::Cargo(args) => ("cargo ", args),
        Action::Binary(args) => ("target/gate/", args),
        Action::Script(args) => ("", args),
        Action::Own(args, _) => ("cargo xtask ", args),
    };
    format!("{start}{}", args.join(" "))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_listed_with_their_command() {
        let names: BTreeSet<&str> = STAGES.iter().map(|stage| stage.name).collect();
        assert_eq!(names.len(), STAGES.len());
        let listing = listing();
        assert_eq!(listing.lines().count(), STAGES.len());
        assert!(listing.contains("cargo fmt --all --check"), "{listing}");
    }

    #[test]
    fn only_single_programs_have_a_time_limit() {
        for stage in STAGES.iter().filter(|stage| stage.time_max.is_some()) {
            assert!(matches!(stage.action, Action::Binary(_) | Action::Script(_)), "{}", stage.name);
        }
    }
}
