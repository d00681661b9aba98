//! The list of scenarios, as `sdks/conformance/scenarios.toml` writes it.
//!
//! For: reading and checking it. Not for: running it (see `run`).
//! Invariant: a list that cannot be understood in full is an error, so that no disturbance is left out by a slip.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// The list, as it is in this tree.
const LIST: &str = include_str!("../../../sdks/conformance/scenarios.toml");

/// One scenario.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its name: the name of its workflow too.
    pub name: String,
    /// What it shows.
    pub shows: String,
    /// The capability that the one step calls, where there is no `workflow`.
    #[serde(default)]
    capability: String,
    /// More lines of that step.
    #[serde(default)]
    step: String,
    /// The workflow's text.
    #[serde(default)]
    workflow: Option<String>,
    /// The input, as JSON.
    #[serde(default)]
    input: Option<String>,
    /// Effects whose answers are held back.
    #[serde(default)]
    pub hold: Vec<String>,
    /// The worker's credit.
    #[serde(default)]
    pub credit: Option<u32>,
    /// What happens after the start.
    #[serde(default, rename = "do")]
    happens: Vec<String>,
    /// What must come of it.
    pub expect: Expect,
}

/// What must come of a scenario.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// How the run ends.
    pub status: String,
    /// Its output, as JSON.
    #[serde(default)]
    pub output: Option<String>,
    /// The code of its error.
    #[serde(default)]
    pub code: Option<String>,
    /// Texts that the error's message has.
    #[serde(default)]
    pub message: Vec<String>,
    /// How often effects were requested.
    #[serde(default)]
    pub effects: BTreeMap<String, u32>,
    /// How often they were requested at least.
    #[serde(default)]
    pub effects_min: BTreeMap<String, u32>,
    /// How many effects were held at once at most.
    #[serde(default)]
    pub together: Option<u32>,
    /// The live messages, in order.
    #[serde(default)]
    pub live: Vec<String>,
}

/// Something that happens in a scenario.
#[derive(Clone, Debug, PartialEq)]
pub enum Happening {
    /// An effect has been requested this often.
    AwaitEffect(String, u32),
    /// The answers of an effect are no longer held back.
    Release(String),
    /// A step is in a state.
    AwaitState(String, String),
    /// A signal is refused, with this code.
    RefusedSignal(String, String, Value),
    /// The tree of the run shows this title, of a call or of something that is waited for.
    AwaitTitle(String),
    /// A signal is sent.
    Signal(String, Value),
    /// An update of this name and id is sent.
    SendUpdate(String, String, Value),
    /// An update is refused, with this code.
    RefusedUpdate(String, String, Value),
    /// The update of this id is in a state, and was answered this.
    AwaitUpdate(String, String, Value),
    /// The code exposes this value.
    AwaitValue(String, Value),
    /// The run has this label.
    AwaitLabel(String, String),
    /// The approval in the inbox is decided.
    Approve(bool),
    /// The unknown outcome in the inbox was this.
    Resolve(Value),
    /// What waits in the inbox is given up.
    Fail,
    /// The run is cancelled.
    Cancel,
    /// The worker is killed.
    KillWorker,
    /// A worker is started, of a variant.
    StartWorker(String),
    /// The worker gets the signal to stop.
    StoppingWorker,
    /// The worker has ended with status 0.
    AwaitWorkerEnd,
    /// The server is killed.
    KillServer,
    /// The server has got the signal to stop, and has ended.
    StopServer,
    /// The server is started again, at the same addresses.
    StartServer,
    /// Live messages are collected from now on.
    Watch,
    /// This many were collected.
    AwaitLive(usize),
}

impl Scenario {
    /// The workflow's text.
    pub fn workflow(&self) -> String {
        match &self.workflow {
            Some(text) => text.clone(),
            None => format!(
                "workflow: {}\ninput:\n  it: {{}}\nsteps:\n  it:\n    capability: {}\n    with: \"${{{{ input.it }}}}\"\n    {}\noutput: \"${{{{ steps.it.output }}}}\"\n",
                self.name, self.capability, self.step
            ),
        }
    }

    /// The run's input.
    ///
    /// # Errors
    /// Where it is not JSON.
    pub fn input(&self) -> Result<Value, String> {
        let value = match &self.input {
            Some(text) => json(text)?,
            None => Value::Null,
        };
        Ok(if self.workflow.is_some() { serde_json::json!({}) } else { serde_json::json!({ "it": value }) })
    }

    /// What happens, in order.
    ///
    /// # Errors
    /// Where a line is not understood.
    pub fn happenings(&self) -> Result<Vec<Happening>, String> {
        self.happens.iter().map(|line| happening(line)).collect()
    }
}

/// JSON, or an error that shows the text.
///
/// # Errors
/// Where it is not JSON.
pub fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("`{text}` is not JSON: {error}"))
}

fn happening(line: &str) -> Result<Happening, String> {
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    let (first, second) = rest.split_once(' ').unwrap_or((rest, ""));
    let number = |text: &str| text.parse().map_err(|_| format!("`{line}`: `{text}` is not a number"));
    Ok(match verb {
        "await-effect" => {
            let count = if second.is_empty() { 1 } else { number(second)? };
            Happening::AwaitEffect(first.into(), count)
        }
        "release" => Happening::Release(first.into()),
        "await-state" => Happening::AwaitState(first.into(), second.into()),
        "refused-signal" => {
            let (code, payload) = second.split_once(' ').ok_or(format!("`{line}` has no payload"))?;
            Happening::RefusedSignal(first.into(), code.into(), json(payload)?)
        }
        "send-update" | "refused-update" | "await-update" => {
            let (second, document) = second.split_once(' ').ok_or(format!("`{line}` has no document"))?;
            let parts = (first.to_owned(), second.to_owned(), json(document)?);
            match verb {
                "send-update" => Happening::SendUpdate(parts.0, parts.1, parts.2),
                "refused-update" => Happening::RefusedUpdate(parts.0, parts.1, parts.2),
                _ => Happening::AwaitUpdate(parts.0, parts.1, parts.2),
            }
        }
        "await-value" => Happening::AwaitValue(first.into(), json(second)?),
        "await-label" => Happening::AwaitLabel(first.into(), second.into()),
        "await-title" => Happening::AwaitTitle(first.into()),
        "signal" => Happening::Signal(first.into(), json(second)?),
        "approve" => Happening::Approve(first == "yes"),
        "resolve" => Happening::Resolve(json(rest)?),
        "fail" => Happening::Fail,
        "cancel" => Happening::Cancel,
        "kill-worker" => Happening::KillWorker,
        "start-worker" => Happening::StartWorker(first.into()),
        "stopping-worker" => Happening::StoppingWorker,
        "await-worker-end" => Happening::AwaitWorkerEnd,
        "kill-server" => Happening::KillServer,
        "stop-server" => Happening::StopServer,
        "start-server" => Happening::StartServer,
        "watch" => Happening::Watch,
        "await-live" => Happening::AwaitLive(number(first)? as usize),
        _ => return Err(format!("`{line}` is not something that can happen")),
    })
}

/// Every scenario.
///
/// # Errors
/// Where the list is not understood.
pub fn all() -> Result<Vec<Scenario>, String> {
    #[derive(Deserialize)]
    struct List {
        scenario: Vec<Scenario>,
    }
    let list: List = toml::from_str(LIST).map_err(|error| error.to_string())?;
    for scenario in &list.scenario {
        scenario.happenings().and_then(|_| scenario.input()).map_err(|error| format!("{}: {error}", scenario.name))?;
    }
    Ok(list.scenario)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_list_is_understood_and_names_are_unique() {
        let all = all().unwrap();
        let names: BTreeSet<&str> = all.iter().map(|scenario| scenario.name.as_str()).collect();
        assert!(names.len() == all.len() && all.len() > 20, "{names:?}");
        for scenario in all {
            assert!(!scenario.shows.is_empty(), "{}", scenario.name);
            scenario.expect.output.as_deref().map(json).transpose().unwrap();
        }
    }

    #[test]
    fn a_slip_in_a_line_is_an_error() {
        assert!(happening("kill-wroker").is_err() && happening("await-live some").is_err());
        assert_eq!(happening("await-effect a 2"), Ok(Happening::AwaitEffect("a".into(), 2)));
    }
}
