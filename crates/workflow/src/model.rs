//! What a checked workflow is: blocks of steps, each with what to do, when, and how often.
//!
//! For: the machine that runs it and the tools that show it. Not for: source positions (diagnostics carry those).
//! Invariant: a `Definition` comes from a text without errors, directly or by its normal form, so every index in it
//! is valid and the dependencies of a block have no cycle. The numbers of the fields are those of the normal form:
//! within a language version they never change.

use std::sync::Arc;

use consort_types::{EffectClass, Error, OnUnknown, Span, ballot::BallotSpec};
use minicbor::{Decode, Encode};
use serde_json::Value;

use crate::{Environment, Expression, InputSpec, Template};

/// The position of a block in [`Definition::blocks`]; the root is [`BlockId::ROOT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct BlockId(#[n(0)] pub u32);

impl BlockId {
    /// The block of the workflow itself.
    pub const ROOT: Self = Self(0);
}

/// A checked workflow definition. It is immutable and shared between threads.
#[derive(Clone, Debug, Encode, Decode)]
pub struct Definition {
    /// The workflow's name.
    #[n(0)]
    pub name: String,
    /// The version that its author gave it, where there is one.
    #[n(1)]
    pub version: Option<String>,
    /// What it is for, in a sentence; empty where the author gave none.
    #[n(2)]
    pub description: String,
    /// What a run may be started with.
    #[n(3)]
    pub input: InputSpec,
    /// Every block; the first is the root, a nested block comes after its parent.
    #[n(4)]
    pub blocks: Vec<Block>,
    /// The run's output; without one it is the map of root step name to output.
    #[n(5)]
    pub output: Option<Template>,
    /// How long a whole run may take.
    #[n(6)]
    pub timeout: Option<Span>,
}

impl Definition {
    /// Checks a run's input against the declared schema and fills in defaults. The message names the field.
    ///
    /// # Errors
    /// As [`InputSpec::accept`].
    pub fn accept_input(&self, input: &Value) -> Result<Value, Error> {
        self.input.accept(input)
    }

    /// The block with this id.
    pub fn block(&self, id: BlockId) -> &Block {
        &self.blocks[id.0 as usize]
    }

    /// The names of the workflows that its steps start without naming a version; one may come more than once.
    pub fn called_by_name(&self) -> impl Iterator<Item = &str> {
        self.blocks.iter().flat_map(|block| &block.steps).filter_map(|step| match &step.action {
            Action::Workflow { name, version: None } => Some(name.as_str()),
            _ => None,
        })
    }

    /// The root block.
    pub fn root(&self) -> &Block {
        self.block(BlockId::ROOT)
    }
}

/// Steps that see each other by name, in the order in which they were written.
#[derive(Clone, Debug, Default, Encode, Decode)]
pub struct Block {
    /// The steps; other places name them by position.
    #[n(0)]
    pub steps: Vec<Step>,
    /// The block and step that this block is the body of; the root has none.
    #[n(1)]
    pub parent: Option<(BlockId, usize)>,
}

impl Block {
    /// The position of the step with this name.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.steps.iter().position(|step| step.name == name)
    }
}

/// One named unit of a block.
#[derive(Clone, Debug, Encode, Decode)]
pub struct Step {
    /// Its name, unique within the block.
    #[n(0)]
    pub name: String,
    /// What it does.
    #[n(1)]
    pub action: Action,
    /// Does it once for each item of a list. Where `repeat` is given too, each item repeats.
    #[n(2)]
    pub for_each: Option<ForEach>,
    /// Does it again and again.
    #[n(3)]
    pub repeat: Option<Repeat>,
    /// Steps of the same block that must have ended before; sorted, without duplicates. Includes what follows
    /// from references anywhere inside the step, also in nested blocks.
    #[n(4)]
    pub needs: Vec<usize>,
    /// Steps of the same block that need this one; sorted, without duplicates.
    #[n(5)]
    pub dependents: Vec<usize>,
    /// `if`. Without one, and where it calls no status function, the step runs only if all `needs` succeeded;
    /// [`Step::runs`] decides it.
    #[n(6)]
    pub condition: Option<Expression>,
    /// The input of the call, child workflow or approval; `{}` where none is given.
    #[n(7)]
    pub with: Template,
    /// How failed attempts are repeated.
    #[n(8)]
    pub retry: Retry,
    /// How long one attempt may take.
    #[n(9)]
    pub timeout: Option<Span>,
    /// How long the step may take from when it became ready, all attempts and waits together.
    #[n(10)]
    pub deadline: Option<Span>,
    /// −100 to 100; higher goes first.
    #[n(11)]
    pub priority: i32,
    /// How many run at once, among the steps that share the key.
    #[n(12)]
    pub concurrency: Option<Concurrency>,
    /// Which instances may perform its task, where the capability and the agent are not enough.
    #[n(13)]
    pub route: Option<RouteSpec>,
    /// What repeating it may do to the world; without one the capability's declared class counts.
    #[n(14)]
    pub effect: Option<EffectClass>,
    /// What to do when the outcome of a `write` attempt is unknown.
    #[n(15)]
    pub on_unknown: OnUnknown,
    /// What undoes the step's effect when the run fails or is cancelled later.
    #[n(16)]
    pub compensate: Option<Compensate>,
    /// Whether the run continues as if the step had succeeded when it failed.
    #[n(17)]
    pub continue_on_error: bool,
    /// The lock that the step holds from before it does anything until it has ended.
    #[n(18)]
    pub with_lock: Option<WithLock>,
    /// What is read of shared state, once, before the step's `if` is decided.
    #[n(19)]
    pub reads: Option<Vec<Read>>,
    /// How the agent of a call is chosen, where it is by an auction; the capability is given then, the agent is not.
    #[n(20)]
    pub auction: Option<Auction>,
}

impl Step {
    /// A step of which only the name is known.
    pub fn blank(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            action: Action::Call { capability: None, agent: None },
            for_each: None,
            repeat: None,
            needs: Vec::new(),
            dependents: Vec::new(),
            condition: None,
            with: Template::Literal(Value::Object(serde_json::Map::new())),
            retry: Retry::default(),
            timeout: None,
            deadline: None,
            priority: 0,
            concurrency: None,
            route: None,
            effect: None,
            on_unknown: OnUnknown::default(),
            compensate: None,
            continue_on_error: false,
            with_lock: None,
            reads: None,
            auction: None,
        }
    }

    /// Whether the step is to run, now that all its `needs` have ended: its `if`, where an expression that calls no
    /// status function means `success() && (expression)`.
    pub fn runs(&self, environment: &Environment) -> Result<bool, Error> {
        match &self.condition {
            None => Ok(environment.status.success),
            Some(condition) if condition.uses_status() => condition.evaluate_bool(environment),
            Some(condition) => Ok(environment.status.success && condition.evaluate_bool(environment)?),
        }
    }
}

/// What a step does.
#[derive(Clone, Debug, Encode, Decode)]
pub enum Action {
    /// Calls an agent: any that has the capability, or the one named, or the one named for that capability.
    #[n(0)]
    Call {
        /// The capability; at least one of the two is given.
        #[n(0)]
        capability: Option<String>,
        /// The agent.
        #[n(1)]
        agent: Option<String>,
    },
    /// Runs the steps of a nested block.
    #[n(1)]
    Group(#[n(0)] BlockId),
    /// Runs another workflow as a child run; `with` is its input.
    #[n(2)]
    Workflow {
        /// Its name.
        #[n(0)]
        name: String,
        /// Its version; without one, the newest that is deployed when the step starts.
        #[n(1)]
        version: Option<String>,
    },
    /// Waits.
    #[n(3)]
    Wait(#[n(0)] Wait),
    /// Asks a person.
    #[n(4)]
    Approve(#[n(0)] Approve),
    /// Asks several voters, each by a call of its own, and decides by their answers.
    #[n(5)]
    Consensus(#[n(0)] Box<Consensus>),
    /// Publishes an event: a map with `type`, and `topic`, `subject`, `id`, `source` and `data` where they are given.
    #[n(6)]
    Publish(#[n(0)] Template),
    /// Reads and writes shared state.
    #[n(7)]
    State(#[n(0)] StateAction),
}

impl Action {
    /// The block that it opens: of a group its steps, of a consensus its voters.
    pub fn block(&self) -> Option<BlockId> {
        match self {
            Self::Group(block) => Some(*block),
            Self::Consensus(consensus) => Some(consensus.block),
            _ => None,
        }
    }

    /// The capability that it calls, where it is a call that names one.
    pub fn capability(&self) -> Option<&str> {
        match self {
            Self::Call { capability, .. } => capability.as_deref(),
            _ => None,
        }
    }

    /// The word for it in messages and drawings: `call`, `group`, `workflow`, `wait`, `approve`, `consensus`, `publish` or
    /// `state`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Call { .. } => "call",
            Self::Group(_) => "group",
            Self::Workflow { .. } => "workflow",
            Self::Wait(_) => "wait",
            Self::Approve(_) => "approve",
            Self::Consensus(_) => "consensus",
            Self::Publish(_) => "publish",
            Self::State(_) => "state",
        }
    }
}

/// Several voters and one decision.
#[derive(Clone, Debug, Encode, Decode)]
pub struct Consensus {
    /// The voters: calls whose failure is silence, in the order of the voters of `spec`.
    #[n(0)]
    pub block: BlockId,
    /// How their answers become a decision. There is one round; question, deadline and secrecy are not used.
    #[n(1)]
    pub spec: BallotSpec,
    /// The decision where the votes give none; without it, the step fails then.
    #[n(2)]
    pub on_undecided: Option<Template>,
}

/// What a `state` step does with shared state, in one transaction.
#[derive(Clone, Debug, Encode, Decode)]
pub struct StateAction {
    /// The transaction as clients write it: a map with `do`, and `if`, `else` and `fence` where they are given.
    #[n(0)]
    pub transaction: Template,
    /// Whether it is one operation, whose outcome is the output as it is.
    #[n(1)]
    pub single: bool,
    /// Whether the step fails where a condition does not hold: nothing else was written for that.
    #[n(2)]
    pub must_hold: bool,
}

/// What a `wait` step waits for.
#[derive(Clone, Debug, Encode, Decode)]
pub enum Wait {
    /// A length of time; evaluate, then read with [`span_of`](crate::span_of).
    #[n(0)]
    For(#[n(0)] Template),
    /// An instant; evaluate, then read with [`time_of`](crate::time_of).
    #[n(1)]
    Until(#[n(0)] Template),
    /// A signal from outside; its payload is the step's output.
    #[n(2)]
    Signal {
        /// The signal's name.
        #[n(0)]
        name: String,
        /// How long to wait before the step fails.
        #[n(1)]
        timeout: Option<Span>,
        /// JSON Schema (2020-12) of the payload, as JSON; any where there is none.
        #[n(2)]
        schema: Option<String>,
    },
    /// The next event of a topic; it is the step's output.
    #[n(3)]
    Event {
        /// The pattern of its topic; evaluates to a text.
        #[n(0)]
        topic: Template,
        /// Which of those events; the next one, without it. It may use [`Environment::event`].
        #[n(1)]
        filter: Option<Expression>,
        /// How long to wait before the step fails.
        #[n(2)]
        timeout: Option<Span>,
    },
}

/// A person's decision.
#[derive(Clone, Debug, Encode, Decode)]
pub struct Approve {
    /// The question, shown in the inbox; evaluates to a text.
    #[n(0)]
    pub title: Template,
    /// More to show beside it.
    #[n(1)]
    pub details: Option<Template>,
    /// How long to wait before the step fails.
    #[n(2)]
    pub timeout: Option<Span>,
}

/// How the agent of a call is chosen: the agents that have its capability bid, and the best bid gets the task, as in the
/// contract net protocol (Smith 1980, DOI 10.1109/TC.1980.1675516).
#[derive(Clone, Debug, Encode, Decode)]
pub struct Auction {
    /// The capability that is called for a bid. An agent without it bids what it declares of the task's capability.
    #[n(0)]
    pub ask: String,
    /// How long bids are awaited.
    #[n(1)]
    pub wait: Span,
    /// How many bids are enough to award the task; without it, every bidder is awaited.
    #[n(2)]
    pub enough: Option<u32>,
    /// What a bid is worth: a number, of which the least wins, or `null`, which refuses the bid. It may use
    /// [`Environment::bid`]. Without it, the expected cost.
    #[n(3)]
    pub award: Option<Expression>,
    /// How long the winner may leave the task in the queue before the next bid gets it.
    #[n(4)]
    pub accept: Span,
    /// Bids at most that get the task, one after the other has failed; without it, all.
    #[n(5)]
    pub max_awards: Option<u32>,
}

/// `for_each`: the step once for each item; the output is the list of outputs in item order.
#[derive(Clone, Debug, Encode, Decode)]
pub struct ForEach {
    /// Evaluates to a list.
    #[n(0)]
    pub items: Template,
    /// How many items run at once; without one, `limits::FAN_OUT_PARALLEL_DEFAULT_MAX`.
    #[n(1)]
    pub max_parallel: Option<u32>,
    /// Whether no new item starts after one has failed.
    #[n(2)]
    pub fail_fast: bool,
}

/// `repeat`: the step again and again; the output is that of the last iteration.
#[derive(Clone, Debug, Encode, Decode)]
pub struct Repeat {
    /// Ends the loop when true after an iteration. Its references with `up: 0` are to the body's own block where the
    /// body is a group (else to the step's block), and it may use [`Environment::output`].
    #[n(0)]
    pub until: Option<Expression>,
    /// Ends the loop when false after an iteration; never given together with `until`.
    #[n(1)]
    pub while_true: Option<Expression>,
    /// Iterations at most; reaching it ends the loop without failure.
    #[n(2)]
    pub max: u32,
    /// The pause between two iterations.
    #[n(3)]
    pub delay: Option<Span>,
}

impl Repeat {
    /// Whether the loop ends after the iteration that the environment shows (the count in `max` is the caller's).
    pub fn ends(&self, environment: &Environment) -> Result<bool, Error> {
        match (&self.until, &self.while_true) {
            (Some(until), _) => until.evaluate_bool(environment),
            (None, Some(again)) => Ok(!again.evaluate_bool(environment)?),
            (None, None) => Ok(false),
        }
    }
}

/// How failed attempts are repeated: the pause before attempt `n + 1` is `initial * factor^(n - 1)`, at most `max`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Retry {
    /// Attempts at most, the first included.
    #[n(0)]
    pub attempts: u32,
    /// The pause after the first failure.
    #[n(1)]
    pub initial: Span,
    /// What each further pause grows by, in thousandths: 2000 doubles it. At least 1000.
    #[n(2)]
    pub factor_milli: u32,
    /// The longest pause.
    #[n(3)]
    pub max: Span,
    /// From when the first attempt was queued, how long further attempts are made.
    #[n(4)]
    pub max_elapsed: Option<Span>,
    /// How often its worker may die while it runs, without an entry of its journal in between.
    #[n(5)]
    pub losses: Option<u32>,
    /// The numbers of the codes that are tried again; every one where there is none.
    #[n(6)]
    pub on: Option<Vec<u16>>,
}

impl Retry {
    /// Whether the author wants another attempt after this failure.
    pub fn covers(&self, error: &Error) -> bool {
        self.on.as_ref().is_none_or(|codes| codes.contains(&error.code.number()))
    }
}

impl Default for Retry {
    /// One attempt; pauses of 1 s, doubling, up to 1 min where only `attempts` is given.
    fn default() -> Self {
        Self {
            attempts: 1,
            initial: Span::from_secs(1),
            factor_milli: 2_000,
            max: Span::from_secs(60),
            max_elapsed: None,
            losses: None,
            on: None,
        }
    }
}

/// How many steps run at once.
#[derive(Clone, Debug, Encode, Decode)]
pub struct Concurrency {
    /// Steps whose keys evaluate to the same text share the limit, across runs; without one, the instances of this
    /// step in one run do.
    #[n(0)]
    pub key: Option<Template>,
    /// How many at once.
    #[n(1)]
    pub limit: u32,
}

/// Which instances may perform a task. At least one of the three is given.
#[derive(Clone, Debug, Encode, Decode)]
pub struct RouteSpec {
    /// Versions of the agent: a range of semantic versions such as `^1.2`, or one version as its author wrote it.
    #[n(0)]
    pub version: Option<String>,
    /// Labels that the instance or its agent must have, in order of their names, with values that evaluate to texts.
    #[n(1)]
    pub labels: Vec<(String, Template)>,
    /// Tasks for which it evaluates to the same go to the same instance while it is there and healthy.
    #[n(2)]
    pub sticky: Option<Template>,
}

/// The lock of a step.
#[derive(Clone, Debug, Encode, Decode)]
pub struct WithLock {
    /// Its name; evaluates to one.
    #[n(0)]
    pub name: Template,
    /// How many may hold it at once.
    #[n(1)]
    pub permits: u32,
    /// How long to wait for it before the step fails; as long as it takes, without it.
    #[n(2)]
    pub wait: Option<Span>,
}

/// A key of shared state that a step reads before anything else.
#[derive(Clone, Debug, Encode, Decode)]
pub struct Read {
    /// By what expressions know it.
    #[n(0)]
    pub name: String,
    /// Its space; evaluates to a text.
    #[n(1)]
    pub space: Template,
    /// The key; evaluates to a text.
    #[n(2)]
    pub key: Template,
}

/// What undoes a step's effect.
#[derive(Clone, Debug, Encode, Decode)]
pub struct Compensate {
    /// The capability to call.
    #[n(0)]
    pub capability: String,
    /// Its input; may use the step's own output.
    #[n(1)]
    pub with: Template,
    /// How failed attempts are repeated; without it, until one succeeds.
    #[n(2)]
    pub retry: Option<Retry>,
    /// How long one attempt may take.
    #[n(3)]
    pub timeout: Option<Span>,
    /// Which instances may perform it.
    #[n(4)]
    pub route: Option<RouteSpec>,
}

impl Compensate {
    /// How failed attempts are repeated: as the author says, or with the usual pauses until one succeeds.
    pub fn retry(&self) -> Retry {
        self.retry.clone().unwrap_or_else(|| Retry { attempts: u32::MAX, ..Retry::default() })
    }
}

/// The references of an expression or template. A step's `up` counts enclosing blocks from the block of the step that
/// the expression belongs to; 0 is that block itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum Reference {
    /// The run's input.
    #[n(0)]
    Input,
    /// A step, by position in the block `up` levels above.
    #[n(1)]
    Step {
        /// Enclosing blocks to go up.
        #[n(0)]
        up: u32,
        /// Its position there.
        #[n(1)]
        index: usize,
        /// Its name: the key to fill in [`Environment::steps`].
        #[n(2)]
        #[cbor(with = "crate::form::shared_text")]
        name: Arc<str>,
    },
    /// The item of the nearest `for_each`.
    #[n(2)]
    Item,
    /// The position of the item of the nearest `for_each`.
    #[n(3)]
    Index,
    /// The nearest `repeat`.
    #[n(4)]
    Loop,
    /// The run.
    #[n(5)]
    Run,
    /// The output of the iteration that `until` or `while` decides about.
    #[n(6)]
    Output,
    /// The event that a trigger, or a step that waits for one, looks at.
    #[n(7)]
    Event,
    /// The lock of the nearest step that has one.
    #[n(8)]
    Lock,
    /// What the nearest step with `reads` has read.
    #[n(9)]
    Reads,
    /// The two values that a write of shared state brings together.
    #[n(10)]
    Write,
    /// The bid that an auction looks at.
    #[n(11)]
    Bid,
}
