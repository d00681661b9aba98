//! Every pattern does what its page shows.
//!
//! For: the blocks of `docs/patterns/*.md` whose lines begin with `$`: each is run by a shell beside a real server, with the
//! real agents, and what it prints is compared. Not for: what else a pattern's parts can do.
//! Invariant: a pattern without a page that shows it fails its test, and so does a page without a pattern.

mod common;
#[path = "common/page.rs"]
mod page;
#[path = "common/shell.rs"]
mod shell;

use std::{collections::BTreeSet, net::SocketAddr, path::Path};

use common::{Folder, binary};
use consort_testkit::{peers::free_port, process::Server};
use page::{Command, commands};
use shell::Shell;

/// A test for each pattern, and the list of their names.
macro_rules! patterns {
    ($($test:ident: $name:literal),+ $(,)?) => {
        const TESTED: &[&str] = &[$($name),+];
        $(
            #[test]
            fn $test() {
                works_as_its_page_shows($name);
            }
        )+
    };
}

patterns! {
    pipeline: "pipeline",
    fan_out: "fan-out",
    map_reduce: "map-reduce",
    saga: "saga",
    choreography: "choreography",
    orchestrator_workers: "orchestrator-workers",
    publish_subscribe: "publish-subscribe",
    blackboard: "blackboard",
    contract_net: "contract-net",
    voting: "voting",
    debate: "debate",
    leader: "leader",
    circuit_breaker: "circuit-breaker",
    state_machine: "state-machine",
}

fn works_as_its_page_shows(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../docs/patterns/{name}.md"));
    let page = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let commands = commands(&page);
    assert!(commands.len() > 2, "the page of `{name}` shows too little");
    assert_eq!(commands[0].line, format!("consort patterns new {name} && cd {name}"));
    let home = Folder::new();
    // How long the tasks of an agent that was killed wait for it.
    home.write("consort.toml", "grace = \"1s\"\n");
    let none: [&str; 0] = [];
    let server = Server::start(binary(), &home.path(), none).unwrap();
    let mut shell = Shell::beside(server.address());
    for Command { line, shown } in commands {
        let printed = shell.run(&line);
        let (shown, printed) = (page::comparable(&shown), page::comparable(&printed));
        assert!(
            page::fits(&shown, &printed),
            "docs/patterns/{name}.md: `{line}` shows\n{}\nand printed\n{}\n{}",
            shown.join("\n"),
            printed.join("\n"),
            shell.logs()
        );
    }
}

#[test]
fn every_pattern_is_tested_and_has_a_page() {
    let folder = Folder::new();
    let listed = folder.json(&["patterns", "list"]);
    let names: BTreeSet<&str> = listed.iter().map(|pattern| pattern["name"].as_str().unwrap()).collect();
    assert_eq!(names, TESTED.iter().copied().collect());
    for name in names {
        let shown = folder.ok(&["patterns", "show", name]);
        assert!(shown.contains("use it when:") && shown.contains(&format!("consort patterns new {name}")), "{shown}");
        let document = &folder.json(&["patterns", "new", name, "--to", &format!("made/{name}")])[0];
        for file in document["files"].as_array().unwrap() {
            assert!(folder.path().join("made").join(name).join(file.as_str().unwrap()).is_file(), "{document}");
        }
    }
}

#[test]
fn nothing_is_overwritten_and_a_name_that_is_none_is_told() {
    let folder = Folder::new();
    folder.ok(&["patterns", "new", "saga", "--to", "trips"]);
    std::fs::remove_file(folder.path().join("trips/agent.py")).unwrap();
    folder.write("trips/saga.yaml", "mine");
    let again = folder.run(&["patterns", "new", "saga", "--to", "trips"]);
    assert_eq!(again.code, 5, "{again:?}");
    assert!(again.err.contains("error[C0011]") && again.err.contains("--to DIR"), "{}", again.err);
    assert_eq!(std::fs::read_to_string(folder.path().join("trips/saga.yaml")).unwrap(), "mine");
    assert!(!folder.path().join("trips/agent.py").exists(), "nothing is written where a file is there");
    let none = folder.run(&["patterns", "show", "sagas"]);
    assert_eq!(none.code, 3, "{none:?}");
    assert!(none.err.contains("error[C0821]") && none.err.contains("`saga`"), "{}", none.err);
}

/// A server that can be killed, with the folder that has its data.
struct Killable {
    folder: Folder,
    port: u16,
    server: Option<Server>,
}

impl Killable {
    /// It, and a shell beside it in the folder of the pattern, which is set up.
    fn with(name: &str) -> (Self, Shell) {
        let mut killable = Self { folder: Folder::new(), port: free_port(), server: None };
        killable.start();
        let mut shell = Shell::beside(SocketAddr::from(([127, 0, 0, 1], killable.port)));
        shell.run(&format!("consort patterns new {name} && cd {name}; if [ -f setup.sh ]; then sh setup.sh; fi"));
        (killable, shell)
    }

    fn start(&mut self) {
        let none: [&str; 0] = [];
        self.server = Some(Server::start_at(binary(), &self.folder.path(), self.port, none).unwrap());
    }

    fn kill_and_start(&mut self) {
        self.server.take().unwrap().kill().unwrap();
        self.start();
    }
}

#[test]
fn a_board_is_finished_once_however_often_the_server_is_killed() {
    let (mut server, mut shell) = Killable::with("blackboard");
    shell.run("python agent.py 2> agent.log &");
    let text = vec!["word"; 60].join(" ");
    shell.run(&format!("consort run --detach post.yaml -i text='{text}'"));
    for least in [0, 1, 5] {
        let count = "consort state list board --prefix answers/ --json | wc -l";
        while shell.run(count).trim().parse::<usize>().unwrap() < least {}
        server.kill_and_start();
    }
    let done = shell.run("consort events watch --topic board.done --from all --count 1");
    assert!(done.contains(r#"{"words":60}"#), "{done}\n{}", shell.logs());
    assert_eq!(shell.run("consort state get board open"), "0\n");
    assert_eq!(shell.run("consort events list --topic board.done --json | wc -l").trim(), "1");
    assert_eq!(shell.run("consort state list board --prefix unsolved/"), "");
}

#[test]
fn every_order_is_closed_once_and_none_is_sold_twice_though_the_server_is_killed() {
    let (mut server, mut shell) = Killable::with("choreography");
    shell.run("consort state put stock pieces 5");
    for order in 0..12 {
        shell.run(&format!("consort run --detach place-order.yaml -i order=o-{order} -i card=gold >> runs"));
        if order % 4 == 3 {
            server.kill_and_start();
        }
    }
    let outcomes = shell.run("for run in $(cat runs); do consort runs watch $run 2>> watched.log; done");
    assert_eq!(outcomes.matches(r#""outcome":"shipped""#).count(), 5, "{outcomes}");
    assert_eq!(outcomes.matches(r#""outcome":"sold out""#).count(), 7, "{outcomes}");
    assert_eq!(shell.run("consort state get stock pieces"), "0\n");
    let closed = "consort events list --topic orders.closed --limit 100 --json | wc -l";
    assert_eq!(shell.run(closed).trim(), "12");
}

#[test]
fn what_was_booked_is_cancelled_though_the_server_is_killed() {
    let (mut server, mut shell) = Killable::with("saga");
    shell.run("python agent.py 2> agent.log &");
    for trip in 0..9 {
        shell.run(&format!("consort run --detach saga.yaml -i trip=t-{trip} -i broken=car >> runs"));
        if trip % 3 == 2 {
            server.kill_and_start();
        }
    }
    shell.run("for run in $(cat runs); do consort runs watch $run > watched.log 2>&1; done");
    let bookings = shell.run("consort state list bookings --json");
    assert_eq!(bookings.matches(r#""cancelled""#).count(), 18, "{bookings}\n{}", shell.logs());
    assert!(!bookings.contains(r#""booked""#), "{bookings}");
    assert_eq!(shell.run("consort runs list --status failed --json | wc -l").trim(), "9");
}

#[test]
fn only_what_differs_from_run_to_run_is_taken_as_equal() {
    let fits = |shown: &str, printed: &str| page::fits(&page::comparable(shown), &page::comparable(printed));
    assert!(fits("saga 01M8K7D4K0WHGQFB78S727XWPS  failed  547ms", "saga 01M8KAD4K0WHGQFB78S727XWPS  failed  1.2s"));
    assert!(fits("plan  12  now       7", "plan  9  2.3s ago  7"), "versions, ages, and the width of columns");
    assert!(!fits("plan  12  now  7", "plan  12  now  8"));
    assert!(!fits("├ ✓ car  4ms", "├ ✗ car  4ms") && !fits("├ ✓ car  4ms", "│ ├ ✓ car  4ms"));
    assert!(fits("one\n…\nfour", "one\ntwo\nthree\nfour") && fits("wor…", "words"));
    assert!(!fits("one\n…\nfour", "one\ntwo") && !fits("one", "one\ntwo") && !fits("one\ntwo", "one"));
}
