//! The driver: runs a target on known and on new inputs until its time is over.
//!
//! For: all targets. Not for: knowing what they do.
//! Invariant: a panic is reported with the smallest input that could be found for it in a few seconds, as a file; an
//! input that never ends, or takes the whole process down, is left as a file too.

use std::{
    cell::Cell,
    fmt, fs,
    io::{self, Write as _},
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    sync::{
        Arc, Once,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use consort_types::text::panic_message;

use crate::{chance::Chance, mutate::mutate};

/// Inputs that are kept because they did something new.
const CORPUS_MAX: usize = 2_048;
/// How long one input may take before it counts as never ending. Debug builds are slow, and so are busy machines.
const HANG: Duration = Duration::from_secs(if cfg!(debug_assertions) { 120 } else { 30 });
/// How long a finding is made smaller.
const SHRINK: Duration = Duration::from_secs(10);

/// What is fuzzed.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, also of its folder below `fixtures`.
    pub name: &'static str,
    /// Runs an input; panics where a promise is broken. Returns the trace: equal for inputs with the same behaviour.
    pub run: fn(&[u8]) -> u64,
    /// Inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Words that change what an input means.
    pub words: &'static [&'static str],
    /// Bytes of an input at most.
    pub bytes_max: usize,
}

/// How long, from which seed, and where inputs are kept.
#[derive(Clone, Debug)]
pub struct Plan {
    /// For how long new inputs are made.
    pub time: Duration,
    /// What the inputs are made from.
    pub seed: u64,
    /// The folder of inputs that are run each time: `fixtures`.
    pub fixtures: PathBuf,
    /// Where the current input and findings are written.
    pub scratch: PathBuf,
}

impl Plan {
    /// The plan of the environment: `CONSORT_FUZZ_MS` (default 1000) and `CONSORT_FUZZ_SEED` (default 1).
    ///
    /// # Panics
    /// Where a variable is not a number.
    pub fn from_environment(fixtures: &str, scratch: &str) -> Self {
        let number = |name: &str, default| {
            std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
        };
        Self {
            time: Duration::from_millis(number("CONSORT_FUZZ_MS", 1_000)),
            seed: number("CONSORT_FUZZ_SEED", 1),
            fixtures: fixtures.into(),
            scratch: scratch.into(),
        }
    }
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The target's name.
    pub name: &'static str,
    /// Files of `fixtures` that were run.
    pub fixtures: usize,
    /// Inputs that were run, fixtures and seeds counted.
    pub inputs: u64,
    /// Different traces seen.
    pub traces: usize,
    /// The longest that one input took.
    pub slowest: Duration,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, fixtures, inputs, traces, slowest } = self;
        write!(f, "{name}: {inputs} inputs ({fixtures} fixtures), {traces} traces, slowest {slowest:?}")
    }
}

/// Runs a target by the plan.
///
/// # Panics
/// Where an input makes the target panic, naming the file with the smallest such input.
pub fn fuzz(target: &Target, plan: &Plan) -> Summary {
    let mut session = Session::begin(target, plan).expect("the scratch folder can be written");
    let known = fixtures(&plan.fixtures.join(target.name));
    for (path, input) in &known {
        session.run(input, &path.display().to_string());
    }
    let fresh = (target.seeds)();
    for (n, input) in fresh.iter().enumerate() {
        session.run(input, &format!("seed input {n}"));
    }
    let start = Instant::now();
    let mut chance = Chance::new(plan.seed);
    while start.elapsed() < plan.time {
        let input = mutate(&session.corpus, target.words, target.bytes_max, &mut chance);
        session.run(&input, &format!("an input of CONSORT_FUZZ_SEED={}", plan.seed));
    }
    session.end(known.len())
}

/// The inputs of a folder, in order of their names; none where there is no folder.
fn fixtures(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(&path).expect("a readable fixture"))).collect()
}

struct Session<'t> {
    target: &'t Target,
    scratch: PathBuf,
    /// Holds the current input: its length in eight bytes, then its bytes. It outlives the process.
    current: fs::File,
    watch: Watch,
    corpus: Vec<Vec<u8>>,
    traces: std::collections::BTreeSet<u64>,
    inputs: u64,
    slowest: Duration,
}

impl<'t> Session<'t> {
    fn begin(target: &'t Target, plan: &Plan) -> io::Result<Self> {
        let scratch = plan.scratch.join("fuzz");
        fs::create_dir_all(&scratch)?;
        let current_path = scratch.join(format!("{}.current", target.name));
        let current = fs::File::create(&current_path)?;
        quiet_hook();
        Ok(Self {
            target,
            scratch,
            current,
            watch: Watch::start(target.name, current_path),
            corpus: Vec::new(),
            traces: std::collections::BTreeSet::new(),
            inputs: 0,
            slowest: Duration::ZERO,
        })
    }

    fn run(&mut self, input: &[u8], origin: &str) {
        self.note(input).expect("the scratch folder can be written");
        self.inputs += 1;
        let start = Instant::now();
        self.watch.began();
        let outcome = caught(self.target, input, false);
        self.watch.ended();
        self.slowest = self.slowest.max(start.elapsed());
        let Ok(trace) = outcome else { self.report(input, origin) };
        if self.traces.insert(trace) {
            if self.corpus.len() >= CORPUS_MAX {
                let place = (trace % CORPUS_MAX as u64) as usize;
                self.corpus.swap_remove(place);
            }
            self.corpus.push(input.to_vec());
        }
    }

    /// Written in place, never shortened: that would make some file systems write to disk each time.
    fn note(&mut self, input: &[u8]) -> io::Result<()> {
        use io::Seek as _;
        let mut bytes = (input.len() as u64).to_le_bytes().to_vec();
        bytes.extend(input);
        self.current.rewind()?;
        self.current.write_all(&bytes)
    }

    fn report(&self, input: &[u8], origin: &str) -> ! {
        let small = shrink(self.target, input);
        let path = self.scratch.join(format!("{}.finding", self.target.name));
        let kept = fs::write(&path, &small).map_or_else(|error| error.to_string(), |()| path.display().to_string());
        // Once more, aloud.
        let message = caught(self.target, &small, false).err().unwrap_or_default();
        panic!(
            "`{}` broke on {origin}: {message}\n{} bytes in {kept}; keep it below `fixtures/{}` once it is mended",
            self.target.name,
            small.len(),
            self.target.name
        );
    }

    fn end(self, fixtures: usize) -> Summary {
        let Self { target, inputs, traces, slowest, .. } = self;
        Summary { name: target.name, fixtures, inputs, traces: traces.len(), slowest }
    }
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Panics of the shrinker would fill the screen.
fn quiet_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let loud = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                loud(info);
            }
        }));
    });
}

fn caught(target: &Target, input: &[u8], quiet: bool) -> Result<u64, String> {
    QUIET.set(quiet);
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    QUIET.set(false);
    outcome.map_err(|panic| panic_message(&*panic).to_owned())
}

/// Takes pieces off while the target still panics.
fn shrink(target: &Target, input: &[u8]) -> Vec<u8> {
    let start = Instant::now();
    let mut small = input.to_vec();
    let mut piece = small.len().div_ceil(2).max(1);
    loop {
        let mut at = 0;
        while at < small.len() {
            if start.elapsed() > SHRINK {
                return small;
            }
            let mut less = small.clone();
            less.drain(at..(at + piece).min(less.len()));
            if caught(target, &less, true).is_err() {
                small = less;
            } else {
                at += piece;
            }
        }
        if piece == 1 {
            return small;
        }
        piece = piece.div_ceil(2);
    }
}

/// Ends the process when one input takes too long: no other way leads out of an endless loop.
struct Watch {
    /// Milliseconds since `origin` at which the current input began, plus one; 0 between inputs.
    began: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    origin: Instant,
    thread: Option<thread::JoinHandle<()>>,
}

impl Watch {
    fn start(name: &'static str, input: PathBuf) -> Self {
        let (began, over, origin) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)), Instant::now());
        let (seen, stop) = (Arc::clone(&began), Arc::clone(&over));
        let thread = thread::spawn(move || {
            while !stop.load(Ordering::Acquire) {
                thread::park_timeout(Duration::from_secs(1));
                let since = seen.load(Ordering::Acquire);
                if since > 0 && origin.elapsed() > Duration::from_millis(since) + HANG {
                    eprintln!(
                        "`{name}` has not ended within {HANG:?}: its input is in {}, behind eight bytes of length",
                        input.display()
                    );
                    std::process::abort();
                }
            }
        });
        Self { began, over, origin, thread: Some(thread) }
    }

    fn began(&self) {
        self.began.store(self.origin.elapsed().as_millis() as u64 + 1, Ordering::Release);
    }

    fn ended(&self) {
        self.began.store(0, Ordering::Release);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It ends by itself, without a result.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(folder: &str) -> Plan {
        let scratch = std::env::temp_dir().join(format!("consort-fuzz-{}-{folder}", std::process::id()));
        Plan { time: Duration::from_mins(1), seed: 7, fixtures: scratch.join("fixtures"), scratch }
    }

    /// Breaks on texts with `b` somewhere behind an `a`.
    fn fragile(input: &[u8]) -> u64 {
        let first = input.iter().position(|byte| *byte == b'a');
        let behind = first.is_some_and(|at| input[at..].contains(&b'b'));
        assert!(!behind, "a and b");
        u64::from(first.is_some())
    }

    const FRAGILE: Target =
        Target { name: "fragile", run: fragile, seeds: || vec![b"xx".to_vec()], words: &[], bytes_max: 100 };

    #[test]
    fn a_planted_bug_is_found_made_small_and_kept_as_a_file() {
        let plan = plan("planted");
        let broken = panic::catch_unwind(|| fuzz(&FRAGILE, &plan)).unwrap_err();
        let message = broken.downcast_ref::<String>().unwrap();
        assert!(message.contains("a and b") && message.contains("CONSORT_FUZZ_SEED=7"), "{message}");
        assert_eq!(fs::read(plan.scratch.join("fuzz/fragile.finding")).unwrap(), b"ab");
        let fixture = plan.fixtures.join("fragile");
        fs::create_dir_all(&fixture).unwrap();
        fs::write(fixture.join("first"), b"--a--b--").unwrap();
        let broken = panic::catch_unwind(|| fuzz(&FRAGILE, &plan)).unwrap_err();
        assert!(broken.downcast_ref::<String>().unwrap().contains("first: a and b"));
        fs::remove_dir_all(&plan.scratch).unwrap();
    }

    #[test]
    fn the_same_seed_makes_the_same_inputs() {
        let make = |seed| {
            let mut chance = Chance::new(seed);
            let corpus = vec![b"one".to_vec(), b"two".to_vec()];
            (0..100).map(|_| mutate(&corpus, &["word"], 50, &mut chance)).collect::<Vec<_>>()
        };
        assert_eq!(make(1), make(1));
        assert_ne!(make(1), make(2));
        assert!(make(1).iter().all(|input| input.len() <= 50));
    }
}
