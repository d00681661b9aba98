//! `consort barriers`: members that wait for each other.
//!
//! For: looking at barriers, and coming to one. Not for: locks.
//! Invariant: a member that waits over many requests waits for one generation.

use std::time::Instant;

use consort_api::locks::{
    ArriveBarrier, ArriveBarrierRequest, BarrierArrival, BarrierParams, ListBarriers, LockFilter, ShowBarrier,
};
use consort_types::{Result, Span};

use crate::{
    app::{App, Need},
    args::BarriersCommand,
    client::Client,
    exit::Exit,
    show::{locks, when},
    signals::Signals,
};

pub(crate) async fn execute(app: &App, command: BarriersCommand) -> Result<Exit> {
    let need = if matches!(command, BarriersCommand::Arrive { .. }) { Need::Change } else { Need::Look };
    let mut signals = Signals::install()?;
    app.with_session(need, async |session| {
        tokio::select! {
            result = execute_with(app, &session.client, command) => result,
            exit = signals.next() => Ok(exit),
        }
    })
    .await
}

async fn execute_with(app: &App, client: &Client, command: BarriersCommand) -> Result<Exit> {
    match command {
        BarriersCommand::List { prefix } => {
            let page = |cursor| LockFilter { prefix: prefix.clone(), cursor, limit: None };
            let found = client.all::<ListBarriers, _>(page).await?;
            if app.json {
                app.print_lines(&found);
            } else {
                app.print(&locks::barriers(&found, app.out));
            }
            Ok(Exit::Ok)
        }
        BarriersCommand::Show { name } => {
            let barrier = client.call::<ShowBarrier>(&BarrierParams { name }, &()).await?;
            if app.json {
                app.print_json(&barrier);
            } else {
                app.print(&locks::barrier(&barrier, when::now()));
            }
            Ok(Exit::Ok)
        }
        BarriersCommand::Arrive { name, parties, member, generation, wait, ttl } => {
            let request = ArriveBarrierRequest { member, parties, generation, wait, ttl };
            let arrival = arrive(client, &BarrierParams { name }, request).await?;
            if app.json {
                app.print_json(&arrival);
            } else {
                app.print(&locks::arrival(&arrival));
            }
            // A member that waits wants to continue only with the others.
            Ok(if arrival.released || wait.is_none() { Exit::Ok } else { Exit::Failure })
        }
    }
}

/// Comes to the barrier, and waits for as long as the request says, over several requests where it has to be.
async fn arrive(client: &Client, params: &BarrierParams, mut request: ArriveBarrierRequest) -> Result<BarrierArrival> {
    let (begun, wait) = (Instant::now(), request.wait.unwrap_or_default());
    loop {
        let arrival = client.call::<ArriveBarrier>(params, &request).await?;
        let passed = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        if arrival.released || passed >= wait.0 {
            return Ok(arrival);
        }
        (request.generation, request.wait) = (Some(arrival.generation), Some(Span(wait.0 - passed)));
    }
}
