//! Compares appending groups with the disk's own fdatasync over the same bytes, in the same session.
//!
//! For: the figures of `docs/log.md`. Not for: tests (a shared machine's times prove nothing there).
//! Invariant: both sides take turns, group by group, so that a busy disk slows both.
//!
//! `cargo run --release -p consort-log-file --example log_vs_disk [FOLDER]` prints JSON lines. Without a folder it
//! works in a new one under the current folder, as temporary folders are often not on a disk.

use std::{
    error::Error,
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use consort_log::{Log, Record};
use consort_log_file::FileLog;
use consort_types::{Seq, Time};

const RECORD_BYTES: usize = 256;
const ROUNDS: usize = 2_000;
const DISK_BYTES: u64 = 16 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os()
        .nth(1)
        .map_or_else(|| PathBuf::from(format!("log-vs-disk-{}", std::process::id())), PathBuf::from);
    let began = Instant::now();
    drop(FileLog::open(&folder.join("empty"))?);
    print(0, "open_new_ms", began.elapsed().as_secs_f64() * 1e3, "ms");
    for group in [1, 16, 128] {
        compare(&folder, group)?;
    }
    fs::remove_dir_all(&folder)?;
    Ok(())
}

/// Appends and overwrites in turns; prints both medians, the 99th percentiles and the ratio of the medians.
fn compare(folder: &Path, count: usize) -> Result<(), Box<dyn Error>> {
    let mut log = FileLog::open(&folder.join(format!("log-{count}")))?;
    let group = vec![Record::new(Time(1_790_000_000_000_000), vec![0xa5; RECORD_BYTES]); count];
    let disk = OpenOptions::new().write(true).create_new(true).open(folder.join(format!("disk-{count}")))?;
    (&disk).write_all(&vec![0; DISK_BYTES as usize])?;
    disk.sync_all()?;
    // Both sides warm up; the log thereby reaches its segments of full size.
    while log.bytes_written() < 8 << 20 {
        log.append(&vec![group[0].clone(); 1024])?;
    }
    let before = log.bytes_written();
    log.append(&group)?;
    let frame = vec![0xa5; (log.bytes_written() - before) as usize];
    let (mut appends, mut overwrites, mut offset) = (Vec::new(), Vec::new(), 0);
    for round in 0..ROUNDS {
        let began = Instant::now();
        let last = log.append(&group)?;
        appends.push(began.elapsed());
        let began = Instant::now();
        disk.write_all_at(&frame, offset)?;
        disk.sync_data()?;
        overwrites.push(began.elapsed());
        offset = (offset + frame.len() as u64) % (DISK_BYTES - frame.len() as u64);
        if round % 100 == 0 {
            log.trim(Seq(last.0.saturating_sub(1_000)))?;
        }
    }
    let (append, overwrite) = (percentiles(&mut appends), percentiles(&mut overwrites));
    print(count, "append_p50_us", append.0, "us");
    print(count, "append_p99_us", append.1, "us");
    print(count, "fdatasync_p50_us", overwrite.0, "us");
    print(count, "fdatasync_p99_us", overwrite.1, "us");
    print(count, "append_per_fdatasync", append.0 / overwrite.0, "ratio");
    print(count, "records_per_second", count as f64 * 1e6 / append.0, "1/s");
    print(count, "framing_bytes_per_record", frame.len() as f64 / count as f64 - RECORD_BYTES as f64, "bytes");
    Ok(())
}

/// The median and the 99th percentile, in microseconds.
fn percentiles(times: &mut [Duration]) -> (f64, f64) {
    times.sort_unstable();
    let at = |part: usize| times[times.len() * part / 100].as_secs_f64() * 1e6;
    (at(50), at(99))
}

fn print(group: usize, metric: &str, value: f64, unit: &str) {
    println!(r#"{{"workload":"log","group":{group},"metric":"{metric}","value":{value:.2},"unit":"{unit}"}}"#);
}
