//! Runs: start, list, show, look inside.
//!
//! For: making runs and reading them. Not for: changing them (see `operate`).
//! Invariant: a start with the same idempotency key answers the same run.

use axum::http::StatusCode;
use consort_engine::{
    StartRequest,
    view::{JournalCursor, RunFilter, RunStatus},
};
use consort_types::{Code, Error, Payload, Result, Span, accept_traceparent, limits};

use super::{CURSOR, LIMIT, content, json, located, ok};
use crate::{
    call::Call,
    document, model,
    route::{Answer, Gives, Kind, Param, Route, Takes, Verb, schema},
};

/// How long a client may wait for the end of a run in one request.
const WAIT_MAX: Span = Span::from_secs(60);

/// The states that a listing can be asked for.
const STATES: [RunStatus; 6] = [
    RunStatus::Running,
    RunStatus::Cancelling,
    RunStatus::Compensating,
    RunStatus::Completed,
    RunStatus::Failed,
    RunStatus::Cancelled,
];
const STATE_WORDS: &[&str] = &["running", "cancelling", "compensating", "completed", "failed", "cancelled"];

const KEY: Param = Param::new(
    "Idempotency-Key",
    Kind::Text,
    "Makes the start repeatable: the same key with the same request answers the first run.",
);
const TRACE: Param = Param::new(
    "traceparent",
    Kind::Text,
    "The trace of the caller (W3C Trace Context), which the run then belongs to; one that cannot be read is left out.",
);
const STATUS: Param = Param::new("status", Kind::Word(STATE_WORDS), "Only runs in this state.");
const WORKFLOW: Param = Param::new("workflow", Kind::Text, "Only runs of this workflow.");
const LABEL: Param = Param::new("label.*", Kind::Text, "Only runs with this label: `label.KEY=VALUE`, repeatable.");
const CHILDREN: Param = Param::new("children", Kind::Flag, "Whether runs that a run started are listed too.");
const WAIT: Param = Param::new("wait", Kind::Text, "Waits for the end of the run, at most this long: `1s` to `60s`.");
const AFTER: Param = Param::new("after", Kind::Text, "Only entries after this cursor.");

/// A route that reads one run.
const fn look(
    path: &'static str,
    name: &'static str,
    doc: &'static str,
    query: &'static [Param],
    answers: &'static [(u16, &'static str, Gives)],
    handle: fn(Call) -> futures::future::BoxFuture<'static, Answer>,
) -> Route {
    let (verb, takes) = (Verb::Get, Takes::Nothing);
    Route { verb, path, name, doc, namespaced: true, query, headers: &[], takes, answers, handle }
}

pub(super) const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Post,
        path: "/v1/runs",
        name: "startRun",
        doc: "Starts a run.",
        namespaced: true,
        query: &[],
        headers: &[KEY, TRACE],
        takes: Takes::Json {
            schema: schema::<model::StartRequest>,
            max_bytes: limits::HTTP_BODY_BYTES_MAX,
            optional: false,
        },
        answers: &[
            (200, "The key had started this run before.", Gives::Json(schema::<model::Started>)),
            (201, "The run was started.", Gives::Json(schema::<model::Started>)),
        ],
        handle: |call| Box::pin(start(call)),
    },
    look(
        "/v1/runs",
        "listRuns",
        "Lists runs, newest first.",
        &[STATUS, WORKFLOW, LABEL, CHILDREN, CURSOR, LIMIT],
        &[(200, "A page.", Gives::Json(schema::<model::Page<model::RunSummary>>))],
        |call| Box::pin(list(call)),
    ),
    look(
        "/v1/runs/{run}",
        "showRun",
        "Shows a run with its documents.",
        &[WAIT],
        &[(200, "The run.", Gives::Json(schema::<model::Run>))],
        |call| Box::pin(show(call)),
    ),
    look(
        "/v1/runs/{run}/tree",
        "runTree",
        "Shows the steps of a run as a tree.",
        &[],
        &[(200, "The top-level steps, each with what is below it.", Gives::Json(schema::<Vec<model::StepNode>>))],
        |call| Box::pin(tree(call)),
    ),
    look(
        "/v1/runs/{run}/steps",
        "runSteps",
        "Lists the step instances of a run, flat, with their outputs.",
        &[CURSOR, LIMIT],
        &[(200, "A page.", Gives::Json(schema::<model::Page<model::Step>>))],
        |call| Box::pin(steps(call)),
    ),
    look(
        "/v1/runs/{run}/journal",
        "runJournal",
        "Lists what happened in a run, in order.",
        &[AFTER, LIMIT],
        &[(
            200,
            "A page; `next` is the `after` of the next one.",
            Gives::Json(schema::<model::Page<model::JournalEntry>>),
        )],
        |call| Box::pin(journal(call)),
    ),
    look(
        "/v1/runs/{run}/source",
        "runSource",
        "The source that a run is pinned to.",
        &[],
        &[(200, "The YAML text.", Gives::Other("application/yaml"))],
        |call| Box::pin(source(call)),
    ),
    look(
        "/v1/runs/{run}/replay",
        "replayRun",
        "Folds the journal of a run again without calling anything, and compares it with the run's state.",
        &[],
        &[(200, "Every recorded step.", Gives::Json(schema::<model::Replay>))],
        |call| Box::pin(replay(call)),
    ),
    look(
        "/v1/runs/{run}/compare/{other}",
        "compareRuns",
        "Compares the steps of two runs.",
        &[],
        &[(200, "Where they differ.", Gives::Json(schema::<model::Comparison>))],
        |call| Box::pin(compare(call)),
    ),
];

/// The state of this name.
pub(super) fn status(word: &str) -> Result<RunStatus> {
    STATES.into_iter().find(|status| status.as_str() == word).ok_or_else(|| {
        Error::new(Code::BadRequest, format!("`{word}` is not a state of a run"))
            .hint(format!("use one of `{}`", STATE_WORDS.join("`, `")))
    })
}

async fn start(mut call: Call) -> Answer {
    let idempotency_key = call.header("idempotency-key")?.map(str::to_owned);
    // A trace that cannot be read is begun anew, as W3C has it: it is no part of the request.
    let traceparent = call.header("traceparent")?.and_then(|text| accept_traceparent(text).ok());
    let request: model::StartRequest = call.json().await?;
    let request = StartRequest {
        namespace: call.namespace.clone(),
        workflow: request.workflow,
        version: request.version,
        input: request.input.as_deref().map_or_else(Payload::null, document::inner),
        idempotency_key,
        labels: request.labels,
        priority: request.priority,
        timeout: request.timeout,
        traceparent,
    };
    let started = call.engine().start(request).await?;
    let status = if started.existing { StatusCode::OK } else { StatusCode::CREATED };
    Ok(located(json(status, &started)?, &format!("/v1/runs/{}", started.run), &call.namespace))
}

async fn list(call: Call) -> Answer {
    let (cursor, limit) = call.page();
    let filter = RunFilter {
        status: call.query("status").map(status).transpose()?,
        workflow: call.query("workflow").map(str::to_owned),
        labels: call.query_with("label.").map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        children: call.flag("children"),
    };
    Ok(ok(&call.engine().runs(&call.namespace, filter, cursor, limit).await?)?)
}

async fn show(call: Call) -> Answer {
    let (run, engine) = (call.run()?, call.engine());
    if let Some(wait) = call.wait(WAIT_MAX)? {
        let ended = tokio::select! {
            ended = tokio::time::timeout(wait, engine.wait_end(&call.namespace, run)) => ended.ok(),
            () = call.closing.clone().closed() => None,
        };
        if let Some(ended) = ended {
            return Ok(ok(&ended?)?);
        }
    }
    Ok(ok(&engine.run(&call.namespace, run).await?)?)
}

async fn tree(call: Call) -> Answer {
    Ok(ok(&call.engine().run_tree(&call.namespace, call.run()?).await?)?)
}

async fn steps(call: Call) -> Answer {
    let (cursor, limit) = call.page();
    Ok(ok(&call.engine().steps(&call.namespace, call.run()?, cursor, limit).await?)?)
}

async fn journal(call: Call) -> Answer {
    let after = call.query("after").map(str::parse::<JournalCursor>).transpose()?;
    let limit = call.limit();
    let items = call.engine().journal(&call.namespace, call.run()?, after, limit).await?;
    let next = items.last().filter(|_| items.len() == limit).map(|entry| entry.cursor.to_string());
    Ok(ok(&consort_engine::view::Page { items, next })?)
}

async fn source(call: Call) -> Answer {
    let source = call.engine().run_source(&call.namespace, call.run()?).await?;
    Ok(content(StatusCode::OK, "application/yaml", source))
}

async fn replay(call: Call) -> Answer {
    Ok(ok(&call.engine().replay(&call.namespace, call.run()?).await?)?)
}

async fn compare(call: Call) -> Answer {
    let other = call.path("other").parse()?;
    Ok(ok(&call.engine().compare(&call.namespace, call.run()?, other).await?)?)
}
