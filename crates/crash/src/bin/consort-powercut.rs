//! Power cuts on a block device: the real program on a file system of its own, whose device is copied at random moments.
//!
//! For: what `kill -9` cannot show, because the system lives on: a copy of the device has only what was written to it
//! by then. Not for: disks that lie about a sync (the simulator has those), or for the gate (it needs root and loop
//! devices, and fails with that message where it has none).
//! Invariant: every run that was acknowledged before the copy is there after a start on the copy.

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use consort_crash::{Chance, binary};
use consort_testkit::{TempDir, http::Client, process::Server, temp_dir};
use serde_json::json;

/// The default number of cuts.
const CUTS: u64 = 6;
/// Bytes of the device.
const DEVICE_BYTES: u64 = 512 << 20;
/// The longest time before a cut: a new folder has to live through the first moments above all.
const LOAD_MAX: Duration = Duration::from_secs(8);
/// Tries for a copy that the device did not change under.
const COPIES_MAX: usize = 20;
const WORKFLOW: &str = "workflow: cut\nsteps:\n  a: { capability: echo, with: { n: 1 } }\n";

fn main() -> ExitCode {
    let cuts = match std::env::args().nth(1).map(|text| text.parse()) {
        None => CUTS,
        Some(Ok(cuts)) => cuts,
        Some(Err(_)) => {
            eprintln!("usage: consort-powercut [CUTS]");
            return ExitCode::from(2);
        }
    };
    let folder = temp_dir();
    if let Err(why) = Device::make(folder.path()).and_then(|device| device.mount().map(drop)) {
        println!("skipped: a power cut needs root, loop devices and `mkfs.ext4`: {why}");
        return ExitCode::SUCCESS;
    }
    let seed = std::process::id().into();
    println!("seed {seed}");
    let mut chance = Chance::new(seed);
    let mut good = true;
    for cut in 1..=cuts {
        match cut_once(chance.within(LOAD_MAX)) {
            Ok(acknowledged) => println!("cut {cut}: {acknowledged} acknowledged runs, none is missing"),
            Err(what) => {
                good = false;
                println!("cut {cut}: {what}");
            }
        }
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A file system in a file.
struct Device {
    image: PathBuf,
    place: PathBuf,
}

/// A mounted file system; it is unmounted when dropped.
struct Mounted<'a>(&'a Device);

impl Device {
    fn make(folder: &Path) -> Result<Self, String> {
        let device = Self::at(folder, "device")?;
        let file = std::fs::File::create(&device.image).and_then(|file| file.set_len(DEVICE_BYTES));
        file.map_err(|error| error.to_string())?;
        call("mkfs.ext4", &["-q", "-F", shown(&device.image)])?;
        Ok(device)
    }

    fn at(folder: &Path, name: &str) -> Result<Self, String> {
        let (image, place) = (folder.join(format!("{name}.img")), folder.join(name));
        std::fs::create_dir_all(&place).map_err(|error| error.to_string())?;
        Ok(Self { image, place })
    }

    fn mount(&self) -> Result<Mounted<'_>, String> {
        call("mount", &["-o", "loop", shown(&self.image), shown(&self.place)])?;
        Ok(Mounted(self))
    }

    /// Copies the device as it is. The writer is stopped, but the system may still write: a copy counts once the
    /// device has not changed from one copy to the next.
    fn copy(&self, folder: &Path) -> Result<Self, String> {
        let copy = Self::at(folder, "copy")?;
        let mut last = None;
        for _ in 0..COPIES_MAX {
            call("cp", &["--sparse=always", shown(&self.image), shown(&copy.image)])?;
            let mut hasher = blake3::Hasher::new();
            let file = std::fs::File::open(&copy.image).map_err(|error| error.to_string())?;
            hasher.update_reader(file).map_err(|error| error.to_string())?;
            if last.replace(hasher.finalize()) == Some(hasher.finalize()) {
                return Ok(copy);
            }
        }
        Err("the device changes all the time".to_owned())
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        if let Err(why) = call("umount", &[shown(&self.0.place)]) {
            eprintln!("left mounted: {why}");
        }
    }
}

fn shown(path: &Path) -> &str {
    path.to_str().expect("temporary folders have names of UTF-8")
}

fn call(program: &str, args: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(args).output().map_err(|error| format!("`{program}`: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("`{program}`: {}", said.trim())) }
}

/// Puts a new folder under load, cuts the power, and starts on what is left. Returns how many runs were acknowledged.
fn cut_once(load: Duration) -> Result<usize, String> {
    let folder: TempDir = temp_dir();
    let device = Device::make(folder.path())?;
    let mounted = device.mount()?;
    let server = start(&device.place)?;
    let runs = start_runs(&server.client(), load)?;
    let id = server.id().to_string();
    call("kill", &["-STOP", &id])?;
    let copy = device.copy(folder.path());
    server.kill().map_err(|error| error.to_string())?;
    drop(mounted);
    let copy = copy?;
    let _mounted = copy.mount()?;
    let server = start(&copy.place).map_err(|why| format!("{} acknowledged runs, and no start: {why}", runs.len()))?;
    let client = server.client();
    let missing = runs.iter().filter(|run| !client.get(&format!("/v1/runs/{run}")).is_ok_and(|run| run.status == 200));
    let missing = missing.count();
    server.kill().map_err(|error| error.to_string())?;
    if missing > 0 { Err(format!("{missing} of {} acknowledged runs are missing", runs.len())) } else { Ok(runs.len()) }
}

fn start(place: &Path) -> Result<Server, String> {
    Server::start(binary::consort(), place, ["--data-dir", "data"]).map_err(|error| error.to_string())
}

/// Starts runs until the time is over; the ids of those that were acknowledged.
fn start_runs(client: &Client, load: Duration) -> Result<Vec<String>, String> {
    let deployed = client.post("/v1/workflows", &json!({ "source": WORKFLOW })).map_err(|error| error.to_string())?;
    if deployed.status >= 300 {
        return Err(format!("the workflow is refused: {}", deployed.text()));
    }
    let (begin, mut runs) = (Instant::now(), Vec::new());
    while begin.elapsed() < load {
        let answer = client.post("/v1/runs", &json!({ "workflow": "cut" })).map_err(|error| error.to_string())?;
        let run = answer.json()["run"].as_str().map(str::to_owned);
        runs.push(run.ok_or_else(|| format!("a start is refused: {}", answer.text()))?);
    }
    Ok(runs)
}
