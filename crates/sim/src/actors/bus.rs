//! Publishers and consumers of events.
//!
//! For: publishing with repetitions, fetching, acknowledging, giving back, dying over a delivery, moving a subscription.
//! Not for: judging (see `oracle::bus`), or events that are tasks (workers do those as any).
//! Invariant: a publisher without an answer publishes again; once faults have ended, consumers acknowledge all that they
//! get, and what is dead is delivered again.

use consort_core::{
    Command,
    command::{
        AckDeliveries, Deploy, FetchEvents, NackDeliveries, NewEvent, PauseSubscription, PauseTrigger, PublishEvents,
        ReportPush, SeekSubscription, SetEventRetention, SetSubscription, SetTrigger, SettleDeadLetters,
    },
    rows::{AsTasks, BackOff, EventRetention, OrderKey, Push, SubscriptionSettings, TriggerAction, TriggerSettings},
    view::{Events, Fetched, Published, StartAt},
};
use consort_types::{
    Payload, Span,
    event::{DeliveryId, EventAttributes, Position},
};

use crate::{
    clock::SECOND,
    context::Context,
    event::Event,
    plan::{Checked, Violation},
    random::Random,
    requests::Purpose,
    roster::NAMESPACES,
};

/// Topics of events, and the keys that they are about.
const TOPICS: [&str; 3] = ["orders.created", "orders.paid", "returns.created"];
const SUBJECTS: [Option<&str>; 4] = [Some("k0"), Some("k1"), Some("k2"), None];
/// The subscriptions of each namespace; the second pushes, and its consumer is the one that does. The third hands its
/// events to agents.
const SUBSCRIPTIONS: [&str; 3] = ["plain", "keyed", HANDED];
const HANDED: &str = "handed";
/// What agents are to do with an event that they are handed.
const HANDLES: &str = "work";
/// The trigger of each namespace, and what it starts.
const TRIGGER: &str = "note";
const NOTED: &str = "workflow: noted\nsteps:\n  a: { wait: 1s }\n";

/// An event that is to be published.
#[derive(Debug)]
struct Wanted {
    namespace: usize,
    topic: &'static str,
    subject: Option<&'static str>,
    large: bool,
    /// Where it is, once that was acknowledged.
    position: Option<Position>,
}

/// The publishers and the consumers.
#[derive(Debug)]
pub(crate) struct Bus {
    wanted: Vec<Wanted>,
    /// How many are published so far.
    requested: usize,
    /// Whether the retention may remove events before they are read.
    trims: bool,
}

impl Bus {
    pub(crate) fn new(random: &mut Random) -> Self {
        let count = random.between(6, 40);
        let wanted = (0..count).map(|_| Wanted {
            namespace: random.below(2) as usize,
            topic: random.pick::<&str>(&TOPICS),
            subject: *random.pick(&SUBJECTS),
            large: random.chance(40),
            position: None,
        });
        let wanted = wanted.collect();
        Self { wanted, requested: 0, trims: random.chance(200) }
    }

    /// Whether every event is published, and nothing waits for a consumer or a trigger.
    pub(crate) fn is_settled(&self, ctx: &mut Context) -> bool {
        let published = self.wanted.iter().all(|wanted| wanted.position.is_some());
        published && NAMESPACES.iter().all(|namespace| is_quiet(ctx, namespace).unwrap_or(false))
    }

    pub(crate) fn step(&mut self, ctx: &mut Context) -> Checked {
        let pause = if ctx.is_quiescent() { 4 * SECOND } else { ctx.random.span(10_000, 9 * SECOND) };
        ctx.at(pause, Event::Bus);
        if ctx.host.partition.is_none() {
            return Ok(());
        }
        for namespace in NAMESPACES {
            if set_up(ctx, namespace) {
                return Ok(());
            }
        }
        let all = self.wanted.len();
        self.requested = if ctx.is_quiescent() { all } else { (self.requested + 2).min(all) };
        self.publish(ctx);
        for namespace in 0..NAMESPACES.len() {
            consume(ctx, namespace);
        }
        if !ctx.is_quiescent() {
            self.disturb(ctx);
        }
        Ok(())
    }

    fn publish(&self, ctx: &mut Context) {
        for index in 0..self.requested {
            let again = self.wanted[index].position.is_some();
            if again && (ctx.is_quiescent() || !ctx.random.chance(20)) {
                continue;
            }
            if ctx.requests.is_pending(&Purpose::Publish { index }) && !ctx.random.chance(50) {
                continue;
            }
            let wanted = &self.wanted[index];
            let attributes = EventAttributes {
                id: format!("e{index}"),
                source: "/sim".to_owned(),
                kind: "sim.event".to_owned(),
                topic: wanted.topic.to_owned(),
                subject: wanted.subject.map(str::to_owned),
                ..EventAttributes::default()
            };
            let pad = if wanted.large { "z".repeat(34_000) } else { String::new() };
            let data = Some(Payload::inline(format!("{{\"n\":{index},\"pad\":\"{pad}\"}}").into_bytes()));
            let namespace = NAMESPACES[wanted.namespace].to_owned();
            let command = PublishEvents { namespace, events: vec![NewEvent { attributes, data }] };
            ctx.request(Command::PublishEvents(command), Purpose::Publish { index });
        }
    }

    /// An event has its place, and keeps it for as long as it is kept.
    pub(crate) fn published(&mut self, index: usize, published: &[Published]) -> Checked {
        let [told] = published else {
            return Err(Violation::of(9, format!("the publication of one event is answered with {published:?}")));
        };
        let before = self.wanted[index].position.replace(told.position);
        if let Some(before) = before.filter(|before| *before != told.position && !self.trims) {
            return Err(Violation::of(2, format!("event {index} was at {before}, and now is at {}", told.position)));
        }
        Ok(())
    }

    fn disturb(&self, ctx: &mut Context) {
        if !ctx.random.chance(ctx.faults.disturb / 4) {
            return;
        }
        let namespace = (*ctx.random.pick(&NAMESPACES)).to_owned();
        let name = (*ctx.random.pick(&SUBSCRIPTIONS)).to_owned();
        let command = match ctx.random.below(6) {
            0 => Command::SeekSubscription(SeekSubscription { namespace, name, to: StartAt::All }),
            1 => {
                let some: Vec<Position> = self.wanted.iter().filter_map(|wanted| wanted.position).collect();
                let Some(after) = (!some.is_empty()).then(|| *ctx.random.pick(&some)) else { return };
                Command::SeekSubscription(SeekSubscription { namespace, name, to: StartAt::After(after) })
            }
            2 if self.trims => {
                let keep = EventRetention { count: Some(ctx.random.between(4, 20)), ..EventRetention::default() };
                Command::SetEventRetention(SetEventRetention { namespace, keep })
            }
            3 => {
                let (paused, reason) = (ctx.random.chance(500), Some("sim".to_owned()));
                let only_if = (name == "keyed" && ctx.random.chance(500)).then(webhook);
                Command::PauseSubscription(PauseSubscription { namespace, name, paused, reason, only_if })
            }
            4 => {
                let (push, failure) = (webhook(), ctx.random.chance(500).then(|| "sim".to_owned()));
                Command::ReportPush(ReportPush { namespace, name, push, failure })
            }
            _ => {
                let paused = ctx.random.chance(500);
                Command::PauseTrigger(PauseTrigger { namespace, name: TRIGGER.to_owned(), paused })
            }
        };
        ctx.figures.fault("moves and pauses of subscriptions and triggers");
        ctx.request(command, Purpose::Any);
    }
}

/// Where the second subscription pushes to.
fn webhook() -> Push {
    Push { url: "https://receiver.example/in".to_owned(), secret: "sim".to_owned(), timeout: Span(SECOND) }
}

/// Consumers of a namespace fetch; once faults have ended, what is dead is delivered again.
fn consume(ctx: &mut Context, namespace: usize) {
    for (at, subscription) in SUBSCRIPTIONS.iter().enumerate() {
        let purpose = Purpose::Fetch { namespace, subscription: at };
        if ctx.requests.is_pending(&purpose) {
            continue;
        }
        let name = NAMESPACES[namespace].to_owned();
        if *subscription != HANDED {
            let (max, consumer) = (ctx.random.between(1, 8) as u32, "sim".to_owned());
            let (of, push) = ((*subscription).to_owned(), *subscription == "keyed");
            let command = FetchEvents { namespace: name.clone(), subscription: of, consumer, max, push };
            ctx.request(Command::FetchEvents(command), purpose);
        }
        if ctx.is_quiescent() {
            let (namespace, subscription) = (name, (*subscription).to_owned());
            let redrive = SettleDeadLetters { namespace, subscription, positions: Vec::new(), redrive: true };
            ctx.request(Command::SettleDeadLetters(redrive), Purpose::Any);
        }
    }
}

/// A consumer has got deliveries.
pub(crate) fn fetched(ctx: &mut Context, namespace: usize, subscription: usize, fetched: &Fetched) -> Checked {
    for delivery in &fetched.deliveries {
        if !ctx.is_quiescent() && ctx.random.chance(ctx.faults.bad_attempts) {
            if ctx.random.chance(500) {
                ctx.figures.fault("consumers that died");
                continue;
            }
            ctx.figures.fault("deliveries given back");
            let delay = ctx.random.chance(500).then_some(Span(2 * SECOND));
            settle(ctx, namespace, subscription, |namespace, subscription| {
                let reason = Some("sim".to_owned());
                let deliveries = vec![delivery.delivery];
                Command::NackDeliveries(NackDeliveries { namespace, subscription, deliveries, delay, reason })
            });
            continue;
        }
        acknowledge(ctx, namespace, subscription, delivery.delivery);
        if ctx.random.chance(ctx.faults.twice) {
            acknowledge(ctx, namespace, subscription, delivery.delivery);
        }
    }
    Ok(())
}

fn acknowledge(ctx: &mut Context, namespace: usize, subscription: usize, delivery: DeliveryId) {
    settle(ctx, namespace, subscription, |namespace, subscription| {
        Command::AckDeliveries(AckDeliveries { namespace, subscription, deliveries: vec![delivery] })
    });
}

fn settle(ctx: &mut Context, namespace: usize, subscription: usize, make: impl Fn(String, String) -> Command) {
    let command = make(NAMESPACES[namespace].to_owned(), SUBSCRIPTIONS[subscription].to_owned());
    ctx.request(command, Purpose::Any);
}

/// What a subscription is.
fn settings(name: &str) -> SubscriptionSettings {
    let ordered = (name != "plain").then_some(OrderKey::Subject);
    let tasks = AsTasks { capability: HANDLES.to_owned(), ..AsTasks::default() };
    SubscriptionSettings {
        ordered,
        ack_wait: Span(20 * SECOND),
        max_deliveries: 4,
        back_off: BackOff { first: Span(SECOND), longest: Span(8 * SECOND) },
        max_in_flight: 6,
        push: (name == "keyed").then(webhook),
        tasks: (name == HANDED).then_some(tasks),
        ..SubscriptionSettings::new(if name == "keyed" { ">" } else { "orders.>" })
    }
}

/// Makes what a namespace has not yet; returns whether something was missing.
fn set_up(ctx: &mut Context, namespace: &str) -> bool {
    let of = || namespace.to_owned();
    if ctx.fold.machine.pin_start(namespace, "noted", None).is_err() {
        let compiled = consort_workflow_check::check(NOTED).expect("the workflow is right").compiled;
        ctx.request(Command::Deploy(Deploy { namespace: of(), workflow: compiled }), Purpose::Any);
        return true;
    }
    for name in SUBSCRIPTIONS {
        if Events::of(&mut ctx.fold.machine).subscription(namespace, name).is_ok() {
            continue;
        }
        let (namespace, settings) = (of(), settings(name));
        let command = SetSubscription { namespace, name: name.to_owned(), settings, start: StartAt::New };
        ctx.request(Command::SetSubscription(command), Purpose::Any);
        return true;
    }
    if Events::of(&mut ctx.fold.machine).trigger(namespace, TRIGGER).is_err() {
        let action = TriggerAction::Start { workflow: "noted".to_owned(), version: None, input: None };
        let settings = TriggerSettings { pattern: "orders.*".to_owned(), filter: None, action };
        let command = SetTrigger { namespace: of(), name: TRIGGER.to_owned(), settings };
        ctx.request(Command::SetTrigger(command), Purpose::Any);
        return true;
    }
    false
}

/// Whether every subscription of a namespace has acknowledged all, and the trigger has seen all; what is paused is
/// resumed.
fn is_quiet(ctx: &mut Context, namespace: &str) -> consort_types::Result<bool> {
    for name in SUBSCRIPTIONS {
        let found = Events::of(&mut ctx.fold.machine).subscription(namespace, name)?;
        if found.paused.is_some() {
            let (of, name) = (namespace.to_owned(), name.to_owned());
            let command = PauseSubscription { namespace: of, name, paused: false, reason: None, only_if: None };
            ctx.request(Command::PauseSubscription(command), Purpose::Any);
            return Ok(false);
        }
        if (found.lag, found.open, found.dead) != (0, 0, 0) {
            return Ok(false);
        }
    }
    let trigger = Events::of(&mut ctx.fold.machine).trigger(namespace, TRIGGER)?;
    if trigger.paused {
        let command = PauseTrigger { namespace: namespace.to_owned(), name: TRIGGER.to_owned(), paused: false };
        ctx.request(Command::PauseTrigger(command), Purpose::Any);
    }
    Ok(!trigger.paused && trigger.lag == 0)
}
