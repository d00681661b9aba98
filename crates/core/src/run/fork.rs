//! Forks: a new run that takes over recorded outcomes of an old one.
//!
//! For: retry from a step, and "what if" with another input. Not for: changing the old run: it is final.
//! Invariant: an outcome is taken over only if nothing before it runs anew, and never one that was compensated.

use std::{collections::BTreeMap, sync::Arc};

use consort_types::{Code, Error, Payload, Result, RunId, TaskId};
use consort_workflow::{Block, Definition};

use super::NewRun;
use crate::{
    cache::Document,
    command::ForkRun,
    fold::{Fold, Work},
    keys::ScopeKey,
    rows::{Event, Origin, Run, Scope, ScopeKind, Step, StepState},
};

impl Fold<'_> {
    pub(crate) fn fork_run(&mut self, command: &ForkRun) -> Result<()> {
        if self.machine.tables.runs.get(&command.run)?.is_some() {
            return Err(Error::new(Code::RunExists, format!("run `{}` exists already", command.run)));
        }
        self.check_runs_active(&command.namespace)?;
        let old = self.run_in(&command.namespace, command.from)?;
        let definition = self.definition(&old)?;
        let anew = self.runs_anew(command, &definition)?;
        let input = self.fork_input(command, &old, &definition)?;
        self.create_run(NewRun {
            id: command.run,
            namespace: old.namespace,
            definition: Arc::clone(&definition),
            input,
            parent: None,
            depth: 0,
            paused: false,
            origin: Some(Origin { run: command.from, step: command.step.clone() }),
            labels: old.labels,
            priority: old.priority,
            idempotency_key: None,
            timeout: None,
            traceparent: None,
            root: None,
        })?;
        self.open_fork(command, definition.root(), &anew)
    }

    /// Which steps of the root block run anew.
    fn runs_anew(&mut self, command: &ForkRun, definition: &Definition) -> Result<Vec<bool>> {
        let steps = &definition.root().steps;
        let mut anew = vec![false; steps.len()];
        if let Some(name) = &command.step {
            let Some(at) = definition.root().position(name) else {
                let names: Vec<&str> = steps.iter().map(|step| step.name.as_str()).collect();
                let message = format!("workflow `{}` has no top-level step `{name}`", definition.name);
                return Err(Error::new(Code::StepNotFound, message).hint(format!("it has {}", names.join(", "))));
            };
            anew[at] = true;
        }
        for (index, flag) in anew.iter_mut().enumerate() {
            let row = self.step(TaskId { run: command.from, scope: 0, index: index as u32 })?.unwrap_or_default();
            let kept = match row.state {
                // What was undone must be done again.
                StepState::Completed => row.completed_seq.is_none() || !self.was_compensated(command.from)?,
                StepState::Skipped => !row.tainted,
                _ => false,
            };
            *flag |= !kept;
        }
        let mut open: Vec<usize> = (0..anew.len()).filter(|index| anew[*index]).collect();
        while let Some(index) = open.pop() {
            for dependent in &steps[index].dependents {
                if !std::mem::replace(&mut anew[*dependent], true) {
                    open.push(*dependent);
                }
            }
        }
        if command.step.is_none() && !anew.contains(&true) {
            let message = format!("every step of run `{}` has completed", command.from);
            return Err(Error::new(Code::StepState, message).hint("name the step to run anew: `--from STEP`"));
        }
        Ok(anew)
    }

    fn was_compensated(&mut self, id: RunId) -> Result<bool> {
        Ok(self.run(id)?.ending.is_some())
    }

    fn fork_input(&mut self, command: &ForkRun, old: &Run, definition: &Definition) -> Result<Payload> {
        let Some(input) = &command.input else {
            self.retain(&old.input)?;
            return Ok(old.input.clone());
        };
        let given = self.document(Document::Input(command.run), input)?;
        let accepted = definition.accept_input(&given)?;
        self.machine.documents.take(&Document::Input(command.run));
        self.keep("input", serde_json::to_vec(&accepted).unwrap_or_default())
    }

    /// Opens the root block with the outcomes that are taken over in place.
    fn open_fork(&mut self, command: &ForkRun, root: &Block, anew: &[bool]) -> Result<()> {
        let total = anew.len() as u32;
        self.count_instances(command.run, total)?;
        self.charge(anew.len());
        let key = self.new_scope(command.run, None, ScopeKind::Steps { block: 0 }, total)?;
        let mut taken_over = BTreeMap::new();
        for (index, step) in root.steps.iter().enumerate() {
            let at = |run| TaskId { run, scope: 0, index: index as u32 };
            if anew[index] {
                let waiting = step.needs.iter().filter(|need| anew[**need]).count() as u32;
                self.machine.tables.steps.insert_new(at(command.run), Step { waiting, ..Step::default() });
                if waiting == 0 {
                    self.work(Work::Consider(at(command.run)));
                }
            } else {
                let row = self.known_step(at(command.from))?;
                taken_over.insert(at(command.run), row);
            }
        }
        let ended = taken_over.len() as u32;
        for (task, row) in taken_over {
            self.take_over(task, row)?;
        }
        self.put_scope(key, fork_scope(total, ended));
        if ended == total {
            self.close_block(ScopeKey { run: command.run, scope: key.scope })?;
        }
        Ok(())
    }

    fn take_over(&mut self, task: TaskId, row: Step) -> Result<()> {
        if let Some(output) = &row.output {
            self.retain(output)?;
        }
        // The journal alone tells how a step ended, also where it ended in another run.
        let event = match row.state {
            StepState::Skipped => Event::StepSkipped { error: row.error.clone() },
            _ => Event::StepCopied,
        };
        self.journal(task.run, Some(task), event);
        let step = Step {
            copied: true,
            child: None,
            child_run: None,
            completed_seq: None,
            entries: 0,
            entries_pending: 0,
            ..row
        };
        self.machine.tables.steps.insert_new(task, step);
        Ok(())
    }
}

fn fork_scope(total: u32, ended: u32) -> Scope {
    Scope {
        kind: ScopeKind::Steps { block: 0 },
        parent: None,
        total,
        started: 0,
        ended,
        failed: 0,
        error: None,
        closed: false,
    }
}
