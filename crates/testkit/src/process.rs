//! The real `consort` binary as a child process.
//!
//! For: tests of the whole program: start, talk, kill, start again. Not for: anything that a crate can test inside.
//! Invariant: a child never outlives the value that started it.

use std::{
    ffi::{OsStr, OsString},
    io::{self, BufRead, BufReader, Read},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::Arc,
    thread::{self, JoinHandle},
};

use parking_lot::Mutex;

use crate::http::Client;

/// A running server (`consort up --port 0`: its port is any that is free).
#[derive(Debug)]
pub struct Server {
    child: Child,
    address: SocketAddr,
    grpc_address: SocketAddr,
    errors: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Server {
    /// Starts `binary up --port 0 ARGS` in `folder` and waits for the line that gives its address, and where `ARGS` name
    /// an address for gRPC alone, for the line that gives that one.
    ///
    /// It fails where the process ends before that; the error has what the process wrote. `ARGS` must leave gRPC on.
    pub fn start<I, S>(binary: &Path, folder: &Path, args: I) -> io::Result<Self>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        Self::start_at(binary, folder, 0, args)
    }

    /// The same at a port that the caller has found free, at which it can be started again.
    pub fn start_at<I, S>(binary: &Path, folder: &Path, port: u16, args: I) -> io::Result<Self>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let args: Vec<OsString> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        let separate = args.iter().any(|arg| arg.to_string_lossy().starts_with("--grpc-listen"));
        let mut command = command(binary, folder);
        command.args(["up", "--port", &port.to_string()]).args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let errors = Arc::new(Mutex::new(String::new()));
        let stderr = child.stderr.take().expect("stderr is a pipe");
        let mut readers = vec![collect(stderr, Arc::clone(&errors))];
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        let mut said = String::new();
        while stdout.read_line(&mut said)? > 0 {
            let address = find_address("http", &said);
            let addresses = (address, if separate { find_address("grpc", &said) } else { address });
            if let (Some(address), Some(grpc_address)) = addresses {
                // The rest is read too: a full pipe would stop the child.
                readers.push(collect(stdout, Arc::default()));
                return Ok(Self { child, address, grpc_address, errors, readers });
            }
        }
        let status = child.wait()?;
        for reader in readers {
            reader.join().unwrap_or_default();
        }
        let errors = errors.lock();
        Err(io::Error::other(format!("the server ended with {status} before it gave its address: {said}{errors}")))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens for gRPC: the same address, unless it was given one of its own.
    pub fn grpc_address(&self) -> SocketAddr {
        self.grpc_address
    }

    /// A client of it.
    pub fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// The process id, for signals.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to standard error so far.
    pub fn errors(&self) -> String {
        self.errors.lock().clone()
    }

    /// Kills it as `kill -9` does, and waits until it has ended.
    pub fn kill(mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(|_| ())
    }

    /// Asks it to stop (SIGTERM) and waits for its end.
    pub fn stop(mut self) -> io::Result<ExitStatus> {
        // The shell's own `kill`: signals need no unsafe code and no further crate that way.
        let id = self.child.id().to_string();
        let status = Command::new("sh").args(["-c", "kill -TERM \"$1\"", "kill", &id]).status()?;
        if !status.success() {
            return Err(io::Error::other(format!("process {id} could not be signalled: {status}")));
        }
        let status = self.child.wait()?;
        for reader in self.readers.drain(..) {
            reader.join().unwrap_or_default();
        }
        Ok(status)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only where the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `binary ARGS` in `folder` to its end.
pub fn run<I, S>(binary: &Path, folder: &Path, args: I) -> io::Result<Output>
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    command(binary, folder).args(args).output()
}

/// A command whose outcome does not depend on the settings of the user who runs the tests.
fn command(binary: &Path, folder: &Path) -> Command {
    let mut command = Command::new(binary);
    command.current_dir(folder).stdin(Stdio::null()).env("NO_COLOR", "1").env("HOME", folder);
    command.env("XDG_CONFIG_HOME", folder.join(".config"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CONSORT_")) {
        command.env_remove(name);
    }
    command
}

fn collect(mut from: impl Read + Send + 'static, into: Arc<Mutex<String>>) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            into.lock().push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
    })
}

/// The first `SCHEME://HOST:PORT` in a text.
fn find_address(scheme: &str, text: &str) -> Option<SocketAddr> {
    let start = format!("{scheme}://");
    let rest = &text[text.find(&start)? + start.len()..];
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || ".:[]".contains(c))).unwrap_or(rest.len());
    rest[..end].trim_end_matches('.').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program that behaves like the server. It is a shell, to which `up` is the name of a script.
    fn start(script: &str) -> (crate::TempDir, io::Result<Server>) {
        let folder = crate::temp_dir();
        std::fs::write(folder.path().join("up"), script).unwrap();
        let server = Server::start(Path::new("sh"), folder.path(), ["--grpc-listen=any"]);
        (folder, server)
    }

    #[test]
    fn finds_the_address_and_stops_by_signal() {
        let script = "echo starting; echo \"$*\" >&2; echo \"ready at http://127.0.0.1:4711.\"; echo grpc://[::1]:4712; exec sleep 3600";
        let (_folder, server) = start(script);
        let server = server.unwrap();
        assert_eq!(server.address(), "127.0.0.1:4711".parse().unwrap());
        assert_eq!(server.grpc_address(), "[::1]:4712".parse().unwrap());
        crate::wait_until("the arguments", || (server.errors() == "--port 0 --grpc-listen=any\n").then_some(()));
        assert!(!server.stop().unwrap().success());
    }

    #[test]
    fn an_early_end_is_an_error_with_what_was_written() {
        let (_folder, server) = start("echo hm; echo bad config >&2; exit 2");
        let text = server.unwrap_err().to_string();
        assert!(text.contains("hm") && text.contains("bad config"), "{text}");
    }

    #[test]
    fn addresses_are_found_in_text() {
        assert_eq!(find_address("http", "at http://127.0.0.1:80/x"), "127.0.0.1:80".parse().ok());
        assert_eq!(find_address("http", "at http://[::1]:80"), "[::1]:80".parse().ok());
        assert_eq!(find_address("grpc", "http://[::1]:80\ngrpc://[::1]:81\n"), "[::1]:81".parse().ok());
        assert_eq!(find_address("http", "at 127.0.0.1:80"), None);
    }
}
