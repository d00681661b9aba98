//! `consort up`: a server on the data folder, until a signal.
//!
//! For: starting, telling the address, draining. Not for: what the server does meanwhile.
//! Invariant: the first line of standard output is the address, and the second, where gRPC has one of its own, that for
//! gRPC; both are written at once, when both are listened on.

use consort_server::{Role, Server};
use consort_types::{Error, Result};
use serde_json::json;

use crate::{app::App, exit::Exit, show::style::Paint, signals::Signals};

pub(crate) async fn execute(app: &App) -> Result<Exit> {
    let mut signals = Signals::install()?;
    let (listen, grpc) = (app.settings.listen(), app.settings.grpc_listen());
    let server = Server::open(&app.settings, Role::Work { listen, grpc }).await?;
    announce(app, &server);
    let end = wait(&server, &mut signals).await;
    stop(app, server, end, &mut signals).await
}

/// Why a server is to stop.
pub(super) enum End {
    /// It was asked to.
    Asked,
    /// It has stopped by itself, with the reason where it halted.
    ByItself(Option<Error>),
}

/// Waits until a signal comes, or the server stops by itself.
pub(super) async fn wait(server: &Server, signals: &mut Signals) -> End {
    tokio::select! {
        _ = signals.next() => End::Asked,
        reason = server.stopped() => End::ByItself(reason),
    }
}

/// Prints where the server listens.
pub(super) fn announce(app: &App, server: &Server) {
    let address = server.address().map(|address| format!("http://{address}")).unwrap_or_default();
    let grpc = server.grpc_address().map(|address| format!("grpc://{address}"));
    if app.json {
        app.print_json(&json!({ "address": address, "grpc_address": grpc, "data_dir": app.settings.data_dir() }));
    } else {
        let grpc = grpc.map(|grpc| format!("{grpc}\n")).unwrap_or_default();
        app.print(&format!("{address}\n{grpc}"));
    }
    if app.err.terminal {
        let folder = app.settings.data_dir().display();
        app.eprint(&app.err.paint(Paint::Dim, &format!("serving {folder}; Ctrl-C stops it")));
    }
}

/// Stops the server, gracefully unless it has stopped by itself.
pub(super) async fn stop(app: &App, server: Server, end: End, signals: &mut Signals) -> Result<Exit> {
    if let End::ByItself(reason) = end {
        server.close(std::future::ready(())).await;
        return reason.map_or(Ok(Exit::Broken), Err);
    }
    drain(app, server, signals).await;
    Ok(Exit::Ok)
}

/// Stops gracefully and reports what it waits for.
async fn drain(app: &App, server: Server, signals: &mut Signals) {
    let held: usize = match server.status().await {
        Ok(status) => status.tasks_held,
        Err(_) => 0,
    };
    if held > 0 {
        let tasks = if held == 1 { "1 task".to_owned() } else { format!("{held} tasks") };
        app.eprint(&format!("stopping: waiting for {tasks}; a second signal stops at once and loses nothing"));
    }
    server
        .close(async {
            signals.next().await;
            app.eprint("stopping at once");
        })
        .await;
}
