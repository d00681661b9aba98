//! Clients that share state while the program dies.
//!
//! For: counters, claims and a chain of compare-and-set writes, and a watcher that resumes. Not for: when the program dies.
//! Invariant: what a write that was not answered has done is unknown, and everything else is known exactly.

use std::{collections::BTreeMap, io};

use consort_testkit::http::Client;
use serde_json::{Value, json};

use crate::{Chance, ask::ask};

/// Where the keys are.
const SPACE: &str = "/v1/spaces/shared";
/// Counters, and claims of one round.
const COUNTERS: usize = 3;

/// What the clients know.
#[derive(Debug, Default)]
pub struct Sharer {
    /// What was added to each counter and acknowledged, and what was sent.
    counters: [(i64, i64); COUNTERS],
    /// The owner that was acknowledged for each claim.
    claims: BTreeMap<u64, String>,
    /// Writes of the chain that were acknowledged, and that were sent.
    chain: (u64, u64),
    /// The last change that the watcher has read, and the version of each key then.
    seen: Option<String>,
    versions: BTreeMap<String, u64>,
    set_up: bool,
    /// Changes that the watcher has read.
    pub watched: u64,
    /// Writes that were acknowledged.
    pub acknowledged: u64,
}

impl Sharer {
    /// One action. An error means that the server has ended.
    pub(crate) fn act(&mut self, client: &Client, chance: &mut Chance) -> io::Result<()> {
        if !self.set_up {
            let settings = json!({ "policies": [{ "prefix": "n/", "policy": "counter" }] });
            self.set_up = client.request("PUT", SPACE, Some(&settings))?.status == 204;
            return Ok(());
        }
        match chance.below(4) {
            0 => self.count(client, chance),
            1 => self.claim(client, chance),
            2 => self.chain(client),
            _ => self.watch(client),
        }
    }

    fn put(&mut self, client: &Client, key: &str, body: &Value) -> io::Result<Option<Value>> {
        let answer = client.request("PUT", &format!("{SPACE}/keys/{key}"), Some(body))?;
        assert!(matches!(answer.status, 200 | 409 | 503), "{key}: {}: {}", answer.status, answer.text());
        self.acknowledged += u64::from(answer.status == 200);
        Ok((answer.status == 200).then(|| answer.json()))
    }

    fn count(&mut self, client: &Client, chance: &mut Chance) -> io::Result<()> {
        let at = chance.below(COUNTERS);
        self.counters[at].1 += 1;
        if self.put(client, &format!("n%2F{at}"), &json!({ "value": 1 }))?.is_some() {
            self.counters[at].0 += 1;
        }
        Ok(())
    }

    /// One of many gets a claim, and keeps it.
    fn claim(&mut self, client: &Client, chance: &mut Chance) -> io::Result<()> {
        let (claim, owner) = (chance.number() % 40, format!("w{}", chance.number()));
        if self.put(client, &format!("claim%2F{claim}"), &json!({ "value": owner, "version": 0 }))?.is_some() {
            let before = self.claims.insert(claim, owner);
            assert_eq!(before, None, "claim {claim} was given twice");
        }
        Ok(())
    }

    /// Adds one to a number by compare-and-set.
    fn chain(&mut self, client: &Client) -> io::Result<()> {
        let found = client.get(&format!("{SPACE}/keys/chain"))?;
        let (value, version) = match found.status {
            200 => (found.json()["value"].as_u64(), found.json()["version"].as_u64()),
            404 => (Some(0), Some(0)),
            _ => return Ok(()),
        };
        let value = value.expect("the chain is a number");
        assert!(
            (self.chain.0..=self.chain.1).contains(&value),
            "the chain is {value}, and {:?} was written",
            self.chain
        );
        self.chain.1 = value + 1;
        if self.put(client, "chain", &json!({ "value": value + 1, "version": version }))?.is_some() {
            self.chain.0 = value + 1;
        }
        Ok(())
    }

    /// Reads what has changed since the last time, by the list of changes of each key.
    fn watch(&mut self, client: &Client) -> io::Result<()> {
        let Some(list) = ask(client, &format!("{SPACE}/keys?limit=1000"), None)? else { return Ok(()) };
        let position = list["position"].as_str().expect("a list has a position").to_owned();
        if let Some(after) = self.seen.replace(position.clone())
            && after != position
        {
            self.follow(client, &after, &position)?;
        }
        Ok(())
    }

    /// Follows the changes from one position to another one: each version is newer than the one before it.
    fn follow(&mut self, client: &Client, after: &str, until: &str) -> io::Result<()> {
        for event in client.events(&format!("{SPACE}/watch?after={after}"), None)? {
            if event.event != "change" {
                continue;
            }
            let change: Value = serde_json::from_str(&event.data).expect("a change is JSON");
            let (key, version) = (change["key"].as_str().unwrap_or_default(), change["version"].as_u64());
            let before = self.versions.insert(key.to_owned(), version.unwrap_or_default());
            assert!(before < version, "key {key} had version {before:?}, and then {version:?}");
            self.watched += 1;
            if event.id == until {
                break;
            }
        }
        Ok(())
    }

    /// Holds what is there against what was acknowledged, on a server that is not killed.
    pub fn judge(&self, client: &Client) {
        let value = |key: &str| {
            let found = client.get(&format!("{SPACE}/keys/{key}")).expect("an answer");
            if found.status == 200 { found.json()["value"].clone() } else { Value::Null }
        };
        for (at, (acknowledged, sent)) in self.counters.iter().enumerate() {
            let found = value(&format!("n%2F{at}")).as_i64().unwrap_or_default();
            assert!((*acknowledged..=*sent).contains(&found), "counter {at}: {acknowledged} to {sent}, not {found}");
        }
        for (claim, owner) in &self.claims {
            assert_eq!(value(&format!("claim%2F{claim}")), json!(owner), "claim {claim}");
        }
        let chain = value("chain").as_u64().unwrap_or_default();
        assert!(
            (self.chain.0..=self.chain.1).contains(&chain),
            "the chain is {chain}, and {:?} was written",
            self.chain
        );
    }
}
