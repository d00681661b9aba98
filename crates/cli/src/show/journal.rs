//! Journal entries as lines.
//!
//! For: following a run in a pipe, and `runs show --journal`. Not for: deciding upon them.
//! Invariant: one entry, one line; an event that this build does not know is shown by its name.

use serde_json::Value;

use super::{
    style::{Paint, Style, clean},
    when::clock,
};
use crate::client::model::{Entry, Live, Progress};

/// An entry as a line without line end.
pub(crate) fn line(entry: &Entry, style: Style) -> String {
    let (what, paint) = describe(entry);
    let time = style.paint(Paint::Dim, &clock(entry.time));
    let what = paint.map_or_else(|| what.clone(), |paint| style.paint(paint, &what));
    match &entry.step {
        Some(step) => format!("{time}  {} {what}", clean(step)),
        None => format!("{time}  {what}"),
    }
}

/// What an attempt says it is doing, as a line. Partial output has none: a line is whole, and that is not.
pub(crate) fn progress(progress: &Progress, style: Style) -> Option<String> {
    let Live::Message { message } = &progress.live else { return None };
    let text = format!("{}: {}", clean(&progress.step), clean(message));
    Some(format!("{}  {text}", style.paint(Paint::Dim, &clock(super::when::now()))))
}

fn describe(entry: &Entry) -> (String, Option<Paint>) {
    let text = |key: &str| clean(entry.event.get(key).and_then(Value::as_str).unwrap_or_default());
    let attempt = entry.event.get("attempt").and_then(Value::as_u64).unwrap_or_default();
    let error = entry.event.get("error").and_then(|error| error.get("message")).and_then(Value::as_str);
    let because = error.map(|message| format!(": {}", clean(message))).unwrap_or_default();
    let event = text("event");
    match event.as_str() {
        "run_started" => ("run started".into(), Some(Paint::Bold)),
        "step_began" => ("began".into(), None),
        "attempt_taken" => (format!("attempt {attempt} taken by {}", text("instance")), None),
        "attempt_failed" => {
            let again = entry.event.get("retry_at").and_then(Value::as_str).map(|at| format!("; again at {at}"));
            (format!("attempt {attempt} failed{because}{}", again.unwrap_or_default()), Some(Paint::Yellow))
        }
        "step_completed" => ("completed".into(), Some(Paint::Green)),
        "step_copied" => ("completed (taken over)".into(), Some(Paint::Green)),
        "step_failed" => (format!("failed{because}"), Some(Paint::Red)),
        "step_skipped" => (format!("skipped{because}"), Some(Paint::Dim)),
        "step_cancelled" => (format!("cancelled{because}"), Some(Paint::Yellow)),
        "outcome_unknown" => (format!("attempt {attempt}: outcome unknown, see `consort inbox`"), Some(Paint::Yellow)),
        "decided" => {
            let comment = text("comment");
            let comment = if comment.is_empty() { comment } else { format!(" ({comment})") };
            (format!("decided by {}: {}{comment}", text("by"), text("decision")), None)
        }
        "signal_received" => (format!("signal `{}` received", text("name")), None),
        "run_paused" => ("run paused".into(), Some(Paint::Yellow)),
        "run_resumed" => ("run resumed".into(), None),
        "run_cancelling" => (format!("run is being cancelled: {}", text("reason")), Some(Paint::Yellow)),
        "compensation_began" => ("compensation began".into(), Some(Paint::Yellow)),
        "run_ended" => {
            let status = text("status");
            let paint = super::tree::status_paint(&status);
            (format!("run {status}"), Some(paint))
        }
        "task_recorded" => (format!("recorded {}", text("what")), None),
        other => (other.replace('_', " "), None),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn entries_are_one_line_each() {
        let style = Style { color: false, terminal: false };
        let time = "2026-11-22T10:00:00.000Z";
        for (entry, expected) in [
            (json!({"time": time, "event": "run_started"}), "10:00:00.000  run started"),
            (
                json!({"time": time, "step": "a[1]", "event": "attempt_failed", "attempt": 2, "error": {"message": "no\nway"}}),
                "10:00:00.000  a[1] attempt 2 failed: no way",
            ),
            (json!({"time": time, "event": "run_ended", "status": "failed"}), "10:00:00.000  run failed"),
            (json!({"time": time, "step": "b", "event": "some_news"}), "10:00:00.000  b some news"),
        ] {
            let entry: Entry = serde_json::from_value(entry).unwrap();
            assert_eq!(line(&entry, style), expected);
        }
    }

    #[test]
    fn partial_output_is_no_line() {
        let style = Style { color: false, terminal: false };
        let of = |live: serde_json::Value| {
            let mut said = json!({"run": "r", "step": "a", "attempt": 1});
            said.as_object_mut().unwrap().extend(live.as_object().unwrap().clone());
            progress(&serde_json::from_value(said).unwrap(), style)
        };
        assert!(of(json!({"kind": "message", "message": "reads"})).unwrap().ends_with("  a: reads"));
        assert_eq!(of(json!({"kind": "text", "text": "The lo"})), None);
        assert_eq!(of(json!({"kind": "json", "value": {"score": 1}})), None);
        assert_eq!(of(json!({"kind": "picture", "bytes": ""})), None, "a newer server is understood");
    }
}
