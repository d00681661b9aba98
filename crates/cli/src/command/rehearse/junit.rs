//! The report of tests in the form of JUnit, which build servers read.
//!
//! For: `--junit FILE`. Not for: people.
//! Invariant: the file is XML, whatever the names of tests are.

use std::{fmt::Write as _, path::Path};

use consort_types::Result;

use super::{super::init, Ended};

/// Writes the report.
pub(super) fn write(path: &str, ended: &[Ended]) -> Result<()> {
    init::write(Path::new(path), &text(ended))
}

fn text(ended: &[Ended]) -> String {
    let failures = ended.iter().filter(|test| !test.findings.is_empty()).count();
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"consort\" tests=\"{}\" failures=\"{failures}\">\n",
        ended.len()
    );
    for Ended { file, name, findings } in ended {
        let (file, name) = (escaped(file), escaped(name));
        if findings.is_empty() {
            let _ = writeln!(out, "  <testcase classname=\"{file}\" name=\"{name}\"/>");
            continue;
        }
        let lines = findings.iter().flat_map(|found| found.lines.iter().map(move |line| (&found.about, line)));
        let body: Vec<String> = lines.map(|(about, line)| escaped(&format!("{about}: {line}"))).collect();
        let first = body.first().cloned().unwrap_or_default();
        let _ = writeln!(
            out,
            "  <testcase classname=\"{file}\" name=\"{name}\">\n    <failure message=\"{first}\">{}</failure>\n  </testcase>",
            body.join("\n")
        );
    }
    out.push_str("</testsuite>\n");
    out
}

/// A text within XML. What XML cannot hold is replaced.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::rehearse::judge::Finding;

    #[test]
    fn names_and_differences_are_kept_apart_from_the_form() {
        let findings = vec![Finding { about: "output".to_owned(), lines: vec!["$: \"a\" < \u{1b}b".to_owned()] }];
        let ended = [
            Ended { file: "a.test.yaml".to_owned(), name: "a & b".to_owned(), findings: Vec::new() },
            Ended { file: "a.test.yaml".to_owned(), name: "c".to_owned(), findings },
        ];
        let text = text(&ended);
        assert!(text.contains("tests=\"2\" failures=\"1\"") && text.contains("name=\"a &amp; b\"/>"), "{text}");
        assert!(text.contains("message=\"output: $: &quot;a&quot; &lt; \u{fffd}b\""), "{text}");
    }
}
