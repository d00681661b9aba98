//! Workflows written out of decisions.
//!
//! For: targets that need workflows which mostly pass the check, of all shapes. Not for: broken texts.
//! Invariant: equal decisions write equal texts.

use std::fmt::Write as _;

use crate::Choices;

/// Steps of one workflow at most.
const STEPS_MAX: usize = 12;

/// Writes a workflow of this name.
pub(super) fn workflow(name: &str, choices: &mut Choices<'_>) -> String {
    let mut text = format!("workflow: {name}\n");
    if choices.once_in(6) {
        let _ = writeln!(text, "timeout: {}", span(choices));
    }
    let mut writer = Writer { text, made: 0 };
    writer.block(choices, 0, &[], false);
    if choices.once_in(3) {
        writer.text.push_str("output: { all: \"${{ steps.s1.output }}\", n: 1 }\n");
    }
    writer.text
}

fn span(choices: &mut Choices<'_>) -> &'static str {
    choices.word(&["10s", "1ms", "1us", "2m", "1h", "0s", "3d"])
}

struct Writer {
    text: String,
    made: usize,
}

impl Writer {
    fn line(&mut self, depth: usize, line: &str) {
        let _ = writeln!(self.text, "{}{line}", "  ".repeat(depth));
    }

    /// The `steps:` of a workflow or group at this depth. `outer` are the names that can be seen from inside.
    fn block(&mut self, choices: &mut Choices<'_>, depth: usize, outer: &[String], each: bool) {
        self.line(depth, "steps:");
        let count = 1 + choices.below(4);
        let mut names = outer.to_vec();
        for _ in 0..count {
            self.made += 1;
            let name = format!("s{}", self.made);
            self.line(depth + 1, &format!("{name}:"));
            self.step(choices, depth + 2, &names, names.len() - outer.len(), each);
            names.push(name);
        }
    }

    fn step(&mut self, choices: &mut Choices<'_>, depth: usize, names: &[String], beside: usize, each: bool) {
        let each = each | self.around(choices, depth, each);
        let near = &names[names.len() - beside..];
        if !near.is_empty() && choices.once_in(3) {
            let needed = choices.pick(near).clone();
            self.line(depth, &format!("needs: {needed}"));
        }
        if choices.once_in(6) {
            let condition = choices.word(&["always()", "failure()", "success()", "cancelled()", "1 > 2", "input.no"]);
            self.line(depth, &format!("if: ${{{{ {condition} }}}}"));
        }
        if choices.once_in(6) {
            self.line(depth, "continue_on_error: true");
        }
        if choices.once_in(8) {
            let deadline = span(choices);
            self.line(depth, &format!("deadline: {deadline}"));
        }
        self.action(choices, depth, names, each);
    }

    /// What repeats the step; whether there is an `item` now.
    fn around(&mut self, choices: &mut Choices<'_>, depth: usize, each: bool) -> bool {
        let mut has_item = each;
        match choices.byte() % 8 {
            6 => {
                let list = choices.word(&["[1, 2, 3]", "[]", "[a]", "${{ input.list }}", "[1, 2, 3, 4, 5, 6, 7, 8]"]);
                self.line(depth, &format!("for_each: {list}"));
                if choices.once_in(2) {
                    self.line(depth, &format!("max_parallel: {}", 1 + choices.below(3)));
                }
                if choices.once_in(3) {
                    self.line(depth, "fail_fast: false");
                }
                has_item = true;
            }
            7 => {
                let end =
                    choices.word(&["until: \"${{ loop.index > 1 }}\"", "while: \"${{ output == 1 }}\"", "delay: 1s"]);
                let end = if end.starts_with("delay") {
                    format!("{end}, until: \"${{{{ false }}}}\"")
                } else {
                    end.to_owned()
                };
                let most = 1 + choices.below(4);
                self.line(depth, &format!("repeat: {{ {end}, max: {most} }}"));
            }
            _ => {}
        }
        has_item
    }

    fn action(&mut self, choices: &mut Choices<'_>, depth: usize, names: &[String], each: bool) {
        match choices.byte() % 12 {
            0..=5 => self.call(choices, depth, names, each),
            6 if depth < 8 && self.made < STEPS_MAX => self.block(choices, depth, names, each),
            7 => {
                let child = choices.word(&["w0", "w1", "leaf", "none"]);
                self.line(depth, &format!("workflow: {child}"));
                if choices.once_in(3) {
                    self.line(depth, "compensate: { capability: undo }");
                }
            }
            8 => {
                let wait = span(choices);
                self.line(depth, &format!("wait: {wait}"));
            }
            9 => {
                let limit = if choices.once_in(2) { format!(", timeout: {}", span(choices)) } else { String::new() };
                let name = choices.word(&["go", "stop"]);
                self.line(depth, &format!("wait: {{ signal: {name}{limit} }}"));
            }
            10 => {
                let limit = if choices.once_in(2) { format!(", timeout: {}", span(choices)) } else { String::new() };
                self.line(depth, &format!("approve: {{ title: \"Go?\"{limit} }}"));
            }
            _ => self.line(depth, "capability: plain"),
        }
    }

    fn call(&mut self, choices: &mut Choices<'_>, depth: usize, names: &[String], each: bool) {
        let capability = choices.word(&["plain", "read.it", "write.it", "again"]);
        self.line(depth, &format!("capability: {capability}"));
        let mut given = "a: \"${{ input }}\"".to_owned();
        if !names.is_empty() && choices.once_in(2) {
            let _ = write!(given, ", b: \"${{{{ steps.{}.output }}}}\"", choices.pick(names));
        }
        if each {
            given.push_str(", i: \"${{ item }}\"");
        }
        self.line(depth, &format!("with: {{ {given} }}"));
        for (once_in, line) in [
            (3, "retry: { attempts: 3, backoff: { initial: 1s } }"),
            (6, "timeout: 10s"),
            (3, "effect: write"),
            (8, "effect: idempotent"),
            (4, "compensate: { capability: undo }"),
            (8, "concurrency: { key: k, limit: 1 }"),
            (8, "priority: 7"),
        ] {
            let double = line == "effect: idempotent" && self.text.ends_with("effect: write\n");
            if choices.once_in(once_in) && !double {
                self.line(depth, line);
            }
        }
        if choices.once_in(3) {
            let answer = choices.word(&["retry", "fail", "reconcile with look", "ask"]);
            self.line(depth, &format!("on_unknown: {answer}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_decisions_write_workflows_that_pass_the_check() {
        let mut chance = crate::chance::Chance::new(3);
        let passed = (0..500).filter(|_| {
            let bytes: Vec<u8> = (0..100).map(|_| chance.byte()).collect();
            consort_workflow_check::check(&workflow("w", &mut Choices::new(&bytes))).is_ok()
        });
        assert!(passed.count() > 300);
    }
}
