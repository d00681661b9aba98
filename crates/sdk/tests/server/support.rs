//! A server with an engine in memory, that can be killed and started again; workers and clients for it.
//!
//! For: the tests beside it. Not for: starting a server in earnest.
//! Invariant: what was durable when it was killed is there when it is back, at the same address.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use consort_api_grpc::{ApiConfig, ServeConfig, api, serve};
use consort_engine::{Config, Handle, Parts};
use consort_log::MemoryLogDisk;
use consort_sdk::{Agent, Client, Remote, Worker};
use consort_store::MemoryStore;
use consort_types::Span;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

/// The server's token.
pub(crate) const TOKEN: &str = "open-sesame";

/// See the module.
pub(crate) struct Server {
    disk: MemoryLogDisk,
    store: Arc<MemoryStore>,
    engine: Handle,
    pub(crate) address: SocketAddr,
    http: SocketAddr,
    serving: [JoinHandle<()>; 2],
    config: Config,
}

async fn open(disk: &MemoryLogDisk, store: &Arc<MemoryStore>, config: &Config) -> Handle {
    let parts = Parts { log: Box::new(disk.open().unwrap()), store: store.clone(), blobs: store.clone() };
    Handle::open(parts, config.clone()).await.unwrap()
}

/// The two doors: for workers, and for clients.
fn serving(grpc: TcpListener, http: TcpListener, engine: Handle) -> [JoinHandle<()>; 2] {
    let token = Some(consort_types::Secret::new("token", TOKEN).unwrap());
    let router = consort_api_http::router(engine.clone(), consort_api_http::ApiConfig { token: token.clone() });
    let api = api(engine, ApiConfig { token, heartbeat_timeout: Span::from_secs(30) });
    let http = async {
        let config = consort_api_http::ServeConfig::default();
        consort_api_http::serve(http, router, config, std::future::pending()).await;
    };
    [tokio::spawn(serve(grpc, api, ServeConfig::default(), std::future::pending())), tokio::spawn(http)]
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(Config::default()).await
    }

    /// A server that waits only this long for a disconnected worker.
    pub(crate) async fn with_grace(grace: Span) -> Self {
        Self::with(Config { grace, ..Config::default() }).await
    }

    async fn with(config: Config) -> Self {
        let (disk, store) = (MemoryLogDisk::new(), Arc::new(MemoryStore::new()));
        let engine = open(&disk, &store, &config).await;
        let grpc = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, http) = (grpc.local_addr().unwrap(), client.local_addr().unwrap());
        Self { serving: serving(grpc, client, engine.clone()), disk, store, engine, address, http, config }
    }

    /// Kills the server, power and all, and starts it again.
    pub(crate) async fn restart(&mut self) {
        for serving in &mut self.serving {
            serving.abort();
            let _ = serving.await;
        }
        self.engine.stop_now().await;
        self.engine.stopped().await;
        self.disk.crash(false);
        self.engine = open(&self.disk, &self.store, &self.config).await;
        let grpc = TcpListener::bind(self.address).await.unwrap();
        let http = TcpListener::bind(self.http).await.unwrap();
        self.serving = serving(grpc, http, self.engine.clone());
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address for clients.
    pub(crate) fn client_url(&self) -> String {
        format!("http://{}", self.http)
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.client_url()).token(TOKEN)
    }

    /// A worker that hosts this agent until it is stopped.
    pub(crate) fn host(&self, agent: Agent) -> Hosted {
        let (stop, stopped) = oneshot::channel::<()>();
        let worker =
            Worker::new(Remote::new(self.url()).token(TOKEN)).agent(agent).leave_within(Duration::from_mins(1));
        let worker = worker.run(async move { drop(stopped.await) });
        Hosted { stop, worker: tokio::spawn(async move { worker.await.unwrap() }) }
    }
}

/// A running worker.
pub(crate) struct Hosted {
    stop: oneshot::Sender<()>,
    worker: JoinHandle<()>,
}

impl Hosted {
    /// Asks it to leave, and waits until it has.
    pub(crate) async fn stop(self) {
        drop(self.stop);
        self.worker.await.unwrap();
    }

    /// Kills it.
    pub(crate) async fn kill(self) {
        self.worker.abort();
        let _ = self.worker.await;
    }
}

/// A workflow of one step.
pub(crate) fn one_step(capability: &str) -> String {
    format!(
        "workflow: one\ninput: {{ value: {{}} }}\nsteps:\n  only: {{ capability: {capability}, with: \"${{{{ input.value }}}}\" }}\noutput: ${{{{ steps.only.output }}}}\n"
    )
}
