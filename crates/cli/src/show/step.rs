//! One step with its data, as lines.
//!
//! For: `runs show RUN STEP` and `inbox show`. Not for: asking for it (see `command::step`).
//! Invariant: one field, one line; a value that is too wide is cut, and the line says how to get all of it.

use consort_api::{
    Document, ErrorDetail,
    inside::HistoryEntry,
    steps::{JournalEntry, JournalKind, StepDetail},
};
use consort_types::Time;
use serde_json::json;

use super::{
    agent_name::agent_of,
    history,
    style::{Paint, Style, clean, cut, width},
    tree::state_paint,
    when::{clock, took},
};

/// Columns of the names of fields.
const NAMES: usize = 9;

/// Everything that is known of a step.
pub(crate) struct StepData<'a> {
    pub(crate) detail: &'a StepDetail,
    /// The first entries of its journal.
    pub(crate) journal: &'a [JournalEntry],
    /// What happened to it.
    pub(crate) history: &'a [HistoryEntry],
}

/// The lines of a step, within a width.
pub(crate) fn lines(data: &StepData<'_>, style: Style, columns: usize, now: Time) -> Vec<String> {
    let detail = data.detail;
    let step = &detail.step;
    let room = columns.saturating_sub(NAMES + 2);
    let field = |name: &str, value: &str| format!("  {}{}", style.paint(Paint::Dim, &format!("{name:<NAMES$}")), value);
    let mut out = vec![heading(detail, style)];
    let mut put = |name: &str, value: Option<String>| {
        out.extend(value.map(|value| field(name, &cut(&clean(&value), room))));
    };
    put("agent", agent(detail));
    put("time", time(detail, now));
    put("key", detail.idempotency_key.clone());
    put("effect", detail.effect.clone());
    put("attempts", attempts(detail));
    put("input", detail.input.as_ref().map(text));
    put("output", step.output.as_ref().map(text));
    if let Some(error) = &step.error {
        out.push(field("error", &style.paint(Paint::Red, &cut(&error_text(error), room))));
        out.extend(error.hint.iter().map(|hint| field("hint", &cut(&clean(hint), room))));
    }
    if !data.journal.is_empty() {
        out.push(style.paint(Paint::Bold, "journal"));
        out.extend(data.journal.iter().map(|entry| journal_line(entry, style, columns)));
        let more = (step.entries as usize).saturating_sub(data.journal.len());
        if more > 0 {
            out.push(format!("  … {more} more: `consort runs journal {} {}`", step.task.run, step.path));
        }
    }
    if !data.history.is_empty() {
        out.push(style.paint(Paint::Bold, "history"));
        out.extend(data.history.iter().map(|entry| format!("  {}", history::line(entry, style))));
    }
    out
}

fn heading(detail: &StepDetail, style: Style) -> String {
    let step = &detail.step;
    let target = detail.target.as_ref().map(|target| format!("  {}", clean(target))).unwrap_or_default();
    let over = if step.copied { " (taken over)" } else { "" };
    format!(
        "{}{target} · {}{over}",
        style.paint(Paint::Bold, &clean(&step.path)),
        style.paint(state_paint(&step.state), step.state.as_str())
    )
}

fn agent(detail: &StepDetail) -> Option<String> {
    let instance = detail.step.instance.as_deref()?;
    let version = detail.step.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
    Some(format!("{}{version} ({instance})", agent_of(instance)))
}

fn time(detail: &StepDetail, now: Time) -> Option<String> {
    let began = detail.step.started_at?;
    let lasted = took(detail.step.ended_at.unwrap_or(now).since(began));
    let word = if detail.step.ended_at.is_some() { "took" } else { "for" };
    Some(format!("began {}, {word} {lasted}", clock(began)))
}

fn attempts(detail: &StepDetail) -> Option<String> {
    let counted = [(detail.failures, "failed"), (detail.losses, "lost")];
    let mut parts = vec![detail.step.attempt.to_string()];
    parts.extend(counted.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")));
    (detail.step.attempt > 0).then(|| parts.join(", "))
}

/// A document on one line, its numbers as this machine writes them.
fn text(document: &Document) -> String {
    json!(document).to_string()
}

fn error_text(error: &ErrorDetail) -> String {
    clean(&format!("[{}] {}", error.code, error.message))
}

/// An entry: its position, what was requested, and what came of it.
pub(crate) fn journal_line(entry: &JournalEntry, style: Style, columns: usize) -> String {
    let text_of = |text: &Option<String>| clean(text.as_deref().unwrap_or_default());
    let with = |document: &Option<Document>| document.as_ref().map(text).unwrap_or_default();
    let mut request = entry.kind.as_str().to_owned();
    let about = match &entry.kind {
        JournalKind::Run | JournalKind::Signal | JournalKind::Update => text_of(&entry.name),
        JournalKind::Expose => format!("{} {}", text_of(&entry.name), with(&entry.value)),
        JournalKind::Labels => {
            let labels = entry.labels.iter().map(|(label, value)| clean(&format!("{label}={value}")));
            labels.collect::<Vec<_>>().join(", ")
        }
        JournalKind::Answer => {
            let told =
                entry.rejection.as_ref().map_or_else(|| with(&entry.value), |why| clean(&format!("rejected: {why}")));
            format!("{} {told}", entry.update.unwrap_or_default())
        }
        JournalKind::Call => format!("{} {}", text_of(&entry.capability), with(&entry.input)),
        JournalKind::Sleep => entry.span.map(|span| span.to_string()).unwrap_or_default(),
        JournalKind::Approval => format!("{} {}", text_of(&entry.prompt), with(&entry.detail)),
        JournalKind::Forget => entry.entries.iter().map(u32::to_string).collect::<Vec<_>>().join(", "),
        JournalKind::State => with(&entry.input),
        JournalKind::Other(_) => String::new(),
    };
    request.extend([" ", about.trim_end()]);
    request.extend(entry.title.iter().map(|title| format!(" ({title})")));
    let (answer, paint) = match (&entry.output, &entry.error) {
        (_, Some(error)) => (error_text(error), Paint::Red),
        (Some(output), None) => (text(output), Paint::Green),
        // Done in the record that has the entry.
        (None, None) if matches!(entry.kind, JournalKind::Expose | JournalKind::Labels | JournalKind::Answer) => {
            ("done".to_owned(), Paint::Green)
        }
        (None, None) => ("no answer yet".to_owned(), Paint::Cyan),
    };
    let index = format!("{:>4}  ", entry.index);
    // Half of the room for each, and what one does not need for the other.
    let room = columns.saturating_sub(width(&index) + 4).max(16);
    let least = room / 2;
    let answer_room = room.saturating_sub(width(&request)).max(least);
    let answer = cut(&clean(&answer), answer_room);
    let request = cut(&clean(&request), room.saturating_sub(width(&answer)));
    format!("{}{request} → {}", style.paint(Paint::Dim, &index), style.paint(paint, &answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STYLE: Style = Style { color: false, terminal: false };

    fn detail() -> StepDetail {
        serde_json::from_value(json!({
            "step": {
                "task": "01J8Z3K4M5N6P7Q8R9S0T1V2W3.0.1", "path": "pay", "state": "completed", "attempt": 2,
                "instance": "remote:1z:3:shop", "version": "1.0.0", "copied": false,
                "started_at": "2026-11-22T10:00:00.000Z", "ended_at": "2026-11-22T10:00:01.500Z",
                "output": {"id": 7}, "entries": 3,
            },
            "target": "shop.charge", "input": {"eur": 12.50}, "idempotency_key": "K", "effect": "write",
            "failures": 1, "losses": 0,
        }))
        .unwrap()
    }

    #[test]
    fn a_step_is_shown_with_what_it_was_given_and_what_it_made() {
        let journal: Vec<JournalEntry> = serde_json::from_value(json!([
            {"index": 0, "kind": "run", "name": "ref", "output": "r-1"},
            {"index": 1, "kind": "signal", "name": "go"},
        ]))
        .unwrap();
        let detail = detail();
        let shown = lines(&StepData { detail: &detail, journal: &journal, history: &[] }, STYLE, 80, Time(0));
        assert_eq!(
            shown,
            [
                "pay  shop.charge · completed",
                "  agent    shop 1.0.0 (remote:1z:3:shop)",
                "  time     began 10:00:00.000, took 1.5s",
                "  key      K",
                "  effect   write",
                "  attempts 2, 1 failed",
                "  input    {\"eur\":12.5}",
                "  output   {\"id\":7}",
                "journal",
                "   0  run ref → \"r-1\"",
                "   1  signal go → no answer yet",
                "  … 1 more: `consort runs journal 01J8Z3K4M5N6P7Q8R9S0T1V2W3 pay`",
            ]
        );
    }

    #[test]
    fn a_wide_value_is_cut_on_both_sides_of_the_arrow() {
        let entry: JournalEntry = serde_json::from_value(json!({
            "index": 12, "kind": "call", "capability": "shop.book", "input": "x".repeat(100), "output": "y".repeat(100),
        }))
        .unwrap();
        let line = journal_line(&entry, STYLE, 60);
        assert!(width(&line) <= 60 && line.contains("call shop.book") && line.contains("yyy"), "{line}");
    }
}
