//! A mirror as it runs: connecting, following both sides, and connecting again.
//!
//! For: the life of the process. Not for: what is done about a key (see `settle`).
//! Invariant: the cursor names only what is settled on both sides; a session begins with it, or with a comparison of
//! everything.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::Arc,
    time::Duration,
};

use consort_api::{
    NoParams,
    client::Client,
    state::{StateFence, TransactState, TransactStateRequest},
};
use consort_peering::{Lease, Retry, Told};
use consort_types::{Code, Error, Result};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::{
    cursor::{Arrived, Cursor},
    decide::Carried,
    etcd::Etcd,
    far::{Far, Policies, of_far},
    options::{Address, Options},
    peer::{Follow, Listing, Noted, Peer},
    redis::Redis,
    report::{Counts, Event},
    source::{self, Changed, Changes},
    values::Mark,
};

/// The pause before everything is compared because changes were missed.
const PAUSE: Duration = Duration::from_millis(100);
/// How long the cursor may be behind what is settled.
const SAVE_AFTER: Duration = Duration::from_secs(1);
/// How long the end may take.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// What is told of what happens.
pub(crate) type Report<'a> = Box<dyn FnMut(&Event) + Send + 'a>;

/// A mirror of a space.
pub struct Mirror<'a> {
    pub(crate) client: Client,
    pub(crate) options: Options,
    pub(crate) report: Report<'a>,
    pub(crate) counts: Counts,
    /// What the state store has answered and the mark does not tell yet, by key.
    pub(crate) carried: BTreeMap<String, Carried>,
    /// What the last transactions took and the other side does not note yet.
    pub(crate) unnoted: Vec<Arrived>,
    /// Whether a transaction may have been done whose outcome is not known here.
    pub(crate) unsure: bool,
    pub(crate) cursor: Cursor,
    saved: Cursor,
    other: Other,
    holder: String,
    lease: Option<Lease>,
    /// That of the other side, where it is a server.
    far_lease: Option<Lease>,
    /// What was refused and is told.
    told: Told<(String, String)>,
    /// Whether the cursor says nothing any more.
    stale: bool,
    connected: bool,
}

/// The other side.
#[derive(Clone)]
enum Other {
    /// Redis or etcd.
    Peer(Arc<dyn Peer>),
    /// A server of Consort.
    Server(Arc<Far>),
}

/// The other side in a session, in which this process is the one that may write there.
enum Joined {
    Peer(Arc<dyn Peer>, u64),
    Server { far: Arc<Far>, policies: Policies, tokens: (u64, u64) },
}

/// Both sides, as they are followed.
struct Open {
    changes: Changes,
    follow: Follow,
    /// Up to where changes were seen, which are not all settled.
    position: String,
    place: Option<String>,
}

impl<'a> Mirror<'a> {
    /// A mirror that has not begun. `holder` names this process among those that may mirror under the name; `report` is
    /// told what happens.
    ///
    /// # Errors
    /// [`Code::BadName`], [`Code::BadRequest`] where the options do not fit.
    pub fn new(
        client: Client,
        options: Options,
        holder: String,
        report: impl FnMut(&Event) + Send + 'a,
    ) -> Result<Self> {
        options.check()?;
        let other = match &options.to {
            Address::Redis(url) => Other::Peer(Arc::new(Redis::new(url, &options)?)),
            Address::Etcd { authority, user } => Other::Peer(Arc::new(Etcd::new(authority, user.clone(), &options)?)),
            Address::Server(address) => Other::Server(Arc::new(Far::new(address)?)),
        };
        let cursor = Cursor::new(&options);
        Ok(Self {
            client,
            options,
            report: Box::new(report),
            counts: Counts::default(),
            carried: BTreeMap::new(),
            unnoted: Vec::new(),
            unsure: false,
            saved: cursor.clone(),
            cursor,
            other,
            holder,
            lease: None,
            far_lease: None,
            told: Told::default(),
            stale: false,
            connected: false,
        })
    }

    /// What was done so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Mirrors until that is refused. It may be dropped at any time; [`Self::close`] ends it well.
    pub async fn run(&mut self) -> Error {
        let mut retry = Retry::default();
        loop {
            self.connected = false;
            let Err(error) = self.session().await;
            if self.connected {
                retry.connected();
            }
            match error.code {
                Code::LeaseLost => (self.lease, self.far_lease) = (None, None),
                Code::VersionGone => {
                    self.stale = true;
                    sleep(PAUSE).await;
                    continue;
                }
                _ => {}
            }
            let Some(lost) = retry.after(&error) else { return error };
            if lost.first {
                self.counts.lost += u64::from(lost.ever);
                (self.report)(&Event::Lost { side: lost.side, reason: error.message });
            }
            sleep(lost.pause).await;
        }
    }

    /// Ends: the cursor is saved, and another process may mirror under the name at once.
    pub async fn close(mut self) {
        let Some(lease) = self.lease.take() else { return };
        let end = async {
            if !self.unsure {
                // Where it is not saved, the next process looks at more.
                let _ = self.save(lease.token()).await;
            }
            lease.release().await;
            if let Some(lease) = self.far_lease.take() {
                lease.release().await;
            }
        };
        // Where the server is away, the lease ends by itself.
        let _ = timeout(CLOSE_WITHIN, end).await;
    }

    /// One session: from connecting to the loss of a side.
    async fn session(&mut self) -> Result<Infallible> {
        let token = self.hold().await?;
        let other = self.join(token).await?;
        let (cursor, version) = Cursor::load(&self.client, &self.options).await?;
        self.cursor = cursor;
        (self.carried, self.unsure) = (BTreeMap::new(), false);
        let mut dirty = match &other {
            Joined::Peer(peer, token) => self.recover(&**peer, *token, version).await?,
            Joined::Server { .. } => BTreeSet::new(),
        };
        let (mut open, resumed) = self.open().await?;
        if !resumed {
            dirty.extend(self.compare(&other).await?);
        }
        (self.connected, self.stale) = (true, false);
        (self.report)(&Event::Connected { to: self.options.to.to_string(), resumed });
        let mut compare_at = Instant::now() + self.options.compare;
        let mut save_at = Instant::now() + SAVE_AFTER;
        loop {
            let changed = open.drain(&mut dirty);
            for noted in changed? {
                self.note(noted, &mut dirty, &mut open)?;
            }
            if !dirty.is_empty() {
                match &other {
                    Joined::Peer(peer, token) => self.settle(&**peer, *token, &mut dirty).await?,
                    Joined::Server { far, policies, tokens } => self.agree(far, policies, *tokens, &mut dirty).await?,
                }
            }
            if dirty.is_empty() {
                self.cursor.position = Some(open.position.clone());
                self.cursor.place.clone_from(&open.place);
            }
            if self.cursor != self.saved && Instant::now() >= save_at {
                self.save(token).await?;
            }
            if self.other.may_miss() && Instant::now() >= compare_at {
                dirty.extend(self.compare(&other).await?);
                compare_at = Instant::now() + self.options.compare;
            }
            if dirty.is_empty() {
                if self.cursor == self.saved {
                    save_at = Instant::now() + SAVE_AFTER;
                }
                self.wait(&mut open, &mut dirty, save_at, compare_at).await?;
            }
        }
    }

    /// Waits until there is something to do.
    async fn wait(
        &mut self,
        open: &mut Open,
        dirty: &mut BTreeSet<String>,
        save_at: Instant,
        compare_at: Instant,
    ) -> Result<()> {
        let unsaved = self.cursor != self.saved;
        let Some(lease) = &mut self.lease else { return Ok(()) };
        let far_lost = async {
            match &mut self.far_lease {
                Some(lease) => lease.lost().await,
                None => std::future::pending().await,
            }
        };
        let noted = tokio::select! {
            lost = lease.lost() => return Err(lost),
            lost = far_lost => return Err(of_far(lost)),
            changed = open.changes.receiver.recv() => {
                let changed = changed.unwrap_or_else(|| Err(ended()))?;
                open.saw(changed, dirty);
                return Ok(());
            }
            noted = open.follow.receiver.recv() => noted.unwrap_or_else(|| Err(ended()))?,
            () = sleep_until(save_at), if unsaved => return Ok(()),
            () = sleep_until(compare_at), if self.other.may_miss() => return Ok(()),
        };
        self.note(noted, dirty, open)
    }

    /// The token of the lease, which is acquired where there is none.
    async fn hold(&mut self) -> Result<u64> {
        if let Some(lease) = &self.lease {
            return Ok(lease.token());
        }
        let lock = self.options.lock();
        let (report, name) = (&mut self.report, lock.clone());
        let standing_by = move || report(&Event::StandingBy { name });
        let lease = Lease::acquire(&self.client, lock, &self.holder, self.options.lease, standing_by).await?;
        let token = lease.token();
        self.lease = Some(lease);
        Ok(token)
    }

    /// Makes this process the one that may write on the other side.
    async fn join(&mut self, token: u64) -> Result<Joined> {
        let far = match self.other.clone() {
            Other::Peer(peer) => {
                peer.claim(token).await?;
                return Ok(Joined::Peer(peer, token));
            }
            Other::Server(far) => far,
        };
        far.pair(&self.client, &self.options).await?;
        let tokens = (token, self.hold_far(&far).await?);
        let policies = far.policies(&self.client, &self.options.space).await?;
        if !policies.agree && self.told.is_first((far.space.clone(), String::new())) {
            (self.report)(&Event::PoliciesDiffer { space: far.space.clone() });
        }
        Ok(Joined::Server { far, policies, tokens })
    }

    /// The token of the lease on the other side. A mirror that runs beside that one may wait for ours: so ours is given back
    /// after a while, and one of the two has both.
    async fn hold_far(&mut self, far: &Far) -> Result<u64> {
        if let Some(lease) = &self.far_lease {
            return Ok(lease.token());
        }
        let lock = self.options.lock();
        let (report, name) = (&mut self.report, lock.clone());
        let standing_by = move || report(&Event::StandingBy { name });
        let acquired = Lease::acquire(&far.client, lock.clone(), &self.holder, self.options.lease, standing_by);
        let Ok(lease) = timeout(2 * self.options.lease, acquired).await else {
            if let Some(lease) = self.lease.take() {
                lease.release().await;
            }
            return Err(Error::new(Code::LeaseLost, format!("another process holds lock `{lock}` of the other side")));
        };
        let lease = lease.map_err(of_far)?;
        let token = lease.token();
        self.far_lease = Some(lease);
        Ok(token)
    }

    /// Follows both sides: behind the cursor, where that says from where, or from now on.
    async fn open(&mut self) -> Result<(Open, bool)> {
        let (client, space) = (&self.client, &self.options.space);
        if let (Some(position), Some(place)) = (self.cursor.position.clone(), self.cursor.place.clone())
            && !self.stale
            && !self.other.may_miss()
        {
            match Changes::after(client, space, &position).await {
                Ok(changes) => {
                    if let Some(follow) = self.other.follow(Some(&place)).await? {
                        return Ok((Open { changes, follow, position, place: Some(place) }, true));
                    }
                }
                // What is missed is compared.
                Err(error) if error.code == Code::VersionGone => {}
                Err(error) => return Err(error),
            }
        }
        let position = source::position(client, space).await?;
        let changes = Changes::after(client, space, &position).await?;
        let follow = self.other.follow(None).await?.ok_or_else(ended)?;
        let place = follow.place.clone();
        Ok((Open { changes, follow, position, place }, false))
    }

    /// What was seen of the other side.
    ///
    /// # Errors
    /// [`Code::VersionGone`] where changes were missed: the next session compares everything.
    fn note(&mut self, noted: Noted, dirty: &mut BTreeSet<String>, open: &mut Open) -> Result<()> {
        match noted {
            Noted::Keys(keys, place) => {
                dirty.extend(keys);
                if place.is_some() {
                    open.place = place;
                }
            }
            Noted::Refused(key, reason) => self.refuse(&key, &reason),
            Noted::Gap => {
                return Err(Error::new(
                    Code::VersionGone,
                    "the other side does not keep the changes behind the cursor",
                ));
            }
        }
        Ok(())
    }

    /// The keys that are not known to be equal on both sides.
    async fn compare(&mut self, other: &Joined) -> Result<BTreeSet<String>> {
        self.counts.compared += 1;
        let peer = match other {
            Joined::Peer(peer, _) => peer,
            Joined::Server { far, .. } => {
                let all = far.list(&self.client, &self.options).await?;
                return Ok(all.into_iter().filter(|(_, both)| !both.are_settled()).map(|(key, _)| key).collect());
            }
        };
        let Listing { mut keys, refused } = peer.list().await?;
        let versions = source::versions(&self.client, &self.options.space).await?;
        for (key, reason) in refused {
            self.refuse(&key, &reason);
        }
        let mut dirty = BTreeSet::new();
        for (key, version) in versions {
            let (digest, mark) = keys.remove(&key).unwrap_or_default();
            if digest.is_none() || mark != Some(Mark { version, digest }) {
                dirty.insert(key);
            }
        }
        dirty.extend(keys.into_keys());
        Ok(dirty)
    }

    /// Counts what is not carried, and tells it once.
    pub(crate) fn refuse(&mut self, key: &str, reason: &str) {
        if self.told.is_first((key.to_owned(), reason.to_owned())) {
            self.counts.refused += 1;
            (self.report)(&Event::Refused { key: key.to_owned(), reason: reason.to_owned() });
        }
    }

    /// The grant that the writes depend on.
    pub(crate) fn fence(&self, token: u64) -> Vec<StateFence> {
        vec![StateFence { lock: self.options.lock(), token }]
    }

    /// The cursor as it is to be written now, with what is not noted yet.
    pub(crate) fn cursor_with(&self, arrived: Vec<Arrived>) -> Cursor {
        let merged = self.carried.iter().filter(|(_, carried)| carried.version > 0);
        let merged = merged.map(|(key, carried)| Arrived::new(key, carried.digest, Some(carried.version)));
        Cursor { arrived: self.unnoted.iter().cloned().chain(merged).chain(arrived).collect(), ..self.cursor.clone() }
    }

    /// Saves the cursor.
    async fn save(&mut self, token: u64) -> Result<()> {
        if self.cursor == self.saved {
            return Ok(());
        }
        let operation = self.cursor_with(Vec::new()).operation(&self.options.name)?;
        let request = TransactStateRequest {
            then: vec![operation],
            fence: self.fence(token),
            by: Some(self.options.writer()),
            ..Default::default()
        };
        self.client.call::<TransactState>(&NoParams {}, &request).await?;
        self.saved = self.cursor.clone();
        if let Some(position) = self.cursor.position.clone() {
            (self.report)(&Event::Settled { position });
        }
        Ok(())
    }
}

impl Other {
    /// Whether what `follow` gives may have gaps that it does not know of.
    fn may_miss(&self) -> bool {
        matches!(self, Self::Peer(peer) if peer.may_miss())
    }

    async fn follow(&self, after: Option<&str>) -> Result<Option<Follow>> {
        match self {
            Self::Peer(peer) => peer.follow(after).await,
            Self::Server(far) => far.follow(after).await,
        }
    }
}

impl Open {
    /// Takes what has arrived, without waiting: the changes of the space, and what is noted of the other side.
    fn drain(&mut self, dirty: &mut BTreeSet<String>) -> Result<Vec<Noted>> {
        while let Ok(changed) = self.changes.receiver.try_recv() {
            self.saw(changed?, dirty);
        }
        let mut all = Vec::new();
        while let Ok(noted) = self.follow.receiver.try_recv() {
            all.push(noted?);
        }
        Ok(all)
    }

    fn saw(&mut self, (key, position): Changed, dirty: &mut BTreeSet<String>) {
        dirty.insert(key);
        self.position = position;
    }
}

fn ended() -> Error {
    Error::new(Code::Internal, "a reader of the mirror has ended without a word")
}
