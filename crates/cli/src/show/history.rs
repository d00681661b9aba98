//! Entries of a run's history as lines.
//!
//! For: following a run in a pipe, and `runs show --history`. Not for: deciding upon them.
//! Invariant: one entry, one line; an event that this build does not know is shown by its name.

use consort_api::{
    ErrorDetail,
    inside::{EventKind, HistoryEntry},
    watch::Progress,
};

use serde_json::json;

use super::{
    style::{Paint, Style, clean, cut},
    when::clock,
};

/// Columns of a signal's payload that a line shows.
const PAYLOAD_COLUMNS: usize = 120;

/// An entry as a line without line end.
pub(crate) fn line(entry: &HistoryEntry, style: Style) -> String {
    let (what, paint) = describe(entry);
    let time = style.paint(Paint::Dim, &clock(entry.time));
    let what = paint.map_or_else(|| what.clone(), |paint| style.paint(paint, &what));
    match &entry.step {
        Some(step) => format!("{time}  {} {what}", clean(step)),
        None => format!("{time}  {what}"),
    }
}

/// The progress message of an attempt, as a line. Partial output has none: a line is whole, and that is not.
pub(crate) fn progress(progress: &Progress, style: Style) -> Option<String> {
    let message = progress.message.as_ref()?;
    let text = format!("{}: {}", clean(&progress.step), clean(message));
    Some(format!("{}  {text}", style.paint(Paint::Dim, &clock(super::when::now()))))
}

fn describe(entry: &HistoryEntry) -> (String, Option<Paint>) {
    let text = |text: &Option<String>| clean(text.as_deref().unwrap_or_default());
    let because = because(entry.error.as_ref());
    let attempt = entry.attempt.unwrap_or_default();
    match &entry.event {
        EventKind::RunStarted => ("run started".into(), Some(Paint::Bold)),
        EventKind::StepStarted => ("began".into(), None),
        EventKind::AttemptStarted => {
            let version = entry.version.as_ref().map(|version| format!(" ({})", clean(version))).unwrap_or_default();
            (format!("attempt {attempt} taken by {}{version}", text(&entry.instance)), None)
        }
        EventKind::AttemptFailed => {
            let again = entry.retry_at.map(|at| format!("; again at {at}")).unwrap_or_default();
            (format!("attempt {attempt} failed{because}{again}"), Some(Paint::Yellow))
        }
        EventKind::StepCompleted => ("completed".into(), Some(Paint::Green)),
        EventKind::StepGaveUp => (format!("gave up{because}; see `consort inbox`"), Some(Paint::Red)),
        EventKind::TaskDiverged => {
            (format!("attempt {attempt}: its code differs from the journal{because}"), Some(Paint::Yellow))
        }
        EventKind::TaskAwarded => (format!("awarded to {}", text(&entry.name)), None),
        EventKind::StepCopied => ("completed (taken over)".into(), Some(Paint::Green)),
        EventKind::StepFailed => (format!("failed{because}"), Some(Paint::Red)),
        EventKind::StepSkipped => (format!("skipped{because}"), Some(Paint::Dim)),
        EventKind::StepCancelled => (format!("cancelled{because}"), Some(Paint::Yellow)),
        EventKind::OutcomeUnknown => {
            (format!("attempt {attempt}: outcome unknown, see `consort inbox`"), Some(Paint::Yellow))
        }
        EventKind::Decided => {
            let comment = entry.comment.as_ref().map(|comment| format!(" ({})", clean(comment))).unwrap_or_default();
            (format!("decided by {}: {}{comment}", text(&entry.by), text(&entry.decision)), None)
        }
        EventKind::SignalReceived => {
            let payload = entry.payload.as_ref().map(|payload| json!(payload)).filter(|payload| !payload.is_null());
            let payload = payload.map(|payload| format!(": {}", cut(&clean(&payload.to_string()), PAYLOAD_COLUMNS)));
            (format!("signal `{}` received{}", text(&entry.name), payload.unwrap_or_default()), None)
        }
        EventKind::UpdateReceived => (format!("update `{}` received", text(&entry.name)), None),
        EventKind::RunPaused => ("run paused".into(), Some(Paint::Yellow)),
        EventKind::RunResumed => ("run resumed".into(), None),
        EventKind::RunCancelling => (format!("run is being cancelled: {}", text(&entry.reason)), Some(Paint::Yellow)),
        EventKind::CompensationStarted => ("compensation began".into(), Some(Paint::Yellow)),
        EventKind::RunEnded => match &entry.status {
            Some(status) => (format!("run {status}"), Some(super::tree::status_paint(status))),
            None => ("run ended".into(), None),
        },
        EventKind::TaskRecorded => (format!("recorded {}", text(&entry.what)), None),
        EventKind::Other(other) => (clean(&other.replace('_', " ")), None),
    }
}

fn because(error: Option<&ErrorDetail>) -> String {
    error.map(|error| format!(": {}", clean(&error.message))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_one_line_each() {
        let style = Style { color: false, terminal: false };
        let time = "2026-11-22T10:00:00.000Z";
        for (entry, expected) in [
            (json!({"cursor": "1-0", "time": time, "event": "run_started"}), "10:00:00.000  run started"),
            (
                json!({"cursor": "1-0", "time": time, "step": "a[1]", "event": "attempt_failed", "attempt": 2, "error": {"code": "C0304", "message": "no\nway"}}),
                "10:00:00.000  a[1] attempt 2 failed: no way",
            ),
            (
                json!({"cursor": "1-0", "time": time, "event": "run_ended", "status": "failed"}),
                "10:00:00.000  run failed",
            ),
            (json!({"cursor": "1-0", "time": time, "step": "b", "event": "some_news"}), "10:00:00.000  b some news"),
        ] {
            let entry: HistoryEntry = serde_json::from_value(entry).unwrap();
            assert_eq!(line(&entry, style), expected);
        }
    }

    #[test]
    fn partial_output_is_no_line() {
        let style = Style { color: false, terminal: false };
        let of = |live: serde_json::Value| {
            let mut said = json!({"run": "01J8Z3K4M5N6P7Q8R9S0T1V2W3", "step": "a", "attempt": 1});
            said.as_object_mut().unwrap().extend(live.as_object().unwrap().clone());
            progress(&serde_json::from_value(said).unwrap(), style)
        };
        assert!(of(json!({"kind": "message", "message": "reads"})).unwrap().ends_with("  a: reads"));
        assert_eq!(of(json!({"kind": "text", "text": "The lo"})), None);
        assert_eq!(of(json!({"kind": "json", "json": {"score": 1}})), None);
        assert_eq!(of(json!({"kind": "picture", "bytes": ""})), None, "a newer server is understood");
    }
}
