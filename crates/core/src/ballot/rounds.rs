//! The rounds of a ballot: opened, closed by votes or time, and followed by another one or the end.
//!
//! For: what the commands and the timers of ballots share. Not for: counting (see `tally`) or deciding (see `verdict`).
//! Invariant: an open round with a deadline has one timer; a round closes once; a ballot ends once.

use consort_types::{Code, Error, Result, Seq, limits};

use super::{
    keys::{VoteKey, timer_task},
    rows::{Ballot, BallotProgress, BallotStatus, ClosedRound, Vote},
    tally,
    verdict::{self, ClosedBy, RoundVotes, Verdict},
};
use crate::{
    context::ApplyContext,
    effect::Effect,
    key::NamedKey,
    run::keys::{TimerKey, TimerKind, position_of},
    state::{State, missing},
};

/// The ballot of a name, with what was asked.
///
/// # Errors
/// [`Code::BallotNotFound`].
pub(crate) fn find(state: &mut State, namespace: &str, name: &str) -> Result<(BallotProgress, Ballot)> {
    let Some(progress) = state.tables.ballot_names.get(&NamedKey::of(namespace, name))? else {
        let message = format!("there is no ballot `{name}` in namespace `{namespace}`");
        return Err(Error::new(Code::BallotNotFound, message).hint("`consort ballots list` shows those that are kept"));
    };
    let ballot = state.tables.ballots.get(&progress.ballot)?;
    Ok((progress.clone(), ballot.ok_or_else(|| missing("ballot", &progress.ballot))?))
}

/// Refuses a change of a ballot that has ended.
pub(crate) fn check_open(progress: &BallotProgress, name: &str) -> Result<()> {
    if progress.status == BallotStatus::Open {
        return Ok(());
    }
    let status = format!("{:?}", progress.status).to_lowercase();
    let message = format!("ballot `{name}` has ended as `{status}`");
    Err(Error::new(Code::BallotClosed, message).hint("`consort ballots show` shows its result"))
}

/// Keeps how far the ballot is, and has its watchers woken.
pub(crate) fn put(ctx: &mut ApplyContext<'_>, ballot: &Ballot, progress: BallotProgress) {
    let number = progress.ballot;
    ctx.state.tables.ballot_names.put(NamedKey::of(&ballot.namespace, &ballot.name), progress);
    let seq = ctx.seq;
    ctx.effect(Effect::BallotChanged { ballot: number, seq });
}

/// Opens the next round.
pub(crate) fn open_next(ctx: &mut ApplyContext<'_>, ballot: &Ballot, progress: &mut BallotProgress) {
    progress.round += 1;
    progress.voted = 0;
    progress.round_opened = ctx.now;
    progress.closes = ballot.spec.deadline.map(|deadline| ctx.now.after(deadline));
    if let Some(due) = progress.closes {
        ctx.arm(due, timer_task(progress.ballot), TimerKind::BallotDeadline, progress.round);
    }
}

/// The votes of a round, by voter.
pub(crate) fn votes(state: &State, ballot: Seq, round: u32) -> Result<Vec<(String, Vote)>> {
    let (from, to) = (VoteKey::first(ballot, round), VoteKey::first(ballot, round + 1));
    let rows = state.tables.votes.range(&from, &to, limits::BALLOT_VOTERS_MAX)?;
    Ok(rows.into_iter().map(|(key, vote)| (key.voter, vote)).collect())
}

/// The choices of votes, as they are counted.
pub(crate) fn choices(votes: &[(String, Vote)]) -> RoundVotes<'_> {
    votes.iter().map(|(voter, vote)| (voter.as_str(), &vote.choice)).collect()
}

/// Closes the open round where its votes have settled it.
pub(crate) fn close_if_settled(
    ctx: &mut ApplyContext<'_>,
    ballot: &Ballot,
    progress: &mut BallotProgress,
) -> Result<()> {
    if !tally::may_be_settled(&ballot.spec, progress.voted) {
        return Ok(());
    }
    let votes = votes(ctx.state, progress.ballot, progress.round)?;
    ctx.charge(tally::work(&ballot.spec, votes.len()));
    if tally::is_settled(&ballot.spec, &verdict::casts(&ballot.spec, &choices(&votes))) {
        close_with(ctx, ballot, progress, &votes, ClosedBy::Votes)?;
    }
    Ok(())
}

/// Closes the open round, and opens the next one or ends the ballot.
pub(crate) fn close(
    ctx: &mut ApplyContext<'_>,
    ballot: &Ballot,
    progress: &mut BallotProgress,
    by: ClosedBy,
) -> Result<()> {
    let votes = votes(ctx.state, progress.ballot, progress.round)?;
    close_with(ctx, ballot, progress, &votes, by)
}

/// The same, with the votes of the round.
fn close_with(
    ctx: &mut ApplyContext<'_>,
    ballot: &Ballot,
    progress: &mut BallotProgress,
    now: &[(String, Vote)],
    by: ClosedBy,
) -> Result<()> {
    let (number, round) = (progress.ballot, progress.round);
    let before = if round > 1 { Some(votes(ctx.state, number, round - 1)?) } else { None };
    ctx.charge(tally::work(&ballot.spec, now.len()));
    let before = before.as_deref().map(choices);
    let verdict = verdict::verdict(&ballot.spec, round, &choices(now), before.as_ref(), by);
    stop_clock(ctx, progress);
    progress.rounds.push(ClosedRound { opened: progress.round_opened, closed: ctx.now, by });
    match verdict {
        None => open_next(ctx, ballot, progress),
        Some(verdict) => {
            let status = match &verdict {
                Verdict::Decided { .. } => BallotStatus::Decided,
                Verdict::Undecided(_) => BallotStatus::Undecided,
            };
            progress.verdict = Some(verdict);
            end(ctx, ballot, progress, status);
        }
    }
    Ok(())
}

/// Ends the ballot; it is deleted when its time to be kept is over.
pub(crate) fn end(ctx: &mut ApplyContext<'_>, ballot: &Ballot, progress: &mut BallotProgress, status: BallotStatus) {
    assert!(progress.status == BallotStatus::Open, "ballot {} has ended before", progress.ballot);
    stop_clock(ctx, progress);
    progress.status = status;
    progress.ended = Some(ctx.now);
    ctx.arm(ctx.now.after(ballot.spec.keep), timer_task(progress.ballot), TimerKind::BallotReap, 0);
}

fn stop_clock(ctx: &mut ApplyContext<'_>, progress: &mut BallotProgress) {
    let due = progress.closes.take();
    ctx.disarm_entry(due, timer_task(progress.ballot), TimerKind::BallotDeadline, progress.round);
}

/// The deadline of a round has passed.
pub(crate) fn deadline_passed(ctx: &mut ApplyContext<'_>, timer: TimerKey) -> Result<()> {
    let number = position_of(timer.task).seq;
    let Some(ballot) = ctx.state.tables.ballots.get(&number)? else { return Ok(()) };
    let (mut progress, _) = find(ctx.state, &ballot.namespace, &ballot.name)?;
    let is_of_round = progress.ballot == number && progress.round == timer.entry;
    if is_of_round && progress.closes == Some(timer.due) {
        close(ctx, &ballot, &mut progress, ClosedBy::Deadline)?;
        put(ctx, &ballot, progress);
    }
    Ok(())
}
