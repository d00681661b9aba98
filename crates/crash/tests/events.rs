//! Kills while publishers and a consumer group work: no event that was acknowledged is lost, none is there twice, none
//! that a consumer has acknowledged comes again, and a trigger acts once on each.
//!
//! For: the event bus of the whole program. Not for: rules that a crate can test inside.
//! Invariant: the seed is printed, so that the moments can be tried again: `CONSORT_CRASH_SEED`. How many kills:
//! `CONSORT_CRASH_EVENT_KILLS` (20 in release builds, 4 in others).

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
    time::Duration,
};

use consort_crash::{
    Chance, binary,
    ending::{Ending, Way},
    number, seed,
};
use consort_testkit::{http::Client, process::Server, temp_dir};
use serde_json::{Value, json};

/// Of a hundred deliveries, those that their consumer forgets, and those that it gives back.
const FORGOTTEN: usize = 10;
const GIVEN_BACK: usize = 10;

/// What publishers and consumers remember.
struct Group {
    chance: Chance,
    /// Where each event is, once that was answered.
    published: BTreeMap<String, Option<String>>,
    /// Events whose acknowledgement was answered.
    acknowledged: BTreeSet<String>,
    /// Whether consumers acknowledge all that they get.
    calm: bool,
}

/// The answer of a server that lives; an error is the end of the server.
fn ask(client: &Client, verb: &str, path: &str, body: &Value) -> io::Result<Value> {
    let answer = client.request(verb, path, Some(body))?;
    match answer.status {
        200 => Ok(answer.json()),
        201 | 204 => Ok(Value::Null),
        503 => Err(io::Error::other("the server stops")),
        // A delivery that is over: a server before this one has taken it, or its lease has ended.
        409 => Ok(json!({"settled": 0})),
        status => panic!("{verb} {path} answers {status}: {}", answer.text()),
    }
}

impl Group {
    fn set_up(client: &Client) -> io::Result<()> {
        let source = "workflow: noted\nsteps:\n  a: { wait: 1ms }\n";
        ask(client, "POST", "/v1/workflows", &json!({"source": source}))?;
        let settings = json!({"topic": "orders.>", "start": "all", "ordered": "subject", "ack_wait": "200ms",
            "back_off": {"first": "10ms", "longest": "50ms"}, "max_deliveries": 1000});
        ask(client, "PUT", "/v1/subscriptions/group", &settings)?;
        ask(client, "PUT", "/v1/triggers/note", &json!({"topic": "orders.>", "start": {"workflow": "noted"}}))?;
        Ok(())
    }

    fn act(&mut self, client: &Client) -> io::Result<()> {
        match self.chance.below(4) {
            0 => {
                let id = format!("e{}", self.published.len());
                self.published.insert(id.clone(), None);
                self.publish(client, &id)
            }
            1 => {
                let unknown = self.published.iter().find(|(_, position)| position.is_none());
                let some = unknown.map(|(id, _)| id.clone());
                some.map_or(Ok(()), |id| self.publish(client, &id))
            }
            _ => self.consume(client),
        }
    }

    fn publish(&mut self, client: &Client, id: &str) -> io::Result<()> {
        let subject = format!("s{}", id.len() % 3);
        let event =
            json!({"id": id, "source": "/crash", "type": "orders.created", "subject": subject, "data": {"id": id}});
        let answer = ask(client, "POST", "/v1/events", &event)?;
        let position = answer["events"][0]["position"].as_str().expect("an event has a position").to_owned();
        let before = self.published.insert(id.to_owned(), Some(position.clone())).flatten();
        assert!(before.is_none_or(|before| before == position), "event {id} has two places");
        Ok(())
    }

    fn consume(&mut self, client: &Client) -> io::Result<()> {
        let fetched = ask(client, "POST", "/v1/subscriptions/group/fetch", &json!({"max": 4, "wait": "50ms"}))?;
        for delivery in fetched["deliveries"].as_array().expect("deliveries are a list") {
            let id = delivery["event"]["id"].as_str().expect("an event has an id").to_owned();
            assert!(!self.acknowledged.contains(&id), "event {id} was acknowledged, and came again");
            let named = json!({"deliveries": [delivery["delivery"]]});
            let chance = if self.calm { 100 } else { self.chance.below(100) };
            if chance < FORGOTTEN {
                continue;
            }
            let how = if chance < FORGOTTEN + GIVEN_BACK { "nack" } else { "ack" };
            let settled = ask(client, "POST", &format!("/v1/subscriptions/group/{how}"), &named)?;
            if how == "ack" && settled["settled"] == 1 {
                self.acknowledged.insert(id);
            }
        }
        Ok(())
    }

    /// Publishes what is not answered yet, and consumes until nothing is left.
    fn settle(&mut self, client: &Client) {
        self.calm = true;
        let unknown: Vec<String> =
            self.published.iter().filter(|(_, position)| position.is_none()).map(|(id, _)| id.clone()).collect();
        for id in unknown {
            self.publish(client, &id).expect("this server is not killed");
        }
        consort_testkit::wait_until("the group", || {
            self.consume(client).expect("this server is not killed");
            let shown = client.get("/v1/subscriptions/group").expect("an answer").json();
            (shown["lag"] == 0 && shown["open"] == 0).then_some(())
        });
    }

    /// Every event is there once, at the place that was answered, and has started one run.
    fn judge(&self, client: &Client) {
        let mut listed = BTreeMap::new();
        let mut path = "/v1/events?limit=1000".to_owned();
        loop {
            let page = client.get(&path).expect("an answer").json();
            for event in page["items"].as_array().expect("events are a list") {
                let (id, position) = (event["id"].as_str().unwrap_or_default(), event["position"].as_str());
                let twice = listed.insert(id.to_owned(), position.map(str::to_owned));
                assert!(twice.is_none(), "event {id} is there twice");
            }
            match page["next"].as_str() {
                Some(next) => path = format!("/v1/events?limit=1000&after={next}"),
                None => break,
            }
        }
        assert_eq!(listed, self.published, "what was acknowledged is there, and nothing else");
        let shown = client.get("/v1/triggers/note").expect("an answer").json();
        assert_eq!((&shown["fired"], &shown["failed"], &shown["lag"]), (&json!(listed.len()), &json!(0), &json!(0)));
        let mut events = BTreeSet::new();
        let mut path = "/v1/runs?limit=1000&label.trigger=note".to_owned();
        loop {
            let page = client.get(&path).expect("an answer").json();
            for run in page["items"].as_array().expect("runs are a list") {
                let event = run["labels"]["event"].as_str().unwrap_or_default().to_owned();
                assert!(events.insert(event.clone()), "event {event} has started two runs");
            }
            match page["next"].as_str() {
                Some(next) => path = format!("/v1/runs?limit=1000&label.trigger=note&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(events.len(), listed.len());
    }
}

fn start(folder: &Path) -> Server {
    let none: [&str; 0] = [];
    Server::start(binary::consort(), folder, none).expect("the server starts on what the last one left")
}

#[test]
fn no_event_is_lost_and_none_is_there_twice() {
    let seed = seed();
    let kills = number("CONSORT_CRASH_EVENT_KILLS", if cfg!(debug_assertions) { 4 } else { 20 });
    println!("crash of events: seed {seed}, {kills} kills");
    let folder = temp_dir();
    binary::settle(folder.path());
    let mut group =
        Group { chance: Chance::new(seed), published: BTreeMap::new(), acknowledged: BTreeSet::new(), calm: false };
    for _ in 0..kills {
        let server = start(folder.path());
        let client = server.client();
        let delay = group.chance.within(Duration::from_millis(900));
        let ending = Ending::after(delay, server, Way::Kill);
        // An error is the end of the server.
        let mut gone = Group::set_up(&client).is_err();
        while !gone {
            gone = group.act(&client).is_err();
        }
        ending.wait();
    }
    let server = start(folder.path());
    let client = server.client();
    Group::set_up(&client).expect("this server is not killed");
    for _ in 0..20 {
        group.act(&client).expect("this server is not killed");
    }
    group.settle(&client);
    group.judge(&client);
    assert!(server.stop().expect("the server stops").success());
    let doctor = consort_testkit::process::run(binary::consort(), folder.path(), ["doctor"]).expect("it runs");
    assert!(doctor.status.success(), "the doctor found something: {}", String::from_utf8_lossy(&doctor.stdout));
    println!("crash of events: {} published, {} acknowledged", group.published.len(), group.acknowledged.len());
}
