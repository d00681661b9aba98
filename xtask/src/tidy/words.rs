//! Words that the project does not use, and what to say instead.
//!
//! For: names in Rust source, and sentences in comments and documents. Not for: the glossary, which defines the words
//! that are used.
//! Invariant: every refused word comes with the word of the field that takes its place.

use super::Problem;
use crate::project::TextFile;
use crate::rust::{Kind, Token};

/// Names that once stood for something that the field calls otherwise.
const NAMES: &[(&str, &str)] = &[
    ("Lot", "`CandidateSet`"),
    ("Nowhere", "`InTransit`"),
    ("Aside", "`Held`"),
    ("Orphan", "`Disconnected`"),
    ("Bell", "`WakeFlag`"),
    ("Stillness", "`QuiescenceTracker`"),
    ("put_in_line", "`enqueue`"),
    ("out_of_line", "`dequeue`"),
    ("give_no_more", "`drain`"),
    ("become_calm", "`enter_quiescence`"),
    ("go_round", "`run_loop`"),
    ("complain", "`print_error`"),
    ("Brought", "`TokenCheck`"),
    ("Patience", "`Timeouts`"),
    ("Takes", "`RequestBody`"),
    ("Gives", "`ResponseBody`"),
    ("doubtful", "`unconfirmed`"),
    ("occupy", "`acquire`"),
    ("vacate", "`release`"),
    ("let_in", "`wake`"),
    ("part_with", "`disconnect`"),
    ("take_up", "`restore`"),
];

/// Phrases whose subject or meaning a reader has to guess, and what to write instead.
const PHRASES: &[(&str, &str)] = &[
    ("who asked", "the caller, or the receiver"),
    ("whoever", "the caller, the reader, the process"),
    ("whom", "a sentence that names the subject"),
    ("nobody", "\"no agent\", \"no receiver\", \"is not\""),
    ("somebody", "the noun: an operator, another process, a client"),
    ("anybody", "the noun: a client, any process"),
    ("everybody", "the noun: every client, all waiters"),
    ("someone", "the noun: an operator, another process, a client"),
    ("became of", "the outcome"),
    ("become of", "the outcome"),
    ("becomes of", "the outcome"),
    ("ask for", "request, require, need"),
    ("asks for", "requests, requires, needs"),
    ("asked for", "requested, required, needed"),
    ("stands for", "means, is"),
    ("stand for", "mean, are"),
    ("stands", "is, is in"),
    ("stood", "was, was in"),
    ("go on", "continue"),
    ("goes on", "continues"),
    ("going on", "continuing"),
    ("went on", "continued"),
    ("gone away", "dropped, disconnected or deleted"),
    ("is gone", "is disconnected, is missing, has ended"),
    ("are gone", "are disconnected, missing, removed"),
    ("has gone", "is disconnected, is missing, has ended"),
    ("let go", "dropped, released, disconnected"),
    ("lets go", "drops, releases"),
    ("come back", "reconnect, return, be offered again"),
    ("comes back", "reconnects, returns, is offered again"),
    ("came back", "reconnected, returned"),
    ("nothing is said", "by default"),
    ("for ever", "without end, in every later version"),
    ("anew", "again"),
    ("at work", "running, active"),
    ("told apart", "distinguished"),
];

/// Folders that hold material, whose sentences stay as their authors wrote them; no other may be added.
const UNREVISED: &[&str] = &["evaluation/corpus/"];

/// The problems of one file; `tokens` where it is Rust.
pub(super) fn check(file: &TextFile, tokens: Option<&[Token]>) -> Vec<Problem> {
    // This list has to name what it refuses, and the log of changes tells what was.
    if ["xtask/src/tidy/words.rs", "CHANGELOG.md"].contains(&file.path.as_str()) {
        return Vec::new();
    }
    let mut found: Vec<Problem> = tokens.into_iter().flatten().filter_map(|token| refused_name(file, token)).collect();
    if !UNREVISED.iter().any(|folder| file.path.starts_with(folder)) {
        let sentences = sentences(file).into_iter();
        found.extend(sentences.flat_map(|(line, sentence)| refused_phrases(file, line, sentence)));
    }
    found
}

/// The lines of prose, each with its number: documents, comments, and doc strings.
fn sentences(file: &TextFile) -> Vec<(usize, &str)> {
    let lines = (1..).zip(file.text.lines());
    let of = |extensions: &[&str]| extensions.iter().any(|extension| file.has_extension(extension));
    if of(&["md"]) {
        return outside_fences(lines);
    }
    if of(&["py"]) {
        return doc_strings(lines);
    }
    if of(&["rs", "ts", "mjs", "proto"]) {
        let comment = |line: &'_ str| {
            let text = line.trim_start();
            text.starts_with("* ") || text.starts_with("/*") || text.starts_with("//")
        };
        return lines
            .filter_map(|(number, line)| match line.split_once(" // ") {
                _ if comment(line) => Some((number, line)),
                Some((_, behind)) => Some((number, behind)),
                None => None,
            })
            .collect();
    }
    Vec::new()
}

/// Lines of Markdown that are not inside of a block of code.
fn outside_fences<'a>(lines: impl Iterator<Item = (usize, &'a str)>) -> Vec<(usize, &'a str)> {
    let mut code = false;
    let mut found = Vec::new();
    for (number, line) in lines {
        if line.trim_start().starts_with("```") {
            code = !code;
        } else if !code {
            found.push((number, line));
        }
    }
    found
}

/// Lines of Python's doc strings and comments.
fn doc_strings<'a>(lines: impl Iterator<Item = (usize, &'a str)>) -> Vec<(usize, &'a str)> {
    let mut inside = false;
    let mut found = Vec::new();
    for (number, line) in lines {
        let quotes = line.matches("\"\"\"").count();
        let opens = !inside && quotes > 0 && line.trim_start().starts_with("\"\"\"");
        if inside || opens {
            found.push((number, line));
        } else if let Some((_, behind)) = line.split_once("# ") {
            found.push((number, behind));
        }
        if (inside || opens) && quotes % 2 == 1 {
            inside = !inside;
        }
    }
    found
}

fn refused_name(file: &TextFile, token: &Token) -> Option<Problem> {
    let Kind::Word(word) = &token.kind else { return None };
    let (name, instead) = NAMES.iter().find(|(name, _)| name == word)?;
    Some(Problem::new(&file.path, token.line, format!("`{name}` is no word of the field"), format!("say {instead}")))
}

fn refused_phrases(file: &TextFile, line: usize, sentence: &str) -> Vec<Problem> {
    let sentence = sentence.to_lowercase();
    let is_there = |phrase: &str| {
        sentence.match_indices(phrase).any(|(at, _)| {
            let word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
            !word(sentence[..at].chars().next_back()) && !word(sentence[at + phrase.len()..].chars().next())
        })
    };
    let refused = PHRASES.iter().filter(|(phrase, _)| is_there(phrase));
    refused
        .map(|(phrase, instead)| {
            let what = format!("\"{phrase}\" leaves the reader to guess");
            Problem::new(&file.path, line, what, format!("write: {instead}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rust;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        let file = TextFile { path: path.to_owned(), text: text.to_owned() };
        let tokens = file.has_extension("rs").then(|| rust::tokens(text));
        check(&file, tokens.as_deref()).into_iter().map(|problem| problem.line).collect()
    }

    #[test]
    fn refused_names_are_found_in_code_alone() {
        assert_eq!(lines("a.rs", "struct Lot;\n// a Lot is mentioned\nlet text = \"Lot\";\nLots;\n"), [1]);
        assert_eq!(lines("a.md", "Lot the log again.\n"), [0; 0]);
    }

    #[test]
    fn refused_phrases_are_found_in_comments_and_documents() {
        assert_eq!(lines("a.rs", "let who_asked = 1;\n/// Who asked is told.\ncall(); // gone away\n"), [2, 3]);
        assert_eq!(lines("docs/a.md", "It has gone away.\nBegone awayward.\n"), [1, 1]);
        assert_eq!(lines("a.ts", "const stood = 1;\n/**\n * It goes on.\n */\nrun(); // it stands\n"), [3, 5]);
        assert_eq!(lines("docs/a.md", "```\nit goes on\n```\nA stand-in, as a standing order.\n"), [0; 0]);
    }

    #[test]
    fn doc_strings_and_comments_of_python_are_read_and_code_is_not() {
        let text = "\"\"\"One line, anew.\"\"\"\nnobody = \"nobody\"\ndef f():\n    \"\"\"Two lines\n\n    for ever.\n    \"\"\"\n    g()  # whoever\n";
        assert_eq!(lines("a.py", text), [1, 6, 8]);
    }

    #[test]
    fn folders_that_are_not_revised_are_checked_for_names_alone() {
        assert_eq!(lines("evaluation/corpus/a.rs", "struct Lot;\n// nobody\n"), [1]);
        assert_eq!(lines("crates/core/src/a.rs", "struct Lot;\n// nobody\n"), [1, 2]);
    }
}
