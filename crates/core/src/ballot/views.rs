//! What people and programs see of ballots.
//!
//! For: listing ballots, and one ballot with its rounds, votes, dissent and result. Not for: changing them.
//! Invariant: a view never shows what the secrecy of its ballot hides; the rows are read between two groups, and counted
//! outside of the loop.

use consort_types::{
    Result, Seq, Time,
    ballot::{Answer, BallotSpec, Choice, Secrecy},
};

use super::{
    rounds,
    rows::{Ballot, BallotProgress, BallotStatus, ByHand, ClosedRound, Vote},
    tally::Tally,
    verdict::{self, ClosedBy, Verdict},
};
use crate::{
    Machine,
    key::NamedKey,
    page::{Page, bounded},
    registry::agents::PAST,
    state::State,
};

/// A ballot, as it is listed.
#[derive(Clone, Debug, PartialEq)]
pub struct BallotSummary {
    /// Its name.
    pub name: String,
    /// What is asked.
    pub question: String,
    /// Where it is.
    pub status: BallotStatus,
    /// The open round, or the last one.
    pub round: u32,
    /// Votes in that round.
    pub voted: u32,
    /// How many may vote.
    pub voters: u32,
    /// When it was opened.
    pub opened: Time,
    /// When the open round closes by itself.
    pub closes: Option<Time>,
    /// When it ended.
    pub ended: Option<Time>,
    /// What it came to.
    pub verdict: Option<Verdict>,
}

/// The rows of a ballot.
#[derive(Clone, Debug, PartialEq)]
pub struct BallotRecord {
    ballot: Ballot,
    progress: BallotProgress,
    /// The votes of each round, the first one first.
    votes: Vec<Vec<(String, Vote)>>,
}

/// A vote, as it may be seen.
#[derive(Clone, Debug, PartialEq)]
pub struct VoteView {
    /// Who gave it; `None` where that is secret.
    pub voter: Option<String>,
    /// What it says.
    pub choice: Choice,
    /// Why.
    pub reason: Option<String>,
    /// When it was given, or changed last; `None` where the voter is secret, since the time could give it away.
    pub time: Option<Time>,
    /// How often it was changed.
    pub changes: u32,
    /// Whether it is for something else than what the ballot decided.
    pub dissents: bool,
}

/// A round, as it may be seen.
#[derive(Clone, Debug, PartialEq)]
pub struct RoundView {
    /// Its number, from 1.
    pub round: u32,
    /// When it was opened.
    pub opened: Time,
    /// When it was closed, and by what.
    pub closed: Option<(Time, ClosedBy)>,
    /// Who has voted, in the order of the list of voters.
    pub voted: Vec<String>,
    /// Who has not.
    pub silent: Vec<String>,
    /// The count; `None` while it is hidden.
    pub tally: Option<Tally>,
    /// The votes; none while they are hidden.
    pub votes: Vec<VoteView>,
}

/// A ballot with its rounds.
#[derive(Clone, Debug, PartialEq)]
pub struct BallotView {
    /// Its number: the record that opened it.
    pub ballot: Seq,
    /// Its name.
    pub name: String,
    /// What is asked, and how it is decided.
    pub spec: BallotSpec,
    /// Where it is.
    pub status: BallotStatus,
    /// When it was opened.
    pub opened: Time,
    /// When the open round closes by itself.
    pub closes: Option<Time>,
    /// When it ended.
    pub ended: Option<Time>,
    /// Who ended it by hand.
    pub by_hand: Option<ByHand>,
    /// What it came to, as it was recorded.
    pub verdict: Option<Verdict>,
    /// What its recorded votes come to, counted again.
    pub recounted: Option<Verdict>,
    /// Its rounds, the first one first.
    pub rounds: Vec<RoundView>,
}

impl BallotRecord {
    /// The ballot as it may be seen. It counts every round again, which takes some milliseconds for the largest ballots.
    pub fn into_view(self) -> BallotView {
        let recounted = self.recount();
        let Self { ballot, progress, votes } = self;
        let round_view = |(at, votes): (usize, &Vec<(String, Vote)>)| {
            let closed = progress.rounds.get(at);
            let hidden = ballot.spec.secrecy != Secrecy::Open && closed.is_none();
            round_view(&ballot.spec, &progress, at, votes, hidden)
        };
        let rounds = votes.iter().enumerate().map(round_view).collect();
        BallotView {
            ballot: progress.ballot,
            name: ballot.name,
            spec: ballot.spec,
            status: progress.status,
            opened: ballot.opened,
            closes: progress.closes,
            ended: progress.ended,
            by_hand: progress.by_hand,
            verdict: progress.verdict,
            recounted,
            rounds,
        }
    }

    /// The verdict, made again from the recorded votes.
    fn recount(&self) -> Option<Verdict> {
        let closed: Vec<_> = self
            .progress
            .rounds
            .iter()
            .zip(&self.votes)
            .map(|(round, votes)| (rounds::choices(votes), round.by))
            .collect();
        verdict::recompute(&self.ballot.spec, &closed)
    }
}

fn round_view(
    spec: &BallotSpec,
    progress: &BallotProgress,
    at: usize,
    votes: &[(String, Vote)],
    hidden: bool,
) -> RoundView {
    let closed = progress.rounds.get(at).copied();
    let has_answered = |name: &String| votes.iter().any(|(voter, _)| voter == name);
    let (heard, silent): (Vec<String>, Vec<String>) =
        spec.voters.iter().map(|voter| voter.name.clone()).partition(has_answered);
    let decision = match &progress.verdict {
        Some(Verdict::Decided { answer, .. }) => Some(answer),
        _ => None,
    };
    let shown = if hidden { &[] } else { votes };
    let mut shown: Vec<VoteView> = shown.iter().map(|(voter, vote)| vote_view(spec, voter, vote, decision)).collect();
    if spec.secrecy == Secrecy::SecretVoters {
        // The order of the names would tell who gave which vote.
        shown.sort_by_cached_key(|vote| (format!("{:?}", vote.choice), vote.reason.clone()));
    }
    RoundView {
        round: u32::try_from(at + 1).unwrap_or(u32::MAX),
        opened: closed.map_or(progress.round_opened, |closed: ClosedRound| closed.opened),
        closed: closed.map(|closed| (closed.closed, closed.by)),
        voted: heard,
        silent,
        tally: (!hidden).then(|| verdict::tally_round(spec, &rounds::choices(votes))),
        votes: shown,
    }
}

fn vote_view(spec: &BallotSpec, voter: &str, vote: &Vote, decision: Option<&Answer>) -> VoteView {
    let named = spec.secrecy != Secrecy::SecretVoters;
    VoteView {
        voter: named.then(|| voter.to_owned()),
        choice: vote.choice.clone(),
        reason: vote.reason.clone(),
        time: named.then_some(vote.time),
        changes: vote.changes,
        dissents: decision.is_some_and(|decision| dissents(spec, &vote.choice, decision)),
    }
}

/// Whether a vote is for something else than the decision: another option, one that it does not approve of or does not
/// rank first, another answer. A number that others were averaged with is no dissent.
pub fn dissents(spec: &BallotSpec, choice: &Choice, decision: &Answer) -> bool {
    match (choice, decision) {
        (Choice::Abstain, _) => false,
        (Choice::Option(option), Answer::Option(decided)) => option != decided,
        (Choice::Approve(options), Answer::Option(decided)) => !options.contains(decided),
        (Choice::Ranking(options), Answer::Option(decided)) => options.first() != Some(decided),
        (Choice::Value(text), Answer::Value(decided)) => !spec.rule.takes_numbers() && text != decided,
        _ => true,
    }
}

/// The views of ballots.
pub struct BallotViews<'a>(&'a mut State);

impl<'a> BallotViews<'a> {
    /// Of the ballots of a partition.
    pub fn of(machine: &'a mut Machine) -> Self {
        Self(&mut machine.state)
    }
}

impl BallotViews<'_> {
    /// The rows of a ballot.
    ///
    /// # Errors
    /// [`consort_types::Code::BallotNotFound`].
    pub fn show(&mut self, namespace: &str, name: &str) -> Result<BallotRecord> {
        let (progress, ballot) = rounds::find(self.0, namespace, name)?;
        let votes = (1..=progress.round).map(|round| rounds::votes(self.0, progress.ballot, round));
        let votes = votes.collect::<Result<_>>()?;
        Ok(BallotRecord { ballot, progress, votes })
    }

    /// The ballots of a namespace, by name; with a status, those of the page that have it.
    pub fn list(
        &mut self,
        namespace: &str,
        status: Option<BallotStatus>,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<BallotSummary>> {
        let (from, limit) = (NamedKey::of(namespace, cursor.unwrap_or("")), bounded(limit));
        let mut rows = self.0.tables.ballot_names.range(&from, &NamedKey::of(namespace, PAST), limit + 1)?;
        let next = if rows.len() > limit { rows.pop().map(|(key, _)| key.name) } else { None };
        let wanted = |row: &&(NamedKey, BallotProgress)| status.is_none_or(|status| row.1.status == status);
        let mut items = Vec::new();
        for (key, progress) in rows.iter().filter(wanted) {
            let Some(ballot) = self.0.tables.ballots.read_uncached(&progress.ballot)? else { continue };
            items.push(BallotSummary {
                name: key.name.clone(),
                question: ballot.spec.question,
                status: progress.status,
                round: progress.round,
                voted: progress.voted,
                voters: u32::try_from(ballot.spec.voters.len()).unwrap_or(u32::MAX),
                opened: ballot.opened,
                closes: progress.closes,
                ended: progress.ended,
                verdict: progress.verdict.clone(),
            });
        }
        Ok(Page { items, next })
    }
}
