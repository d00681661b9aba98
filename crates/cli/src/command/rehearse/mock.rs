//! Mocks in a test: which one answers a call, and what was called.
//!
//! For: the answers that a test gives. Not for: agents or engines.
//! Invariant: the same calls in the same order get the same answers.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use consort_server::{Called, Mocked};
use consort_types::Code;
use serde_json::json;

use super::{
    diff::{self, short},
    file::{Ends, Mock, Mocks, Several},
};

/// What the mocks of a test answer, and were asked.
pub(super) struct Cast {
    mocks: Mocks,
    played: Mutex<Played>,
}

#[derive(Default)]
struct Played {
    called: Vec<Called>,
    /// How often each mock with `calls` was asked.
    asked: BTreeMap<String, usize>,
    /// Calls that no mock fits.
    unknown: Vec<String>,
}

impl Cast {
    pub(super) fn of(mocks: Mocks) -> Self {
        Self { mocks, played: Mutex::default() }
    }

    /// The answer to an attempt.
    pub(super) fn answer(&self, called: &Called) -> Mocked {
        let mut played = self.played();
        played.called.push(called.clone());
        let by_step = self.mocks.mock_steps.get(&called.step).map(|mocks| (format!("step {}", called.step), mocks));
        let by_name = self.mocks.mocks.get(&called.capability).map(|mocks| (called.capability.clone(), mocks));
        for (place, Several(mocks)) in by_step.into_iter().chain(by_name) {
            let fits = |mock: &&Mock| mock.when.as_ref().is_none_or(|when| diff::has(when, &called.input).is_empty());
            if let Some((at, mock)) = mocks.iter().enumerate().find(|(_, mock)| fits(mock)) {
                return played.end(&format!("{place}/{at}"), mock, called);
            }
        }
        played.without_mock(called)
    }

    /// Every attempt, in the order in which they became ready.
    pub(super) fn called(&self) -> Vec<Called> {
        let mut called = self.played().called.clone();
        called.sort_by_key(|called| called.order);
        called
    }

    /// The calls that no mock fits.
    pub(super) fn unknown(&self) -> Vec<String> {
        self.played().unknown.clone()
    }

    fn played(&self) -> MutexGuard<'_, Played> {
        self.played.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Played {
    fn end(&mut self, place: &str, mock: &Mock, called: &Called) -> Mocked {
        let nth = |list: &[Mock], n: usize| list[n.min(list.len() - 1)].clone();
        match &mock.ends {
            Ends::Output(output) => Mocked::Output(output.clone()),
            Ends::Failure(failure) => {
                Mocked::Failure { message: failure.message.clone(), code: failure.code, retryable: !failure.permanent }
            }
            Ends::Hangs => Mocked::Hangs,
            Ends::Attempts(list) => {
                let next = nth(list, called.attempt.saturating_sub(1) as usize);
                self.end(&format!("{place}/attempt"), &next, called)
            }
            Ends::Calls(list) => {
                let asked = self.asked.entry(place.to_owned()).or_default();
                let next = nth(list, *asked);
                *asked += 1;
                self.end(&format!("{place}/call"), &next, called)
            }
        }
    }

    /// The built-in capabilities do what they do; of others, a test must say what they do.
    fn without_mock(&mut self, called: &Called) -> Mocked {
        match called.capability.as_str() {
            "echo" => return Mocked::Output(called.input.clone()),
            "sleep" => return Mocked::Output(json!({ "slept": called.input["for"] })),
            _ => {}
        }
        let Called { capability, step, input, .. } = called;
        let what = format!("no mock fits the call of `{capability}` by step `{step}` with `{}`", short(input));
        self.unknown.push(what.clone());
        Mocked::Failure { message: what, code: Code::AgentFailed, retryable: false }
    }
}
