//! Synchronising a replica with its server.
//!
//! For: the order in which pushes are sent and changes are pulled. Not for: what follows from an answer (see `state`).
//! Invariant: what is sent is in the file before, and what is answered is in the file before anything else is sent.

use std::collections::BTreeSet;

use consort_api::{
    Document, NoParams,
    spaces::{ShowSpace, Space, SpaceParams},
    state::{
        GetState, GetStateParams, ListState, ListStateParams, StateChange, StateChangeKind, StateEvent, StateResult,
        StateTransaction, StateValue, TransactState, TransactStateRequest, WatchState, WatchStateParams,
    },
};
use consort_types::{
    Code, Error, Result, limits,
    state::{Position, WriteOutcome},
};
use serde_json::{Value, json};

use super::{
    Replica, ReplicaSync,
    part::{At, Line, Part},
    state::{Arrival, CURSORS, ReplicaState},
};

/// Changes that become one line of the file.
const CHANGES: usize = 500;
/// So many times a space is listed again while its changes go faster than they can be followed.
const LISTINGS: usize = 5;

/// What a synchronisation gathers.
#[derive(Default)]
struct Gathered {
    pushed: BTreeSet<String>,
    changed: BTreeSet<String>,
    /// Keys that are pushed alone.
    alone: BTreeSet<String>,
}

impl Replica {
    /// Pushes what was written here, and pulls what the server has.
    ///
    /// A write that the server refuses does not hold up the others: it is in `conflicts`. Without a server it fails as
    /// unavailable, and may be called again at any time; nothing is done twice.
    ///
    /// # Errors
    /// [`Code::ReplicaTaken`] where another file has the name of this replica.
    pub async fn sync(&self) -> Result<ReplicaSync> {
        let _one = self.syncing.lock().await;
        let mut gathered = Gathered::default();
        let mut space = self.show().await?;
        if self.look(|state| state.push().is_some_and(|push| push.done.is_none())) {
            self.send(&mut gathered).await?;
            // It may have been done since.
            space = self.show().await?;
        }
        self.pull(space, &mut gathered).await?;
        while self.begin(&gathered, self.expected().await?)? {
            self.send(&mut gathered).await?;
            if self.look(|state| state.push().is_some()) {
                self.pull(self.show().await?, &mut gathered).await?;
            }
        }
        self.pull(self.show().await?, &mut gathered).await?;
        Ok(ReplicaSync {
            position: self.position().unwrap_or_default(),
            pushed: gathered.pushed.into_iter().collect(),
            changed: gathered.changed.into_iter().collect(),
            conflicts: self.conflicts(),
        })
    }

    fn begin(&self, gathered: &Gathered, expect: Option<Value>) -> Result<bool> {
        let mut file = self.file.lock();
        let id = format!("{:032x}", rand::random::<u128>());
        let Some(line) = file.state.begin_push(id, &gathered.alone, expect) else { return Ok(false) };
        file.commit(line).map(|()| true)
    }

    /// The space as it is now; none where it is not there.
    async fn show(&self) -> Result<Option<Space>> {
        let params = SpaceParams { space: self.space.clone() };
        let found = unless_gone(self.client.call::<ShowSpace>(&params, &()).await)?;
        let policies = found.iter().flat_map(|space| space.policies.clone()).map(Into::into).collect();
        self.file.lock().state.policies = policies;
        Ok(found)
    }

    /// What the cursor has before the first push; nothing is asked later.
    async fn expected(&self) -> Result<Option<Value>> {
        if self.look(|state| state.meta.done.is_some()) {
            return Ok(None);
        }
        let key = self.look(ReplicaState::cursor_key);
        let found = unless_gone(self.ask(CURSORS, &key, None).await)?;
        found.map(|found| value_of(&found.value)).transpose()
    }

    async fn ask(&self, space: &str, key: &str, version: Option<u64>) -> Result<StateValue> {
        let params = GetStateParams { space: space.to_owned(), key: key.to_owned(), version };
        self.client.call::<GetState>(&params, &()).await
    }

    /// Sends the push that is on its way, for the first time or again.
    async fn send(&self, gathered: &mut Gathered) -> Result<()> {
        let (request, keys) = self.look(|state| {
            let keys = state.push().map(|push| push.keys.clone()).unwrap_or_default();
            state.request().map(|request| (request, keys))
        })?;
        let request: TransactStateRequest = serde_json::from_value(request)
            .map_err(|error| Error::new(Code::Internal, format!("a push cannot be written: {error}")))?;
        match self.client.call::<TransactState>(&NoParams {}, &request).await {
            Ok(answer) => self.answered(&keys, answer, gathered).await?,
            Err(error) if is_refusal(error.code) => {
                self.commit(|state| state.refused(&error))?;
                if keys.len() > 1 {
                    gathered.alone.extend(keys);
                }
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        gathered.pushed.extend(keys);
        Ok(())
    }

    async fn answered(&self, keys: &[String], answer: StateTransaction, gathered: &mut Gathered) -> Result<()> {
        let StateTransaction { version, succeeded, results } = answer;
        if succeeded {
            let mut arrivals = Vec::new();
            for (key, result) in keys.iter().zip(results.into_iter().skip(1)) {
                arrivals.push(self.outcome(key, result).await?);
            }
            return self.arrive(|state| state.answered(arrivals, version), gathered);
        }
        let first = results.into_iter().next();
        let found = first.as_ref().and_then(|first| first.value.as_ref()).map(value_of).transpose()?;
        if found == Some(json!(self.look(ReplicaState::cursor)?)) {
            let done = first.map_or(0, |first| first.version);
            return self.arrive(|state| state.found_done(done), gathered);
        }
        let (name, found) = (self.look(|state| state.meta.name.clone()).unwrap_or_default(), json!(found));
        let message =
            format!("the last push of replica `{name}` is `{found}` at the server, which is not what this file did");
        Err(Error::new(Code::ReplicaTaken, message).hint(
            "another file has the name, or this one is an older copy: open a new file with a name of its own, and write \
             again what `pending` shows and the server does not have",
        ))
    }

    /// What a key has after an operation of a push.
    async fn outcome(&self, key: &str, result: StateResult) -> Result<Arrival> {
        let StateResult { outcome, version, value, .. } = result;
        let given = match &value {
            Some(value) => Some(value_of(value)?),
            None => self.look(|state| state.row(key).sent.and_then(|sent| sent.value)),
        };
        let server = match outcome {
            WriteOutcome::Deleted | WriteOutcome::Absent => None,
            WriteOutcome::Undecided => self.whole(key, None).await?,
            _ if given.as_ref().is_some_and(is_reference) => self.whole(key, Some(version)).await?,
            _ => Some(Part { version: Some(version), ..Part::of(given) }),
        };
        Ok(Arrival { key: key.to_owned(), version, server })
    }

    /// Pulls all changes up to those of now, and ends a push whose answer was lost.
    async fn pull(&self, now: Option<Space>, gathered: &mut Gathered) -> Result<()> {
        let mut now = now;
        for _ in 0..LISTINGS {
            let Some(space) = now else {
                let at = At { position: Position::ZERO.to_string(), made: None };
                self.arrive(|state| Ok(state.listed(Vec::new(), at)), gathered)?;
                return self.end(gathered);
            };
            let made = made(&space);
            let at = self.look(|state| state.meta.at.clone()).filter(|at| at.made.as_ref() == Some(&made));
            let follows = match at {
                Some(at) => self.follow(at.position.parse()?, space.position, gathered).await?,
                None => false,
            };
            if follows {
                return self.end(gathered);
            }
            self.list_anew(made, gathered).await?;
            now = self.show().await?;
        }
        let message = format!("space `{}` changes faster than it can be followed", self.space);
        Err(Error::new(Code::Overloaded, message).hint("have the space keep more changes, or synchronise again"))
    }

    fn end(&self, gathered: &mut Gathered) -> Result<()> {
        self.arrive(|state| state.settled().map(Option::unwrap_or_default), gathered)
    }

    /// Pulls all that is there, because the changes since then are not kept, or were never seen.
    async fn list_anew(&self, made: String, gathered: &mut Gathered) -> Result<()> {
        let prefix = Some(self.look(|state| state.prefix().to_owned())).filter(|prefix| !prefix.is_empty());
        let (mut arrivals, mut position, mut cursor) = (Vec::new(), None, None);
        loop {
            let (space, limit) = (self.space.clone(), Some(limits::PAGE_ITEMS_MAX));
            let params = ListStateParams { space, prefix: prefix.clone(), cursor, limit };
            let Some(page) = unless_gone(self.client.call::<ListState>(&params, &()).await)? else { break };
            position.get_or_insert(page.position);
            for item in page.items {
                let value = value_of(&item.value)?;
                let server = if item.conflict.is_some() || is_reference(&value) {
                    self.whole(&item.key, None).await?
                } else {
                    Some(kept(&item)?)
                };
                if let Some(server) = server {
                    arrivals.push(Arrival { key: item.key, version: server.version(), server: Some(server) });
                }
            }
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        let at = At { position: position.unwrap_or(Position::ZERO).to_string(), made: Some(made) };
        self.arrive(|state| Ok(state.listed(arrivals, at)), gathered)
    }

    /// Pulls the changes behind a position, up to another one; false where they are no longer kept.
    async fn follow(&self, after: Position, until: Position, gathered: &mut Gathered) -> Result<bool> {
        if after >= until {
            return Ok(true);
        }
        // Those of other keys are read, too: they tell when all have come.
        let (space, after) = (self.space.clone(), Some(after.to_string()));
        let params = WatchStateParams { space, after, ..WatchStateParams::default() };
        let mut events = match self.client.inner()?.events::<WatchState>(&params).await {
            Ok(events) => events,
            Err(error) => return lost(error),
        };
        let prefix = self.look(|state| state.prefix().to_owned());
        let (mut arrivals, mut count) = (Vec::new(), 0);
        loop {
            let change = match events.next().await? {
                Some(event) => match event.what {
                    StateEvent::Change(change) => *change,
                    StateEvent::Error(problem) => return lost(problem.into()),
                },
                None => return Err(Error::new(Code::Unreachable, "the server has ended the watch of the space")),
            };
            let position = change.position;
            count += 1;
            if change.key.starts_with(&prefix) {
                arrivals.push(self.arrival(change).await?);
            }
            if position >= until || count % CHANGES == 0 {
                let arrivals = std::mem::take(&mut arrivals);
                self.arrive(|state| Ok(state.pulled(arrivals, position.to_string())), gathered)?;
            }
            if position >= until {
                return Ok(true);
            }
        }
    }

    async fn arrival(&self, change: StateChange) -> Result<Arrival> {
        let StateChange { key, version, value, change, .. } = change;
        let value = value.as_ref().map(value_of).transpose()?;
        let server = match value {
            None => None,
            Some(_) if change == StateChangeKind::Undecided => self.whole(&key, None).await?,
            Some(value) if is_reference(&value) => self.whole(&key, Some(version)).await?,
            Some(value) => Some(Part { version: Some(version), ..Part::of(Some(value)) }),
        };
        Ok(Arrival { key, version, server })
    }

    /// The value of a key in whole, at a version where that is kept.
    async fn whole(&self, key: &str, version: Option<u64>) -> Result<Option<Part>> {
        let mut found = self.ask(&self.space, key, version).await;
        if version.is_some() && found.as_ref().is_err_and(|error| error.code == Code::VersionGone) {
            found = self.ask(&self.space, key, None).await;
        }
        unless_gone(found)?.as_ref().map(kept).transpose()
    }

    /// Commits what the server has said, and tells of what a reader sees of it.
    fn arrive(&self, line: impl FnOnce(&ReplicaState) -> Result<Line>, gathered: &mut Gathered) -> Result<()> {
        let mut told = Vec::new();
        {
            let mut file = self.file.lock();
            let line = line(&file.state)?;
            let before: Vec<(String, Option<Value>)> =
                line.rows.keys().map(|key| (key.clone(), file.state.visible(key).cloned())).collect();
            file.commit(line)?;
            for (key, old) in before {
                let new = file.state.visible(&key);
                if new != old.as_ref() {
                    told.push((key, new.cloned()));
                }
            }
        }
        for (key, value) in told {
            if let Some(on_change) = &self.on_change {
                on_change(&key, value.as_ref());
            }
            gathered.changed.insert(key);
        }
        Ok(())
    }
}

/// Whether the server will never do such a write, so that its key is in conflict.
fn is_refusal(code: Code) -> bool {
    let of_state = (700..800).contains(&code.number());
    let of_request = [Code::BadRequest, Code::BadName, Code::BadJson, Code::PayloadTooLarge, Code::LimitReached];
    of_state || of_request.contains(&code)
}

/// What was found; none where there is no such thing.
fn unless_gone<T>(found: Result<T>) -> Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.code, Code::SpaceNotFound | Code::KeyNotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether changes can be followed at all: not where they are no longer kept.
fn lost(error: Error) -> Result<bool> {
    if matches!(error.code, Code::VersionGone | Code::SpaceNotFound) { Ok(false) } else { Err(error) }
}

fn value_of(document: &Document) -> Result<Value> {
    document.read("value")
}

/// Whether an answer has a reference in place of a value that is large.
fn is_reference(value: &Value) -> bool {
    value
        .as_object()
        .is_some_and(|object| object.len() == 2 && object.contains_key("$blob") && object.contains_key("bytes"))
}

/// When a space was made, as its document says it.
fn made(space: &Space) -> String {
    json!(space.created_at).as_str().unwrap_or_default().to_owned()
}

/// What a row keeps of a value of the server.
fn kept(found: &StateValue) -> Result<Part> {
    let siblings = found.siblings.iter().filter_map(|one| one.value.as_ref());
    Ok(Part {
        version: Some(found.version),
        value: Some(value_of(&found.value)?),
        conflict: found.conflict.map(|conflict| conflict.to_string()),
        siblings: siblings.map(value_of).collect::<Result<_>>()?,
        ..Part::default()
    })
}
