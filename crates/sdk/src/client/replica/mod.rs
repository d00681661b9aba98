//! A replica of a space: it works without the server, and synchronises with it.
//!
//! For: programs that read and write shared state while they are offline. Not for: the rules (see `state`), or the file
//! (see `file`).
//! Invariant: whatever is lost or killed, each local write is done at the server once, or is reported as a conflict.
//!
//! | file | is about |
//! |---|---|
//! | `part` | the lines of the file, and what is new in them |
//! | `state` | every rule, as pure functions from a state to a line |
//! | `merge` | what was written while a push was on its way |
//! | `file`, `lock` | lines on the disk, and one process at a time |
//! | `sync` | the server |

mod file;
mod lock;
mod merge;
mod part;
mod state;
mod sync;

use std::{
    fmt,
    path::{Path, PathBuf},
};

use consort_types::{Code, Error, Result, limits};
use parking_lot::Mutex;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use self::{
    file::{Header, ReplicaFile},
    merge::elements,
    part::{Line, Row},
    state::{ReplicaState, check_key},
};
use super::Client;

type OnChange = dyn Fn(&str, Option<&Value>) + Send + Sync;

/// Of what a replica is, and where it is kept.
pub struct ReplicaOptions {
    space: String,
    path: PathBuf,
    name: String,
    prefix: String,
    on_change: Option<Box<OnChange>>,
}

impl ReplicaOptions {
    /// The replica of a space in a file, which is made where it is not there. No other replica of the space has its name.
    pub fn new(space: impl Into<String>, path: impl AsRef<Path>, name: impl Into<String>) -> Self {
        let (space, path, name) = (space.into(), path.as_ref().to_owned(), name.into());
        Self { space, path, name, prefix: String::new(), on_change: None }
    }

    /// It holds only the keys that begin so.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Called by [`Replica::sync`] with each key of which a reader sees another value, and that value.
    #[must_use]
    pub fn on_change(mut self, told: impl Fn(&str, Option<&Value>) + Send + Sync + 'static) -> Self {
        self.on_change = Some(Box::new(told));
        self
    }
}

/// What a replica has of a key.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplicaValue {
    /// What a reader sees: what was written here, or else what the server has.
    pub value: Value,
    /// The version of the server's value that is here; 0 where it has none.
    pub version: u64,
    /// Whether something was written here that the server has not answered yet.
    pub pending: bool,
    /// The conflict that waits for a decision about the key at the server (policy `agent`).
    pub conflict: Option<String>,
    /// The values that are kept beside the server's until then.
    pub siblings: Vec<Value>,
}

/// A write that the server refused. It stays until [`Replica::put`], [`Replica::delete`] or [`Replica::take_server`] decides
/// about the key.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplicaConflict {
    /// The key.
    pub key: String,
    /// Why it was refused, such as [`Code::StateConflict`].
    pub code: Code,
    /// The same in words.
    pub message: String,
    /// The value that the writer had seen.
    pub base: Option<Value>,
    /// The value that was written here; none where it was removed.
    pub local: Option<Value>,
    /// The value that the server has.
    pub server: Option<Value>,
}

/// What a synchronisation did.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplicaSync {
    /// All changes of the space up to this position are here.
    pub position: String,
    /// The keys whose writes are done.
    pub pushed: Vec<String>,
    /// The keys of which a reader sees another value.
    pub changed: Vec<String>,
    /// The writes that were refused, also earlier, and are not decided.
    pub conflicts: Vec<ReplicaConflict>,
}

/// A replica of a space in a file.
///
/// Reading and writing need no server. [`Replica::sync`] pushes what was written and pulls what others wrote; conflicts are
/// resolved by the policies of the space. The file is closed when this is dropped.
///
/// ```no_run
/// use consort_sdk::{Client, client::{Replica, ReplicaOptions}};
///
/// # async fn example() -> consort_types::Result<()> {
/// let client = Client::new("http://127.0.0.1:7878");
/// let replica = Replica::open(&client, ReplicaOptions::new("team", "team.replica", "laptop"))?;
/// replica.put("plan", &serde_json::json!({ "goal": "ship" }))?;
/// replica.add("visits", 1)?;
/// let report = replica.sync().await?;
/// # Ok(()) }
/// ```
pub struct Replica {
    client: Client,
    space: String,
    on_change: Option<Box<OnChange>>,
    file: Mutex<ReplicaFile>,
    /// One synchronisation at a time.
    syncing: tokio::sync::Mutex<()>,
}

impl fmt::Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica").field("space", &self.space).finish_non_exhaustive()
    }
}

impl Replica {
    /// Opens a replica; the server is not needed.
    ///
    /// # Errors
    /// [`Code::ReplicaTaken`] where the file is open elsewhere or is that of another replica, [`Code::ReplicaDamaged`] where
    /// it is damaged.
    pub fn open(client: &Client, options: ReplicaOptions) -> Result<Self> {
        let ReplicaOptions { space, path, name, prefix, on_change } = options;
        let (size, max) = (name.len(), limits::NAME_BYTES_MAX);
        if size == 0 || size > max || name.contains('/') {
            let message = format!("the name of a replica has `{size}` bytes, or a `/`; it has 1 to {max} bytes");
            return Err(Error::new(Code::BadRequest, message));
        }
        let file = ReplicaFile::open(&path, &Header { space: space.clone(), name, prefix })?;
        let (file, syncing) = (Mutex::new(file), tokio::sync::Mutex::new(()));
        Ok(Self { client: client.clone(), space, on_change, file, syncing })
    }

    /// All changes of the space up to it are here; none before the first synchronisation.
    pub fn position(&self) -> Option<String> {
        self.look(|state| state.meta.at.as_ref().map(|at| at.position.clone()))
    }

    /// The value of a key, with what was written here.
    ///
    /// # Errors
    /// [`Code::BadJson`] where it is not a `T`.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let read = |value| {
            serde_json::from_value(value).map_err(|error| {
                Error::new(Code::BadJson, format!("the value of key `{key}` has another form: {error}"))
                    .hint("read it as a `serde_json::Value` to see what it is")
            })
        };
        self.look(|state| state.visible(key).cloned()).map(read).transpose()
    }

    /// The value of a key with what is known of it.
    pub fn entry(&self, key: &str) -> Option<ReplicaValue> {
        self.look(|state| {
            let row = state.rows.get(key)?;
            let server = row.server.clone().unwrap_or_default();
            Some(ReplicaValue {
                value: row.visible()?.clone(),
                version: server.version(),
                pending: row.pending.is_some() || row.sent.is_some(),
                conflict: server.conflict,
                siblings: server.siblings,
            })
        })
    }

    /// The keys that begin with `prefix`, in the order of their bytes, with their values.
    pub fn list(&self, prefix: &str) -> Vec<(String, Value)> {
        let shown = |(key, row): (&String, &Row)| Some((key.clone(), row.visible()?.clone()));
        self.look(|state| state.rows.iter().filter(|(key, _)| key.starts_with(prefix)).filter_map(shown).collect())
    }

    /// The keys whose writes the server has not answered yet, or has refused.
    pub fn pending(&self) -> Vec<String> {
        let waits = |row: &Row| row.pending.is_some() || row.sent.is_some();
        self.look(|state| state.rows.iter().filter(|(_, row)| waits(row)).map(|(key, _)| key.clone()).collect())
    }

    /// The writes that the server refused, until it is decided about their keys.
    pub fn conflicts(&self) -> Vec<ReplicaConflict> {
        let shown = |(key, row): (&String, &Row)| {
            let (refusal, write) = (row.conflict.as_ref()?, row.pending.as_ref()?);
            Some(ReplicaConflict {
                key: key.clone(),
                code: refusal.code,
                message: refusal.message.clone(),
                base: row.saw(write),
                local: write.value.clone(),
                server: row.server.as_ref().and_then(|server| server.value.clone()),
            })
        };
        self.look(|state| state.rows.iter().filter_map(shown).collect())
    }

    /// Gives a key a value, here. It is on the disk when this returns, and at the server after [`Replica::sync`].
    ///
    /// Of a key in conflict it decides: it has seen what the server has.
    pub fn put(&self, key: &str, value: &impl Serialize) -> Result<()> {
        let value = plain(value)?;
        self.write(key, |_| Ok(Some(value)))
    }

    /// Removes the value of a key, here; as [`Replica::put`].
    pub fn delete(&self, key: &str) -> Result<()> {
        self.write(key, |_| Ok(None))
    }

    /// Adds to a whole number, which is 0 where there is none; the new number. For keys of the policy `counter`.
    pub fn add(&self, key: &str, amount: i64) -> Result<i64> {
        let mut sum = 0;
        self.write(key, |found| {
            let found = found.map_or(Some(0), Value::as_i64);
            sum = found.and_then(|found| found.checked_add(amount)).ok_or_else(|| misfit(key, "a whole number"))?;
            Ok(Some(Value::from(sum)))
        })?;
        Ok(sum)
    }

    /// Adds elements to a list that has each once. For keys of the policy `set`.
    pub fn add_to<T: Serialize>(&self, key: &str, added: &[T]) -> Result<()> {
        let added = added.iter().map(plain).collect::<Result<Vec<_>>>()?;
        self.write(key, |found| {
            let mut list = list_of(key, found)?;
            for element in added {
                if !list.contains(&element) {
                    list.push(element);
                }
            }
            Ok(Some(Value::Array(list)))
        })
    }

    /// Removes elements from such a list.
    pub fn remove_from<T: Serialize>(&self, key: &str, removed: &[T]) -> Result<()> {
        let removed = removed.iter().map(plain).collect::<Result<Vec<_>>>()?;
        let gone = elements(&removed);
        self.write(key, |found| {
            let mut list = list_of(key, found)?;
            list.retain(|element| !gone.contains_key(&element.to_string()));
            Ok(Some(Value::Array(list)))
        })
    }

    /// Gives up what was written here about a key: what the server has counts, also where that is nothing. What is on its
    /// way to the server stays.
    pub fn take_server(&self, key: &str) -> Result<()> {
        self.commit(|state| Ok(state.give_up(key)))
    }

    fn write(&self, key: &str, value: impl FnOnce(Option<&Value>) -> Result<Option<Value>>) -> Result<()> {
        check_key(key)?;
        self.commit(|state| {
            let prefix = state.prefix();
            if !key.starts_with(prefix) {
                let message = format!("the key `{key}` does not begin with `{prefix}`, as the keys of this replica do");
                return Err(Error::new(Code::BadRequest, message));
            }
            Ok(state.write(key, value(state.visible(key))?))
        })
    }

    fn look<T>(&self, at: impl FnOnce(&ReplicaState) -> T) -> T {
        at(&self.file.lock().state)
    }

    fn commit(&self, line: impl FnOnce(&ReplicaState) -> Result<Line>) -> Result<()> {
        let mut file = self.file.lock();
        let line = line(&file.state)?;
        file.commit(line)
    }
}

fn plain(value: &impl Serialize) -> Result<Value> {
    serde_json::to_value(value).map_err(|error| {
        Error::new(Code::BadJson, format!("the value cannot be written as JSON: {error}"))
            .hint("the keys of a JSON object are texts")
    })
}

fn list_of(key: &str, found: Option<&Value>) -> Result<Vec<Value>> {
    let list = found.map_or_else(|| Some(Vec::new()), |found| found.as_array().cloned());
    list.ok_or_else(|| misfit(key, "a list"))
}

fn misfit(key: &str, wanted: &str) -> Error {
    Error::new(Code::NotMergeable, format!("the value of key `{key}` is not {wanted}"))
}
