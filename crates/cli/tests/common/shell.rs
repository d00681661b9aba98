//! A shell beside a server, as a reader of a page has it.
//!
//! For: the tests of pages. Not for: single commands (see `Folder`).
//! Invariant: nothing that the shell started outlives it, and a command that does not end fails the test.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use crate::common::{Folder, binary};

/// What is printed when a command has ended; no command prints it.
const END: &str = "-- this command has ended --";
/// Far longer than any command of a page takes: one that hangs fails its test.
const COMMAND_MAX: Duration = Duration::from_mins(2);

/// The shell, and the folder that it is in.
pub(crate) struct Shell {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
    folder: Folder,
}

impl Shell {
    /// A shell whose commands and agents talk to the server at this address.
    pub(crate) fn beside(address: SocketAddr) -> Self {
        let folder = Folder::new();
        let folders = [python(), binary().parent().unwrap().to_owned()];
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(folders.into_iter().chain(std::env::split_paths(&path))).unwrap();
        // A session of its own, so that all that it has started is found, whatever groups that made for itself.
        let mut command = Command::new("setsid");
        command.args(["bash", "--noprofile", "--norc"]).current_dir(folder.path());
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CONSORT_")) {
            command.env_remove(name);
        }
        command.env("PATH", path).env("HOME", folder.path()).env("USER", "ada").env_remove("XDG_CONFIG_HOME");
        command.env("CONSORT_SERVER", address.to_string()).env("PYTHONDONTWRITEBYTECODE", "1");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let (send, lines) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        // It ends with the last process that has the pipe, at the latest when the group is killed.
        thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        let mut stdin = child.stdin.take().unwrap();
        writeln!(stdin, "exec 2>&1").unwrap();
        Self { child, stdin, lines, folder }
    }

    /// Runs a command; what it printed.
    pub(crate) fn run(&mut self, line: &str) -> String {
        writeln!(self.stdin, "{line}\necho '{END}'").unwrap();
        let mut printed = String::new();
        loop {
            let next = self.lines.recv_timeout(COMMAND_MAX);
            let next = next.unwrap_or_else(|error| panic!("`{line}`: {error}\n{printed}\n{}", self.logs()));
            if next == END {
                return printed;
            }
            printed.extend([next.as_str(), "\n"]);
        }
    }

    /// What agents in the background wrote.
    pub(crate) fn logs(&self) -> String {
        let mut all = String::new();
        for folder in std::fs::read_dir(self.folder.path()).unwrap().flatten().map(|entry| entry.path()) {
            for file in std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
                if file.extension().is_some_and(|extension| extension == "log") {
                    let text = std::fs::read_to_string(&file).unwrap_or_default();
                    all.extend([&*file.file_name().unwrap().to_string_lossy(), ":\n", &text]);
                }
            }
        }
        all
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // Both fail only where all have ended already.
        let ids = session(self.child.id());
        let _ = Command::new("sh").args(["-c", "kill -KILL \"$@\" 2>&-", "kill"]).args(ids).status();
        let _ = self.child.wait();
    }
}

/// The processes of a session.
fn session(leader: u32) -> Vec<String> {
    let of = |id: &str| -> Option<u32> {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // Behind the name, which may have any characters: state, parent, group, session.
        stat.rsplit_once(')')?.1.split_whitespace().nth(3)?.parse().ok()
    };
    let names = std::fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.file_name());
    names.filter_map(|name| name.into_string().ok()).filter(|id| of(id) == Some(leader)).collect()
}

/// The programs of the Python environment, which has the SDK.
fn python() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdks/python/.venv/bin");
    assert!(folder.join("python").is_file(), "`{}` is not there: run `scripts/sdks python`", folder.display());
    folder
}
