//! What editing one long text costs under the policy `text`, without log, store or threads.
//!
//! For: the figures of `docs/state.md`. Not for: figures of the whole (that is `consort-bench`).
//! Invariant: each edit is one write of the whole text, by a writer that has seen the latest version; nine of ten insert a
//! character, and the tenth removes one.

#![expect(clippy::disallowed_types, reason = "a measurement reads a clock; the core itself does not")]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use consort_core::{
    Backing, Command, Effect, Machine, Reply, TABLES,
    command::{SetSpace, Transact},
};
use consort_types::{
    BlobHash, Payload, Result, Seq, Time,
    state::{Action, MergePolicy, Operation, PrefixPolicy, SpaceSettings, Transaction, Writer},
};

/// Rows and documents, and what the rows of keys take.
#[derive(Default)]
struct Memory {
    rows: Mutex<BTreeMap<Vec<u8>, Vec<u8>>>,
    blobs: Mutex<BTreeMap<BlobHash, Vec<u8>>>,
}

impl Memory {
    fn rows(&self) -> std::sync::MutexGuard<'_, BTreeMap<Vec<u8>, Vec<u8>>> {
        self.rows.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn blobs(&self) -> std::sync::MutexGuard<'_, BTreeMap<BlobHash, Vec<u8>>> {
        self.blobs.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Takes what the machine has changed; answers the largest row of a key.
    fn write(&self, machine: &mut Machine) -> usize {
        let taken = machine.take();
        self.blobs().extend(taken.blobs.into_iter().map(|(hash, bytes)| (hash, bytes.to_vec())));
        let changes = taken.changes.encode();
        let largest = changes.puts.iter().filter(|(key, _)| TABLES.state.has(key)).map(|(_, row)| row.len()).max();
        self.rows().extend(changes.puts);
        for key in changes.deletes {
            self.rows().remove(&key);
        }
        machine.written(taken.generation);
        largest.unwrap_or_default()
    }
}

impl Backing for Memory {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.rows().get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        Ok(self.rows().range(from.to_vec()..to.to_vec()).take(limit).map(|(k, v)| (k.clone(), v.clone())).collect())
    }

    fn blob(&self, hash: &BlobHash) -> Result<Option<Vec<u8>>> {
        Ok(self.blobs().get(hash).cloned())
    }
}

/// A machine with its memory.
struct Partition {
    machine: Machine,
    memory: Arc<Memory>,
    time: Time,
    spent: Duration,
}

impl Partition {
    fn apply(&mut self, command: &Command) -> Reply {
        self.time = Time(self.time.0 + 1);
        let began = Instant::now();
        let command = Command::decode(&command.encode()).unwrap_or_else(|error| panic!("{error}"));
        let seq = self.machine.applied().next();
        let applied = self.machine.apply(seq, self.time, &command).unwrap_or_else(|error| panic!("{error}"));
        self.spent += began.elapsed();
        for effect in applied.effects {
            if let Effect::BlobUnused(hash) = effect {
                self.memory.blobs().remove(&hash);
            }
        }
        applied.reply.unwrap_or_else(|error| panic!("{error}"))
    }

    fn put(&mut self, text: &str, saw: Seq) -> Seq {
        let value = Payload::inline(serde_json::to_vec(text).unwrap_or_else(|error| panic!("{error}")));
        // As the engine does before the log: what is large comes by reference.
        let value = match &value {
            Payload::Inline(bytes) if value.is_large() => {
                let hash = BlobHash::of(bytes);
                self.memory.blobs().insert(hash, bytes.to_vec());
                Payload::Blob { hash, len: bytes.len() as u64 }
            }
            _ => value,
        };
        let action = Action::Put { value, saw: Some(saw), ttl: None, stamp: None, base: None };
        let operation = Operation { space: "team".into(), key: "text".into(), action };
        let transaction = Transaction::single(operation);
        match self.apply(&Command::Transact(Transact {
            namespace: "default".into(),
            transaction,
            by: Writer::default(),
        })) {
            Reply::Transacted(done) => done.seq,
            other => panic!("{other:?}"),
        }
    }
}

fn main() {
    let arguments: Vec<usize> = std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    let (edits, batch) = (arguments.first().copied().unwrap_or(100_000), arguments.get(1).copied().unwrap_or(1));
    let memory = Arc::new(Memory::default());
    let machine = Machine::open(memory.clone(), Seq::ZERO).unwrap_or_else(|error| panic!("{error}"));
    let mut partition = Partition { machine, memory, time: Time(1), spent: Duration::ZERO };
    let policies = vec![PrefixPolicy { prefix: String::new(), policy: MergePolicy::Text }];
    let settings = SpaceSettings { policies, keep_changes: 100, ..SpaceSettings::default() };
    partition.apply(&Command::SetSpace(SetSpace {
        namespace: "default".into(),
        space: "team".into(),
        settings,
        merges: Vec::new(),
    }));
    let (mut noise, mut text, mut version, mut largest) = (7_u64, Vec::new(), Seq::ZERO, 0);
    let mut below = |n: usize| {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (noise >> 33) as usize % n
    };
    for edit in 1..=edits {
        let at = below(text.len() + 1);
        if below(10) == 0 && at < text.len() {
            text.remove(at);
        } else {
            text.insert(at, if below(6) == 0 { b' ' } else { b'a' + below(26) as u8 });
        }
        if edit % batch == 0 {
            version = partition.put(&String::from_utf8_lossy(&text), version);
            largest = largest.max(partition.memory.write(&mut partition.machine));
        }
    }
    println!(
        "{{\"metric\":\"text_write_us\",\"value\":{:.1},\"edits\":{edits},\"writes\":{},\"seconds\":{:.1},\"text_bytes\":{},\"row_bytes_max\":{largest}}}",
        partition.spent.as_secs_f64() * 1e6 / (edits / batch) as f64,
        edits / batch,
        partition.spent.as_secs_f64(),
        text.len(),
    );
}
