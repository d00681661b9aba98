//! Real servers of other systems as child processes.
//!
//! For: tests of what talks to them: start, kill, start again at the same address with the same data. Not for: talking.
//! Invariant: as in `process`; a server listens at loopback alone, at ports that were free, and keeps its data in the
//! folder that it is given.

use std::{
    ffi::OsString,
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::wait_until;

/// A port of loopback that was free a moment ago.
///
/// # Panics
/// Where the machine has none: no test can continue then.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    listener.local_addr().expect("what listens has an address").port()
}

/// A server of another system.
#[derive(Debug)]
pub struct Peer {
    program: &'static str,
    args: Vec<OsString>,
    address: SocketAddr,
    child: Child,
}

impl Peer {
    /// A Redis server that has answered a write only when it is in its file.
    ///
    /// # Panics
    /// Where `redis-server` is not installed: `scripts/setup` installs it.
    pub fn redis(folder: &Path) -> Self {
        let port = free_port();
        let mut args: Vec<OsString> =
            ["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--appendfsync"].map(Into::into).into();
        args.extend(["always".into(), "--port".into(), port.to_string().into(), "--dir".into(), folder.into()]);
        Self::start("redis-server", args, port)
    }

    /// An etcd server.
    ///
    /// # Panics
    /// Where `etcd` is not installed: `scripts/setup` installs it.
    pub fn etcd(folder: &Path) -> Self {
        let (port, peers) = (free_port(), free_port());
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let mut args: Vec<OsString> = vec!["--data-dir".into(), folder.join("etcd").into()];
        for (flag, value) in [
            ("--listen-client-urls", url(port)),
            ("--advertise-client-urls", url(port)),
            ("--listen-peer-urls", url(peers)),
            ("--initial-advertise-peer-urls", url(peers)),
            ("--initial-cluster", format!("default={}", url(peers))),
        ] {
            args.extend([flag.into(), value.into()]);
        }
        Self::start("etcd", args, port)
    }

    fn start(program: &'static str, args: Vec<OsString>, port: u16) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let child =
            spawn(program, &args).unwrap_or_else(|error| panic!("{program}: {error}; scripts/setup installs it"));
        let peer = Self { program, args, address, child };
        peer.wait();
        peer
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Kills it as `kill -9` does, and waits until it has ended.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(|_| ())
    }

    /// Starts it again, at the same address with the same data.
    pub fn restart(&mut self) -> io::Result<()> {
        self.child = spawn(self.program, &self.args)?;
        self.wait();
        Ok(())
    }

    fn wait(&self) {
        wait_until(self.program, || TcpStream::connect(self.address).ok());
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Both fail only where the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(program: &str, args: &[OsString]) -> io::Result<Child> {
    Command::new(program).args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
}
