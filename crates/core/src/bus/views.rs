//! What people and programs see of the event bus.
//!
//! For: listing events, subscriptions, dead letters and triggers. Not for: changing any of them.
//! Invariant: a view changes nothing, and looks at a bounded number of rows.

use consort_types::{
    Code, Error, Result, RunId, Seq, Time,
    event::{Position, topic_matches},
    limits,
};

use crate::{
    bus::{
        keys::{DeliveryKey, EventKey, EventList, EventListKey},
        rows::{
            Delivery, DeliveryState, EventRetention, Owner, Paused, Push, PushFailure, Subscription,
            SubscriptionSettings, Trigger, TriggerFailure, TriggerSettings,
        },
        shown::EventView,
        stream::{self, StartAt},
        subscription, trigger,
    },
    key::NamedKey,
    machine::Machine,
    page::{Page, bad_cursor, bounded},
    registry::agents::PAST,
};

/// Events that one look reads at once.
const PAGE: usize = 256;

/// A part of the events of a namespace.
#[derive(Clone, Debug, PartialEq)]
pub struct EventPage {
    /// The events that match.
    pub events: Vec<EventView>,
    /// The last place that was looked at: the next part begins behind it.
    pub seen: Position,
    /// Whether there is more behind it.
    pub more: bool,
}

/// What a namespace keeps of its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventStreamView {
    /// How long and how many it keeps.
    pub keep: EventRetention,
    /// Events that it keeps.
    pub events: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The oldest of them.
    pub oldest: Option<Position>,
    /// The last event that was published.
    pub last: Option<Position>,
}

/// A subscription, as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct SubscriptionView {
    /// Its name.
    pub name: String,
    /// What it is.
    pub settings: SubscriptionSettings,
    /// When it was made.
    pub created: Time,
    /// The last event that it has looked at.
    pub cursor: Position,
    /// Events behind that, of any topic.
    pub lag: u64,
    /// Deliveries that consumers hold.
    pub in_flight: u32,
    /// Events that were looked at and are not settled, those included.
    pub open: u32,
    /// Dead letters.
    pub dead: u32,
    /// Deliveries ever made.
    pub delivered: u64,
    /// Events that were acknowledged.
    pub acknowledged: u64,
    /// Events that the retention removed before they were looked at, or before they were acknowledged.
    pub missed: u64,
    /// Dead letters that were dropped because there were too many.
    pub overflowed: u64,
    /// Whether it is paused.
    pub paused: Option<Paused>,
    /// Since when its webhook takes nothing.
    pub failing_since: Option<Time>,
    /// The last failure of its webhook.
    pub last_failure: Option<PushFailure>,
    /// Events of its topics that its filter has passed over.
    pub filtered: u64,
    /// The agent that declares it.
    pub owner: Option<Owner>,
}

/// A subscription whose events are sent to a webhook, as the one who sends them needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushView {
    /// The namespace.
    pub namespace: String,
    /// The subscription.
    pub name: String,
    /// The webhook.
    pub push: Push,
    /// When the subscription was made.
    pub created: Time,
    /// The record that made it.
    pub made: Seq,
    /// Whether it is paused.
    pub paused: bool,
    /// Since when its webhook takes nothing.
    pub failing_since: Option<Time>,
}

/// A part of the subscriptions that push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushPage {
    /// Those in it.
    pub pushes: Vec<PushView>,
    /// The namespace and the name behind which the next part begins, where there is one.
    pub next: Option<(String, String)>,
}

/// A dead letter, as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetterView {
    /// The event.
    pub event: EventView,
    /// Since when it is dead.
    pub since: Time,
    /// How often it was delivered.
    pub deliveries: u32,
    /// The consumer that got it last.
    pub consumer: Option<String>,
    /// Why the last delivery failed.
    pub reason: Option<String>,
    /// The run that the last delivery was a task of; it is kept as long as the dead letter is.
    pub run: Option<RunId>,
}

/// A trigger, as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct TriggerView {
    /// Its name.
    pub name: String,
    /// What it does.
    pub settings: TriggerSettings,
    /// When it was made.
    pub created: Time,
    /// Whether it is paused.
    pub paused: bool,
    /// Events that it has not seen yet, of any topic.
    pub lag: u64,
    /// Events that it has acted on.
    pub fired: u64,
    /// Events of its topics that its filter has passed over.
    pub filtered: u64,
    /// Events with which it failed.
    pub failed: u64,
    /// Events that the retention removed before it saw them.
    pub missed: u64,
    /// When it acted last.
    pub last_fired: Option<Time>,
    /// The latest failures, the newest last.
    pub failures: Vec<TriggerFailure>,
}

/// The event bus of a machine, for reading.
pub struct Events<'m>(&'m mut Machine);

impl<'m> Events<'m> {
    /// The event bus of a machine.
    pub fn of(machine: &'m mut Machine) -> Self {
        Self(machine)
    }

    /// The place behind which reading begins.
    ///
    /// # Errors
    /// [`Code::EventsTrimmed`] where events behind the position were removed.
    pub fn place(&mut self, namespace: &str, start: StartAt) -> Result<Position> {
        let stream = stream::stream(&mut self.0.state, namespace)?;
        Ok(stream::place(&self.0.state, namespace, &stream, start)?.0)
    }

    /// The events behind a place that match a pattern of topics, at most `limit`.
    ///
    /// # Errors
    /// [`Code::EventsTrimmed`] where events behind the place were removed.
    pub fn list(&mut self, namespace: &str, pattern: Option<&str>, after: Position, limit: usize) -> Result<EventPage> {
        let stream = stream::stream(&mut self.0.state, namespace)?;
        stream::check_kept(&self.0.state, namespace, &stream, after)?;
        let (limit, mut looked_at) = (bounded(limit), 0);
        let mut page = EventPage { events: Vec::new(), seen: after, more: true };
        while looked_at < limits::EVENT_SCAN_MAX {
            let events = stream::events_after(&self.0.state, namespace, page.seen, PAGE)?;
            let last = events.len() < PAGE;
            for (position, event) in events {
                if page.events.len() == limit {
                    return Ok(page);
                }
                (page.seen, looked_at) = (position, looked_at + 1);
                if pattern.is_none_or(|pattern| topic_matches(pattern, &event.attributes.topic)) {
                    page.events.push(EventView::of(position, event));
                }
            }
            if last {
                page.more = false;
                return Ok(page);
            }
            if page.events.len() == limit {
                return Ok(page);
            }
        }
        Ok(page)
    }

    /// An event.
    ///
    /// # Errors
    /// [`Code::EventNotFound`].
    pub fn event(&mut self, namespace: &str, position: Position) -> Result<EventView> {
        let found = self.0.state.tables.events.read_uncached(&EventKey::new(namespace, position))?;
        found.map(|event| EventView::of(position, event)).ok_or_else(|| {
            Error::new(Code::EventNotFound, format!("there is no event `{position}` in namespace `{namespace}`"))
                .hint("`consort events list` shows those that are kept")
        })
    }

    /// What a namespace keeps of its events.
    pub fn stream(&mut self, namespace: &str) -> Result<EventStreamView> {
        let stream = stream::stream(&mut self.0.state, namespace)?;
        let oldest = stream::events_after(&self.0.state, namespace, stream.trimmed, 1)?;
        Ok(EventStreamView {
            keep: stream.retention.unwrap_or_default(),
            events: stream.count,
            bytes: stream.bytes,
            oldest: oldest.first().map(|(position, _)| *position),
            last: (stream.published > 0).then_some(stream.last),
        })
    }

    /// Whether a fetch may give something now, or has to look further than a look may; `push` as in
    /// [`FetchEvents`](crate::command::FetchEvents).
    ///
    /// # Errors
    /// [`Code::SubscriptionNotFound`], [`Code::SubscriptionPushes`].
    pub fn is_fetchable(&mut self, namespace: &str, name: &str, push: bool) -> Result<bool> {
        let found = self.0.state.tables.subscriptions.get(&NamedKey::of(namespace, name))?;
        let Some(subscription) = found else { return Err(subscription::not_found(namespace, name)) };
        let settings = &subscription.settings;
        subscription::check_consumer(name, settings, push)?;
        if subscription.paused.is_some() || subscription.in_flight >= settings.max_in_flight {
            return Ok(false);
        }
        let at = |position| EventListKey::of(EventList::Ready, 0, &DeliveryKey::new(namespace, name, position));
        let ready = self.0.state.tables.event_lists.range(&at(Position::ZERO), &at(Position::MAX), 1)?;
        if !ready.is_empty() || subscription.open >= limits::EVENT_OPEN_DELIVERIES_MAX {
            return Ok(!ready.is_empty());
        }
        let next = stream::events_after(&self.0.state, namespace, subscription.cursor, PAGE)?;
        let fits = next.iter().any(|(_, event)| topic_matches(&settings.pattern, &event.attributes.topic));
        Ok(fits || next.len() == PAGE)
    }

    /// The subscriptions of a namespace, by name.
    pub fn subscriptions(
        &mut self,
        namespace: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<SubscriptionView>> {
        let published = stream::stream(&mut self.0.state, namespace)?.published;
        let (from, to, limit) =
            (NamedKey::of(namespace, cursor.unwrap_or("")), NamedKey::of(namespace, PAST), bounded(limit));
        let mut rows = self.0.state.tables.subscriptions.range(&from, &to, limit + 1)?;
        let next = if rows.len() > limit { rows.pop().map(|(key, _)| key.name) } else { None };
        let items = rows.into_iter().map(|(key, row)| subscription_view(key.name, row, published)).collect();
        Ok(Page { items, next })
    }

    /// The subscriptions that push, of all namespaces, from behind a namespace and a name on: a part of bounded size, and
    /// behind which the next one begins.
    pub fn pushes(&mut self, after: Option<(String, String)>) -> Result<PushPage> {
        let (namespace, name) = after.unwrap_or_default();
        let from = NamedKey { number: 1, ..NamedKey::of(&namespace, &name) };
        let rows = self.0.state.tables.subscriptions.range(&from, &NamedKey::of(PAST, ""), PAGE)?;
        let next = rows.last().filter(|_| rows.len() == PAGE).map(|(key, _)| (key.namespace.clone(), key.name.clone()));
        Ok(PushPage { pushes: rows.into_iter().filter_map(|(key, row)| push_view(key, row)).collect(), next })
    }

    /// A subscription.
    ///
    /// # Errors
    /// [`Code::SubscriptionNotFound`].
    pub fn subscription(&mut self, namespace: &str, name: &str) -> Result<SubscriptionView> {
        let published = stream::stream(&mut self.0.state, namespace)?.published;
        let found = self.0.state.tables.subscriptions.get(&NamedKey::of(namespace, name))?;
        let found = found.map(|row| subscription_view(name.to_owned(), row, published));
        found.ok_or_else(|| subscription::not_found(namespace, name))
    }

    /// The dead letters of a subscription, in the order of their events.
    ///
    /// # Errors
    /// [`Code::SubscriptionNotFound`], [`Code::BadCursor`].
    pub fn dead_letters(
        &mut self,
        namespace: &str,
        name: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<DeadLetterView>> {
        self.subscription(namespace, name)?;
        let from = cursor.map(|text| text.parse().map_err(|_| bad_cursor(text))).transpose()?;
        let at = |position| EventListKey::of(EventList::Dead, 0, &DeliveryKey::new(namespace, name, position));
        let (from, limit) = (from.unwrap_or(Position::ZERO), bounded(limit));
        let mut places = self.0.state.tables.event_lists.range(&at(from), &at(Position::MAX), limit + 1)?;
        let next = if places.len() > limit { places.pop().map(|(key, _)| key.position.to_string()) } else { None };
        let mut items = Vec::with_capacity(places.len());
        for (place, _) in places {
            let key = DeliveryKey::new(namespace, name, place.position);
            let dead = self.0.state.tables.deliveries.read_uncached(&key)?;
            items.extend(dead.and_then(|dead| dead_letter(place.position, dead)));
        }
        Ok(Page { items, next })
    }

    /// The triggers of a namespace, by name.
    pub fn triggers(&mut self, namespace: &str) -> Result<Vec<TriggerView>> {
        let (from, to) = (NamedKey::of(namespace, ""), NamedKey::of(namespace, PAST));
        let rows = self.0.state.tables.triggers.range(&from, &to, limits::EVENT_TRIGGERS_MAX)?;
        rows.into_iter().map(|(key, row)| self.trigger_view(namespace, key.name, row)).collect()
    }

    /// A trigger.
    ///
    /// # Errors
    /// [`Code::TriggerNotFound`].
    pub fn trigger(&mut self, namespace: &str, name: &str) -> Result<TriggerView> {
        match self.0.state.tables.triggers.get(&NamedKey::of(namespace, name))? {
            Some(row) => self.trigger_view(namespace, name.to_owned(), row),
            None => Err(trigger::not_found(namespace, name)),
        }
    }

    fn trigger_view(&mut self, namespace: &str, name: String, row: Trigger) -> Result<TriggerView> {
        let stream = stream::stream(&mut self.0.state, namespace)?;
        let seen = if let Some(behind) = row.behind {
            behind.ordinal
        } else {
            let position = trigger::seen_by(&stream, &name).max(row.since);
            stream::ordinal_at(&self.0.state, namespace, &stream, position)?
        };
        Ok(TriggerView {
            name,
            lag: stream.published - seen,
            settings: row.settings,
            created: row.created,
            paused: row.paused,
            fired: row.fired,
            filtered: row.filtered,
            failed: row.failed,
            missed: row.missed,
            last_fired: row.last_fired,
            failures: row.failures,
        })
    }
}

fn subscription_view(name: String, row: Subscription, published: u64) -> SubscriptionView {
    SubscriptionView {
        name,
        lag: published - row.looked,
        settings: row.settings,
        created: row.created,
        cursor: row.cursor,
        in_flight: row.in_flight,
        open: row.open,
        dead: row.dead,
        delivered: row.delivered,
        acknowledged: row.acknowledged,
        missed: row.missed,
        overflowed: row.overflowed,
        paused: row.paused,
        failing_since: row.failing_since,
        last_failure: row.last_failure,
        filtered: row.filtered,
        owner: row.owner,
    }
}

fn push_view(key: NamedKey, row: Subscription) -> Option<PushView> {
    Some(PushView {
        namespace: key.namespace,
        name: key.name,
        push: row.settings.push?,
        created: row.created,
        made: row.made,
        paused: row.paused.is_some(),
        failing_since: row.failing_since,
    })
}

fn dead_letter(position: Position, dead: Delivery) -> Option<DeadLetterView> {
    let DeliveryState::Dead(since) = dead.state else { return None };
    let Delivery { deliveries, consumer, reason, run, .. } = dead;
    let event = EventView::of(position, dead.event?);
    Some(DeadLetterView { event, since, deliveries, consumer, reason, run })
}
