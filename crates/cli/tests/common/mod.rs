//! The real binary in a folder of its own.
//!
//! For: the tests of whole commands. Not for: parts (those have their unit tests).
//! Invariant: nothing of the machine's own settings or folders is seen.

#![allow(dead_code, reason = "each test file uses a part")]

use std::{
    io::Read as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use consort_testkit::{TempDir, process, temp_dir, wait_until};
use serde_json::Value;

/// A folder in which commands are run.
pub(crate) struct Folder {
    temp: TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

pub(crate) fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_consort"))
}

impl Folder {
    pub(crate) fn new() -> Self {
        Self { temp: temp_dir() }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.temp.path().to_owned()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.temp.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Ended {
        let output = process::run(binary(), self.temp.path(), args).unwrap();
        Ended {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs a command that must do well; its standard output.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let ended = self.run(args);
        assert_eq!(ended.code, 0, "{args:?}: {ended:#?}");
        ended.out
    }

    /// The JSON documents that a command prints, one a line.
    pub(crate) fn json(&self, args: &[&str]) -> Vec<Value> {
        documents(&self.ok(&[args, &["--json"]].concat()))
    }

    /// Starts a command and leaves it running.
    pub(crate) fn start(&self, args: &[&str]) -> Running {
        let mut command = Command::new(binary());
        command.args(args).current_dir(self.temp.path()).env("HOME", self.temp.path()).env_remove("XDG_CONFIG_HOME");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Running { child: command.spawn().unwrap() }
    }

    /// Waits until a run of the workflow has this status; its id.
    pub(crate) fn wait_for(&self, workflow: &str, status: &str) -> String {
        wait_until("a run", || {
            let ended = self.run(&["runs", "list", "--workflow", workflow, "--status", status, "--json"]);
            let first = ended.out.lines().next()?;
            let run: Value = serde_json::from_str(first).ok()?;
            Some(run["run"].as_str()?.to_owned())
        })
    }
}

/// JSON documents, one a line.
pub(crate) fn documents(out: &str) -> Vec<Value> {
    out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

/// A command that is running; killed when dropped.
pub(crate) struct Running {
    child: Child,
}

impl Running {
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("sh").args(["-c", "kill -\"$1\" \"$2\"", "kill", name, &id]).status().unwrap();
        assert!(status.success());
    }

    /// The next line of its standard output.
    pub(crate) fn line(&mut self) -> String {
        let out = self.child.stdout.as_mut().unwrap();
        let (mut line, mut byte) = (Vec::new(), [0]);
        // Byte by byte, so that nothing is taken that `ended` gives.
        loop {
            out.read_exact(&mut byte).unwrap_or_else(|_| panic!("it ended: {}", String::from_utf8_lossy(&line)));
            if byte == *b"\n" {
                return String::from_utf8(line).unwrap();
            }
            line.extend(byte);
        }
    }

    /// Waits for the end.
    pub(crate) fn ended(mut self) -> Ended {
        let (mut out, mut err) = (String::new(), String::new());
        self.child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        Ended { code, out, err }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only where the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for a signal, then has an agent answer with its payload.
pub(crate) const WAITING: &str = "workflow: waiting
steps:
  before: { capability: echo, with: { n: 1 } }
  go: { wait: { signal: go }, needs: [before] }
  after: { capability: echo, with: { got: \"${{ steps.go.output }}\" } }
output: ${{ steps.after.output.got }}
";

/// Asks, then ships.
pub(crate) const RELEASE: &str = "workflow: release
input:
  version: { type: string }
steps:
  build: { capability: echo, with: { built: \"${{ input.version }}\" } }
  sure: { approve: \"Release ${{ input.version }}?\", needs: [build] }
  ship: { capability: echo, with: { shipped: \"${{ input.version }}\" }, needs: [sure] }
output: ${{ steps.ship.output }}
";
