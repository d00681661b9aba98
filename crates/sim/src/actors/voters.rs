//! Voters: they are asked, and vote; some lie, some change their minds, some die.
//!
//! For: opening ballots, voting on them in good and bad ways, and ending them by hand. Not for: what must hold of them (see
//! `oracle::ballots`).
//! Invariant: once faults have ended, every open ballot is closed.

use std::collections::BTreeSet;

use consort_core::{
    Command,
    command::{CancelBallot, CastVote, CloseBallot, DeleteBallot, OpenBallot},
    rows::BallotStatus,
    view::{BallotView, BallotViews},
};
use consort_types::{
    Span,
    ballot::{BallotSpec, Choice, FaultKind, Ratio, Rule, Secrecy, Tie, Voter},
};

use crate::{
    clock::SECOND, context::Context, event::Event, plan::Checked, random::Random, requests::Purpose, roster::NAMESPACES,
};

/// What can be chosen.
const OPTIONS: [&str; 3] = ["north", "south", "west"];
/// Ballots of a namespace that are open at once.
const OPEN_MAX: usize = 3;

/// The voters.
#[derive(Debug)]
pub(crate) struct Voters {
    /// What they do does not depend on the chance of the rest of the world.
    random: Random,
    opened: u64,
    dead: BTreeSet<(String, String)>,
}

impl Voters {
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: Random::new(seed ^ 0xBA11_0750), opened: 0, dead: BTreeSet::new() }
    }

    /// Something happens in a ballot.
    pub(crate) fn step(&mut self, ctx: &mut Context) -> Checked {
        let pause = self.random.span(SECOND / 4, 6 * SECOND);
        ctx.at(if ctx.is_quiescent() { 20 * SECOND } else { pause }, Event::Vote);
        let namespace = *self.random.pick(&NAMESPACES);
        let open = open_ballots(ctx, namespace);
        if ctx.is_quiescent() {
            for name in open {
                end(ctx, namespace, &name, false);
            }
        } else if open.len() < OPEN_MAX && (open.is_empty() || self.random.chance(100)) {
            self.open(ctx, namespace);
        } else {
            let name = self.random.pick(&open).clone();
            self.act(ctx, namespace, &name);
        }
        Ok(())
    }

    fn open(&mut self, ctx: &mut Context, namespace: &str) {
        self.opened += 1;
        let (namespace, name) = (namespace.to_owned(), format!("ballot-{}", self.opened));
        let command = Command::OpenBallot(OpenBallot { namespace, name, spec: self.draw_spec() });
        ctx.request(command.clone(), Purpose::Any);
        if self.random.chance(100) {
            ctx.figures.fault("ballots opened twice");
            ctx.request(command, Purpose::Any);
        }
    }

    fn draw_spec(&mut self) -> BallotSpec {
        let random = &mut self.random;
        let count = random.between(3, 6);
        let kind = if random.chance(500) { FaultKind::Crash } else { FaultKind::Byzantine };
        let rules = [
            Rule::Majority,
            Rule::Supermajority { fraction: Ratio { parts: 2, of: 3 } },
            Rule::Unanimous,
            Rule::Plurality,
            Rule::Approval,
            Rule::Ranked,
            Rule::Median,
            Rule::TrimmedMean { trim: 1 },
            Rule::Equality { faults: u32::from(count > 3), kind },
        ];
        let rule = random.pick(&rules).clone();
        let free = !rule.needs_options() && (rule.takes_numbers() || random.chance(400));
        let ties = [Tie::Fail, Tie::Lowest, Tie::FirstListed, Tie::Revote, Tie::StatusQuo(OPTIONS[2].to_owned())];
        let tie = match random.pick(&ties).clone() {
            Tie::Lowest if rule.can_tie() => Tie::Lowest,
            Tie::FirstListed if rule.can_tie() && !free => Tie::FirstListed,
            Tie::StatusQuo(option) if !free => Tie::StatusQuo(option),
            Tie::Fail => Tie::Fail,
            _ => Tie::Revote,
        };
        let weight = |random: &mut Random| if rule.takes_weights() { random.between(1, 3) as u32 } else { 1 };
        let voters = (0..count).map(|at| Voter { name: format!("voter-{at}"), weight: weight(random) }).collect();
        let options = if free { Vec::new() } else { OPTIONS.map(str::to_owned).to_vec() };
        let secrecy = *random.pick(&[Secrecy::Open, Secrecy::UntilClosed, Secrecy::SecretVoters]);
        BallotSpec {
            tie,
            quorum: random.between(1, count) as u32,
            deadline: random.chance(700).then(|| Span(random.span(SECOND, 120 * SECOND))),
            secrecy,
            rounds: random.between(1, 3) as u32,
            may_change: random.chance(300),
            keep: Span(random.span(SECOND, 600 * SECOND)),
            ..BallotSpec::new("Which way?", options, voters, rule)
        }
    }

    fn act(&mut self, ctx: &mut Context, namespace: &str, name: &str) {
        let machine = ctx.host.partition.as_mut().and_then(|partition| partition.machine().ok());
        let Some(Ok(record)) = machine.map(|machine| BallotViews::of(machine).show(namespace, name)) else { return };
        let view = record.into_view();
        match self.random.below(100) {
            0 => end(ctx, namespace, name, false),
            1 => end(ctx, namespace, name, true),
            2 => {
                let (namespace, ballot) = (namespace.to_owned(), name.to_owned());
                ctx.request(Command::DeleteBallot(DeleteBallot { namespace, ballot }), Purpose::Any);
            }
            _ => self.vote(ctx, namespace, &view),
        }
    }

    fn vote(&mut self, ctx: &mut Context, namespace: &str, view: &BallotView) {
        let voter = self.random.pick(&view.spec.voters).name.clone();
        if self.dead.contains(&(view.name.clone(), voter.clone())) {
            return;
        }
        if self.random.chance(40) {
            ctx.figures.fault("voters that die");
            self.dead.insert((view.name.clone(), voter));
            return;
        }
        let open = view.rounds.last().map_or(1, |round| round.round);
        let round = match self.random.below(10) {
            0 => Some(open + 1),
            1 => Some(open.saturating_sub(1)),
            2..=5 => None,
            _ => Some(open),
        };
        let is_stranger = self.random.chance(30);
        let choice = self.choose(&view.spec);
        let vote = CastVote {
            namespace: namespace.to_owned(),
            ballot: view.name.clone(),
            voter: if is_stranger { "stranger".to_owned() } else { voter },
            round,
            choice,
            reason: None,
        };
        if is_stranger {
            ctx.figures.fault("votes of strangers");
        }
        if self.random.chance(200) {
            ctx.figures.fault("votes sent twice");
            ctx.request(Command::CastVote(vote.clone()), Purpose::Any);
        }
        if self.random.chance(100) {
            ctx.figures.fault("voters that tell two things");
            let choice = self.choose(&view.spec);
            ctx.request(Command::CastVote(CastVote { choice, ..vote.clone() }), Purpose::Any);
        }
        ctx.request(Command::CastVote(vote), Purpose::Any);
    }

    /// What a voter says: mostly what fits, and mostly the first option, so that something is decided now and then.
    fn choose(&mut self, spec: &BallotSpec) -> Choice {
        let random = &mut self.random;
        if random.chance(100) {
            return Choice::Abstain;
        }
        let one = if random.chance(600) { OPTIONS[0] } else { *random.pick(&OPTIONS) };
        let lie = random.chance(30);
        let from = random.below(3) as usize;
        let some: Vec<String> = OPTIONS[from..].iter().map(|&option| option.to_owned()).collect();
        match spec.expects() {
            _ if lie => Choice::Option("nowhere".to_owned()),
            "approve" => Choice::Approve(some),
            "ranking" => Choice::Ranking(some),
            "value" => Choice::Value(random.below(3).to_string()),
            _ => Choice::Option(one.to_owned()),
        }
    }
}

fn open_ballots(ctx: &mut Context, namespace: &str) -> Vec<String> {
    let machine = ctx.host.partition.as_mut().and_then(|partition| partition.machine().ok());
    let page = machine.map(|machine| BallotViews::of(machine).list(namespace, Some(BallotStatus::Open), None, 100));
    page.and_then(Result::ok).map_or_else(Vec::new, |page| page.items.into_iter().map(|ballot| ballot.name).collect())
}

fn end(ctx: &mut Context, namespace: &str, ballot: &str, cancel: bool) {
    let (namespace, ballot, by) = (namespace.to_owned(), ballot.to_owned(), "ann".to_owned());
    let command = if cancel {
        Command::CancelBallot(CancelBallot { namespace, ballot, by, reason: None })
    } else {
        Command::CloseBallot(CloseBallot { namespace, ballot, by, reason: None })
    };
    ctx.request(command, Purpose::Any);
}
