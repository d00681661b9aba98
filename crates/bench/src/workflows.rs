//! The workflows of the workloads.
//!
//! For: their sources, made by a program because they are long. Not for: anything people would write.
//! Invariant: every step waits for the one before it through its data.

use std::fmt::Write as _;

/// The capability of the built-in agent.
pub(crate) const BUILT_IN: &str = "echo";
/// Steps of the chain of W1.
pub(crate) const CHAIN_STEPS: usize = 100;
/// Steps of each run of W2 and W5.
pub(crate) const SHORT_STEPS: usize = 10;
/// Runs of W2 and W5.
pub(crate) const SHORT_RUNS: usize = 1_000;
/// Runs that are in flight at once in W7.
pub(crate) const RUNS_IN_FLIGHT: usize = 64;
/// Entries of each run of W8.
pub(crate) const ENTRIES: usize = 100;
/// Items of W3.
pub(crate) const FAN_ITEMS: usize = 1_000;
/// Iterations of the long run of W4.
pub(crate) const LONG_STEPS: usize = 10_000;

/// A chain of steps, each of which passes on what the one before it gave.
pub(crate) fn chain(name: &str, steps: usize, capability: &str) -> String {
    let mut source = format!("workflow: {name}\ninput:\n  n: {{ type: integer }}\nsteps:\n");
    for step in 0..steps {
        let from = if step == 0 { "input.n".to_owned() } else { format!("steps.s{}.output.n", step - 1) };
        let _ = writeln!(source, "  s{step}: {{ capability: {capability}, with: {{ n: \"${{{{ {from} }}}}\" }} }}");
    }
    let _ = writeln!(source, "output: ${{{{ steps.s{}.output.n }}}}", steps - 1);
    source
}

/// A fan-out over a list, and a step that joins it.
pub(crate) fn fan(name: &str, items: usize, capability: &str) -> String {
    format!(
        "workflow: {name}
input:
  items: {{ type: array }}
steps:
  each: {{ for_each: \"${{{{ input.items }}}}\", max_parallel: {items}, capability: {capability}, with: {{ n: \"${{{{ item }}}}\" }} }}
  join: {{ capability: {capability}, with: {{ count: \"${{{{ size(steps.each.output) }}}}\" }} }}
output: ${{{{ steps.join.output.count }}}}
"
    )
}

/// One step again and again.
pub(crate) fn long(name: &str, steps: usize) -> String {
    format!(
        "workflow: {name}
steps:
  again: {{ repeat: {{ max: {steps} }}, capability: echo, with: {{ n: \"${{{{ loop.index }}}}\" }} }}
"
    )
}
