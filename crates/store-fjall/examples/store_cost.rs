//! Measures what the store costs a process: opening, memory, writing, opening again.
//!
//! For: the figures of `docs/log.md`. Not for: tests (a shared machine's times prove nothing there).
//! Invariant: prints JSON lines only.
//!
//! `cargo run --release -p consort-store-fjall --example store_cost [BATCHES]` works in a new
//! folder under the current one, as temporary folders are often not on a disk.

use std::{error::Error, fs, path::PathBuf, time::Instant};

use consort_store::{Batch, Store};
use consort_store_fjall::FjallStore;
use consort_types::Seq;

const BATCHES: u64 = 20_000;
const ROWS: u64 = 10;
const VALUE_BYTES: usize = 200;

fn main() -> Result<(), Box<dyn Error>> {
    let batches = std::env::args().nth(1).map_or(Ok(BATCHES), |count| count.parse())?;
    let folder = PathBuf::from(format!("store-cost-{}", std::process::id()));
    print("rss_before_mib", resident_mib()?, "MiB");
    let began = Instant::now();
    let store = FjallStore::open(&folder)?;
    print("open_new_ms", milliseconds(began), "ms");
    print("rss_open_mib", resident_mib()?, "MiB");
    let began = Instant::now();
    for applied in 1..=batches {
        let mut batch = Batch::new(Seq(applied));
        for row in 0..ROWS {
            let key = (applied * ROWS + row).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            batch.put(key.to_be_bytes(), vec![row as u8; VALUE_BYTES]);
        }
        store.write(batch)?;
    }
    print("rows_per_second", (batches * ROWS) as f64 * 1e3 / milliseconds(began), "1/s");
    let began = Instant::now();
    store.sync()?;
    print("sync_ms", milliseconds(began), "ms");
    print("rss_written_mib", resident_mib()?, "MiB");
    drop(store);
    let began = Instant::now();
    let store = FjallStore::open(&folder)?;
    print("open_again_ms", milliseconds(began), "ms");
    assert_eq!(store.applied()?, Seq(batches));
    drop(store);
    fs::remove_dir_all(&folder)?;
    Ok(())
}

fn milliseconds(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e3
}

fn resident_mib() -> Result<f64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}

fn print(metric: &str, value: f64, unit: &str) {
    println!(r#"{{"workload":"store","metric":"{metric}","value":{value:.2},"unit":"{unit}"}}"#);
}
