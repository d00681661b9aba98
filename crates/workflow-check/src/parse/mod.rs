//! From source text to a checked definition.
//!
//! For: [`check`](crate::check). Not for: evaluating.
//! Invariant: reads on after an error as far as that helps, so that all findings come at once; a definition is
//! given only where there was no error.

mod action;
mod auction;
mod consensus;
mod declared_input;
mod fields;
mod habits;
mod order;
mod retry;
mod route;
mod schema_keywords;
mod scope;
mod shared;
mod step;
mod values;

#[cfg(test)]
pub(crate) use self::{action::LATER, step::STEP_KEYS};
#[cfg(test)]
pub(crate) use self::{
    auction::AUCTION_KEYS,
    consensus::{CONSENSUS_KEYS, VOTER_KEYS},
    shared::{LOCK_KEYS, PUBLISH_KEYS, READ_KEYS, STATE_KEYS},
};

use consort_types::limits;
use consort_workflow::{Block, BlockId, CompiledWorkflow, Definition, InputSpec, Retry};

use self::{
    declared_input::InputReader,
    fields::PlainReader,
    scope::{Frame, Place, Scope},
    values::ValueReader,
};
use crate::{
    Checked, Diagnostics,
    diagnostic::Report,
    yaml::{self, Node},
};

/// The keys of a workflow file, in the order of the reference.
pub(crate) const ROOT_KEYS: [&str; 8] =
    ["workflow", "version", "description", "input", "steps", "output", "timeout", "retry"];

pub(crate) fn parse(source: &str) -> Result<Checked, Diagnostics> {
    let mut report = Report::new(source);
    if source.len() > limits::WORKFLOW_BYTES_MAX {
        let message = format!("the file has {} bytes, the limit is {}", source.len(), limits::WORKFLOW_BYTES_MAX);
        report.error("too-large", 0..0, message).hint("split the workflow, or pass data as input");
        return Err(report.finish().0);
    }
    let Some(root) = yaml::read(source, &mut report) else { return Err(report.finish().0) };
    let values = ValueReader {
        plain: PlainReader { source, report },
        scope: Scope::default(),
        input: InputSpec::default(),
        expression_bytes: 0,
    };
    let mut reader = Reader { values, blocks: Vec::new(), steps: 0, retry: Retry::default() };
    let definition = reader.workflow(&root);
    let compiled = definition.as_ref().map(|definition| compile(definition, source, reader.report()));
    let (errors, warnings) = reader.values.plain.report.finish();
    match (definition, compiled) {
        (Some(definition), Some(compiled)) if errors.0.is_empty() => Ok(Checked { definition, compiled, warnings }),
        _ => Err(errors),
    }
}

/// The normal form. It may be larger than the text: YAML can name a part once and use it often.
fn compile(definition: &Definition, source: &str, report: &mut Report<'_>) -> CompiledWorkflow {
    let compiled = CompiledWorkflow::new(definition, source, env!("CARGO_PKG_VERSION"));
    let (bytes, max) = (compiled.normal_form.len(), limits::NORMAL_FORM_BYTES_MAX);
    if bytes > max {
        let message = format!("the normal form of the workflow has {bytes} bytes, the limit is {max}");
        report.error("too-large", 0..0, message).hint("use fewer aliases, or pass data as input");
    }
    compiled
}

/// Reads the steps of a workflow: [`PlainReader`] reads their plain values, [`ValueReader`] those with expressions.
struct Reader<'s> {
    values: ValueReader<'s>,
    blocks: Vec<Block>,
    /// Steps read so far.
    steps: usize,
    /// How the failed attempts of a call are repeated that has no `retry` of its own.
    retry: Retry,
}

impl<'s> Reader<'s> {
    fn workflow(&mut self, root: &Node) -> Option<Definition> {
        let fields = self.plain().map(root, "a workflow file", &ROOT_KEYS)?;
        let name = match self.plain().required(&fields, "workflow", "name the workflow: `workflow: NAME`") {
            Some(entry) => self.plain().name("workflow name", &entry.value),
            None => None,
        };
        let version = fields.get("version").and_then(|entry| self.plain().version(entry));
        let description = fields.get("description").and_then(|entry| self.plain().text(entry)).unwrap_or_default();
        if let Some(entry) = fields.get("input") {
            self.values.input = InputReader { plain: self.plain() }.read(entry).unwrap_or_default();
        }
        let timeout = fields.get("timeout").and_then(|entry| self.plain().span(entry));
        if let Some(entry) = fields.get("retry") {
            self.retry = self.retry(entry).unwrap_or_default();
        }
        let steps = self.plain().required(&fields, "steps", "a workflow has at least one step, under `steps:`")?;
        self.values.scope.remember(&steps.value);
        self.block(steps, None);
        let output = fields.get("output").map(|entry| {
            self.values.scope.frames.push(Frame::of(&self.blocks[0]));
            let template = self.values.template(&entry.value, Place::default());
            self.values.scope.frames.pop();
            template
        });
        Some(Definition {
            name: name?,
            version,
            description,
            input: std::mem::take(&mut self.values.input),
            blocks: std::mem::take(&mut self.blocks),
            output,
            timeout,
        })
    }

    fn frame(&mut self) -> &mut Frame {
        let last = self.values.scope.frames.len() - 1;
        &mut self.values.scope.frames[last]
    }

    /// Makes room for a block; its id is known before its steps are read.
    fn open_block(&mut self, parent: Option<(BlockId, usize)>) -> BlockId {
        self.blocks.push(Block { steps: Vec::new(), parent });
        BlockId(self.blocks.len() as u32 - 1)
    }

    fn plain(&mut self) -> &mut PlainReader<'s> {
        &mut self.values.plain
    }

    fn report(&mut self) -> &mut Report<'s> {
        &mut self.values.plain.report
    }
}
