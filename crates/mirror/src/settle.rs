//! Making keys equal on both sides.
//!
//! For: reading keys, deciding, and sending what goes out. Not for: what comes in (see `incoming`).
//! Invariant: a key leaves the list of those to be looked at only when it is settled, or when it is refused.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use consort_types::{Result, limits};

use crate::{
    decide::{Action, Ours, decide},
    incoming::Incoming,
    mirror::Mirror,
    peer::{Change, Entry, KEYS_AT_ONCE, OWN, Peer, Write, Written},
    report::Event,
    source,
    values::{Digest, Mark},
};

impl Mirror<'_> {
    /// Looks at some of the keys. Those that another look is needed for stay.
    pub(crate) async fn settle(&mut self, peer: &dyn Peer, token: u64, dirty: &mut BTreeSet<String>) -> Result<()> {
        let mut keys = Vec::with_capacity(KEYS_AT_ONCE);
        while keys.len() < KEYS_AT_ONCE
            && let Some(key) = dirty.pop_first()
        {
            keys.push(key);
        }
        let theirs = peer.read(&keys).await?;
        let ours = source::read(&self.client, &self.options.space, &keys).await?;
        let (mut writes, mut incoming) = (Vec::new(), Vec::new());
        for ((key, ours), theirs) in keys.into_iter().zip(ours).zip(theirs) {
            if self.options.prefix.is_empty() && key.starts_with(OWN) {
                self.refuse(&key, "keys of this name are the mirror's own on the other side");
                continue;
            }
            match decide(self.options.direction, &ours, &theirs, self.carried.get(&key).copied()) {
                Action::Nothing => {}
                Action::Note => writes.push(note(key, &ours, theirs)),
                Action::Out => writes.extend(self.outgoing(key, ours, theirs)),
                Action::In { seen, contended } => incoming.push(Incoming { key, theirs, seen, contended }),
            }
        }
        let again = self.take(token, incoming, &mut writes).await?;
        dirty.extend(self.send(peer, token, writes).await?);
        dirty.extend(again);
        Ok(())
    }

    /// The write that makes the other side what the state store is; nothing where that has no room for it.
    fn outgoing(&mut self, key: String, ours: Ours, theirs: Entry) -> Option<Write> {
        let Ours { version, text, expires } = ours;
        let Some(text) = text else {
            return Some(Write { key, seen: theirs, change: Change::Delete, mark: None });
        };
        let (bytes, max) = (text.len(), limits::MIRROR_VALUE_BYTES_MAX);
        if bytes > max {
            self.refuse(&key, &format!("the value has {bytes} bytes, a mirror carries at most {max}"));
            return None;
        }
        let mark = Some(Mark { version, digest: Some(Digest::of(&text)) });
        Some(Write { key, seen: theirs, change: Change::Put { text, ttl: expires.map(left) }, mark })
    }

    /// Writes to the other side; the keys that have changed there meanwhile.
    async fn send(&mut self, peer: &dyn Peer, token: u64, writes: Vec<Write>) -> Result<Vec<String>> {
        let outcomes = peer.write(token, &writes).await?;
        let mut moved = Vec::new();
        for (write, outcome) in writes.into_iter().zip(outcomes) {
            match outcome {
                Written::Moved => moved.push(write.key),
                Written::Done => {
                    self.carried.remove(&write.key);
                    if write.change != Change::Keep {
                        self.counts.out += 1;
                        let version = write.mark.map_or(0, |mark| mark.version);
                        (self.report)(&Event::Out { key: write.key, version });
                    }
                }
            }
        }
        // What the transactions took is noted now, with the key.
        self.unnoted.clear();
        self.unsure = false;
        Ok(moved)
    }
}

/// The write of the mark alone, where both sides are equal.
fn note(key: String, ours: &Ours, theirs: Entry) -> Write {
    let mark = theirs.content.digest().map(|digest| Mark { version: ours.version, digest: Some(digest) });
    Write { key, seen: theirs, change: Change::Keep, mark }
}

/// How long a copy stays: a little longer than its original, which decides when it ends.
fn left(expires: u64) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Duration::from_micros(expires).saturating_sub(now) + Duration::from_secs(limits::MIRROR_TTL_MARGIN_SECONDS)
}
