//! Ballots: opened, voted on, ended, looked at and followed.
//!
//! For: making commands of what clients and voters ask. Not for: counting or deciding (the machine does).
//! Invariant: a vote that was answered is durable; a follower costs nothing while its ballot does not change.

use consort_core::{
    Command,
    command::{CancelBallot, CastVote, CloseBallot, DeleteBallot, OpenBallot},
    rows::BallotStatus,
};
use consort_types::{Code, Result, ballot::BallotSpec, limits};

use super::{Handle, page_items, reads::named};
use crate::{
    shell::Subscription,
    topic::Topic,
    view::{BallotSummary, BallotView, BallotViews, Page},
};

/// The operations on ballots.
pub struct Ballots<'a>(&'a Handle);

impl<'a> Ballots<'a> {
    /// Of an engine.
    pub fn of(handle: &'a Handle) -> Self {
        Self(handle)
    }
}

impl Ballots<'_> {
    /// Opens a ballot; the same content under the same name again is accepted.
    ///
    /// # Errors
    /// [`Code::BallotExists`] where the name has a ballot with other content, [`Code::FaultsNotTolerated`],
    /// [`Code::LimitReached`] or [`Code::BadRequest`] where its votes could not decide it.
    pub async fn open(&self, namespace: &str, name: &str, spec: BallotSpec) -> Result<()> {
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        self.0.of(&namespace).done(Command::OpenBallot(OpenBallot { namespace, name, spec }), None).await
    }

    /// Votes; the same vote again is accepted.
    ///
    /// # Errors
    /// [`Code::BallotNotFound`], [`Code::NotEligible`], [`Code::BallotClosed`], [`Code::WrongRound`],
    /// [`Code::UnknownOption`], [`Code::BadVote`] or [`Code::AlreadyVoted`].
    pub async fn cast(&self, vote: CastVote) -> Result<()> {
        let namespace = vote.namespace.clone();
        self.0.of(&namespace).done(Command::CastVote(vote), None).await
    }

    /// Closes a ballot now: the votes that are there decide, or do not.
    ///
    /// # Errors
    /// [`Code::BallotNotFound`] or [`Code::BallotClosed`].
    pub async fn close(&self, namespace: &str, ballot: &str, by: &str, reason: Option<String>) -> Result<()> {
        let (namespace, ballot, by) = (namespace.to_owned(), ballot.to_owned(), by.to_owned());
        self.0.of(&namespace).done(Command::CloseBallot(CloseBallot { namespace, ballot, by, reason }), None).await
    }

    /// Ends a ballot without a decision.
    ///
    /// # Errors
    /// [`Code::BallotNotFound`] or [`Code::BallotClosed`].
    pub async fn cancel(&self, namespace: &str, ballot: &str, by: &str, reason: Option<String>) -> Result<()> {
        let (namespace, ballot, by) = (namespace.to_owned(), ballot.to_owned(), by.to_owned());
        self.0.of(&namespace).done(Command::CancelBallot(CancelBallot { namespace, ballot, by, reason }), None).await
    }

    /// Deletes an ended ballot with its votes.
    ///
    /// # Errors
    /// [`Code::BallotNotFound`] or [`Code::BallotOpen`].
    pub async fn delete(&self, namespace: &str, ballot: &str) -> Result<()> {
        let (namespace, ballot) = (namespace.to_owned(), ballot.to_owned());
        self.0.of(&namespace).done(Command::DeleteBallot(DeleteBallot { namespace, ballot }), None).await
    }

    /// The ballots of a namespace, by name. A page may be empty and still have a next one where a status is wanted.
    pub async fn list(
        &self,
        namespace: &str,
        status: Option<BallotStatus>,
        cursor: Option<String>,
        limit: impl Into<Option<usize>>,
    ) -> Result<Page<BallotSummary>> {
        let (namespace, limit) = (named("namespace", namespace)?, page_items(limit.into(), limits::PAGE_ITEMS_MAX)?);
        self.0
            .of(&namespace)
            .read(move |machine| BallotViews::of(machine).list(&namespace, status, cursor.as_deref(), limit))
            .await?
    }

    /// A ballot with its rounds, as its secrecy lets it be seen. The votes are counted again away from the loop.
    ///
    /// # Errors
    /// [`Code::BallotNotFound`].
    pub async fn show(&self, namespace: &str, name: &str) -> Result<BallotView> {
        let (namespace, name) = (named("namespace", namespace)?, named("ballot", name)?);
        let record =
            self.0.of(&namespace).read(move |machine| BallotViews::of(machine).show(&namespace, &name)).await??;
        Ok(record.into_view())
    }

    /// Follows a ballot: what it is now, and again whenever that has changed, until it has ended.
    ///
    /// # Errors
    /// [`Code::BallotNotFound`]; [`Code::Overloaded`] where too many follow already.
    pub async fn watch(&self, namespace: &str, name: &str) -> Result<BallotWatch> {
        let number = self.show(namespace, name).await?.ballot;
        let subscription = self.0.of(namespace).subscribe(Topic::Ballot(number)).await?;
        let (handle, namespace, name) = (self.0.clone(), namespace.to_owned(), name.to_owned());
        Ok(BallotWatch { handle, namespace, name, subscription, last: None, ended: false })
    }
}

/// A ballot being followed.
pub struct BallotWatch {
    handle: Handle,
    namespace: String,
    name: String,
    subscription: Subscription,
    last: Option<BallotView>,
    ended: bool,
}

impl BallotWatch {
    /// What the ballot is, the first time at once and then when it has changed; `None` after it has ended, or when the
    /// engine has stopped. An error is the last that is given.
    pub async fn next(&mut self) -> Option<Result<BallotView>> {
        while !self.ended {
            if self.last.is_some() {
                self.subscription.next().await.ok()?;
            }
            self.subscription.mark_seen();
            match Ballots::of(&self.handle).show(&self.namespace, &self.name).await {
                Ok(view) if self.last.as_ref() == Some(&view) => {}
                Ok(view) => {
                    self.ended = view.status != BallotStatus::Open;
                    self.last = Some(view.clone());
                    return Some(Ok(view));
                }
                Err(error) if error.code == Code::Stopping => return None,
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}
