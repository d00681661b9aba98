//! Concurrent clients of the shared state and of a lock, against a server that is killed again and again.
//!
//! For: that one order of all operations explains every answer, by an independent checker. Not for: merging policies, and
//! leases that end by time.
//! Invariant: a request whose connection broke has an unknown outcome, and is never held to have failed; how many kills:
//! `CONSORT_CRASH_KILLS` (6 where it says nothing).

use std::{
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use consort_crash::{Chance, binary};
use consort_linearizability::{
    History,
    keys::{Held, KEYS, KeyOperation, Keys},
    lock::{Acquired, Lock, LockOperation},
};
use consort_testkit::{
    http::{Client, Response},
    process::Server,
    temp_dir, wait_until,
};
use serde_json::{Value, json};

/// Clients at once.
const CLIENTS: usize = 4;
/// Answers between two kills.
const ANSWERS: usize = 60;

fn start(folder: &Path) -> Server {
    let none: [&str; 0] = [];
    Server::start(binary::consort(), folder, none).expect("the server starts on what the last one left")
}

fn kills() -> u64 {
    std::env::var("CONSORT_CRASH_KILLS").map_or(6, |text| text.parse().expect("a number"))
}

/// What a client does next; `false` once its server has ended.
trait Actor: Sync {
    fn act(&self, client: &Client, who: usize, chance: &mut Chance) -> bool;
    fn answers(&self) -> usize;
}

/// Clients act until so many answers have come, then the server is killed, again and again; at last it is stopped.
fn under_kills(actor: &impl Actor) {
    let folder = temp_dir();
    binary::settle(folder.path());
    let kills = kills();
    for round in 0..=kills {
        let server = start(folder.path());
        let (stop, wanted) = (AtomicBool::new(false), actor.answers() + ANSWERS);
        thread::scope(|scope| {
            for who in 0..CLIENTS {
                let (client, stop) = (server.client(), &stop);
                let mut chance = Chance::new(round * CLIENTS as u64 + who as u64 + 1);
                scope.spawn(move || while !stop.load(Ordering::Acquire) && actor.act(&client, who, &mut chance) {});
            }
            wait_until("answers", || (actor.answers() >= wanted).then_some(()));
            if round == kills {
                stop.store(true, Ordering::Release);
            } else {
                server.kill().expect("the server is killed");
            }
        });
    }
}

/// Clients of three keys.
#[derive(Default)]
struct KeyClients {
    history: History<KeyOperation>,
    values: AtomicU64,
}

/// What a client has read: a value and its version, for each key.
type Seen = [(Held, u64); KEYS];

impl KeyClients {
    fn value(&self) -> u64 {
        self.values.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Makes a request whose operation is `of(None)` while its outcome is not known, and `of(status)` by its answer.
    fn request(
        &self,
        of: impl Fn(Option<bool>) -> KeyOperation,
        send: impl FnOnce() -> std::io::Result<Response>,
    ) -> Option<Response> {
        let call = self.history.call(of(None));
        let answer = send().ok()?;
        match answer.status {
            200 => {
                // A transaction tells in its answer whether its condition held.
                let held = answer.json()["succeeded"].as_bool().unwrap_or(true);
                self.history.answered(call, of(Some(held)));
            }
            409 => self.history.answered(call, of(Some(false))),
            status => panic!("{status}: {}", answer.text()),
        }
        Some(answer)
    }

    fn get(&self, client: &Client, key: usize) -> Option<(Held, u64)> {
        let call = self.history.call(KeyOperation::Get { key, value: None });
        let Ok(answer) = client.get(&path(key)) else {
            self.history.withdraw(call);
            return None;
        };
        let (value, version) = match answer.status {
            200 => (answer.json()["value"].as_u64(), answer.json()["version"].as_u64().expect("a version")),
            404 => (None, 0),
            status => panic!("{status}: {}", answer.text()),
        };
        self.history.answered(call, KeyOperation::Get { key, value });
        Some((value, version))
    }

    fn snapshot(&self, client: &Client) -> Option<Seen> {
        let call = self.history.call(KeyOperation::Snapshot([None; KEYS]));
        let operations: Vec<_> = (0..KEYS).map(|key| json!({"op": "get", "space": "lin", "key": name(key)})).collect();
        let Ok(answer) = client.post("/v1/state/transact", &json!({ "do": operations })) else {
            self.history.withdraw(call);
            return None;
        };
        assert_eq!(answer.status, 200, "{}", answer.text());
        let results = answer.json();
        let seen = std::array::from_fn(|key| {
            let result = &results["results"][key];
            (result["value"].as_u64(), result["version"].as_u64().expect("a version"))
        });
        self.history.answered(call, KeyOperation::Snapshot(seen.map(|(value, _)| value)));
        Some(seen)
    }

    fn set(&self, client: &Client, key: usize) -> bool {
        let value = self.value();
        let of = |_| KeyOperation::Set { key, value: Some(value) };
        self.request(of, || client.request("PUT", &path(key), Some(&json!({ "value": value })))).is_some()
    }

    fn remove(&self, client: &Client, key: usize) -> bool {
        let of = |_| KeyOperation::Set { key, value: None };
        self.request(of, || client.delete(&path(key))).is_some()
    }

    fn swap(&self, client: &Client, key: usize) -> bool {
        let Some((saw, version)) = self.get(client, key) else { return false };
        let value = self.value();
        let of = |done| KeyOperation::Swap { key, saw, value: Some(value), done };
        let body = json!({ "value": value, "version": version });
        self.request(of, || client.request("PUT", &path(key), Some(&body))).is_some()
    }

    fn shift(&self, client: &Client, from: usize) -> bool {
        let Some(seen) = self.snapshot(client) else { return false };
        let (Some(saw), version) = seen[from] else { return true };
        let (to, value) = ((from + 1) % KEYS, self.value());
        let of = |done| KeyOperation::Move { from, to, saw, value, done };
        let body = json!({
            "if": [{ "space": "lin", "key": name(from), "version": version }],
            "do": [
                { "op": "delete", "space": "lin", "key": name(from) },
                { "op": "put", "space": "lin", "key": name(to), "value": value },
            ],
        });
        self.request(of, || client.post("/v1/state/transact", &body)).is_some()
    }
}

fn name(key: usize) -> String {
    format!("k{key}")
}

fn path(key: usize) -> String {
    format!("/v1/spaces/lin/keys/k{key}")
}

impl Actor for KeyClients {
    fn act(&self, client: &Client, _: usize, chance: &mut Chance) -> bool {
        let key = chance.below(KEYS);
        match chance.below(8) {
            0 | 1 => self.get(client, key).is_some(),
            2 => self.snapshot(client).is_some(),
            3 => self.set(client, key),
            4 => self.remove(client, key),
            5 | 6 => self.swap(client, key),
            _ => self.shift(client, key),
        }
    }

    fn answers(&self) -> usize {
        self.history.answers()
    }
}

#[test]
fn the_shared_state_is_linearizable_under_kills() {
    let clients = KeyClients::default();
    under_kills(&clients);
    assert!(clients.history.is_linearizable::<Keys>(), "no order explains: {:?}", clients.history);
}

/// Clients of one lock, each a holder.
#[derive(Default)]
struct Holders(History<LockOperation>);

const LOCK: &str = "/v1/locks/lin";

impl Holders {
    fn acquire(&self, client: &Client, holder: usize) -> Option<Acquired> {
        let of = |told| LockOperation::Acquire { holder, told };
        let call = self.0.call(of(Acquired::Unknown));
        let body = json!({ "holder": format!("h{holder}"), "ttl": "1h" });
        let answer = client.post(&format!("{LOCK}/acquire"), &body).ok()?;
        let grant: Value = answer.json();
        let token = grant["token"].as_u64().filter(|_| answer.status == 200 && grant["state"] == "held");
        assert!(token.is_some() || answer.status == 409, "{}: {grant}", answer.status);
        let told = token.map_or(Acquired::Refused, Acquired::Granted);
        self.0.answered(call, of(told));
        Some(told)
    }

    fn release(&self, client: &Client, holder: usize, token: u64) -> bool {
        let of = |done| LockOperation::Release { holder, token, done };
        let call = self.0.call(of(None));
        let body = json!({ "holder": format!("h{holder}"), "token": token });
        let Ok(answer) = client.post(&format!("{LOCK}/release"), &body) else { return false };
        assert!(matches!(answer.status, 204 | 409), "{}: {}", answer.status, answer.text());
        self.0.answered(call, of(Some(answer.status == 204)));
        true
    }
}

impl Actor for Holders {
    fn act(&self, client: &Client, who: usize, chance: &mut Chance) -> bool {
        match self.acquire(client, who) {
            Some(Acquired::Granted(token)) if chance.percent(70) => self.release(client, who, token),
            other => other.is_some(),
        }
    }

    fn answers(&self) -> usize {
        self.0.answers()
    }
}

#[test]
fn a_lock_is_linearizable_under_kills() {
    let holders = Holders::default();
    under_kills(&holders);
    assert!(holders.0.is_linearizable::<Lock>(), "no order explains: {:?}", holders.0);
}
