//! `consort workflows deploy`, `list`, `versions`, `rollback`, `retire`, `delete`: what starts by name take.
//!
//! For: the life of deployed workflows, from their deployment to their deletion. Not for: files (see `workflows`), or
//! running them.
//! Invariant: whatever changes what a name takes says what it took before.

use consort_api::{
    NoParams, PageParams,
    operate::EmptyRequest,
    workflows::{
        DeleteWorkflow, DeployRequest, DeployWorkflow, Deployed, ListRevisions, ListWorkflows, ReplacedRevision,
        RetireWorkflow, Revision, RevisionsParams, RollBackRequest, RollBackWorkflow, WorkflowNameParams,
        WorkflowSummary,
    },
};
use consort_types::{Code, Error, Result, limits};
use serde_json::json;

use crate::{
    app::{App, Need, Session},
    exit::Exit,
    show::{
        style::{Paint, clean},
        table::Table,
        when,
    },
    source::{self, Source},
};

/// Digits of a content hash that people are shown.
const HASH_DIGITS: usize = 12;

pub(super) async fn deploy(app: &App, named: &str) -> Result<Exit> {
    let Some(source) = source::local(app, named)? else {
        return Err(source::missing(named, Error::new(Code::WorkflowNotFound, named)));
    };
    source::parse(app, &source)?;
    let request = DeployRequest { source: source.text };
    let deploy = async |session: &Session| session.client.call::<DeployWorkflow>(&NoParams {}, &request).await;
    let deployed = app.with_session(Need::Change, deploy).await?;
    let known = if deployed.new { "" } else { " (it was there already)" };
    print_taken(app, &deployed, known);
    Ok(Exit::Ok)
}

pub(super) async fn roll_back(app: &App, name: &str, to: Option<String>) -> Result<Exit> {
    let (params, request) = (WorkflowNameParams { name: name.to_owned() }, RollBackRequest { to });
    let call = async |session: &Session| session.client.call::<RollBackWorkflow>(&params, &request).await;
    let deployed = app.with_session(Need::Look, call).await?;
    print_taken(app, &deployed, if deployed.replaced.is_some() { "" } else { " (its name took it already)" });
    Ok(Exit::Ok)
}

/// Prints what a name takes now, and what it took before.
fn print_taken(app: &App, deployed: &Deployed, known: &str) {
    if app.json {
        app.print_json(&json!({ "name": deployed.name, "revision": deployed.revision, "hash": deployed.hash,
            "new": deployed.new, "replaced": deployed.replaced }));
        return;
    }
    let replaced = deployed.replaced.as_ref().map(|replaced| format!("; it replaces {}", replaced_text(replaced)));
    let (name, revision, hash) = (clean(&deployed.name), deployed.revision, short(&deployed.hash));
    app.print(&format!("{name} revision {revision} ({hash}){known}{}\n", replaced.unwrap_or_default()));
}

fn replaced_text(replaced: &ReplacedRevision) -> String {
    let version = replaced.version.as_ref().map(|version| format!(", version {}", clean(version)));
    let deployed = when::ago(replaced.deployed_at, when::now());
    format!(
        "revision {} ({}{}), deployed {deployed}",
        replaced.revision,
        short(&replaced.hash),
        version.unwrap_or_default()
    )
}

fn short(hash: &str) -> &str {
    hash.get(..HASH_DIGITS).unwrap_or(hash)
}

pub(super) async fn retire(app: &App, name: &str) -> Result<Exit> {
    let params = WorkflowNameParams { name: name.to_owned() };
    let call = async |session: &Session| session.client.call::<RetireWorkflow>(&params, &EmptyRequest {}).await;
    app.with_session(Need::Look, call).await?;
    app.eprint(&format!("{} takes no new starts; runs in flight continue", clean(name)));
    Ok(Exit::Ok)
}

pub(super) async fn delete(app: &App, name: &str) -> Result<Exit> {
    let params = WorkflowNameParams { name: name.to_owned() };
    let call = async |session: &Session| session.client.call::<DeleteWorkflow>(&params, &()).await;
    app.with_session(Need::Look, call).await?;
    app.eprint(&format!("{} is deleted", clean(name)));
    Ok(Exit::Ok)
}

pub(super) async fn versions(app: &App, name: &str) -> Result<Exit> {
    let page = |cursor| RevisionsParams { name: name.to_owned(), cursor, limit: Some(limits::PAGE_ITEMS_MAX) };
    let list = async |session: &Session| session.client.all::<ListRevisions, _>(page).await;
    let revisions: Vec<Revision> = app.with_session(Need::Look, list).await?;
    if app.json {
        app.print_lines(&revisions);
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(&["REVISION", "BY NAME", "VERSION", "HASH", "DEPLOYED", "ACTIVE RUNS", "WHAT IT DOES"])
        .spare(&["WHAT IT DOES", "VERSION"]);
    let now = when::now();
    for one in revisions {
        table.row(vec![
            (one.revision.to_string(), Some(Paint::Bold)),
            (if one.current { "this one" } else { "" }.to_owned(), Some(Paint::Green)),
            (one.version.unwrap_or_default(), None),
            (short(&one.hash).to_owned(), None),
            (when::ago(one.deployed_at, now), None),
            (one.runs_active.to_string(), None),
            (one.description, Some(Paint::Dim)),
        ]);
    }
    app.print(&table.render(app.out));
    Ok(Exit::Ok)
}

/// The workflows that were deployed; none where there is no data folder yet.
async fn deployed(app: &App) -> Result<Vec<WorkflowSummary>> {
    let page = |cursor| PageParams { cursor, limit: Some(limits::PAGE_ITEMS_MAX) };
    let list = async |session: &Session| session.client.all::<ListWorkflows, _>(page).await;
    match app.with_session(Need::Look, list).await {
        Err(error) if error.code == Code::FolderNotFound => Ok(Vec::new()),
        listed => listed,
    }
}

/// A line of the list.
struct Listed {
    name: String,
    place: String,
    /// Where it is deployed.
    deployed: Option<WorkflowSummary>,
    what: String,
    /// Whether `consort run NAME` takes this one.
    taken: bool,
}

impl Listed {
    /// One that lies on this machine.
    fn local(name: &str, place: &str, what: &str, taken: bool) -> Self {
        let (name, place, what) = (name.to_owned(), place.to_owned(), what.to_owned());
        Self { name, place, deployed: None, what, taken }
    }

    /// What takes it.
    fn taken_by(&self) -> &'static str {
        match (&self.deployed, self.taken) {
            (Some(found), _) if found.retired_at.is_some() => "nothing: retired",
            (Some(_), true) => "starts, `consort run`",
            (Some(_), false) => "starts",
            (None, true) => "`consort run`",
            (None, false) => "",
        }
    }

    fn revision(&self) -> String {
        let Some(found) = &self.deployed else { return String::new() };
        if found.revision == found.newest {
            return found.revision.to_string();
        }
        format!("{} of {}", found.revision, found.newest)
    }
}

pub(super) async fn list(app: &App) -> Result<Exit> {
    let mut all = local_workflows(app)?;
    for found in deployed(app).await? {
        let near = source::local(app, &found.name)?;
        let same = |near: &Source| {
            consort_workflow_check::check(&near.text)
                .is_ok_and(|checked| checked.compiled.hash().to_string() == found.hash)
        };
        let place = match &near {
            None => "deployed",
            Some(near) if same(near) => "deployed, the same",
            Some(_) => "deployed, another text",
        };
        all.push(Listed {
            name: found.name.clone(),
            place: place.to_owned(),
            what: found.description.clone(),
            taken: near.is_none(),
            deployed: Some(found),
        });
    }
    if app.json {
        for one in all {
            // The place is the word alone: programs compare the texts by themselves.
            let place = if one.deployed.is_some() { "deployed" } else { &one.place };
            let found = one.deployed.as_ref();
            app.print_line(&json!({ "name": one.name, "where": place, "description": one.what, "by_name": one.taken,
                "revision": found.map(|found| found.revision), "newest": found.map(|found| found.newest),
                "version": found.and_then(|found| found.version.as_ref()), "hash": found.map(|found| &found.hash),
                "retired_at": found.and_then(|found| found.retired_at) }));
        }
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(&["WORKFLOW", "WHERE", "TAKEN BY", "REVISION", "VERSION", "DEPLOYED", "WHAT IT DOES"])
        .spare(&["WHAT IT DOES", "VERSION", "DEPLOYED", "REVISION"]);
    let now = when::now();
    for one in all {
        let found = one.deployed.as_ref();
        table.row(vec![
            (one.name.clone(), Some(Paint::Bold)),
            (one.place.clone(), None),
            (one.taken_by().to_owned(), Some(Paint::Green)),
            (one.revision(), None),
            (found.and_then(|found| found.version.clone()).unwrap_or_default(), None),
            (found.map(|found| when::ago(found.deployed_at, now)).unwrap_or_default(), None),
            (one.what, Some(Paint::Dim)),
        ]);
    }
    app.print(&table.render(app.out));
    Ok(Exit::Ok)
}

/// The workflows of the project and those that ship.
fn local_workflows(app: &App) -> Result<Vec<Listed>> {
    let mut all = Vec::new();
    for file in source::project_files(app).unwrap_or_default() {
        let source = source::local(app, &file)?;
        let known = source.as_ref().and_then(|source| consort_workflow_check::check(&source.text).ok());
        let (name, what) = match &known {
            Some(known) => (known.definition.name.as_str(), known.definition.description.as_str()),
            None => (file.as_str(), "has errors: `consort workflows check`"),
        };
        let near = source::project_file(app, name);
        let taken = near.is_some_and(|near| source::shortened(&near, app.settings.folder()) == file);
        all.push(Listed::local(name, &file, what, taken));
    }
    for shipped in consort_server::SHIPPED {
        let what = consort_workflow_check::check(shipped.source)
            .map(|checked| checked.definition.description)
            .unwrap_or_default();
        let taken = source::project_file(app, shipped.name).is_none();
        all.push(Listed::local(shipped.name, "shipped", &what, taken));
    }
    Ok(all)
}
