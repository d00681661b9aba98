//! How a server ends.
//!
//! For: `kill -9`, SIGTERM, two of them, and kills during a drain or a start. Not for: what happens before.
//! Invariant: when an ending is over, the process has ended.

use std::{
    io,
    path::Path,
    process::{Command, ExitStatus},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::Duration,
};

use consort_testkit::process::Server;

use crate::binary;

/// A way to end a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// `kill -9`.
    Kill,
    /// SIGTERM: it drains.
    Drain,
    /// SIGTERM twice: it stops at once.
    DrainTwice,
    /// SIGTERM, and `kill -9` while it drains.
    KillInDrain(Duration),
}

/// An ending that is on its way.
pub struct Ending {
    now: Sender<()>,
    thread: JoinHandle<io::Result<Option<ExitStatus>>>,
}

impl Ending {
    /// Ends the server after `delay`, or as soon as `now` is set.
    pub fn after(delay: Duration, server: Server, way: Way) -> Self {
        let (now, told) = mpsc::channel();
        let thread = thread::spawn(move || {
            pass(&told, delay);
            end(server, way, &told)
        });
        Self { now, thread }
    }

    /// Ends it now.
    pub fn hurry(&self) {
        // A failure means that it has ended already.
        let _ = self.now.send(());
    }

    /// Waits until the process has ended; its status, where it ended by itself.
    ///
    /// # Panics
    /// Where the process cannot be ended.
    pub fn wait(self) -> Option<ExitStatus> {
        self.thread.join().expect("the ending does not panic").expect("the process can be ended")
    }
}

/// Sleeps, unless it is interrupted.
fn pass(told: &Receiver<()>, delay: Duration) {
    match told.recv_timeout(delay) {
        Ok(()) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
    }
}

fn end(server: Server, way: Way, told: &Receiver<()>) -> io::Result<Option<ExitStatus>> {
    match way {
        Way::Kill => server.kill().map(|()| None),
        Way::Drain => server.stop().map(Some),
        Way::DrainTwice => {
            signal(server.id(), "TERM")?;
            server.stop().map(Some)
        }
        Way::KillInDrain(delay) => {
            signal(server.id(), "TERM")?;
            pass(told, delay);
            server.kill().map(|()| None)
        }
    }
}

/// Sends a signal to a process that this one started.
fn signal(id: u32, name: &str) -> io::Result<()> {
    let status = Command::new("sh").args(["-c", "kill -\"$1\" \"$2\"", "kill", name, &id.to_string()]).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("process {id} could not be signalled"))) }
}

/// Starts the program with these arguments and kills it after `delay`; true where it was still there.
///
/// # Panics
/// Where it cannot be started.
pub fn kill_early(folder: &Path, args: &[&str], delay: Duration) -> bool {
    let mut child = binary::command(folder, args).spawn().expect("the program starts");
    let (_hold, told) = mpsc::channel();
    pass(&told, delay);
    let was_there = child.try_wait().expect("a child can be waited for").is_none();
    child.kill().expect("a child can be killed");
    child.wait().expect("a child can be waited for");
    was_there
}
