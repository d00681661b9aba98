//! A bridge as it runs: connecting, carrying, and connecting again.
//!
//! For: the life of the process. Not for: what is done with an event (see `carry`).
//! Invariant: events are carried only while the lease is held; what is handed out and not settled at the end of a session
//! is given back.

use std::{convert::Infallible, time::Duration};

use consort_api::{
    client::Client,
    subscriptions::{SetSubscription, StartWord, SubscriptionParams, SubscriptionRequest},
};
use consort_peering::{Lease, Retry};
use consort_types::{Code, Error, Result, Span};
use tokio::time::{sleep, timeout};

use crate::{
    address::Address,
    carry::Carrier,
    nats::Nats,
    options::{Options, Start},
    peer::Peer,
    rabbit::Rabbit,
    redis::Redis,
    report::{Counts, Event, Report},
};

/// How long the end may take.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);
/// Deliveries of an event that the other side refuses before it is a dead letter: an hour and a half.
const DELIVERIES: u32 = 100;

/// A bridge of the event bus.
pub struct Bridge<'a> {
    client: Client,
    options: Options,
    peer: Box<dyn Peer>,
    report: Report<'a>,
    holder: String,
    lease: Option<Lease>,
    connected: bool,
}

impl<'a> Bridge<'a> {
    /// A bridge that has not begun. `holder` names this process among those that may work under the name; `report` is
    /// told what happens.
    ///
    /// # Errors
    /// [`Code::BadName`], [`Code::BadTopic`], [`Code::BadRequest`] where the options do not fit.
    pub fn new(
        client: Client,
        options: Options,
        holder: String,
        report: impl FnMut(&Event) + Send + 'a,
    ) -> Result<Self> {
        options.check()?;
        let peer: Box<dyn Peer> = match &options.to {
            Address::Nats { authority, user } => Box::new(Nats::new(authority, user.clone(), &options)),
            Address::Rabbit(url) => Box::new(Rabbit::new(url, &holder, &options)),
            Address::Redis(url) => Box::new(Redis::new(url, &options)?),
        };
        Ok(Self { client, options, peer, report: Report::new(report), holder, lease: None, connected: false })
    }

    /// What was done so far.
    pub fn counts(&self) -> Counts {
        self.report.counts()
    }

    /// Carries until that is refused. It may be dropped at any time; [`Self::close`] ends it well.
    pub async fn run(&mut self) -> Error {
        let mut retry = Retry::default();
        loop {
            self.connected = false;
            let Err(error) = self.session().await;
            if self.connected {
                retry.connected();
            }
            if error.code == Code::LeaseLost {
                self.lease = None;
            }
            let Some(lost) = retry.after(&error) else { return error };
            if lost.first {
                if lost.ever {
                    self.report.lost();
                }
                self.report.tell(&Event::Lost { side: lost.side, reason: error.message });
            }
            sleep(lost.pause).await;
        }
    }

    /// Ends: another process may work under the name at once.
    pub async fn close(mut self) {
        if let Some(lease) = self.lease.take() {
            // Where the server is away, the lease ends by itself.
            let _ = timeout(CLOSE_WITHIN, lease.release()).await;
        }
    }

    /// One session: from connecting to the loss of a side.
    async fn session(&mut self) -> Result<Infallible> {
        self.hold().await?;
        self.peer.connect().await?;
        if self.options.direction.is_out() {
            self.subscribe().await?;
        }
        self.connected = true;
        self.report.tell(&Event::Connected { to: self.options.to.to_string() });
        let Some(lease) = &mut self.lease else { return Err(Error::new(Code::LeaseLost, "there is no lease")) };
        let (peer, direction) = (&*self.peer, self.options.direction);
        let carrier = Carrier::new(&self.client, &self.options, peer, &self.report, &self.holder);
        let ended = tokio::select! {
            lost = lease.lost() => lost,
            lost = peer.lost() => lost,
            error = carrier.send(), if direction.is_out() => error,
            error = carrier.take(), if direction.is_in() => error,
        };
        // Where the server is away, they are handed out again by themselves.
        let _ = timeout(CLOSE_WITHIN, carrier.give_back()).await;
        Err(ended)
    }

    /// Acquires the lease where there is none.
    async fn hold(&mut self) -> Result<()> {
        if self.lease.is_none() {
            let lock = self.options.own();
            let (report, name) = (&self.report, lock.clone());
            let standing_by = move || report.tell(&Event::StandingBy { name });
            let lease = Lease::acquire(&self.client, lock, &self.holder, self.options.lease, standing_by).await?;
            self.lease = Some(lease);
        }
        Ok(())
    }

    /// Makes the subscription, which keeps its place where it is there.
    async fn subscribe(&self) -> Result<()> {
        let wait = u64::try_from(self.options.lease.as_micros()).unwrap_or(u64::MAX);
        let request = SubscriptionRequest {
            topic: self.options.topic.clone(),
            start: Some(match self.options.start {
                Start::New => StartWord::New,
                Start::All => StartWord::All,
            }),
            ack_wait: Some(Span(wait).max(Span::from_secs(1))),
            max_deliveries: Some(DELIVERIES),
            ..SubscriptionRequest::default()
        };
        self.client.call::<SetSubscription>(&SubscriptionParams { name: self.options.own() }, &request).await
    }
}
