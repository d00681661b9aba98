//! Examining a data folder and the machine under it.
//!
//! For: `consort doctor`. Not for: repairing; a start of the engine does what recovery may do, and an operator may have a
//! record passed over (see `refusal`); nothing else does.
//! Invariant: files of the log are only read; the log is judged on a copy in memory by the same code that opens it.

use std::{
    fs::File,
    io::Write as _,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use consort_engine::view::RefusedRecord;
use consort_log::{Files as _, Log as _, LogError, MemoryDisk};
use consort_log_file::{FileLog, Folder, Options};
use consort_types::{Error, Result, Seq, Span, limits};

use crate::{
    Role, Server, Settings, holder,
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
                findings.extend(engine(settings).await);
            }
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
    match rustix::fs::statvfs(folder) {
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let detail = format!("{} MiB free", free >> 20);
            if free < FREE_BYTES_MIN {
                Finding::new("space", Health::Bad, detail)
                    .hint(format!("make room: {} MiB are the least", FREE_BYTES_MIN >> 20))
            } else {
                Finding::new("space", Health::Good, detail)
            }
        }
        Err(error) => Finding::bad("space", disk(folder, &error.into())),
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
    let copy = MemoryDisk::new();
    let bytes = copy_files(folder, &copy).map_err(|error| disk(folder, &error))?;
    let options = Options { prepare_ahead: false, ..Options::new([0; 16]) };
    let log = FileLog::open_on(Arc::new(copy), options)?;
    for record in log.read(log.first()) {
        record.map_err(|error: LogError| error)?;
    }
    Ok((log.first(), log.last(), bytes))
}

fn copy_files(folder: &Path, copy: &MemoryDisk) -> std::io::Result<u64> {
    let files = Folder::open(folder)?;
    let mut total = 0;
    for name in files.list()? {
        // The lock has no bytes of the log.
        if name == "lock" {
            continue;
        }
        let bytes = std::fs::read(folder.join(&name))?;
        copy.create(&name)?.write_at(&bytes, 0)?;
        total += bytes.len() as u64;
    }
    Ok(total)
}

/// Opens the engine as any command does, and asks it.
async fn engine(settings: &Settings) -> Vec<Finding> {
    let server = match Server::open(settings, Role::Look).await {
        Ok(server) => server,
        Err(error) => return vec![Finding::bad("engine", error)],
    };
    let mut findings = Vec::new();
    match server.status().await {
        Ok(status) => {
            let store = format!("holds the log up to record {}", status.applied);
            findings.push(Finding::new("store", Health::Good, store));
            let (runs, tasks) = (status.runs_active, status.tasks.waiting + status.tasks.taken);
            let detail = format!("{runs} unfinished runs, {tasks} unfinished tasks");
            let halted = status.halted.map(|error| Finding::bad("engine", error));
            findings.push(halted.unwrap_or_else(|| Finding::new("engine", Health::Good, detail)));
            findings.push(clock(status.clock_lead, status.clock_leap));
            findings.extend(status.refused.iter().map(refused));
            findings.push(blobs(&server).await);
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

/// Reads every blob, and counts those that no run refers to.
async fn blobs(server: &Server) -> Finding {
    let hashes = match server.blob_hashes().await {
        Ok(hashes) => hashes,
        Err(error) => return Finding::bad("blobs", error),
    };
    let (total, mut orphans) = (hashes.len(), 0);
    for hash in hashes {
        match server.handle().blob_used(hash).await {
            Ok(used) => orphans += usize::from(!used),
            Err(error) => return Finding::bad("blobs", error),
        }
    }
    let detail = format!("{total} sound, {orphans} that no run refers to");
    let finding = Finding::new("blobs", Health::Good, detail);
    if orphans > 0 { finding.hint("a server removes those by itself after a while") } else { finding }
}
