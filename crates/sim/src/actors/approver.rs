//! Approvers: people who decide what is in the inbox.
//!
//! For: approvals, and attempts whose outcome is unknown. Not for: what else is done to runs (see `operator`).
//! Invariant: an item is decided once, unless the decision is lost with a process.

use consort_core::{
    Command,
    command::{Approve, Resolution, ResolveUnknown},
    rows::Ask,
};
use consort_types::{Payload, StepInstanceId};

use crate::{clock::SECOND, context::Context, event::Event, plan::Checked, requests::Purpose, roster::NAMESPACES};

/// An approver looks into the inbox.
pub(crate) fn step(ctx: &mut Context) -> Checked {
    let pause = ctx.random.span(2 * SECOND, 40 * SECOND);
    ctx.at(pause, Event::Approve);
    for namespace in NAMESPACES {
        let machine = ctx.host.partition.as_mut().and_then(|partition| partition.machine().ok());
        let Some(Ok(page)) = machine.map(|machine| machine.tasks().inbox(namespace, None, 50)) else { return Ok(()) };
        for item in page.items {
            if !ctx.requests.is_pending(&Purpose::Decide { task: item.task }) {
                decide(ctx, namespace, item.task, item.ask);
            }
        }
    }
    Ok(())
}

fn decide(ctx: &mut Context, namespace: &str, task: StepInstanceId, kind: Ask) {
    let odd = !ctx.is_quiescent() && ctx.random.chance(ctx.faults.disturb / 4);
    if odd {
        ctx.results.mark(&ctx.fold, task.run, false);
    }
    let (namespace, by) = (namespace.to_owned(), "ann".to_owned());
    let command = match kind {
        Ask::Approval => Command::Approve(Approve { namespace, task, approved: !odd, by, comment: None, value: None }),
        Ask::GaveUp => {
            let resolution = if odd { Resolution::Fail } else { Resolution::Retry };
            ctx.figures.fault("compensations that gave up");
            Command::ResolveUnknown(ResolveUnknown { namespace, task, resolution, by, comment: None })
        }
        Ask::Diverged => {
            let resolution = if odd { Resolution::Fail } else { Resolution::Retry };
            ctx.figures.fault("divergences");
            Command::ResolveUnknown(ResolveUnknown { namespace, task, resolution, by, comment: None })
        }
        Ask::UnknownOutcome => {
            let resolution = match ctx.settle_effect(task) {
                Some(output) => Resolution::Done(Payload::from_value(&output)),
                None if odd => Resolution::Fail,
                None => Resolution::Retry,
            };
            ctx.figures.fault("unknown outcomes");
            Command::ResolveUnknown(ResolveUnknown { namespace, task, resolution, by, comment: None })
        }
    };
    ctx.request(command, Purpose::Decide { task });
}
