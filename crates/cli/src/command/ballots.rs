//! `consort ballots`: questions, votes and decisions.
//!
//! For: opening, voting, listing, showing, following and ending. Not for: counting (the engine does).
//! Invariant: what a vote says is sent as it was typed; the engine refuses what does not fit.

use consort_api::ballots::{
    AgainstFaults, Ballot, BallotEvent, BallotParams, BallotRule, BallotSecrecy, BallotStatus, BallotTie, BallotVoter,
    CancelBallot, CastVote, CloseBallot, DeleteBallot, EndBallotRequest, ListBallots, ListBallotsParams, OpenBallot,
    OpenBallotRequest, ShowBallot, VoteRequest, WatchBallot,
};
use consort_types::{Code, Error, Result, limits};
use serde_json::json;

use super::decide::user;
use crate::{
    app::{App, Need, Session},
    args::{BallotEndArgs, BallotOpenArgs, BallotVoteArgs, BallotsCommand},
    client::Client,
    exit::Exit,
    input,
    reach::Retries,
    show::{ballots as show, when},
    signals::Signals,
};

pub(crate) async fn execute(app: &App, command: BallotsCommand) -> Result<Exit> {
    let command = match command {
        BallotsCommand::Watch { ballot } => return watch(app, BallotParams { ballot }).await,
        command => command,
    };
    let need = if matches!(command, BallotsCommand::Open(_)) { Need::Change } else { Need::Look };
    app.with_session(need, async |session| execute_with(app, session, command).await).await?;
    Ok(Exit::Ok)
}

async fn execute_with(app: &App, session: &Session, command: BallotsCommand) -> Result<()> {
    let client = &session.client;
    match command {
        BallotsCommand::Open(args) => open(app, client, *args).await,
        BallotsCommand::Vote(args) => vote(app, client, args).await,
        BallotsCommand::List { status } => list(app, client, status.as_deref()).await,
        BallotsCommand::Show { ballot } | BallotsCommand::Watch { ballot } => {
            let ballot = client.call::<ShowBallot>(&BallotParams { ballot }, &()).await?;
            print(app, &ballot);
            Ok(())
        }
        BallotsCommand::Close(args) => {
            let (params, request) = end(args);
            client.call::<CloseBallot>(&params, &request).await?;
            tell(app, &params.ballot, "closed");
            Ok(())
        }
        BallotsCommand::Cancel(args) => {
            let (params, request) = end(args);
            client.call::<CancelBallot>(&params, &request).await?;
            tell(app, &params.ballot, "cancelled");
            Ok(())
        }
        BallotsCommand::Delete { ballot } => {
            let params = BallotParams { ballot };
            client.call::<DeleteBallot>(&params, &()).await?;
            tell(app, &params.ballot, "deleted");
            Ok(())
        }
    }
}

fn tell(app: &App, ballot: &str, done: &str) {
    app.done(&json!({ "ballot": ballot, done: true }), &format!("{ballot}: {done}"));
}

fn print(app: &App, ballot: &Ballot) {
    if app.json {
        app.print_json(ballot);
    } else {
        app.print(&show::ballot(ballot, when::now(), app.out));
    }
}

/// One of the words of an API, by the flag that it was given with.
fn word<T>(flag: &str, text: Option<&str>, of: fn(&str) -> Option<T>) -> Result<Option<T>> {
    let Some(text) = text else { return Ok(None) };
    let found = of(&text.replace('-', "_"));
    found.map(Some).ok_or_else(|| {
        Error::new(Code::BadRequest, format!("`{text}` is no value of `{flag}`"))
            .hint("`consort ballots open --help` lists the words")
    })
}

/// A voter such as `ann` or `ann=3`.
fn voter(text: &str) -> Result<BallotVoter> {
    let Some((name, weight)) = text.split_once('=') else {
        return Ok(BallotVoter { name: text.to_owned(), weight: None });
    };
    let weight = weight.parse::<u32>().map_err(|_| {
        Error::new(Code::BadRequest, format!("`{weight}` is not a weight of voter `{name}`"))
            .hint("write `--voter NAME=WEIGHT`, with a whole number above zero")
    })?;
    Ok(BallotVoter { name: name.to_owned(), weight: Some(weight) })
}

/// The question that was typed.
fn asked(args: BallotOpenArgs) -> Result<(BallotParams, OpenBallotRequest)> {
    let on_tie = if args.status_quo.is_some() { Some("status_quo") } else { args.on_tie.as_deref() };
    let rule = word("--rule", Some(&args.rule), BallotRule::of)?;
    let request = OpenBallotRequest {
        question: args.question,
        options: args.option,
        voters: args.voter.iter().map(|text| voter(text)).collect::<Result<_>>()?,
        rule: rule.unwrap_or(BallotRule::Majority),
        fraction: args.fraction,
        trim: args.trim,
        faults: args.faults,
        against: word("--against", args.against.as_deref(), AgainstFaults::of)?,
        on_tie: word("--on-tie", on_tie, BallotTie::of)?,
        status_quo: args.status_quo,
        quorum: args.quorum,
        deadline: args.deadline.as_deref().map(str::parse).transpose()?,
        secrecy: word("--secrecy", args.secrecy.as_deref(), BallotSecrecy::of)?,
        rounds: args.rounds,
        may_change: args.may_change,
        keep: args.keep.as_deref().map(str::parse).transpose()?,
    };
    Ok((BallotParams { ballot: args.ballot }, request))
}

async fn open(app: &App, client: &Client, args: BallotOpenArgs) -> Result<()> {
    let (params, request) = asked(args)?;
    let ballot = client.call::<OpenBallot>(&params, &request).await?;
    app.done(&ballot, &format!("{}: {} voters are asked", ballot.ballot, ballot.asked.voters.len()));
    Ok(())
}

async fn vote(app: &App, client: &Client, args: BallotVoteArgs) -> Result<()> {
    let value = args.value.map(|value| input::payload(&value, app.settings.folder())).transpose()?;
    let several = |options: Vec<String>| (!options.is_empty()).then_some(options);
    let request = VoteRequest {
        voter: args.voter,
        round: args.round,
        choice: args.choice,
        approve: several(args.approve),
        ranking: several(args.rank),
        value: value.map(Into::into),
        abstain: args.abstain,
        reason: args.reason,
    };
    let params = BallotParams { ballot: args.ballot };
    client.call::<CastVote>(&params, &request).await?;
    tell(app, &params.ballot, "voted");
    Ok(())
}

async fn list(app: &App, client: &Client, status: Option<&str>) -> Result<()> {
    let status = word("--status", status, BallotStatus::of)?;
    let page = |cursor| ListBallotsParams { status, cursor, limit: Some(limits::PAGE_ITEMS_MAX) };
    let ballots = client.all::<ListBallots, _>(page).await?;
    if app.json {
        app.print_lines(&ballots);
        return Ok(());
    }
    if ballots.is_empty() && app.err.terminal {
        app.eprint("there are no such ballots");
    }
    app.print(&show::list(&ballots, when::now(), app.out));
    Ok(())
}

fn end(args: BallotEndArgs) -> (BallotParams, EndBallotRequest) {
    let request = EndBallotRequest { by: args.by.unwrap_or_else(user), reason: args.reason };
    (BallotParams { ballot: args.ballot }, request)
}

/// Follows a ballot until it has ended, or a signal ends the command.
async fn watch(app: &App, params: BallotParams) -> Result<Exit> {
    let mut signals = Signals::install()?;
    app.with_session(Need::Look, async |session| {
        tokio::select! {
            result = follow(app, &session.client, &params) => result,
            exit = signals.next() => Ok(exit),
        }
    })
    .await
}

async fn follow(app: &App, client: &Client, params: &BallotParams) -> Result<Exit> {
    let (mut before, mut retries) = (None, Retries::default());
    loop {
        match stream(app, client, params, &mut before, &mut retries).await {
            Ok(exit) => return Ok(exit),
            Err(error) => retries.after(error).await?,
        }
    }
}

/// Follows over one connection; the next one begins with the ballot as it is then.
async fn stream(
    app: &App,
    client: &Client,
    params: &BallotParams,
    before: &mut Option<Ballot>,
    retries: &mut Retries,
) -> Result<Exit> {
    let mut events = client.events::<WatchBallot>(params).await?;
    while let Some(event) = events.next().await? {
        retries.reached();
        let (ballot, ended) = match event.what {
            BallotEvent::Ballot(ballot) => (ballot, false),
            BallotEvent::End(ballot) => (ballot, true),
            BallotEvent::Error(problem) => return Err(problem.into()),
        };
        if app.json {
            app.print_line(&ballot);
        } else {
            for line in show::changes(before.as_ref(), &ballot) {
                app.print(&format!("{}  {line}\n", when::clock(when::now())));
            }
        }
        if ended {
            if !app.json {
                app.print(&show::ballot(&ballot, when::now(), app.out));
            }
            let decided = ballot.status == BallotStatus::Decided;
            return Ok(if decided { Exit::Ok } else { Exit::Failure });
        }
        *before = Some(*ballot);
    }
    Err(Error::new(Code::Unreachable, format!("the server has ended the stream of ballot `{}`", params.ballot))
        .hint("is it still running? `consort ballots watch` again follows on"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_voter_may_have_a_weight() {
        let of = |name: &str, weight| BallotVoter { name: name.to_owned(), weight };
        assert_eq!(voter("ann").unwrap(), of("ann", None));
        assert_eq!(voter("ann=3").unwrap(), of("ann", Some(3)));
        for text in ["ann=", "ann=x", "ann=-1"] {
            assert!(voter(text).unwrap_err().hint.is_some(), "{text}");
        }
    }
}
