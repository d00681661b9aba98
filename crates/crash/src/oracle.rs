//! The judge: what must hold when everything is over.
//!
//! For: the laws, as far as a client can see them. Not for: causing trouble.
//! Invariant: it reads only what a user can read.

use std::collections::BTreeMap;

use consort_testkit::http::Client;
use serde_json::Value;

/// What was judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// Runs, those that runs started counted.
    pub runs: usize,
    /// Step instances.
    pub steps: usize,
    /// Attempts that were lost with their process and made again, or whose outcome was unknown.
    pub lost: usize,
    /// Entries of all journals.
    pub entries: usize,
}

/// Judges every run of a server, and the server's own counts.
///
/// # Panics
/// Where a law is broken.
pub fn judge(client: &Client) -> Judged {
    let mut judged = Judged::default();
    for run in pages(client, "/v1/runs?children=true") {
        let id = text(&run, "run");
        assert!(matches!(text(&run, "status"), "completed" | "failed" | "cancelled"), "{run}");
        judge_run(client, id, &mut judged);
    }
    let status = get(client, "/v1/status");
    let tasks = |name: &str| status["tasks"][name].as_u64().expect("a count");
    let ended = tasks("completed") + tasks("unsuccessful");
    assert_eq!(tasks("created"), tasks("waiting") + tasks("running") + ended, "{status}");
    assert_eq!((tasks("waiting"), tasks("running"), status["runs_active"].as_u64()), (0, 0, Some(0)), "{status}");
    assert!(status["halted"].is_null(), "{status}");
    judged
}

fn judge_run(client: &Client, run: &str, judged: &mut Judged) {
    let history = pages(client, &format!("/v1/runs/{run}/history?"));
    let steps = pages(client, &format!("/v1/runs/{run}/steps?"));
    let replay = get(client, &format!("/v1/runs/{run}/replay"));
    assert_eq!(replay["differences"], Value::Array(Vec::new()), "the history of {run} disagrees with its state");
    assert_eq!(replay["entries"].as_u64(), Some(history.len() as u64), "run {run}");
    judge_ends(run, &history, &steps);
    for step in ["asked", "looked"] {
        judge_write(run, step, &history);
    }
    let lost = |event: &Value| matches!(text(event, "event"), "attempt_failed" | "outcome_unknown");
    judged.runs += 1;
    judged.steps += steps.len();
    judged.entries += history.len();
    judged.lost += history.iter().filter(|event| lost(event)).count();
}

/// Every step has ended, once, as in its row; so has the run.
fn judge_ends(run: &str, history: &[Value], steps: &[Value]) {
    let mut ends: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for entry in history {
        let ended = match text(entry, "event") {
            "step_completed" | "step_copied" => "completed",
            "step_failed" => "failed",
            "step_skipped" => "skipped",
            "step_cancelled" => "cancelled",
            _ => continue,
        };
        ends.entry(text(entry, "task")).or_default().push(ended);
    }
    for step in steps {
        let told = ends.remove(text(step, "task")).unwrap_or_default();
        assert_eq!(told, [text(step, "state")], "step `{}` of run {run} is not recorded once", text(step, "path"));
    }
    let ended = history.iter().filter(|entry| text(entry, "event") == "run_ended").count();
    assert_eq!(ended, 1, "run {run} has ended {ended} times");
    assert_eq!(
        history.last().map(|entry| text(entry, "event")),
        Some("run_ended"),
        "run {run} has entries after its end"
    );
}

/// A `write` step is not tried again before a decision about the previous attempt.
fn judge_write(run: &str, step: &str, history: &[Value]) {
    let mut undecided = false;
    let events = history.iter().filter(|entry| entry["step"].as_str() == Some(step));
    for event in events {
        match text(event, "event") {
            "attempt_started" => {
                assert!(!undecided, "write step `{step}` of run {run} was repeated without a decision");
                undecided = true;
            }
            "decided" | "attempt_failed" => undecided = false,
            _ => {}
        }
    }
}

/// Every item of a listing, page by page; `path` ends where `limit=…` may follow behind `?` or a `&` is put.
fn pages(client: &Client, path: &str) -> Vec<Value> {
    let join = if path.ends_with('?') { "" } else { "&" };
    let (mut items, mut cursor) = (Vec::new(), String::new());
    loop {
        let mut page = get(client, &format!("{path}{join}limit=200{cursor}"));
        let found = page["items"].as_array_mut().map(std::mem::take);
        items.extend(found.expect("a page has items"));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return items,
        }
    }
}

/// The answer to a request that must succeed.
fn get(client: &Client, path: &str) -> Value {
    let answer = client.get(path).expect("the server is not being killed now");
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_default()
}

/// How often a run was signalled, by its history.
pub fn signals(client: &Client, run: &str) -> u32 {
    let history = pages(client, &format!("/v1/runs/{run}/history?"));
    history.iter().filter(|entry| text(entry, "event") == "signal_received").count() as u32
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn events(names: &[&str]) -> Vec<Value> {
        let event = |name: &&str| match *name {
            "run_ended" => json!({ "event": name }),
            _ => json!({ "event": name, "task": "t", "step": "asked" }),
        };
        names.iter().map(event).collect()
    }

    fn breaks(names: &[&str]) -> bool {
        let steps = [json!({ "task": "t", "path": "asked", "state": "completed" })];
        let history = events(names);
        let judged = std::panic::catch_unwind(|| {
            judge_ends("r", &history, &steps);
            judge_write("r", "asked", &history);
        });
        judged.is_err()
    }

    #[test]
    fn the_judge_sees_what_must_not_be() {
        assert!(!breaks(&[
            "attempt_started",
            "outcome_unknown",
            "decided",
            "attempt_started",
            "step_completed",
            "run_ended"
        ]));
        for broken in [
            &["attempt_started", "step_completed", "step_completed", "run_ended"][..],
            &["attempt_started", "step_failed", "run_ended"],
            &["attempt_started", "run_ended"],
            &["attempt_started", "step_completed"],
            &["attempt_started", "step_completed", "run_ended", "run_ended"],
            &["attempt_started", "step_completed", "run_ended", "decided"],
            &["attempt_started", "attempt_started", "step_completed", "run_ended"],
        ] {
            assert!(breaks(broken), "{broken:?}");
        }
    }
}
