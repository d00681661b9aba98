//! `consort events bridge`: the event bus to and from another broker.
//!
//! For: running a bridge, and telling what it does. Not for: carrying (see `consort_bridge`).
//! Invariant: with `--json`, standard output has each event on a line, the counts last; without, standard error has what
//! concerns connections and what is not carried.

use consort_bridge::{Bridge, Counts, Direction, Event, Options, Start};
use consort_types::{Result, limits};

use crate::{
    app::{App, Need},
    args::{BridgeArgs, BridgeDirection, BridgeStart},
    command::beside,
    exit::Exit,
    signals::Signals,
};

pub(crate) async fn execute(app: &App, args: BridgeArgs) -> Result<Exit> {
    let mut signals = Signals::install()?;
    let options = options(args)?;
    app.with_session(Need::Change, async |session| {
        let show = |event: &Event| beside::show(app, event, |event| sentence(event, &options.topic));
        let mut bridge = Bridge::new(session.client.clone(), options.clone(), beside::holder("bridge"), show)?;
        let ended = tokio::select! {
            error = bridge.run() => Err(error),
            exit = signals.next() => Ok(exit),
        };
        let counts = bridge.counts();
        bridge.close().await;
        beside::show_end(app, counts, summary);
        ended
    })
    .await
}

fn options(args: BridgeArgs) -> Result<Options> {
    Ok(Options {
        name: args.name,
        topic: args.topic,
        to: args.to.parse()?,
        stream: args.stream,
        prefix: args.prefix,
        direction: match args.direction {
            BridgeDirection::Both => Direction::Both,
            BridgeDirection::Out => Direction::Out,
            BridgeDirection::In => Direction::In,
        },
        start: match args.from {
            BridgeStart::New => Start::New,
            BridgeStart::All => Start::All,
        },
        lease: beside::time(args.lease, limits::MIRROR_LEASE_DEFAULT_SECONDS),
    })
}

/// What people are told of an event.
fn sentence(event: &Event, topic: &str) -> Option<String> {
    match event {
        Event::StandingBy { name } => Some(beside::standing_by(name)),
        Event::Connected { to } => Some(format!("bridging `{topic}` and {to}")),
        Event::Lost { side, reason } => Some(beside::lost(*side, reason)),
        Event::Refused { direction, what, reason } => {
            Some(format!("warning: `{what}` is not carried {direction}: {reason}"))
        }
        Event::Out { .. } | Event::In { .. } => None,
    }
}

fn summary(counts: &Counts) -> String {
    let Counts { out, taken, deduplicated, passed, refused, lost } = counts;
    format!(
        "{out} out, {taken} in ({deduplicated} known before), {passed} passed over, {refused} refused, {lost} losses"
    )
}
