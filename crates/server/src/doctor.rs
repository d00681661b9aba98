//! Examining a data folder and the machine under it.
//!
//! For: `consort doctor`. Not for: repairing; a start of the engine does what recovery may do, and an operator may have a
//! record passed over (see `refusal`); nothing else does.
//! Invariant: files of the log are only read; the log is judged on a copy in memory by the same code that opens it.

use std::{
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use consort_engine::view::RefusedRecord;
use consort_log::{Files, Log as _, LogError, MemoryDisk, SegmentFile};
use consort_log_file::{FileLog, Folder, Options};
use consort_store::Store as _;
use consort_store_fjall::BlobFolder;
use consort_types::{Code, Error, Result, Seq, Span, limits};

use crate::{
    Role, Server, Settings, holder,
    keep::{BLOBS, Fault, check_blobs, free_bytes, on_thread, verify_folder},
    local::{DataFolder, disk},
    settings::{Origin, keys},
};

/// How well something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// As it should be.
    Good,
    /// Worth knowing.
    Odd,
    /// Needs an operator.
    Bad,
}

/// What one examination found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was examined, in a word or two.
    pub subject: &'static str,
    /// How well it is.
    pub health: Health,
    /// What was found.
    pub detail: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Finding {
    fn new(subject: &'static str, health: Health, detail: impl Into<String>) -> Self {
        Self { subject, health, detail: detail.into(), hint: None }
    }

    fn bad(subject: &'static str, error: Error) -> Self {
        let detail = format!("{} ({})", error.message, error.code);
        Self { subject, health: Health::Bad, detail, hint: error.hint }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Free bytes below which a folder is in danger.
const FREE_BYTES_MIN: u64 = 256 << 20;
/// Writes of the measurement of the disk.
const SYNCS: usize = 50;
/// Longer than this, and every step is slow.
const SYNC_SLOW: Duration = Duration::from_millis(20);

/// Examines everything, in an order in which a later finding can be understood from the earlier ones.
pub async fn examine(settings: &Settings) -> Vec<Finding> {
    let folder = DataFolder::at(settings.data_dir());
    let mut findings = vec![configuration(settings)];
    if !folder.exists() {
        let detail = format!("{} is not there yet", folder.path().display());
        findings.push(Finding::new("folder", Health::Good, detail).hint("`consort run` and `consort up` make it"));
        return findings;
    }
    findings.push(match folder.check_format() {
        Ok(()) if folder.is_open_to_others() => {
            let shown = folder.path().display();
            let detail =
                format!("{shown} can be entered by other users of this machine, and payloads are in it as they are");
            Finding::new("folder", Health::Odd, detail).hint(format!("`chmod 700 {shown}`, unless that is meant"))
        }
        Ok(()) => Finding::new("folder", Health::Good, folder.path().display().to_string()),
        Err(error) => Finding::bad("folder", error),
    });
    findings.push(free_space(folder.path()));
    findings.push(sync_speed(folder.path()));
    match holder(folder.path()) {
        Ok(Some(holder)) => {
            let detail = format!("in use by {holder}; stop it to have log and store examined");
            findings.push(Finding::new("holder", Health::Good, detail));
        }
        Ok(None) => {
            findings.push(Finding::new("holder", Health::Good, "no process has the folder open"));
            let log = log(&folder);
            let sound = log.health != Health::Bad;
            findings.push(log);
            if sound {
                findings.extend(engine(settings, &folder).await);
            }
            findings.extend(snapshots(&folder));
        }
        Err(error) => findings.push(Finding::bad("holder", error)),
    }
    findings
}

fn configuration(settings: &Settings) -> Finding {
    let set = keys::ALL.iter().filter(|key| *settings.show(key).1 != Origin::Default).count();
    let detail = format!("{set} of {} settings are set; `consort config show --origin` prints them", keys::ALL.len());
    Finding::new("settings", Health::Good, detail)
}

fn free_space(folder: &Path) -> Finding {
    match free_bytes(folder) {
        Ok(free) => {
            let detail = format!("{} MiB free", free >> 20);
            if free < FREE_BYTES_MIN {
                Finding::new("space", Health::Bad, detail)
                    .hint(format!("make room: {} MiB are the least", FREE_BYTES_MIN >> 20))
            } else {
                Finding::new("space", Health::Good, detail)
            }
        }
        Err(error) => Finding::bad("space", disk(folder, &error)),
    }
}

/// What a durable write costs here: the floor under the time of a step.
fn sync_speed(folder: &Path) -> Finding {
    match measure(folder) {
        Ok(median) => {
            let detail = format!("a durable write of 4 KiB takes {} us (median of {SYNCS})", median.as_micros());
            if median > SYNC_SLOW {
                Finding::new("disk", Health::Odd, detail).hint("a step takes at least that long; a local SSD is faster")
            } else {
                Finding::new("disk", Health::Good, detail)
            }
        }
        Err(error) => Finding::bad("disk", disk(folder, &error)),
    }
}

fn measure(folder: &Path) -> std::io::Result<Duration> {
    let path = folder.join(format!("doctor-{}.tmp", std::process::id()));
    let result = (|| {
        let mut file = File::create_new(&path)?;
        let block = [0; 4096];
        let mut times = Vec::with_capacity(SYNCS);
        for _ in 0..SYNCS {
            let start = Instant::now();
            file.write_all(&block)?;
            file.sync_data()?;
            times.push(start.elapsed());
        }
        times.sort_unstable();
        Ok(times[SYNCS / 2])
    })();
    // The measurement's own file; where it could not be made there is nothing to remove.
    let _ = std::fs::remove_file(&path);
    result
}

fn log(folder: &DataFolder) -> Finding {
    match scan(&folder.log()) {
        Ok((first, last, bytes)) if last >= first => {
            let detail = format!("records {first} to {last} are sound ({} KiB in files)", bytes >> 10);
            Finding::new("log", Health::Good, detail)
        }
        Ok((first, ..)) => Finding::new("log", Health::Good, format!("empty; the next record is {first}")),
        Err(error) => Finding::bad("log", error),
    }
}

/// Reads the whole log on a copy in memory; first and last record, and bytes of its files.
pub(crate) fn scan(folder: &Path) -> Result<(Seq, Seq, u64)> {
    let copy = Copy { disk: MemoryDisk::new(), folder: folder.to_owned() };
    let bytes = copy.fill().map_err(|error| disk(folder, &error))?;
    let options = Options { prepare_ahead: false, ..Options::new([0; 16]) };
    let log = FileLog::open_on(Arc::new(copy), options)?;
    for record in log.read(log.first()) {
        record.map_err(|error: LogError| error)?;
    }
    Ok((log.first(), log.last(), bytes))
}

/// A copy of a folder in memory, whose messages name the files of the folder.
struct Copy {
    disk: MemoryDisk,
    folder: PathBuf,
}

impl Copy {
    /// Copies the files; returns their bytes.
    fn fill(&self) -> io::Result<u64> {
        let mut total = 0;
        for name in Folder::open(&self.folder)?.list()? {
            // The lock has no bytes of the log.
            if name == "lock" {
                continue;
            }
            let bytes = std::fs::read(self.folder.join(&name))?;
            self.disk.create(&name)?.write_at(&bytes, 0)?;
            total += bytes.len() as u64;
        }
        Ok(total)
    }
}

impl Files for Copy {
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn SegmentFile>> {
        self.disk.create(name)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn SegmentFile>> {
        self.disk.open(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.disk.sync_dir()
    }

    fn place(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }
}

/// Opens the engine as any command does, and asks it.
async fn engine(settings: &Settings, folder: &DataFolder) -> Vec<Finding> {
    let server = match Server::open(settings, Role::Examine).await {
        Ok(server) => server,
        Err(error) => {
            let rebuilds = error.code == Code::Damaged;
            let finding = Finding::bad("engine", error);
            return vec![if rebuilds { finding.hint(REBUILD) } else { finding }];
        }
    };
    let mut findings = Vec::new();
    match server.status().await {
        Ok(status) => {
            findings.push(store(&server, status.applied).await);
            let (runs, tasks) = (status.runs_active, status.tasks.waiting + status.tasks.taken);
            let detail = format!("{runs} unfinished runs, {tasks} unfinished tasks");
            let halted = status.halted.map(|error| Finding::bad("engine", error));
            findings.push(halted.unwrap_or_else(|| Finding::new("engine", Health::Good, detail)));
            findings.push(clock(status.clock_lead, status.clock_leap));
            findings.extend(status.refused.iter().map(refused));
            findings.extend(blobs(&server, folder).await);
        }
        Err(error) => findings.push(Finding::bad("engine", error)),
    }
    server.close(std::future::pending()).await;
    findings
}

/// Whether log time and the wall clock agree.
fn clock(lead: Span, unconfirmed: Span) -> Finding {
    if unconfirmed > Span::ZERO {
        let detail =
            format!("the wall clock is {unconfirmed} ahead of the log's last record, and is not believed at once");
        return Finding::new("clock", Health::Odd, detail).hint("set the clock of this machine right, before a start");
    }
    if lead > Span::from_secs(limits::CLOCK_STEP_SECONDS_MAX) {
        let detail =
            format!("log time is {lead} ahead of the wall clock; waits until an instant end that much too early");
        return Finding::new("clock", Health::Odd, detail).hint(
            "set the clock of this machine right; log time then lets it catch up, a hundredth of the time that passes",
        );
    }
    Finding::new("clock", Health::Good, "log time and the wall clock agree")
}

/// A record that was passed over: its effect is missing for good, so it is reported each time.
fn refused(refused: &RefusedRecord) -> Finding {
    let RefusedRecord { record, by_record, reason, by, at } = refused;
    let detail = format!("record {record} was passed over: {reason} (record {by_record}, by {by}, {at})");
    Finding::new("refused", Health::Odd, detail)
}

/// What helps where the store is damaged, and the folder has what it can be made again from.
const REBUILD: &str = "a start makes a store again that cannot be opened, and `consort doctor --rebuild-store` any; \
                       where that is refused, restore the folder from a backup";

/// Reads every row.
async fn store(server: &Server, applied: Seq) -> Finding {
    let store = server.store();
    match on_thread(move || Ok(store.read_all()?)).await {
        Ok(rows) => {
            let detail = format!("{rows} rows are sound, and hold the log up to record {applied}");
            Finding::new("store", Health::Good, detail)
        }
        Err(error) => Finding::bad("store", error).hint(REBUILD),
    }
}

/// Reads every blob that rows refer to, and counts the others.
async fn blobs(server: &Server, folder: &DataFolder) -> Vec<Finding> {
    let (store, blobs) = (server.store(), BlobFolder::at(folder.store().join(BLOBS)));
    let checked = on_thread(move || {
        let (used, faults) = check_blobs(&*store.snapshot()?, &blobs)?;
        Ok((used, consort_store::Blobs::list_blobs(&blobs)?.len() as u64, faults))
    });
    let (used, there, faults) = match checked.await {
        Ok(checked) => checked,
        // The rows cannot be read, which another finding says.
        Err(error) if error.code == Code::Damaged => return Vec::new(),
        Err(error) => return vec![Finding::bad("blobs", error)],
    };
    if !faults.is_empty() {
        let hint = "bring the file back from a backup: there it is in `objects`, under the same name";
        return faults.iter().map(|fault| of_fault("blobs", fault).hint(hint)).collect();
    }
    let orphans = there.saturating_sub(used);
    let finding = Finding::new("blobs", Health::Good, format!("{used} sound, {orphans} that no run refers to"));
    vec![if orphans > 0 { finding.hint("a server removes those by itself after a while") } else { finding }]
}

fn of_fault(subject: &'static str, fault: &Fault) -> Finding {
    Finding::new(subject, Health::Bad, format!("{fault} ({})", Code::Damaged))
}

/// Reads every snapshot.
fn snapshots(folder: &DataFolder) -> Vec<Finding> {
    if !folder.snapshots().exists() {
        return Vec::new();
    }
    let hint = "a server replaces it in time; until then a damaged store cannot be made again from it";
    match verify_folder(&folder.snapshots()) {
        Ok((count, faults)) if faults.is_empty() => {
            vec![Finding::new("snapshots", Health::Good, format!("{count} sound"))]
        }
        Ok((_, faults)) => faults.iter().map(|fault| of_fault("snapshots", fault).hint(hint)).collect(),
        Err(error) => vec![Finding::bad("snapshots", error)],
    }
}
