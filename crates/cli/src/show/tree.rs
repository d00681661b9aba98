//! A run as a tree of steps.
//!
//! For: `runs show` and the live view. Not for: history (see `history`).
//! Invariant: every line fits the requested width; a tree that is too high ends with how much is left out.

use std::collections::BTreeMap;

use consort_api::{
    inside::{Bid, StepNode, StepState},
    runs::{RunStatus, RunSummary},
};
use consort_types::{Span, Time};

use super::{
    agent_name::agent_of,
    progress::AttemptProgress,
    style::{Paint, Style, clean, cut, cut_front, cut_painted, width},
    when::took,
};

/// What a tree is drawn with.
pub(crate) struct Frame<'a> {
    pub(crate) style: Style,
    /// Columns.
    pub(crate) width: usize,
    /// Lines.
    pub(crate) height: usize,
    /// For elapsed times.
    pub(crate) now: Time,
    /// The frame of the animation.
    pub(crate) turn: usize,
    /// What the attempts reported last, by path of the step.
    pub(crate) progress: &'a BTreeMap<String, AttemptProgress>,
    /// The worker instances that are away, and for how long.
    pub(crate) away: &'a BTreeMap<String, Span>,
}

/// A line of a tree before it is fitted into the width.
struct Line {
    indent: String,
    symbol: &'static str,
    paint: Paint,
    name: String,
    detail: String,
    detail_paint: Paint,
    /// Partial text, of which the end is shown in the room that is left.
    partial: String,
    time: String,
    /// Lines of steps that are running or failed stay when there is little room.
    matters: bool,
}

/// Columns below which partial text is not shown.
const PARTIAL_COLUMNS_MIN: usize = 8;

/// The colour of a run's status.
pub(crate) fn status_paint(status: &RunStatus) -> Paint {
    match status {
        RunStatus::Completed => Paint::Green,
        RunStatus::Failed => Paint::Red,
        RunStatus::Cancelled | RunStatus::Cancelling | RunStatus::Compensating => Paint::Yellow,
        _ => Paint::Cyan,
    }
}

/// The colour of a step's state.
pub(crate) fn state_paint(state: &StepState) -> Paint {
    match state {
        StepState::Completed => Paint::Green,
        StepState::Failed => Paint::Red,
        StepState::Cancelled => Paint::Yellow,
        _ => Paint::Cyan,
    }
}

/// The animation of running steps.
const TURNING: [&str; 8] = ["⣾", "⣽", "⣻", "⢿", "⡿", "⣟", "⣯", "⣷"];

/// The heading of a run.
pub(crate) fn heading(run: &RunSummary, frame: &Frame<'_>) -> String {
    let status = if run.paused { format!("{} (paused)", run.status) } else { run.status.to_string() };
    let elapsed = took(run.ended_at.unwrap_or(frame.now).since(run.started_at));
    let (workflow, id) = (clean(&run.workflow), run.run.to_string());
    let style = frame.style;
    let line = format!(
        "{} {}  {}  {}",
        style.paint(Paint::Bold, &workflow),
        style.paint(Paint::Dim, &id),
        style.paint(status_paint(&run.status), &status),
        style.paint(Paint::Dim, &elapsed)
    );
    cut_painted(&line, frame.width)
}

/// The lines of a tree.
pub(crate) fn lines(nodes: &[StepNode], frame: &Frame<'_>) -> Vec<String> {
    let mut found = Vec::new();
    collect(nodes, "", "", frame, &mut found);
    let total = found.len();
    if total > frame.height {
        let room = frame.height.saturating_sub(1);
        // First what is done goes, then the end.
        let mut spare = total - room;
        found.retain(|line| {
            let goes = spare > 0 && !line.matters;
            spare -= usize::from(goes);
            !goes
        });
        found.truncate(room);
    }
    let left_out = total - found.len();
    let mut lines: Vec<String> = found.iter().map(|line| fit(line, frame)).collect();
    if left_out > 0 {
        lines.push(cut_painted(&frame.style.paint(Paint::Dim, &format!("… {left_out} more")), frame.width));
    }
    lines
}

fn collect(nodes: &[StepNode], prefix: &str, parent: &str, frame: &Frame<'_>, found: &mut Vec<Line>) {
    for (at, node) in nodes.iter().enumerate() {
        let last = at + 1 == nodes.len();
        let path = join(parent, &node.name);
        let indent = format!("{prefix}{}", if last { "└ " } else { "├ " });
        found.push(line(node, &path, indent, frame));
        let below = format!("{prefix}{}", if last { "  " } else { "│ " });
        collect(&node.children, &below, &path, frame, found);
    }
}

/// The path of a step below another. An item or iteration repeats the name of its step: `gather` has `gather[3]`.
pub(crate) fn join(parent: &str, name: &str) -> String {
    match place(name) {
        Some(place) => format!("{parent}{place}"),
        None if parent.is_empty() => name.to_owned(),
        None => format!("{parent}/{name}"),
    }
}

/// Whether a path is that of an item, an iteration or a step below another.
pub(crate) fn is_below(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.starts_with(['[', '#', '/']))
}

/// The `[3]` or `#2` of an item or iteration.
fn place(name: &str) -> Option<&str> {
    name.find(['[', '#']).map(|at| &name[at..])
}

fn line(node: &StepNode, path: &str, indent: String, frame: &Frame<'_>) -> Line {
    let (symbol, paint) = symbol(node, frame);
    let time = match (node.started_at, node.ended_at) {
        (Some(began), Some(ended)) => took(ended.since(began)),
        (Some(began), None) => took(frame.now.since(began)),
        _ => String::new(),
    };
    let failed = node.error.is_some() && node.state != StepState::Completed;
    let partial = progress_of(node, path, frame).and_then(AttemptProgress::partial);
    Line {
        indent,
        symbol,
        paint,
        name: clean(place(&node.name).unwrap_or(&node.name)),
        detail: clean(&detail(node, path, frame)),
        detail_paint: if failed && node.state == StepState::Failed { Paint::Red } else { Paint::Dim },
        partial: partial.filter(|(_, text)| *text).map(|(end, _)| end.to_owned()).unwrap_or_default(),
        time,
        matters: !(node.state.has_ended() || node.state == StepState::Pending) || node.state == StepState::Failed,
    }
}

fn symbol(node: &StepNode, frame: &Frame<'_>) -> (&'static str, Paint) {
    match node.state {
        StepState::Completed if node.copied => ("↷", Paint::Green),
        StepState::Completed => ("✓", Paint::Green),
        StepState::Failed => ("✗", Paint::Red),
        StepState::Skipped => ("–", Paint::Dim),
        StepState::Cancelled => ("⊘", Paint::Yellow),
        StepState::Running if away(node, frame).is_some() => ("!", Paint::Yellow),
        StepState::Running => (TURNING[frame.turn % TURNING.len()], Paint::Cyan),
        StepState::Unknown | StepState::Diverged | StepState::GaveUp | StepState::WaitingApproval => {
            ("?", Paint::Yellow)
        }
        StepState::Backoff => ("↻", Paint::Yellow),
        StepState::Waiting | StepState::Suspended => ("◷", Paint::Cyan),
        StepState::Queued => ("•", Paint::Cyan),
        StepState::Pending | StepState::Other(_) => ("·", Paint::Dim),
    }
}

/// What the running attempt reported.
fn progress_of<'a>(node: &StepNode, path: &str, frame: &Frame<'a>) -> Option<&'a AttemptProgress> {
    frame.progress.get(path).filter(|_| matches!(node.state, StepState::Running | StepState::Suspended))
}

/// The text behind a step's name.
fn detail(node: &StepNode, path: &str, frame: &Frame<'_>) -> String {
    let mut parts = Vec::new();
    if let Some(counts) = node.counts {
        let at_work = counts.started.saturating_sub(counts.ended);
        let mut text = match node.kind.as_str() {
            "repeat" => format!("round {} of at most {}", counts.started, counts.total),
            _ => format!("{}/{} done", counts.ended, counts.total),
        };
        if at_work > 0 && node.kind != "repeat" {
            text.extend([", ", &at_work.to_string(), " running"]);
        }
        if counts.failed > 0 {
            text.extend([", ", &counts.failed.to_string(), " failed"]);
        }
        parts.push(text);
    } else if let Some(target) = &node.target {
        parts.push(with_title(target, node.title.as_deref()));
    } else if !matches!(node.kind.as_str(), "group" | "call") {
        parts.push(with_title(&node.kind, node.title.as_deref()));
    }
    if node.kind == "auction" {
        parts.push(bid_words(node));
    }
    parts.extend(state_words(node, frame));
    if node.attempt > 1 {
        parts.push(format!("attempt {}", node.attempt));
    }
    parts.extend(served_by(node));
    parts.extend(
        away(node, frame)
            .map(|span| format!("has lost contact {} ago; its task waits for it, then goes to another", took(span))),
    );
    parts.extend(node.child_run.iter().map(|run| format!("run {run}")));
    if let Some(progress) = progress_of(node, path, frame) {
        let document = progress.partial().filter(|(_, text)| !text).map(|(document, _)| document);
        parts.extend(document.or_else(|| progress.message()).map(str::to_owned));
    }
    if node.state != StepState::Completed {
        parts.extend(node.error.iter().map(|error| error.message.clone()));
    }
    parts.join(" · ")
}

/// How the auction of a step has come out, best bid first.
fn bid_words(node: &StepNode) -> String {
    if node.bids.is_empty() {
        return if node.state.has_ended() { "auction".to_owned() } else { "auction, bids are awaited".to_owned() };
    }
    let bid = |bid: &Bid| match bid.score {
        Some(score) => format!("{} {}", bid.agent, (score * 1_000.0).round() / 1_000.0),
        None => format!("{} –", bid.agent),
    };
    format!("auction: {}", node.bids.iter().map(bid).collect::<Vec<_>>().join(", "))
}

/// The agent that has the task, or did it, with its version.
fn served_by(node: &StepNode) -> Option<String> {
    let shown = node.state == StepState::Running || node.state.has_ended();
    let agent = agent_of(node.instance.as_deref().filter(|_| shown)?);
    Some(node.version.as_ref().map_or_else(|| format!("on {agent}"), |version| format!("on {agent} {version}")))
}

/// For how long the instance that has the task is away.
fn away(node: &StepNode, frame: &Frame<'_>) -> Option<Span> {
    let holder = node.instance.as_ref().filter(|_| node.state == StepState::Running)?;
    frame.away.get(holder).copied()
}

/// What is called, with what its caller calls it.
fn with_title(what: &str, title: Option<&str>) -> String {
    title.map_or_else(|| what.to_owned(), |title| format!("{what} ({title})"))
}

/// What a step, or the code of a task, waits for, and how long; `unknown` where that is not known. Calls have lines of
/// their own.
fn wait_words(node: &StepNode, frame: &Frame<'_>, unknown: &str) -> String {
    let mut what = Vec::new();
    for wait in &node.waits_for {
        let title = wait.title.as_deref();
        match (wait.kind.as_str(), &wait.name) {
            ("update", Some(name)) => what.push(with_title(&format!("update `{name}`"), title)),
            ("signal", Some(name)) => what.push(with_title(&format!("signal `{name}`"), title)),
            ("event", Some(topic)) => what.push(format!("event `{topic}`")),
            ("lock", Some(name)) => what.push(format!("lock `{name}`")),
            ("approval", _) => what.push(with_title("a decision", title)),
            ("time", _) => what.extend(title.map(str::to_owned)),
            _ => {}
        }
    }
    let mut words = match what.as_slice() {
        [] if node.waits_for.iter().any(|wait| wait.kind == "time") => "waits".to_owned(),
        [] => unknown.to_owned(),
        what => format!("waits for {}", what.join(" or ")),
    };
    let until = node.waits_for.iter().filter_map(|wait| wait.until).min();
    let left = until.or(node.wake_at).map(|at| at.since(frame.now)).filter(|span| *span > Span::ZERO);
    words.extend(left.iter().map(|span| format!(", {} left", took(*span))));
    words
}

fn state_words(node: &StepNode, frame: &Frame<'_>) -> Option<String> {
    let left = |wakes: Option<Time>| wakes.map(|at| at.since(frame.now)).filter(|span| *span > Span::ZERO).map(took);
    match node.state {
        StepState::Queued => Some("waits for an agent".to_owned()),
        StepState::Backoff => {
            Some(left(node.wake_at).map_or("tries again".to_owned(), |span| format!("tries again in {span}")))
        }
        StepState::Waiting => Some(wait_words(node, frame, "waits")),
        StepState::Suspended => Some(wait_words(node, frame, "waits for an answer")),
        StepState::Unknown => Some("outcome unknown: decide it in `consort inbox`".to_owned()),
        StepState::Diverged => Some("diverged: waits for code that fits, or a decision in `consort inbox`".to_owned()),
        StepState::GaveUp => Some("gave up: decide it in `consort inbox`".to_owned()),
        StepState::WaitingApproval => Some("waits for a decision: `consort inbox`".to_owned()),
        StepState::Skipped | StepState::Cancelled if node.error.is_none() => Some(node.state.to_string()),
        StepState::Completed if node.copied => Some("taken over".to_owned()),
        _ => None,
    }
}

/// A line in the width of the frame: the name stays, the detail is cut, the time is at the end.
fn fit(line: &Line, frame: &Frame<'_>) -> String {
    let style = frame.style;
    let time = if line.time.is_empty() { String::new() } else { format!("  {}", line.time) };
    let fixed = width(&line.indent) + 2 + width(&time);
    let name = cut(&line.name, frame.width.saturating_sub(fixed).max(4));
    let room = frame.width.saturating_sub(fixed + width(&name) + 2);
    let mut detail = if room < 4 || line.detail.is_empty() { String::new() } else { cut(&line.detail, room) };
    let left = room.saturating_sub(width(&detail) + 3);
    if !line.partial.is_empty() && left >= PARTIAL_COLUMNS_MIN {
        detail.extend([if detail.is_empty() { "" } else { " · " }, &cut_front(&line.partial, left)]);
    }
    let mut out = style.paint(Paint::Dim, &line.indent);
    out.push_str(&style.paint(line.paint, line.symbol));
    out.push(' ');
    out.push_str(&name);
    if !detail.is_empty() {
        out.push_str("  ");
        out.push_str(&style.paint(line.detail_paint, &detail));
    }
    out.push_str(&style.paint(Paint::Dim, &time));
    // A deep step leaves no room for its name.
    cut_painted(&out, frame.width)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::progress::tests::says, *};

    fn node(name: &str, state: &str, below: &serde_json::Value) -> serde_json::Value {
        json!({ "task": "01J8Z3K4M5N6P7Q8R9S0T1V2W3.0.1", "name": name, "kind": "call", "target": "some.capability",
            "state": state, "attempt": 0, "children": below })
    }

    fn draw(width: usize, height: usize) -> Vec<String> {
        let many: Vec<_> = (0..6)
            .map(|i| node(&format!("gather[{i}]"), if i == 4 { "running" } else { "completed" }, &json!([])))
            .collect();
        let nodes: Vec<StepNode> = serde_json::from_value(json!([
            node("plan", "completed", &json!([])),
            node("gather", "running", &json!(many)),
            node("write", "pending", &json!([])),
        ]))
        .unwrap();
        let mut reading = AttemptProgress::default();
        reading.update(says(0, "message", "reading a very long file name"));
        let progress = BTreeMap::from([("gather[4]".to_owned(), reading)]);
        lines(&nodes, &frame(width, height, &progress))
    }

    fn frame(width: usize, height: usize, progress: &BTreeMap<String, AttemptProgress>) -> Frame<'_> {
        let style = Style { color: false, terminal: true };
        Frame { style, width, height, now: Time(0), turn: 0, progress, away: &NONE_AWAY }
    }

    static NONE_AWAY: BTreeMap<String, Span> = BTreeMap::new();

    #[test]
    fn a_step_whose_worker_has_lost_contact_says_so_instead_of_turning() {
        let mut pay = node("pay", "running", &json!([]));
        pay["instance"] = json!("remote:7:payments");
        let nodes: Vec<StepNode> = serde_json::from_value(json!([pay])).unwrap();
        let (none, away) = (BTreeMap::new(), BTreeMap::from([("remote:7:payments".to_owned(), Span::from_secs(3))]));
        let here = lines(&nodes, &frame(120, 9, &none)).remove(0);
        assert!(here.starts_with("└ ⣾ pay") && !here.contains("contact"), "{here}");
        let gone = lines(&nodes, &Frame { away: &away, ..frame(120, 9, &none) }).remove(0);
        assert!(gone.starts_with("└ ! pay") && gone.contains("payments · has lost contact 3.0s ago"), "{gone}");
    }

    #[test]
    fn a_step_says_what_it_waits_for_and_what_its_code_calls_it() {
        let mut flow = node("trip", "suspended", &json!([node("trip/call:5", "completed", &json!([]))]));
        flow["waits_for"] = json!([
            { "kind": "signal", "name": "go", "title": "desk" },
            { "kind": "approval", "name": "ship it?" },
            { "kind": "time", "until": "1970-01-01T00:00:07Z" },
        ]);
        flow["children"][0]["title"] = json!("hotel");
        let mut packed = node("packed", "waiting", &json!([]));
        packed["kind"] = json!("wait");
        packed["target"] = json!(null);
        packed["waits_for"] = json!([{ "kind": "signal", "name": "packed" }]);
        let nodes: Vec<StepNode> = serde_json::from_value(json!([flow, packed])).unwrap();
        let none = BTreeMap::new();
        let shown = lines(&nodes, &frame(100, 9, &none));
        assert!(shown[0].contains("waits for signal `go` (desk) or a decision, 7.0s left"), "{shown:?}");
        assert!(shown[1].contains("some.capability (hotel)"), "{shown:?}");
        assert!(shown[2].contains("packed  wait · waits for signal `packed`"), "{shown:?}");
    }

    #[test]
    fn a_step_that_streams_shows_the_end_of_its_text_in_the_room_that_is_left() {
        let nodes: Vec<StepNode> = serde_json::from_value(json!([node("write", "running", &json!([]))])).unwrap();
        let mut steps = BTreeMap::from([("write".to_owned(), AttemptProgress::default())]);
        let mut say = |progress| {
            steps.get_mut("write").unwrap().update(progress);
            [60, 40, 24].map(|width| lines(&nodes, &frame(width, 9, &steps)).remove(0))
        };
        assert_eq!(say(says(1, "message", "thinks"))[0], "└ ⣾ write  some.capability · thinks");
        let text = "The log keeps every record that was acknowledged.";
        let [wide, narrow, none] = say(says(1, "text", text));
        assert_eq!(wide, "└ ⣾ write  some.capability · … record that was acknowledged.");
        assert_eq!(narrow, "└ ⣾ write  some.capability · …nowledged.");
        assert_eq!(none, "└ ⣾ write  some.capabil…");
        assert!([wide, narrow, none].iter().all(|line| !line.contains("thinks")));
        let [document, ..] = say(says(1, "json", json!({"score": 7})));
        assert_eq!(document, "└ ⣾ write  some.capability · {\"score\":7}");
    }

    #[test]
    fn a_tree_shows_every_step_with_what_it_says() {
        let lines = draw(100, 100);
        assert_eq!(lines.len(), 9);
        assert_eq!(lines[0], "├ ✓ plan  some.capability");
        assert_eq!(lines[6], "│ ├ ⣾ [4]  some.capability · reading a very long file name");
        assert_eq!(lines[8], "└ · write  some.capability");
    }

    #[test]
    fn what_is_at_work_stays_when_there_is_little_room() {
        let lines = draw(40, 4);
        assert_eq!(lines.len(), 4);
        assert!(lines.iter().any(|line| line.contains("[4]")), "{lines:#?}");
        assert_eq!(lines[3], "… 6 more");
        for columns in [4, 10, 24] {
            assert!(draw(columns, 50).iter().all(|line| width(line) <= columns));
        }
    }
}
