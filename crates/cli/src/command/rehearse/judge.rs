//! What a test expected, held against what came of it.
//!
//! For: the list of what is wrong. Not for: printing it.
//! Invariant: everything that is expected is compared, also behind the first difference.

use consort_api::{ErrorDetail, inside::Step, runs::RunStatus};
use consort_server::Called;
use serde_json::Value;

use super::{
    diff::{self, short},
    file::{Action, Expect, ExpectedStep},
    play::Played,
};

/// Something that is not as expected: what it is about, and the differences.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) about: String,
    pub(super) lines: Vec<String>,
}

/// What is not as expected.
pub(super) fn judge(expect: &Expect, played: &Played) -> Vec<Finding> {
    let mut findings = Findings(Vec::new());
    findings.status(expect, played);
    let output = read(played.run.output.as_ref());
    findings.document("output", expect.output.as_ref(), expect.output_has.as_ref(), output.as_ref());
    if let Some(expected) = &expect.error {
        findings.error("error", expected, played.run.summary.error.as_ref());
    }
    for (path, expected) in &expect.steps {
        findings.step(path, expected, played);
    }
    findings.calls(expect, &played.called);
    findings.left(&played.left);
    if !played.unknown.is_empty() {
        findings.add("mocks", played.unknown.clone());
    }
    findings.0
}

fn read(document: Option<&consort_api::Document>) -> Option<Value> {
    document.and_then(|document| document.read("output").ok())
}

struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, about: impl Into<String>, lines: Vec<String>) {
        if !lines.is_empty() {
            self.0.push(Finding { about: about.into(), lines });
        }
    }

    fn status(&mut self, expect: &Expect, played: &Played) {
        let expected = expect.status.as_ref().unwrap_or(&RunStatus::Completed);
        let found = &played.run.summary.status;
        if expected == found {
            return;
        }
        let mut lines = vec![format!("expected {expected}, found {found}")];
        lines.extend(played.run.summary.error.as_ref().map(shown));
        let failed = |step: &&Step| step.error.is_some();
        lines.extend(played.steps.iter().filter(failed).map(|step| {
            let error = step.error.as_ref().map(shown).unwrap_or_default();
            format!("step `{}` {}: {error}", step.path, step.state)
        }));
        lines.extend(played.waits.iter().cloned());
        self.add("status", lines);
    }

    fn document(&mut self, about: &str, whole: Option<&Value>, part: Option<&Value>, found: Option<&Value>) {
        for (expected, compare) in [(whole, diff::equal as fn(_, _) -> _), (part, diff::has)] {
            match (expected, found) {
                (Some(expected), Some(found)) => self.add(about, compare(expected, found)),
                (Some(expected), None) => self.add(about, vec![format!("expected {}, found none", short(expected))]),
                (None, _) => {}
            }
        }
    }

    fn error(&mut self, about: &str, expected: &str, found: Option<&ErrorDetail>) {
        match found {
            Some(error) if error.code == expected || error.message.contains(expected) => {}
            Some(error) => self.add(about, vec![format!("expected `{expected}`, found {}", shown(error))]),
            None => self.add(about, vec![format!("expected `{expected}`, found none")]),
        }
    }

    fn step(&mut self, path: &str, expected: &ExpectedStep, played: &Played) {
        let about = |part: &str| format!("step `{path}`{part}");
        let Some(step) = played.steps.iter().find(|step| step.path == path) else {
            let paths: Vec<&str> = played.steps.iter().map(|step| step.path.as_str()).collect();
            return self.add(about(""), vec![format!("there is none; there are: {}", paths.join(", "))]);
        };
        if let Some(status) = expected.status.as_ref().filter(|status| **status != step.state) {
            let error = step.error.as_ref().map(|error| format!(" ({})", shown(error))).unwrap_or_default();
            self.add(about(""), vec![format!("expected {status}, found {}{error}", step.state)]);
        }
        if let Some(attempts) = expected.attempts.filter(|attempts| *attempts != step.attempt) {
            self.add(about(", attempts"), vec![format!("expected {attempts}, found {}", step.attempt)]);
        }
        let input = played.called.iter().rev().find(|called| called.step == path).map(|called| &called.input);
        self.document(&about(", input"), expected.input.as_ref(), expected.input_has.as_ref(), input);
        let output = read(step.output.as_ref());
        self.document(&about(", output"), expected.output.as_ref(), expected.output_has.as_ref(), output.as_ref());
        if let Some(error) = &expected.error {
            self.error(&about(", error"), error, step.error.as_ref());
        }
    }

    fn calls(&mut self, expect: &Expect, called: &[Called]) {
        for (capability, expected) in &expect.called {
            let found = called.iter().filter(|called| called.capability == *capability).count();
            if found != *expected {
                self.add(format!("called, `{capability}`"), vec![format!("expected {expected}, found {found}")]);
            }
        }
        let Some(expected) = &expect.calls else { return };
        let named = |called: &&Called| expected.iter().any(|call| call.capability == called.capability);
        let found: Vec<&Called> = called.iter().filter(named).collect();
        let mut lines = Vec::new();
        for at in 0..expected.len().max(found.len()) {
            let call = |called: &Called| format!("`{}` by step `{}`", called.capability, called.step);
            match (expected.get(at), found.get(at)) {
                (Some(expected), Some(found)) if expected.capability == found.capability => {
                    let differences = expected.input.iter().flat_map(|input| diff::has(input, &found.input));
                    lines.extend(differences.map(|line| format!("[{at}] {}: {line}", call(found))));
                }
                (Some(expected), Some(found)) => {
                    lines.push(format!("[{at}]: expected `{}`, found {}", expected.capability, call(found)));
                }
                (Some(expected), None) => lines.push(format!("[{at}]: expected `{}`, found none", expected.capability)),
                (None, Some(found)) => lines.push(format!("[{at}]: expected none, found {}", call(found))),
                (None, None) => {}
            }
        }
        self.add("calls", lines);
    }

    fn left(&mut self, left: &[Action]) {
        if let Some(first) = left.first() {
            let what = match first {
                Action::Approve(answer) | Action::Reject(answer) => format!("the question of step `{}`", answer.step),
                Action::Decide(decided) => format!("a decision on step `{}`", decided.step),
                Action::Signal(signal) => format!("the signal `{}`", signal.name),
                Action::Publish(_) => "an event".to_owned(),
                Action::Advance(span) => format!("{span} to pass"),
                Action::Cancel(_) => "being cancelled".to_owned(),
            };
            self.add("do", vec![format!("the run never waited for {what}")]);
        }
    }
}

fn shown(error: &ErrorDetail) -> String {
    format!("[{}] {}", error.code, error.message)
}
