//! The list of what an archive has: each file with its size and hash, and the record that they reflect.
//!
//! For: reading and writing that list. Not for: the files in it.
//! Invariant: a manifest that was changed in any bit is refused; its first line has the hash of the rest.

use consort_types::{BlobHash, Code, Error, Result, Seq, Time};
use serde::{Deserialize, Serialize};

/// What a manifest begins with, before its version.
const NAME: &str = "consort-manifest";
/// The version that this build reads and writes.
const VERSION: u32 = 1;

/// A file of an archive; its name is its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Object {
    pub(crate) hash: BlobHash,
    pub(crate) bytes: u64,
}

/// The position of one partition, and its rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Partition {
    /// The last record of the log that the rows reflect.
    pub(crate) record: Seq,
    /// Log time at that record, to the millisecond: it is there to be read.
    pub(crate) time: Time,
    /// How many rows there are.
    pub(crate) rows: u64,
    /// The rows, in chunks that are in the order of their keys.
    pub(crate) chunks: Vec<Object>,
}

/// What an archive has of one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// The version of Consort that wrote it.
    pub(crate) consort: String,
    /// The partitions; today there is one.
    pub(crate) partitions: Vec<Partition>,
    /// The blobs that the rows refer to, where the archive has blobs.
    pub(crate) blobs: Vec<Object>,
    /// Blobs that the rows refer to and that were missing, or damaged, when the archive was written.
    pub(crate) missing: Vec<BlobHash>,
}

impl Manifest {
    /// The bytes of its file.
    pub(crate) fn encode(&self) -> Result<String> {
        let broken = |error| Error::new(Code::Internal, format!("a manifest cannot be written: {error}"));
        let rest = serde_json::to_string(self).map_err(broken)?;
        Ok(format!("{NAME} {VERSION} {}\n{rest}\n", BlobHash::of(rest.as_bytes())))
    }

    /// Reads the bytes of a file; the error does not name it.
    pub(crate) fn decode(bytes: &[u8]) -> std::result::Result<Self, String> {
        let text = str::from_utf8(bytes).map_err(|_| "it is no text".to_owned())?;
        let (head, rest) = text.split_once('\n').ok_or("it has no first line")?;
        let mut words = head.split(' ');
        if words.next() != Some(NAME) {
            return Err(format!("it does not begin with `{NAME}`"));
        }
        let version = words.next().and_then(|word| word.parse::<u32>().ok());
        if version != Some(VERSION) {
            return Err(format!("its first line does not name version `{VERSION}`, which this build reads"));
        }
        let rest = rest.trim_end_matches('\n');
        if words.next().and_then(BlobHash::parse) != Some(BlobHash::of(rest.as_bytes())) {
            return Err("its bytes have another hash than its first line says".to_owned());
        }
        let manifest: Self = serde_json::from_str(rest).map_err(|error| error.to_string())?;
        if manifest.partitions.len() != 1 {
            return Err(format!("it has `{}` partitions, this build reads 1", manifest.partitions.len()));
        }
        Ok(manifest)
    }

    /// The one partition that this version has.
    pub(crate) fn partition(&self) -> &Partition {
        &self.partitions[0]
    }

    /// Every file that it needs.
    pub(crate) fn objects(&self) -> impl Iterator<Item = &Object> {
        self.partitions.iter().flat_map(|partition| &partition.chunks).chain(&self.blobs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_read_back_and_no_bit_of_it_may_change() {
        let object = Object { hash: BlobHash::of(b"rows"), bytes: 4 };
        let partition = Partition { record: Seq(7), time: Time(9_000), rows: 1, chunks: vec![object] };
        let manifest =
            Manifest { consort: "1".into(), partitions: vec![partition], blobs: vec![], missing: vec![object.hash] };
        let text = manifest.encode().unwrap();
        assert_eq!(Manifest::decode(text.as_bytes()), Ok(manifest));
        for at in 0..text.len() - 1 {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            assert!(Manifest::decode(&bytes).is_err(), "byte {at}");
        }
        assert!(Manifest::decode(b"").is_err() && Manifest::decode(&text.as_bytes()[..50]).is_err());
    }
}
