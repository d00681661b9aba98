//! Agents and their capabilities: what is declared, and the code behind it.
//!
//! For: saying what an agent can do, with typed inputs and outputs. Not for: running it (see [`crate::Worker`]).
//! Invariant: what a capability declares is derived from the types of its handler, unless the author overrides it.

use std::{collections::BTreeMap, future::Future, sync::Arc};

use consort_types::{
    EffectClass, Payload, Result, Span,
    worker::{AgentDeclaration, CapabilityDeclaration, EventOrder, SubscriptionDeclaration},
};
use futures::future::BoxFuture;
use schemars::{JsonSchema, generate::SchemaSettings};
use serde::{Serialize, de::DeserializeOwned};

use crate::{TaskContext, TaskError, context};

/// The code of a capability, as a type: the form for capabilities that keep clients, indexes or settings.
///
/// ```
/// use consort_sdk::{Handler, TaskContext, TaskError};
///
/// struct Greeter { greeting: String }
///
/// impl Handler for Greeter {
///     type Input = String;
///     type Output = String;
///     async fn handle(&self, _: TaskContext, name: String) -> Result<String, TaskError> {
///         Ok(format!("{} {name}", self.greeting))
///     }
/// }
/// ```
pub trait Handler: Send + Sync + 'static {
    /// What it takes; a document that does not fit fails the step and is never tried again.
    type Input: DeserializeOwned + JsonSchema + Send + 'static;
    /// What it makes.
    type Output: Serialize + JsonSchema + Send + 'static;

    /// Does the work of one attempt.
    ///
    /// The future is dropped when the task parks or is cancelled; it is then run again from the start with the
    /// recorded journal, so whatever must not happen twice belongs into [`TaskContext::run`].
    fn handle(
        &self,
        ctx: TaskContext,
        input: Self::Input,
    ) -> impl Future<Output = Result<Self::Output, TaskError>> + Send;
}

/// A handler without its types: documents in, documents out.
pub(crate) type Erased =
    Arc<dyn Fn(TaskContext, Payload) -> BoxFuture<'static, Result<Payload, TaskError>> + Send + Sync>;

/// A named skill: its declaration and its code.
#[derive(Clone)]
pub struct Capability {
    pub(crate) declaration: CapabilityDeclaration,
    pub(crate) handler: Erased,
}

impl Capability {
    /// A capability whose code is a [`Handler`].
    pub fn new<H: Handler>(name: impl Into<String>, handler: H) -> Self {
        let handler = Arc::new(handler);
        let erased: Erased = Arc::new(move |ctx, input| {
            let handler = Arc::clone(&handler);
            Box::pin(async move {
                let input = context::read_input::<H::Input>(&input)?;
                write_output(handler.handle(ctx, input).await)
            })
        });
        Self::of::<H::Input, H::Output>(name.into(), erased)
    }

    /// A capability whose code is an async closure.
    ///
    /// Without types of one's own both sides can be `serde_json::Value`; then give the schemas by
    /// [`Capability::input_schema`] and [`Capability::output_schema`].
    pub fn from_fn<I, O, F, Fut>(name: impl Into<String>, code: F) -> Self
    where
        I: DeserializeOwned + JsonSchema + Send + 'static,
        O: Serialize + JsonSchema + Send + 'static,
        F: Fn(TaskContext, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O, TaskError>> + Send + 'static,
    {
        let code = Arc::new(code);
        let erased: Erased = Arc::new(move |ctx, input| {
            let code = Arc::clone(&code);
            Box::pin(async move {
                let input = context::read_input::<I>(&input)?;
                write_output(code(ctx, input).await)
            })
        });
        Self::of::<I, O>(name.into(), erased)
    }

    /// A capability that computes: its code runs on a thread of its own kind and may block.
    ///
    /// Such code cannot be dropped: it checks [`TaskContext::is_cancelled`] from time to time and ends when it is set.
    /// Of the context it uses that, the getters and [`TaskContext::progress`] alone; the journal is for async code.
    pub fn blocking<I, O, F>(name: impl Into<String>, code: F) -> Self
    where
        I: DeserializeOwned + JsonSchema + Send + 'static,
        O: Serialize + JsonSchema + Send + 'static,
        F: Fn(TaskContext, I) -> Result<O, TaskError> + Send + Sync + 'static,
    {
        let code = Arc::new(code);
        Self::from_fn(name, move |ctx, input: I| {
            let code = Arc::clone(&code);
            async move {
                let span = tracing::Span::current();
                match tokio::task::spawn_blocking(move || span.in_scope(|| code(ctx, input))).await {
                    Ok(result) => result,
                    // A panic is resumed in the attempt, where every panic becomes a failure.
                    Err(error) => match error.try_into_panic() {
                        Ok(panic) => std::panic::resume_unwind(panic),
                        Err(error) => Err(TaskError::retryable(format!("the work was stopped: {error}"))),
                    },
                }
            }
        })
    }

    fn of<I: JsonSchema, O: JsonSchema>(name: String, handler: Erased) -> Self {
        let settings = SchemaSettings::draft2020_12();
        let input = settings.clone().into_generator().into_root_schema_for::<I>();
        let output = settings.for_serialize().into_generator().into_root_schema_for::<O>();
        let declaration = CapabilityDeclaration {
            name,
            description: String::new(),
            effect: EffectClass::default(),
            input_schema: input.to_value(),
            output_schema: output.to_value(),
            cost_hint_microdollars: None,
            time_hint: None,
        };
        Self { declaration, handler }
    }

    /// What it does, in a sentence.
    #[must_use]
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.declaration.description = text.into();
        self
    }

    /// What repeating it may do outside; `idempotent` by default.
    #[must_use]
    pub fn effect(mut self, class: EffectClass) -> Self {
        self.declaration.effect = class;
        self
    }

    /// Replaces the schema of the input that was derived from its type.
    #[must_use]
    pub fn input_schema(mut self, schema: serde_json::Value) -> Self {
        self.declaration.input_schema = schema;
        self
    }

    /// Replaces the schema of the output that was derived from its type. The engine checks outputs against it.
    #[must_use]
    pub fn output_schema(mut self, schema: serde_json::Value) -> Self {
        self.declaration.output_schema = schema;
        self
    }

    /// What one task costs, in millionths of a US dollar: an estimate that people and routes may go by.
    #[must_use]
    pub fn cost_hint(mut self, microdollars: u64) -> Self {
        self.declaration.cost_hint_microdollars = Some(microdollars);
        self
    }

    /// How long one task takes: an estimate that people and routes may go by.
    #[must_use]
    pub fn time_hint(mut self, span: Span) -> Self {
        self.declaration.time_hint = Some(span);
        self
    }

    /// What is declared to the engine.
    pub fn declaration(&self) -> &CapabilityDeclaration {
        &self.declaration
    }
}

/// Writes what a handler made, if it made something.
fn write_output<O: Serialize>(result: Result<O, TaskError>) -> Result<Payload, TaskError> {
    context::write_payload("output", &result?)
}

/// Events that an agent is handed as tasks: which, how, and the code that handles one.
///
/// The input of the code is the event: its attributes by their names, `data`, `position` and `published`. When the task
/// completes, the event is acknowledged; when it fails, it is tried again, and is a dead letter after
/// [`Subscription::max_deliveries`] attempts.
///
/// ```
/// use consort_sdk::{Agent, Subscription};
/// use serde_json::Value;
///
/// let orders = Subscription::from_fn("orders", "orders.>", |_, event: Value| async move { Ok(event["id"].clone()) })
///     .filter("event.data.total > 100")
///     .ordered_by_subject()
///     .max_deliveries(5);
/// let agent = Agent::new("shop").subscription(orders);
/// assert_eq!(agent.declaration().unwrap().subscriptions[0].capability, "shop.orders");
/// ```
#[derive(Clone)]
pub struct Subscription {
    declaration: SubscriptionDeclaration,
    capability: Capability,
}

impl Subscription {
    /// One whose code is a [`Handler`]; of the namespace its name is `AGENT.NAME`.
    pub fn new<H: Handler>(name: impl Into<String>, topic: impl Into<String>, handler: H) -> Self {
        Self::of(name.into(), topic.into(), Capability::new("", handler))
    }

    /// One whose code is an async closure.
    pub fn from_fn<I, O, F, Fut>(name: impl Into<String>, topic: impl Into<String>, code: F) -> Self
    where
        I: DeserializeOwned + JsonSchema + Send + 'static,
        O: Serialize + JsonSchema + Send + 'static,
        F: Fn(TaskContext, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O, TaskError>> + Send + 'static,
    {
        Self::of(name.into(), topic.into(), Capability::from_fn("", code))
    }

    /// The changes of the keys of a space that begin with `prefix`, those of one key in their order: the events of
    /// `state.SPACE.changed`. The space must publish them: `consort state set SPACE --events`.
    pub fn on_change<I, O, F, Fut>(name: impl Into<String>, space: &str, prefix: &str, code: F) -> Self
    where
        I: DeserializeOwned + JsonSchema + Send + 'static,
        O: Serialize + JsonSchema + Send + 'static,
        F: Fn(TaskContext, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O, TaskError>> + Send + 'static,
    {
        let topic = format!("state.{}.changed", space.replace('.', "/"));
        let own = Self::from_fn(name, topic, code).ordered_by_subject();
        let prefix = serde_json::Value::from(prefix);
        if prefix == "" { own } else { own.filter(format!("event.subject.startsWith({prefix})")) }
    }

    fn of(name: String, topic: String, capability: Capability) -> Self {
        let declaration = SubscriptionDeclaration {
            name,
            topic,
            capability: String::new(),
            filter: None,
            order_by: None,
            max_deliveries: None,
            back_off: None,
            timeout: None,
            max_in_flight: None,
            keep: None,
            from_start: false,
        };
        Self { declaration, capability }
    }

    /// Only events for which this is true: CEL over `event`. Given again, both must be.
    #[must_use]
    pub fn filter(mut self, expression: impl Into<String>) -> Self {
        let expression = expression.into();
        self.declaration.filter = Some(match self.declaration.filter.take() {
            Some(first) => format!("({first}) && ({expression})"),
            None => expression,
        });
        self
    }

    /// Handles events with the same `subject` one at a time, in their order.
    #[must_use]
    pub fn ordered_by_subject(mut self) -> Self {
        self.declaration.order_by = Some(EventOrder::Subject);
        self
    }

    /// The same by the extension attribute `partitionkey`.
    #[must_use]
    pub fn ordered_by_partition_key(mut self) -> Self {
        self.declaration.order_by = Some(EventOrder::Partitionkey);
        self
    }

    /// After how many attempts an event is a dead letter; 10 by default.
    #[must_use]
    pub fn max_deliveries(mut self, attempts: u32) -> Self {
        self.declaration.max_deliveries = Some(attempts);
        self
    }

    /// The first pause between attempts, and the longest; 1 s and 60 s by default.
    #[must_use]
    pub fn back_off(mut self, first: Span, longest: Span) -> Self {
        self.declaration.back_off = Some((first, longest));
        self
    }

    /// How long one attempt may take; as long as it does, by default.
    #[must_use]
    pub fn timeout(mut self, span: Span) -> Self {
        self.declaration.timeout = Some(span);
        self
    }

    /// How many events are tasks at once; 64 by default.
    #[must_use]
    pub fn max_in_flight(mut self, count: u32) -> Self {
        self.declaration.max_in_flight = Some(count);
        self
    }

    /// How long the run of an acknowledged event is kept, to be looked at; not at all by default.
    #[must_use]
    pub fn keep(mut self, span: Span) -> Self {
        self.declaration.keep = Some(span);
        self
    }

    /// A new subscription begins with the oldest event that is kept, and not behind the last.
    #[must_use]
    pub fn from_start(mut self) -> Self {
        self.declaration.from_start = true;
        self
    }

    /// What repeating the work may do outside; `idempotent` by default.
    #[must_use]
    pub fn effect(mut self, class: EffectClass) -> Self {
        self.capability = self.capability.effect(class);
        self
    }

    /// What it does, in a sentence.
    #[must_use]
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.capability = self.capability.description(text);
        self
    }
}

/// An agent: a name, a version and what it can do.
///
/// ```
/// use consort_sdk::{Agent, Capability};
///
/// let agent = Agent::new("greeter")
///     .version("1.0")
///     .description("Says hello.")
///     .capability(Capability::from_fn("greet", |_, name: String| async move { Ok(format!("hello {name}")) }));
/// assert_eq!(agent.declaration().unwrap().capabilities[0].name, "greet");
/// ```
#[derive(Clone)]
pub struct Agent {
    name: String,
    version: String,
    description: String,
    labels: BTreeMap<String, String>,
    capabilities: Vec<Capability>,
    subscriptions: Vec<SubscriptionDeclaration>,
}

impl Agent {
    /// An agent of this name, version `0`, that can do nothing yet.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            version: "0".into(),
            description: String::new(),
            labels: BTreeMap::new(),
            capabilities: Vec::new(),
            subscriptions: Vec::new(),
        }
    }

    /// The agent's version, as its author counts.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// What the agent is, in a sentence.
    #[must_use]
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.description = text.into();
        self
    }

    /// Something that the agent is found and chosen by, beside its capabilities.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// Adds something that it can do.
    #[must_use]
    pub fn capability(mut self, capability: Capability) -> Self {
        self.capabilities.push(capability);
        self
    }

    /// Adds events that it is handed as tasks. The server makes the subscription `AGENT.NAME` when this version of the
    /// agent first joins; a capability of the same name is what handles an event.
    #[must_use]
    pub fn subscription(mut self, subscription: Subscription) -> Self {
        let Subscription { mut declaration, mut capability } = subscription;
        declaration.capability = format!("{}.{}", self.name, declaration.name);
        capability.declaration.name.clone_from(&declaration.capability);
        self.subscriptions.push(declaration);
        self.capability(capability)
    }

    /// The agent's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is declared to the engine; refused where a name is bad or a capability is declared twice.
    pub fn declaration(&self) -> Result<AgentDeclaration> {
        let declaration = AgentDeclaration {
            name: self.name.clone(),
            version: self.version.clone(),
            description: self.description.clone(),
            labels: self.labels.clone(),
            subscriptions: self.subscriptions.clone(),
            capabilities: self.capabilities.iter().map(|c| c.declaration.clone()).collect(),
        };
        declaration.check()?;
        Ok(declaration)
    }

    /// The code behind a capability.
    pub(crate) fn handler(&self, capability: &str) -> Option<&Erased> {
        self.capabilities.iter().find(|c| c.declaration.name == capability).map(|c| &c.handler)
    }
}
