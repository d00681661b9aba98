//! The space, as the mirror reads it.
//!
//! For: its keys, its versions and its changes. Not for: writing it (see `incoming`).
//! Invariant: changes are handed on in order, each with the position behind which another look begins.

use std::collections::BTreeMap;

use consort_api::{
    client::Client,
    spaces::{SetSpace, SpaceParams, SpaceRequest},
    state::{
        GetState, GetStateParams, ListState, ListStateParams, StateEvent, StateList, WatchState, WatchStateParams,
    },
};
use consort_types::{Code, Error, Result, limits};
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::{sync::mpsc, task::JoinSet};

use crate::{decide::Ours, peer::WAITING, values::text_of};

/// Keys that are read at once.
pub(crate) const READS: usize = 16;

/// A change of the space: the key, and its position.
pub(crate) type Changed = (String, String);

/// The changes of the space. Reading ends when this is dropped.
pub(crate) struct Changes {
    pub(crate) receiver: mpsc::Receiver<Result<Changed>>,
    _reader: JoinSet<()>,
}

impl Changes {
    /// Follows the space behind a position.
    pub(crate) async fn after(client: &Client, space: &str, position: &str) -> Result<Self> {
        let params =
            WatchStateParams { space: space.to_owned(), after: Some(position.to_owned()), ..Default::default() };
        let mut events = client.events::<WatchState>(&params).await?;
        let (sender, receiver) = mpsc::channel(WAITING);
        let mut reader = JoinSet::new();
        reader.spawn(async move {
            loop {
                let next = match events.next().await {
                    Ok(Some(event)) => match event.what {
                        StateEvent::Change(change) => Ok((change.key, change.position.to_string())),
                        StateEvent::Error(problem) => Err(problem.into()),
                    },
                    Ok(None) => Err(Error::new(Code::Unreachable, "the server has ended the watch of the space")),
                    Err(error) => Err(error),
                };
                let ended = next.is_err();
                // It fails only where the receiver was dropped.
                if sender.send(next).await.is_err() || ended {
                    return;
                }
            }
        });
        Ok(Self { receiver, _reader: reader })
    }
}

/// Where the space is now; it is made where it is not there.
pub(crate) async fn position(client: &Client, space: &str) -> Result<String> {
    let read = || page(client, space, None, 1);
    match read().await {
        Ok(list) => Ok(list.position.to_string()),
        Err(error) if error.code == Code::SpaceNotFound => {
            let params = SpaceParams { space: space.to_owned() };
            client.call::<SetSpace>(&params, &SpaceRequest::default()).await?;
            Ok(read().await?.position.to_string())
        }
        Err(error) => Err(error),
    }
}

/// The version of every key.
pub(crate) async fn versions(client: &Client, space: &str) -> Result<BTreeMap<String, u64>> {
    let (mut versions, mut cursor) = (BTreeMap::new(), None);
    loop {
        let list = page(client, space, cursor, limits::PAGE_ITEMS_MAX).await?;
        versions.extend(list.items.into_iter().map(|item| (item.key, item.version)));
        cursor = list.next;
        if cursor.is_none() {
            return Ok(versions);
        }
    }
}

async fn page(client: &Client, space: &str, cursor: Option<String>, limit: usize) -> Result<StateList> {
    let params = ListStateParams { space: space.to_owned(), prefix: None, cursor, limit: Some(limit) };
    client.call::<ListState>(&params, &()).await
}

/// Reads keys, in their order.
pub(crate) async fn read(client: &Client, space: &str, keys: &[String]) -> Result<Vec<Ours>> {
    futures::stream::iter(keys.iter().map(|key| read_one(client, space, key, None))).buffered(READS).try_collect().await
}

/// Reads a key, as it is or as it was at a version.
pub(crate) async fn read_one(client: &Client, space: &str, key: &str, version: Option<u64>) -> Result<Ours> {
    let params = GetStateParams { space: space.to_owned(), key: key.to_owned(), version };
    match client.call::<GetState>(&params, &()).await {
        Ok(found) => Ok(Ours {
            version: found.version,
            text: Some(text_of(&found.value)?),
            expires: found.expires_at.map(|at| at.0),
        }),
        Err(error) if error.code == Code::KeyNotFound => Ok(Ours::default()),
        Err(error) => Err(error),
    }
}
