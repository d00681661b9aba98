//! What commands share that run a process beside a server: mirrors and bridges.
//!
//! For: their lengths of time, and what they tell in common. Not for: what they carry.
//! Invariant: with `--json`, standard output has each event on a line, the counts last.

use std::time::Duration;

use consort_peering::Side;
use consort_types::Span;
use serde::Serialize;

use crate::{app::App, show::when};

/// How such a process ends.
#[derive(Serialize)]
#[serde(tag = "event", rename = "ended")]
struct Ended<C> {
    #[serde(flatten)]
    counts: C,
}

/// Who this process is among those that may work under a name.
pub(crate) fn holder(kind: &str) -> String {
    format!("{kind}-{}-{}", std::process::id(), when::now().0)
}

/// A length of time as given, or so many seconds; never so short that it would only be busy with itself.
pub(crate) fn time(given: Option<Span>, default_seconds: u64) -> Duration {
    Duration::from_micros(given.unwrap_or(Span::from_secs(default_seconds)).0.max(Span::from_millis(100).0))
}

/// Tells an event: as a document, or in a line for people, where there is one.
pub(crate) fn show<E: Serialize>(app: &App, event: &E, sentence: impl FnOnce(&E) -> Option<String>) {
    if app.json {
        app.print_line(event);
    } else if let Some(line) = sentence(event) {
        app.eprint(&line);
    }
}

/// Tells the counts at the end.
pub(crate) fn show_end<C: Serialize>(app: &App, counts: C, summary: impl FnOnce(&C) -> String) {
    if app.json {
        app.print_line(&Ended { counts });
    } else {
        app.eprint(&summary(&counts));
    }
}

pub(crate) fn standing_by(name: &str) -> String {
    format!("another process holds lock `{name}`; standing by")
}

pub(crate) fn lost(side: Side, reason: &str) -> String {
    let side = match side {
        Side::Consort => "server",
        Side::Peer => "other side",
    };
    format!("{side} lost: {reason}; trying again")
}
