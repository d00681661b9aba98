//! The handlers, by what they are about.
//!
//! For: calling the engine with the content of a request, and returning its answer as a document. Not for: rules of an
//! operation (the engine has them), its description (`consort_api` has it) or the form of requests and answers
//! (`request`, `answer`).
//! Invariant: a handler decides nothing.

mod agents;
mod ballots;
mod beside;
mod bus;
mod events;
mod inbox;
mod locks;
mod queues;
mod runs;
mod schedules;
mod server;
mod state;
mod subscriptions;
mod triggers;
mod watch;
mod workflows;

use crate::route::Route;

/// Every route.
pub(crate) fn all() -> Vec<Route> {
    [
        workflows::routes(),
        runs::routes(),
        beside::routes(),
        watch::routes(),
        inbox::routes(),
        agents::routes(),
        queues::routes(),
        state::routes(),
        locks::routes(),
        ballots::routes(),
        bus::routes(),
        subscriptions::routes(),
        triggers::routes(),
        schedules::routes(),
        server::routes(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
