//! Agents as tables.
//!
//! For: `agents list`, `show` and `watch`. Not for: what health means (the engine decides).
//! Invariant: an agent that is known but not connected is listed, and marked.

use consort_api::agents::{Agent, Awards, CapabilityStatistics, Health, WorkerInstance};
use consort_types::{Span, Time};

use super::{
    style::{Paint, Style, clean},
    table::{Table, below},
    when::{ago, took},
};

/// Capabilities that a line names.
const NAMED_MAX: usize = 3;

/// The colour of a health.
pub(crate) fn health_paint(health: &Health) -> Paint {
    match health {
        Health::Healthy => Paint::Green,
        Health::Degraded | Health::Draining => Paint::Yellow,
        Health::Unhealthy => Paint::Red,
        Health::Lost | Health::Other(_) => Paint::Dim,
    }
}

/// A cell.
type Cell = (String, Option<Paint>);

fn plain(text: impl Into<String>) -> Cell {
    (text.into(), None)
}

fn dim(text: impl Into<String>) -> Cell {
    (text.into(), Some(Paint::Dim))
}

/// Whether an agent belongs to Consort itself and waits for its first task: it connects by itself.
fn rests(agent: &Agent) -> bool {
    agent.health == Health::Lost && consort_server::BUILTIN_AGENTS.contains(&agent.name.as_str())
}

/// The health of an agent in a word or two.
fn health_word(agent: &Agent) -> &str {
    if rests(agent) { "built in" } else { agent.health.as_str() }
}

/// Why an agent is not healthy, where that is worth saying.
fn reason(agent: &Agent) -> &str {
    agent.reason.as_deref().filter(|_| !rests(agent)).unwrap_or_default()
}

fn health(health: &Health) -> Cell {
    (health.as_str().to_owned(), Some(health_paint(health)))
}

fn number(count: u64) -> Cell {
    if count == 0 { dim("0") } else { plain(count.to_string()) }
}

fn span(span: Option<Span>) -> Cell {
    dim(span.map(took).unwrap_or_default())
}

/// A line for each version of an agent. On a terminal the reasons are below, where there is room for them; in a pipe at
/// the end of each line.
pub(crate) fn list(agents: &[Agent], now: Time, style: Style) -> String {
    let heads = ["AGENT", "VERSION", "HEALTH", "INSTANCES", "LOAD", "WEIGHT", "SEEN", "CAPABILITIES", "REASON"];
    let columns = if style.terminal { heads.len() - 1 } else { heads.len() };
    let mut table =
        Table::new(&heads[..columns]).spare(&["CAPABILITIES", "SEEN", "VERSION", "LOAD", "INSTANCES", "WEIGHT"]);
    let mut notes = Vec::new();
    for agent in agents {
        let mut row = head(agent, now);
        row.push((capabilities(agent), Some(Paint::Cyan)));
        row.push(plain(reason(agent)));
        row.truncate(columns);
        table.row(row);
        // For an agent without instances its health is enough.
        let told = agent.reason.as_ref().filter(|_| agent.health != Health::Lost);
        let name = || format!("{}@{}", agent.name, agent.version);
        notes.extend(told.map(|reason| (name(), reason.as_str())));
    }
    let mut out = table.render(style);
    if style.terminal {
        out.push_str(&below(&notes, style));
    }
    out
}

/// Name, version, health, instances, load, weight, and when it was seen.
fn head(agent: &Agent, now: Time) -> Vec<Cell> {
    let (held, credit) = load(agent);
    let instances = agent.instances.len();
    vec![
        (agent.name.clone(), Some(Paint::Bold)),
        plain(agent.version.clone()),
        (health_word(agent).to_owned(), Some(health_paint(&agent.health))),
        if instances == 0 { dim("none") } else { plain(instances.to_string()) },
        if instances == 0 { plain("") } else { plain(format!("{held}/{credit}")) },
        plain(agent.weight.to_string()),
        dim(agent.seen_at.map(|seen| ago(seen, now)).unwrap_or_default()),
    ]
}

/// Tasks that an agent's instances work on, and how many they want to.
fn load(agent: &Agent) -> (u64, u64) {
    let held = agent.instances.iter().map(|instance| u64::from(instance.in_flight)).sum();
    let credit = agent.instances.iter().map(|instance| u64::from(instance.max_concurrent)).sum();
    (held, credit)
}

fn capabilities(agent: &Agent) -> String {
    let names: Vec<&str> = agent.capabilities.iter().map(|found| found.name.as_str()).collect();
    let more = names.len().saturating_sub(NAMED_MAX);
    let first = names[..names.len() - more].join(", ");
    if more == 0 { first } else { format!("{first}, {more} more") }
}

/// The heads of what [`observed`] gives.
const OBSERVED: [&str; 9] = ["DONE", "FAILED", "UNKNOWN", "EXPIRED", "LOST", "P50", "P95", "QUEUED P50", "QUEUED P95"];

/// What narrow terminals do without in the tables of capabilities.
const SPARE: &[&str] = &[
    "FAILED",
    "DONE",
    "P50",
    "WHAT IT DOES",
    "HEALTH",
    "EFFECT",
    "LOST",
    "UNKNOWN",
    "P95",
    "QUEUED P50",
    "INSTANCES",
    "LOAD",
    "SEEN",
    "EXPIRED",
    "ESTIMATE",
    "QUEUED P95",
    "WEIGHT",
];

/// A line for each capability of each version of an agent.
pub(crate) fn wide(agents: &[Agent], now: Time, style: Style) -> String {
    let front = ["AGENT", "VERSION", "HEALTH", "INSTANCES", "LOAD", "WEIGHT", "SEEN", "CAPABILITY", "EFFECT"];
    let mut table = Table::new(&[&front[..], &OBSERVED, &["WHAT IT DOES"]].concat()).spare(SPARE);
    for agent in agents {
        let mut front = head(agent, now);
        for capability in &agent.capabilities {
            let mut row = front.clone();
            row.push((capability.name.clone(), Some(Paint::Cyan)));
            row.push(plain(capability.effect.clone()));
            row.extend(observed(agent.statistics.iter().find(|of| of.capability == capability.name)));
            row.push(dim(capability.description.clone()));
            table.row(row);
            // The agent is named once; in a pipe each line is complete by itself.
            if style.terminal {
                front.fill(plain(""));
            }
        }
    }
    table.render(style)
}

/// Counts and times of a capability.
fn observed(of: Option<&CapabilityStatistics>) -> [Cell; 9] {
    let count = |count: fn(&CapabilityStatistics) -> u64| number(of.map(count).unwrap_or_default());
    let time = |time: fn(&CapabilityStatistics) -> Option<Span>| span(of.and_then(time));
    [
        count(|of| of.completed),
        count(|of| of.failed),
        count(|of| of.unknown),
        count(|of| of.expired),
        count(|of| of.lost),
        time(|of| of.p50),
        time(|of| of.p95),
        time(|of| of.queued_p50),
        time(|of| of.queued_p95),
    ]
}

/// All that is known of one version of an agent.
pub(crate) fn detail(agent: &Agent, now: Time, style: Style) -> String {
    let mut out = format!(
        "{} {}  {}\n",
        style.paint(Paint::Bold, &clean(&agent.name)),
        clean(&agent.version),
        style.paint(health_paint(&agent.health), health_word(agent)),
    );
    let (held, credit) = load(agent);
    let labels: Vec<String> = agent.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let lines = [
        ("about", agent.description.clone()),
        ("reason", reason(agent).to_owned()),
        ("labels", labels.join(", ")),
        ("weight", agent.weight.to_string()),
        ("drained", if agent.draining { "by an operator".to_owned() } else { String::new() }),
        ("load", if agent.instances.is_empty() { String::new() } else { format!("{held} of {credit}") }),
        ("pinned", pinned(agent.pinned)),
        ("awards", awards(&agent.awards)),
        ("since", format!("{} ({})", agent.declared_at, ago(agent.declared_at, now))),
        ("seen", agent.seen_at.map(|seen| ago(seen, now)).unwrap_or_default()),
        ("warning", agent.warnings.join("; ")),
    ];
    for (name, text) in lines.iter().filter(|(_, text)| !text.is_empty()) {
        out.extend([format!("{name:9}"), clean(text), "\n".to_owned()]);
    }
    out.push('\n');
    out.push_str(&capability_table(agent, style));
    if !agent.instances.is_empty() {
        out.push('\n');
        out.push_str(&instance_table(&agent.instances, now, style));
    }
    out
}

/// How many tasks continue at this version alone.
fn pinned(tasks: u64) -> String {
    match tasks {
        0 => String::new(),
        1 => "1 task continues at this version, whose code wrote its journal".to_owned(),
        many => format!("{many} tasks continue at this version, whose code wrote their journals"),
    }
}

/// How it did with what it won in auctions.
fn awards(awards: &[Awards]) -> String {
    let of = |of: &Awards| {
        let Awards { capability, won, done, failed, slowness, .. } = of;
        format!("{capability}: {won} won, {done} done, {failed} failed, {slowness:.1} × the time it gave")
    };
    awards.iter().map(of).collect::<Vec<_>>().join("; ")
}

fn capability_table(agent: &Agent, style: Style) -> String {
    let heads = [&["CAPABILITY", "EFFECT"][..], &OBSERVED, &["ESTIMATE", "WHAT IT DOES"]].concat();
    let mut table = Table::new(&heads).spare(SPARE);
    for capability in &agent.capabilities {
        let cost =
            capability.cost_hint_microdollars.map(|cost| format!("{}.{:06} $", cost / 1_000_000, cost % 1_000_000));
        let estimate: Vec<String> = capability.time_hint.map(took).into_iter().chain(cost).collect();
        let mut row = vec![(capability.name.clone(), Some(Paint::Cyan)), plain(capability.effect.clone())];
        row.extend(observed(agent.statistics.iter().find(|of| of.capability == capability.name)));
        row.push(dim(estimate.join(", ")));
        row.push(dim(capability.description.clone()));
        table.row(row);
    }
    table.render(style)
}

fn instance_table(instances: &[WorkerInstance], now: Time, style: Style) -> String {
    let heads = ["INSTANCE", "HEALTH", "LOAD", "CONNECTED", "SEEN", "CLIENT", "LABELS", "REASON"];
    let mut table = Table::new(&heads).spare(&["SEEN", "CONNECTED", "CLIENT", "LABELS"]);
    for instance in instances {
        let labels: Vec<String> = instance.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        table.row(vec![
            plain(instance.name.clone()),
            health(&instance.health),
            plain(format!("{}/{}", instance.in_flight, instance.max_concurrent)),
            dim(ago(instance.connected_at, now)),
            dim(ago(instance.seen_at, now)),
            plain(instance.client.clone()),
            dim(labels.join(", ")),
            plain(instance.reason.clone().unwrap_or_default()),
        ]);
    }
    table.render(style)
}

/// What a change of the list is, in a line for each agent that changed; for following in a pipe.
pub(crate) fn changes(before: &[Agent], after: &[Agent]) -> Vec<String> {
    let name = |agent: &Agent| format!("{}@{}", clean(&agent.name), clean(&agent.version));
    let same = |a: &Agent, b: &Agent| a.name == b.name && a.version == b.version;
    let mut lines = Vec::new();
    for agent in after {
        let line = one_line(agent);
        let known = before.iter().find(|known| same(known, agent));
        if known.is_none_or(|known| one_line(known) != line) {
            lines.push(format!("{} {line}", name(agent)));
        }
    }
    let gone = before.iter().filter(|known| !after.iter().any(|agent| same(agent, known)));
    lines.extend(gone.map(|agent| format!("{} removed", name(agent))));
    lines
}

/// How an agent does, in what does not change with every task.
fn one_line(agent: &Agent) -> String {
    let reason = if reason(agent).is_empty() { String::new() } else { format!(": {}", clean(reason(agent))) };
    let instances = match agent.instances.len() {
        1 => "1 instance".to_owned(),
        many => format!("{many} instances"),
    };
    format!("{}, {instances}, weight {}{reason}", health_word(agent), agent.weight)
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    const PIPE: Style = Style { color: false, terminal: false };
    const NOW: Time = Time(1_000_000_000);

    /// An agent of two capabilities with one instance.
    pub(crate) fn agent(name: &str, version: &str) -> Agent {
        let capability = |name: &str| {
            json!({"name": name, "description": "Does it.", "effect": "read", "input_schema": true,
                "output_schema": true, "time_hint": "2s", "cost_hint_microdollars": 1_500})
        };
        serde_json::from_value(json!({
            "name": name, "version": version, "description": "Shortens texts.",
            "labels": {"region": "eu"},
            "capabilities": [capability("summarise"), capability("translate")],
            "health": "degraded", "reason": "3 of the last 10 attempts failed",
            "weight": 100, "draining": false, "declared_at": "1970-01-01T00:15:00Z", "seen_at": "1970-01-01T00:16:38Z",
            "instances": [{
                "name": "remote:7:3:writer", "client": "python/0.1.0 host:4711", "health": "degraded",
                "labels": {"region": "eu"}, "connected_at": "1970-01-01T00:15:00Z", "seen_at": "1970-01-01T00:16:38Z",
                "in_flight": 2, "max_concurrent": 8,
            }],
            "statistics": [{"capability": "summarise", "completed": 7, "failed": 3, "unknown": 0, "expired": 1,
                "lost": 0, "p50": "1s200ms", "p95": "3s", "queued_p50": "12ms", "queued_p95": "40ms"}],
        }))
        .unwrap()
    }

    #[test]
    fn a_line_says_how_an_agent_does_and_a_wide_one_what_was_observed() {
        let mut lost = agent("writer", "2.0");
        (lost.health, lost.reason, lost.seen_at, lost.instances) = (Health::Lost, None, None, Vec::new());
        let cells = |listed: &str| -> Vec<Vec<String>> {
            let cells =
                |line: &str| line.split("  ").map(str::trim).filter(|c| !c.is_empty()).map(str::to_owned).collect();
            listed.lines().map(cells).collect()
        };
        let lines = cells(&list(&[agent("writer", "1.0"), lost.clone()], NOW, PIPE));
        let heads = ["AGENT", "VERSION", "HEALTH", "INSTANCES", "LOAD", "WEIGHT", "SEEN", "CAPABILITIES", "REASON"];
        assert_eq!(lines[0], heads);
        let reason = "3 of the last 10 attempts failed";
        let first = ["writer", "1.0", "degraded", "1", "2/8", "100", "2.0s ago", "summarise, translate", reason];
        assert_eq!(lines[1], first);
        assert_eq!(lines[2], ["writer", "2.0", "lost", "none", "-", "100", "-", "summarise, translate", "-"]);
        let mut ours = lost.clone();
        (ours.name, ours.reason) = ("basic".to_owned(), Some("no instance is connected".to_owned()));
        let lines = cells(&list(&[ours], NOW, PIPE));
        assert_eq!(lines[1], ["basic", "2.0", "built in", "none", "-", "100", "-", "summarise, translate", "-"]);
        let terminal = list(&[agent("writer", "1.0"), lost], NOW, Style { terminal: true, ..PIPE });
        assert!(terminal.ends_with("\n\nwriter@1.0: 3 of the last 10 attempts failed\n"), "{terminal}");
        let wide_lines = cells(&wide(&[agent("writer", "1.0")], NOW, PIPE));
        let summarise = ["summarise", "read", "7", "3", "0", "1", "0", "1.2s", "3.0s", "12ms", "40ms", "Does it."];
        assert_eq!(wide_lines[1][7..], summarise);
        assert_eq!(wide_lines[2][0], "writer");
        assert_eq!(wide_lines[2][7..12], ["translate", "read", "0", "0", "0"]);
        let terminal = wide(&[agent("writer", "1.0")], NOW, Style { terminal: true, ..PIPE });
        assert!(terminal.lines().nth(2).unwrap().starts_with("   "), "{terminal}");
    }

    #[test]
    fn many_capabilities_are_counted() {
        let mut many = agent("writer", "1");
        let one = many.capabilities[0].clone();
        many.capabilities = vec![one; 5];
        assert!(capabilities(&many).ends_with("summarise, 2 more"));
        many.capabilities.clear();
        assert_eq!(capabilities(&many), "");
    }

    #[test]
    fn the_detail_has_everything_and_foreign_text_is_cleaned() {
        let mut agent = agent("writer", "1.0");
        (agent.draining, agent.pinned) = (true, 3);
        let capability = "summarise".to_owned();
        agent.awards = vec![Awards { capability, won: 4, done: 2, failed: 1, reliability: 0.75, slowness: 1.5 }];
        agent.description = "Shortens\u{1b}[2J texts.".to_owned();
        let shown = detail(&agent, NOW, PIPE);
        for part in [
            "writer 1.0  degraded\n",
            "about    Shortens [2J texts.\n",
            "reason   3 of the last 10 attempts failed\n",
            "labels   region=eu\n",
            "drained  by an operator\n",
            "load     2 of 8\n",
            "awards   summarise: 4 won, 2 done, 1 failed, 1.5 × the time it gave\n",
            "pinned   3 tasks continue at this version, whose code wrote their journals\n",
            "since    1970-01-01T00:15:00.000Z (1m40s ago)\n",
            "seen     2.0s ago\n",
            "2.0s, 0.001500 $",
            "remote:7:3:writer  degraded  2/8   1m40s ago  2.0s ago  python/0.1.0 host:4711  region=eu  -",
        ] {
            assert!(shown.contains(part), "{part}\n{shown}");
        }
    }

    #[test]
    fn a_change_is_told_once_and_load_is_no_change() {
        let before = vec![agent("a", "1"), agent("b", "1")];
        assert_eq!(
            changes(&[], &before[..1]),
            ["a@1 degraded, 1 instance, weight 100: 3 of the last 10 attempts failed"]
        );
        let mut after = vec![agent("a", "1")];
        after[0].instances[0].in_flight = 3;
        assert_eq!(changes(&before, &after), ["b@1 removed"]);
        (after[0].health, after[0].reason) = (Health::Draining, None);
        after[0].instances.clear();
        assert_eq!(changes(&before[..1], &after), ["a@1 draining, 0 instances, weight 100"]);
    }
}
