//! `consort-sim`: simulates many seeds and says what was found.
//!
//! For: CI, long hunts, and looking at one seed. Not for: anything that ships.
//! Invariant: the exit code is 0 exactly where no seed broke a law.

use std::{
    io::Write as _,
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use consort_sim::{Figures, InjectedBug, Plan, Violation, simulate};

const USAGE: &str = "\
consort-sim: simulate a partition, seed by seed

  --seeds N      how many seeds (100)
  --start S      the first seed (1)
  --seed S       only this seed
  --minutes M    stop after so many minutes; without --seeds, run until then
  --threads T    seeds at once (2)
  --inject BUG    put a bug in, which must be found
  --verbose      print every event (use it with --seed)
";

/// What the command line requests.
struct Ask {
    seeds: u64,
    start: u64,
    minutes: Option<u64>,
    threads: usize,
    injected: Option<InjectedBug>,
    verbose: bool,
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Ask, String> {
    let mut ask = Ask { seeds: 0, start: 1, minutes: None, threads: 2, injected: None, verbose: false };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("`{word}` needs a value"));
        let number = |text: String| text.parse::<u64>().map_err(|_| format!("`{text}` is not a number"));
        match word.as_str() {
            "--seeds" => ask.seeds = number(value()?)?,
            "--start" => ask.start = number(value()?)?,
            "--seed" => (ask.start, ask.seeds) = (number(value()?)?, 1),
            "--minutes" => ask.minutes = Some(number(value()?)?),
            "--threads" => ask.threads = number(value()?)?.clamp(1, 64) as usize,
            "--inject" => {
                let name = value()?;
                let known = || InjectedBug::ALL.map(|bug| format!("{bug:?}")).join(", ");
                ask.injected =
                    Some(InjectedBug::named(&name).ok_or_else(|| format!("no bug `{name}`; there are {}", known()))?);
            }
            "--verbose" => ask.verbose = true,
            _ => return Err(format!("`{word}` is not understood\n\n{USAGE}")),
        }
    }
    if ask.seeds == 0 {
        ask.seeds = if ask.minutes.is_some() { u64::MAX / 2 } else { 100 };
    }
    Ok(ask)
}

/// What all threads have found so far.
#[derive(Default)]
struct Found {
    seeds: u64,
    figures: Figures,
    failures: Vec<(u64, Violation)>,
}

fn main() -> ExitCode {
    let ask = match parse(std::env::args().skip(1)) {
        Ok(ask) => ask,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(2);
        }
    };
    // A broken assertion is a finding with its seed; the hook's own print would only interleave.
    std::panic::set_hook(Box::new(|_| {}));
    let began = Instant::now();
    let found = hunt(&ask, began);
    report(&ask, &found, began.elapsed());
    if found.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn hunt(ask: &Ask, began: Instant) -> Found {
    let next = AtomicU64::new(ask.start);
    let (end, stop) = (ask.start.saturating_add(ask.seeds), AtomicBool::new(false));
    let found = Mutex::new(Found::default());
    let until = ask.minutes.map(|minutes| Duration::from_secs(60 * minutes));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let late = until.is_some_and(|until| began.elapsed() >= until);
            if seed >= end || late || stop.load(Ordering::Relaxed) {
                return;
            }
            let outcome = simulate(&Plan { seed, injected: ask.injected, verbose: ask.verbose });
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            found.seeds += 1;
            found.figures.add(&outcome.figures);
            if let Some(violation) = outcome.violation {
                eprintln!("seed {seed}: {violation}");
                found.failures.push((seed, violation));
                // An injected bug is found once; of real ones twenty are enough to look at.
                if ask.injected.is_some() || found.failures.len() >= 20 {
                    stop.store(true, Ordering::Relaxed);
                }
            }
            if found.seeds.is_multiple_of(100) {
                eprintln!("{} seeds, {} failures, {:.0?}", found.seeds, found.failures.len(), began.elapsed());
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..ask.threads {
            scope.spawn(work);
        }
    });
    found.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn report(ask: &Ask, found: &Found, took: Duration) {
    let figures = &found.figures;
    let mut text = format!(
        "seeds {}  failures {}  simulated {:.1} h  records {}  runs {} ({} compared)  steps {}  took {:.1} s\n",
        found.seeds,
        found.failures.len(),
        figures.micros as f64 / 3.6e9,
        figures.records,
        figures.runs,
        figures.compared,
        figures.steps,
        took.as_secs_f64()
    );
    for (kind, count) in &figures.faults {
        text = format!("{text}  {kind:<26}{count:>10}\n");
    }
    for (seed, violation) in &found.failures {
        let inject = ask.injected.map(|bug| format!(" --inject {bug:?}")).unwrap_or_default();
        text = format!("{text}seed {seed}: {violation}\n  again: cargo xtask sim --seed {seed} --verbose{inject}\n");
    }
    // The reader may have closed the pipe; the exit code still carries the result.
    let _ = std::io::stdout().write_all(text.as_bytes());
}
