//! At least a hundred kills with many runs in flight: every acknowledged run ends, every step is recorded once, and
//! every result is that of an undisturbed server.
//!
//! For: the whole program. Not for: rules that a crate can test inside.
//! Invariant: the seed is printed, so that the moments can be tried again: `CONSORT_CRASH_SEED`. How many kills:
//! `CONSORT_CRASH_KILLS` (100 in release builds, 10 in others).

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use consort_crash::{
    Chance, binary,
    driver::{Driver, ended_as},
    ending::{Ending, Way, kill_early},
    number,
    oracle::{self, Judged},
    seed,
    workload::{Case, Ended},
};
use consort_testkit::{TempDir, process::Server, temp_dir};
use serde_json::{Value, json};

/// How long all runs may take to end after the last kill: far longer than any slow machine needs.
const END: Duration = Duration::from_mins(3);

/// What is killed, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    /// `consort up`, at a random moment.
    Random,
    /// `consort up`, just after it has acknowledged something.
    Acknowledged,
    /// `consort up`, while it starts.
    Start,
    /// `consort up`, while it drains.
    Drain,
    /// `consort run` with the engine in its own process.
    Embedded,
    /// Not killed: SIGTERM.
    Stop,
    /// Not killed: SIGTERM twice.
    StopAtOnce,
}

struct Scene {
    folder: TempDir,
    chance: Chance,
    driver: Driver,
    /// Runs of `consort run`, by their numbers.
    embedded: Vec<u64>,
    counts: BTreeMap<Moment, u64>,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let folder = temp_dir();
        binary::settle(folder.path());
        let (chance, driver) = (Chance::new(seed), Driver::new(seed ^ 1, "k"));
        Self { folder, chance, driver, embedded: Vec::new(), counts: BTreeMap::new() }
    }

    fn kills(&self) -> u64 {
        let killed = self.counts.iter().filter(|(moment, _)| !matches!(moment, Moment::Stop | Moment::StopAtOnce));
        killed.map(|(_, count)| count).sum()
    }

    fn round(&mut self) {
        let moment = match self.chance.below(20) {
            0..=8 => Moment::Random,
            9..=11 => Moment::Acknowledged,
            12..=14 => Moment::Start,
            15 => Moment::Drain,
            16 | 17 => Moment::Embedded,
            18 => Moment::Stop,
            _ => Moment::StopAtOnce,
        };
        let happened = match moment {
            Moment::Start => {
                let delay = self.chance.within(Duration::from_millis(60));
                kill_early(self.folder.path(), &["up", "--port", "0"], delay)
            }
            Moment::Embedded => self.kill_embedded(),
            _ => self.serve(moment),
        };
        *self.counts.entry(moment).or_default() += u64::from(happened);
    }

    fn kill_embedded(&mut self) -> bool {
        let number = self.chance.number() % 3;
        self.embedded.push(number);
        let (path, key) = embedded(self.folder.path(), self.embedded.len() - 1, number);
        let delay = Duration::from_millis(10) + self.chance.within(Duration::from_millis(150));
        kill_early(
            self.folder.path(),
            &["run", &path, "--quiet", "--input", "@input.json", "--idempotency-key", &key],
            delay,
        )
    }

    /// Starts a server, keeps it busy, and ends it.
    fn serve(&mut self, moment: Moment) -> bool {
        let server = start(self.folder.path());
        let client = server.client();
        let way = match moment {
            Moment::Drain => Way::KillInDrain(self.chance.within(Duration::from_millis(40))),
            Moment::Stop => Way::Drain,
            Moment::StopAtOnce => Way::DrainTwice,
            _ => Way::Kill,
        };
        let most = if moment == Moment::Acknowledged { 2_000 } else { 450 };
        let ending = Ending::after(self.chance.within(Duration::from_millis(most)), server, way);
        let before = self.driver.acknowledged + self.chance.below(12) as u64;
        // An error is the end of the server.
        let mut gone = self.driver.deploy_once(&client).is_err();
        while !gone {
            gone = self.driver.act(&client).is_err();
            if moment == Moment::Acknowledged && self.driver.acknowledged > before {
                ending.hurry();
            }
        }
        let status = ending.wait();
        assert!(status.is_none_or(|status| status.success()), "a drained server ends well: {status:?}");
        true
    }

    /// Lets everything end, and judges.
    fn settle(&mut self) -> Judged {
        self.finish_embedded();
        let server = start(self.folder.path());
        self.driver.starts = false;
        finish(&mut self.driver, &server);
        let client = server.client();
        let judged = oracle::judge(&client);
        self.driver.sharer.judge(&client);
        for case in &self.driver.cases {
            let run = case.run.as_deref().expect("every start was acknowledged in the end");
            let told = oracle::signals(&client, run);
            let (acknowledged, sent) = case.signals;
            assert!((acknowledged..=sent).contains(&told), "run {run}: {acknowledged} to {sent} signals, not {told}");
        }
        assert!(server.stop().expect("the server stops").success());
        doctor(self.folder.path());
        judged
    }

    /// Repeats every `consort run` that was killed: it continues its run, or starts one.
    fn finish_embedded(&mut self) {
        for (at, n) in self.embedded.iter().enumerate() {
            let (path, key) = embedded(self.folder.path(), at, *n);
            let args = ["run", &path, "--json", "--input", "@input.json", "--idempotency-key", &key];
            let output = consort_testkit::process::run(binary::consort(), self.folder.path(), args).expect("it runs");
            let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert!(output.status.success(), "{}: {out}{err}", output.status);
            let told: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"));
            let expected = json!({ "text": 4, "last": n + 1 });
            assert_eq!(told["output"], expected, "{told}");
        }
    }
}

/// Writes what `consort run` number `at` needs; the path of its workflow, and its key.
fn embedded(folder: &Path, at: usize, n: u64) -> (String, String) {
    let chain = consort_crash::workload::WORKFLOWS[0];
    assert_eq!(chain.name, "chain");
    std::fs::write(folder.join("chain.yaml"), chain.source).expect("the folder can be written");
    let input = json!({ "n": n, "text": "text" }).to_string();
    std::fs::write(folder.join("input.json"), input).expect("the folder can be written");
    ("chain.yaml".to_owned(), format!("embedded-{at}"))
}

fn start(folder: &Path) -> Server {
    let none: [&str; 0] = [];
    Server::start(binary::consort(), folder, none).expect("the server starts on what the last one left")
}

/// Drives until every case has ended.
fn finish(driver: &mut Driver, server: &Server) {
    let (client, begun) = (server.client(), Instant::now());
    while driver.open() > 0 {
        driver.act(&client).unwrap_or_else(|error| panic!("{error}: {}", server.errors()));
        if begun.elapsed() > END {
            let open: Vec<&Case> = driver.cases.iter().filter(|case| case.ended.is_none()).collect();
            panic!("{} runs do not end: {open:#?}\n{}", open.len(), server.errors());
        }
    }
}

fn doctor(folder: &Path) {
    let output = consort_testkit::process::run(binary::consort(), folder, ["doctor"]).expect("it runs");
    assert!(output.status.success(), "the doctor found something: {}", String::from_utf8_lossy(&output.stdout));
}

/// How each workflow ends with each number on an undisturbed server.
fn undisturbed() -> BTreeMap<(&'static str, u64), Ended> {
    let folder = temp_dir();
    binary::settle(folder.path());
    let server = start(folder.path());
    let mut driver = Driver::new(0, "calm").one_of_each();
    driver.deploy_once(&server.client()).expect("this server is not killed");
    finish(&mut driver, &server);
    oracle::judge(&server.client());
    let ends = driver.cases.into_iter().map(|case| {
        let run = server.client().get(&format!("/v1/runs/{}", case.run.unwrap_or_default())).expect("an answer").json();
        let ended = ended_as(&run).expect("it has ended");
        assert_eq!(Some(&ended), case.ended.as_ref());
        ((case.workflow.name, case.number), ended)
    });
    ends.collect()
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_recorded_happens_twice() {
    let seed = seed();
    let kills = number("CONSORT_CRASH_KILLS", if cfg!(debug_assertions) { 10 } else { 100 });
    println!("crash: seed {seed}, {kills} kills");
    let (begun, expected) = (Instant::now(), undisturbed());
    let mut scene = Scene::new(seed);
    while scene.kills() < kills {
        scene.round();
    }
    let killing = begun.elapsed();
    let judged = scene.settle();
    for case in &scene.driver.cases {
        let (ended, calm) = (case.ended.as_ref(), &expected[&(case.workflow.name, case.number)]);
        assert_eq!(ended, Some(calm), "`{}` ended otherwise than undisturbed (seed {seed})", case.workflow.name);
    }
    let Driver { cases, acknowledged, repeated, decided, sharer, .. } = &scene.driver;
    assert!(!cases.is_empty() && judged.runs >= cases.len());
    println!(
        "crash: {} kills {:?} in {killing:.1?}; {} runs started by clients, {} in all, {} steps, {} journal entries, \
         {} attempts lost; {acknowledged} acknowledgements, {repeated} of repeated starts, {decided} decisions, \
         {} writes of shared state, {} changes watched",
        scene.kills(),
        scene.counts,
        cases.len(),
        judged.runs,
        judged.steps,
        judged.entries,
        judged.lost,
        sharer.acknowledged,
        sharer.watched
    );
}
