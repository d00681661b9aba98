//! Where the text of a workflow comes from.
//!
//! For: a file, the project's folder, the shipped ones, or the server. Not for: checking it.
//! Invariant: what lies nearer goes first: a file that is named, then the project's, then a shipped one, then a
//! deployed one.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use consort_api::workflows::{ShowWorkflow, WorkflowParams};
use consort_types::{Code, Error, Result, limits};
use consort_workflow::Definition;
use consort_workflow_check::{Checked, check};

use crate::{app::App, client::Client};

/// A workflow's text with the name that diagnostics show.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) shown: String,
    pub(crate) text: String,
    /// The folder in which it lies, where it is a file.
    folder: Option<PathBuf>,
    /// The revision, where it is a deployed one.
    pub(crate) revision: Option<u32>,
}

/// The folder of a project's workflows.
pub(crate) fn project_folder(app: &App) -> PathBuf {
    app.settings.root().join("workflows")
}

/// The files of the project's folder, by name.
pub(crate) fn project_files(app: &App) -> Result<Vec<String>> {
    let folder = project_folder(app);
    let refused = |error: std::io::Error| {
        Error::new(Code::WorkflowNotFound, format!("`{}` cannot be read: {error}", folder.display()))
            .hint("name the files to check")
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(refused)? {
        let path = entry.map_err(refused)?.path();
        if path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml") {
            files.push(shortened(&path, app.settings.folder()));
        }
    }
    files.sort();
    Ok(files)
}

/// The path from the current folder, where it lies below; with a `/` in it, so that it is taken for a path.
pub(crate) fn shortened(path: &Path, folder: &Path) -> String {
    let short = path.strip_prefix(folder).unwrap_or(path);
    short.display().to_string()
}

/// The file of the project's folder that a name takes.
pub(crate) fn project_file(app: &App, named: &str) -> Option<PathBuf> {
    let paths = ["yaml", "yml"].map(|ending| project_folder(app).join(format!("{named}.{ending}")));
    paths.into_iter().find(|path| path.is_file())
}

/// The workflow that was named, where it lies on this machine; `None` where only a server may know it.
pub(crate) fn local(app: &App, named: &str) -> Result<Option<Source>> {
    let ending = Path::new(named).extension().and_then(|ending| ending.to_str());
    if named.contains('/') || matches!(ending, Some("yaml" | "yml")) {
        return read(Path::new(named)).map(Some);
    }
    if let Some(path) = project_file(app, named) {
        return read(&path).map(Some);
    }
    let shipped = consort_server::shipped(named);
    Ok(shipped.map(|found| Source {
        shown: format!("{named}.yaml (shipped)"),
        text: found.source.to_owned(),
        folder: None,
        revision: None,
    }))
}

/// The workflows that one on this machine calls by name, and they in turn, where they lie beside it, in the project's
/// folder, or ship. The names of the others mean what is deployed.
pub(crate) fn children(app: &App, source: &Source, own: &Definition) -> Result<Vec<(Source, Definition)>> {
    let mut seen = BTreeSet::from([own.name.clone()]);
    let mut found: Vec<(Source, Definition)> = Vec::new();
    let mut open: Vec<(Option<PathBuf>, String)> = called(source, own);
    while let Some((folder, name)) = open.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        let Some(child) = beside(app, folder.as_deref(), &name)? else { continue };
        let definition = parse(app, &child)?.definition;
        open.extend(called(&child, &definition));
        found.push((child, definition));
    }
    Ok(found)
}

fn called(source: &Source, definition: &Definition) -> Vec<(Option<PathBuf>, String)> {
    definition.called_by_name().map(|name| (source.folder.clone(), name.to_owned())).collect()
}

/// The workflow of this name that lies nearest to a file in `folder`; a file whose workflow has another name is none.
fn beside(app: &App, folder: Option<&Path>, name: &str) -> Result<Option<Source>> {
    let near = |folder: &Path| ["yaml", "yml"].map(|ending| folder.join(format!("{name}.{ending}")));
    for path in folder.into_iter().flat_map(near).filter(|path| path.is_file()) {
        let source = read(&path)?;
        // One with mistakes is reported where it is parsed.
        if check(&source.text).map_or(true, |checked| checked.definition.name == name) {
            return Ok(Some(source));
        }
    }
    Ok(local(app, name)?.filter(|source| check(&source.text).map_or(true, |checked| checked.definition.name == name)))
}

/// The workflow that was named, wherever it is.
pub(crate) async fn anywhere(app: &App, client: &Client, named: &str) -> Result<Source> {
    if let Some(source) = local(app, named)? {
        return Ok(source);
    }
    let workflow = WorkflowParams { name: named.to_owned(), version: None };
    let found = client.call::<ShowWorkflow>(&workflow, &()).await.map_err(|error| missing(named, error))?;
    let (shown, revision) = (format!("{named}.yaml (deployed)"), Some(found.revision));
    Ok(Source { shown, text: found.source, folder: None, revision })
}

/// The error that lists the searched places.
pub(crate) fn missing(named: &str, error: Error) -> Error {
    if error.code != Code::WorkflowNotFound {
        return error;
    }
    let shipped: Vec<&str> = consort_server::SHIPPED.iter().map(|workflow| workflow.name).collect();
    Error::new(Code::WorkflowNotFound, format!("there is no workflow `{named}`: no file, none shipped, none deployed"))
        .hint(format!("name a file such as `./{named}.yaml`, or one that ships: {}", shipped.join(", ")))
}

fn read(path: &Path) -> Result<Source> {
    let shown = path.display().to_string();
    let unreadable = |error: std::io::Error| {
        Error::new(Code::WorkflowNotFound, format!("`{shown}` cannot be read: {error}"))
            .hint("`consort workflows list` shows what can be run")
    };
    let about = std::fs::metadata(path).map_err(unreadable)?;
    let max = limits::WORKFLOW_BYTES_MAX;
    if about.len() > max as u64 {
        return Err(Error::new(Code::LimitReached, format!("`{shown}` has {} bytes, the limit is {max}", about.len()))
            .hint("split it into child workflows"));
    }
    let bytes = std::fs::read(path).map_err(unreadable)?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let found = encoding_of(error.as_bytes());
        Error::new(Code::BadWorkflow, format!("`{shown}` is no text in UTF-8: it looks like {found}"))
            .hint("save it as UTF-8; in PowerShell `>` writes UTF-16, and `Out-File -Encoding utf8` does not")
    })?;
    Ok(Source { shown, text, folder: path.parent().map(Path::to_owned), revision: None })
}

/// What bytes that are not UTF-8 most likely are.
fn encoding_of(bytes: &[u8]) -> &'static str {
    match bytes {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "UTF-16",
        _ if bytes.contains(&0) => "a binary file",
        _ => "Latin-1, or another encoding with one byte for each letter",
    }
}

/// The checked workflow; where it has errors, all of them are printed, and the returned error has their number.
pub(crate) fn parse(app: &App, source: &Source) -> Result<Checked> {
    check(&source.text).map_err(|found| {
        app.eprint(&found.render(&source.shown, &source.text, app.err.color));
        app.eprint("");
        let count = found.0.len();
        let what = if count == 1 { "an error".to_owned() } else { format!("{count} errors") };
        Error::new(Code::BadWorkflow, format!("`{}` has {what}", source.shown))
    })
}
