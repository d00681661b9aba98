//! Between the documents of events, subscriptions and triggers and what the engine knows of them.
//!
//! For: one function for each document, in both directions. Not for: deciding anything.
//! Invariant: an event keeps its attributes and the bytes of its data.

use consort_api::{
    self as api, Problem, events, subscriptions as subs,
    triggers::{self, TriggeredSignal, TriggeredStart},
};
use consort_engine::{
    self as engine,
    view::{self, NewEvent, StartAt, TriggerAction},
};
use consort_types::{Code, Error, Result, Span, Time, event::EventAttributes, limits};

/// An event to publish.
///
/// # Errors
/// [`Code::BadEvent`] where it has a place already.
pub(crate) fn new_event(event: events::CloudEvent) -> Result<NewEvent> {
    if event.position.is_some() || event.published.is_some() {
        return Err(Error::new(Code::BadEvent, "an event that is published has no `position` and no `published` yet")
            .hint("leave them out: the server sets them"));
    }
    let attributes = EventAttributes {
        id: event.id,
        source: event.source,
        topic: event.topic.unwrap_or_else(|| event.kind.clone()),
        kind: event.kind,
        subject: event.subject,
        time: event.time,
        datacontenttype: event.datacontenttype,
        dataschema: event.dataschema,
        extensions: event.extensions,
    };
    Ok(NewEvent { attributes, data: event.data.map(Into::into) })
}

pub(crate) fn event(event: view::EventView) -> events::CloudEvent {
    let at = (event.position, event.published);
    events::CloudEvent::kept(event.attributes, event.data.map(Into::into), at)
}

pub(crate) fn published(published: Vec<view::Published>) -> events::PublishedEvents {
    let each = |one: view::Published| events::PublishedEvent { position: one.position, deduplicated: one.deduplicated };
    events::PublishedEvents { events: published.into_iter().map(each).collect() }
}

pub(crate) fn event_page(page: view::EventPage) -> api::Page<events::CloudEvent> {
    let next = page.more.then(|| page.seen.to_string());
    api::Page { items: page.events.into_iter().map(event).collect(), next }
}

pub(crate) fn stream(stream: view::EventStreamView) -> events::EventStream {
    let view::EventRetention { age, bytes, count } = stream.keep;
    events::EventStream {
        keep: events::EventRetention { age, bytes, count },
        events: stream.events,
        bytes: stream.bytes,
        oldest: stream.oldest,
        last: stream.last,
    }
}

/// Where to begin: one of the three, or `without`.
///
/// # Errors
/// [`Code::BadRequest`] where more than one is given.
pub(crate) fn start_at(
    word: Option<subs::StartWord>,
    after: Option<&str>,
    since: Option<Time>,
    without: Option<StartAt>,
) -> Result<StartAt> {
    let word = word.map(|word| match word {
        subs::StartWord::New => StartAt::New,
        subs::StartWord::All => StartAt::All,
    });
    let after = after.map(|text| text.parse().map(StartAt::After)).transpose()?;
    let given: Vec<StartAt> = [word, after, since.map(StartAt::Since)].into_iter().flatten().collect();
    match (given.as_slice(), without) {
        ([one], _) => Ok(*one),
        ([], Some(without)) => Ok(without),
        _ => {
            Err(Error::new(Code::BadRequest, format!("`{}` places to begin are given, and there is one", given.len()))
                .hint("give a position, an instant, or a word such as `all`"))
        }
    }
}

fn order_of(order: view::OrderKey) -> subs::OrderKey {
    match order {
        view::OrderKey::Subject => subs::OrderKey::Subject,
        view::OrderKey::PartitionKey => subs::OrderKey::Partitionkey,
    }
}

/// The settings that a request means, with the default for what it leaves out.
pub(crate) fn settings(request: &subs::SubscriptionRequest) -> engine::SubscriptionText {
    let plain = view::SubscriptionSettings::new(&request.topic);
    let in_flight = if request.tasks.is_some() { limits::EVENT_TASKS_DEFAULT } else { plain.max_in_flight };
    let settings = view::SubscriptionSettings {
        ordered: request.ordered.map(|order| match order {
            subs::OrderKey::Subject => view::OrderKey::Subject,
            subs::OrderKey::Partitionkey => view::OrderKey::PartitionKey,
        }),
        ack_wait: request.ack_wait.unwrap_or(plain.ack_wait),
        max_deliveries: request.max_deliveries.unwrap_or(plain.max_deliveries),
        back_off: request
            .back_off
            .map_or(plain.back_off, |wait| view::BackOff { first: wait.first, longest: wait.longest }),
        max_in_flight: request.max_in_flight.unwrap_or(in_flight),
        push: request.push.clone().map(|push| view::Push {
            url: push.url,
            secret: push.secret,
            timeout: push.timeout.unwrap_or(Span::from_secs(limits::WEBHOOK_TIMEOUT_SECONDS_DEFAULT)),
        }),
        tasks: request.tasks.clone().map(|tasks| {
            let subs::AsTasks { capability, agent, timeout, keep } = tasks;
            view::AsTasks { capability, agent, timeout, keep }
        }),
        ..plain
    };
    engine::SubscriptionText { filter: request.filter.clone(), settings }
}

pub(crate) fn subscription(view: view::SubscriptionView) -> subs::Subscription {
    let settings = view.settings;
    subs::Subscription {
        name: view.name,
        topic: settings.pattern,
        ordered: settings.ordered.map(order_of),
        ack_wait: settings.ack_wait,
        max_deliveries: settings.max_deliveries,
        back_off: subs::BackOff { first: settings.back_off.first, longest: settings.back_off.longest },
        max_in_flight: settings.max_in_flight,
        created_at: view.created,
        position: view.cursor,
        lag: view.lag,
        in_flight: view.in_flight,
        open: view.open,
        dead_letters: view.dead,
        delivered: view.delivered,
        acknowledged: view.acknowledged,
        missed: view.missed,
        dropped: view.overflowed,
        push: settings.push.map(|push| subs::Push { url: push.url, secret: push.secret, timeout: Some(push.timeout) }),
        filter: settings.filter.map(|filter| filter.0.source().to_owned()),
        filtered: view.filtered,
        tasks: settings.tasks.map(|tasks| {
            let view::AsTasks { capability, agent, timeout, keep } = tasks;
            subs::AsTasks { capability, agent, timeout, keep }
        }),
        declared_by: view
            .owner
            .filter(|owner| !owner.withdrawn)
            .map(|owner| subs::SubscriptionOwner { agent: owner.agent, version: owner.version }),
        paused: view.paused.map(|paused| subs::PausedSubscription { since: paused.since, reason: paused.reason }),
        failing_since: view.failing_since,
        last_failure: view.last_failure.map(|last| subs::PushFailure { at: last.at, reason: last.reason }),
    }
}

pub(crate) fn fetched(fetched: view::Fetched) -> subs::FetchedEvents {
    let each = |one: view::DeliveredEvent| subs::EventDelivery {
        delivery: one.delivery,
        attempt: one.attempt,
        until: one.until,
        event: event(one.event),
    };
    subs::FetchedEvents { deliveries: fetched.deliveries.into_iter().map(each).collect() }
}

pub(crate) fn settled(settled: view::Settled) -> subs::SettledDeliveries {
    let each = |(delivery, error)| subs::UnsettledDelivery { delivery, problem: Problem::of(&error) };
    subs::SettledDeliveries { settled: settled.settled, refused: settled.refused.into_iter().map(each).collect() }
}

pub(crate) fn dead_letter(letter: view::DeadLetterView) -> subs::DeadLetter {
    subs::DeadLetter {
        event: event(letter.event),
        since: letter.since,
        deliveries: letter.deliveries,
        consumer: letter.consumer,
        reason: letter.reason,
        run: letter.run,
    }
}

/// What a request for a trigger says.
///
/// # Errors
/// [`Code::BadTrigger`] where it names no action, or two.
pub(crate) fn trigger_text(request: triggers::TriggerRequest) -> Result<engine::TriggerText> {
    let action = match (request.start, request.signal) {
        (Some(TriggeredStart { workflow, version, input }), None) => {
            engine::TriggerActionText::Start { workflow, version, input }
        }
        (None, Some(TriggeredSignal { run, name, payload })) => {
            engine::TriggerActionText::Signal { run, name, payload }
        }
        (both, _) => {
            let said = if both.is_some() { "two actions" } else { "no action" };
            return Err(Error::new(Code::BadTrigger, format!("the trigger names {said}"))
                .hint("give either `start` or `signal`"));
        }
    };
    Ok(engine::TriggerText { pattern: request.topic, filter: request.filter, action })
}

pub(crate) fn trigger(view: view::TriggerView) -> triggers::Trigger {
    let source = |expression: &view::Expression| expression.source().to_owned();
    let settings = view.settings;
    let (start, signal) = match settings.action {
        TriggerAction::Start { workflow, version, input } => {
            (Some(TriggeredStart { workflow, version, input: input.as_ref().map(source) }), None)
        }
        TriggerAction::Signal { run, name, payload } => {
            (None, Some(TriggeredSignal { run: source(&run), name, payload: payload.as_ref().map(source) }))
        }
    };
    let failure = |failure: view::TriggerFailure| triggers::TriggerFailure {
        position: failure.position,
        at: failure.at,
        error: failure.error.into(),
    };
    triggers::Trigger {
        name: view.name,
        topic: settings.pattern,
        filter: settings.filter.as_ref().map(source),
        start,
        signal,
        created_at: view.created,
        paused: view.paused,
        lag: view.lag,
        fired: view.fired,
        filtered: view.filtered,
        failed: view.failed,
        missed: view.missed,
        last_fired_at: view.last_fired,
        failures: view.failures.into_iter().map(failure).collect(),
    }
}
