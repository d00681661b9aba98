//! Queues and quotas as tables.
//!
//! For: `queues` and `quotas list`. Not for: why a task waits (the engine decides that).
//! Invariant: a queue in which nothing moves has the reason on its line.

use consort_api::queues::{Queue, Quota, Rate};
use consort_types::{Time, WorkerInstance};

use super::{
    style::{Paint, Style},
    table::{Table, below},
    when::took,
};

/// Holders that a line names.
const NAMED_MAX: usize = 3;

/// A line for each queue. On a terminal the reasons are below, where there is room for them; in a pipe at the end of
/// each line.
pub(crate) fn queues(queues: &[Queue], now: Time, style: Style) -> String {
    let heads =
        ["TARGET", "WAITING", "LIMITED", "PAUSED", "OLDEST", "OUT/MIN", "DONE/MIN", "INSTANCES", "HOLDERS", "REASON"];
    let columns = if style.terminal { heads.len() - 1 } else { heads.len() };
    let mut table = Table::new(&heads[..columns]).spare(&[
        "INSTANCES",
        "HOLDERS",
        "OLDEST",
        "PAUSED",
        "LIMITED",
        "DONE/MIN",
        "OUT/MIN",
    ]);
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

fn cells(queue: &Queue, now: Time) -> Vec<(String, Option<Paint>)> {
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

/// The requirements of a queue's tasks.
fn target(queue: &Queue) -> String {
    match (&queue.capability, &queue.agent) {
        (Some(capability), Some(agent)) => format!("{capability} of {agent}"),
        (Some(capability), None) => capability.clone(),
        (None, Some(agent)) => format!("agent {agent}"),
        (None, None) => String::new(),
    }
}

fn holders(queue: &Queue) -> String {
    let all = &queue.holders;
    let named: Vec<String> =
        all.iter().take(NAMED_MAX).map(|holder| format!("{} {}", short(&holder.instance), holder.in_flight)).collect();
    let more = all.len().saturating_sub(NAMED_MAX);
    if more == 0 { named.join(", ") } else { format!("{}, {more} more", named.join(", ")) }
}

/// An instance by what distinguishes it from its siblings: `local:START:NUMBER:AGENT` becomes `AGENT:NUMBER`.
fn short(instance: &str) -> String {
    match instance.parse::<WorkerInstance>() {
        Ok(WorkerInstance { number, agent, .. }) => format!("{agent}:{number}"),
        Err(_) => instance.to_owned(),
    }
}

/// A line for each quota.
pub(crate) fn quotas(quotas: &[Quota], style: Style) -> String {
    let mut table = Table::new(&["SCOPE", "MAX CONCURRENT", "RATE", "MAX WAITING", "IN FLIGHT", "LIMITED"]);
    for quota in quotas {
        let number = |value: Option<u32>| (value.map(|value| value.to_string()).unwrap_or_default(), None);
        table.row(vec![
            (quota.scope.to_string(), Some(Paint::Cyan)),
            number(quota.max_concurrent),
            (quota.rate.as_ref().map(rate).unwrap_or_default(), None),
            number(quota.max_waiting),
            count_cell(quota.in_flight, Paint::Bold),
            count_cell(quota.limited, Paint::Yellow),
        ]);
    }
    table.render(style)
}

/// A rate as it is typed, with its burst where that differs.
pub(crate) fn rate(rate: &Rate) -> String {
    let per = rate.per.to_string();
    let per =
        if per.strip_prefix('1').is_some_and(|unit| unit.chars().all(char::is_alphabetic)) { &per[1..] } else { &per };
    let burst = rate.burst.filter(|burst| *burst != rate.tasks);
    let burst = burst.map(|burst| format!(", {burst} at once")).unwrap_or_default();
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
        let holder =
            |number: u32, held: u32| json!({"instance": format!("remote:9:{number}:writer"), "in_flight": held});
        let all: Vec<Queue> = serde_json::from_value(json!([
            {"capability": "summarise", "waiting": 120, "limited": 100, "paused": 3, "oldest": "1970-01-01T00:00:10Z",
                "instances": 5, "handed_out_minute": 60, "ended_minute": 58,
                "holders": [holder(1, 4), holder(2, 3), holder(3, 1), holder(4, 1)]},
            {"agent": "writer", "waiting": 1, "limited": 0, "paused": 0, "instances": 0, "handed_out_minute": 0,
                "ended_minute": 0, "holders": [], "reason": "no instance of agent `writer` is connected"},
            {"capability": "a", "agent": "b", "waiting": 0, "limited": 0, "paused": 0, "instances": 1,
                "handed_out_minute": 0, "ended_minute": 0, "holders": [{"instance": "odd", "in_flight": 1}]},
        ]))
        .unwrap();
        let shown = queues(&all, Time(70_000_000), PIPE);
        let lines: Vec<Vec<&str>> = shown
            .lines()
            .map(|line| line.split("  ").filter(|cell| !cell.is_empty()).map(str::trim).collect())
            .collect();
        assert_eq!(
            lines[1],
            [
                "summarise",
                "120",
                "100",
                "3",
                "1m00s",
                "60",
                "58",
                "5",
                "writer:1 4, writer:2 3, writer:3 1, 1 more",
                "-"
            ]
        );
        assert_eq!(
            lines[2],
            ["agent writer", "1", "0", "0", "-", "0", "0", "none", "-", "no instance of agent `writer` is connected"]
        );
        let terminal = queues(&all, Time(70_000_000), Style { terminal: true, ..PIPE });
        assert!(!terminal.contains("REASON"), "{terminal}");
        assert!(terminal.ends_with("\n\nagent writer: no instance of agent `writer` is connected\n"), "{terminal}");
        assert_eq!(lines[3], ["a of b", "0", "0", "0", "-", "0", "0", "1", "odd 1", "-"]);
    }

    #[test]
    fn a_quota_is_shown_as_it_is_typed() {
        let all: Vec<Quota> = serde_json::from_value(json!([
            {"scope": "namespace", "max_concurrent": 4, "in_flight": 2, "limited": 0},
            {"scope": "key:tenant 7", "rate": {"tasks": 10, "per": "1s", "burst": 20}, "max_waiting": 9, "in_flight": 0, "limited": 6},
        ]))
        .unwrap();
        let shown = quotas(&all, PIPE);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[1], "namespace     4               -                 -            2          0");
        assert_eq!(lines[2], "key:tenant 7  -               10/s, 20 at once  9            0          6");
        let of = |tasks, per, burst| rate(&Rate { tasks, per, burst: Some(burst) });
        assert_eq!(of(5, Span::from_secs(30), 5), "5/30s");
        assert_eq!(of(100, Span::from_secs(60), 100), "100/m");
        assert_eq!(of(1, Span::from_secs(90), 1), "1/1m30s");
        assert_eq!(of(1, Span::from_millis(10), 1), "1/10ms");
    }
}
