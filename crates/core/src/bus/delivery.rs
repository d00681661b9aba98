//! The life of a delivery: held by a consumer, waiting, ready, held back by its key, dead, over.
//!
//! For: the one place where a delivery changes its state, with the lists and counts that follow. Not for: which event is
//! delivered (see `fetch`), or what a consumer says about one (see `settle`).
//! Invariant: the lists and the counts of a subscription are those that its deliveries make; of the events of one key at
//! most one is held, waits or is ready.

use consort_types::{Result, RunId, Seq, Span, event::Position, limits};

use crate::{
    bus::{
        keys::{DeliveryKey, EventKey, EventList, EventListKey},
        rows::{Delivery, DeliveryState, StoredEvent, Subscription},
        schedule, stream,
    },
    context::{ApplyContext, PendingWork},
    key::NamedKey,
    run::{child_runs::cancel_later, delete::delete_run, rows::run::RunStatus},
    state::rows::Marker,
};

/// Why a delivery that no consumer has settled in time is over.
const EXPIRED: &str = "the consumer did not acknowledge it in time";

/// The deliveries of one subscription, while a record changes them.
pub(crate) struct Deliveries<'k> {
    pub(crate) namespace: &'k str,
    pub(crate) name: &'k str,
    pub(crate) subscription: Subscription,
    /// Whether a delivery became ready.
    pub(crate) woken: bool,
}

impl<'k> Deliveries<'k> {
    /// Those of a subscription that is there.
    pub(crate) fn open(ctx: &mut ApplyContext<'_>, namespace: &'k str, name: &'k str) -> Result<Option<Self>> {
        let found = ctx.state.tables.subscriptions.get(&NamedKey::of(namespace, name))?;
        Ok(found.map(|subscription| Self { namespace, name, subscription, woken: false }))
    }

    /// Keeps what has changed, and wakes consumers that wait.
    pub(crate) fn close(self, ctx: &mut ApplyContext<'_>) {
        let key = NamedKey::of(self.namespace, self.name);
        if self.woken && self.subscription.settings.tasks.is_some() {
            ctx.enqueue(PendingWork::HandOut(key.clone()));
        } else if self.woken {
            stream::changed(ctx, self.namespace);
        }
        ctx.state.tables.subscriptions.put(key, self.subscription);
    }

    pub(crate) fn key(&self, position: Position) -> DeliveryKey {
        DeliveryKey::new(self.namespace, self.name, position)
    }

    /// The delivery of an event, where it has one.
    pub(crate) fn find(&self, ctx: &mut ApplyContext<'_>, position: Position) -> Result<Option<Delivery>> {
        ctx.state.tables.deliveries.get(&self.key(position))
    }

    /// The event of a delivery; `None` where the retention has removed it.
    pub(crate) fn event(
        &self,
        ctx: &mut ApplyContext<'_>,
        position: Position,
        delivery: Option<&Delivery>,
    ) -> Result<Option<StoredEvent>> {
        match delivery.and_then(|delivery| delivery.event.as_ref()) {
            Some(kept) => Ok(Some(kept.clone())),
            None => ctx.state.tables.events.get(&EventKey::new(self.namespace, position)),
        }
    }

    /// Changes the delivery of an event from what it was to what it is; `None` is no delivery.
    pub(crate) fn change(
        &mut self,
        ctx: &mut ApplyContext<'_>,
        position: Position,
        from: Option<&Delivery>,
        to: Option<Delivery>,
    ) -> Result<()> {
        let key = self.key(position);
        if let Some(from) = from {
            self.leave(ctx, &key, from)?;
        }
        let ordered = |delivery: Option<&Delivery>| {
            delivery.filter(|delivery| !matches!(delivery.state, DeliveryState::Dead(_))).and_then(|found| found.key)
        };
        match (ordered(from), ordered(to.as_ref())) {
            (Some(hash), None) => {
                ctx.state.tables.event_lists.delete(&EventListKey::of(EventList::Ordered, hash, &key));
            }
            (None, Some(hash)) => {
                ctx.state.tables.event_lists.put(EventListKey::of(EventList::Ordered, hash, &key), Marker);
            }
            _ => {}
        }
        match to {
            Some(to) => {
                self.enter(ctx, &key, &to);
                ctx.state.tables.deliveries.put(key, to);
            }
            None => ctx.state.tables.deliveries.delete(&key),
        }
        Ok(())
    }

    fn leave(&mut self, ctx: &mut ApplyContext<'_>, key: &DeliveryKey, from: &Delivery) -> Result<()> {
        let list = |list, at| EventListKey::of(list, at, key);
        match from.state {
            DeliveryState::InFlight(until) | DeliveryState::Waiting(until) => {
                schedule::unschedule(ctx, &list(EventList::Due, until.0))?;
            }
            DeliveryState::Ready => ctx.state.tables.event_lists.delete(&list(EventList::Ready, 0)),
            DeliveryState::Held | DeliveryState::Task(_) => {}
            DeliveryState::Dead(_) => ctx.state.tables.event_lists.delete(&list(EventList::Dead, 0)),
        }
        // Consumers may wait for room.
        let full = self.subscription.room() == 0;
        self.woken |= full && from.state.is_in_flight();
        self.woken |= self.subscription.open >= limits::EVENT_OPEN_DELIVERIES_MAX;
        self.count(from.state, |count| *count -= 1);
        Ok(())
    }

    fn enter(&mut self, ctx: &mut ApplyContext<'_>, key: &DeliveryKey, to: &Delivery) {
        let list = |list, at| EventListKey::of(list, at, key);
        match to.state {
            DeliveryState::InFlight(until) | DeliveryState::Waiting(until) => {
                schedule::schedule(ctx, list(EventList::Due, until.0));
            }
            DeliveryState::Ready => {
                self.woken = true;
                ctx.state.tables.event_lists.put(list(EventList::Ready, 0), Marker);
            }
            DeliveryState::Held | DeliveryState::Task(_) => {}
            DeliveryState::Dead(_) => ctx.state.tables.event_lists.put(list(EventList::Dead, 0), Marker),
        }
        self.count(to.state, |count| *count += 1);
    }

    fn count(&mut self, state: DeliveryState, change: impl Fn(&mut u32)) {
        match state {
            DeliveryState::Dead(_) => change(&mut self.subscription.dead),
            DeliveryState::InFlight(_) | DeliveryState::Task(_) => {
                change(&mut self.subscription.in_flight);
                change(&mut self.subscription.open);
            }
            _ => change(&mut self.subscription.open),
        }
    }

    /// Whether an event of this key is open.
    pub(crate) fn has_open(&self, ctx: &mut ApplyContext<'_>, hash: u64) -> Result<bool> {
        let (from, to) = self.of_key(hash);
        Ok(!ctx.state.tables.event_lists.range(&from, &to, 1)?.is_empty())
    }

    fn of_key(&self, hash: u64) -> (EventListKey, EventListKey) {
        let at = |position| EventListKey::of(EventList::Ordered, hash, &self.key(position));
        (at(Position::ZERO), at(Position::MAX))
    }

    /// An event of this key is over: the next one is delivered.
    fn release_next(&mut self, ctx: &mut ApplyContext<'_>, key: Option<u64>) -> Result<()> {
        let Some(hash) = key else { return Ok(()) };
        let (from, to) = self.of_key(hash);
        let Some((first, _)) = ctx.state.tables.event_lists.range(&from, &to, 1)?.pop() else { return Ok(()) };
        let Some(held) = self.find(ctx, first.position)? else { return Ok(()) };
        if held.state != DeliveryState::Held {
            return Ok(());
        }
        let ready = Delivery { state: DeliveryState::Ready, ..held.clone() };
        self.change(ctx, first.position, Some(&held), Some(ready))
    }

    /// The delivery is over: acknowledged, dropped, or without its event.
    pub(crate) fn end(&mut self, ctx: &mut ApplyContext<'_>, position: Position, delivery: &Delivery) -> Result<()> {
        self.let_go(ctx, delivery)?;
        self.remove(ctx, position, delivery)
    }

    /// The same, where something else decides about its run.
    pub(crate) fn remove(&mut self, ctx: &mut ApplyContext<'_>, position: Position, delivery: &Delivery) -> Result<()> {
        ctx.charge(1);
        if let Some(data) = delivery.event.as_ref().and_then(|event| event.data.as_ref()) {
            ctx.release(data)?;
        }
        self.change(ctx, position, Some(delivery), None)?;
        if matches!(delivery.state, DeliveryState::Dead(_)) { Ok(()) } else { self.release_next(ctx, delivery.key) }
    }

    /// The delivery has failed: the event is delivered again after `wait` (without one, after the back-off), or is a
    /// dead letter.
    pub(crate) fn give_back(
        &mut self,
        ctx: &mut ApplyContext<'_>,
        position: Position,
        delivery: &Delivery,
        wait: Option<Span>,
        failed: (Option<Seq>, String),
    ) -> Result<()> {
        let settings = &self.subscription.settings;
        let (token, reason) = failed;
        let mut next = Delivery { token, reason: Some(reason), ..delivery.clone() };
        if delivery.deliveries >= settings.max_deliveries {
            return self.bury(ctx, position, Some(delivery), next);
        }
        let wait = wait.unwrap_or_else(|| settings.back_off.after(delivery.deliveries));
        next.state =
            if wait == Span::ZERO { DeliveryState::Ready } else { DeliveryState::Waiting(ctx.now.after(wait)) };
        self.change(ctx, position, Some(delivery), Some(next))
    }

    /// What is left of a delivery that goes before its run has settled it: the run ends, or is not kept any longer.
    fn let_go(&self, ctx: &mut ApplyContext<'_>, delivery: &Delivery) -> Result<()> {
        match (delivery.state, delivery.run) {
            (DeliveryState::Task(run), _) => {
                cancel_later(ctx, run, &format!("subscription `{}` was moved or deleted", self.name), false);
                Ok(())
            }
            (_, Some(run)) => forget_run(ctx, run),
            (_, None) => Ok(()),
        }
    }

    /// The event becomes a dead letter, which holds the event itself; `delivery` is its row, where it has one.
    pub(crate) fn bury(
        &mut self,
        ctx: &mut ApplyContext<'_>,
        position: Position,
        delivery: Option<&Delivery>,
        mut dead: Delivery,
    ) -> Result<()> {
        if dead.event.is_none() {
            let Some(event) = self.event(ctx, position, None)? else {
                self.subscription.missed += 1;
                return delivery.map_or(Ok(()), |delivery| self.end(ctx, position, delivery));
            };
            if let Some(data) = &event.data {
                ctx.retain(data)?;
            }
            dead.event = Some(event);
        }
        if self.subscription.dead >= limits::EVENT_DEAD_LETTERS_MAX {
            self.drop_oldest(ctx)?;
        }
        (dead.state, dead.token) = (DeliveryState::Dead(ctx.now), None);
        self.change(ctx, position, delivery, Some(dead))?;
        delivery.map_or(Ok(()), |delivery| self.release_next(ctx, delivery.key))
    }

    fn drop_oldest(&mut self, ctx: &mut ApplyContext<'_>) -> Result<()> {
        let Some(oldest) = self.places(ctx, EventList::Dead, 1)?.pop() else { return Ok(()) };
        if let Some(dead) = self.find(ctx, oldest)? {
            self.subscription.overflowed += 1;
            self.end(ctx, oldest, &dead)?;
        }
        Ok(())
    }

    /// The first places of a list of this subscription.
    pub(crate) fn places(&self, ctx: &mut ApplyContext<'_>, list: EventList, limit: usize) -> Result<Vec<Position>> {
        let at = |position| EventListKey::of(list, 0, &self.key(position));
        let rows = ctx.state.tables.event_lists.range(&at(Position::ZERO), &at(Position::MAX), limit)?;
        Ok(rows.into_iter().map(|(key, _)| key.position).collect())
    }

    /// Ends every delivery that is not dead, and the dead ones too where `all` says so; there is a bounded number.
    pub(crate) fn clear(&mut self, ctx: &mut ApplyContext<'_>, all: bool) -> Result<()> {
        let (from, to) = (self.key(Position::ZERO), self.key(Position::MAX));
        let max = limits::EVENT_OPEN_DELIVERIES_MAX + limits::EVENT_DEAD_LETTERS_MAX;
        for (key, delivery) in ctx.state.tables.deliveries.range(&from, &to, max as usize)? {
            if !all && matches!(delivery.state, DeliveryState::Dead(_)) {
                continue;
            }
            ctx.charge(1);
            self.let_go(ctx, &delivery)?;
            if let Some(data) = delivery.event.as_ref().and_then(|event| event.data.as_ref()) {
                ctx.release(data)?;
            }
            self.change(ctx, key.position, Some(&delivery), None)?;
        }
        Ok(())
    }
}

/// The run of a delivery, which an earlier record has ended, is not kept any longer.
pub(crate) fn forget_run(ctx: &mut ApplyContext<'_>, id: RunId) -> Result<()> {
    match ctx.state.tables.runs.get(&id)? {
        Some(run) if run.status.is_terminal() && run.status != RunStatus::Deleted => delete_run(ctx, id, run),
        _ => Ok(()),
    }
}

/// The lease or the back-off of a delivery has ended.
pub(crate) fn came_due(ctx: &mut ApplyContext<'_>, key: &DeliveryKey) -> Result<()> {
    let Some(mut deliveries) = Deliveries::open(ctx, &key.namespace, &key.subscription)? else { return Ok(()) };
    let Some(delivery) = deliveries.find(ctx, key.position)? else { return Ok(()) };
    match delivery.state {
        DeliveryState::InFlight(until) if until <= ctx.now => {
            let failed = (delivery.token, EXPIRED.to_owned());
            deliveries.give_back(ctx, key.position, &delivery, None, failed)?;
        }
        DeliveryState::Waiting(until) if until <= ctx.now => {
            let ready = Delivery { state: DeliveryState::Ready, ..delivery.clone() };
            deliveries.change(ctx, key.position, Some(&delivery), Some(ready))?;
        }
        _ => return Ok(()),
    }
    deliveries.close(ctx);
    Ok(())
}
