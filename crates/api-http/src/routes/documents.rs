//! Documents in full: what other answers show as `{"$blob", "bytes"}` where it is large.
//!
//! For: inputs and outputs, byte for byte. Not for: reaching a blob by its hash (a hash tells nothing of whose it is).
//! Invariant: a document is given only through a run of the caller's namespace (law 12).

use axum::{
    body::Body,
    http::{Response, StatusCode},
};
use bytes::Bytes;
use consort_types::{Code, Error, Payload, Result};

use super::content;
use crate::{
    call::Call,
    route::{Answer, Gives, Route, Takes, Verb},
};

const fn document(
    path: &'static str,
    name: &'static str,
    doc: &'static str,
    handle: fn(Call) -> futures::future::BoxFuture<'static, Answer>,
) -> Route {
    let answers = &[(200, "The JSON document, as it was given.", Gives::AnyJson)];
    let (verb, takes) = (Verb::Get, Takes::Nothing);
    Route { verb, path, name, doc, namespaced: true, query: &[], headers: &[], takes, answers, handle }
}

pub(super) const ROUTES: &[Route] = &[
    document("/v1/runs/{run}/input", "runInput", "The input of a run, in full.", |call| Box::pin(input(call))),
    document("/v1/runs/{run}/output", "runOutput", "The output of a completed run, in full.", |call| {
        Box::pin(output(call))
    }),
    document("/v1/runs/{run}/steps/{task}/output", "stepOutput", "The output of a completed step, in full.", |call| {
        Box::pin(step_output(call))
    }),
];

/// A payload as an answer, without copying it.
pub(super) async fn whole(call: &Call, payload: Payload) -> Result<Response<Body>> {
    let bytes = call.engine().payload(payload).await?;
    Ok(content(StatusCode::OK, "application/json", Bytes::from_owner(bytes)))
}

async fn input(call: Call) -> Answer {
    let run = call.engine().run(&call.namespace, call.run()?).await?;
    Ok(whole(&call, run.input).await?)
}

async fn output(call: Call) -> Answer {
    let run = call.engine().run(&call.namespace, call.run()?).await?;
    let status = run.summary.status;
    let output = run.output.ok_or_else(|| {
        let message = format!("the run has no output: it is {}", status.as_str());
        if status.is_terminal() {
            return Error::new(Code::StepState, message).hint("only a completed run has one");
        }
        Error::new(Code::RunActive, message).hint("wait for its end with `?wait=30s` on the run")
    })?;
    Ok(whole(&call, output).await?)
}

async fn step_output(call: Call) -> Answer {
    let (run, task) = (call.run()?, call.task()?);
    let unknown = || Error::new(Code::TaskNotFound, format!("the run `{run}` has no step `{task}`"));
    if task.run != run {
        return Err(unknown().into());
    }
    let page = call.engine().steps(&call.namespace, run, Some(task.to_string()), 1).await?;
    let step = page.items.into_iter().find(|step| step.task == task).ok_or_else(unknown)?;
    let state = step.state;
    let output = step.output.ok_or_else(|| {
        Error::new(Code::StepState, format!("the step `{}` has no output: it is {}", step.path, state.as_str()))
            .hint("only a completed step has one")
    })?;
    Ok(whole(&call, output).await?)
}
