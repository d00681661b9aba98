//! `consort state mirror`: a space that Redis, etcd or another server has too.
//!
//! For: running a mirror, and telling what it does. Not for: mirroring (see `consort_mirror`).
//! Invariant: with `--json`, standard output has each event on a line, the counts last; without, standard error has what
//! concerns connections and what is not carried.

use consort_mirror::{Counts, Direction, Event, Mirror, Options};
use consort_types::{Result, limits};

use crate::{
    app::{App, Need},
    args::{MirrorArgs, MirrorDirection},
    command::beside,
    exit::Exit,
    signals::Signals,
};

pub(crate) async fn execute(app: &App, args: MirrorArgs) -> Result<Exit> {
    let mut signals = Signals::install()?;
    let options = options(args)?;
    app.with_session(Need::Change, async |session| {
        let show = |event: &Event| beside::show(app, event, |event| sentence(event, &options.space));
        let mut mirror = Mirror::new(session.client.clone(), options.clone(), beside::holder("mirror"), show)?;
        let ended = tokio::select! {
            error = mirror.run() => Err(error),
            exit = signals.next() => Ok(exit),
        };
        let counts = mirror.counts();
        mirror.close().await;
        beside::show_end(app, counts, summary);
        ended
    })
    .await
}

fn options(args: MirrorArgs) -> Result<Options> {
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
        lease: beside::time(args.lease, limits::MIRROR_LEASE_DEFAULT_SECONDS),
        compare: beside::time(args.compare, limits::MIRROR_COMPARE_DEFAULT_SECONDS),
    })
}

/// What people are told of an event.
fn sentence(event: &Event, space: &str) -> Option<String> {
    match event {
        Event::StandingBy { name } => Some(beside::standing_by(name)),
        Event::Connected { to, resumed: true } => Some(format!("mirroring `{space}` and {to}, continued")),
        Event::Connected { to, resumed: false } => Some(format!("mirroring `{space}` and {to}, compared")),
        Event::Lost { side, reason } => Some(beside::lost(*side, reason)),
        Event::PoliciesDiffer { space: other } => {
            Some(format!("warning: `{space}` and `{other}` have other policies; each decides by its own"))
        }
        Event::Refused { key, reason } => Some(format!("warning: `{key}` is not carried: {reason}")),
        Event::Settled { .. } | Event::Out { .. } | Event::In { .. } | Event::Conflict { .. } => None,
    }
}

fn summary(counts: &Counts) -> String {
    let Counts { out, taken, conflicts, refused, compared, lost } = counts;
    format!("{out} out, {taken} in, {conflicts} conflicts, {refused} refused, {compared} comparisons, {lost} losses")
}
