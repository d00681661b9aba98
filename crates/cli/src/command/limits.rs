//! `consort limits`: how many tasks are handed out, how fast, and how many wait.
//!
//! For: listing, setting and removing limits. Not for: the built-in bounds (see `docs/reference/limits.md`).
//! Invariant: what is set replaces the limit of the scope as a whole.

use consort_types::{
    Code, Error, Result, Span,
    registry::{LimitScope, LimitView, Rate, TaskLimit},
};
use consort_workflow::did_you_mean;
use serde_json::{Value, json};

use super::hints;
use crate::{
    app::{App, Need},
    args::{LimitSetArgs, LimitsCommand},
    client::{Client, understood},
    exit::Exit,
    show::queues,
};

pub(crate) async fn execute(app: &App, command: LimitsCommand) -> Result<Exit> {
    let need = if matches!(command, LimitsCommand::Set(_)) { Need::Change } else { Need::Look };
    let session = app.session(need).await?;
    let client = &session.client;
    let result = match command {
        LimitsCommand::List => list(app, client).await,
        LimitsCommand::Set(args) => set(app, client, &args).await,
        LimitsCommand::Remove { scope } => remove(app, client, &scope).await,
    };
    session.close(std::future::pending()).await;
    result.map(|()| Exit::Ok)
}

fn views(documents: &[Value]) -> Result<Vec<LimitView>> {
    documents.iter().map(|document| understood("limit", document.clone())).collect()
}

async fn list(app: &App, client: &Client) -> Result<()> {
    let documents = client.limits().await?;
    if app.json {
        app.print_lines(&documents);
        return Ok(());
    }
    if documents.is_empty() {
        if app.err.terminal {
            app.tell("no limit is set");
        }
        return Ok(());
    }
    app.print(&queues::limits(&views(&documents)?, app.out));
    Ok(())
}

async fn set(app: &App, client: &Client, args: &LimitSetArgs) -> Result<()> {
    let (scope, limit) = (args.scope.parse::<LimitScope>()?, limit(args)?);
    client.set_limit(&scope, &json!(limit)).await?;
    if let LimitScope::Capability(name) = &scope
        && let Some(hint) = hints::capability(client, name).await?
    {
        app.tell(&format!("warning: no agent offers `{name}`; {hint}"));
    }
    if app.json {
        let mut document = json!(limit);
        document["scope"] = json!(scope);
        app.print_json(&document);
        return Ok(());
    }
    let mut parts = Vec::new();
    parts.extend(limit.concurrency.map(|tasks| format!("{tasks} at once")));
    parts.extend(limit.rate.as_ref().map(queues::rate));
    parts.extend(limit.queue.map(|tasks| format!("{tasks} waiting")));
    app.tell(&format!("{scope} is limited: {}", parts.join("; ")));
    Ok(())
}

/// The limit that was typed.
fn limit(args: &LimitSetArgs) -> Result<TaskLimit> {
    let rate = args.rate.as_deref().map(|text| rate(text, args.burst)).transpose()?;
    let limit = TaskLimit { concurrency: args.concurrency, rate, queue: args.queue };
    if limit == TaskLimit::default() {
        return Err(Error::new(Code::BadRequest, format!("the limit of `{}` says nothing", args.scope))
            .hint("give `--concurrency`, `--rate` or `--queue`; `consort limits remove` removes a limit"));
    }
    Ok(limit)
}

/// A rate such as `10/s` or `5/30s`.
fn rate(text: &str, burst: Option<u32>) -> Result<Rate> {
    let parts = text.split_once('/').and_then(|(tasks, per)| {
        let tasks: u32 = tasks.trim().parse().ok()?;
        let per = per.trim();
        // `10/s` is `10/1s`.
        let whole = if per.starts_with(|c: char| c.is_ascii_digit()) { per.to_owned() } else { format!("1{per}") };
        Some((tasks, whole.parse::<Span>().ok()?))
    });
    let Some((tasks, per)) = parts.filter(|(tasks, per)| *tasks > 0 && *per > Span::ZERO) else {
        return Err(Error::new(Code::BadRequest, format!("`{text}` is not a rate"))
            .hint("write tasks and time, such as `10/s`, `100/m` or `5/30s`; `--concurrency 0` stops hand-out"));
    };
    Ok(Rate { tasks, per, burst: burst.unwrap_or(tasks) })
}

async fn remove(app: &App, client: &Client, text: &str) -> Result<()> {
    let scope: LimitScope = text.parse()?;
    if let Err(error) = client.remove_limit(&scope).await {
        if error.code != Code::LimitNotFound {
            return Err(error);
        }
        let known: Vec<String> = views(&client.limits().await?)?.iter().map(|limit| limit.scope.to_string()).collect();
        let hint = did_you_mean(text, known.iter().map(String::as_str));
        return Err(error.hint(hint.unwrap_or_else(|| "`consort limits list` shows those that are set".to_owned())));
    }
    if app.json {
        app.print_json(&json!({ "scope": scope, "removed": true }));
    } else {
        app.tell(&format!("{scope} is limited no more"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_tasks_in_a_time() {
        let of = |tasks, per: &str, burst| Rate { tasks, per: per.parse().unwrap(), burst };
        for (text, expected) in [
            ("10/s", of(10, "1s", 10)),
            ("100/m", of(100, "1m", 100)),
            ("5/30s", of(5, "30s", 5)),
            (" 1 / 1m30s ", of(1, "90s", 1)),
            ("7/ms", of(7, "1ms", 7)),
        ] {
            assert_eq!(rate(text, None).unwrap(), expected, "{text}");
        }
        assert_eq!(rate("10/s", Some(20)).unwrap().burst, 20);
        for text in ["", "10", "10/", "/s", "0/s", "-1/s", "10/0s", "10/parsec", "1.5/s", "10/s/s", "99999999999/s"] {
            let error = rate(text, None).unwrap_err();
            assert!(error.code == Code::BadRequest && error.hint.is_some(), "{text}");
        }
    }
}
