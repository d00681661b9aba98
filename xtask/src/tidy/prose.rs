//! Rules of any text file: no leftovers, no paths of one machine, and links that lead somewhere.
//!
//! For: text, line by line. Not for: Rust tokens, or links to other sites, which no gate should depend on.
//! Invariant: a folder called `fixtures` holds material, not our prose, and is not judged.

use super::Problem;
use crate::project::TextFile;

/// Folders of material that tests read: its text is not prose of the project.
const MATERIAL_FOLDER: &str = "fixtures";

/// Marks of unfinished work. In prose they may be spoken of; elsewhere they are leftovers.
const LEFTOVERS: [&str; 2] = [concat!("TO", "DO"), concat!("FIX", "ME")];

/// Absolute folders that exist on one machine and mean nothing on the next.
const MACHINE_FOLDERS: [&str; 3] = [concat!("/", "work/"), concat!("/", "root/"), concat!("/", "home/")];

/// The problems of one text file among all.
pub(super) fn check(files: &[TextFile], file: &TextFile) -> Vec<Problem> {
    if file.path.split('/').any(|part| part == MATERIAL_FOLDER) {
        return Vec::new();
    }
    let mut found = machine_paths(file);
    if file.has_extension("md") {
        found.extend(broken_links(files, file));
    } else {
        found.extend(leftovers(file));
    }
    found
}

fn leftovers(file: &TextFile) -> Vec<Problem> {
    let mut found = Vec::new();
    for (line, text) in numbered(&file.text) {
        for mark in LEFTOVERS {
            if has_word(text, mark) {
                found.push(Problem::new(&file.path, line, format!("`{mark}` left"), "do it, or open an issue"));
            }
        }
    }
    found
}

fn machine_paths(file: &TextFile) -> Vec<Problem> {
    let mut found = Vec::new();
    for (line, text) in numbered(&file.text) {
        for folder in MACHINE_FOLDERS {
            if has_absolute(text, folder) {
                let advice = "write a relative path, or one that the reader chooses";
                found.push(Problem::new(&file.path, line, format!("`{folder}` is a path of one machine"), advice));
            }
        }
    }
    found
}

/// Lines with their numbers, from 1.
fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(i, line)| (i + 1, line))
}

/// Whether the line has it as a whole word.
fn has_word(line: &str, word: &str) -> bool {
    let part_of_word = |c: Option<char>| c.is_some_and(|c| c == '_' || c.is_alphanumeric());
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !part_of_word(before) && !part_of_word(after)
    })
}

/// Whether the folder is at the start of a path: `a/work/b` and `$HOME/work/` are no machine's.
fn has_absolute(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "_-.~}*".contains(c))
    })
}

fn broken_links(files: &[TextFile], file: &TextFile) -> Vec<Problem> {
    let mut found = Vec::new();
    for (line, target) in links(&file.text) {
        if let Err(why) = resolve(files, &file.path, &target) {
            let what = format!("link to `{target}` leads nowhere ({why})");
            found.push(Problem::new(&file.path, line, what, "mend the link, or write what it should lead to"));
        }
    }
    found
}

/// The targets of `[text](target)` and `[name]: target` outside code, with their lines.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (line, text) in prose_lines(text) {
        let text = without_code(text);
        found.extend(inline_targets(&text).into_iter().map(|target| (line, target)));
        if let Some(target) = definition_target(&text) {
            found.push((line, target));
        }
    }
    found
}

/// The lines outside fenced code.
fn prose_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fence: Option<&str> = None;
    numbered(text).filter(move |(_, line)| {
        let mark = ["```", "~~~"].into_iter().find(|mark| line.trim_start().starts_with(mark));
        match (fence, mark) {
            (None, Some(mark)) => fence = Some(mark),
            (Some(open), Some(mark)) if open == mark => fence = None,
            (None, None) => return true,
            _ => {}
        }
        false
    })
}

/// The line without its inline code. A backtick without a partner is plain text.
fn without_code(line: &str) -> String {
    let parts: Vec<&str> = line.split('`').collect();
    let closed = parts.len() - usize::from(parts.len().is_multiple_of(2));
    let prose = parts.iter().enumerate().filter(|(i, _)| i % 2 == 0 || *i >= closed);
    prose.map(|(_, part)| *part).collect::<Vec<_>>().join(" ")
}

fn inline_targets(line: &str) -> Vec<String> {
    let starts = line.match_indices("](").map(|(at, _)| &line[at + 2..]);
    starts.filter_map(|rest| rest.split_once(')')).filter_map(|(inside, _)| first_part(inside)).collect()
}

fn definition_target(line: &str) -> Option<String> {
    let (name, rest) = line.strip_prefix('[')?.split_once("]:")?;
    if name.is_empty() || name.starts_with('^') { None } else { first_part(rest) }
}

/// The target without a title and without angle brackets.
fn first_part(inside: &str) -> Option<String> {
    inside.split_whitespace().next().map(|target| target.trim_matches(['<', '>']).to_owned())
}

/// Whether a link from the file leads to a file, a folder or a heading of the project.
fn resolve(files: &[TextFile], from: &str, target: &str) -> Result<(), &'static str> {
    if target.contains("://") || target.starts_with("mailto:") {
        return Ok(());
    }
    let (path, anchor) = target.split_once('#').map_or((target, None), |(path, anchor)| (path, Some(anchor)));
    let path = if path.is_empty() { from.to_owned() } else { join(from, path).ok_or("outside the project")? };
    let folder = if path.is_empty() { String::new() } else { format!("{path}/") };
    let Some(file) = files.iter().find(|file| file.path == path) else {
        let is_folder = files.iter().any(|file| file.path.starts_with(&folder));
        return if is_folder { Ok(()) } else { Err("no such file") };
    };
    match anchor {
        Some(anchor) if file.has_extension("md") && !has_heading(&file.text, anchor) => Err("no such heading"),
        _ => Ok(()),
    }
}

/// The path of `target` as seen from the file `from`; none when it leaves the project.
fn join(from: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

fn has_heading(text: &str, anchor: &str) -> bool {
    let headings = prose_lines(text).filter_map(|(_, line)| line.strip_prefix('#'));
    headings.map(|rest| anchor_of(rest.trim_start_matches('#'))).any(|own| own == anchor)
}

/// The anchor that a heading gets: lower case, blanks as `-`, other punctuation dropped.
fn anchor_of(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> TextFile {
        TextFile { path: path.to_owned(), text: text.to_owned() }
    }

    fn problem_lines(path: &str, text: &str) -> Vec<usize> {
        let files = [
            file(path, text),
            file("docs/guide.md", "# The guide\n\n## What `x` is, and why\n"),
            file("crates/core/src/lib.rs", "//! Core.\n"),
            file("README.md", "# Top\n"),
        ];
        check(&files, &files[0]).into_iter().map(|problem| problem.line).collect()
    }

    #[test]
    fn leftovers_count_as_words_and_not_in_markdown() {
        let [first, second] = LEFTOVERS;
        assert_eq!(problem_lines("a.rs", &format!("// {first}: later\n// {second}\n// my{first}s\n")), [1, 2]);
        assert_eq!(problem_lines("deploy/a.yaml", &format!("a: 1 # {second} later\n")), [1]);
        assert_eq!(problem_lines("a.md", &format!("No {first} is left.\n")), Vec::<usize>::new());
    }

    #[test]
    fn machine_paths_are_found_and_relative_ones_are_not() {
        for folder in MACHINE_FOLDERS {
            for line in
                [format!("cd {folder}x"), format!("\"{folder}x\""), format!("file://{folder}x"), folder.to_owned()]
            {
                assert_eq!(problem_lines("a.toml", &line), [1], "{line}");
            }
            for line in [format!("a{folder}b"), format!("..{folder}b"), format!("${{X}}{folder}b")] {
                assert_eq!(problem_lines("a.toml", &line), Vec::<usize>::new(), "{line}");
            }
        }
    }

    #[test]
    fn material_of_tests_is_not_judged() {
        let text = format!("{} [x](nowhere.md)", MACHINE_FOLDERS[0]);
        assert_eq!(problem_lines("crates/a/tests/fixtures/a.md", &text), Vec::<usize>::new());
        assert_eq!(problem_lines("crates/a/tests/a.md", &text), [1, 1]);
    }

    #[test]
    fn links_that_resolve_pass() {
        let text = "# Here\n[a](guide.md) [b](guide.md#the-guide) [c](../README.md \"Title\") [d](#here)\n\
                    [e](../crates/core/) [f](https://example.org/x) [g](<guide.md>) [h](../crates/core/src/lib.rs#L1)\n\
                    [i](guide.md#what-x-is-and-why)\n[name]: guide.md\n";
        assert_eq!(problem_lines("docs/a.md", text), Vec::<usize>::new());
    }

    #[test]
    fn links_that_lead_nowhere_are_found() {
        for target in ["missing.md", "guide.md#missing", "../../outside.md", "#missing", "README.md"] {
            assert_eq!(problem_lines("docs/a.md", &format!("\n[x]({target})\n")), [2], "{target}");
            assert_eq!(problem_lines("docs/a.md", &format!("\n[x]: {target}\n")), [2], "{target}");
        }
    }

    #[test]
    fn links_inside_code_are_not_links() {
        let text = "```text\n[x](missing.md)\n```\nand `[x](missing.md)` too\n[y](missing.md) `\n";
        assert_eq!(problem_lines("docs/a.md", text), [5]);
    }
}
