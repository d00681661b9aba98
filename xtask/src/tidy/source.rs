//! Rules of Rust source: headers, lengths, leftovers, and what the core must not name.
//!
//! For: one file at a time. Not for: style, which rustfmt and clippy own.
//! Invariant: only tokens count for names, so that a comment may speak of what code may not do.

use super::Problem;
use crate::project::TextFile;
use crate::rust::{self, Function, Token};

/// Lines of a function, from `fn` to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;

/// Lines of a file.
const FILE_LINES_MAX: usize = 800;

/// A file that carries this mark near its top is made by a program: it needs no header, and lengths do not
/// bind it.
const GENERATED_MARK: &str = concat!("@", "generated");

/// Where the machine lives, which must give the same bytes everywhere.
const CORE: &str = "crates/core/src/";

/// What the core must not name, and what to do instead.
const BANNED_IN_CORE: [(&str, &str); 11] = [
    ("HashMap", "use `BTreeMap`: hash order must not decide anything"),
    ("HashSet", "use `BTreeSet`: hash order must not decide anything"),
    ("RandomState", "use an ordered collection"),
    ("Instant", "take the record's time"),
    ("SystemTime", "take the record's time"),
    ("rand", "derive it from ids and sequence numbers"),
    ("getrandom", "derive it from ids and sequence numbers"),
    ("tokio", "return an effect; the engine carries it out"),
    ("async", "return an effect; the engine carries it out"),
    ("File", "return an effect; the engine carries it out"),
    ("TcpStream", "return an effect; the engine carries it out"),
];

/// The problems of one Rust file.
pub(super) fn check(file: &TextFile, tokens: &[Token]) -> Vec<Problem> {
    let mut found = Vec::new();
    if !is_generated(file) {
        found.extend(header(file));
        found.extend(lengths(file, tokens));
    }
    found.extend(unsafe_code(file, tokens));
    found.extend(leftovers(file, tokens));
    found.extend(bans(file, tokens));
    found
}

fn is_generated(file: &TextFile) -> bool {
    file.text.lines().take(5).any(|line| line.contains(GENERATED_MARK))
}

fn header(file: &TextFile) -> Option<Problem> {
    let first = file.text.lines().find(|line| !line.trim().is_empty());
    let opens = first.is_some_and(|line| line.strip_prefix("//!").is_some_and(|rest| !rest.trim().is_empty()));
    let advice = "open the file with `//!`: what it is for, what it is not for, the invariant it keeps";
    (!opens).then(|| Problem::new(&file.path, 1, "no module header", advice))
}

fn lengths(file: &TextFile, tokens: &[Token]) -> Vec<Problem> {
    let mut found = Vec::new();
    let lines = file.text.lines().count();
    if lines > FILE_LINES_MAX {
        let what = format!("file of {lines} lines, over the limit of {FILE_LINES_MAX}");
        found.push(Problem::new(&file.path, FILE_LINES_MAX + 1, what, "split it by idea"));
    }
    for Function { name, line, lines } in rust::functions(tokens) {
        if lines > FUNCTION_LINES_MAX {
            let what = format!("function `{name}` of {lines} lines, over the limit of {FUNCTION_LINES_MAX}");
            found.push(Problem::new(&file.path, line, what, "give its parts names"));
        }
    }
    found
}

fn unsafe_code(file: &TextFile, tokens: &[Token]) -> Vec<Problem> {
    let place = tokens.iter().filter(|token| token.is_word("unsafe"));
    place.map(|token| Problem::new(&file.path, token.line, "`unsafe` code", "find a safe way or a library")).collect()
}

fn leftovers(file: &TextFile, tokens: &[Token]) -> Vec<Problem> {
    let mut found = Vec::new();
    for window in tokens.windows(3) {
        let [first, second, third] = window else { continue };
        for name in ["todo", "unimplemented"] {
            if first.is_word(name) && second.is_mark('!') {
                found.push(Problem::new(&file.path, first.line, format!("`{name}!` left in the code"), "finish it"));
            }
        }
        if first.is_mark('#') && second.is_mark('[') && third.is_word("ignore") {
            let advice = "make it run, or delete it";
            found.push(Problem::new(&file.path, first.line, "a test that never runs", advice));
        }
    }
    found
}

fn bans(file: &TextFile, tokens: &[Token]) -> Vec<Problem> {
    if !file.path.starts_with(CORE) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for token in tokens {
        if let Some((name, advice)) = BANNED_IN_CORE.iter().find(|(name, _)| token.is_word(name)) {
            found.push(Problem::new(&file.path, token.line, format!("`{name}` in the core"), *advice));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines and first words of what is wrong with a file.
    fn problems(path: &str, text: &str) -> Vec<(usize, String)> {
        let file = TextFile { path: path.to_owned(), text: text.to_owned() };
        check(&file, &rust::tokens(text)).into_iter().map(|problem| (problem.line, problem.what)).collect()
    }

    fn function(body_lines: usize) -> String {
        format!("//! Header.\nfn long() {{\n{}}}\n", "    work();\n".repeat(body_lines))
    }

    #[test]
    fn a_file_opens_with_its_header() {
        assert_eq!(problems("a.rs", "\n//! What it is for.\nfn f() {}\n"), []);
        for text in ["", "fn f() {}\n", "// Plain.\n", "//!\nfn f() {}\n", "/// Item.\nfn f() {}\n//! Late.\n"] {
            assert_eq!(problems("a.rs", text), [(1, "no module header".to_owned())], "{text}");
        }
    }

    #[test]
    fn a_long_function_is_named_and_one_at_the_limit_passes() {
        assert_eq!(problems("a.rs", &function(FUNCTION_LINES_MAX - 2)), []);
        let found = problems("a.rs", &function(FUNCTION_LINES_MAX - 1));
        assert_eq!(found, [(2, "function `long` of 71 lines, over the limit of 70".to_owned())]);
    }

    #[test]
    fn a_long_file_is_a_problem_unless_a_program_made_it() {
        let text = format!("//! Header.\n{}", "const A: u8 = 1;\n".repeat(FILE_LINES_MAX - 1));
        assert_eq!(problems("a.rs", &text), []);
        let text = format!("{text}const B: u8 = 1;\n");
        assert_eq!(problems("a.rs", &text), [(801, "file of 801 lines, over the limit of 800".to_owned())]);
        assert_eq!(problems("a.rs", &format!("//! {GENERATED_MARK}\n{text}")), []);
        assert_eq!(problems("a.rs", &format!("// This file is {GENERATED_MARK} by hand.\n{text}")), []);
        let (line, _) = problems("a.rs", &format!("// {GENERATED_MARK}\nunsafe fn h() {{}}\n{text}")).remove(0);
        assert_eq!(line, 2, "what is generated is safe too");
    }

    #[test]
    fn leftovers_and_unsafe_code_are_found_in_code_alone() {
        let text =
            "//! Header.\nfn f() { todo!() }\nfn g() { unimplemented!() }\n#[ignore = \"slow\"]\nunsafe fn h() {}\n";
        let lines: Vec<usize> = problems("a.rs", text).into_iter().map(|(line, _)| line).collect();
        assert_eq!(lines, [5, 2, 3, 4]);
        assert_eq!(problems("a.rs", "//! Header.\n// unsafe, todo!()\nconst A: &str = \"#[ignore] unsafe\";\n"), []);
    }

    #[test]
    fn the_core_must_not_name_clock_chance_or_hash_order() {
        let text = "//! Header.\nuse std::collections::HashMap;\nfn f(at: std::time::Instant) { rand::random() }\n";
        let found = problems("crates/core/src/run/start.rs", text);
        let lines: Vec<usize> = found.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [2, 3, 3]);
        assert_eq!(problems("crates/engine/src/run.rs", text), []);
    }
}
