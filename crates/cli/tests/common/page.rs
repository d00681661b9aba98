//! What a page shows at a prompt, and whether something else fits it.
//!
//! For: the tests of pages. Not for: running anything (see `shell`).
//! Invariant: only what differs from run to run is made equal: ids, times, positions, numbers of records and the
//! width of columns.

use std::sync::LazyLock;

use regex::Regex;

/// A command, and what the page shows below it.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) line: String,
    pub(crate) shown: String,
}

/// The commands of the blocks ```` ```console ```` of a page, in their order.
pub(crate) fn commands(page: &str) -> Vec<Command> {
    let mut found: Vec<Command> = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        match (inside, line) {
            (false, "```console") => inside = true,
            (true, "```") => inside = false,
            (true, _) => match (line.strip_prefix("$ "), found.last_mut()) {
                (Some(command), _) => found.push(Command { line: command.to_owned(), shown: String::new() }),
                (None, Some(last)) => last.shown.extend([line, "\n"]),
                (None, None) => panic!("a block begins without a command: {line}"),
            },
            (false, _) => {}
        }
    }
    found
}

/// What differs from run to run, and what is put in its place.
static CHANGING: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let rules = [
        (r"\s\s+", "  "),
        (r"\s+$", ""),
        (r"\b01[0-9A-Z]{24}\b", "RUN"),
        (r"\b\d{4}-\d\d-\d\dT[0-9:.]+Z", "INSTANT"),
        (r"\b\d\d:\d\d:\d\d(\.\d+)?\b", "CLOCK"),
        (r"\b(\d+(\.\d+)?(ms|s|m\d\ds)( ago)?|now)\b", "TIME"),
        (r"\b\d+-\d+(\.\d+)?\b", "POSITION"),
        (r#"(version|token|"version":|"token":)( ?`?)\d+"#, "$1$2 N"),
        (r"(^|  )\d+  (put|TIME)", "$1 N  $2"),
        (r"revision (\d+) \([0-9a-f]{12}\)", "revision $1 (HASH)"),
        // What a shell says of a job that was killed, and what is said before an agent has connected: both depend on who is
        // faster.
        (r"^bash: line .* Killed .*$", ""),
        (r"^warning: no agent .*$", ""),
    ];
    rules.map(|(pattern, instead)| (Regex::new(pattern).unwrap(), instead)).into()
});

/// Its lines, with what differs from run to run made equal.
pub(crate) fn comparable(text: &str) -> Vec<String> {
    let one = |line: &str| {
        let begin = line.len() - line.trim_start().len();
        let rest = CHANGING
            .iter()
            .fold(line[begin..].to_owned(), |text, (rule, instead)| rule.replace_all(&text, *instead).into_owned());
        format!("{}{rest}", &line[..begin])
    };
    text.lines().map(one).filter(|line| !line.is_empty()).collect()
}

/// Whether the lines are those that are shown; `…` means anything within a line, and alone any lines.
pub(crate) fn fits(shown: &[String], printed: &[String]) -> bool {
    match (shown.split_first(), printed.split_first()) {
        (None, None) => true,
        (Some((first, rest)), _) if first == "…" => {
            fits(rest, printed) || printed.split_first().is_some_and(|(_, behind)| fits(shown, behind))
        }
        (Some((first, shown)), Some((line, printed))) => line_fits(first, line) && fits(shown, printed),
        _ => false,
    }
}

fn line_fits(shown: &str, line: &str) -> bool {
    let parts: Vec<String> = shown.split('…').map(regex::escape).collect();
    Regex::new(&format!("^{}$", parts.join(".*"))).is_ok_and(|shape| shape.is_match(line))
}
