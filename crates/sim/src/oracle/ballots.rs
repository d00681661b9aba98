//! What must hold of ballots, row by row.
//!
//! For: a ballot is decided once, its decision is the one that its votes give, no vote is counted twice, and none comes
//! after the close. Not for: other rows (see `rows`).
//! Invariant: as in `rows`: only rows are read, and decoded here; the decision is made again by the pure count.

use std::collections::BTreeMap;

use consort_core::{
    TABLES,
    keys::VoteKey,
    rows::{Ballot, BallotProgress, BallotStatus, ClosedBy, Vote},
    tally::{RoundVotes, casts, is_settled, recompute},
};
use consort_types::Seq;

use super::rows::{Change, Context, Rows, decode, key_bytes, key_of, table};
use crate::plan::{Checked, Violation};

/// Looks at what a record changed of ballots and votes; `rows` are those after it.
pub(super) fn check(context: &Context<'_>, changes: &[Change], rows: &Rows) -> Checked {
    for change in changes {
        if TABLES.ballots.has(&change.key) && change.old.is_some() && change.new.is_some() {
            return Err(Violation::of(7, format!("record {}: what a ballot asks has changed", context.seq)));
        }
        if TABLES.votes.has(&change.key) {
            check_vote(context, change, changes, rows)?;
        }
    }
    // A vote that should not be there is told as such, and not by what it does to the count.
    let mut progress = changes.iter().filter(|change| TABLES.ballot_names.has(&change.key));
    progress.try_for_each(|change| check_progress(context, change, rows))
}

fn ballot(rows: &Rows, number: Seq) -> Option<Ballot> {
    decode(rows.get(&key_bytes(TABLES.ballots, &number))?)
}

/// The votes of each round, the first one first.
fn rounds_of(rows: &Rows, number: Seq, rounds: u32) -> Vec<BTreeMap<String, Vote>> {
    let mut found = vec![BTreeMap::new(); rounds as usize];
    let from = key_bytes(TABLES.votes, &VoteKey { ballot: number, round: 0, voter: String::new() });
    for (key, row) in rows.range(from..) {
        let Some(key) = key_of::<VoteKey>(key).filter(|key| key.ballot == number) else { break };
        if let (Some(round), Some(vote)) = (found.get_mut(key.round as usize - 1), decode::<Vote>(row)) {
            round.insert(key.voter, vote);
        }
    }
    found
}

fn choices(votes: &BTreeMap<String, Vote>) -> RoundVotes<'_> {
    votes.iter().map(|(voter, vote)| (voter.as_str(), &vote.choice)).collect()
}

fn check_progress(context: &Context<'_>, change: &Change, rows: &Rows) -> Checked {
    let broken = |law, what: String| Err(Violation::of(law, format!("record {}: {what}", context.seq)));
    let old = change.old.as_deref().and_then(decode::<BallotProgress>);
    let Some(new) = change.new.as_deref().and_then(decode::<BallotProgress>) else {
        let is_open = old.is_some_and(|old| old.status == BallotStatus::Open);
        return if is_open { broken(7, "an open ballot is gone".to_owned()) } else { Ok(()) };
    };
    if let Some(old) = old.filter(|old| old.ballot == new.ballot && old.status != BallotStatus::Open) {
        return if old == new { Ok(()) } else { broken(7, format!("a ballot had ended as {old:?}, and is {new:?}")) };
    }
    let Some(ballot) = ballot(rows, new.ballot) else { return broken(4, format!("{new:?} asks nothing")) };
    let rounds = rounds_of(rows, new.ballot, new.round);
    let Some(last) = rounds.last() else { return broken(4, format!("{new:?} has no round")) };
    if last.len() != new.voted as usize {
        return broken(8, format!("round {} counts {} votes, and has {}", new.round, new.voted, last.len()));
    }
    let closed: Vec<_> = new.rounds.iter().zip(&rounds).map(|(round, votes)| (choices(votes), round.by)).collect();
    let verdict = recompute(&ballot.spec, &closed);
    if verdict != new.verdict {
        return broken(2, format!("the votes of {ballot:?} come to {verdict:?}, recorded is {:?}", new.verdict));
    }
    for (round, (votes, by)) in new.rounds.iter().zip(&closed) {
        let deadline = ballot.spec.deadline.map(|deadline| round.opened.after(deadline));
        let fits = match by {
            ClosedBy::Votes => is_settled(&ballot.spec, &casts(&ballot.spec, votes)),
            ClosedBy::Deadline => deadline.is_some_and(|deadline| deadline <= round.closed),
            ClosedBy::Operator => true,
        };
        if !fits {
            return broken(6, format!("a round of {ballot:?} was closed too early by its {by:?}"));
        }
    }
    Ok(())
}

/// A vote is given or changed in the open round only, by a voter of the ballot; it goes with its ballot only.
fn check_vote(context: &Context<'_>, change: &Change, changes: &[Change], rows: &Rows) -> Checked {
    let broken = |law, what: String| Err(Violation::of(law, format!("record {}: {what}", context.seq)));
    let Some(key) = key_of::<VoteKey>(&change.key) else { return broken(4, "a vote has no key".to_owned()) };
    let named = |row: &Option<Vec<u8>>| {
        row.as_deref().and_then(decode::<BallotProgress>).filter(|progress| progress.ballot == key.ballot)
    };
    // As it was before the record.
    let before =
        changes.iter().filter(|change| TABLES.ballot_names.has(&change.key)).find_map(|change| named(&change.old));
    if change.new.is_none() {
        let mut others = table(rows, TABLES.ballot_names).map(|(_, row)| Some(row.clone()));
        let is_there = others.any(|row| named(&row).is_some());
        return if is_there { broken(2, format!("vote {key:?} was lost")) } else { Ok(()) };
    }
    let Some(before) = before.filter(|before| before.status == BallotStatus::Open && before.round == key.round) else {
        return broken(7, format!("vote {key:?} came when its round was not open"));
    };
    let Some(ballot) = ballot(rows, key.ballot) else { return broken(4, format!("vote {key:?} is of no ballot")) };
    if ballot.spec.voter(&key.voter).is_none() {
        return broken(12, format!("vote {key:?} is of a stranger"));
    }
    if change.old.is_some() && !ballot.spec.may_change {
        return broken(2, format!("vote {key:?} of round {} was changed", before.round));
    }
    Ok(())
}

/// How many ballots are open.
pub(super) fn open(rows: &Rows) -> usize {
    let progress = table(rows, TABLES.ballot_names).filter_map(|(_, row)| decode::<BallotProgress>(row));
    progress.filter(|progress| progress.status == BallotStatus::Open).count()
}
