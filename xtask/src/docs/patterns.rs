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

/// A trigger that the set-up of a pattern makes.
struct Trigger {
    name: String,
    topic: String,
    /// The workflow that it starts, or the signal that it sends.
    does: String,
}

/// The topics that triggers look at and workflows publish; nothing where there is no trigger.
fn events(pattern: &Pattern, graphs: &[Graph]) -> Option<String> {
    let setup = pattern.files.iter().find(|file| file.name == "setup.sh")?;
    let triggers: Vec<Trigger> = setup.text.lines().filter_map(trigger).collect();
    if triggers.is_empty() {
        return None;
    }
    let mut text = "flowchart LR\n".to_owned();
    let mut topics: Vec<String> = Vec::new();
    let mut known = |topic: &str, text: &mut String| -> usize {
        topics.iter().position(|known| known == topic).unwrap_or_else(|| {
            let _ = writeln!(text, "  t{}([\"{topic}\"])", topics.len());
            topics.push(topic.to_owned());
            topics.len() - 1
        })
    };
    for (at, graph) in graphs.iter().enumerate() {
        let _ = writeln!(text, "  w{at}[\"{}\"]", graph.name);
        let seen = |topic: &String| !topic.starts_with("state.") || triggers.iter().any(|one| one.topic == *topic);
        for topic in published(graph).iter().filter(|topic| seen(topic)) {
            let topic = known(topic, &mut text);
            let _ = writeln!(text, "  w{at} --> t{topic}");
        }
    }
    for trigger in &triggers {
        let topic = known(&trigger.topic, &mut text);
        match graphs.iter().position(|graph| graph.name == trigger.does) {
            Some(at) => _ = writeln!(text, "  t{topic} -->|{}| w{at}", trigger.name),
            None => _ = writeln!(text, "  t{topic} -->|{}| s([\"signal {}\"])", trigger.name, trigger.does),
        }
    }
    Some(text)
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

/// The trigger that a line of a set-up makes.
fn trigger(line: &str) -> Option<Trigger> {
    let rest = line.trim().strip_prefix("consort triggers set ")?;
    let words: Vec<&str> = rest.split_whitespace().map(|word| word.trim_matches('\'')).collect();
    let after = |flag: &str| words.iter().position(|word| *word == flag).and_then(|at| words.get(at + 1));
    let does = after("--start").or_else(|| after("--signal"))?;
    Some(Trigger {
        name: (*words.first()?).to_owned(),
        topic: (*after("--topic")?).to_owned(),
        does: (*does).to_owned(),
    })
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
    fn a_trigger_is_read_from_a_line_of_a_set_up() {
        let found =
            trigger("consort triggers set keep --topic 'news.*' --filter 'event.data.n > 1' --start archive").unwrap();
        assert_eq!((found.name.as_str(), found.topic.as_str(), found.does.as_str()), ("keep", "news.*", "archive"));
        assert!(trigger("consort workflows deploy archive.yaml").is_none());
    }
}
