//! The whole: a data folder, an engine on it, the agents, and a way in.
//!
//! For: opening all of it in the right order, and closing it in the reverse one. Not for: deciding what to run.
//! Invariant: the lock is acquired first and released last; the address is in the lock file only while the server
//! listens on it.

use std::{net::SocketAddr, sync::Arc};

use consort_engine::{Handle, Parts, Status};
use consort_log::Overlapped;
use consort_log_file::{FileLog, LockFile};
use consort_sdk::Worker;
use consort_store::{Blobs, Store};
use consort_store_fjall::FjallStore;
use consort_types::{BlobHash, Code, Error, Result, Span};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    GrpcListen, Settings,
    host::InProcess,
    local::{DataFolder, disk},
    settings::{Key, keys},
    telemetry::LoopTelemetry,
};

/// What a server is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// To read, and to operate; no task is run.
    Look,
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
    blobs: Arc<dyn Blobs>,
    address: Option<SocketAddr>,
    grpc_address: Option<SocketAddr>,
    stop_agents: CancellationToken,
    stop_listening: CancellationToken,
    agents: Option<JoinHandle<()>>,
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
        let parts = open_parts(&folder).await?;
        let blobs = Arc::clone(&parts.blobs);
        let handle = Handle::open_observed(parts, settings.engine(), Arc::new(LoopTelemetry::new())).await?;
        if let Some(keep) = settings.retention().filter(|_| role != Role::Look) {
            handle.set_retention(settings.namespace(), keep).await?;
        }
        let router = crate::doors::in_process(handle.clone());
        let mut server = Self {
            handle,
            router,
            blobs,
            address: None,
            grpc_address: None,
            stop_agents: CancellationToken::new(),
            stop_listening: CancellationToken::new(),
            agents: None,
            listeners: Vec::new(),
            drain_timeout: settings.drain_timeout(),
            lock,
        };
        if let Role::Work { listen, grpc } = role {
            server.host_agents(settings);
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

    /// The hashes of all blobs; each was read and has its hash.
    pub async fn blob_hashes(&self) -> Result<Vec<BlobHash>> {
        let blobs = Arc::clone(&self.blobs);
        let read = tokio::task::spawn_blocking(move || {
            let hashes = blobs.list_blobs()?;
            for hash in &hashes {
                blobs.get_blob(*hash)?;
            }
            Ok(hashes)
        });
        read.await.map_err(|error| broken(&error))?
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
        tokio::select! {
            () = self.handle.shutdown(self.drain_timeout.to_std()) => {}
            () = at_once => self.handle.stop_now().await,
        }
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

fn broken(error: &tokio::task::JoinError) -> Error {
    Error::new(Code::Internal, format!("a thread that reads the folder has ended: {error}"))
}

/// Opens log and store side by side: both wait for the disk.
async fn open_parts(folder: &DataFolder) -> Result<Parts> {
    let (log, store) = (folder.log(), folder.store());
    let log = tokio::task::spawn_blocking(move || FileLog::open(&log));
    let store = tokio::task::spawn_blocking(move || FjallStore::open(&store));
    let log = log.await.map_err(|error| broken(&error))?;
    let store = Arc::new(store.await.map_err(|error| broken(&error))??);
    let (rows, blobs): (Arc<dyn Store>, Arc<dyn Blobs>) = (store.clone(), store);
    // While a group is synced, the loop applies the one before and gathers the next.
    let log = Box::new(Overlapped::new(Box::new(log?)));
    Ok(Parts { log, store: rows, blobs })
}
