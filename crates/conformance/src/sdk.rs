//! The SDKs and how their workers are started.
//!
//! For: one place that knows where each worker is. Not for: what a worker does (see `sdks/conformance/README.md`).
//! Invariant: a worker never outlives the value that started it.

use std::{
    fmt::Write as _,
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

use consort_crash::binary;

/// An agent SDK.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sdk {
    /// `crates/sdk`.
    Rust,
    /// `sdks/python`.
    Python,
    /// `sdks/typescript`.
    TypeScript,
}

/// The settings of a worker.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The address of the server, `HOST:PORT`.
    pub server: String,
    /// The outside service.
    pub ledger: String,
    /// How many tasks at once.
    pub credit: u32,
    /// Which variant of the code; empty for the first.
    pub variant: String,
    /// The version of its agent.
    pub version: String,
}

impl Sdk {
    /// Every SDK.
    pub const ALL: [Self; 3] = [Self::Rust, Self::Python, Self::TypeScript];

    /// The word that people read.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::Python => "Python",
            Self::TypeScript => "TypeScript",
        }
    }

    /// The program and its arguments, or what is missing to run it.
    fn command(self) -> Result<Command, String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let (program, script): (PathBuf, Option<PathBuf>) = match self {
            Self::Rust => {
                let beside = binary::consort().parent().unwrap_or(Path::new(".")).to_owned();
                (beside.join("examples/conformance"), None)
            }
            Self::Python => (root.join("sdks/python/.venv/bin/python"), Some(root.join("sdks/conformance/worker.py"))),
            Self::TypeScript => {
                if !root.join("sdks/typescript/dist/index.js").is_file() {
                    return Err("sdks/typescript is not built: run `scripts/sdks typescript`".into());
                }
                (PathBuf::from("node"), Some(root.join("sdks/conformance/worker.mjs")))
            }
        };
        if program.is_absolute() && !program.is_file() {
            return Err(format!("`{}` is not there: run `scripts/sdks`, and build the examples", program.display()));
        }
        let mut command = Command::new(program);
        command.args(script);
        Ok(command)
    }

    /// Starts the worker; its output goes to `log`.
    ///
    /// # Errors
    /// Where something is missing to run it.
    pub fn start(self, setting: &Setting, log: &Path) -> Result<Worker, String> {
        let file = File::options().create(true).append(true).open(log).map_err(|error| error.to_string())?;
        let mut command = self.command()?;
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CONSORT_")) {
            command.env_remove(name);
        }
        command
            .env("CONSORT_ADDRESS", &setting.server)
            .env("CONFORM_LEDGER", &setting.ledger)
            .env("CONFORM_CREDIT", setting.credit.to_string())
            .env("CONFORM_VARIANT", &setting.variant)
            .env("CONFORM_VERSION", &setting.version)
            .stdin(Stdio::null())
            .stdout(file.try_clone().map_err(|error| error.to_string())?)
            .stderr(file);
        let child = command.spawn().map_err(|error| format!("{}: {error}", self.name()))?;
        Ok(Worker { child })
    }
}

/// Sends a process the signal to stop, as a supervisor does.
///
/// # Errors Where it has ended already.
pub fn terminate(id: u32) -> Result<(), String> {
    let told = Command::new("sh").args(["-c", "kill -TERM \"$1\"", "kill", &id.to_string()]).status();
    let done = told.is_ok_and(|status| status.success());
    if done { Ok(()) } else { Err(format!("process {id} could not be sent the signal to stop")) }
}

/// A worker process.
#[derive(Debug)]
pub struct Worker {
    child: Child,
}

impl Worker {
    /// Sends it the signal to stop.
    ///
    /// # Errors Where it has ended already.
    pub fn stop(&self) -> Result<(), String> {
        terminate(self.child.id())
    }

    /// How it ended; `None` while it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // As `kill -9` does. Both fail only where the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The last lines of a worker's log, for a failure's report.
pub fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let mut tail = String::new();
    for line in &lines[lines.len().saturating_sub(25)..] {
        let _ = writeln!(tail, "    {line}");
    }
    tail
}
