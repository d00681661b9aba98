//! The other side, where it is a server of Consort too.
//!
//! For: reaching it, following its space, and making sure that the two sides are a pair. Not for: what is carried (see
//! `carry`).
//! Invariant: the name of a mirror belongs to one pair of spaces, on both sides, and no pair has two mirrors: with two,
//! each would take what the other one carries for a change.

use std::collections::BTreeMap;

use consort_api::{
    client::{Client, Tcp},
    spaces::{SetSpace, ShowSpace, SpaceParams, SpaceRequest},
    state::{GetState, GetStateParams, ListState, ListStateParams, PutState, PutStateRequest, StateKeyParams},
};
use consort_types::{Code, Error, Result, limits, state::SpaceSettings};
use serde::{Deserialize, Serialize};
use tokio::{sync::mpsc, task::JoinSet};

use crate::{
    agreement::{End, Halves, Kept, Mark},
    options::{CURSORS, Options, ServerAddress},
    peer::{Follow, Noted, WAITING},
    source::{self, Changes},
    values::Digest,
};

/// The key of a namespace's id, in the space of the cursors.
const ID: &str = "/id";
/// What the key of a pair ends in, behind the name of the mirror.
const PAIR: &str = "/pair";

/// The other side.
pub(crate) struct Far {
    pub(crate) client: Client,
    pub(crate) space: String,
}

/// The two spaces that a mirror keeps equal, in an order that is the same seen from both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Pair {
    spaces: Vec<(String, String)>,
}

/// What both sides have set for their spaces.
pub(crate) struct Policies {
    pub(crate) near: SpaceSettings,
    pub(crate) far: SpaceSettings,
    /// Whether they are the same.
    pub(crate) agree: bool,
}

impl Far {
    pub(crate) fn new(address: &ServerAddress) -> Result<Self> {
        let mut client = Client::new(Tcp::new(&address.authority)?);
        if let Some(namespace) = &address.namespace {
            client = client.namespace(namespace);
        }
        if let Some(token) = &address.token {
            client = client.token(token);
        }
        Ok(Self { client, space: address.space.clone() })
    }

    /// Makes sure that the two sides are a pair, and that each has a space for the marks.
    ///
    /// # Errors
    /// [`Code::MirrorPaired`] where they are one side, the name is that of another pair, or the pair has another mirror.
    pub(crate) async fn pair(&self, near: &Client, options: &Options) -> Result<()> {
        let ours = id(near).await?;
        let theirs = id(&self.client).await.map_err(of_far)?;
        if ours == theirs {
            return Err(Error::new(Code::MirrorPaired, "both sides are one namespace of one server")
                .hint("give the address of another server; of a server that was made from a copy of this one, remove the key `/id` of the space `mirrors`"));
        }
        let mut spaces = vec![(ours, options.space.clone()), (theirs, self.space.clone())];
        spaces.sort();
        let pair = Pair { spaces };
        // Both are looked at before either is written, so that a name which does not fit leaves nothing behind.
        check(near, &options.name, &pair).await?;
        check(&self.client, &options.name, &pair).await.map_err(of_far)?;
        let key = format!("{}{PAIR}", options.name);
        for kept in [keep(near, &key, &pair).await, keep(&self.client, &key, &pair).await.map_err(of_far)] {
            if kept? != pair {
                return Err(taken(&options.name));
            }
        }
        marks_space(near, &options.marks()).await?;
        marks_space(&self.client, &options.marks()).await.map_err(of_far)
    }

    /// The policies of both sides.
    pub(crate) async fn policies(&self, near: &Client, space: &str) -> Result<Policies> {
        let show = async |client: &Client, space: &str| {
            source::position(client, space).await?;
            client.call::<ShowSpace>(&SpaceParams { space: space.to_owned() }, &()).await
        };
        let here = show(near, space).await?;
        let there = show(&self.client, &self.space).await.map_err(of_far)?;
        let agree = here.policies == there.policies;
        let settings = |policies: Vec<_>| SpaceRequest { policies, ..SpaceRequest::default() }.into();
        Ok(Policies { near: settings(here.policies), far: settings(there.policies), agree })
    }

    /// Follows the space behind a position, or from now on; `None` where what changed since is not kept.
    pub(crate) async fn follow(&self, after: Option<&str>) -> Result<Option<Follow>> {
        let position = match after {
            Some(position) => position.to_owned(),
            None => source::position(&self.client, &self.space).await.map_err(of_far)?,
        };
        let changes = match Changes::after(&self.client, &self.space, &position).await {
            Ok(changes) => changes,
            Err(error) if error.code == Code::VersionGone => return Ok(None),
            Err(error) => return Err(of_far(error)),
        };
        let (sender, receiver) = mpsc::channel(WAITING);
        let mut reader = JoinSet::new();
        reader.spawn(async move {
            // The whole of it: its own reader ends with it.
            let mut changes = changes;
            while let Some(changed) = changes.receiver.recv().await {
                let noted = match changed {
                    Ok((key, position)) => Ok(Noted::Keys(vec![key], Some(position))),
                    Err(error) if error.code == Code::VersionGone => Ok(Noted::Gap),
                    Err(error) => Err(of_far(error)),
                };
                // It fails only where the receiver was dropped.
                if sender.send(noted).await.is_err() {
                    return;
                }
            }
        });
        Ok(Some(Follow { receiver, place: Some(position), _reader: reader }))
    }

    /// Every key of both sides with its version and its mark. The values are left out.
    pub(crate) async fn list(&self, near: &Client, options: &Options) -> Result<BTreeMap<String, Halves>> {
        let mut all: BTreeMap<String, Halves> = BTreeMap::new();
        for (end, client, space) in [(End::Near, near, &options.space), (End::Far, &self.client, &self.space)] {
            let told = |error| if end == End::Far { of_far(error) } else { error };
            for (key, version) in source::versions(client, space).await.map_err(told)? {
                all.entry(key).or_default().of_mut(end).version = version;
            }
            for (key, kept) in marks(client, &options.marks()).await.map_err(told)? {
                all.entry(key).or_default().of_mut(end).kept = Some(kept);
            }
        }
        Ok(all)
    }
}

/// The same error, told as one of the other side.
pub(crate) fn of_far(error: Error) -> Error {
    let code = match error.code {
        Code::Unreachable | Code::Overloaded | Code::Stopping => Code::PeerUnreachable,
        Code::Denied => Code::PeerRefused,
        code => code,
    };
    Error { code, ..error }
}

/// The id of a namespace among those that are mirrored.
async fn id(client: &Client) -> Result<String> {
    let new = Digest::of(&format!("{:?} {}", std::time::SystemTime::now(), std::process::id())).to_string();
    keep(client, ID, &new).await
}

/// What a key of the space of cursors has, which is given this value where it has none.
async fn keep<T: Serialize + serde::de::DeserializeOwned + Clone>(client: &Client, key: &str, new: &T) -> Result<T> {
    let params = GetStateParams { space: CURSORS.to_owned(), key: key.to_owned(), version: None };
    match client.call::<GetState>(&params, &()).await {
        Ok(found) => return found.value.read(key),
        Err(error) if matches!(error.code, Code::KeyNotFound | Code::SpaceNotFound) => {}
        Err(error) => return Err(error),
    }
    let request = PutStateRequest {
        value: consort_api::Document::of(key, new)?,
        version: Some(0),
        ttl: None,
        stamp: None,
        base: None,
        fence: Vec::new(),
        by: None,
    };
    let at = StateKeyParams { space: CURSORS.to_owned(), key: key.to_owned() };
    match client.call::<PutState>(&at, &request).await {
        Ok(_) => Ok(new.clone()),
        // Another process was first.
        Err(error) if error.code == Code::StateConflict => client.call::<GetState>(&params, &()).await?.value.read(key),
        Err(error) => Err(error),
    }
}

/// Refuses a name that is that of another pair, and a pair that has another mirror, as one side knows them.
async fn check(client: &Client, name: &str, pair: &Pair) -> Result<()> {
    let mut params = ListStateParams {
        space: CURSORS.to_owned(),
        limit: Some(limits::PAGE_ITEMS_MAX),
        ..ListStateParams::default()
    };
    loop {
        let page = client.call::<ListState>(&params, &()).await?;
        for (item, other) in page.items.iter().filter_map(|item| Some((item, item.key.strip_suffix(PAIR)?))) {
            let same = item.value.read::<Pair>("pair of a mirror")? == *pair;
            if other == name && !same {
                return Err(taken(name));
            }
            if other != name && same {
                return Err(Error::new(Code::MirrorPaired, format!("the spaces have the mirror `{other}` already"))
                    .hint(format!("use `--name {other}`; where that mirror never runs again, remove the key `{}` of the space `{CURSORS}` on both sides", item.key)));
            }
        }
        params.cursor = page.next;
        if params.cursor.is_none() {
            return Ok(());
        }
    }
}

fn taken(name: &str) -> Error {
    Error::new(Code::MirrorPaired, format!("the name `{name}` is that of a mirror of other spaces"))
        .hint(format!("give this mirror a `--name` of its own; where one side was emptied, remove the key `{name}{PAIR}` of the space `{CURSORS}` on the other one"))
}

/// Makes the space of the marks, where it is not there. It has no watchers, so few of its changes are kept.
async fn marks_space(client: &Client, space: &str) -> Result<()> {
    let params = SpaceParams { space: space.to_owned() };
    match client.call::<ShowSpace>(&params, &()).await {
        Ok(_) => Ok(()),
        Err(error) if error.code == Code::SpaceNotFound => {
            let settings = SpaceRequest { keep_changes: Some(limits::STATE_CHANGES_MIN), ..SpaceRequest::default() };
            client.call::<SetSpace>(&params, &settings).await
        }
        Err(error) => Err(error),
    }
}

/// Every mark of a side that is short enough for a list; for others, their keys are looked at one by one.
async fn marks(client: &Client, space: &str) -> Result<Vec<(String, Kept)>> {
    let (mut found, mut cursor) = (Vec::new(), None);
    loop {
        let params =
            ListStateParams { space: space.to_owned(), prefix: None, cursor, limit: Some(limits::PAGE_ITEMS_MAX) };
        let page = client.call::<ListState>(&params, &()).await?;
        let mark = |value: &consort_api::Document| value.read::<Mark>("mark").unwrap_or_default();
        found.extend(page.items.into_iter().map(|item| {
            let kept = Kept { version: item.version, mark: mark(&item.value) };
            (item.key, kept)
        }));
        cursor = page.next;
        if cursor.is_none() {
            return Ok(found);
        }
    }
}
