//! The event bus: publishing, following, subscriptions and triggers.
//!
//! For: making commands of requests, and waiting for events. Not for: the rules of an event (the machine has them).
//! Invariant: an event that was answered is durable; a follower leaves out no event and shows none twice, and where the
//! retention was faster it is told so.

use std::{sync::Arc, time::Duration};

use consort_core::{
    Command, Reply,
    command::{
        AckDeliveries, DeclaredSubscription, DeleteSubscription, DeleteTrigger, FetchEvents, NackDeliveries, NewEvent,
        PauseSubscription, PauseTrigger, PublishEvents, SeekSubscription, SetEventRetention, SetSubscription,
        SetTrigger, SettleDeadLetters,
    },
    rows::{AsTasks, BackOff, EventRetention, Filter, OrderKey, SubscriptionSettings, TriggerAction, TriggerSettings},
    view::{
        DeadLetterView, EventPage, EventStreamView, EventView, Events, Fetched, Page, Published, Settled, StartAt,
        SubscriptionView, TriggerView,
    },
};
use consort_types::{
    Code, Error, Payload, Result, Span,
    event::{DeliveryId, EventAttributes, Position, check_topic_pattern, topic_matches},
    limits,
    worker::{EventOrder, SubscriptionDeclaration},
};
use consort_workflow::cel::Kind;
use consort_workflow_check::event_expression;
use futures::Stream;
use tokio::time::Instant;

use super::{Handle, operations::unexpected, page_items, reads::named};
use crate::{
    shell::{self, Subscription},
    topic::Topic,
};

/// A fetch of deliveries.
#[derive(Clone, Debug, PartialEq)]
pub struct FetchRequest {
    /// The namespace.
    pub namespace: String,
    /// The subscription.
    pub subscription: String,
    /// Who takes them; may be empty.
    pub consumer: String,
    /// How many at most.
    pub max: u32,
    /// How long to wait where there is none.
    pub wait: Span,
    /// Whether they are taken to be pushed to the webhook of the subscription.
    pub push: bool,
}

/// What a trigger does, as its author writes it: expressions are texts of CEL over `event`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TriggerText {
    /// The topics that it looks at.
    pub pattern: String,
    /// Which of their events it acts on.
    pub filter: Option<String>,
    /// What it does.
    pub action: TriggerActionText,
}

/// What a subscription is, with its filter as its author writes it: a text of CEL over `event`.
#[derive(Clone, Debug, PartialEq)]
pub struct SubscriptionText {
    /// Which of the events of its topics are delivered.
    pub filter: Option<String>,
    /// Everything else.
    pub settings: SubscriptionSettings,
}

impl From<SubscriptionSettings> for SubscriptionText {
    fn from(settings: SubscriptionSettings) -> Self {
        Self { filter: settings.filter.as_ref().map(|filter| filter.0.source().to_owned()), settings }
    }
}

impl SubscriptionText {
    /// Compiles the filter.
    ///
    /// # Errors
    /// [`Code::BadTrigger`] with the first thing that is wrong.
    pub fn compile(self) -> Result<SubscriptionSettings> {
        let filter = self.filter.as_deref().map(|text| event_expression("filter", text, Some(Kind::Bool)));
        Ok(SubscriptionSettings { filter: filter.transpose()?.map(Filter), ..self.settings })
    }
}

/// What an agent declares, as the machine knows it.
///
/// # Errors
/// As [`SubscriptionText::compile`]; the message names the subscription.
pub(super) fn declared(declaration: &SubscriptionDeclaration, agent: &str) -> Result<DeclaredSubscription> {
    let plain = SubscriptionSettings::new(&declaration.topic);
    let settings = SubscriptionSettings {
        ordered: declaration.order_by.map(|order| match order {
            EventOrder::Subject => OrderKey::Subject,
            EventOrder::Partitionkey => OrderKey::PartitionKey,
        }),
        max_deliveries: declaration.max_deliveries.unwrap_or(plain.max_deliveries),
        back_off: declaration.back_off.map_or(plain.back_off, |(first, longest)| BackOff { first, longest }),
        max_in_flight: declaration.max_in_flight.unwrap_or(limits::EVENT_TASKS_DEFAULT),
        tasks: Some(AsTasks {
            capability: declaration.capability.clone(),
            agent: Some(agent.to_owned()),
            timeout: declaration.timeout,
            keep: declaration.keep,
        }),
        ..plain
    };
    let name = declaration.name.clone();
    let settings =
        SubscriptionText { filter: declaration.filter.clone(), settings }.compile().map_err(|mut error| {
            error.message = format!("subscription `{name}` of agent `{agent}`: {}", error.message);
            error
        })?;
    Ok(DeclaredSubscription { name, settings, from_start: declaration.from_start })
}

/// The action of a trigger, as its author writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TriggerActionText {
    /// Starts a run.
    Start {
        /// The workflow.
        workflow: String,
        /// A revision number or an author's version.
        version: Option<String>,
        /// The input.
        input: Option<String>,
    },
    /// Sends a signal to a run.
    Signal {
        /// The id of the run.
        run: String,
        /// The signal's name.
        name: String,
        /// Its payload.
        payload: Option<String>,
    },
}

impl TriggerText {
    /// Compiles the expressions.
    ///
    /// # Errors
    /// [`Code::BadTrigger`] with the first that is wrong.
    pub fn compile(&self) -> Result<TriggerSettings> {
        let value = |what: &str, text: &Option<String>| {
            text.as_deref().map(|text| event_expression(what, text, None)).transpose()
        };
        let filter = self.filter.as_deref().map(|text| event_expression("filter", text, Some(Kind::Bool)));
        let action = match &self.action {
            TriggerActionText::Start { workflow, version, input } => TriggerAction::Start {
                workflow: workflow.clone(),
                version: version.clone(),
                input: value("input", input)?,
            },
            TriggerActionText::Signal { run, name, payload } => TriggerAction::Signal {
                run: event_expression("run", run, Some(Kind::Text))?,
                name: name.clone(),
                payload: value("payload", payload)?,
            },
        };
        Ok(TriggerSettings { pattern: self.pattern.clone(), filter: filter.transpose()?, action })
    }
}

/// What a follower of events sees.
#[derive(Clone, Debug, PartialEq)]
pub enum WatchedEvent {
    /// An event that matches; its followers share it.
    Event(Arc<EventView>),
    /// Nothing matched up to here: from here on a follower may continue, too.
    Seen(Position),
}

/// Events being followed.
pub struct EventWatch {
    handle: Handle,
    namespace: String,
    pattern: Option<String>,
    /// What was read, whatever its topics: those who follow others share it.
    page: Arc<shell::Page<Arc<EventView>>>,
    /// How many events of the page were looked at.
    looked_at: usize,
    /// Whether there may be more behind the page.
    more: bool,
    /// The last place that the follower knows.
    told: Position,
    /// Events that were looked at since then, and did not match.
    passed_over: usize,
    subscription: Subscription,
    ended: bool,
}

/// Events that a follower reads at once.
const PAGE: usize = 256;

/// The event bus of an engine.
#[derive(Clone, Copy)]
pub struct EventBus<'h>(&'h Handle);

impl<'h> EventBus<'h> {
    /// That of an engine.
    pub fn of(engine: &'h Handle) -> Self {
        Self(engine)
    }

    /// Publishes events, all or none, in their order; the place of each, in the same order.
    ///
    /// # Errors
    /// [`Code::BadEvent`], [`Code::BadTopic`], and those of documents and limits.
    pub async fn publish(&self, namespace: &str, events: Vec<NewEvent>) -> Result<Vec<Published>> {
        let mut command = PublishEvents { namespace: namespace.to_owned(), events };
        command.check()?;
        let partition = self.0.of(namespace);
        let mut pins = Vec::new();
        for event in &mut command.events {
            if let Some(data) = &mut event.data {
                pins.extend(partition.admit_in("data", data).await?);
            }
        }
        match partition.submit(Command::PublishEvents(command), pins).await? {
            Reply::Published(published) => Ok(published),
            other => Err(unexpected(&other)),
        }
    }

    /// Events of topics that match a pattern, from a place on.
    ///
    /// # Errors
    /// [`Code::EventsTrimmed`], [`Code::BadTopic`].
    pub async fn events(
        &self,
        namespace: &str,
        pattern: Option<String>,
        from: StartAt,
        limit: Option<usize>,
    ) -> Result<EventPage> {
        let (namespace, limit) = (named("namespace", namespace)?, page_items(limit, limits::PAGE_ITEMS_MAX)?);
        pattern.as_deref().map_or(Ok(()), check_topic_pattern)?;
        let list = self.0.of(&namespace).read(move |machine| {
            let mut events = Events::of(machine);
            let after = events.place(&namespace, from)?;
            events.list(&namespace, pattern.as_deref(), after, limit)
        });
        list.await?
    }

    /// An event.
    ///
    /// # Errors
    /// [`Code::EventNotFound`].
    pub async fn event(&self, namespace: &str, position: Position) -> Result<EventView> {
        let namespace = named("namespace", namespace)?;
        self.0.of(&namespace).read(move |machine| Events::of(machine).event(&namespace, position)).await?
    }

    /// Follows the events whose topics match a pattern, from a place on.
    ///
    /// # Errors
    /// [`Code::EventsTrimmed`], [`Code::BadTopic`], [`Code::Overloaded`] where too many follow already.
    pub async fn watch_events(&self, namespace: &str, pattern: Option<String>, from: StartAt) -> Result<EventWatch> {
        let of = named("namespace", namespace)?;
        pattern.as_deref().map_or(Ok(()), check_topic_pattern)?;
        let subscription = self.0.of(namespace).subscribe(Topic::events(namespace)).await?;
        let seen = self.0.of(namespace).read(move |machine| Events::of(machine).place(&of, from)).await??;
        Ok(EventWatch {
            handle: self.0.clone(),
            namespace: namespace.to_owned(),
            pattern,
            page: Arc::new(shell::Page { items: Vec::new(), seen, more: true, revision: 0, bytes: 0 }),
            looked_at: 0,
            more: true,
            told: seen,
            passed_over: 0,
            subscription,
            ended: false,
        })
    }

    /// What a namespace keeps of its events.
    pub async fn event_stream(&self, namespace: &str) -> Result<EventStreamView> {
        let namespace = named("namespace", namespace)?;
        self.0.of(&namespace).read(move |machine| Events::of(machine).stream(&namespace)).await?
    }

    /// Sets how long and how many events a namespace keeps.
    pub async fn set_event_retention(&self, namespace: &str, keep: EventRetention) -> Result<()> {
        let command = SetEventRetention { namespace: namespace.to_owned(), keep };
        self.0.of(namespace).done(Command::SetEventRetention(command), None).await
    }

    // Subscriptions.

    /// Makes a subscription, or changes the settings of one.
    ///
    /// # Errors
    /// [`Code::SubscriptionClash`], [`Code::SubscriptionOwned`], [`Code::EventsTrimmed`], [`Code::BadTopic`],
    /// [`Code::BadTrigger`], [`Code::LimitReached`].
    pub async fn set_subscription(
        &self,
        namespace: &str,
        name: &str,
        settings: impl Into<SubscriptionText>,
        start: StartAt,
    ) -> Result<()> {
        let settings = settings.into().compile()?;
        let command = SetSubscription { namespace: namespace.to_owned(), name: name.to_owned(), settings, start };
        self.0.of(namespace).done(Command::SetSubscription(command), None).await
    }

    /// Forgets a subscription with its deliveries.
    ///
    /// # Errors
    /// [`Code::SubscriptionNotFound`].
    pub async fn delete_subscription(&self, namespace: &str, name: &str) -> Result<()> {
        let command = DeleteSubscription { namespace: namespace.to_owned(), name: name.to_owned() };
        self.0.of(namespace).done(Command::DeleteSubscription(command), None).await
    }

    /// Pauses a subscription with the reason, or resumes it.
    ///
    /// # Errors
    /// [`Code::SubscriptionNotFound`].
    pub async fn pause_subscription(
        &self,
        namespace: &str,
        name: &str,
        paused: bool,
        reason: Option<String>,
    ) -> Result<()> {
        let (of, name) = (namespace.to_owned(), name.to_owned());
        let command = PauseSubscription { namespace: of, name, paused, reason, only_if: None };
        self.0.of(namespace).done(Command::PauseSubscription(command), None).await
    }

    /// The subscriptions of a namespace, by name.
    pub async fn subscriptions(
        &self,
        namespace: &str,
        cursor: Option<String>,
        limit: Option<usize>,
    ) -> Result<Page<SubscriptionView>> {
        let (namespace, limit) = (named("namespace", namespace)?, page_items(limit, limits::PAGE_ITEMS_MAX)?);
        let list = self
            .0
            .of(&namespace)
            .read(move |machine| Events::of(machine).subscriptions(&namespace, cursor.as_deref(), limit));
        list.await?
    }

    /// A subscription.
    ///
    /// # Errors
    /// [`Code::SubscriptionNotFound`].
    pub async fn subscription(&self, namespace: &str, name: &str) -> Result<SubscriptionView> {
        let (namespace, name) = (named("namespace", namespace)?, named("subscription", name)?);
        self.0.of(&namespace).read(move |machine| Events::of(machine).subscription(&namespace, &name)).await?
    }

    /// Moves a subscription; where it continues.
    ///
    /// # Errors
    /// [`Code::SubscriptionNotFound`], [`Code::EventsTrimmed`].
    pub async fn seek(&self, namespace: &str, name: &str, to: StartAt) -> Result<Position> {
        let command = SeekSubscription { namespace: namespace.to_owned(), name: name.to_owned(), to };
        match self.0.of(namespace).submit(Command::SeekSubscription(command), None).await? {
            Reply::Moved(position) => Ok(position),
            other => Err(unexpected(&other)),
        }
    }

    /// Takes deliveries of a subscription, and waits for one where there is none. A caller that is dropped loses nothing:
    /// what was handed out to it is delivered again after its lease.
    ///
    /// # Errors
    /// [`Code::SubscriptionNotFound`]; [`Code::SubscriptionPushes`] where it pushes and `push` is not set, or the other way
    /// round; [`Code::BadRequest`] where the wait or the number is over its limit.
    pub async fn fetch(&self, request: FetchRequest) -> Result<Fetched> {
        let FetchRequest { namespace, subscription, consumer, max, wait, push } = request;
        let longest = Span::from_secs(limits::EVENT_FETCH_WAIT_SECONDS_MAX);
        if wait > longest {
            return Err(Error::new(Code::BadRequest, format!("`wait` is `{wait}`, the limit is `{longest}`"))
                .hint("repeat the request when the time is over"));
        }
        let (of, name) = (namespace.clone(), subscription.clone());
        let command = FetchEvents { namespace: of, subscription: name, consumer, max, push };
        command.check()?;
        let until = Instant::now() + wait.to_std();
        let mut changes = match wait {
            Span::ZERO => None,
            _ => Some(self.0.of(&namespace).subscribe(Topic::events(&namespace)).await?),
        };
        loop {
            if let Some(changes) = &mut changes {
                changes.mark_seen();
            }
            let (of, name) = (namespace.clone(), subscription.clone());
            let look = self.0.of(&namespace).read(move |machine| Events::of(machine).is_fetchable(&of, &name, push));
            if look.await?? {
                let fetched = self.fetch_now(command.clone()).await?;
                if !fetched.deliveries.is_empty() {
                    return Ok(fetched);
                }
                if fetched.more {
                    continue;
                }
            }
            let left = until.saturating_duration_since(Instant::now());
            match &mut changes {
                Some(changes) if left > Duration::ZERO => {
                    if let Ok(change) = tokio::time::timeout(left, changes.next()).await {
                        change?;
                    }
                }
                _ => return Ok(Fetched::default()),
            }
        }
    }

    async fn fetch_now(&self, command: FetchEvents) -> Result<Fetched> {
        match self.0.of(&command.namespace).submit(Command::FetchEvents(command), None).await? {
            Reply::Fetched(fetched) => Ok(fetched),
            other => Err(unexpected(&other)),
        }
    }

    /// Acknowledges deliveries.
    ///
    /// # Errors
    /// [`Code::DeliveryOver`] where all of them are over, [`Code::SubscriptionNotFound`].
    pub async fn ack(&self, namespace: &str, subscription: &str, deliveries: Vec<DeliveryId>) -> Result<Settled> {
        let command =
            AckDeliveries { namespace: namespace.to_owned(), subscription: subscription.to_owned(), deliveries };
        self.settle(namespace, Command::AckDeliveries(command)).await
    }

    /// Gives deliveries back: their events are delivered again after `delay`, or as the back-off says without it.
    ///
    /// # Errors
    /// As [`EventBus::ack`].
    pub async fn nack(
        &self,
        namespace: &str,
        subscription: &str,
        deliveries: Vec<DeliveryId>,
        delay: Option<Span>,
        reason: Option<String>,
    ) -> Result<Settled> {
        let (of, subscription) = (namespace.to_owned(), subscription.to_owned());
        let command = NackDeliveries { namespace: of, subscription, deliveries, delay, reason };
        self.settle(namespace, Command::NackDeliveries(command)).await
    }

    async fn settle(&self, namespace: &str, command: Command) -> Result<Settled> {
        match self.0.of(namespace).submit(command, None).await? {
            Reply::Settled(settled) => Ok(settled),
            other => Err(unexpected(&other)),
        }
    }

    /// The dead letters of a subscription, in the order of their events.
    ///
    /// # Errors
    /// [`Code::SubscriptionNotFound`], [`Code::BadCursor`].
    pub async fn dead_letters(
        &self,
        namespace: &str,
        name: &str,
        cursor: Option<String>,
        limit: Option<usize>,
    ) -> Result<Page<DeadLetterView>> {
        let (namespace, name) = (named("namespace", namespace)?, named("subscription", name)?);
        let limit = page_items(limit, limits::PAGE_ITEMS_MAX)?;
        let list = self
            .0
            .of(&namespace)
            .read(move |machine| Events::of(machine).dead_letters(&namespace, &name, cursor.as_deref(), limit));
        list.await?
    }

    /// Delivers dead letters again (`redrive`) or drops them; without positions the oldest ones, as many as one request
    /// takes. How many it were.
    ///
    /// # Errors
    /// [`Code::SubscriptionNotFound`]; [`Code::EventNotFound`] where none of those that are named is there.
    pub async fn settle_dead(
        &self,
        namespace: &str,
        subscription: &str,
        positions: Vec<Position>,
        redrive: bool,
    ) -> Result<u32> {
        let (of, subscription) = (namespace.to_owned(), subscription.to_owned());
        let command = SettleDeadLetters { namespace: of, subscription, positions, redrive };
        match self.0.of(namespace).submit(Command::SettleDeadLetters(command), None).await? {
            Reply::DeadLetters(count) => Ok(count),
            other => Err(unexpected(&other)),
        }
    }

    // Triggers.

    /// Makes a trigger, or changes what it does.
    ///
    /// # Errors
    /// [`Code::BadTrigger`], [`Code::BadTopic`], [`Code::LimitReached`].
    pub async fn set_trigger(&self, namespace: &str, name: &str, trigger: &TriggerText) -> Result<()> {
        let command =
            SetTrigger { namespace: namespace.to_owned(), name: name.to_owned(), settings: trigger.compile()? };
        self.0.of(namespace).done(Command::SetTrigger(command), None).await
    }

    /// Pauses a trigger, or resumes it.
    ///
    /// # Errors
    /// [`Code::TriggerNotFound`].
    pub async fn pause_trigger(&self, namespace: &str, name: &str, paused: bool) -> Result<()> {
        let command = PauseTrigger { namespace: namespace.to_owned(), name: name.to_owned(), paused };
        self.0.of(namespace).done(Command::PauseTrigger(command), None).await
    }

    /// Forgets a trigger.
    ///
    /// # Errors
    /// [`Code::TriggerNotFound`].
    pub async fn delete_trigger(&self, namespace: &str, name: &str) -> Result<()> {
        let command = DeleteTrigger { namespace: namespace.to_owned(), name: name.to_owned() };
        self.0.of(namespace).done(Command::DeleteTrigger(command), None).await
    }

    /// The triggers of a namespace, by name.
    pub async fn triggers(&self, namespace: &str) -> Result<Vec<TriggerView>> {
        let namespace = named("namespace", namespace)?;
        self.0.of(&namespace).read(move |machine| Events::of(machine).triggers(&namespace)).await?
    }

    /// A trigger.
    ///
    /// # Errors
    /// [`Code::TriggerNotFound`].
    pub async fn trigger(&self, namespace: &str, name: &str) -> Result<TriggerView> {
        let (namespace, name) = (named("namespace", namespace)?, named("trigger", name)?);
        self.0.of(&namespace).read(move |machine| Events::of(machine).trigger(&namespace, &name)).await?
    }

    /// The data of an event in full; `null` where it has none.
    ///
    /// # Errors
    /// [`Code::EventNotFound`].
    pub async fn event_data(&self, namespace: &str, position: Position) -> Result<Payload> {
        Ok(self.event(namespace, position).await?.data.unwrap_or_default())
    }
}

/// Roughly, the bytes of an event.
fn bytes_of(event: &EventView) -> usize {
    let EventAttributes { id, source, kind, topic, .. } = &event.attributes;
    let data = event.data.as_ref().and_then(Payload::bytes).map_or(0, <[u8]>::len);
    size_of::<EventView>() + id.len() + source.len() + kind.len() + topic.len() + data
}

impl EventWatch {
    /// What comes next; `None` after an error.
    pub async fn next(&mut self) -> Option<Result<WatchedEvent>> {
        if self.ended {
            return None;
        }
        let event = self.advance().await;
        self.ended = event.is_err();
        Some(event)
    }

    async fn advance(&mut self) -> Result<WatchedEvent> {
        loop {
            while let Some(event) = self.page.items.get(self.looked_at) {
                self.looked_at += 1;
                if self.pattern.as_ref().is_none_or(|pattern| topic_matches(pattern, &event.attributes.topic)) {
                    (self.told, self.passed_over) = (event.position, 0);
                    return Ok(WatchedEvent::Event(Arc::clone(event)));
                }
                self.passed_over += 1;
            }
            // Where much was looked at that did not match, the follower learns how far that was: a later one need not
            // look again, and is not refused because the retention has removed it.
            let seen = self.page.seen;
            if self.passed_over > PAGE || seen.seq.0 - self.told.seq.0 > PAGE as u64 {
                (self.told, self.passed_over) = (seen, 0);
                return Ok(WatchedEvent::Seen(seen));
            }
            if !self.more {
                self.subscription.next().await?;
            }
            self.read(seen).await?;
        }
    }

    async fn read(&mut self, after: Position) -> Result<()> {
        let (namespace, point) = (self.namespace.clone(), Arc::clone(self.subscription.point()));
        let read = self.handle.of(&self.namespace).read(move |machine| {
            let EventPage { events, seen, more } = Events::of(machine).list(&namespace, None, after, PAGE)?;
            let bytes = events.iter().map(bytes_of).sum();
            let items = events.into_iter().map(Arc::new).collect();
            Ok(shell::Page { items, seen, more, revision: point.revision(), bytes })
        });
        let page = self.subscription.point().events.behind(after, async { read.await? }).await?;
        // What came behind a page that another follower has read does not wake this one again.
        self.more = page.more || page.revision < self.subscription.mark_seen();
        (self.page, self.looked_at) = (page, 0);
        Ok(())
    }

    /// The watch as a stream.
    pub fn into_stream(self) -> impl Stream<Item = Result<WatchedEvent>> + Send {
        futures::stream::unfold(self, |mut watch| async move { watch.next().await.map(|event| (event, watch)) })
    }
}
