//! Pushing to webhooks, with the real binary and a receiver.
//!
//! For: what a receiver sees, what is recorded, and what is refused. Not for: the ranges of addresses and the form of
//! signatures (`consort-webhooks` has those).
//! Invariant: as in `common`; a receiver checks signatures by itself.

mod common;
#[path = "common/home.rs"]
mod home;
#[path = "common/receiver.rs"]
mod receiver;

use std::{collections::BTreeMap, path::Path, process::Command};

use consort_testkit::wait_until;
use home::Home;
use receiver::{Answer, Received, Receiver, hmac};
use serde_json::{Value, json};

/// Secrets of 24 and of 64 bytes.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEW_SECRET: &str =
    "whsec_b3BlbiBzZXNhbWUgb3BlbiBzZXNhbWUgb3BlbiBzZXNhbWUgb3BlbiBzZXNhbWUgb3BlbiBzZXNhbWUgb3Blbg==";

/// A server whose webhooks may be at one address of loopback.
fn home() -> Home {
    let home = Home::with("webhook-secrets = \"secrets\"\nwebhook-allow = \"127.0.0.1\"\n");
    home.folder.write("secrets/receiver", SECRET);
    home
}

impl Home {
    fn publish(&self, id: &str, subject: &str) {
        let event =
            json!({ "id": id, "source": "/shop", "type": "orders.made", "subject": subject, "data": { "n": 1.50 } });
        let answer = self.client().post("/v1/events", &event).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Has a subscription `hook` push to an address.
    fn push(&self, url: &str, more: &Value) {
        let mut settings = json!({ "topic": ">", "push": { "url": url, "secret": "receiver" },
            "back_off": { "first": "1ms", "longest": "1ms" } });
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = self.client().request("PUT", "/v1/subscriptions/hook", Some(&settings)).unwrap();
        assert_eq!(answer.status, 204, "{}", answer.text());
    }

    fn hook(&self) -> Value {
        self.client().get("/v1/subscriptions/hook").unwrap().json()
    }

    /// Waits until the subscription is as it should be.
    fn hook_when(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        wait_until(what, || Some(self.hook()).filter(|hook| is(hook)))
    }
}

fn ok() -> Receiver {
    Receiver::new(|_, _| Answer::status(200))
}

fn reason(hook: &Value) -> &str {
    hook["last_failure"]["reason"].as_str().unwrap_or_default()
}

/// Whether a text is in any file of a folder.
fn is_in_files(folder: &Path, text: &[u8]) -> bool {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).any(|path| {
        if path.is_dir() {
            return is_in_files(&path, text);
        }
        // Some are removed in between.
        std::fs::read(&path).is_ok_and(|bytes| bytes.windows(text.len()).any(|window| window == text))
    })
}

#[test]
fn an_event_is_pushed_whole_and_signed_and_no_secret_is_anywhere_else() {
    let test = hmac(&[0x0b; 20], b"Hi There");
    assert_eq!(test[..4], [0xb0, 0x34, 0x4c, 0x61], "the receiver computes as RFC 4231 shows");
    let (home, receiver) = (home(), ok());
    home.push(&receiver.url(), &json!({}));
    home.publish("1", "s 1");
    let large = json!({ "id": "2", "source": "/shop", "type": "t", "topic": "a.b", "data": "x".repeat(100_000) });
    home.client().post("/v1/events", &large).unwrap();
    let requests = receiver.wait_for(2);
    let one = |id: &str| requests.iter().find(|one| one.id() == id).unwrap();
    let (first, second) = (one("1"), one("2"));
    let head = |name: &str| first.headers[name].clone();
    assert_eq!((first.path.as_str(), head("host")), ("/in?to=me", receiver.address.to_string()));
    assert!(head("content-type").starts_with("application/cloudevents+json"), "{first:?}");
    let event = first.event();
    assert_eq!(
        (&event["specversion"], &event["type"], &event["subject"], &event["topic"]),
        (&json!("1.0"), &json!("orders.made"), &json!("s 1"), &json!("orders.made"))
    );
    assert!(String::from_utf8_lossy(&first.body).contains(r#""data":{"n":1.5"#), "{event}");
    assert_eq!(second.event()["data"].as_str().unwrap().len(), 100_000);
    for one in &requests {
        assert_eq!((one.signed_by(SECRET), one.signed_by(NEW_SECRET)), (1, 0));
    }
    home.folder.write("secrets/receiver", &format!("{NEW_SECRET}\n{SECRET}\n"));
    home.publish("3", "s");
    let third = receiver.wait_for(3)[2].clone();
    assert_eq!((third.signed_by(SECRET), third.signed_by(NEW_SECRET)), (1, 1), "one is replaced by the other");
    let hook = home.hook_when("acknowledgements", |hook| hook["acknowledged"] == 3);
    assert_eq!((&hook["delivered"], &hook["failing_since"]), (&json!(3), &Value::Null));
    let shown = home.folder.ok(&["subscriptions", "show", "hook"]);
    assert!(shown.contains(&receiver.url()) && shown.contains("`receiver`"), "{shown}");
    for secret in [SECRET, NEW_SECRET] {
        let secret = secret.strip_prefix("whsec_").unwrap();
        assert!(!shown.contains(secret) && !hook.to_string().contains(secret));
        assert!(!is_in_files(&home.folder.path().join(".consort"), secret.as_bytes()));
    }
}

/// The first delivery of each event that was taken, by subject; the ids of the events.
fn taken_in_order(requests: &[Received]) -> BTreeMap<String, Vec<String>> {
    let mut taken = BTreeMap::<String, Vec<String>>::new();
    for one in requests.iter().filter(|one| one.answered == Some(200)) {
        let ids = taken.entry(one.event()["subject"].as_str().unwrap().to_owned()).or_default();
        if !ids.contains(&one.id()) {
            ids.push(one.id());
        }
    }
    taken
}

#[test]
fn nothing_is_lost_where_the_server_is_killed_while_it_delivers() {
    let mut home = home();
    // The third, the sixth and so on is not answered, so that the server is killed while it waits.
    let receiver = Receiver::new(|_, at| if at % 3 == 2 { Answer::Never } else { Answer::status(200) });
    let soon = json!({ "ordered": "subject", "ack_wait": "1s", "max_deliveries": 1000,
        "push": { "url": receiver.url(), "secret": "receiver", "timeout": "900ms" } });
    home.push(&receiver.url(), &soon);
    let mut ids = Vec::new();
    for round in 0..3 {
        let before = receiver.received().len();
        for n in 0..4 {
            ids.push(format!("{round}-{n}"));
            home.publish(&ids[ids.len() - 1], if n % 2 == 0 { "even" } else { "odd" });
        }
        receiver.wait_for(before + 3);
        home.kill();
        home.start();
    }
    let requests = receiver.wait_for_ids(&ids);
    let mut message_ids = BTreeMap::<String, String>::new();
    for one in &requests {
        let id = one.headers["webhook-id"].clone();
        assert_eq!(message_ids.entry(one.id()).or_insert_with(|| id.clone()), &id, "an event keeps its id");
        assert_eq!(one.signed_by(SECRET), 1);
    }
    let mut different: Vec<&String> = message_ids.values().collect();
    different.sort_unstable();
    different.dedup();
    assert_eq!(different.len(), ids.len(), "no two events have one id");
    let of = |odd: usize| ids.iter().enumerate().filter(|(at, _)| at % 2 == odd).map(|(_, id)| id.clone()).collect();
    let expected = BTreeMap::from([("even".to_owned(), of(0)), ("odd".to_owned(), of(1))]);
    assert_eq!(taken_in_order(&requests), expected);
    assert_eq!(home.hook()["dead_letters"], 0);
}

#[test]
fn what_is_on_its_way_is_awaited_when_the_server_stops() {
    let mut home = home();
    let receiver = Receiver::new(|_, _| Answer::Held);
    home.push(&receiver.url(), &json!({}));
    home.publish("1", "s");
    receiver.wait_for(1);
    std::thread::scope(|scope| {
        let server = home.server.take().unwrap();
        let stopping = scope.spawn(|| server.stop().unwrap());
        receiver.release();
        assert!(stopping.join().unwrap().success());
    });
    home.start();
    home.publish("2", "s");
    let requests = receiver.wait_for(2);
    assert_eq!(requests.iter().map(Received::id).collect::<Vec<_>>(), ["1", "2"], "the first was acknowledged");
}

#[test]
fn an_address_that_is_not_public_is_refused_however_it_is_written() {
    let home = Home::with("webhook-secrets = \"secrets\"\n");
    home.folder.write("secrets/receiver", SECRET);
    let receiver = ok();
    let port = receiver.address.port();
    home.publish("1", "s");
    let hosts =
        ["127.0.0.1", "localhost", "LOCALHOST", "[::ffff:127.0.0.1]", "[::1]", "0x7f.1", "2130706433", "0.0.0.0"];
    for host in hosts {
        home.push(&format!("http://{host}:{port}/"), &json!({ "start": "all", "max_deliveries": 1 }));
        let hook = home.hook_when("a dead letter", |hook| hook["dead_letters"] == 1);
        assert!(reason(&hook).contains("at an address that is not public"), "{host}: {hook}");
        assert_eq!(home.client().delete("/v1/subscriptions/hook").unwrap().status, 204);
    }
    assert!(receiver.received().is_empty());
}

#[test]
fn a_redirect_is_followed_where_its_address_may_be_reached() {
    let home = home();
    let hidden = Receiver::at("127.0.0.2", |_, _| Answer::status(200));
    let (to_hidden, to_here) = (hidden.url(), "/there".to_owned());
    let receiver = Receiver::new(move |one, _| {
        let to = |status: u16, location: &String| Answer::Status(status, Some(("location", location.clone())));
        match (one.path.as_str(), one.event()["subject"].as_str()) {
            ("/there", _) => Answer::status(200),
            (_, Some("hidden")) => to(307, &to_hidden),
            (_, Some("here")) => to(308, &to_here),
            (_, Some("round")) => to(307, &"/in?round".to_owned()),
            _ => to(302, &to_here),
        }
    });
    home.push(&receiver.url(), &json!({ "max_deliveries": 1 }));
    for (at, (subject, said)) in [
        ("hidden", "redirected: `127.0.0.2` is at an address that is not public"),
        ("round", "it redirects more than 3 times"),
        ("old", "it answers 302"),
    ]
    .into_iter()
    .enumerate()
    {
        home.publish(subject, subject);
        let hook = home.hook_when("a dead letter", |hook| hook["dead_letters"] == at + 1);
        assert!(reason(&hook).contains(said), "{hook}");
    }
    home.publish("here", "here");
    home.hook_when("an acknowledgement", |hook| hook["acknowledged"] == 1);
    assert!(hidden.received().is_empty(), "nothing has come there");
    let there = receiver.received().into_iter().find(|one| one.path == "/there").unwrap();
    assert_eq!((there.id().as_str(), there.signed_by(SECRET)), ("here", 1));
    let dead = home.folder.ok(&["subscriptions", "dead", "list", "hook"]);
    assert!(dead.contains("it answers 302") && dead.contains("webhook"), "{dead}");
}

#[test]
fn a_receiver_that_wants_no_more_pauses_its_subscription() {
    let home = home();
    let receiver = Receiver::new(|_, at| Answer::status(if at == 0 { 410 } else { 200 }));
    home.push(&receiver.url(), &json!({}));
    home.publish("1", "s");
    let hook = home.hook_when("a pause", |hook| !hook["paused"].is_null());
    assert!(hook["paused"]["reason"].as_str().unwrap().contains("410"), "{hook}");
    home.publish("2", "s");
    let shown = home.folder.ok(&["subscriptions", "list"]);
    assert!(shown.contains("paused"), "{shown}");
    assert_eq!(receiver.received().len(), 1);
    home.folder.ok(&["subscriptions", "resume", "hook"]);
    let hook = home.hook_when("acknowledgements", |hook| hook["acknowledged"] == 2);
    assert_eq!((&hook["paused"], &hook["failing_since"]), (&Value::Null, &Value::Null));
    home.folder.ok(&["subscriptions", "pause", "hook", "--reason", "repairs"]);
    let shown = home.folder.ok(&["subscriptions", "show", "hook"]);
    assert!(shown.contains("repairs"), "{shown}");
}

#[test]
fn a_receiver_is_left_alone_for_as_long_as_it_asks() {
    let home = home();
    let later = || Answer::Status(503, Some(("retry-after", "1".to_owned())));
    let receiver = Receiver::new(move |_, at| if at == 0 { later() } else { Answer::status(200) });
    home.push(&receiver.url(), &json!({}));
    home.publish("1", "s");
    let requests = receiver.wait_for(2);
    // The back-off of the subscription is a millisecond.
    assert!(requests[1].timestamp() > requests[0].timestamp(), "{requests:?}");
    let hook = home.hook_when("an acknowledgement", |hook| hook["acknowledged"] == 1);
    assert!(reason(&hook).contains("it answers 503") && hook["failing_since"].is_null(), "{hook}");
}

#[test]
fn nothing_is_delivered_while_the_secret_is_missing_or_malformed() {
    let (home, receiver) = (home(), ok());
    std::fs::remove_file(home.folder.path().join("secrets/receiver")).unwrap();
    home.push(&receiver.url(), &json!({ "max_deliveries": 1 }));
    home.publish("1", "s");
    let hook = home.hook_when("a failure", |hook| !hook["failing_since"].is_null());
    assert!(reason(&hook).contains("secret `receiver` cannot be read"), "{hook}");
    home.folder.write("secrets/receiver", "sesame");
    let hook = home.hook_when("another failure", |hook| reason(hook).contains("does not fit"));
    assert!(!hook.to_string().contains("sesame"), "{hook}");
    assert_eq!((&hook["delivered"], receiver.received().len()), (&json!(0), 0));
    home.folder.write("secrets/receiver", SECRET);
    let hook = home.hook_when("an acknowledgement", |hook| hook["acknowledged"] == 1);
    assert_eq!((&hook["delivered"], &hook["failing_since"]), (&json!(1), &Value::Null));
}

#[test]
fn a_subscription_in_a_shell_pushes_or_is_fetched_from_and_not_both() {
    let (home, receiver) = (home(), ok());
    let url = receiver.url();
    let create = ["subscriptions", "create", "hook", "--topic", "orders.>"];
    let pushing = [&create[..], &["--push", &url, "--secret", "receiver", "--timeout", "5s"]].concat();
    home.folder.ok(&pushing);
    home.publish("1", "s");
    receiver.wait_for(1);
    for (args, code, said) in [
        (vec!["subscriptions", "fetch", "hook"], 5, "error[C0812]"),
        ([&create[..], &["--push", "http://u:sesame@a/", "--secret", "s"]].concat(), 2, "error[C0811]"),
        ([&create[..], &["--push", &url, "--secret", "../s"]].concat(), 2, "error[C0002]"),
        ([&pushing[..], &["--ack-wait", "5s"]].concat(), 2, "error[C0811]"),
        ([&create[..], &["--push", &url]].concat(), 2, "--secret"),
    ] {
        let ended = home.folder.run(&args);
        assert!(ended.code == code && ended.err.contains(said), "{args:?}: {ended:#?}");
        assert!(!ended.err.contains("sesame"), "{ended:#?}");
    }
    home.folder.ok(&create);
    home.publish("2", "s");
    let fetched = home.folder.json(&["subscriptions", "fetch", "hook", "--wait", "30s"]);
    assert_eq!(fetched[0]["event"]["id"], "2", "it pushes no more");
    home.folder.ok(&pushing);
    home.publish("3", "s");
    assert_eq!(receiver.wait_for(2)[1].id(), "3");
    home.folder.ok(&["subscriptions", "delete", "hook"]);
}

/// The code of the page for receivers, as it is there.
fn snippet() -> String {
    let page = include_str!("../../../docs/webhooks.md");
    let code = page.split("```python\n").nth(1).unwrap();
    code.split("```").next().unwrap().to_owned()
}

#[test]
fn the_code_for_receivers_in_python_accepts_what_is_pushed_and_nothing_else() {
    let (home, receiver) = (home(), ok());
    home.push(&receiver.url(), &json!({}));
    home.publish("1", "s");
    let one = receiver.wait_for(1)[0].clone();
    let (mut other, mut old) = (one.clone(), one.clone());
    other.body.push(b' ');
    old.headers.insert("webhook-timestamp".to_owned(), (one.timestamp() - 600).to_string());
    for (one, secret, accepted) in
        [(&one, SECRET, "True"), (&other, SECRET, "False"), (&old, SECRET, "False"), (&one, NEW_SECRET, "False")]
    {
        let body = String::from_utf8(one.body.clone()).unwrap();
        let call =
            format!("{}\nprint(is_genuine({secret:?}, {}, {}.encode()))\n", snippet(), json!(one.headers), json!(body));
        home.folder.write("receive.py", &call);
        let ran = Command::new("python3").arg(home.folder.path().join("receive.py")).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&ran.stdout).trim(), accepted, "{ran:?}");
    }
}
