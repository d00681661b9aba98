//! A service outside: what `write` tasks do to the world.
//!
//! For: counting effects that must not happen twice. Not for: deciding anything in the engine.
//! Invariant: an attempt that was fenced off here does nothing any more.

use std::collections::BTreeMap;

use consort_types::{StepInstanceId, Token};
use serde_json::Value;

#[derive(Debug, Default)]
struct Account {
    /// Tokens under which the effect happened.
    happened: Vec<Token>,
    /// Attempts up to this token are turned away.
    fenced: Token,
    output: Value,
    /// Whether the workflow's author allows it to happen again.
    again: bool,
    /// By what the service would know the same effect again.
    key: String,
}

/// The service.
#[derive(Debug, Default)]
pub(crate) struct Service {
    accounts: BTreeMap<StepInstanceId, Account>,
}

impl Service {
    /// A task is about to do something to the world.
    pub(crate) fn open(&mut self, task: StepInstanceId, key: &str, again: bool) {
        let account = self.accounts.entry(task).or_default();
        account.again |= again;
        key.clone_into(&mut account.key);
    }

    /// An attempt carries its effect out; returns whether it was let in.
    pub(crate) fn happen(&mut self, task: StepInstanceId, token: Token, output: &Value) -> bool {
        let account = self.accounts.entry(task).or_default();
        if token <= account.fenced {
            return false;
        }
        account.happened.push(token);
        account.output = output.clone();
        true
    }

    /// What happened, if it did; else no attempt up to `token` will any more.
    pub(crate) fn settle(&mut self, task: StepInstanceId, token: Token) -> Option<Value> {
        let account = self.accounts.entry(task).or_default();
        if account.happened.is_empty() {
            account.fenced = account.fenced.max(token);
            return None;
        }
        Some(account.output.clone())
    }

    /// How often the effect of a task happened.
    pub(crate) fn count(&self, task: StepInstanceId) -> usize {
        self.accounts.get(&task).map_or(0, |account| account.happened.len())
    }

    /// Whether the task is known here.
    pub(crate) fn knows(&self, task: StepInstanceId) -> bool {
        self.accounts.contains_key(&task)
    }

    /// A task whose effect happened more than once although its workflow's author did not allow that.
    pub(crate) fn repeated(&self) -> Option<(StepInstanceId, &[Token])> {
        let repeated = self.accounts.iter().find(|(_, account)| account.happened.len() > 1 && !account.again);
        repeated.map(|(task, account)| (*task, account.happened.as_slice()))
    }

    /// Two tasks of one run that have had the same effect, as when an auction hands a task on.
    pub(crate) fn shared(&self) -> Option<(StepInstanceId, StepInstanceId)> {
        let mut had = BTreeMap::new();
        let mut happened = self.accounts.iter().filter(|(_, account)| !account.happened.is_empty());
        happened.find_map(|(task, account)| Some((had.insert((task.run, &account.key), *task)?, *task)))
    }
}
