//! A file of tests, as it is written.
//!
//! For: its form, and what is wrong with it. Not for: running it.
//! Invariant: what is read is complete: a mock says how it ends, an action what it does.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use consort_api::{inside::StepState, runs::RunStatus};
use consort_types::{Code, Error, Result, Span};
use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value};

use crate::app::App;

/// What a file of tests is called.
pub(super) const ENDING: &str = ".test.yaml";

/// A file of tests.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TestFile {
    /// A file, from the folder of this one, or a name as `consort run` takes it.
    pub(super) workflow: String,
    /// Mocks of all tests, by capability.
    #[serde(default)]
    mocks: BTreeMap<String, Several>,
    /// Mocks of all tests by path of the step; these go first.
    #[serde(default)]
    mock_steps: BTreeMap<String, Several>,
    pub(super) tests: Vec<Test>,
}

impl TestFile {
    /// The mocks of a test: its own, and for what it does not have, those of the file.
    pub(super) fn mocks(&self, test: &Test) -> Mocks {
        let mut all = Mocks { mocks: self.mocks.clone(), mock_steps: self.mock_steps.clone() };
        all.mocks.extend(test.mocks.mocks.clone());
        all.mock_steps.extend(test.mocks.mock_steps.clone());
        all
    }
}

/// How calls end.
#[derive(Clone, Debug, Default)]
pub(super) struct Mocks {
    /// By capability.
    pub(super) mocks: BTreeMap<String, Several>,
    /// By path of the step; these go first.
    pub(super) mock_steps: BTreeMap<String, Several>,
}

/// A test.
#[derive(Debug)]
pub(super) struct Test {
    pub(super) name: String,
    pub(super) input: Value,
    pub(super) mocks: Mocks,
    pub(super) actions: Vec<Action>,
    pub(super) expect: Expect,
}

/// Mocks of one capability or step, of which the first fits whose `when` does.
#[derive(Clone, Debug)]
pub(super) struct Several(pub(super) Vec<Mock>);

/// How an attempt ends, and of which input.
#[derive(Clone, Debug)]
pub(super) struct Mock {
    pub(super) when: Option<Value>,
    pub(super) ends: Ends,
}

#[derive(Clone, Debug)]
pub(super) enum Ends {
    Output(Value),
    Failure(Failure),
    Hangs,
    /// One for each attempt of a step; the last for all that follow.
    Attempts(Vec<Mock>),
    /// One for each call of the capability, in the order in which they come; the last for all that follow.
    Calls(Vec<Mock>),
}

#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) message: String,
    pub(super) code: Code,
    pub(super) permanent: bool,
}

/// What is done from outside, once the run waits for it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Action {
    Approve(Answer),
    Reject(Answer),
    Decide(Decided),
    Signal(Signal),
    Publish(Value),
    Advance(Span),
    Cancel(String),
}

/// The answer to a question.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) step: String,
    pub(super) by: Option<String>,
    pub(super) comment: Option<String>,
    pub(super) value: Option<Value>,
}

/// The decision on a compensation that gave up.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Decided {
    pub(super) step: String,
    #[serde(rename = "as")]
    pub(super) decision: consort_api::inbox::Decision,
    #[serde(default)]
    pub(super) output: Option<Value>,
}

#[derive(Clone, Debug)]
pub(super) struct Signal {
    pub(super) name: String,
    pub(super) payload: Value,
}

/// What must be so at the end. What is not given is not compared.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Expect {
    /// The status; `completed` unless it is given.
    #[serde(deserialize_with = "status")]
    pub(super) status: Option<RunStatus>,
    /// The output, whole.
    #[serde(deserialize_with = "present")]
    pub(super) output: Option<Value>,
    /// What the output has, among other things.
    #[serde(deserialize_with = "present")]
    pub(super) output_has: Option<Value>,
    /// The code of the run's error, or a part of its text.
    pub(super) error: Option<String>,
    /// By path.
    pub(super) steps: BTreeMap<String, ExpectedStep>,
    /// The calls in the order in which they became ready; of those that are named, all.
    pub(super) calls: Option<Vec<ExpectedCall>>,
    /// How often each capability was called.
    pub(super) called: BTreeMap<String, usize>,
}

/// What must be so of a step: its state alone, or more.
#[derive(Debug, Default)]
pub(super) struct ExpectedStep {
    pub(super) status: Option<StepState>,
    pub(super) attempts: Option<u32>,
    pub(super) input: Option<Value>,
    pub(super) input_has: Option<Value>,
    pub(super) output: Option<Value>,
    pub(super) output_has: Option<Value>,
    pub(super) error: Option<String>,
}

/// A call: the capability, and what its input has.
#[derive(Debug)]
pub(super) struct ExpectedCall {
    pub(super) capability: String,
    pub(super) input: Option<Value>,
}

/// A status that a run may have.
fn status<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<RunStatus>, D::Error> {
    match RunStatus::deserialize(deserializer)? {
        RunStatus::Other(word) => Err(de::Error::custom(format!(
            "`{word}` is no status of a run: write `completed`, `failed`, `cancelled` or `running`"
        ))),
        known => Ok(Some(known)),
    }
}

/// An output of `null` is an output.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// Reads a form that is given in one of two ways: as a text, or as a map.
fn text_or<T, W: de::DeserializeOwned>(
    value: Value,
    text: impl FnOnce(String) -> T,
    map: impl FnOnce(W) -> T,
) -> std::result::Result<T, String> {
    match value {
        Value::String(name) => Ok(text(name)),
        value => serde_json::from_value(value).map(map).map_err(|error| error.to_string()),
    }
}

macro_rules! read_by {
    ($($form:ty, $read:expr;)+) => {$(
        impl<'de> Deserialize<'de> for $form {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
                let read: fn(Value) -> std::result::Result<Self, String> = $read;
                read(Value::deserialize(deserializer)?).map_err(de::Error::custom)
            }
        }
    )+};
}

read_by! {
    Several, |value| match value {
        Value::Array(list) => list.into_iter().map(mock).collect::<std::result::Result<_, _>>().map(Self),
        one => mock(one).map(|mock| Self(vec![mock])),
    };
    Answer, |value| {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Whole { step: String, by: Option<String>, comment: Option<String>, value: Option<Value> }
        let of = |step| Self { step, by: None, comment: None, value: None };
        text_or(value, of, |Whole { step, by, comment, value }| Self { step, by, comment, value })
    };
    Signal, |value| {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Whole { name: String, #[serde(default)] payload: Value }
        let of = |name| Self { name, payload: Value::Null };
        text_or(value, of, |Whole { name, payload }| Self { name, payload })
    };
    ExpectedStep, |value| {
        #[derive(Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        struct Whole {
            status: Option<StepState>,
            attempts: Option<u32>,
            #[serde(deserialize_with = "present")]
            input: Option<Value>,
            #[serde(deserialize_with = "present")]
            input_has: Option<Value>,
            #[serde(deserialize_with = "present")]
            output: Option<Value>,
            #[serde(deserialize_with = "present")]
            output_has: Option<Value>,
            error: Option<String>,
        }
        let of = |status| serde_json::from_value(Value::String(status)).map(|status| Whole { status: Some(status), ..Whole::default() });
        let whole = match value {
            Value::String(status) => of(status),
            value => serde_json::from_value(value),
        };
        let whole = whole.map_err(|error| error.to_string())?;
        if let Some(StepState::Other(word)) = &whole.status {
            return Err(format!("`{word}` is no state of a step: write `completed`, `failed`, `skipped` or another one"));
        }
        let Whole { status, attempts, input, input_has, output, output_has, error } = whole;
        Ok(Self { status, attempts, input, input_has, output, output_has, error })
    };
    ExpectedCall, |value| match value {
        Value::String(capability) => Ok(Self { capability, input: None }),
        Value::Object(one) if one.len() == 1 => {
            let (capability, input) = one.into_iter().next().unwrap_or_default();
            Ok(Self { capability, input: Some(input) })
        }
        other => Err(format!("`{other}` is no call: write `CAPABILITY`, or `CAPABILITY: WHAT ITS INPUT HAS`")),
    };
    Failure, |value| {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Whole { message: String, code: Option<Code>, #[serde(default)] permanent: bool }
        let of = |message| Self { message, code: Code::AgentFailed, permanent: false };
        text_or(value, of, |Whole { message, code, permanent }| {
            Self { message, code: code.unwrap_or(Code::AgentFailed), permanent }
        })
    };
    Test, |value| {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Whole {
            name: String,
            #[serde(default)]
            input: Option<Value>,
            #[serde(default)]
            mocks: BTreeMap<String, Several>,
            #[serde(default)]
            mock_steps: BTreeMap<String, Several>,
            #[serde(default, rename = "do")]
            actions: Vec<Action>,
            #[serde(default)]
            expect: Expect,
        }
        let named = value["name"].as_str().map(|name| format!("test `{name}`: ")).unwrap_or_default();
        let read = serde_json::from_value(value).map_err(|error| format!("{named}{error}"));
        read.map(|Whole { name, input, mocks, mock_steps, actions, expect }| {
            let input = input.unwrap_or_else(|| Value::Object(Map::new()));
            Self { name, input, mocks: Mocks { mocks, mock_steps }, actions, expect }
        })
    };
}

/// Reads a mock, which ends in exactly one way.
fn mock(value: Value) -> std::result::Result<Mock, String> {
    const WAYS: &str = "`output`, `error`, `hangs: true`, `attempts` or `calls`";
    let Value::Object(mut members) = value else { return Err(format!("`{value}` is no mock: give it {WAYS}")) };
    let when = members.remove("when");
    let mut ways = members.into_iter();
    let (Some((way, value)), None) = (ways.next(), ways.next()) else {
        return Err(format!("a mock has exactly one of {WAYS}"));
    };
    let list = |value: Value| match value {
        Value::Array(list) if !list.is_empty() => list.into_iter().map(mock).collect(),
        other => Err(format!("`{way}` is a list of mocks, and not `{other}`")),
    };
    let ends = match way.as_str() {
        "output" => Ends::Output(value),
        "error" => Ends::Failure(serde_json::from_value(value).map_err(|error| error.to_string())?),
        "hangs" if value == Value::Bool(true) => Ends::Hangs,
        "attempts" => Ends::Attempts(list(value)?),
        "calls" => Ends::Calls(list(value)?),
        _ => return Err(format!("`{way}: {value}` is no way for a mock to end: give it {WAYS}")),
    };
    Ok(Mock { when, ends })
}

/// Reads a file; its mistakes in YAML are printed with their places.
pub(super) fn read(app: &App, path: &Path) -> Result<TestFile> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| {
        Error::new(Code::WorkflowNotFound, format!("`{shown}` cannot be read: {error}"))
            .hint("`consort workflows test` without a file takes those of the project's `tests/` folder")
    })?;
    let value = consort_workflow_check::read_yaml(&text).map_err(|found| {
        app.eprint(&found.render(&shown.to_string(), &text, app.err.color));
        Error::new(Code::BadRequest, format!("`{shown}` is not YAML"))
    })?;
    let file: TestFile = serde_json::from_value(value).map_err(|error| {
        Error::new(Code::BadRequest, format!("`{shown}` is no file of tests: {error}"))
            .hint("docs/testing.md has every member with an example")
    })?;
    if file.tests.is_empty() {
        return Err(Error::new(Code::BadRequest, format!("`{shown}` has no tests")).hint("add one to `tests`"));
    }
    Ok(file)
}

/// The files of the project's `tests/` folder.
pub(super) fn of_project(app: &App) -> Result<Vec<PathBuf>> {
    let folder = app.settings.root().join("tests");
    let named = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(ENDING));
    let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| named(path)).collect();
    files.sort();
    if files.is_empty() {
        let message = format!("there is no file of tests (`*{ENDING}`) in `{}`", folder.display());
        return Err(Error::new(Code::WorkflowNotFound, message).hint("`consort init` writes one; or name a file"));
    }
    Ok(files)
}
