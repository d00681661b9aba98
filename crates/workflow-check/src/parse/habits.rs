//! What people write out of habit: the keys and expressions of other systems.
//!
//! For: saying what to write instead. Not for: accepting it.
//! Invariant: what is suggested is a key that is allowed at its place; a text that may well be meant is not warned of.

use std::ops::Range;

/// Keys of other systems, and what to write here: the key, and how.
const FOREIGN: &[(&[&str], &str, &str)] = &[
    (&["depends_on", "dependsOn", "depends", "dependencies", "after", "requires"], "needs", "needs: STEP"),
    (
        &["retries", "max_retries", "retry_policy", "retryPolicy", "max_attempts", "maxAttempts"],
        "retry",
        "retry: { attempts: NUMBER }`, with the first one counted",
    ),
    (
        &["retries", "max_retries", "max_attempts", "maxAttempts", "maximumAttempts", "limit", "max", "count"],
        "attempts",
        "",
    ),
    (&["delay", "interval", "wait"], "backoff", "backoff: { initial: 1s }"),
    (
        &[
            "timeout-minutes",
            "timeout_minutes",
            "timeoutMinutes",
            "timeout_seconds",
            "timeoutSeconds",
            "execution_timeout",
        ],
        "timeout",
        "timeout: 10m",
    ),
    (
        &["uses", "action", "task", "tool", "function", "activity", "call", "op", "type"],
        "capability",
        "capability: NAME",
    ),
    (
        &["run", "script", "command", "cmd", "shell", "image", "container", "entrypoint"],
        "capability",
        "capability: NAME`, of an agent that does it: a workflow runs no programs itself",
    ),
    (&["runs-on", "runs_on", "runner", "pool", "queue", "worker"], "route", "route: { labels: { KEY: VALUE } }"),
    (&["env", "environment", "vars", "variables"], "with", "with: { NAME: VALUE }`: an agent gets values as its input"),
    (
        &["env", "environment", "vars", "variables"],
        "input",
        "input: { NAME: { default: VALUE } }`, and `${{ input.NAME }}` where it is used",
    ),
    (&["inputs", "input", "params", "parameters", "args", "arguments", "data"], "with", "with: { NAME: VALUE }"),
    (&["inputs", "params", "parameters", "args", "arguments"], "input", "input: { NAME: TYPE }"),
    (&["when", "condition", "only_if", "only", "rules"], "if", "if: ${{ CONDITION }}"),
    (
        &["foreach", "forEach", "with_items", "loop", "each", "map", "matrix", "strategy"],
        "for_each",
        "for_each: ${{ LIST }}",
    ),
    (
        &["max-parallel", "maxParallel", "parallelism", "parallel", "max_concurrency"],
        "max_parallel",
        "max_parallel: NUMBER",
    ),
    (
        &["continue-on-error", "continueOnError", "ignore_errors", "ignoreErrors", "allow_failure"],
        "continue_on_error",
        "continue_on_error: true",
    ),
    (
        &["on_error", "onError", "on_failure", "onFailure", "catch", "rescue"],
        "compensate",
        "if: ${{ failure() }}` on a step that handles it, or `compensate` for what undoes this one",
    ),
    (&["rollback", "undo"], "compensate", "compensate: { capability: NAME }"),
    (&["sleep", "pause"], "wait", "wait: 30s"),
    (&["approval", "manual", "confirm"], "approve", "approve: QUESTION"),
    (&["outputs", "return", "returns", "result"], "output", "output: { NAME: ${{ steps.NAME.output }} }"),
    (&["jobs", "tasks", "nodes", "stages", "states", "actions"], "steps", "steps: { NAME: … }"),
    (&["name", "id"], "workflow", "workflow: NAME"),
    (
        &["name", "title", "label", "id"],
        "description",
        "description: TEXT`; the name of a step is its key below `steps`",
    ),
];

/// What to write in place of a key of another system, where one of `allowed` means the same.
pub(super) fn instead_of(key: &str, allowed: &[&str]) -> Option<String> {
    if key == "on" || key == "schedule" || key == "triggers" {
        let by = "runs are started from outside: by `consort run`, or by a request";
        return allowed.contains(&"steps").then(|| by.to_owned());
    }
    let fits = |(keys, ours, _): &&(&[&str], &str, &str)| keys.contains(&key) && allowed.contains(ours) && key != *ours;
    // A step has a `workflow` of its own, which is another thing than the name of the file's.
    let step = allowed.contains(&"capability");
    let (_, ours, form) = FOREIGN.iter().filter(fits).find(|(_, ours, _)| !(step && *ours == "workflow"))?;
    let form = match *form {
        "" => format!("`{ours}`"),
        form if form.contains('`') => format!("`{form}"),
        form => format!("`{form}`"),
    };
    Some(format!("write {form}"))
}

/// What is known at a place of the file.
pub(super) struct Known<'a> {
    /// Whether the file has a step of this name.
    pub(super) step: &'a dyn Fn(&str) -> bool,
    /// Whether the workflow declares an input of this name.
    pub(super) input: &'a dyn Fn(&str) -> bool,
    /// Whether the place is inside of `for_each`.
    pub(super) each: bool,
}

/// An expression in a literal text, without its `${{ }}`: its place, and itself.
pub(super) fn forgotten<'t>(text: &'t str, known: &Known<'_>) -> Option<(Range<usize>, &'t str)> {
    let whole = text.trim();
    if is_reference(whole) && means_something(whole, known) {
        let start = text.len() - text.trim_start().len();
        return Some((start..start + whole.len(), whole));
    }
    [("{{", "}}"), ("${", "}")].into_iter().find_map(|(open, close)| braced(text, open, close))
}

/// `{{ x }}` or `${ x }` with a name in it that only a workflow has: a template for an agent has names of its own.
fn braced<'t>(text: &'t str, open: &str, close: &str) -> Option<(Range<usize>, &'t str)> {
    let mut from = 0;
    while let Some(at) = text[from..].find(open).map(|at| from + at) {
        from = at + open.len();
        let end = from + text[from..].find(close)?;
        let inner = text[from..end].trim();
        // `${{` itself may stand in a text, where it is escaped.
        let escaped = text[..at].ends_with('$') || text[from..].starts_with('{');
        if !escaped && ["input.", "steps.", "item.", "loop."].iter().any(|root| inner.starts_with(root)) {
            return Some((at..end + close.len(), inner));
        }
    }
    None
}

/// Names with dots between, and places of lists.
fn is_reference(text: &str) -> bool {
    text.contains('.') && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '[' | ']'))
}

/// Whether a reference names something that is there: `input.txt` may be a file.
fn means_something(text: &str, known: &Known<'_>) -> bool {
    let mut names = text.split(['.', '[']);
    match (names.next(), names.next(), names.next()) {
        (Some("steps"), Some(step), Some("output" | "status" | "error")) => (known.step)(step),
        (Some("input"), Some(name), _) => (known.input)(name),
        (Some("item"), Some(_), _) => known.each,
        _ => false,
    }
}
