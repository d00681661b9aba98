//! Queues and limits as tables.
//!
//! For: `queue` and `limits list`. Not for: why something waits (the engine says).
//! Invariant: a queue in which nothing moves says why on its line.

use consort_types::{
    Time, WorkerInstance,
    registry::{LimitView, QueueView, Rate},
};

use super::{
    style::{Paint, Style},
    table::{Table, below},
    when::took,
};

/// Holders that a line names.
const NAMED_MAX: usize = 3;

/// A line for each queue. On a terminal the reasons stand below, where there is room for them; in a pipe at the end of
/// each line.
pub(crate) fn queues(queues: &[QueueView], now: Time, style: Style) -> String {
    let heads =
        ["TARGET", "WAITING", "LIMITED", "PAUSED", "OLDEST", "OUT/MIN", "DONE/MIN", "INSTANCES", "HOLDERS", "REASON"];
    let columns = if style.terminal { heads.len() - 1 } else { heads.len() };
    let mut table = Table::new(&heads[..columns]);
    let mut notes = Vec::new();
    for queue in queues {
        let mut row = cells(queue, now);
        row.truncate(columns);
        table.row(row);
        notes.extend(queue.reason.as_ref().map(|reason| (target(queue), reason.as_str())));
    }
    let mut out = table.render(style);
    if style.terminal {
        out.push_str(&below(&notes, style));
    }
    out
}

fn cells(queue: &QueueView, now: Time) -> Vec<(String, Option<Paint>)> {
    let held_back = |count: u32| count_cell(count, Paint::Yellow);
    let instances = match queue.instances {
        0 => ("none".to_owned(), Some(Paint::Red)),
        many => (many.to_string(), None),
    };
    vec![
        (target(queue), Some(Paint::Cyan)),
        count_cell(queue.waiting, Paint::Bold),
        held_back(queue.limited),
        held_back(queue.paused),
        (queue.oldest.map(|since| took(now.since(since))).unwrap_or_default(), None),
        count_cell(queue.handed_out_minute, Paint::Green),
        count_cell(queue.ended_minute, Paint::Green),
        instances,
        (holders(queue), None),
        (queue.reason.clone().unwrap_or_default(), Some(Paint::Yellow)),
    ]
}

fn count_cell(count: u32, paint: Paint) -> (String, Option<Paint>) {
    (count.to_string(), Some(if count == 0 { Paint::Dim } else { paint }))
}

/// What is asked for.
fn target(queue: &QueueView) -> String {
    match (&queue.capability, &queue.agent) {
        (Some(capability), Some(agent)) => format!("{capability} of {agent}"),
        (Some(capability), None) => capability.clone(),
        (None, Some(agent)) => format!("agent {agent}"),
        (None, None) => String::new(),
    }
}

fn holders(queue: &QueueView) -> String {
    let all = &queue.holders;
    let named: Vec<String> =
        all.iter().take(NAMED_MAX).map(|holder| format!("{} {}", short(&holder.instance), holder.held)).collect();
    let more = all.len().saturating_sub(NAMED_MAX);
    if more == 0 { named.join(", ") } else { format!("{}, {more} more", named.join(", ")) }
}

/// An instance as people tell it from its siblings: `local:START:NUMBER:AGENT` becomes `AGENT:NUMBER`.
fn short(instance: &str) -> String {
    match instance.parse::<WorkerInstance>() {
        Ok(WorkerInstance { number, agent, .. }) => format!("{agent}:{number}"),
        Err(_) => instance.to_owned(),
    }
}

/// A line for each limit.
pub(crate) fn limits(limits: &[LimitView], style: Style) -> String {
    let mut table = Table::new(&["SCOPE", "CONCURRENCY", "RATE", "QUEUE", "TAKEN", "LIMITED"]);
    for limit in limits {
        let number = |value: Option<u32>| (value.map(|value| value.to_string()).unwrap_or_default(), None);
        table.row(vec![
            (limit.scope.to_string(), Some(Paint::Cyan)),
            number(limit.limit.concurrency),
            (limit.limit.rate.as_ref().map(rate).unwrap_or_default(), None),
            number(limit.limit.queue),
            count_cell(limit.taken, Paint::Bold),
            count_cell(limit.limited, Paint::Yellow),
        ]);
    }
    table.render(style)
}

/// A rate as it is typed, with its burst where that differs.
pub(crate) fn rate(rate: &Rate) -> String {
    let per = rate.per.to_string();
    let per =
        if per.strip_prefix('1').is_some_and(|unit| unit.chars().all(char::is_alphabetic)) { &per[1..] } else { &per };
    let burst = if rate.burst == rate.tasks { String::new() } else { format!(", {} at once", rate.burst) };
    format!("{}/{per}{burst}", rate.tasks)
}

#[cfg(test)]
mod tests {
    use consort_types::Span;
    use serde_json::json;

    use super::*;

    const PIPE: Style = Style { color: false, terminal: false };

    #[test]
    fn a_queue_says_who_holds_what_and_why_nothing_moves() {
        let holder = |number: u32, held: u32| json!({"instance": format!("remote:9:{number}:writer"), "held": held});
        let all: Vec<QueueView> = serde_json::from_value(json!([
            {"capability": "summarise", "waiting": 120, "limited": 100, "paused": 3, "oldest": "1970-01-01T00:00:10Z",
                "instances": 5, "handed_out_minute": 60, "ended_minute": 58,
                "holders": [holder(1, 4), holder(2, 3), holder(3, 1), holder(4, 1)]},
            {"agent": "writer", "waiting": 1, "limited": 0, "paused": 0, "instances": 0, "handed_out_minute": 0,
                "ended_minute": 0, "holders": [], "reason": "no instance of agent `writer` is connected"},
            {"capability": "a", "agent": "b", "waiting": 0, "limited": 0, "paused": 0, "instances": 1,
                "handed_out_minute": 0, "ended_minute": 0, "holders": [{"instance": "odd", "held": 1}]},
        ]))
        .unwrap();
        let shown = queues(&all, Time(70_000_000), PIPE);
        let lines: Vec<Vec<&str>> = shown
            .lines()
            .map(|line| line.split("  ").filter(|cell| !cell.is_empty()).map(str::trim).collect())
            .collect();
        assert_eq!(
            lines[0],
            ["summarise", "120", "100", "3", "1m00s", "60", "58", "5", "writer:1 4, writer:2 3, writer:3 1, 1 more"]
        );
        assert_eq!(
            lines[1],
            ["agent writer", "1", "0", "0", "0", "0", "none", "no instance of agent `writer` is connected"]
        );
        let terminal = queues(&all, Time(70_000_000), Style { terminal: true, ..PIPE });
        assert!(!terminal.contains("REASON"), "{terminal}");
        assert!(terminal.ends_with("\n\nagent writer: no instance of agent `writer` is connected\n"), "{terminal}");
        assert_eq!(lines[2], ["a of b", "0", "0", "0", "0", "0", "1", "odd 1"]);
    }

    #[test]
    fn a_limit_is_shown_as_it_is_typed() {
        let all: Vec<LimitView> = serde_json::from_value(json!([
            {"scope": "namespace", "concurrency": 4, "taken": 2, "limited": 0},
            {"scope": "key:tenant 7", "rate": {"tasks": 10, "per": "1s", "burst": 20}, "queue": 9, "taken": 0, "limited": 6},
        ]))
        .unwrap();
        let shown = limits(&all, PIPE);
        assert_eq!(shown, "namespace     4                       2  0\nkey:tenant 7     10/s, 20 at once  9  0  6\n");
        let of = |tasks, per, burst| rate(&Rate { tasks, per, burst });
        assert_eq!(of(5, Span::from_secs(30), 5), "5/30s");
        assert_eq!(of(100, Span::from_secs(60), 100), "100/m");
        assert_eq!(of(1, Span::from_secs(90), 1), "1/1m30s");
        assert_eq!(of(1, Span::from_millis(10), 1), "1/10ms");
    }
}
