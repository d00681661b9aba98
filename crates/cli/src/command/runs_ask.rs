//! Asking running code: `runs query` and `runs update`.
//!
//! For: exposed values, and updates with their answers. Not for: signals, which are not answered (see `runs`).
//! Invariant: on stdout there is the value or the answer alone; an update without an answer is no success.

use consort_api::beside::{
    ExposedValue, QueryRun, QueryValue, ShowUpdate, ShowUpdateParams, Update, UpdateParams, UpdateRun, UpdateState,
    ValueParams,
};
use consort_api::runs::RunParams;
use consort_types::{Result, RunId, Span};
use serde_json::{Value, json};

use super::{decide, outcome};
use crate::{
    app::{App, Session},
    args::UpdateArgs,
    client::Client,
    exit::Exit,
    input, select,
    show::{
        style::{Paint, clean, cut},
        table::Table,
        when,
    },
};

/// The longest wait of one request.
const WAIT_MAX: Span = Span::from_secs(60);
/// Columns of a value in the listing.
const VALUE_COLUMNS: usize = 80;

/// The values that the code of a run exposes, or one of them.
pub(crate) async fn query(app: &App, client: &Client, run: RunId, name: Option<String>) -> Result<()> {
    if let Some(name) = name {
        let value: Value = client.call::<QueryValue>(&ValueParams { run, name }, &()).await?.read("value")?;
        if app.json {
            app.print_json(&value);
        } else {
            outcome::print(app, &value);
        }
        return Ok(());
    }
    let values = client.call::<QueryRun>(&RunParams { run }, &()).await?.items;
    if app.json {
        app.print_lines(&values);
    } else if values.is_empty() {
        app.eprint("the code of the run has exposed no values so far");
    } else {
        app.print(&table(&values).render(app.out));
    }
    Ok(())
}

fn table(values: &[ExposedValue]) -> Table {
    let mut table = Table::new(&["NAME", "STEP", "SINCE", "VALUE"]).spare(&["STEP", "SINCE"]);
    for value in values {
        table.row(vec![
            (value.name.clone(), Some(Paint::Bold)),
            (value.step.clone(), Some(Paint::Dim)),
            (when::ago(value.at, when::now()), Some(Paint::Dim)),
            (cut(&clean(&json!(value.value).to_string()), VALUE_COLUMNS), None),
        ]);
    }
    table
}

/// Sends an update, and prints what the code answers.
pub(crate) async fn update(app: &App, session: &Session, args: UpdateArgs) -> Result<Exit> {
    let UpdateArgs { run, name, input, id, wait: mut left } = args;
    let run = select::run(&session.client, &run).await?;
    let input = input::payload(&input, app.settings.folder())?;
    // Where this process hosts the engine for the command alone, no code runs meanwhile.
    if session.server().is_some() {
        left = Span::ZERO;
    }
    let first = Span(left.0.min(WAIT_MAX.0));
    left = Span(left.0 - first.0);
    let wait = (first > Span::ZERO).then_some(first);
    let mut update = session.client.call::<UpdateRun>(&UpdateParams { run, name, id, wait }, &input.into()).await?;
    if let Some(warning) = &update.warning {
        app.eprint(&format!("warning: {}", clean(warning)));
    }
    while left > Span::ZERO && !update.state.is_settled() {
        let next = Span(left.0.min(WAIT_MAX.0));
        left = Span(left.0 - next.0);
        let params = ShowUpdateParams { run, id: update.id.clone(), wait: Some(next) };
        update = session.client.call::<ShowUpdate>(&params, &()).await?;
    }
    let exit = report(app, run, &update)?;
    decide::hint_idle(app, session);
    Ok(exit)
}

fn report(app: &App, run: RunId, update: &Update) -> Result<Exit> {
    if app.json {
        app.print_json(update);
    } else if let Some(value) = &update.value {
        outcome::print(app, &value.read::<Value>("answer")?);
    }
    if let Some(error) = &update.error {
        if !app.json {
            app.eprint(&format!(
                "{}: {}",
                app.err.paint(Paint::Red, &format!("error[{}]", error.code)),
                clean(&error.message)
            ));
        }
        return Ok(Exit::Failure);
    }
    if update.state == UpdateState::Answered {
        return Ok(Exit::Ok);
    }
    app.eprint(&format!(
        "update `{}` of run {run} is {}: the same command with `--id {}` waits for its answer",
        clean(&update.name),
        update.state.as_str(),
        clean(&update.id)
    ));
    Ok(Exit::Unavailable)
}
