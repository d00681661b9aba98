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
    ("Patience", "`Timeouts`"),
    ("Stillness", "`QuiescenceTracker`"),
    ("put_in_line", "`enqueue`"),
    ("out_of_line", "`dequeue`"),
    ("give_no_more", "`drain`"),
    ("become_calm", "`enter_quiescence`"),
    ("go_round", "`run_loop`"),
    ("complain", "`print_error`"),
];

/// Ways of speaking that hide who does what.
const PHRASES: &[(&str, &str)] =
    &[("who asked", "the caller, or the receiver"), ("gone away", "dropped, disconnected or deleted")];

/// The problems of one file; `tokens` where it is Rust.
pub(super) fn check(file: &TextFile, tokens: Option<&[Token]>) -> Vec<Problem> {
    // This list has to name what it refuses.
    if file.path == "xtask/src/tidy/words.rs" {
        return Vec::new();
    }
    let mut found: Vec<Problem> = tokens.into_iter().flatten().filter_map(|token| refused_name(file, token)).collect();
    let (rust, markdown) = (tokens.is_some(), file.has_extension("md"));
    for (at, line) in file.text.lines().enumerate() {
        let sentence = match line.split_once("//") {
            Some((_, comment)) if rust => comment,
            _ if markdown => line,
            _ => continue,
        };
        found.extend(refused_phrases(file, at + 1, sentence));
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
        .map(|(phrase, instead)| Problem::new(&file.path, line, format!("\"{phrase}\" hides who does it"), *instead))
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
        assert_eq!(lines("docs/a.md", "It has gone away.\nBegone awayward.\n"), [1]);
    }
}
