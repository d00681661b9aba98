//! The action `consensus`: several calls, and how their answers become one decision.
//!
//! For: reading the question, the rule and the voters. Not for: counting (the machine does).
//! Invariant: a consensus that was read without an error can be decided by some answers of its voters; each voter is a
//! call in a block of its own, whose failure is silence.

use std::{collections::BTreeSet, sync::Arc};

use consort_types::{
    Result, Span,
    ballot::{BallotSpec, Rule, RuleNumbers, Tie, Voter},
    limits,
};
use consort_workflow::{Action, BlockId, Consensus, Step, Template};
use serde_json::Value;

use super::{
    Reader,
    fields::Fields,
    scope::{Frame, Place},
    values::literal_map,
};
use crate::yaml::{Entry, Node, NodeKind};

/// The keys of `consensus`.
pub(crate) const CONSENSUS_KEYS: [&str; 13] = [
    "question",
    "options",
    "voters",
    "rule",
    "fraction",
    "trim",
    "faults",
    "against",
    "on_tie",
    "status_quo",
    "quorum",
    "deadline",
    "on_undecided",
];

/// The keys of a voter.
pub(crate) const VOTER_KEYS: [&str; 12] = [
    "capability",
    "agent",
    "weight",
    "with",
    "retry",
    "timeout",
    "deadline",
    "priority",
    "concurrency",
    "route",
    "effect",
    "on_unknown",
];

/// What every voter is asked.
struct Asked<'n> {
    question: &'n Node,
    options: Vec<String>,
    deadline: Option<Span>,
}

impl Reader<'_> {
    pub(super) fn consensus(&mut self, entry: &Entry, block: BlockId, at: usize) -> Option<Action> {
        let fields = self.plain().map(&entry.value, "`consensus`", &CONSENSUS_KEYS)?;
        let question = self.plain().required(&fields, "question", "say what the voters are to decide")?;
        let options = fields.get("options").map(|entry| texts(self, entry)).unwrap_or_default();
        let deadline = fields.get("deadline").and_then(|entry| self.plain().span(entry));
        let asked = Asked { question: &question.value, options, deadline };
        let entry =
            self.plain().required(&fields, "voters", "list who votes: `voters: { NAME: { capability: … } }`")?;
        let (inner, voters) = self.voters(entry, &asked, (block, at))?;
        let rule = match self.rule(&fields) {
            Ok(rule) => rule,
            Err(error) => return refuse(self, &fields, error),
        };
        let plain = BallotSpec::new("consensus", asked.options, voters, rule);
        let quorum = fields.get("quorum").and_then(|entry| self.plain().integer(entry, 1..=i64::from(u32::MAX)));
        let spec = BallotSpec { quorum: quorum.unwrap_or(plain.quorum), ..plain };
        let spec = match self.tie(&fields) {
            Ok(Some(tie)) => BallotSpec { tie, ..spec },
            Ok(None) => spec,
            Err(error) => return refuse(self, &fields, error),
        };
        if let Err(error) = spec.check() {
            return refuse(self, &fields, error);
        }
        let on_undecided = fields.get("on_undecided");
        let on_undecided = on_undecided.map(|entry| self.values.template(&entry.value, Place::default()));
        Some(Action::Consensus(Box::new(Consensus { block: inner, spec, on_undecided })))
    }

    fn rule(&mut self, fields: &Fields<'_>) -> Result<Rule> {
        let mut count = |key: &str| {
            let entry = fields.get(key)?;
            self.plain().integer::<u32>(entry, 0..=i64::from(u32::MAX))
        };
        let (trim, faults) = (count("trim"), count("faults"));
        let mut text = |key: &str| fields.get(key).and_then(|entry| self.plain().text(entry));
        let (word, fraction, against) = (text("rule"), text("fraction"), text("against"));
        let fraction = fraction.as_deref().map(str::parse).transpose()?;
        let kind = against.as_deref().map(str::parse).transpose()?;
        Rule::of(word.as_deref().unwrap_or("majority"), RuleNumbers { fraction, trim, faults, kind })
    }

    fn tie(&mut self, fields: &Fields<'_>) -> Result<Option<Tie>> {
        let mut text = |key: &str| fields.get(key).and_then(|entry| self.plain().text(entry));
        let (word, option) = (text("on_tie"), text("status_quo"));
        match (word, option) {
            (None, None) => Ok(None),
            (None, Some(option)) => Ok(Some(Tie::StatusQuo(option))),
            (Some(word), option) => Tie::of(&word, option).map(Some),
        }
    }

    /// Reads the voters as a block of calls; their weights by name.
    fn voters(&mut self, entry: &Entry, asked: &Asked<'_>, parent: (BlockId, usize)) -> Option<(BlockId, Vec<Voter>)> {
        let NodeKind::Map(entries) = &entry.value.kind else {
            let message = format!("`voters` must be a map from names to calls, found {}", entry.value.kind_name());
            let found = self.report().error("bad-type", entry.value.span.clone(), message);
            found.hint("write `NAME: { capability: … }` for each voter");
            return None;
        };
        if self.values.scope.frames.len() >= limits::WORKFLOW_DEPTH_MAX {
            let message = format!("steps are nested deeper than {} levels", limits::WORKFLOW_DEPTH_MAX);
            let found = self.report().error("too-deep", entry.key_span.clone(), message);
            found.hint("make the inner part a workflow of its own");
            return None;
        }
        let id = self.open_block(Some(parent));
        let names = entries.iter().enumerate().map(|(at, voter)| (Arc::from(voter.key.as_str()), at)).collect();
        let edges = vec![BTreeSet::new(); entries.len()];
        self.values.scope.frames.push(Frame { names, edges, ..Frame::default() });
        let mut voters = Vec::with_capacity(entries.len());
        for (at, voter) in entries.iter().enumerate() {
            self.steps += 1;
            if self.report().is_full() || self.steps > limits::WORKFLOW_STEPS_MAX {
                self.too_many_steps(voter);
                break;
            }
            self.frame().current = Some(at);
            let (step, weight) = self.voter(voter, asked);
            voters.push(Voter { name: step.name.clone(), weight });
            self.blocks[id.0 as usize].steps.push(step);
        }
        let frame = self.values.scope.frames.pop().unwrap_or_default();
        self.close_block(id, entries, &frame);
        Some((id, voters))
    }

    /// A voter as a call whose failure is silence, and its weight.
    fn voter(&mut self, entry: &Entry, asked: &Asked<'_>) -> (Step, u32) {
        self.step_name(entry);
        let mut step = Step::blank(&entry.key);
        step.continue_on_error = true;
        let Some(mut fields) = self.plain().map(&entry.value, "a voter", &VOTER_KEYS) else { return (step, 1) };
        fields.place = entry.key_span.clone();
        let capability = fields.get("capability").and_then(|entry| self.plain().name("capability", &entry.value));
        let agent = fields.get("agent").and_then(|entry| self.values.agent(entry));
        if fields.get("capability").is_none() && fields.get("agent").is_none() && !fields.misspelt {
            let found = self.report().error("no-action", fields.place.clone(), "the voter is no call");
            found.hint("add `capability` or `agent`");
        }
        step.action = Action::Call { capability, agent };
        self.action_settings(&fields, &mut step);
        if fields.get("with").is_none() {
            step.with = self.ask(asked);
        }
        let own = fields.get("deadline").and_then(|entry| self.plain().span(entry));
        step.deadline = own.or(asked.deadline);
        let weight = fields.get("weight");
        let max = i64::from(limits::BALLOT_WEIGHT_MAX);
        (step, weight.and_then(|entry| self.plain().integer(entry, 1..=max)).unwrap_or(1))
    }

    /// The input of a voter that has none of its own: the question, and the options where there are any.
    fn ask(&mut self, asked: &Asked<'_>) -> Template {
        let question = self.values.template(asked.question, Place::default());
        let mut map = vec![("question".to_owned(), question)];
        if !asked.options.is_empty() {
            map.push(("options".to_owned(), Template::Literal(Value::from(asked.options.clone()))));
        }
        map.sort_by(|one, other| one.0.cmp(&other.0));
        literal_map(map)
    }
}

/// Reports what the rules of ballots refuse.
fn refuse(reader: &mut Reader<'_>, fields: &Fields<'_>, error: consort_types::Error) -> Option<Action> {
    let found = reader.report().error("bad-value", fields.place.clone(), error.message);
    if let Some(hint) = error.hint {
        found.hint(hint);
    }
    None
}

fn texts(reader: &mut Reader<'_>, entry: &Entry) -> Vec<String> {
    let NodeKind::List(items) = &entry.value.kind else {
        let message = format!("`{}` must be a list of texts, found {}", entry.key, entry.value.kind_name());
        reader.report().error("bad-type", entry.value.span.clone(), message);
        return Vec::new();
    };
    let mut texts = Vec::with_capacity(items.len());
    for item in items {
        if let Some(text) = item.as_str() {
            texts.push(text.to_owned());
            continue;
        }
        let message = format!("`{}` must be a list of texts, found {}", entry.key, item.kind_name());
        reader.report().error("bad-type", item.span.clone(), message);
    }
    texts
}
