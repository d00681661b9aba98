//! Real servers of other systems as child processes.
//!
//! For: tests of what talks to them: start, kill, start again at the same address with the same data. Not for: talking.
//! Invariant: as in `process`; a server listens at loopback alone, at ports that were free, and keeps its data in the
//! folder that it is given.

use std::{
    ffi::OsString,
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
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

/// Settings in the environment.
type Settings = Vec<(&'static str, OsString)>;

/// A server of another system.
#[derive(Debug)]
pub struct Peer {
    program: PathBuf,
    args: Vec<OsString>,
    /// Settings that are read from the environment.
    env: Settings,
    address: SocketAddr,
    child: Child,
    /// What runs beside it, and ends with it.
    helper: Option<Child>,
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

    /// A NATS server with JetStream.
    ///
    /// # Panics
    /// Where `nats-server` is not installed: `scripts/setup` installs it.
    pub fn nats(folder: &Path) -> Self {
        let port = free_port();
        let mut args: Vec<OsString> = ["-a", "127.0.0.1", "-js", "-p"].map(Into::into).into();
        args.extend([port.to_string().into(), "-sd".into(), folder.into()]);
        Self::start(tool("nats-server"), args, port)
    }

    /// A RabbitMQ node of its own, which knows no other one.
    ///
    /// # Panics
    /// Where `rabbitmq-server` is not installed: `scripts/setup` installs it.
    pub fn rabbit(folder: &Path) -> Self {
        let (port, names, distribution) = (free_port(), free_port(), free_port());
        for (name, text) in [("rabbitmq.conf", "log.file = false\n"), ("plugins", "[].\n")] {
            std::fs::write(folder.join(name), text).expect("the folder of the test can be written");
        }
        let env = [
            ("HOME", folder.into()),
            // Its script becomes the node, and does not wait beside it.
            ("RABBITMQ_ALLOW_INPUT", "true".into()),
            ("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-noinput".into()),
            ("RABBITMQ_NODENAME", format!("test{port}@localhost").into()),
            ("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1".into()),
            ("RABBITMQ_NODE_PORT", port.to_string().into()),
            ("RABBITMQ_DIST_PORT", distribution.to_string().into()),
            ("ERL_EPMD_PORT", names.to_string().into()),
            ("ERL_EPMD_ADDRESS", "127.0.0.1".into()),
            ("RABBITMQ_MNESIA_BASE", folder.join("data").into()),
            ("RABBITMQ_LOG_BASE", folder.join("log").into()),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", folder.join("plugins").into()),
            ("RABBITMQ_CONFIG_FILE", folder.join("rabbitmq.conf").into()),
            ("RABBITMQ_CONF_ENV_FILE", folder.join("none").into()),
            ("RABBITMQ_PID_FILE", folder.join("pid").into()),
        ];
        // The script of the same name on the path gives root's rights up for those of a user who cannot see the folder.
        let program = "/usr/lib/rabbitmq/bin/rabbitmq-server";
        // Without a name server that is there already, the node would leave one behind.
        let naming: [OsString; 4] = ["-address", "127.0.0.1", "-port", &names.to_string()].map(Into::into);
        let naming = spawn(Path::new("epmd"), &naming, &[]).expect("epmd is installed with RabbitMQ");
        Self::started(program.into(), Vec::new(), env.into(), port, Some(naming))
    }

    fn start(program: impl Into<PathBuf>, args: Vec<OsString>, port: u16) -> Self {
        Self::started(program.into(), args, Vec::new(), port, None)
    }

    fn started(program: PathBuf, args: Vec<OsString>, env: Settings, port: u16, helper: Option<Child>) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let child = spawn(&program, &args, &env)
            .unwrap_or_else(|error| panic!("{}: {error}; scripts/setup installs it", program.display()));
        let peer = Self { program, args, env, address, child, helper };
        peer.wait();
        peer
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it as `kill -9` does, and waits until it has ended.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(|_| ())
    }

    /// What it says of its version: the first line; `None` where it is not installed.
    pub fn version(program: &str) -> Option<String> {
        let said = Command::new(program).arg("--version").stderr(Stdio::null()).output().ok()?;
        String::from_utf8_lossy(&said.stdout).lines().next().map(str::to_owned)
    }

    /// Starts it again, at the same address with the same data.
    pub fn restart(&mut self) -> io::Result<()> {
        self.child = spawn(&self.program, &self.args, &self.env)?;
        self.wait();
        Ok(())
    }

    fn wait(&self) {
        wait_until(&self.program.display().to_string(), || TcpStream::connect(self.address).ok());
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Both fail only where the process has ended already.
        for child in [&mut self.child].into_iter().chain(&mut self.helper) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A program that `scripts/setup` puts into a folder of the project, or else one of the machine.
fn tool(name: &str) -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/.venv/bin").join(name);
    if own.exists() { own } else { name.into() }
}

fn spawn(program: &Path, args: &[OsString], env: &[(&'static str, OsString)]) -> io::Result<Child> {
    let mut command = Command::new(program);
    command.args(args).envs(env.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
}
