//! The outcome of a run, as it is printed and written.
//!
//! For: the result after following a run, `runs output`, `--out`. Not for: progress.
//! Invariant: standard output carries the result alone; a failed run has none.

use std::path::Path;

use consort_api::{
    inside::RunOutput,
    runs::{Run, RunParams, RunStatus, RunSummary},
};
use consort_types::{Code, Error, Result, RunId};
use serde_json::{Value, json};

use crate::{
    app::App,
    client::Client,
    exit::Exit,
    show::{
        markdown,
        style::{clean_lines, wrapped},
    },
};

/// Shows how a run ended, and writes its output into a folder where one was named.
pub(crate) async fn show(app: &App, client: &Client, run: Run, out: Option<&str>) -> Result<Exit> {
    let run = run.summary;
    let output = match run.status {
        RunStatus::Completed => Some(output(client, run.run).await?),
        _ => None,
    };
    if app.json {
        let mut result = json!({ "run": run.run, "workflow": run.workflow, "status": run.status });
        if let Some(output) = &output {
            result["output"] = output.clone();
        }
        if let Some(error) = &run.error {
            result["error"] = json!(error);
        }
        app.print_json(&result);
    } else if let Some(output) = &output {
        print(app, output);
    }
    let Some(output) = output else {
        print_failure(app, &run);
        return Ok(Exit::Failure);
    };
    if let Some(folder) = out {
        write(app, &output, Path::new(folder))?;
    }
    Ok(Exit::Ok)
}

/// The output of a run that has completed.
pub(crate) async fn output(client: &Client, run: RunId) -> Result<Value> {
    client.call::<RunOutput>(&RunParams { run }, &()).await?.read("output")
}

/// Prints an output for a reader: a report as Markdown, a text as it is, anything else as JSON.
pub(crate) fn print(app: &App, output: &Value) {
    if app.out.terminal {
        app.print("\n");
    }
    match (markdown_of(output), output) {
        (Some(report), _) => app.print(&markdown::render(report, app.out)),
        (None, Value::String(text)) => {
            let text = if app.out.terminal { clean_lines(text) } else { text.clone() };
            app.print(&format!("{text}\n"));
        }
        (None, other) => app.print_json(other),
    }
}

fn print_failure(app: &App, run: &RunSummary) {
    if let Some(error) = &run.error {
        app.eprint(&wrapped(&Error::from(error.clone()).to_string(), 0, app.err));
    }
    let ended = match run.status {
        RunStatus::Failed => "the run failed".to_owned(),
        RunStatus::Cancelled => "the run was cancelled".to_owned(),
        ref status => format!("the run is {status}"),
    };
    app.eprint(&format!("{ended}: `consort runs show {}` has the steps", run.run));
}

/// The Markdown of an output that is, or holds, a report.
pub(crate) fn markdown_of(output: &Value) -> Option<&str> {
    let direct = |value: &'_ Value, key: &str| value.get(key).is_some_and(Value::is_string);
    for holder in [Some(output), output.get("report"), output.get("write")].into_iter().flatten() {
        for key in ["markdown", "report"] {
            if direct(holder, key) {
                return holder[key].as_str();
            }
        }
    }
    None
}

/// Writes `report.md` and `report.json`, or `output.json`.
fn write(app: &App, output: &Value, folder: &Path) -> Result<()> {
    let refused = |path: &Path, error: std::io::Error| {
        Error::new(Code::Disk, format!("`{}` cannot be written: {error}", path.display()))
            .hint("the run is kept: `consort runs output last` prints its result")
    };
    std::fs::create_dir_all(folder).map_err(|error| refused(folder, error))?;
    let mut files = Vec::new();
    let json = format!("{output:#}\n");
    match markdown_of(output) {
        Some(report) => files.extend([("report.md", report.to_owned()), ("report.json", json)]),
        None => files.push(("output.json", json)),
    }
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(|error| refused(&path, error))?;
        app.eprint(&format!("wrote {}", path.display()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_found_where_they_usually_stand() {
        for output in [
            json!({"markdown": "# A"}),
            json!({"report": "# A"}),
            json!({"report": {"markdown": "# A", "ledger": []}, "review": {}}),
            json!({"write": {"markdown": "# A"}}),
        ] {
            assert_eq!(markdown_of(&output), Some("# A"), "{output}");
        }
        for output in [json!("# A"), json!({"report": 1}), json!([{"markdown": "x"}]), json!(null)] {
            assert_eq!(markdown_of(&output), None, "{output}");
        }
    }
}
