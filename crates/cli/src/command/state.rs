//! `consort state`: what agents share.
//!
//! For: reading, writing and following keys. Not for: spaces and conflicts (see `spaces`), or what a write comes to.
//! Invariant: a value goes to standard output as it is kept; what is said about it goes to standard error.

use consort_api::{
    NoParams,
    state::{
        DeleteState, DeleteStateParams, GetState, GetStateParams, ListState, ListStateParams, PutState,
        PutStateRequest, StateChange, StateEvent, StateFence, StateHistory, StateHistoryParams, StateKeyParams,
        StateResult, StateValue, TransactState, WatchState, WatchStateParams,
    },
};
use consort_types::{Code, Error, Result, Span, limits, state::WriteOutcome};
use serde_json::Value;

use super::{decide::user, spaces};
use crate::{
    app::{App, Need},
    args::{PutArgs, StateCommand, StateKeyArgs},
    client::Client,
    exit::Exit,
    input,
    reach::Retries,
    show::{
        state::{line, short, writer},
        style::Paint,
        table::Table,
        when,
    },
    signals::Signals,
};

pub(crate) async fn execute(app: &App, command: StateCommand) -> Result<Exit> {
    let need = match command {
        StateCommand::Put(_)
        | StateCommand::Delete { .. }
        | StateCommand::Transact { .. }
        | StateCommand::Set(_)
        | StateCommand::Drop { .. }
        | StateCommand::Decide(_) => Need::Change,
        _ => Need::Look,
    };
    let mut signals = Signals::install()?;
    app.with_session(need, async |session| {
        let client = &session.client;
        tokio::select! {
            done = dispatch(app, client, command) => done.map(|()| Exit::Ok),
            exit = signals.next() => Ok(exit),
        }
    })
    .await
}

async fn dispatch(app: &App, client: &Client, command: StateCommand) -> Result<()> {
    match command {
        StateCommand::Get { key, at } => get(app, client, key, at).await,
        StateCommand::Put(args) => put(app, client, args).await,
        StateCommand::Delete { key, seen, writer } => {
            let params = DeleteStateParams {
                space: key.space,
                key: key.key,
                version: seen,
                by: Some(writer.by.unwrap_or_else(user)),
            };
            report(app, &client.call::<DeleteState>(&params, &()).await?);
            Ok(())
        }
        StateCommand::List { space, prefix } => list(app, client, space, prefix).await,
        StateCommand::History { key } => history(app, client, key).await,
        StateCommand::Watch { space, prefix, after } => watch(app, client, space, prefix, after).await,
        #[cfg(feature = "mirror")]
        StateCommand::Mirror(_) => unreachable!("a mirror is a command of its own: `execute` has it"),
        StateCommand::Transact { file } => transact(app, client, &file).await,
        StateCommand::Spaces { space: None } => spaces::list(app, client).await,
        StateCommand::Spaces { space: Some(space) } => spaces::show(app, client, space).await,
        StateCommand::Set(args) => spaces::set(app, client, args).await,
        StateCommand::Drop { space } => spaces::drop_space(app, client, space).await,
        StateCommand::Conflicts { space, conflict: None, undecided } => {
            spaces::conflicts(app, client, space, undecided).await
        }
        StateCommand::Conflicts { space, conflict: Some(conflict), .. } => {
            spaces::conflict(app, client, space, &conflict).await
        }
        StateCommand::Decide(args) => spaces::decide(app, client, args).await,
    }
}

async fn get(app: &App, client: &Client, key: StateKeyArgs, at: Option<u64>) -> Result<()> {
    let params = GetStateParams { space: key.space, key: key.key, version: at };
    let found = client.call::<GetState>(&params, &()).await?;
    if app.json {
        app.print_json(&found);
        return Ok(());
    }
    app.print(&format!("{}\n", line(&found.value)));
    if app.err.terminal {
        app.eprint(&about(&found));
    }
    if let Some(conflict) = found.conflict {
        let beside: Vec<String> = found.siblings.iter().filter_map(|one| one.value.as_ref()).map(short).collect();
        app.eprint(&format!(
            "warning: undecided, beside {}; `consort state decide {} {conflict} --take N` decides",
            beside.join(" and "),
            params.space
        ));
    }
    Ok(())
}

/// What is known of a value, in a line.
fn about(found: &StateValue) -> String {
    let by = writer(&found.writer);
    let by = if by.is_empty() { by } else { format!(" by {by}") };
    let expires = found.expires_at.map(|at| format!(", expires {at}")).unwrap_or_default();
    format!("version {}, written {}{by}{expires}", found.version, when::ago(found.written_at, when::now()))
}

async fn put(app: &App, client: &Client, args: PutArgs) -> Result<()> {
    let value = input::payload(&args.value, app.settings.folder())?;
    let base = args.base.map(|base| input::payload(&base, app.settings.folder())).transpose()?;
    let request = PutStateRequest {
        value: value.into(),
        version: if args.new { Some(0) } else { args.seen },
        ttl: args.ttl.as_deref().map(str::parse::<Span>).transpose()?,
        stamp: None,
        base: base.map(Into::into),
        fence: args.fence.iter().map(|text| fence(text)).collect::<Result<_>>()?,
        by: Some(args.writer.by.unwrap_or_else(user)),
    };
    let params = StateKeyParams { space: args.key.space, key: args.key.key };
    report(app, &client.call::<PutState>(&params, &request).await?);
    Ok(())
}

/// A grant of a lock as typed: `LOCK=TOKEN`.
fn fence(text: &str) -> Result<StateFence> {
    let parts = text.rsplit_once('=').and_then(|(lock, token)| Some((lock, token.parse().ok()?)));
    let (lock, token) = parts.ok_or_else(|| {
        Error::new(Code::BadRequest, format!("`{text}` names no grant of a lock"))
            .hint("write the lock and its token, such as `leader=17`; `consort locks show` has both")
    })?;
    Ok(StateFence { lock: lock.to_owned(), token })
}

/// The outcome of a write.
fn report(app: &App, result: &StateResult) {
    app.done(result, &sentence(result));
}

fn sentence(result: &StateResult) -> String {
    let StateResult { key, version, value, .. } = result;
    let now = value.as_ref().map(|value| format!(" and is {}", short(value))).unwrap_or_default();
    match result.outcome {
        WriteOutcome::Written => format!("{key} has version {version}"),
        WriteOutcome::Merged => format!("{key} was merged, has version {version}{now}"),
        WriteOutcome::Superseded => format!("{key} keeps version {version}{now}"),
        WriteOutcome::Undecided => format!(
            "{key} has version {version}, and both values until it is decided (conflict {})",
            result.conflict.map(|conflict| conflict.to_string()).unwrap_or_default()
        ),
        WriteOutcome::Deleted => format!("{key} is deleted"),
        WriteOutcome::Absent => format!("{key} has no value"),
        WriteOutcome::Read => format!("{key} has version {version}{now}"),
        WriteOutcome::Rejected => format!("{key} was not written"),
    }
}

async fn list(app: &App, client: &Client, space: String, prefix: Option<String>) -> Result<()> {
    let mut params = ListStateParams { space, prefix, cursor: None, limit: Some(limits::PAGE_ITEMS_MAX) };
    let mut items = Vec::new();
    let position = loop {
        let page = client.call::<ListState>(&params, &()).await?;
        if app.json {
            app.print_lines(&page.items);
        } else {
            items.extend(page.items);
        }
        params.cursor = page.next;
        if params.cursor.is_none() {
            break page.position;
        }
    };
    if app.json {
        return Ok(());
    }
    let mut table =
        Table::new(&["KEY", "VERSION", "WRITTEN", "BY", "EXPIRES", "VALUE"]).spare(&["EXPIRES", "BY", "WRITTEN"]);
    for item in &items {
        table.row(vec![
            (item.key.clone(), Some(Paint::Bold)),
            (item.version.to_string(), None),
            (when::ago(item.written_at, when::now()), Some(Paint::Dim)),
            (writer(&item.writer), None),
            (item.expires_at.map(|at| at.to_string()).unwrap_or_default(), Some(Paint::Dim)),
            (short(&item.value), item.conflict.map(|_| Paint::Yellow)),
        ]);
    }
    app.print(&table.render(app.out));
    if app.err.terminal {
        app.eprint(&format!("{} keys; `--after {position}` watches from here", items.len()));
    }
    Ok(())
}

async fn history(app: &App, client: &Client, key: StateKeyArgs) -> Result<()> {
    let (space, key) = (key.space, key.key);
    let params = |cursor| StateHistoryParams {
        space: space.clone(),
        key: key.clone(),
        cursor,
        limit: Some(limits::PAGE_ITEMS_MAX),
    };
    let changes = client.all::<StateHistory, _>(params).await?;
    if app.json {
        app.print_lines(&changes);
        return Ok(());
    }
    let mut table = Table::new(&["VERSION", "CHANGE", "AT", "BY", "VALUE"]).spare(&["BY", "AT"]);
    for change in &changes {
        table.row(vec![
            (change.version.to_string(), None),
            (kind(change), Some(Paint::Cyan)),
            (change.at.to_string(), Some(Paint::Dim)),
            (writer(&change.writer), None),
            (change.value.as_ref().map(short).unwrap_or_default(), None),
        ]);
    }
    app.print(&table.render(app.out));
    Ok(())
}

fn kind(change: &StateChange) -> String {
    serde_json::to_value(&change.change).ok().and_then(|kind| kind.as_str().map(str::to_owned)).unwrap_or_default()
}

async fn watch(app: &App, client: &Client, space: String, prefix: Option<String>, after: Option<String>) -> Result<()> {
    let mut params = WatchStateParams { space, prefix, after, last_event_id: None };
    if params.after.is_none() {
        // From here on nothing is lost, also where the connection is before the first change.
        let page = ListStateParams { space: params.space.clone(), prefix: None, cursor: None, limit: Some(1) };
        params.after = Some(client.call::<ListState>(&page, &()).await?.position.to_string());
    }
    let mut retries = Retries::default();
    loop {
        let error = match stream(app, client, &mut params, &mut retries).await {
            Ok(()) => {
                Error::new(Code::Unreachable, format!("the server has ended the stream of space `{}`", params.space))
                    .hint("is it still running? `consort state watch --after` continues behind the last position")
            }
            Err(error) => error,
        };
        retries.after(error).await?;
    }
}

/// Follows over one connection; the next one begins behind the last change.
async fn stream(app: &App, client: &Client, params: &mut WatchStateParams, retries: &mut Retries) -> Result<()> {
    let mut events = client.events::<WatchState>(params).await?;
    while let Some(event) = events.next().await? {
        retries.reached();
        match event.what {
            StateEvent::Change(change) => {
                params.after = Some(change.position.to_string());
                show_change(app, &change);
            }
            StateEvent::Error(problem) => return Err(problem.into()),
        }
    }
    Ok(())
}

fn show_change(app: &App, change: &StateChange) {
    if app.json {
        app.print_line(change);
        return;
    }
    let value = change.value.as_ref().map(short).unwrap_or_default();
    app.print(&format!("{}  {} {} {value}\n", change.position, kind(change), change.key));
}

async fn transact(app: &App, client: &Client, file: &str) -> Result<()> {
    let text = input::read_text(file.strip_prefix('@').unwrap_or(file), app.settings.folder())?;
    let request = serde_json::from_str(&text).map_err(|error| {
        Error::new(Code::BadJson, format!("the transaction cannot be read: {error}"))
            .hint(r#"such as {"if": [{"space": "s", "key": "k", "exists": false}], "do": [{"op": "put", "space": "s", "key": "k", "value": 1}]}"#)
    })?;
    let done = client.call::<TransactState>(&NoParams {}, &request).await?;
    if app.json {
        app.print_json(&done);
        return Ok(());
    }
    let held = if done.succeeded { "held" } else { "did not hold" };
    app.eprint(&format!("version {}: the conditions {held}", done.version));
    for result in &done.results {
        let value = result.value.as_ref().map_or(Value::Null.to_string(), line);
        match result.outcome {
            WriteOutcome::Read => app.print(&format!("{} {} {value}\n", result.key, result.version)),
            _ => app.eprint(&sentence(result)),
        }
    }
    Ok(())
}
