//! What a mirror finds that was killed between its two writes.
//!
//! For: changes of the other side that a transaction took, and that the other side does not note yet. Not for: anything
//! else (that is seen by comparing).
//! Invariant: a change that was taken is not taken again, whatever either side did since.

use std::collections::BTreeSet;

use consort_types::{Code, Result};

use crate::{
    cursor::Arrived,
    decide::{Carried, Ours},
    mirror::Mirror,
    peer::{Change, Entry, Peer, Write},
    source,
    values::{Digest, Mark},
};

impl Mirror<'_> {
    /// Notes what was taken; the keys, which are to be looked at.
    pub(crate) async fn recover(&mut self, peer: &dyn Peer, token: u64, version: u64) -> Result<BTreeSet<String>> {
        let arrived = std::mem::take(&mut self.cursor.arrived);
        let keys: Vec<String> = arrived.iter().map(|one| one.key.clone()).collect();
        let mut writes = Vec::new();
        for (one, entry) in arrived.into_iter().zip(peer.read(&keys).await?) {
            let version = one.version.unwrap_or(version);
            writes.extend(self.recovered(one, entry, version).await?);
        }
        peer.write(token, &writes).await?;
        self.unnoted.clear();
        Ok(keys.into_iter().collect())
    }

    async fn recovered(&mut self, one: Arrived, entry: Entry, version: u64) -> Result<Option<Write>> {
        if entry.mark.is_some_and(|mark| mark.version >= version) {
            return Ok(None);
        }
        let digest = one.digest.as_deref().and_then(|digest| digest.parse::<Digest>().ok());
        let space = &self.options.space;
        if entry.mark.is_none() {
            let now = source::read_one(&self.client, space, &one.key, None).await?;
            // Both sides may have removed it since, and the other one may have it again.
            if digest.is_none() || (now.version == 0 && entry.content.digest() != digest) {
                return Ok(None);
            }
        }
        let was = match source::read_one(&self.client, space, &one.key, Some(version)).await {
            Ok(was) => Some(was),
            Err(error) if error.code == Code::VersionGone => None,
            Err(error) => return Err(error),
        };
        let exact = was.is_some_and(|Ours { text, .. }| text.as_deref().map(Digest::of) == digest);
        if !exact {
            self.carried.insert(one.key, Carried { digest, version });
            return Ok(None);
        }
        let mark = digest.map(|digest| Mark { version, digest: Some(digest) });
        Ok(Some(Write { key: one.key, seen: entry, change: Change::Keep, mark }))
    }
}
