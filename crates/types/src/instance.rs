//! Worker instances: one connection that takes tasks for an agent.
//!
//! For: the identity of a holder, in records, rows and listings. Not for: who may connect (the engine decides).
//! Invariant: an instance survives its text form, and no two instances of a data folder are equal.

use std::{fmt, str::FromStr};

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::{Code, Error, Result};

/// Where an instance lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Locality {
    /// In the engine's process: it ends with it.
    #[n(0)]
    Local,
    /// In a process of its own: it outlives a restart of the engine, and may reconnect.
    #[n(1)]
    Remote,
}

impl Locality {
    /// The first word of an instance's text form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Remote => "remote",
        }
    }
}

/// A worker instance. The text form is `local:START:NUMBER:AGENT` or `remote:START:NUMBER:AGENT`, where `START`
/// identifies one start of the engine and is written to base 36. Records and rows hold its parts: every step writes an
/// instance several times, and making a text of it costs more than the rest of the row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct WorkerInstance {
    /// Where it lives.
    #[n(0)]
    pub locality: Locality,
    /// The start of the engine that it joined.
    #[n(1)]
    pub start: u64,
    /// Its number within that start, from 1.
    #[n(2)]
    pub number: u64,
    /// The agent that it serves.
    #[n(3)]
    pub agent: String,
}

impl fmt::Display for WorkerInstance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}:{}", self.locality.as_str(), base36(self.start), self.number, self.agent)
    }
}

impl FromStr for WorkerInstance {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parsed = parse(text).filter(|parsed| parsed.to_string() == text);
        parsed.ok_or_else(|| {
            Error::new(Code::BadRequest, format!("`{text}` is not a worker instance"))
                .hint("an instance is `local:START:NUMBER:AGENT` or `remote:START:NUMBER:AGENT`")
        })
    }
}

fn parse(text: &str) -> Option<WorkerInstance> {
    let mut parts = text.splitn(4, ':');
    let locality = match parts.next()? {
        "local" => Locality::Local,
        "remote" => Locality::Remote,
        _ => return None,
    };
    let start = u64::from_str_radix(parts.next()?, 36).ok()?;
    let number = parts.next()?.parse().ok()?;
    Some(WorkerInstance { locality, start, number, agent: parts.next()?.to_owned() })
}

/// A number in few characters.
fn base36(mut number: u64) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut text = Vec::new();
    loop {
        text.push(DIGITS[(number % 36) as usize]);
        number /= 36;
        if number == 0 {
            break;
        }
    }
    text.iter().rev().map(|digit| char::from(*digit)).collect()
}

impl Serialize for WorkerInstance {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for WorkerInstance {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_survive_their_text_form() {
        for text in ["local:0:1:basic", "remote:3w5e11264sgsf:18446744073709551615:a.b-c"] {
            let parsed: WorkerInstance = text.parse().unwrap();
            assert_eq!(parsed.to_string(), text);
            let bytes = minicbor::to_vec(&parsed).unwrap();
            assert_eq!(minicbor::decode::<WorkerInstance>(&bytes).unwrap(), parsed);
        }
        let parsed: WorkerInstance = "remote:zz:3:a".parse().unwrap();
        assert_eq!((parsed.locality, parsed.start, parsed.number), (Locality::Remote, 35 * 36 + 35, 3));
    }

    #[test]
    fn what_is_no_instance_is_refused() {
        for text in
            ["", "local", "local:1:1", "elsewhere:1:1:a", "local:Z:1:a", "local:+1:1:a", "local:1:01:a", "x:y:z:w"]
        {
            assert_eq!(text.parse::<WorkerInstance>().unwrap_err().code, Code::BadRequest, "{text}");
        }
    }
}
