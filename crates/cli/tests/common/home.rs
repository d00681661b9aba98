//! A server of Consort that can be started again at the same address.
//!
//! For: the tests of what runs beside a server. Not for: what is requested of it (each test adds that).
//! Invariant: the address stays, whatever is killed.

#![allow(dead_code, reason = "each test file uses a part")]

use std::net::SocketAddr;

use consort_testkit::{http::Client, peers::free_port, process::Server};
use serde_json::Value;

use crate::common::{Ended, Folder, Running, binary};

/// The server, and the folder that has its data.
pub(crate) struct Home {
    pub(crate) folder: Folder,
    pub(crate) port: u16,
    pub(crate) server: Option<Server>,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self::with("")
    }

    /// With a file of settings.
    pub(crate) fn with(settings: &str) -> Self {
        let mut home = Self { folder: Folder::new(), port: free_port(), server: None };
        home.folder.write("consort.toml", settings);
        home.start();
        home
    }

    pub(crate) fn start(&mut self) {
        let none: [&str; 0] = [];
        self.server = Some(Server::start_at(binary(), &self.folder.path(), self.port, none).unwrap());
    }

    pub(crate) fn kill(&mut self) {
        self.server.take().unwrap().kill().unwrap();
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(SocketAddr::from(([127, 0, 0, 1], self.port)))
    }
}

/// Reads what a process tells until one of its events fits.
pub(crate) fn wait_for(process: &mut Running, fits: impl Fn(&Value) -> bool) -> Value {
    loop {
        let event: Value = serde_json::from_str(&process.line()).unwrap();
        if fits(&event) {
            return event;
        }
    }
}

/// Stops a process; how it ended, and its counts.
pub(crate) fn stop(process: Running) -> (Ended, Value) {
    process.signal("INT");
    let ended = process.ended();
    let last = ended.out.lines().last().map(|line| serde_json::from_str(line).unwrap()).unwrap_or_default();
    (ended, last)
}
