//! The whole: a data folder, an engine on it, the agents, and a way in.
//!
//! For: opening all of it in the right order, and closing it in the reverse one. Not for: deciding what to run.
//! Invariant: the lock is acquired first and released last; the address is in the lock file only while the server
//! listens on it.

use std::{net::SocketAddr, sync::Arc};

use consort_engine::{Config, Handle, Parts, Status};
use consort_log::{Log, Overlapped};
use consort_log_file::{FileLog, LockFile};
use consort_sdk::Worker;
use consort_store::{Blobs, Store};
use consort_store_fjall::FjallStore;
use consort_types::{Code, Error, Result, Span};
use tokio::{net::TcpListener, task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    GrpcListen, Settings,
    host::InProcess,
    keep::{Backups, Mending, Roomy, Snapshots, mend_damaged, on_thread, open_store},
    local::{DataFolder, disk},
    settings::{Key, keys},
    telemetry::LoopTelemetry,
};

/// What a server is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// To read, and to operate; no task is run.
    Look,
    /// As `Look`, but a store that is missing or damaged is refused, and not made again.
    Examine,
    /// To work: the built-in agents take tasks, and others reach it at these addresses.
    Work {
        /// Where to listen for HTTP.
        listen: SocketAddr,
        /// Where to listen for gRPC.
        grpc: GrpcListen,
    },
}

/// An open data folder with everything on it.
pub struct Server {
    handle: Handle,
    router: axum::Router,
    store: Arc<FjallStore>,
    snapshots: Option<Arc<Snapshots>>,
    address: Option<SocketAddr>,
    grpc_address: Option<SocketAddr>,
    stop_agents: CancellationToken,
    stop_listening: CancellationToken,
    stop_snapshots: CancellationToken,
    stop_webhooks: CancellationToken,
    agents: Option<JoinHandle<()>>,
    snapshooting: Option<JoinHandle<()>>,
    webhooks: Option<JoinHandle<()>>,
    /// Each ends by itself after the listener was closed and its last requests were answered.
    listeners: Vec<JoinHandle<()>>,
    drain_timeout: Span,
    /// Dropped last.
    lock: LockFile,
}

impl Server {
    /// Opens the data folder of the settings; makes it where there is none.
    ///
    /// # Errors [`Code::Locked`] where another process has it open; [`crate::holder`] returns it.
    pub async fn open(settings: &Settings, role: Role) -> Result<Self> {
        let folder = DataFolder::at(settings.data_dir());
        let lock = folder.lock()?;
        let Opened { handle, store, snapshots } = open_engine(&folder, settings, role).await?;
        if let (Some(keep), Role::Work { .. }) = (settings.retention(), role) {
            handle.set_retention(settings.namespace(), keep).await?;
        }
        let router = crate::doors::in_process(handle.clone());
        let mut server = Self {
            handle,
            router,
            store,
            snapshots,
            address: None,
            grpc_address: None,
            stop_agents: CancellationToken::new(),
            stop_listening: CancellationToken::new(),
            stop_snapshots: CancellationToken::new(),
            stop_webhooks: CancellationToken::new(),
            agents: None,
            snapshooting: None,
            webhooks: None,
            listeners: Vec::new(),
            drain_timeout: settings.drain_timeout(),
            lock,
        };
        if let Role::Work { listen, grpc } = role {
            server.host_agents(settings);
            server.make_snapshots();
            server.push_events(settings);
            // A client that finds the HTTP interface may count on the other.
            if let GrpcListen::At(address) = grpc {
                server.listen_for_grpc(settings, address).await?;
            }
            server.listen(settings, listen, grpc == GrpcListen::Same).await?;
        }
        Ok(server)
    }

    fn host_agents(&mut self, settings: &Settings) {
        let mut worker = Worker::new(InProcess::new(self.handle.clone()))
            .namespace(settings.namespace())
            .concurrency(settings.concurrency())
            .leave_within(settings.drain_timeout().to_std());
        for agent in crate::agents::builtin(settings) {
            worker = worker.agent(agent);
        }
        let stop = self.stop_agents.clone();
        self.agents = Some(tokio::spawn(async move {
            if let Err(error) = worker.run(stop.cancelled_owned()).await {
                tracing::error!("the built-in agents have stopped: {error}");
            }
        }));
    }

    fn make_snapshots(&mut self) {
        let (engine, stop) = (self.handle.clone(), self.stop_snapshots.clone());
        self.snapshooting = self.snapshots.clone().map(|snapshots| tokio::spawn(snapshots.run(engine, stop)));
    }

    fn push_events(&mut self, settings: &Settings) {
        let (engine, stop) = (self.handle.clone(), self.stop_webhooks.clone());
        self.webhooks = Some(tokio::spawn(consort_webhooks::run(engine, settings.webhooks(), stop)));
    }

    async fn listen_for_grpc(&mut self, settings: &Settings, listen: SocketAddr) -> Result<()> {
        let (listener, address) = bind(settings, keys::GRPC_LISTEN, listen).await?;
        let grpc = crate::doors::grpc(self.handle.clone(), settings)?;
        self.listeners.push(tokio::spawn(crate::doors::serve_grpc(listener, grpc, self.stop_listening.clone())));
        tracing::info!("listening for gRPC on {address}");
        self.grpc_address = Some(address);
        Ok(())
    }

    async fn listen(&mut self, settings: &Settings, listen: SocketAddr, with_grpc: bool) -> Result<()> {
        let (listener, address) = bind(settings, keys::LISTEN, listen).await?;
        let stop = self.stop_listening.clone();
        let http = crate::doors::http(self.handle.clone(), settings)?;
        let grpc = with_grpc.then(|| crate::doors::grpc(self.handle.clone(), settings)).transpose()?;
        self.listeners.push(tokio::spawn(crate::doors::serve(listener, http, grpc, stop)));
        let path = self.lock.path().to_owned();
        self.lock.set_text(&format!("http://{address}")).map_err(|error| disk(&path, &error))?;
        tracing::info!("listening on http://{address}");
        self.address = Some(address);
        Ok(())
    }

    /// The engine.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The HTTP interface, to be called without a network.
    pub fn router(&self) -> axum::Router {
        self.router.clone()
    }

    /// Where it listens for gRPC alone; `None` where gRPC shares the address of HTTP, or is off.
    pub fn grpc_address(&self) -> Option<SocketAddr> {
        self.grpc_address
    }

    /// Where it listens.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// How it is doing.
    pub async fn status(&self) -> Result<Status> {
        self.handle.status().await
    }

    /// The store, to be read.
    pub(crate) fn store(&self) -> Arc<FjallStore> {
        Arc::clone(&self.store)
    }

    /// Ends when the engine has stopped by itself, with the reason where it halted.
    pub async fn stopped(&self) -> Option<Error> {
        self.handle.stopped().await;
        self.status().await.err()
    }

    /// Stops gracefully: assigns nothing more, waits for the running tasks (bounded by the drain timeout), writes
    /// everything and releases the folder. Where `at_once` ends first, it stops at once instead; nothing that was
    /// acknowledged is lost either way.
    pub async fn close(mut self, at_once: impl Future<Output = ()>) {
        self.stop_agents.cancel();
        self.stop_snapshots.cancel();
        self.stop_webhooks.cancel();
        let (handle, bound, webhooks) = (self.handle.clone(), self.drain_timeout.to_std(), self.webhooks.take());
        let in_order = async {
            // While it can still be recorded that they were taken, and for no longer than tasks are waited for.
            let until = Instant::now() + bound;
            end_webhooks(webhooks, until).await;
            handle.shutdown(until.saturating_duration_since(Instant::now())).await;
        };
        let stopped_in_order = tokio::select! {
            () = in_order => true,
            () = at_once => {
                self.handle.stop_now().await;
                false
            }
        };
        self.end_snapshots(stopped_in_order).await;
        self.stop_listening.cancel();
        for listener in self.listeners.drain(..) {
            // A listener that panicked has ended too.
            let _ = listener.await;
        }
        if let Some(agents) = self.agents.take() {
            agents.abort();
            // An aborted task has no result.
            let _ = agents.await;
        }
    }
}

impl Server {
    /// Ends the making of snapshots, where this server makes any, with one of what the engine has left.
    async fn end_snapshots(&mut self, make_last: bool) {
        let Some(making) = self.snapshooting.take() else { return };
        // A task that panicked has ended too.
        let _ = making.await;
        let (snapshots, store) = (self.snapshots.clone(), self.store());
        let last = on_thread(move || {
            if let Some(snapshots) = snapshots {
                snapshots.at_stop(&*store.snapshot()?);
            }
            Ok(())
        });
        if make_last && let Err(error) = last.await {
            tracing::error!("no snapshot of the store was made: {}", error.message);
        }
    }
}

/// Waits for the events that are on their way to webhooks; the rest is sent again by the next server.
async fn end_webhooks(webhooks: Option<JoinHandle<()>>, until: Instant) {
    let Some(mut webhooks) = webhooks else { return };
    if tokio::time::timeout_at(until, &mut webhooks).await.is_err() {
        webhooks.abort();
        // An aborted task has no result.
        let _ = webhooks.await;
    }
}

/// Listens as configured.
async fn bind(settings: &Settings, key: &Key, listen: SocketAddr) -> Result<(TcpListener, SocketAddr)> {
    let name = key.name;
    if !listen.ip().is_loopback() && settings.token().is_none() {
        let message = format!("`{listen}` (`{name}`) can be reached from elsewhere, and no token is set");
        return Err(Error::new(Code::Denied, message).hint("set `token`, or listen on 127.0.0.1"));
    }
    let refused = |error: std::io::Error| {
        Error::new(Code::Unreachable, format!("`{listen}` (`{name}`) cannot be listened on: {error}"))
            .hint(format!("choose another with `--{name}`; port 0 is any that is free"))
    };
    let listener = TcpListener::bind(listen).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    Ok((listener, address))
}

/// What is open of a data folder.
struct Opened {
    handle: Handle,
    store: Arc<FjallStore>,
    snapshots: Option<Arc<Snapshots>>,
}

/// Opens the engine. Where the store turns out to be damaged while records are applied, it is made again once.
async fn open_engine(folder: &DataFolder, settings: &Settings, role: Role) -> Result<Opened> {
    let mending = if role == Role::Examine { Mending::Forbidden } else { Mending::Allowed };
    match try_open(folder, settings, mending).await {
        Err(error) if error.code == Code::Damaged && mending == Mending::Allowed => {
            let damaged = folder.clone();
            if on_thread(move || mend_damaged(&damaged)).await? {
                try_open(folder, settings, mending).await
            } else {
                Err(error)
            }
        }
        opened => opened,
    }
}

async fn try_open(folder: &DataFolder, settings: &Settings, mending: Mending) -> Result<Opened> {
    let (of_thread, every) = (folder.clone(), settings.snapshot_log());
    let opened = on_thread(move || {
        let log = FileLog::open(&of_thread.log())?;
        let store = open_store(&of_thread, &log, mending)?;
        let snapshots = every.map(|every| Snapshots::open(&of_thread, every, log.first())).transpose()?;
        Ok((log, Arc::new(store), snapshots.map(Arc::new)))
    });
    let (log, store, snapshots) = opened.await?;
    let mut log: Box<dyn Log> = Box::new(log);
    if let Some(least) = settings.free_space() {
        log = Box::new(Roomy::new(log, folder.path(), least));
    }
    // While a group is synced, the loop applies the one before and gathers the next.
    let log = Box::new(Overlapped::new(log));
    let (rows, blobs): (Arc<dyn Store>, Arc<dyn Blobs>) = (Arc::clone(&store) as _, Arc::clone(&store) as _);
    let keep_from = snapshots.as_ref().map(|snapshots| snapshots.keep_from()).transpose()?;
    let config = Config { keep_from, ..settings.engine() };
    let telemetry = LoopTelemetry::new(snapshots.clone());
    let parts = Parts { log, store: rows, blobs: Arc::clone(&blobs) };
    let handle = Handle::open_observed(parts, config, Arc::new(telemetry)).await?;
    let backups = Backups { data: folder.path().to_owned(), blobs };
    Ok(Opened { handle: handle.with_archive(Arc::new(backups)), store, snapshots })
}
