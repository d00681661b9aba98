//! `reads`: keys of shared state that a step reads once, before its `if` is decided.
//!
//! For: reading and recording them. Not for: what expressions see of them (see `around`), or reading as a step of its own
//! (see `share`).
//! Invariant: what was read is recorded with the step, so that whatever is evaluated later (a retry, an offer to another
//! worker) sees the same; all keys of a step are read in one record.

use consort_types::{
    Result, StepInstanceId,
    state::{Action, Operation, Transaction, Writer},
};
use consort_workflow::{Read, Template};
use serde_json::{Map, Value, json};

use crate::{
    context::ApplyContext,
    encode::encode,
    run::{
        environment::{self, in_expression},
        locate::StepRef,
        rows::step::StepReads,
    },
    space::transact::Transact,
};

/// Reads the keys of a step, if it has not yet.
pub(crate) fn read(ctx: &mut ApplyContext<'_>, step_ref: &StepRef, task: StepInstanceId, reads: &[Read]) -> Result<()> {
    if ctx.state.tables.step_reads.get_shared(&task)?.is_some() {
        return Ok(());
    }
    let mut then = Vec::with_capacity(reads.len());
    for Read { space, key, .. } in reads {
        let (space, key) = (text(ctx, step_ref, task, space)?, text(ctx, step_ref, task, key)?);
        then.push(Operation { space, key, action: Action::Get });
    }
    let transaction = Transaction { then, ..Transaction::default() };
    let namespace = step_ref.run.namespace.clone();
    let command = Transact { namespace, transaction, by: Writer::default() };
    command.check().map_err(|error| in_expression("reads", error))?;
    let mut values = Map::new();
    for (read, found) in reads.iter().zip(command.apply(ctx)?.results) {
        let value = match &found.value {
            Some(value) => ctx.state.value_of("a stored value", value)?,
            None => Value::Null,
        };
        values.insert(read.name.clone(), json!({ "value": value, "version": found.version.0 }));
    }
    let document = ctx.store_payload("values that the step reads", encode(&Value::Object(values)))?;
    ctx.state.tables.step_reads.insert_new(task, StepReads { document });
    Ok(())
}

fn text(ctx: &mut ApplyContext<'_>, step_ref: &StepRef, task: StepInstanceId, template: &Template) -> Result<String> {
    let value = environment::evaluate(ctx.state, step_ref, task, template);
    let value = value.map_err(|error| in_expression("reads", error))?;
    Ok(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}
