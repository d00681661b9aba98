//! Agents: found, shown, watched, and operated.
//!
//! For: what is known of agents, and what operators say about them. Not for: how agents connect (gRPC has that).
//! Invariant: an answer to an operation is sent after its command is durable; without `version` it is about every
//! version that is known.

use axum::response::{
    IntoResponse as _, Sse,
    sse::{Event, KeepAlive},
};
use consort_types::{Code, Error, Result, registry::AgentFilter};
use futures::{StreamExt as _, stream};

use super::{
    done, ok,
    watch::{COME_BACK, KEEP_ALIVE, data, failed},
};
use crate::{
    call::{Call, SMALL_BYTES_MAX},
    model,
    route::{Answer, Gives, Kind, Param, Route, SchemaOf, Takes, Verb, schema},
};

const CAPABILITY: Param = Param::new("capability", Kind::Text, "Only agents that can do this.");
const LABELS: Param = Param::new("label.*", Kind::Text, "Only agents with this label: `label.region=eu`.");
const TEXT: Param = Param::new(
    "text",
    Kind::Text,
    "Only agents in whose name, description or capabilities this stands, whatever the case.",
);
const VERSION: Param = Param::new("version", Kind::Text, "Only this version, as its author wrote it.");
const FORCE: Param = Param::new(
    "force",
    Kind::Flag,
    "Whether connected instances are let go; without it, a connected agent is not removed.",
);

const FILTER: &[Param] = &[CAPABILITY, LABELS, TEXT];
const LIST: &[(u16, &str, Gives)] =
    &[(200, "The agents, by name and version.", Gives::Json(schema::<model::Items<model::Agent>>))];
const DONE: &[(u16, &str, Gives)] = &[(204, "It is done, and durable.", Gives::Nothing)];

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

const fn operation(
    path: &'static str,
    name: &'static str,
    doc: &'static str,
    (schema, optional): (SchemaOf, bool),
    handle: fn(Call) -> futures::future::BoxFuture<'static, Answer>,
) -> Route {
    let takes = Takes::Json { schema, max_bytes: SMALL_BYTES_MAX, optional };
    let (verb, query, answers): (_, &[Param], _) = (Verb::Post, &[VERSION], DONE);
    Route { verb, path, name, doc, namespaced: true, query, headers: &[], takes, answers, handle }
}

pub(super) const ROUTES: &[Route] = &[
    look("/v1/agents", "listAgents", "Lists agents, with what they can do and how they do.", FILTER, LIST, |call| {
        Box::pin(list(call))
    }),
    look(
        "/v1/agents/watch",
        "watchAgents",
        "Follows agents: the event `agents` has the list at once, and again at each change.",
        FILTER,
        &[(200, "Server-sent events until the client leaves.", Gives::Other("text/event-stream"))],
        |call| Box::pin(watch(call)),
    ),
    look("/v1/agents/{name}", "showAgent", "Shows every version of an agent.", &[VERSION], LIST, |call| {
        Box::pin(show(call))
    }),
    operation(
        "/v1/agents/{name}/drain",
        "drainAgent",
        "Hands out nothing more to an agent; it finishes what it holds.",
        (schema::<model::EmptyRequest>, true),
        |call| Box::pin(drain(call)),
    ),
    operation(
        "/v1/agents/{name}/resume",
        "resumeAgent",
        "Hands out to a drained agent again.",
        (schema::<model::EmptyRequest>, true),
        |call| Box::pin(resume(call)),
    ),
    operation(
        "/v1/agents/{name}/weight",
        "weighAgent",
        "Sets the share of a version beside the agent's other versions; `version` must be given.",
        (schema::<model::WeightRequest>, false),
        |call| Box::pin(weigh(call)),
    ),
    Route {
        verb: Verb::Delete,
        path: "/v1/agents/{name}",
        name: "removeAgent",
        doc: "Forgets an agent; one that connects again is known again, as if it were new.",
        namespaced: true,
        query: &[VERSION, FORCE],
        headers: &[],
        takes: Takes::Nothing,
        answers: DONE,
        handle: |call| Box::pin(remove(call)),
    },
];

/// Which agents the query asks for.
fn filter(call: &Call) -> AgentFilter {
    let owned = |name| call.query(name).map(str::to_owned);
    let labels = call.query_with("label.").map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    AgentFilter { capability: owned("capability"), labels, text: owned("text"), ..AgentFilter::default() }
}

async fn list(call: Call) -> Answer {
    let items = call.engine().agents(&call.namespace, filter(&call)).await?;
    Ok(ok(&model::Items { items })?)
}

async fn show(call: Call) -> Answer {
    let (name, version) = (call.path("name").to_owned(), call.query("version").map(str::to_owned));
    let filter = AgentFilter { name: Some(name.clone()), version: version.clone(), ..AgentFilter::default() };
    let items = call.engine().agents(&call.namespace, filter).await?;
    if items.is_empty() {
        return Err(unknown(&call, &name, version.as_deref()).await?.into());
    }
    Ok(ok(&model::Items { items })?)
}

/// Says what there is instead.
async fn unknown(call: &Call, name: &str, version: Option<&str>) -> Result<Error> {
    let filter = AgentFilter { name: Some(name.to_owned()), ..AgentFilter::default() };
    let known = call.engine().agents(&call.namespace, filter).await?;
    let versions: Vec<_> = known.iter().rev().take(5).map(|agent| format!("`{}`", agent.declaration.version)).collect();
    if let Some(version) = version.filter(|_| !versions.is_empty()) {
        return Ok(Error::new(Code::AgentNotFound, format!("agent `{name}` has no version `{version}`"))
            .hint(format!("it has {}", versions.join(", "))));
    }
    let message = format!("there is no agent `{name}` in namespace `{}`", call.namespace);
    Ok(Error::new(Code::AgentNotFound, message).hint("`GET /v1/agents` lists those that have joined"))
}

async fn watch(call: Call) -> Answer {
    let watch = call.engine().watch_agents(&call.namespace, filter(&call)).await?;
    let first = stream::iter([Ok::<_, std::convert::Infallible>(Event::default().retry(COME_BACK))]);
    let lists = stream::unfold(watch, |mut watch| async move { watch.next().await.map(|list| (list, watch)) });
    let events = lists.map(|list| {
        let event = list.and_then(|items| data("agents", &model::Items { items }));
        Ok(event.unwrap_or_else(failed))
    });
    let closing = call.closing;
    let events = first.chain(events).take_until(async move { closing.closed().await });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

async fn drain(mut call: Call) -> Answer {
    let model::EmptyRequest {} = call.json().await?;
    call.engine().drain_agent(&call.namespace, call.path("name"), call.query("version")).await?;
    Ok(done())
}

async fn resume(mut call: Call) -> Answer {
    let model::EmptyRequest {} = call.json().await?;
    call.engine().resume_agent(&call.namespace, call.path("name"), call.query("version")).await?;
    Ok(done())
}

async fn weigh(mut call: Call) -> Answer {
    let model::WeightRequest { weight } = call.json().await?;
    let Some(version) = call.query("version") else {
        return Err(Error::new(Code::BadRequest, "`version` is missing")
            .hint("a weight is the share of one version beside the others: say which")
            .into());
    };
    call.engine().weigh_agent(&call.namespace, call.path("name"), version, weight).await?;
    Ok(done())
}

async fn remove(call: Call) -> Answer {
    let (name, version) = (call.path("name"), call.query("version"));
    call.engine().remove_agent(&call.namespace, name, version, call.flag("force")).await?;
    Ok(done())
}
