//! `consort events bridge`: the event bus to and from another broker.
//!
//! For: running a bridge, and telling what it does. Not for: carrying (see `consort_bridge`).
//! Invariant: with `--json`, standard output has each event on a line, the counts last; without, standard error has what
//! concerns connections and what is not carried.

use std::time::Duration;

use consort_bridge::{Bridge, Counts, Direction, Event, Options, Side, Start};
use consort_types::{Result, Span, limits};
use serde::Serialize;

use crate::{
    app::{App, Need},
    args::{BridgeArgs, BridgeDirection, BridgeStart},
    exit::Exit,
    show::when,
    signals::Signals,
};

/// How a bridge ends.
#[derive(Serialize)]
#[serde(tag = "event", rename = "ended")]
struct Ended {
    #[serde(flatten)]
    counts: Counts,
}

pub(crate) async fn execute(app: &App, args: BridgeArgs) -> Result<Exit> {
    let mut signals = Signals::install()?;
    let options = options(args)?;
    app.with_session(Need::Change, async |session| {
        let holder = format!("bridge-{}-{}", std::process::id(), when::now().0);
        let show = |event: &Event| show(app, event, &options.topic);
        let mut bridge = Bridge::new(session.client.clone(), options.clone(), holder, show)?;
        let ended = tokio::select! {
            error = bridge.run() => Err(error),
            exit = signals.next() => Ok(exit),
        };
        let counts = bridge.counts();
        bridge.close().await;
        if app.json {
            app.print_line(&Ended { counts });
        } else {
            app.eprint(&summary(&counts));
        }
        ended
    })
    .await
}

fn options(args: BridgeArgs) -> Result<Options> {
    let lease = args.lease.unwrap_or(Span::from_secs(limits::MIRROR_LEASE_DEFAULT_SECONDS));
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
        lease: Duration::from_micros(lease.0.max(Span::from_millis(100).0)),
    })
}

/// Tells an event: as a document, or in a line for people.
fn show(app: &App, event: &Event, topic: &str) {
    if app.json {
        app.print_line(event);
    } else if let Some(line) = sentence(event, topic) {
        app.eprint(&line);
    }
}

/// What people are told of an event.
fn sentence(event: &Event, topic: &str) -> Option<String> {
    match event {
        Event::StandingBy { name } => Some(format!("another process holds lock `{name}`; standing by")),
        Event::Connected { to } => Some(format!("bridging `{topic}` and {to}")),
        Event::Lost { side: Side::Consort, reason } => Some(format!("server lost: {reason}; trying again")),
        Event::Lost { side: Side::Peer, reason } => Some(format!("other side lost: {reason}; trying again")),
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
