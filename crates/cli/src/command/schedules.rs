//! `consort schedules`: what starts workflows and publishes events at planned instants.
//!
//! For: setting, showing, pausing, acting now and filling in. Not for: acting on events (see `triggers`).
//! Invariant: what a schedule could not do, or left out, is shown where the schedule is.

use consort_api::{
    Document, EmptyRequest, NoParams,
    schedules::{
        ActedInstant, BackfillRequest, BackfillSchedule, DeleteSchedule, InstantOutcome, ListSchedules, Overlap,
        PauseSchedule, ResumeSchedule, Schedule, ScheduleParams, ScheduleRequest, ScheduledEvent, ScheduledStart,
        SetSchedule, ShowSchedule, TriggerSchedule, TriggerScheduleRequest,
    },
};
use consort_types::{Code, Error, Result, Span, Time};
use serde_json::{Value, json};

use crate::{
    app::{App, Need},
    args::{ScheduleArgs, SchedulesCommand},
    client::Client,
    exit::Exit,
    input,
    show::{style::Paint, table::Table},
};

pub(crate) async fn execute(app: &App, command: SchedulesCommand) -> Result<Exit> {
    let need = if matches!(command, SchedulesCommand::Set(_)) { Need::Change } else { Need::Look };
    app.with_session(need, async |session| act(app, &session.client, command).await).await?;
    Ok(Exit::Ok)
}

async fn act(app: &App, client: &Client, command: SchedulesCommand) -> Result<()> {
    let of = |name: &str| ScheduleParams { name: name.to_owned() };
    match command {
        SchedulesCommand::Set(args) => set(app, client, *args).await,
        SchedulesCommand::List => list(app, client).await,
        SchedulesCommand::Show { name } => {
            show(app, &client.call::<ShowSchedule>(&of(&name), &()).await?);
            Ok(())
        }
        SchedulesCommand::Pause { name } => {
            client.call::<PauseSchedule>(&of(&name), &EmptyRequest {}).await?;
            app.done(&json!({ "name": name, "paused": true }), &format!("schedule `{name}` is paused"));
            Ok(())
        }
        SchedulesCommand::Resume { name } => {
            client.call::<ResumeSchedule>(&of(&name), &EmptyRequest {}).await?;
            app.done(&json!({ "name": name, "paused": false }), &format!("schedule `{name}` is resumed"));
            Ok(())
        }
        SchedulesCommand::Trigger { name, overlap } => trigger(app, client, &name, overlap.as_deref()).await,
        SchedulesCommand::Backfill { name, from, to, overlap } => {
            let (from, to) = (Time::parse_rfc3339(&from)?, Time::parse_rfc3339(&to)?);
            let request = BackfillRequest { from, to, overlap: overlap.as_deref().and_then(policy) };
            let filled = client.call::<BackfillSchedule>(&of(&name), &request).await?;
            app.done(&filled, &format!("schedule `{name}` acts on {} instants that have passed", filled.instants));
            Ok(())
        }
        SchedulesCommand::Delete { name } => {
            client.call::<DeleteSchedule>(&of(&name), &()).await?;
            app.done(&json!({ "name": name, "deleted": true }), &format!("schedule `{name}` is deleted"));
            Ok(())
        }
    }
}

/// The policy that a word names; the command line accepts no other word.
fn policy(word: &str) -> Option<Overlap> {
    serde_json::from_value(json!(word)).ok()
}

/// The word for a policy.
fn word(overlap: Option<Overlap>) -> String {
    json!(overlap).as_str().unwrap_or("skip").to_owned()
}

fn value(app: &App, typed: Option<String>) -> Result<Option<Value>> {
    typed.map(|text| input::payload(&text, app.settings.folder())).transpose()
}

fn document(what: &str, value: Option<Value>) -> Result<Option<Document>> {
    value.map(|value| Document::of(what, &value)).transpose()
}

fn start_of(app: &App, workflow: String, version: Option<String>, typed: Option<String>) -> Result<ScheduledStart> {
    let value = value(app, typed)?;
    if value.as_ref().is_some_and(|value| !value.is_object()) {
        return Err(Error::new(Code::BadRequest, "`--input` has no JSON object")
            .hint("a whole input is an object with a field for each input of the workflow"));
    }
    Ok(ScheduledStart { workflow, version, input: document("input", value)? })
}

async fn set(app: &App, client: &Client, args: ScheduleArgs) -> Result<()> {
    let span = |text: Option<String>| text.map(|text| text.parse::<Span>()).transpose();
    let start = args.start.map(|workflow| start_of(app, workflow, args.revision, args.input)).transpose()?;
    let data = document("data", value(app, args.data)?)?;
    let publish = args.publish.map(|kind| ScheduledEvent { kind, topic: args.topic, subject: args.subject, data });
    let request = ScheduleRequest {
        cron: args.cron,
        timezone: args.timezone,
        every: span(args.every)?,
        phase: span(args.phase)?,
        start,
        publish,
        overlap: args.overlap.as_deref().and_then(policy),
        catch_up: span(args.catch_up)?,
        jitter: span(args.jitter)?,
        until: args.until.as_deref().map(Time::parse_rfc3339).transpose()?,
        limit: args.limit,
        paused: args.paused,
    };
    let name = args.name;
    client.call::<SetSchedule>(&ScheduleParams { name: name.clone() }, &request).await?;
    let text = format!("schedule `{name}` {} {}", does(&request), times(&request));
    app.done(&json!({ "name": name }), &text);
    Ok(())
}

/// What a schedule does, in a few words.
fn does(settings: &ScheduleRequest) -> String {
    let starts = settings.start.as_ref().map(|start| format!("starts `{}`", start.workflow));
    let publishes = settings.publish.as_ref().map(|event| format!("publishes `{}`", event.kind));
    starts.or(publishes).unwrap_or_default()
}

/// When it does that, in a few words.
fn times(settings: &ScheduleRequest) -> String {
    match (&settings.cron, settings.every) {
        (Some(cron), _) => format!("at `{cron}` in {}", settings.timezone.as_deref().unwrap_or("UTC")),
        (None, Some(every)) => match settings.phase.filter(|phase| *phase > Span::ZERO) {
            Some(phase) => format!("every {every} with phase {phase}"),
            None => format!("every {every}"),
        },
        (None, None) => String::new(),
    }
}

fn state(found: &Schedule) -> &'static str {
    match (found.finished, found.paused) {
        (true, _) => "finished",
        (false, true) => "paused",
        (false, false) => "active",
    }
}

async fn trigger(app: &App, client: &Client, name: &str, overlap: Option<&str>) -> Result<()> {
    let request = TriggerScheduleRequest { overlap: overlap.and_then(policy) };
    let params = ScheduleParams { name: name.to_owned() };
    let triggered = client.call::<TriggerSchedule>(&params, &request).await?;
    let text = match (&triggered.outcome, triggered.run) {
        (_, Some(run)) => format!("schedule `{name}` has started run {run}"),
        (InstantOutcome::Published, _) => format!("schedule `{name}` has published an event"),
        (InstantOutcome::Waiting, _) => format!("schedule `{name}` acts at the end of its active run"),
        _ => format!("schedule `{name}` does nothing: a run is active; `--overlap allow` starts another"),
    };
    app.done(&triggered, &text);
    Ok(())
}

async fn list(app: &App, client: &Client) -> Result<()> {
    let all = client.call::<ListSchedules>(&NoParams {}, &()).await?.items;
    if app.json {
        app.print_lines(&all);
        return Ok(());
    }
    let heads = ["NAME", "TIMES", "DOES", "STATE", "NEXT", "DONE", "SKIPPED", "MISSED", "FAILED", "LAST ERROR"];
    let mut table = Table::new(&heads).spare(&["SKIPPED", "TIMES"]);
    for found in &all {
        let count = |count: u64, paint| (count.to_string(), Some(if count == 0 { Paint::Dim } else { paint }));
        let last = found.failures.last().map(|failure| format!("{} {}", failure.error.code, failure.error.message));
        let next = found.next.first().filter(|_| !found.paused).map(|next| next.due.to_string());
        table.row(vec![
            (found.name.clone(), Some(Paint::Bold)),
            (times(&found.settings), Some(Paint::Cyan)),
            (does(&found.settings), None),
            (state(found).to_owned(), None),
            (next.unwrap_or_default(), None),
            count(found.counts.done, Paint::Green),
            count(found.counts.skipped, Paint::Yellow),
            count(found.counts.missed, Paint::Yellow),
            count(found.counts.failed, Paint::Red),
            (last.unwrap_or_default(), Some(Paint::Red)),
        ]);
    }
    app.print(&table.render(app.out));
    if all.is_empty() && app.err.terminal {
        app.eprint("there is no schedule; `consort schedules set` makes one");
    }
    Ok(())
}

fn show(app: &App, found: &Schedule) {
    if app.json {
        app.print_json(found);
        return;
    }
    let (settings, counts) = (&found.settings, &found.counts);
    let span = |span: Option<Span>| span.unwrap_or_default().to_string();
    let mut rows = vec![
        ("name", found.name.clone()),
        ("times", times(settings)),
        ("does", does(settings)),
        ("state", state(found).to_owned()),
        ("created", found.created_at.to_string()),
        ("overlap", word(settings.overlap)),
        ("catch-up", span(settings.catch_up)),
        ("jitter", span(settings.jitter)),
    ];
    rows.extend(settings.until.map(|until| ("until", until.to_string())));
    rows.extend(settings.limit.map(|limit| ("limit", format!("{} of {limit}", found.spent))));
    let counted = [
        ("done", counts.done),
        ("skipped", counts.skipped),
        ("missed", counts.missed),
        ("failed", counts.failed),
        ("by hand", counts.by_hand),
        ("active", found.running.len() as u64),
        ("waiting", found.waiting.len() as u64),
        ("backfill", found.backfilling),
    ];
    rows.extend(counted.map(|(name, count)| (name, count.to_string())));
    rows.extend(found.next.iter().map(|next| ("next", next.due.to_string())));
    rows.extend(found.acted.iter().rev().map(|one| ("acted", acted(one))));
    rows.extend(
        found.failures.iter().rev().map(|failure| {
            ("failure", format!("{} {}: {}", failure.instant, failure.error.code, failure.error.message))
        }),
    );
    let lines = rows.iter().fold(String::new(), |text, (name, value)| text + &format!("{name:<9} {value}\n"));
    app.print(&crate::show::style::clean_lines(&lines));
}

fn acted(one: &ActedInstant) -> String {
    match (one.run, &one.status) {
        (Some(run), Some(status)) => format!("{} run {run} {status}", one.instant),
        (Some(run), None) => format!("{} run {run} deleted", one.instant),
        (None, _) => format!("{} event", one.instant),
    }
}
