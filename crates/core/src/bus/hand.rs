//! Events that are handed to agents, as tasks.
//!
//! For: making a run of one step of each delivery, and settling the delivery with the end of that run. Not for: which
//! events come next (see `take`), or what a task is (leases, attempts, losses and unknown outcomes are those of any).
//! Invariant: a delivery that is a task has one run that has not ended, which says in its row what it delivers; however
//! that run ends, its event is acknowledged, is a dead letter, or was moved away from.

use std::{fmt::Write as _, sync::Arc};

use consort_types::{
    BlobHash, Error, Result, RunId, Span, Time, accept_traceparent,
    event::{ExtensionValue, Position},
};
use consort_workflow::{Action, Block, CompiledWorkflow, Definition, InputSpec, Retry, Step, Template};

use crate::{
    bus::{
        delivery::{Deliveries, forget_run},
        fire::value_of,
        keys::{EventList, EventListKey},
        rows::{AsTasks, Delivery, DeliveryState, StoredEvent, SubscriptionSettings},
        schedule,
        take::{self, Taker},
    },
    context::ApplyContext,
    encode::encode,
    fatal::split_fatal,
    latest,
    quota::namespace,
    registry::uses,
    run::{
        child_runs::derived_id,
        keys::{TimerKind, root_task},
        lifecycle::{self, NewRun},
        rows::run::{Delivers, Run, RunStatus},
        scope,
    },
};

/// What the workflow of such a run is said to be written by: it is made here, and not by a version that has checked a text.
const WRITER: &str = "a subscription";

/// The name of its step.
const STEP: &str = "handle";

/// How long a subscription waits that may not start a run now.
const PAUSE: Span = Span::from_secs(1);

/// Hands out what a subscription has, as far as the record goes and its agents may have it.
pub(crate) fn hand_out(ctx: &mut ApplyContext<'_>, namespace: &str, name: &str) -> Result<()> {
    if ctx.room() == 0 {
        look_again(ctx, namespace, name, ctx.now);
        return Ok(());
    }
    let Some(mut deliveries) = Deliveries::open(ctx, namespace, name)? else { return Ok(()) };
    if deliveries.subscription.settings.tasks.is_none() || deliveries.subscription.paused.is_some() {
        return Ok(());
    }
    let mut agents = Agents::default();
    let more = take::take(ctx, &mut deliveries, &mut agents)?;
    if let Some(error) = agents.refused {
        deliveries.subscription.note_failure(ctx.now, &latest::brief(error).message);
        // All that waits does so until the same instant.
        let next = (ctx.now.0 / PAUSE.0 + 1) * PAUSE.0;
        look_again(ctx, namespace, name, Time(next));
    } else if more || ctx.room() == 0 {
        look_again(ctx, namespace, name, ctx.now);
    }
    deliveries.close(ctx);
    Ok(())
}

fn look_again(ctx: &mut ApplyContext<'_>, namespace: &str, name: &str, at: Time) {
    schedule::schedule(ctx, EventListKey::due(EventList::Hand, at, namespace, name));
}

/// The agents that a subscription hands its events to.
#[derive(Default)]
struct Agents {
    /// Why no run may be started now.
    refused: Option<Error>,
    /// The workflow of its runs, once one was started: it follows from the settings, which a record does not change.
    workflow: Option<(CompiledWorkflow, Definition)>,
}

impl Taker for Agents {
    fn room(&mut self, ctx: &mut ApplyContext<'_>, deliveries: &Deliveries<'_>) -> Result<usize> {
        let free = deliveries.subscription.room();
        if free > 0 && self.refused.is_none() {
            self.refused = split_fatal(namespace::check_runs_active(ctx.state, deliveries.namespace))?.err();
        }
        Ok(if self.refused.is_some() { 0 } else { free.min(ctx.room()) })
    }

    /// The delivery is a task from now on; where it cannot be one, its event is a dead letter.
    fn hand_out(
        &mut self,
        ctx: &mut ApplyContext<'_>,
        deliveries: &mut Deliveries<'_>,
        (position, event): (Position, StoredEvent),
        (stored, before): (Option<&Delivery>, &Delivery),
    ) -> Result<()> {
        ctx.charge(1);
        if let Some(earlier) = before.run {
            forget_run(ctx, earlier)?;
        }
        deliveries.subscription.delivered += 1;
        let mut next = Delivery { deliveries: before.deliveries + 1, token: None, run: None, ..before.clone() };
        match split_fatal(self.start(ctx, deliveries, position, &event))? {
            Ok(run) => {
                if let (None, Some(data)) = (&before.event, &event.data) {
                    ctx.retain(data)?;
                }
                (next.state, next.run, next.event) = (DeliveryState::Task(run), Some(run), Some(event));
                deliveries.change(ctx, position, stored, Some(next))
            }
            Err(error) => {
                let reason = latest::brief(error).message;
                deliveries.subscription.note_failure(ctx.now, &reason);
                next.reason = Some(reason);
                deliveries.bury(ctx, position, stored, next)
            }
        }
    }
}

impl Agents {
    /// Starts the run of a delivery. An error has changed nothing.
    fn start(
        &mut self,
        ctx: &mut ApplyContext<'_>,
        deliveries: &Deliveries<'_>,
        position: Position,
        event: &StoredEvent,
    ) -> Result<RunId> {
        let (namespace, name) = (deliveries.namespace, deliveries.name);
        let tasks = deliveries.subscription.settings.tasks.clone().unwrap_or_default();
        let input = encode(&value_of(ctx, position, event)?);
        let input = ctx.store_payload("event", input)?;
        let (hash, definition) = self.definition(ctx, deliveries, &tasks)?;
        let id = derived_id(ctx, &format!("subscription:{namespace}/{name}/{position}@{}", ctx.seq));
        // Delivered again, the event has the same effects: their keys are those of the first run.
        let made = deliveries.subscription.made;
        let mut lineage = RunId([0; 16]);
        let hashed = BlobHash::of(format!("subscription:{namespace}/{name}@{made}/{position}").as_bytes()).0;
        lineage.0.copy_from_slice(&hashed[..16]);
        let labels = [("subscription".to_owned(), name.to_owned()), ("event".to_owned(), position.to_string())];
        let traceparent = event.attributes.extensions.get("traceparent").map(ExtensionValue::to_string);
        let new = NewRun {
            labels: labels.into(),
            lineage: Some(lineage),
            traceparent: traceparent.and_then(|text| accept_traceparent(&text).ok()),
            delivers: Some(Delivers { subscription: name.to_owned(), position, keep: tasks.keep }),
            ..NewRun::of(id, namespace, hash, definition, input)
        };
        lifecycle::create_run(ctx, new)?;
        scope::open_root(ctx, id)?;
        Ok(id)
    }

    /// The workflow of the runs, made once for all deliveries that are handed out together.
    fn definition(
        &mut self,
        ctx: &mut ApplyContext<'_>,
        deliveries: &Deliveries<'_>,
        tasks: &AsTasks,
    ) -> Result<(BlobHash, Arc<Definition>)> {
        let (compiled, definition) = self.workflow.get_or_insert_with(|| {
            let definition = definition(deliveries.name, &deliveries.subscription.settings, tasks);
            (CompiledWorkflow::new(&definition, &source(&definition), WRITER), definition)
        });
        let hash = compiled.hash();
        if uses::of(ctx.state, deliveries.namespace, hash)?.runs > 0 {
            return Ok((hash, ctx.state.definition(hash)?));
        }
        Ok((hash, uses::keep(ctx, compiled, definition.clone())))
    }
}

/// The run of a delivery has ended, and so the delivery is settled.
pub(crate) fn run_ended(ctx: &mut ApplyContext<'_>, id: RunId) -> Result<()> {
    let Some(run) = ctx.state.tables.runs.get(&id)? else { return Ok(()) };
    let Some(Delivers { subscription, position, keep }) = run.delivers.clone() else { return Ok(()) };
    let mut kept = Some(Span::ZERO);
    if let Some(mut deliveries) = Deliveries::open(ctx, &run.namespace, &subscription)? {
        let found = deliveries.find(ctx, position)?;
        // Else the subscription was moved, or made again.
        if let Some(delivery) = found.filter(|found| found.state == DeliveryState::Task(id)) {
            settle(ctx, &mut deliveries, &run, (id, position, &delivery))?;
            deliveries.close(ctx);
            let completed = run.status == RunStatus::Completed;
            // The run of a dead letter goes with that.
            kept = completed.then(|| keep.unwrap_or(Span::ZERO));
        }
    }
    keep_run(ctx, id, run, kept);
    Ok(())
}

/// How long an ended run is kept: until something else ends it, without a time. It is not removed in this record, in which
/// something of it may be pending.
fn keep_run(ctx: &mut ApplyContext<'_>, id: RunId, mut run: Run, keep: Option<Span>) {
    if let Some(delivers) = &mut run.delivers {
        delivers.keep = keep;
    }
    if let Some(keep) = keep {
        ctx.arm(ctx.now.after(keep), root_task(id), TimerKind::Retention, 0);
    }
    ctx.put_run(id, run);
}

fn settle(
    ctx: &mut ApplyContext<'_>,
    deliveries: &mut Deliveries<'_>,
    run: &Run,
    (id, position, delivery): (RunId, Position, &Delivery),
) -> Result<()> {
    let step = ctx.state.step(root_task(id))?.unwrap_or_default();
    let subscription = &mut deliveries.subscription;
    // The first attempt was counted when the task was made.
    let more = step.attempt.saturating_sub(1);
    subscription.delivered += u64::from(more);
    if run.status == RunStatus::Completed {
        subscription.acknowledged += 1;
        subscription.failing_since = None;
        return deliveries.remove(ctx, position, delivery);
    }
    let error = run.error.clone().map(latest::brief);
    let reason = error.map_or_else(|| run.status.as_str().to_owned(), |error| error.message);
    subscription.note_failure(ctx.now, &reason);
    let dead = Delivery {
        deliveries: delivery.deliveries + more,
        consumer: step.instance.map(|instance| instance.agent),
        reason: Some(reason),
        ..delivery.clone()
    };
    deliveries.bury(ctx, position, Some(delivery), dead)
}

/// The workflow of the runs of a subscription: one step, whose attempts are the deliveries of the event.
fn definition(name: &str, settings: &SubscriptionSettings, tasks: &AsTasks) -> Definition {
    let back_off = settings.back_off;
    let step = Step {
        action: Action::Call { capability: Some(tasks.capability.clone()), agent: tasks.agent.clone() },
        with: Template::input(),
        retry: Retry {
            attempts: settings.max_deliveries,
            initial: back_off.first,
            max: back_off.longest,
            ..Retry::default()
        },
        timeout: tasks.timeout,
        ..Step::blank(STEP)
    };
    Definition {
        name: name.to_owned(),
        version: None,
        description: format!("An event of `{}`, handed out by subscription `{name}`", settings.pattern),
        input: InputSpec::default(),
        blocks: vec![Block { steps: vec![step], parent: None }],
        output: None,
        timeout: None,
    }
}

/// The same as its author might have written it, for people who look at the run.
fn source(definition: &Definition) -> String {
    let mut text =
        format!("workflow: {}\ndescription: {}\nsteps:\n  {STEP}:\n", definition.name, definition.description);
    for step in &definition.root().steps {
        if let Action::Call { capability, agent } = &step.action {
            for (key, value) in [("capability", capability), ("agent", agent)] {
                text += &value.as_ref().map(|value| format!("    {key}: {value}\n")).unwrap_or_default();
            }
        }
        let Retry { attempts, initial, max, .. } = &step.retry;
        // Writing to a text cannot fail.
        let _ = writeln!(text, "    with: ${{{{ input }}}}");
        let _ = writeln!(text, "    retry: {{ attempts: {attempts}, backoff: {{ initial: {initial}, max: {max} }} }}");
        text += &step.timeout.map(|span| format!("    timeout: {span}\n")).unwrap_or_default();
    }
    text
}
