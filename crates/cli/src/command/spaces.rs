//! `consort state spaces`, `set`, `drop`, `conflicts` and `decide`.
//!
//! For: what is set for spaces and what they hold, and writes that had not seen the latest value. Not for: keys (see
//! `state`).
//! Invariant: every decision names the person who made it.

use std::fmt::Write as _;

use consort_api::{
    PageParams,
    spaces::{
        ConflictParams, DecideConflict, DecideConflictRequest, DeleteSpace, ListConflicts, ListConflictsParams,
        ListSpaces, SetSpace, Settlement, ShowConflict, ShowSpace, Space, SpaceParams, SpaceRequest, StateConflict,
        StatePolicy,
    },
};
use consort_types::{Code, Error, Result, limits, state::MergePolicy};
use consort_workflow::did_you_mean;
use serde_json::json;

use super::decide::user;
use crate::{
    app::App,
    args::{StateDecideArgs, StateSetArgs},
    client::Client,
    input,
    show::{
        state::{short, writer},
        style::Paint,
        table::Table,
        when,
    },
};

pub(super) async fn list(app: &App, client: &Client) -> Result<()> {
    let page = |cursor| PageParams { cursor, limit: Some(limits::PAGE_ITEMS_MAX) };
    let spaces = client.all::<ListSpaces, _>(page).await?;
    if app.json {
        app.print_lines(&spaces);
        return Ok(());
    }
    let mut table = Table::new(&["SPACE", "KEYS", "BYTES", "CHANGES", "CONFLICTS", "UNDECIDED", "POLICIES"]).spare(&[
        "CHANGES",
        "BYTES",
        "CONFLICTS",
    ]);
    for space in &spaces {
        let undecided = Some(if space.undecided == 0 { Paint::Dim } else { Paint::Yellow });
        table.row(vec![
            (space.name.clone(), Some(Paint::Bold)),
            (space.keys.to_string(), None),
            (space.bytes.to_string(), None),
            (space.changes.to_string(), Some(Paint::Dim)),
            (space.conflicts_total.to_string(), None),
            (space.undecided.to_string(), undecided),
            (policies(space), None),
        ]);
    }
    app.print(&table.render(app.out));
    if spaces.is_empty() && app.err.terminal {
        app.eprint("there is no space yet; the first write into one makes it");
    }
    Ok(())
}

fn policies(space: &Space) -> String {
    space.policies.iter().map(typed).collect::<Vec<_>>().join(" ")
}

pub(super) async fn show(app: &App, client: &Client, space: String) -> Result<()> {
    let space = client.call::<ShowSpace>(&SpaceParams { space }, &()).await?;
    if app.json {
        app.print_json(&space);
        return Ok(());
    }
    let most = |limit: Option<u64>| limit.map(|limit| format!(" of {limit}")).unwrap_or_default();
    let mut text = format!(
        "keys       {}{}\nbytes      {}{}\nchanges    {} of {}\nposition   {}\nconflicts  {} ({} kept, {} undecided)\nmade       {}\n",
        space.keys,
        most(space.max_keys),
        space.bytes,
        most(space.max_bytes),
        space.changes,
        space.keep_changes,
        space.position,
        space.conflicts_total,
        space.conflicts,
        space.undecided,
        space.created_at
    );
    for policy in &space.policies {
        let _ = writeln!(text, "policy     {}", typed(policy));
    }
    app.print(&text);
    Ok(())
}

pub(super) async fn set(app: &App, client: &Client, args: StateSetArgs) -> Result<()> {
    let request = SpaceRequest {
        policies: args.policy.iter().map(|text| policy(text)).collect::<Result<_>>()?,
        keep_changes: args.keep_changes,
        max_keys: args.max_keys,
        max_bytes: args.max_bytes,
        events: args.events,
    };
    client.call::<SetSpace>(&SpaceParams { space: args.space.clone() }, &request).await?;
    if app.json {
        let mut document = json!(request);
        document["space"] = json!(args.space);
        app.print_json(&document);
        return Ok(());
    }
    let set: Vec<String> = request.policies.iter().map(typed).collect();
    let set =
        if set.is_empty() { "rejects writes that had not seen the latest value".to_owned() } else { set.join(" ") };
    app.eprint(&format!("{}: {set}", args.space));
    Ok(())
}

/// A policy as it is typed.
fn typed(policy: &StatePolicy) -> String {
    let merge = policy.merge.as_ref().map(|merge| format!(":{merge}")).unwrap_or_default();
    format!("{}={}{merge}", policy.prefix, policy.policy.as_str())
}

/// A policy as typed: `PREFIX=POLICY`, or `PREFIX=expression:MERGE`.
fn policy(text: &str) -> Result<StatePolicy> {
    let expression = format!("{}:", MergePolicy::Expression.as_str());
    // A merge may have any characters, so the first `=expression:` begins it.
    let (head, merge) = match text.split_once(&format!("={expression}")) {
        Some((prefix, merge)) => (format!("{prefix}={}", MergePolicy::Expression.as_str()), Some(merge)),
        None => match text.strip_prefix(&expression) {
            Some(merge) => (MergePolicy::Expression.as_str().to_owned(), Some(merge)),
            None => (text.to_owned(), None),
        },
    };
    let (prefix, word) = head.rsplit_once('=').unwrap_or(("", &head));
    let found = MergePolicy::ALL.into_iter().find(|policy| policy.as_str() == word);
    let policy = found.ok_or_else(|| {
        let words = MergePolicy::ALL.map(MergePolicy::as_str);
        let hint = did_you_mean(word, words).unwrap_or_else(|| format!("there are {}", words.join(", ")));
        Error::new(Code::BadRequest, format!("`{word}` is not a policy")).hint(hint)
    })?;
    Ok(StatePolicy { prefix: prefix.to_owned(), policy, merge: merge.map(str::to_owned) })
}

pub(super) async fn drop_space(app: &App, client: &Client, space: String) -> Result<()> {
    client.call::<DeleteSpace>(&SpaceParams { space: space.clone() }, &()).await?;
    app.done(&json!({ "space": space, "deleted": true }), &format!("{space} is gone, with everything in it"));
    Ok(())
}

pub(super) async fn conflicts(app: &App, client: &Client, space: String, undecided: bool) -> Result<()> {
    let params =
        |cursor| ListConflictsParams { space: space.clone(), undecided, cursor, limit: Some(limits::PAGE_ITEMS_MAX) };
    let conflicts = client.all::<ListConflicts, _>(params).await?;
    if app.json {
        app.print_lines(&conflicts);
        return Ok(());
    }
    let mut table = Table::new(&["CONFLICT", "KEY", "POLICY", "SETTLED", "AT", "VALUES"]).spare(&["AT", "POLICY"]);
    for conflict in &conflicts {
        let values: Vec<String> = conflict
            .candidates
            .iter()
            .map(|one| one.value.as_ref().map_or_else(|| "nothing".to_owned(), short))
            .collect();
        table.row(vec![
            (conflict.conflict.to_string(), None),
            (conflict.key.clone(), Some(Paint::Bold)),
            (conflict.policy.as_str().to_owned(), Some(Paint::Dim)),
            settled(conflict),
            (when::ago(conflict.at, when::now()), Some(Paint::Dim)),
            (values.join(" | "), None),
        ]);
    }
    app.print(&table.render(app.out));
    if conflicts.is_empty() && app.err.terminal {
        app.eprint(if undecided { "no conflict waits for a decision" } else { "no conflict is kept" });
    }
    Ok(())
}

fn settled(conflict: &StateConflict) -> (String, Option<Paint>) {
    let word = json!(conflict.settled).as_str().unwrap_or_default().replace('_', " ");
    let paint = if conflict.settled == Settlement::Undecided { Paint::Yellow } else { Paint::Cyan };
    (word, Some(paint))
}

pub(super) async fn conflict(app: &App, client: &Client, space: String, id: &str) -> Result<()> {
    let params = ConflictParams { space, conflict: id.parse()? };
    let found = client.call::<ShowConflict>(&params, &()).await?;
    if app.json {
        app.print_json(&found);
        return Ok(());
    }
    let mut text =
        format!("key      {}\npolicy   {}\nsettled  {}\n", found.key, found.policy.as_str(), settled(&found).0);
    for (place, one) in found.candidates.iter().enumerate() {
        let (what, version) = if place == 0 { ("stood", "version") } else { ("came", "had seen version") };
        let value = one.value.as_ref().map_or_else(|| "nothing".to_owned(), short);
        let by = writer(&one.writer);
        let by = if by.is_empty() { by } else { format!(" by {by}") };
        let _ = writeln!(text, "{place}        {what}: {value}, {version} {}{by} at {}", one.version, one.written_at);
    }
    if let Some(value) = &found.value {
        let _ = writeln!(text, "value    {}", short(value));
    }
    if let (Some(by), Some(at)) = (&found.decided_by, found.decided_at) {
        let comment = found.comment.as_deref().map(|comment| format!(": {comment}")).unwrap_or_default();
        let _ = writeln!(text, "decided  by {} at {at}{comment}", writer(by));
    }
    app.print(&text);
    Ok(())
}

pub(super) async fn decide(app: &App, client: &Client, args: StateDecideArgs) -> Result<()> {
    let value = args.value.map(|value| input::payload(&value, app.settings.folder())).transpose()?;
    let request = DecideConflictRequest {
        candidate: args.take,
        value: value.map(Into::into),
        by: args.decision.by.unwrap_or_else(user),
        comment: args.decision.comment,
    };
    let params = ConflictParams { space: args.space, conflict: args.conflict.parse()? };
    let decided = client.call::<DecideConflict>(&params, &request).await?;
    app.done(
        &json!({ "conflict": params.conflict, "version": decided.version, "by": request.by }),
        &format!("decided: the key has version {}", decided.version),
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_for_a_prefix_or_for_every_key() {
        let of = |text: &str| policy(text).map(|one| (one.prefix, one.policy)).map_err(|error| error.hint);
        assert_eq!(of("n/=counter"), Ok(("n/".to_owned(), MergePolicy::Counter)));
        assert_eq!(of("a=b=max"), Ok(("a=b".to_owned(), MergePolicy::Max)));
        assert_eq!(of("=map"), of("map"));
        let best = "write.current == null || write.incoming.n >= 2 ? write.incoming : write.current";
        for (typed, prefix) in [(format!("b/=expression:{best}"), "b/"), (format!("expression:{best}"), "")] {
            let one = policy(&typed).unwrap();
            assert_eq!(
                (one.prefix.as_str(), one.policy, one.merge.as_deref()),
                (prefix, MergePolicy::Expression, Some(best))
            );
        }
        assert!(of("n/=countre").unwrap_err().is_some_and(|hint| hint.contains("counter")));
    }
}
