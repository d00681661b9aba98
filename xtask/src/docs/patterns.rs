//! The pages of the patterns: a head from the table and the workflows, then what is written by hand.
//!
//! For: `docs/patterns`. Not for: how a pattern is tried, which is written by hand and tested by `crates/cli/tests/patterns.rs`.
//! Invariant: what is below the mark of a page stays as it is, and a page without the mark is made with it.

use std::{fmt::Write as _, path::Path};

use consort_patterns::{ALL, File, Pattern};
use consort_workflow_check::Graph;

use super::Page;

const NOTICE: &str =
    "<!-- Generated down to the mark by `cargo xtask docs`; edit `crates/patterns` and `workflows/patterns`. -->\n\n";
/// What is behind this line is written by hand.
const MARK: &str = "<!-- Written by hand from here on. -->\n";

/// The page of each pattern, and their list.
pub(super) fn pages(root: &Path) -> Vec<Page> {
    let mut pages: Vec<Page> = ALL.iter().map(|pattern| page(root, pattern.name, &head(pattern))).collect();
    pages.push(page(root, "README", &list()));
    pages
}

/// The head, and below it what the page has there now.
fn page(root: &Path, name: &str, head: &str) -> Page {
    let path = format!("docs/patterns/{name}.md");
    let kept = std::fs::read_to_string(root.join(&path)).unwrap_or_default();
    let below = kept.split_once(MARK).map_or("", |(_, below)| below);
    Page { path, text: format!("{NOTICE}{head}\n{MARK}{below}") }
}

fn list() -> String {
    let mut text =
        "# Patterns\n\nWays in which agents and workflows work together, as files that run and are tested.\n\n\
                    | pattern | what it does |\n|---|---|\n"
            .to_owned();
    for pattern in ALL {
        let _ = writeln!(text, "| [{}]({}.md) | {} |", pattern.title, pattern.name, pattern.summary);
    }
    text
}

fn head(pattern: &Pattern) -> String {
    let mut text = format!("# {}\n\n{}\n", pattern.title, pattern.summary);
    for (head, lines) in [("Use it when", pattern.fits), ("Use something else when", pattern.instead)] {
        let _ = write!(text, "\n**{head}**\n\n");
        for line in lines {
            let _ = writeln!(text, "- {line}");
        }
    }
    text.push_str("\n## How it is made\n");
    let graphs: Vec<Graph> = pattern.workflows().filter_map(graph).collect();
    if let Some(events) = events(pattern, &graphs) {
        let _ = write!(text, "\nWhat starts what, by events:\n\n```mermaid\n{events}```\n");
    }
    for graph in &graphs {
        let _ = write!(text, "\nThe workflow `{}`:\n\n```mermaid\n{}```\n", graph.name, graph.mermaid());
    }
    let link = |file: &File| format!("[`{}`](../../workflows/patterns/{}/{})", file.name, pattern.name, file.name);
    let _ = writeln!(text, "\nIts files: {}.", pattern.files.iter().map(link).collect::<Vec<_>>().join(", "));
    text
}

/// The graph of a workflow that ships; a test of `crates/patterns` shows that each passes the checker.
fn graph(file: &File) -> Option<Graph> {
    consort_workflow_check::check(file.text).ok().map(|checked| Graph::of(&checked.definition))
}

/// What the set-up of a pattern has look at a topic.
struct Looks {
    name: String,
    topic: String,
    /// The workflow that a trigger starts, or the signal that it sends; nothing for a subscription.
    does: Option<String>,
}

/// Topics, with what publishes to them and what looks at them; nothing where nothing does.
fn events(pattern: &Pattern, graphs: &[Graph]) -> Option<String> {
    let setup = pattern.files.iter().find(|file| file.name == "setup.sh")?;
    let all: Vec<Looks> = setup.text.lines().filter_map(looks).collect();
    if all.is_empty() {
        return None;
    }
    let mut text = "flowchart LR\n".to_owned();
    let mut topics: Vec<String> = Vec::new();
    let mut node = |topic: &str, text: &mut String| -> usize {
        topics.iter().position(|known| known == topic).unwrap_or_else(|| {
            let _ = writeln!(text, "  t{}([\"{topic}\"])", topics.len());
            topics.push(topic.to_owned());
            topics.len() - 1
        })
    };
    for (at, graph) in graphs.iter().enumerate() {
        let _ = writeln!(text, "  w{at}[\"{}\"]", graph.name);
        let mut reached: Vec<String> = published(graph).iter().flat_map(|topic| seen_as(topic, &all)).collect();
        reached.sort_unstable();
        reached.dedup();
        for topic in reached {
            let topic = node(&topic, &mut text);
            let _ = writeln!(text, "  w{at} --> t{topic}");
        }
    }
    for one in &all {
        let topic = node(&one.topic, &mut text);
        let _ = match (&one.does, graphs.iter().position(|graph| Some(&graph.name) == one.does.as_ref())) {
            (_, Some(at)) => writeln!(text, "  t{topic} -->|{}| w{at}", one.name),
            (Some(signal), None) => writeln!(text, "  t{topic} -->|{}| s([\"signal {signal}\"])", one.name),
            (None, None) => writeln!(text, "  t{topic} --> r_{0}[[\"readers of {0}\"]]", one.name),
        };
    }
    Some(text)
}

/// The topics that are looked at and that an event of this one fits, or else itself; that of a change of a space is
/// only shown where it is looked at.
fn seen_as(topic: &str, all: &[Looks]) -> Vec<String> {
    let met: Vec<String> = all.iter().map(|one| one.topic.clone()).filter(|looked| may_fit(looked, topic)).collect();
    if met.is_empty() && !topic.starts_with("state.") { vec![topic.to_owned()] } else { met }
}

/// Whether two topics have an event in common; `*` is any segment.
fn may_fit(one: &str, other: &str) -> bool {
    let (one, other): (Vec<&str>, Vec<&str>) = (one.split('.').collect(), other.split('.').collect());
    one.len() == other.len() && one.iter().zip(&other).all(|(a, b)| a == b || *a == "*" || *b == "*")
}

/// The topics that a workflow publishes to, and those of the changes of spaces that it writes into; each once.
fn published(graph: &Graph) -> Vec<String> {
    let mut topics: Vec<String> = Vec::new();
    for node in &graph.nodes {
        let topic = match (node.kind, node.target.rsplit_once(" in ")) {
            // What an expression gives is `…`, and could be any name.
            ("publish", _) => node.target.replace('…', "*"),
            ("state", Some((what, space))) if !what.starts_with("get ") => format!("state.{space}.changed"),
            _ => continue,
        };
        if !topics.contains(&topic) {
            topics.push(topic);
        }
    }
    topics
}

/// The trigger or the subscription that a line of a set-up makes.
fn looks(line: &str) -> Option<Looks> {
    let trigger = line.trim().strip_prefix("consort triggers set ");
    let rest = trigger.or_else(|| line.trim().strip_prefix("consort subscriptions create "))?;
    let words: Vec<&str> = rest.split_whitespace().map(|word| word.trim_matches('\'')).collect();
    let after = |flag: &str| {
        let at = words.iter().position(|word| *word == flag)?;
        words.get(at + 1).map(|word| (*word).to_owned())
    };
    let does = after("--start").or_else(|| after("--signal"));
    Some(Looks { name: (*words.first()?).to_owned(), topic: after("--topic")?, does })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_by_hand_stays() {
        let root = std::env::temp_dir().join(format!("consort-xtask-{}-patterns", std::process::id()));
        std::fs::create_dir_all(root.join("docs/patterns")).unwrap();
        std::fs::write(root.join("docs/patterns/x.md"), format!("old head\n{MARK}\nby hand\n")).unwrap();
        let made = page(&root, "x", "new head\n").text;
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!(made, format!("{NOTICE}new head\n\n{MARK}\nby hand\n"));
    }

    #[test]
    fn triggers_and_subscriptions_are_read_from_a_set_up() {
        let line = "consort triggers set keep --topic 'news.*' --filter 'event.data.n > 1' --start archive";
        let found = looks(line).unwrap();
        assert_eq!((&*found.name, &*found.topic, found.does.as_deref()), ("keep", "news.*", Some("archive")));
        let found = looks("consort subscriptions create mail --topic news.sport --max-deliveries 2").unwrap();
        assert_eq!((&*found.name, &*found.topic, found.does), ("mail", "news.sport", None));
        assert!(looks("consort workflows deploy archive.yaml").is_none());
        assert!(may_fit("news.*", "news.sport") && may_fit("news.sport", "news.*") && may_fit("a.b", "a.b"));
        assert!(!may_fit("news.*", "news") && !may_fit("a.b", "a.c"));
    }
}
