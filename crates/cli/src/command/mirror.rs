//! `consort state mirror`: a space that Redis or etcd has too.
//!
//! For: running a mirror, and telling what it does. Not for: mirroring (see `consort_mirror`).
//! Invariant: with `--json`, standard output has each event on a line, the counts last; without, standard error has what
//! concerns connections and what is not carried.

use std::time::Duration;

use consort_mirror::{Counts, Direction, Event, Mirror, Options, Side};
use consort_types::{Result, Span, limits};
use serde::Serialize;

use crate::{
    app::{App, Need},
    args::{MirrorArgs, MirrorDirection},
    exit::Exit,
    show::when,
    signals::Signals,
};

/// How a mirror ends.
#[derive(Serialize)]
#[serde(tag = "event", rename = "ended")]
struct Ended {
    #[serde(flatten)]
    counts: Counts,
}

pub(crate) async fn execute(app: &App, args: MirrorArgs) -> Result<Exit> {
    let mut signals = Signals::install()?;
    let options = options(args)?;
    app.with_session(Need::Change, async |session| {
        let holder = format!("mirror-{}-{}", std::process::id(), when::now().0);
        let show = |event: &Event| show(app, event, &options.space);
        let mut mirror = Mirror::new(session.client.clone(), options.clone(), holder, show)?;
        let ended = tokio::select! {
            error = mirror.run() => Err(error),
            exit = signals.next() => Ok(exit),
        };
        let counts = mirror.counts();
        mirror.close().await;
        if app.json {
            app.print_line(&Ended { counts });
        } else {
            app.eprint(&summary(&counts));
        }
        ended
    })
    .await
}

fn options(args: MirrorArgs) -> Result<Options> {
    let time = |given: Option<Span>, default| {
        Duration::from_micros(given.unwrap_or(Span::from_secs(default)).0.max(Span::from_millis(100).0))
    };
    Ok(Options {
        name: args.name.unwrap_or_else(|| args.space.clone()),
        space: args.space,
        to: args.to.parse()?,
        prefix: args.prefix,
        direction: match args.direction {
            MirrorDirection::Both => Direction::Both,
            MirrorDirection::Out => Direction::Out,
            MirrorDirection::In => Direction::In,
        },
        lease: time(args.lease, limits::MIRROR_LEASE_DEFAULT_SECONDS),
        compare: time(args.compare, limits::MIRROR_COMPARE_DEFAULT_SECONDS),
    })
}

/// Tells an event: as a document, or in a line for people.
fn show(app: &App, event: &Event, space: &str) {
    if app.json {
        app.print_line(event);
    } else if let Some(line) = sentence(event, space) {
        app.eprint(&line);
    }
}

/// What people are told of an event.
fn sentence(event: &Event, space: &str) -> Option<String> {
    match event {
        Event::StandingBy { name } => Some(format!("another process holds lock `{name}`; standing by")),
        Event::Connected { to, resumed: true } => Some(format!("mirroring `{space}` and {to}, continued")),
        Event::Connected { to, resumed: false } => Some(format!("mirroring `{space}` and {to}, compared")),
        Event::Lost { side: Side::Consort, reason } => Some(format!("server lost: {reason}; trying again")),
        Event::Lost { side: Side::Peer, reason } => Some(format!("other side lost: {reason}; trying again")),
        Event::Refused { key, reason } => Some(format!("warning: `{key}` is not carried: {reason}")),
        Event::Settled { .. } | Event::Out { .. } | Event::In { .. } | Event::Conflict { .. } => None,
    }
}

fn summary(counts: &Counts) -> String {
    let Counts { out, taken, conflicts, refused, compared, lost } = counts;
    format!("{out} out, {taken} in, {conflicts} conflicts, {refused} refused, {compared} comparisons, {lost} losses")
}
