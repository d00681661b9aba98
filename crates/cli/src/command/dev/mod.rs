//! `consort dev`: a server, and workers beside it that are started again when their files change.
//!
//! For: the whole: what is started, in which order it is stopped. Not for: one worker's life (see `worker`).
//! Invariant: no worker that was started here is left when the command ends by itself.

mod output;
mod plan;
mod watch;
mod worker;

use consort_server::{GrpcListen, Role, Server};
use consort_types::{Code, Error, Result};
use tokio::{sync::watch as state, task::JoinSet};

use self::{
    output::Printer,
    plan::Plan,
    worker::{Stop, Worker},
};
use super::up;
use crate::{app::App, exit::Exit, show::style::Paint, signals::Signals};

pub(crate) async fn execute(app: &App) -> Result<Exit> {
    let mut signals = Signals::install()?;
    let plans = plans(app)?;
    let (listen, grpc) = (app.settings.listen(), app.settings.grpc_listen());
    if grpc == GrpcListen::Off {
        return Err(Error::new(Code::BadSetting, "`grpc-listen` is `off`, and workers connect over gRPC")
            .hint("leave it at `same`"));
    }
    let server = Server::open(&app.settings, Role::Work { listen, grpc }).await?;
    up::announce(app, &server);
    let (order, orders) = state::channel(Stop::No);
    let mut workers = JoinSet::new();
    let started: Result<()> = start(app, &server, plans, &orders).into_iter().try_for_each(|worker| {
        workers.spawn(worker?.run());
        Ok(())
    });
    let end = match &started {
        Ok(()) => up::wait(&server, &mut signals).await,
        Err(_) => up::End::Asked,
    };
    order.send_replace(Stop::Gently);
    loop {
        tokio::select! {
            ended = workers.join_next() => if ended.is_none() { break },
            _ = signals.next() => drop(order.send_replace(Stop::AtOnce)),
        }
    }
    let stopped = up::stop(app, server, end, &mut signals).await;
    started.and(stopped)
}

/// What is to be started; nothing is a mistake, because `consort up` does that.
fn plans(app: &App) -> Result<Vec<Plan>> {
    let (commands, folder) = app.settings.dev_workers();
    if commands.is_empty() {
        return Err(Error::new(Code::BadRequest, "no worker is named").hint(
            "name its command: `consort dev --worker 'python agent/worker.py'`, or `dev-workers` in `consort.toml`; \
             `consort up` starts a server alone",
        ));
    }
    Ok(plan::plans(&commands, folder))
}

/// The workers, each with its watch.
fn start(app: &App, server: &Server, plans: Vec<Plan>, orders: &state::Receiver<Stop>) -> Vec<Result<Worker>> {
    let address = match (server.grpc_address(), server.address()) {
        (Some(grpc), _) => format!("http://{grpc}"),
        (None, Some(address)) => format!("http://{address}"),
        (None, None) => String::new(),
    };
    let mut environment = vec![("CONSORT_SERVER".to_owned(), address)];
    environment.extend(app.settings.token().map(|token| ("CONSORT_TOKEN".to_owned(), token.to_owned())));
    let width = plans.iter().map(|plan| plan.name.chars().count()).max().unwrap_or_default();
    let paints = [Paint::Cyan, Paint::Yellow, Paint::Green, Paint::Magenta, Paint::Blue];
    let worker = |(at, plan): (usize, Plan)| {
        let changes = watch::Changes::of(&plan.watched, app.settings.data_dir())?;
        let printer = Printer::new(app, &plan.name, width, paints[at % paints.len()]);
        Ok(Worker { plan, environment: environment.clone(), changes, printer, orders: orders.clone() })
    };
    plans.into_iter().enumerate().map(worker).collect()
}
