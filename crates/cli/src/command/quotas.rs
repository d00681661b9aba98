//! `consort quotas`: how many tasks run, how fast they start, and how many wait.
//!
//! For: listing, setting and removing quotas. Not for: the built-in limits (see `limits`).
//! Invariant: what is set replaces the quota of the scope as a whole.

use consort_api::{
    NoParams,
    queues::{ListQuotas, Quota, QuotaParams, QuotaRequest, Rate, RemoveQuota, SetQuota},
};
use consort_types::{Code, Error, Result, Span, registry::LimitScope};
use consort_workflow::did_you_mean;
use serde_json::json;

use super::hints;
use crate::{
    app::{App, Need},
    args::{QuotaSetArgs, QuotasCommand},
    client::Client,
    exit::Exit,
    show::queues,
};

pub(crate) async fn execute(app: &App, command: QuotasCommand) -> Result<Exit> {
    let need = if matches!(command, QuotasCommand::Set(_)) { Need::Change } else { Need::Look };
    app.with_session(need, async |session| {
        let client = &session.client;
        match command {
            QuotasCommand::List => list(app, client).await,
            QuotasCommand::Set(args) => set(app, client, &args).await,
            QuotasCommand::Remove { scope } => remove(app, client, &scope).await,
        }
    })
    .await?;
    Ok(Exit::Ok)
}

async fn listed(client: &Client) -> Result<Vec<Quota>> {
    Ok(client.call::<ListQuotas>(&NoParams {}, &()).await?.items)
}

async fn list(app: &App, client: &Client) -> Result<()> {
    let quotas = listed(client).await?;
    if app.json {
        app.print_lines(&quotas);
        return Ok(());
    }
    if quotas.is_empty() {
        if app.err.terminal {
            app.eprint("no quota is set");
        }
        return Ok(());
    }
    app.print(&queues::quotas(&quotas, app.out));
    Ok(())
}

async fn set(app: &App, client: &Client, args: &QuotaSetArgs) -> Result<()> {
    let (scope, quota) = (args.scope.parse::<LimitScope>()?, quota(args)?);
    client.call::<SetQuota>(&QuotaParams { scope: scope.clone() }, &quota).await?;
    if let LimitScope::Capability(name) = &scope
        && let Some(hint) = hints::capability(client, name).await?
    {
        app.eprint(&format!("warning: no agent offers `{name}`; {hint}"));
    }
    if app.json {
        let mut document = json!(quota);
        document["scope"] = json!(scope);
        app.print_json(&document);
        return Ok(());
    }
    let mut parts = Vec::new();
    parts.extend(quota.max_concurrent.map(|tasks| format!("{tasks} at once")));
    parts.extend(quota.rate.as_ref().map(queues::rate));
    parts.extend(quota.max_waiting.map(|tasks| format!("{tasks} waiting")));
    app.eprint(&format!("{scope} is limited: {}", parts.join("; ")));
    Ok(())
}

/// The quota that was typed.
fn quota(args: &QuotaSetArgs) -> Result<QuotaRequest> {
    let rate = args.rate.as_deref().map(|text| rate(text, args.burst)).transpose()?;
    let quota = QuotaRequest { max_concurrent: args.max_concurrent, rate, max_waiting: args.max_waiting };
    if quota == QuotaRequest::default() {
        return Err(Error::new(Code::BadRequest, format!("the quota of `{}` is empty", args.scope))
            .hint("give `--max-concurrent`, `--rate` or `--max-waiting`; `consort quotas remove` removes a quota"));
    }
    Ok(quota)
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
        return Err(Error::new(Code::BadRequest, format!("`{text}` is not a rate")).hint(
            "write tasks and time, such as `10/s`, `100/m` or `5/30s`; `--max-concurrent 0` stops the assignment",
        ));
    };
    Ok(Rate { tasks, per, burst })
}

async fn remove(app: &App, client: &Client, text: &str) -> Result<()> {
    let scope: LimitScope = text.parse()?;
    if let Err(error) = client.call::<RemoveQuota>(&QuotaParams { scope: scope.clone() }, &()).await {
        if error.code != Code::QuotaNotFound {
            return Err(error);
        }
        let known: Vec<String> = listed(client).await?.iter().map(|quota| quota.scope.to_string()).collect();
        let hint = did_you_mean(text, known.iter().map(String::as_str));
        return Err(error.hint(hint.unwrap_or_else(|| "`consort quotas list` shows those that are set".to_owned())));
    }
    if app.json {
        app.print_json(&json!({ "scope": scope, "removed": true }));
    } else {
        app.eprint(&format!("{scope} is no longer limited"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_tasks_in_a_time() {
        let of = |tasks, per: &str| Rate { tasks, per: per.parse().unwrap(), burst: None };
        for (text, expected) in [
            ("10/s", of(10, "1s")),
            ("100/m", of(100, "1m")),
            ("5/30s", of(5, "30s")),
            (" 1 / 1m30s ", of(1, "90s")),
            ("7/ms", of(7, "1ms")),
        ] {
            assert_eq!(rate(text, None).unwrap(), expected, "{text}");
        }
        assert_eq!(rate("10/s", Some(20)).unwrap().burst, Some(20));
        for text in ["", "10", "10/", "/s", "0/s", "-1/s", "10/0s", "10/parsec", "1.5/s", "10/s/s", "99999999999/s"] {
            let error = rate(text, None).unwrap_err();
            assert!(error.code == Code::BadRequest && error.hint.is_some(), "{text}");
        }
    }
}
