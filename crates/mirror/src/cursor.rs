//! The cursor of a mirror, kept in the state store itself.
//!
//! For: where a mirror continues, and which changes of the other side its last transaction took. Not for: what is agreed
//! upon about each key (that is noted on the other side).
//! Invariant: a change of the other side and the cursor that tells of it are written by one transaction.

use consort_api::{
    Document,
    client::Client,
    state::{GetState, GetStateParams, StateAction, StateOperation},
};
use consort_types::{Code, Result};
use serde::{Deserialize, Serialize};

use crate::{
    options::{CURSORS, Options},
    values::Digest,
};

/// Where a mirror is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cursor {
    /// The space.
    pub(crate) space: String,
    /// The address of the other side.
    pub(crate) to: String,
    /// What keys begin with there.
    pub(crate) prefix: String,
    /// Which way changes go.
    pub(crate) direction: String,
    /// The last change of the space that is carried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) position: Option<String>,
    /// The place of the other side up to which all is taken, where it has places.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<String>,
    /// What was taken and is not yet noted on the other side.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) arrived: Vec<Arrived>,
}

/// A change of the other side that a transaction took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Arrived {
    /// The key.
    pub(crate) key: String,
    /// The digest of its value; absent where it was removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) digest: Option<String>,
    /// The version of the transaction; absent where it is the one that wrote this cursor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<u64>,
}

impl Arrived {
    pub(crate) fn new(key: &str, digest: Option<Digest>, version: Option<u64>) -> Self {
        Self { key: key.to_owned(), digest: digest.map(|digest| digest.to_string()), version }
    }
}

impl Cursor {
    /// The cursor of a mirror that has not begun.
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            space: options.space.clone(),
            to: options.to.to_string(),
            prefix: options.prefix.clone(),
            direction: options.direction.as_str().to_owned(),
            ..Self::default()
        }
    }

    /// Reads the cursor, with its version; a new one where there is none, or where it is that of another mirror that had
    /// the name.
    pub(crate) async fn load(client: &Client, options: &Options) -> Result<(Self, u64)> {
        let params = GetStateParams { space: CURSORS.to_owned(), key: options.name.clone(), version: None };
        let new = Self::new(options);
        let found = match client.call::<GetState>(&params, &()).await {
            Ok(found) => found,
            Err(error) if matches!(error.code, Code::KeyNotFound | Code::SpaceNotFound) => return Ok((new, 0)),
            Err(error) => return Err(error),
        };
        let cursor: Self = found.value.read("cursor of the mirror")?;
        let mut same = Self { position: None, place: None, arrived: Vec::new(), ..cursor.clone() };
        same.direction.clone_from(&new.direction);
        if same != new {
            return Ok((new, found.version));
        }
        if cursor.direction != new.direction {
            // What the other direction left alone is looked at now.
            return Ok((Self { arrived: cursor.arrived, ..new }, found.version));
        }
        Ok((cursor, found.version))
    }

    /// The operation that writes it.
    pub(crate) fn operation(&self, name: &str) -> Result<StateOperation> {
        Ok(StateOperation {
            op: StateAction::Put,
            space: CURSORS.to_owned(),
            key: name.to_owned(),
            value: Some(Document::of("cursor of the mirror", self)?),
            version: None,
            ttl: None,
            stamp: None,
            base: None,
        })
    }
}
