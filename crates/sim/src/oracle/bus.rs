//! What must hold of events, subscriptions and triggers, by the records alone.
//!
//! For: a second account of who has published, got and acknowledged what, held against each reply; and the counts of the
//! rows. Not for: making events (see `actors::bus`).
//! Invariant: it never asks the machine what it has done: it sees commands, replies and rows.

use std::collections::{BTreeMap, BTreeSet};

use consort_core::{
    Command, Reply, TABLES,
    command::PauseSubscription,
    keys::{DeliveryKey, EventIdKey, EventKey, EventList, EventListKey, NamedKey, SpaceEventKey},
    rows::{
        Delivery, DeliveryState, EventStream, Run, Space, StoredEvent, Subscription, SubscriptionSettings, Trigger,
    },
    view::{Fetched, Published},
};
use consort_types::{
    Result, RunId, Seq, Time,
    event::{DeliveryId, EventAttributes, Position, topic_matches},
    state::SpaceId,
};

use super::rows::{self, Change, Rows};
use crate::plan::{Checked, Violation};

/// A subscription, as its commands tell of it.
#[derive(Debug)]
struct Followed {
    pattern: String,
    ordered: bool,
    /// It gets the events behind this.
    from: Position,
    acknowledged: BTreeSet<Position>,
    /// What consumers hold: the token, and until when.
    held: BTreeMap<Position, (Seq, Time)>,
    /// Whether it pushes, and whether it is paused.
    pushes: bool,
    paused: bool,
    /// Events that have become dead letters: they have given their places in the order of their keys up.
    given_up: BTreeSet<Position>,
    /// How many events may be tasks at once, where they are handed to agents; those that are, and their runs.
    tasks_max: Option<u32>,
    tasks: BTreeMap<Position, RunId>,
    /// The last record that moved it.
    moved: Seq,
}

impl Followed {
    /// One that was made with these settings, and begins behind this.
    fn new(settings: &SubscriptionSettings, from: Position) -> Self {
        Self {
            pattern: settings.pattern.clone(),
            ordered: settings.ordered.is_some(),
            from,
            acknowledged: BTreeSet::new(),
            held: BTreeMap::new(),
            pushes: settings.push.is_some(),
            paused: false,
            given_up: BTreeSet::new(),
            tasks_max: settings.tasks.as_ref().map(|_| settings.max_in_flight),
            tasks: BTreeMap::new(),
            moved: Seq::ZERO,
        }
    }
}

/// An event, as it was published.
#[derive(Debug)]
struct Known {
    topic: String,
    subject: Option<String>,
    kept: bool,
}

/// The account.
#[derive(Debug, Default)]
pub(crate) struct BusOracle {
    /// Events by their ids.
    ids: BTreeMap<(String, String), Position>,
    events: BTreeMap<(String, Position), Known>,
    followed: BTreeMap<(String, String), Followed>,
    /// The pattern of a trigger, and the last event before it was made.
    triggers: BTreeMap<(String, String), (String, Position)>,
    /// Runs that triggers have started, by namespace and key.
    runs: BTreeSet<(String, String)>,
    /// Events that the retention has removed while a trigger was paused or behind, by namespace, trigger and event.
    missed: BTreeSet<(String, String, Position)>,
}

impl BusOracle {
    /// A record was folded.
    pub(crate) fn observe(
        &mut self,
        at: (Seq, Time),
        command: &Command,
        reply: &Result<Reply>,
        changes: &[Change],
        before: &Rows,
    ) -> Checked {
        if let Ok(reply) = reply {
            self.observe_reply(at, command, reply)?;
        }
        self.note_others(at.0, changes)?;
        check_announced(at.0, changes)?;
        // What is given up lets the next of its key go, in the same record.
        self.note_dead(changes);
        self.note_tasks(at, changes)?;
        for change in changes.iter().filter(|change| TABLES.events.has(&change.key) && change.new.is_none()) {
            if let Some(EventKey { namespace, position }) = rows::key_of(&change.key)
                && let Some(known) = self.events.get_mut(&(namespace.clone(), position))
            {
                known.kept = false;
                let of = |name: &String| NamedKey::of(&namespace, name);
                let names = self.triggers.keys().filter(|(of, _)| *of == namespace).map(|(_, name)| name);
                let waiting = names.filter(|name| is_waiting(before, &of(name)));
                self.missed.extend(waiting.map(|name| (namespace.clone(), name.clone(), position)));
            }
        }
        self.note_runs(at.0, changes)
    }

    /// Events that steps, spaces and schedules have published: their rows tell of them, no reply does.
    fn note_others(&mut self, seq: Seq, changes: &[Change]) -> Checked {
        for change in changes.iter().filter(|change| TABLES.events.has(&change.key)) {
            let row = change.new.as_deref().and_then(rows::decode::<StoredEvent>);
            let Some((key, event)) = rows::key_of::<EventKey>(&change.key).zip(row) else { continue };
            let EventAttributes { id, source, topic, subject, .. } = event.attributes;
            if ["/runs/", "/schedules/", SPACES].iter().any(|own| source.starts_with(own)) {
                let known = Known { topic, subject, kept: true };
                let told = Published { position: key.position, deduplicated: false };
                self.published(seq, &key.namespace, &id, known, told)?;
            }
        }
        Ok(())
    }

    /// An event that is handed to agents is the task of one run that delivers it; it is over as that run ends.
    fn note_tasks(&mut self, at: (Seq, Time), changes: &[Change]) -> Checked {
        let state = |row: &Option<Vec<u8>>| Some(rows::decode::<Delivery>(row.as_deref()?)?.state);
        let deliveries: Vec<_> = changes
            .iter()
            .filter(|change| TABLES.deliveries.has(&change.key))
            .filter_map(|change| {
                Some((rows::key_of::<DeliveryKey>(&change.key)?, state(&change.old), state(&change.new)))
            })
            .collect();
        for (key, old, new) in &deliveries {
            if let Some(DeliveryState::Task(run)) = old
                && old != new
            {
                self.task_ended(at.0, key, *run, *new, changes)?;
            }
        }
        for (key, old, new) in &deliveries {
            if let Some(DeliveryState::Task(run)) = new
                && old != new
            {
                self.handed(at, key, *run, changes)?;
            }
        }
        Ok(())
    }

    fn task_ended(
        &mut self,
        seq: Seq,
        key: &DeliveryKey,
        run: RunId,
        now: Option<DeliveryState>,
        changes: &[Change],
    ) -> Checked {
        let of = (key.namespace.clone(), key.subscription.clone());
        let Some(followed) = self.followed.get_mut(&of).filter(|followed| followed.moved != seq) else { return Ok(()) };
        followed.tasks.remove(&key.position);
        let ended = run_in(changes, run).filter(|row| row.ended.is_some());
        let completed = ended.as_ref().map(|row| row.error.is_none());
        let right = match now {
            None => completed == Some(true) && followed.acknowledged.insert(key.position),
            Some(DeliveryState::Dead(_)) => completed == Some(false),
            Some(_) => false,
        };
        if right {
            return Ok(());
        }
        let what = format!("record {seq}: {key:?} was a task of run {run} and is {now:?}; the run is {ended:?}");
        Err(Violation::of(2, what))
    }

    fn handed(&mut self, at: (Seq, Time), key: &DeliveryKey, run: RunId, changes: &[Change]) -> Checked {
        let wrong = |law, what: &str| Err(Violation::of(law, format!("record {}: task of {key:?}: {what}", at.0)));
        let delivers = run_in(changes, run).and_then(|row| row.delivers);
        if delivers.is_none_or(|one| (&one.subscription, one.position) != (&key.subscription, key.position)) {
            return wrong(2, &format!("run {run} does not deliver it"));
        }
        // Its token is that of the record, as it would be for a consumer.
        let id = DeliveryId { position: key.position, token: at.0 };
        self.delivered(at, (&key.namespace, &key.subscription), id)?;
        let Some(followed) = self.followed.get_mut(&(key.namespace.clone(), key.subscription.clone())) else {
            return wrong(8, "nothing of the kind was subscribed");
        };
        if followed.tasks.insert(key.position, run).is_some() {
            return wrong(2, "it is a task already");
        }
        if followed.tasks_max.is_none_or(|max| followed.tasks.len() > max as usize) {
            return wrong(10, &format!("{} are tasks at once", followed.tasks.len()));
        }
        Ok(())
    }

    fn note_dead(&mut self, changes: &[Change]) {
        for change in changes.iter().filter(|change| TABLES.deliveries.has(&change.key)) {
            let row = change.new.as_deref().and_then(rows::decode::<Delivery>);
            if row.is_some_and(|row| matches!(row.state, DeliveryState::Dead(_)))
                && let Some(key) = rows::key_of::<DeliveryKey>(&change.key)
                && let Some(followed) = self.followed.get_mut(&(key.namespace, key.subscription))
            {
                followed.given_up.insert(key.position);
            }
        }
    }

    fn observe_reply(&mut self, (seq, now): (Seq, Time), command: &Command, reply: &Reply) -> Checked {
        match (command, reply) {
            (Command::PublishEvents(command), Reply::Published(published)) => {
                for (event, published) in command.events.iter().zip(published) {
                    let known = Known {
                        topic: event.attributes.topic.clone(),
                        subject: event.attributes.subject.clone(),
                        kept: true,
                    };
                    self.published(seq, &command.namespace, &event.attributes.id, known, *published)?;
                }
                Ok(())
            }
            (Command::SetSubscription(command), Reply::Done) => {
                let from = self.last(&command.namespace);
                let new = Followed::new(&command.settings, from);
                self.followed.entry((command.namespace.clone(), command.name.clone())).or_insert(new);
                Ok(())
            }
            (Command::PauseSubscription(command), Reply::Done) => {
                self.paused(command);
                Ok(())
            }
            (Command::SetTrigger(command), Reply::Done) => {
                let from = self.last(&command.namespace);
                let key = (command.namespace.clone(), command.name.clone());
                self.triggers.entry(key).or_insert((command.settings.pattern.clone(), from));
                Ok(())
            }
            (Command::FetchEvents(command), Reply::Fetched(fetched)) => {
                self.fetched((seq, now), &command.namespace, &command.subscription, fetched)
            }
            (Command::AckDeliveries(command), Reply::Settled(settled)) => {
                let refused: BTreeSet<DeliveryId> = settled.refused.iter().map(|(id, _)| *id).collect();
                let done = command.deliveries.iter().filter(|id| !refused.contains(id));
                for id in done {
                    self.settled(seq, &command.namespace, &command.subscription, *id, true)?;
                }
                Ok(())
            }
            (Command::NackDeliveries(command), Reply::Settled(settled)) => {
                let refused: BTreeSet<DeliveryId> = settled.refused.iter().map(|(id, _)| *id).collect();
                for id in command.deliveries.iter().filter(|id| !refused.contains(id)) {
                    self.settled(seq, &command.namespace, &command.subscription, *id, false)?;
                }
                Ok(())
            }
            (Command::SeekSubscription(command), Reply::Moved(to)) => {
                if let Some(followed) = self.followed.get_mut(&(command.namespace.clone(), command.name.clone())) {
                    // What lies before is passed over, and what lies behind comes again.
                    followed.from = *to;
                    followed.held.clear();
                    followed.tasks.clear();
                    followed.moved = seq;
                    followed.given_up.clear();
                    followed.acknowledged.retain(|position| position <= to);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn paused(&mut self, command: &PauseSubscription) {
        let key = (command.namespace.clone(), command.name.clone());
        let followed = self.followed.get_mut(&key);
        // Each subscription that pushes does so to the one webhook that there is.
        if let Some(followed) = followed.filter(|followed| command.only_if.is_none() || followed.pushes) {
            followed.paused = command.paused;
        }
    }

    fn last(&self, namespace: &str) -> Position {
        let all = (namespace.to_owned(), Position::ZERO)..=(namespace.to_owned(), Position::MAX);
        self.events.range(all).next_back().map_or(Position::ZERO, |((_, position), _)| *position)
    }

    /// An event has one place, and is behind all that was published before.
    fn published(&mut self, seq: Seq, namespace: &str, id: &str, event: Known, told: Published) -> Checked {
        let key = (namespace.to_owned(), id.to_owned());
        let first = self.ids.get(&key).copied();
        let kept = first.filter(|at| self.events.get(&(namespace.to_owned(), *at)).is_some_and(|known| known.kept));
        let right = match kept {
            Some(first) => told == Published { position: first, deduplicated: true },
            None => !told.deduplicated && told.position.seq == seq && told.position > self.last(namespace),
        };
        if !right {
            let what = format!("record {seq}: event `{id}` is published as {told:?}, it was at {kept:?}");
            return Err(Violation::of(2, what));
        }
        if kept.is_none() {
            self.ids.insert(key, told.position);
            self.events.insert((namespace.to_owned(), told.position), event);
        }
        Ok(())
    }

    fn fetched(&mut self, at: (Seq, Time), namespace: &str, name: &str, fetched: &Fetched) -> Checked {
        for delivery in &fetched.deliveries {
            self.delivered(at, (namespace, name), delivery.delivery)?;
            if let Some(followed) = self.followed.get_mut(&(namespace.to_owned(), name.to_owned())) {
                followed.held.insert(delivery.delivery.position, (at.0, delivery.until));
            }
        }
        Ok(())
    }

    /// A delivery is of an event that matches and is not acknowledged, and no earlier one of its key is open.
    fn delivered(&self, (seq, now): (Seq, Time), (namespace, name): (&str, &str), id: DeliveryId) -> Checked {
        let wrong = |law, what: &str| {
            Err(Violation::of(law, format!("record {seq}: delivery {id} of `{name}` in `{namespace}`: {what}")))
        };
        let of = |position| (namespace.to_owned(), position);
        let Some(followed) = self.followed.get(&(namespace.to_owned(), name.to_owned())) else {
            return wrong(8, "nothing of the kind was subscribed");
        };
        let Some(event) = self.events.get(&of(id.position)) else {
            return wrong(2, "no such event was published");
        };
        if followed.paused {
            return wrong(9, "the subscription is paused");
        }
        if id.token != seq || !topic_matches(&followed.pattern, &event.topic) {
            return wrong(3, "its token or its topic is another");
        }
        if followed.acknowledged.contains(&id.position) {
            return wrong(2, "the event was acknowledged");
        }
        if followed.held.get(&id.position).is_some_and(|(_, until)| *until > now) {
            return wrong(3, "another consumer holds the event");
        }
        let Some(subject) = event.subject.as_ref().filter(|_| followed.ordered) else { return Ok(()) };
        let earlier = self.events.range(of(Position::ZERO)..of(Position::MAX));
        let same = earlier.filter(|((_, at), known)| *at != id.position && known.subject.as_ref() == Some(subject));
        for ((_, at), known) in same {
            if followed.tasks.contains_key(at) || followed.held.get(at).is_some_and(|(_, until)| *until > now) {
                return wrong(3, &format!("{at}, of the same key, is in flight"));
            }
            let open = *at > followed.from && *at < id.position && known.kept && !followed.acknowledged.contains(at);
            let given_up = followed.given_up.contains(at);
            if open && !given_up && topic_matches(&followed.pattern, &known.topic) {
                return wrong(3, &format!("{at}, of the same key, comes before it"));
            }
        }
        Ok(())
    }

    /// A delivery is settled by the consumer that got it last, and an event acknowledged once.
    fn settled(&mut self, seq: Seq, namespace: &str, name: &str, id: DeliveryId, acknowledged: bool) -> Checked {
        let Some(followed) = self.followed.get_mut(&(namespace.to_owned(), name.to_owned())) else { return Ok(()) };
        let held = followed.held.remove(&id.position).map(|(token, _)| token);
        if held != Some(id.token) {
            let what = format!("record {seq}: delivery {id} of `{name}` is settled, the event is held as {held:?}");
            return Err(Violation::of(3, what));
        }
        if acknowledged && !followed.acknowledged.insert(id.position) {
            return Err(Violation::of(2, format!("record {seq}: {id} of `{name}` is acknowledged again")));
        }
        Ok(())
    }

    /// A trigger starts one run for each event.
    fn note_runs(&mut self, seq: Seq, changes: &[Change]) -> Checked {
        let new = changes.iter().filter(|change| TABLES.runs.has(&change.key) && change.old.is_none());
        for run in new.filter_map(|change| rows::decode::<Run>(change.new.as_deref()?)) {
            let Some(key) = run.idempotency_key.filter(|key| key.starts_with("trigger:")) else { continue };
            if !self.runs.insert((run.namespace, key.clone())) {
                return Err(Violation::of(2, format!("record {seq}: `{key}` has started a second run")));
            }
        }
        Ok(())
    }

    /// At the end nothing is left out: each kept event was acknowledged by each subscription that it is for, and each
    /// trigger has acted on each event but those that were removed while it was paused or behind.
    pub(crate) fn finish(&self) -> Checked {
        for ((namespace, name), followed) in &self.followed {
            let missed = self.events.iter().find(|((of, at), known)| {
                let wanted = of == namespace && *at > followed.from && topic_matches(&followed.pattern, &known.topic);
                wanted && known.kept && !followed.acknowledged.contains(at)
            });
            if let Some(((_, at), _)) = missed {
                return Err(Violation::of(
                    8,
                    format!("event {at} of `{namespace}` was never acknowledged by `{name}`"),
                ));
            }
        }
        for ((namespace, name), (pattern, from)) in &self.triggers {
            for ((of, at), known) in &self.events {
                let missed = self.missed.contains(&(namespace.clone(), name.clone(), *at));
                let concerns = of == namespace && at > from && !missed && topic_matches(pattern, &known.topic);
                if concerns && !self.runs.contains(&(namespace.clone(), format!("trigger:{name}:{at}"))) {
                    return Err(Violation::of(
                        8,
                        format!("trigger `{name}` has not acted on event {at} of `{namespace}`"),
                    ));
                }
            }
        }
        Ok(())
    }
}

/// The row of a run, as a record has changed it.
fn run_in(changes: &[Change], run: RunId) -> Option<Run> {
    let of = |change: &&Change| TABLES.runs.has(&change.key) && rows::key_of::<RunId>(&change.key) == Some(run);
    rows::decode(changes.iter().find(of)?.new.as_deref()?)
}

/// Whether the retention does not wait for a trigger: it is paused, or behind the others.
fn is_waiting(rows: &Rows, trigger: &NamedKey) -> bool {
    let row = rows.get(&rows::key_bytes(TABLES.triggers, trigger)).and_then(|row| rows::decode::<Trigger>(row));
    row.is_some_and(|trigger| trigger.paused || trigger.behind.is_some())
}

/// The source of the events of a space begins so.
const SPACES: &str = "/v1/spaces/";

/// A change of a space that has events is an event in the same record, and of no other space.
fn check_announced(seq: Seq, changes: &[Change]) -> Checked {
    let new = |change: &Change| change.old.is_none().then(|| change.new.clone()).flatten();
    let streams = changes.iter().filter(|change| TABLES.event_streams.has(&change.key));
    if streams
        .filter_map(|change| rows::decode::<EventStream>(change.new.as_deref()?))
        .any(|row| row.trimmed.seq == seq)
    {
        // The retention has removed some of them at once.
        return Ok(());
    }
    let events = changes.iter().filter(|change| TABLES.events.has(&change.key));
    let told: BTreeSet<(String, String)> = events
        .filter_map(|change| rows::decode::<StoredEvent>(&new(change)?))
        .map(|event| (event.attributes.source, event.attributes.id))
        .filter(|(source, id)| source.starts_with(SPACES) && id.starts_with("changed/"))
        .collect();
    let spaces = changes.iter().filter(|change| TABLES.spaces.has(&change.key));
    let spaces = spaces.filter_map(|change| rows::decode::<Space>(change.new.as_deref()?));
    let names: BTreeMap<SpaceId, String> =
        spaces.filter_map(|space| Some((space.id, space.announced?.space))).collect();
    let kept = changes.iter().filter(|change| TABLES.changes.has(&change.key) && new(change).is_some());
    let due: BTreeSet<(String, String)> = kept
        .filter_map(|change| rows::key_of::<SpaceEventKey>(&change.key))
        .filter_map(|key| Some((format!("{SPACES}{}", names.get(&key.space)?), format!("changed/{}", key.at))))
        .collect();
    if told == due {
        return Ok(());
    }
    Err(Violation::of(9, format!("record {seq}: changes {due:?} are to be events, and these are: {told:?}")))
}

/// What the rows of a subscription say.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counted {
    in_flight: u32,
    open: u32,
    dead: u32,
}

/// The counts and lists of the event bus are those of its rows.
pub(crate) fn check_rows(rows: &Rows) -> Checked {
    let mut streams = BTreeMap::<String, (u64, u64)>::new();
    let mut ids = BTreeSet::new();
    for (key, row) in rows::table(rows, TABLES.events) {
        let Some((key, event)) = rows::key_of::<EventKey>(key).zip(rows::decode::<StoredEvent>(row)) else { continue };
        let (count, bytes) = streams.entry(key.namespace.clone()).or_default();
        (*count, *bytes) = (*count + 1, *bytes + event.bytes());
        ids.insert((key.namespace, key.position));
    }
    let places = rows::table(rows, TABLES.event_ids).filter_map(|(key, row)| {
        let place = rows::decode::<consort_core::rows::EventPlace>(row)?;
        Some((rows::key_of::<EventIdKey>(key)?.namespace, place.position))
    });
    let places: BTreeSet<_> = places.collect();
    if places != ids {
        return Err(Violation::of(2, format!("ids lead to {places:?}, and there are {ids:?}")));
    }
    for (key, row) in rows::table(rows, TABLES.event_streams) {
        let Some((key, told)) = rows::key_of::<NamedKey>(key).zip(rows::decode::<EventStream>(row)) else { continue };
        let found = streams.remove(&key.namespace).unwrap_or_default();
        if found != (told.count, told.bytes) {
            return Err(Violation::of(8, format!("`{}` counts {told:?}, its rows say {found:?}", key.namespace)));
        }
    }
    check_deliveries(rows)
}

fn check_deliveries(rows: &Rows) -> Checked {
    let mut counted = BTreeMap::<(String, String), Counted>::new();
    let mut lists = BTreeSet::new();
    for (key, row) in rows::table(rows, TABLES.deliveries) {
        let Some((key, row)) = rows::key_of::<DeliveryKey>(key).zip(rows::decode::<Delivery>(row)) else { continue };
        let of = counted.entry((key.namespace.clone(), key.subscription.clone())).or_default();
        let dead = matches!(row.state, DeliveryState::Dead(_));
        of.dead += u32::from(dead);
        of.open += u32::from(!dead);
        of.in_flight += u32::from(row.state.is_in_flight());
        let list = match row.state {
            DeliveryState::InFlight(until) | DeliveryState::Waiting(until) => Some((EventList::Due, until.0)),
            DeliveryState::Ready => Some((EventList::Ready, 0)),
            DeliveryState::Held | DeliveryState::Task(_) => None,
            DeliveryState::Dead(_) => Some((EventList::Dead, 0)),
        };
        let ordered = row.key.filter(|_| !dead).map(|hash| (EventList::Ordered, hash));
        lists.extend(list.into_iter().chain(ordered).map(|(list, at)| EventListKey {
            list,
            at,
            namespace: key.namespace.clone(),
            name: key.subscription.clone(),
            position: key.position,
        }));
    }
    let about = |key: &EventListKey| {
        use EventList::{Age, CatchUp, Fire, Hand, Handing, Tell, Trim};
        !matches!(key.list, Age | Trim | Fire | CatchUp | Tell | Hand | Handing)
    };
    let told = rows::table(rows, TABLES.event_lists).filter_map(|(key, _)| rows::key_of::<EventListKey>(key));
    let told: BTreeSet<EventListKey> = told.filter(about).collect();
    if told != lists {
        return Err(Violation::of(8, format!("deliveries are listed as {told:?}, their rows say {lists:?}")));
    }
    for (key, row) in rows::table(rows, TABLES.subscriptions) {
        let Some((key, told)) = rows::key_of::<NamedKey>(key).zip(rows::decode::<Subscription>(row)) else { continue };
        let found = counted.remove(&(key.namespace, key.name.clone())).unwrap_or_default();
        let told = Counted { in_flight: told.in_flight, open: told.open, dead: told.dead };
        if found != told {
            return Err(Violation::of(8, format!("`{}` counts {told:?}, its deliveries say {found:?}", key.name)));
        }
    }
    Ok(())
}
