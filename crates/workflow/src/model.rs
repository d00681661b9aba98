//! What a checked workflow is: blocks of steps, each with what to do, when, and how often.
//!
//! For: the machine that runs it and the tools that show it. Not for: source positions (diagnostics carry those).
//! Invariant: a `Definition` exists only if the source had no error, so every index in it is valid and
//! the dependencies of a block have no cycle.

use std::sync::Arc;

use consort_types::{BlobHash, EffectClass, Error, OnUnknown, Span};
use serde_json::Value;

use crate::{Diagnostics, Environment, Expression, Graph, InputSpec, Template};

/// The position of a block in [`Definition::blocks`]; the root is [`BlockId::ROOT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId(pub u32);

impl BlockId {
    /// The block of the workflow itself.
    pub const ROOT: Self = Self(0);
}

/// A checked workflow definition. It is immutable, shared between threads, and pinned by [`Definition::hash`].
#[derive(Clone, Debug)]
pub struct Definition {
    /// The workflow's name.
    pub name: String,
    /// The version that its author gave it, where there is one.
    pub version: Option<String>,
    /// What it is for, in a sentence; empty where the author gave none.
    pub description: String,
    /// What a run may be started with.
    pub input: InputSpec,
    /// Every block; the first is the root, a nested block comes after its parent.
    pub blocks: Vec<Block>,
    /// The run's output; without one it is the map of root step name to output.
    pub output: Option<Template>,
    /// How long a whole run may take.
    pub timeout: Option<Span>,
    /// The hash of the source bytes: the identity that runs are pinned to.
    pub hash: BlobHash,
    /// What is allowed but looks like a mistake.
    pub warnings: Diagnostics,
}

impl Definition {
    /// Reads and checks a source text. All diagnostics are reported at once; work is bounded for hostile texts.
    pub fn parse(source: &str) -> Result<Self, Diagnostics> {
        crate::parse::parse(source)
    }

    /// Checks a run's input against the declared schema and fills in defaults. The message names the field.
    pub fn accept_input(&self, input: &Value) -> Result<Value, Error> {
        self.input.accept(input)
    }

    /// The block with this id.
    pub fn block(&self, id: BlockId) -> &Block {
        &self.blocks[id.0 as usize]
    }

    /// The root block.
    pub fn root(&self) -> &Block {
        self.block(BlockId::ROOT)
    }

    /// Nodes and edges, for drawing.
    pub fn graph(&self) -> Graph {
        Graph::of(self)
    }
}

/// Steps that see each other by name, in the order in which they were written.
#[derive(Clone, Debug, Default)]
pub struct Block {
    /// The steps; other places name them by position.
    pub steps: Vec<Step>,
    /// The block and step that this block is the body of; the root has none.
    pub parent: Option<(BlockId, usize)>,
}

impl Block {
    /// The position of the step with this name.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.steps.iter().position(|step| step.name == name)
    }
}

/// One named unit of a block.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its name, unique within the block.
    pub name: String,
    /// What it does.
    pub action: Action,
    /// Does it once for each item of a list. Where `repeat` is given too, each item repeats.
    pub for_each: Option<ForEach>,
    /// Does it again and again.
    pub repeat: Option<Repeat>,
    /// Steps of the same block that must have ended before; sorted, without duplicates. Includes what follows
    /// from references anywhere inside the step, also in nested blocks.
    pub needs: Vec<usize>,
    /// Steps of the same block that need this one; sorted, without duplicates.
    pub dependents: Vec<usize>,
    /// `if`. Without one, and where it calls no status function, the step runs only if all `needs` succeeded;
    /// [`Step::runs`] decides it.
    pub condition: Option<Expression>,
    /// The input of the call, child workflow or approval; `{}` where none is given.
    pub with: Template,
    /// How failed attempts are repeated.
    pub retry: Retry,
    /// How long one attempt may take.
    pub timeout: Option<Span>,
    /// How long the step may take from when it became ready, all attempts and waits together.
    pub deadline: Option<Span>,
    /// −100 to 100; higher goes first.
    pub priority: i32,
    /// How many run at once, among the steps that share the key.
    pub concurrency: Option<Concurrency>,
    /// Which instances may take its task, where more is asked for than the capability and the agent.
    pub route: Option<RouteSpec>,
    /// What repeating it may do to the world; without one the capability's declared class counts.
    pub effect: Option<EffectClass>,
    /// What to do when the outcome of a `write` attempt is unknown.
    pub on_unknown: OnUnknown,
    /// What takes the step's effect back when the run fails or is cancelled later.
    pub compensate: Option<Compensate>,
    /// Whether the run goes on as if the step had succeeded when it failed.
    pub continue_on_error: bool,
}

impl Step {
    /// Whether the step is to run, now that all its `needs` have ended: its `if`, where an expression that calls no
    /// status function stands for `success() && (expression)`.
    pub fn runs(&self, environment: &Environment) -> Result<bool, Error> {
        match &self.condition {
            None => Ok(environment.status.success),
            Some(condition) if condition.uses_status() => condition.evaluate_bool(environment),
            Some(condition) => Ok(environment.status.success && condition.evaluate_bool(environment)?),
        }
    }
}

/// What a step does.
#[derive(Clone, Debug)]
pub enum Action {
    /// Calls an agent: any that has the capability, or the one named, or the one named for that capability.
    Call {
        /// The capability; at least one of the two is given.
        capability: Option<String>,
        /// The agent.
        agent: Option<String>,
    },
    /// Runs the steps of a nested block.
    Group(BlockId),
    /// Runs another workflow as a child run; `with` is its input.
    Workflow {
        /// Its name.
        name: String,
        /// Its version; without one, the newest that is deployed when the step starts.
        version: Option<String>,
    },
    /// Waits.
    Wait(Wait),
    /// Asks a person.
    Approve(Approve),
}

impl Action {
    /// The word for it in messages and drawings: `call`, `group`, `workflow`, `wait` or `approve`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Call { .. } => "call",
            Self::Group(_) => "group",
            Self::Workflow { .. } => "workflow",
            Self::Wait(_) => "wait",
            Self::Approve(_) => "approve",
        }
    }
}

/// What a `wait` step waits for.
#[derive(Clone, Debug)]
pub enum Wait {
    /// A length of time; evaluate, then read with [`span_of`](crate::span_of).
    For(Template),
    /// An instant; evaluate, then read with [`time_of`](crate::time_of).
    Until(Template),
    /// A signal from outside; its payload is the step's output.
    Signal {
        /// The signal's name.
        name: String,
        /// How long to wait before the step fails.
        timeout: Option<Span>,
    },
}

/// A person's decision.
#[derive(Clone, Debug)]
pub struct Approve {
    /// The question, shown in the inbox; evaluates to a text.
    pub title: Template,
    /// More to show beside it.
    pub details: Option<Template>,
    /// How long to wait before the step fails.
    pub timeout: Option<Span>,
}

/// `for_each`: the step once for each item; the output is the list of outputs in item order.
#[derive(Clone, Debug)]
pub struct ForEach {
    /// Evaluates to a list.
    pub items: Template,
    /// How many items run at once; without one, `limits::FAN_OUT_PARALLEL_DEFAULT_MAX`.
    pub max_parallel: Option<u32>,
    /// Whether no new item starts after one has failed.
    pub fail_fast: bool,
}

/// `repeat`: the step again and again; the output is that of the last iteration.
#[derive(Clone, Debug)]
pub struct Repeat {
    /// Ends the loop when true after an iteration. Its references with `up: 0` are to the body's own block where the
    /// body is a group (else to the step's block), and it may use [`Environment::output`].
    pub until: Option<Expression>,
    /// Ends the loop when false after an iteration; never given together with `until`.
    pub while_true: Option<Expression>,
    /// Iterations at most; reaching it ends the loop without failure.
    pub max: u32,
    /// The pause between two iterations.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Attempts at most, the first included.
    pub attempts: u32,
    /// The pause after the first failure.
    pub initial: Span,
    /// What each further pause grows by, in thousandths: 2000 doubles it. At least 1000.
    pub factor_milli: u32,
    /// The longest pause.
    pub max: Span,
}

impl Default for Retry {
    /// One attempt; pauses of 1 s, doubling, up to 1 min where only `attempts` is given.
    fn default() -> Self {
        Self { attempts: 1, initial: Span::from_secs(1), factor_milli: 2_000, max: Span::from_secs(60) }
    }
}

/// How many steps run at once.
#[derive(Clone, Debug)]
pub struct Concurrency {
    /// Steps whose keys evaluate to the same text share the limit, across runs; without one, the instances of this
    /// step in one run do.
    pub key: Option<Template>,
    /// How many at once.
    pub limit: u32,
}

/// Which instances may take a task. At least one of the three is given.
#[derive(Clone, Debug)]
pub struct RouteSpec {
    /// Versions of the agent: a range of semantic versions such as `^1.2`, or one version as its author wrote it.
    pub version: Option<String>,
    /// Labels that the instance or its agent must have, in order of their names, with values that evaluate to texts.
    pub labels: Vec<(String, Template)>,
    /// Tasks for which it evaluates to the same go to the same instance while it is there and healthy.
    pub sticky: Option<Template>,
}

/// What takes back a step's effect.
#[derive(Clone, Debug)]
pub struct Compensate {
    /// The capability to call.
    pub capability: String,
    /// Its input; may use the step's own output.
    pub with: Template,
}

/// What an expression or template looks at. A step's `up` counts enclosing blocks from the block of the step that
/// the expression belongs to; 0 is that block itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reference {
    /// The run's input.
    Input,
    /// A step, by position in the block `up` levels above.
    Step {
        /// Enclosing blocks to go up.
        up: u32,
        /// Its position there.
        index: usize,
        /// Its name: the key to fill in [`Environment::steps`].
        name: Arc<str>,
    },
    /// The item of the nearest `for_each`.
    Item,
    /// The position of the item of the nearest `for_each`.
    Index,
    /// The nearest `repeat`.
    Loop,
    /// The run.
    Run,
    /// The output of the iteration that `until` or `while` decides about.
    Output,
}
