//! A loop for each subscription that pushes.
//!
//! For: starting and ending loops as subscriptions are made, changed, paused and deleted. Not for: what a loop does (see
//! `push`).
//! Invariant: a subscription has at most one loop that takes deliveries; one that is ended settles what it has taken.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use consort_engine::{Handle, PushWatch, Pushes, view::PushView};
use consort_types::{Code, Result, limits};
use tokio::{
    sync::Semaphore,
    task::{AbortHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;

use crate::{
    allow::Allow,
    connect::Connector,
    push::{Loop, Shared},
};

/// How long to wait before the list is read again, where that was not possible.
const PAUSE: Duration = Duration::from_secs(1);

/// How a server pushes.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The folder of the secrets, a file each.
    pub secrets: Option<PathBuf>,
    /// What may be reached beyond the public Internet.
    pub allow: Allow,
}

/// A loop that is running, for what it was started.
struct Running {
    view: PushView,
    stop: CancellationToken,
    task: AbortHandle,
}

/// Pushes the events of all subscriptions that have a webhook, until `stop`, and then until what is on its way is settled.
pub async fn run(engine: Handle, options: Options, stop: CancellationToken) {
    let shared = Arc::new(Shared {
        engine: engine.clone(),
        secrets: options.secrets,
        connector: Connector::new(options.allow),
        places: Arc::new(Semaphore::new(limits::WEBHOOKS_IN_FLIGHT_MAX)),
    });
    let mut tasks = JoinSet::new();
    let mut running = BTreeMap::new();
    while let Err(error) = follow(&shared, &mut running, &mut tasks, &stop).await {
        if error.code == Code::Stopping {
            break;
        }
        tracing::error!("the subscriptions that push cannot be read: {}", error.message);
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
    stop.cancel();
    while tasks.join_next().await.is_some() {}
}

/// Keeps the loops as the list says; returns where `stop` says so.
async fn follow(
    shared: &Arc<Shared>,
    running: &mut BTreeMap<(String, String), Running>,
    tasks: &mut JoinSet<()>,
    stop: &CancellationToken,
) -> Result<()> {
    let mut watch: PushWatch = Pushes::of(&shared.engine).watch().await?;
    loop {
        adjust(shared, running, tasks, watch.list().await?, stop);
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            // One that saw its subscription change may have ended, and what it is now is as it was before.
            Some(ended) = tasks.join_next() => if ended.is_err() {
                tokio::time::sleep(PAUSE).await;
            },
            changed = watch.changed() => changed?,
        }
    }
}

fn adjust(
    shared: &Arc<Shared>,
    running: &mut BTreeMap<(String, String), Running>,
    tasks: &mut JoinSet<()>,
    list: Vec<PushView>,
    stop: &CancellationToken,
) {
    let active = list.into_iter().filter(|view| !view.paused);
    let wanted: BTreeMap<_, _> = active.map(|view| ((view.namespace.clone(), view.name.clone()), view)).collect();
    running.retain(|key, one| {
        let keep = wanted.get(key).is_some_and(|view| is_same(view, &one.view)) && !one.task.is_finished();
        if !keep {
            one.stop.cancel();
        }
        keep
    });
    for (key, view) in wanted {
        running.entry(key).or_insert_with(|| {
            let stop = stop.child_token();
            let task = tasks.spawn(Loop::new(Arc::clone(shared), view.clone()).run(stop.clone()));
            Running { view, stop, task }
        });
    }
}

/// Whether a loop that was started for the one fits the other.
fn is_same(one: &PushView, other: &PushView) -> bool {
    (&one.push, one.made, one.created) == (&other.push, other.made, other.created)
}
