//! `consort init`: a starter project that works at once.
//!
//! For: the first minutes. Not for: changing a project that is there.
//! Invariant: nothing is overwritten: either every file is new, or none is written.

use std::path::Path;

use consort_server::settings::PROJECT_FILE;
use consort_types::{Code, Error, Result};
use serde_json::json;

use crate::{app::App, args::Example, exit::Exit};

const PROJECT: &str = "# Settings of this project; `consort config show --origin` prints all of them.
# Each can also be given as a flag or as an environment variable, such as CONSORT_LOG.

# data-dir = \".consort\"
# concurrency = 8

# What `consort dev` starts beside the server, and starts again when files change.
";

/// Editors with the YAML language server find the schema by the first line.
const SCHEMA_LINE: &str = "# yaml-language-server: $schema=../.consort-schema.json\n";
const SCHEMA_FILE: &str = ".consort-schema.json";
const IGNORED: &str = "/.consort/\n/agent/.venv/\n/agent/node_modules/\n/agent/build/\n/agent/target/\n__pycache__/\n";

/// A starter of an agent, in the folder `agent` of the project.
pub(crate) struct Starter {
    files: &'static [(&'static str, &'static str)],
    /// What is done next, in that folder.
    next: &'static str,
    /// The command by which `consort dev` starts it.
    worker: &'static str,
}

/// The agent of a starter project in Python.
pub(crate) const PYTHON: Starter = Starter {
    files: &[
        ("agent/worker.py", include_str!("../../starters/python/worker.py")),
        ("agent/test_worker.py", include_str!("../../starters/python/test_worker.py")),
        ("agent/requirements.txt", include_str!("../../starters/python/requirements.txt")),
    ],
    next: "pip install PATH/TO/consort/sdks/python; python -m unittest",
    worker: "python agent/worker.py",
};

/// The agent of a starter project in TypeScript.
pub(crate) const TYPESCRIPT: Starter = Starter {
    files: &[
        ("agent/package.json", include_str!("../../starters/typescript/package.json")),
        ("agent/tsconfig.json", include_str!("../../starters/typescript/tsconfig.json")),
        ("agent/src/worker.ts", include_str!("../../starters/typescript/src/worker.ts")),
        ("agent/src/main.ts", include_str!("../../starters/typescript/src/main.ts")),
        ("agent/src/worker.test.ts", include_str!("../../starters/typescript/src/worker.test.ts")),
    ],
    next: "npm install PATH/TO/consort/sdks/typescript; npm test",
    worker: "npm --prefix agent start",
};

/// The agent of a starter project in Rust.
pub(crate) const RUST: Starter = Starter {
    files: &[
        ("agent/Cargo.toml", include_str!("../../starters/rust/Cargo.toml")),
        ("agent/src/worker.rs", include_str!("../../starters/rust/src/worker.rs")),
        ("agent/src/main.rs", include_str!("../../starters/rust/src/main.rs")),
    ],
    next: "cargo add consort-sdk --path PATH/TO/consort/crates/sdk; cargo test",
    worker: "cargo run --manifest-path agent/Cargo.toml",
};

const HELLO_TEST: &str = include_str!("../../starters/hello.test.yaml");
const SUMMARY_TEST: &str = include_str!("../../starters/summary.test.yaml");
const SUMMARY: &str = include_str!("../../starters/summary.yaml");

pub(crate) fn execute(app: &App, folder: &str, example: Option<Example>, starter: Option<&Starter>) -> Result<Exit> {
    let root = app.settings.folder().join(folder);
    let hello = consort_server::shipped("hello").map(|shipped| shipped.source).unwrap_or_default();
    let mut files = vec![
        (PROJECT_FILE.to_owned(), project(starter)),
        ("workflows/hello.yaml".to_owned(), format!("{SCHEMA_LINE}{hello}")),
        ("tests/hello.test.yaml".to_owned(), HELLO_TEST.to_owned()),
        (SCHEMA_FILE.to_owned(), format!("{:#}\n", consort_workflow_check::language_schema())),
        (".gitignore".to_owned(), IGNORED.to_owned()),
    ];
    if example == Some(Example::Tour) {
        // Beside the project's own: one of them is broken on purpose.
        let tour = consort_server::TOUR.iter();
        files.extend(tour.map(|workflow| (format!("{}.yaml", workflow.name), workflow.source.to_owned())));
    }
    if let Some(starter) = starter {
        files.push(("workflows/summary.yaml".to_owned(), format!("{SCHEMA_LINE}{SUMMARY}")));
        files.push(("tests/summary.test.yaml".to_owned(), SUMMARY_TEST.to_owned()));
        files.extend(starter.files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())));
    }
    // A project under version control has its own list of what is ignored.
    let wanted: Vec<_> =
        files.into_iter().filter(|(name, _)| name != ".gitignore" || !root.join(name).exists()).collect();
    if let Some((name, _)) = wanted.iter().find(|(name, _)| root.join(name).exists()) {
        let message = format!("`{}` is there already", root.join(name).display());
        return Err(Error::new(Code::FileExists, message).hint("choose another folder: `consort init FOLDER`"));
    }
    for (name, text) in &wanted {
        write(&root.join(name), text)?;
    }
    let names: Vec<&str> = wanted.iter().map(|(name, _)| name.as_str()).collect();
    if app.json {
        app.print_json(&json!({ "folder": root, "files": names }));
        return Ok(Exit::Ok);
    }
    for name in names {
        app.print(&format!("{}\n", Path::new(folder).join(name).display()));
    }
    let enter = if folder == "." { String::new() } else { format!("cd {folder} && ") };
    let first = match example {
        Some(Example::Tour) => "consort run slow.yaml",
        None => "consort run hello --input name=Ada",
    };
    app.eprint(&format!("next: {enter}{first}"));
    app.eprint("      consort workflows test");
    if let Some(starter) = starter {
        app.eprint(&format!("then: in {}: {}", Path::new(folder).join("agent").display(), starter.next));
        app.eprint("      consort dev      (the server and the agent, which is started again when its files change)");
        app.eprint("      and in another terminal: consort run summary --input text='It rained. We stayed in.'");
    }
    Ok(Exit::Ok)
}

/// The project's settings, with the worker where there is one.
fn project(starter: Option<&Starter>) -> String {
    match starter {
        Some(starter) => format!("{PROJECT}dev-workers = [\"{}\"]\n", starter.worker),
        None => format!("{PROJECT}# dev-workers = [\"{}\"]\n", PYTHON.worker),
    }
}

/// Writes a file, and makes its folder.
pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().unwrap_or(path);
    std::fs::create_dir_all(folder).and_then(|()| std::fs::write(path, text)).map_err(|error| {
        Error::new(Code::Disk, format!("`{}` cannot be written: {error}", path.display())).hint("check its permissions")
    })
}
