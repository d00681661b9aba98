//! Elections and locks, in process.
//!
//! For: how long there is no leader, from the moment at which a leader resigns or its lease ends until its stand-by knows that it
//! leads. Not for: what reaching the engine costs.
//! Invariant: a stand-by was in the queue before the leader went, and its token is larger.

use std::time::{Duration, Instant};

use consort_engine::{AcquireLock, Coordination, Handle, LockClaim, ReleaseLock};
use consort_types::{Span, Token, limits};

use crate::{
    disk::Disk,
    keys::in_time,
    report::{figure, median, quantile},
    through_http::{Outcome, now},
};

const TRANSPORT: &str = "in-process";
const NAMESPACE: &str = "default";
const LOCK: &str = "bench-leader";

/// Every figure of an election.
pub(crate) async fn run(handle: &Handle, disk: &mut Disk, quick: bool) -> Outcome<()> {
    let (resigned, expired) = if quick { (20, 1) } else { (1_000, 10) };
    let mut reference = disk.samples(512, resigned)?;
    let mut took = Vec::new();
    for _ in 0..resigned {
        took.push(in_time("a resignation", take_over(handle, Leaves::Resigning)).await?);
    }
    reference.extend(disk.samples(512, resigned)?);
    let synced = median(&mut reference);
    figure("W9", TRANSPORT, "take_over_p50_us", quantile(&mut took, 0.5), "us");
    figure("W9", TRANSPORT, "take_over_p99_us", quantile(&mut took, 0.99), "us");
    figure("W9", TRANSPORT, "take_over_per_fdatasync", quantile(&mut took, 0.5) / synced, "ratio");
    let mut took = Vec::new();
    for _ in 0..expired {
        took.push(in_time("an expiry", take_over(handle, Leaves::Expiring)).await?);
    }
    figure("W9", TRANSPORT, "take_over_after_expiry_p50_us", quantile(&mut took, 0.5), "us");
    figure("W9", TRANSPORT, "take_over_after_expiry_max_us", quantile(&mut took, 1.0), "us");
    Ok(())
}

/// How a leader goes.
#[derive(Clone, Copy, PartialEq)]
enum Leaves {
    Resigning,
    /// As one that was killed: its lease ends.
    Expiring,
}

fn campaign(holder: &str, ttl: Span) -> AcquireLock {
    AcquireLock {
        namespace: NAMESPACE.to_owned(),
        name: LOCK.to_owned(),
        holder: holder.to_owned(),
        permits: 1,
        ttl,
        wait: Span::from_secs(60),
        value: None,
    }
}

async fn resign(handle: &Handle, holder: &str, token: Token) -> Outcome<()> {
    let (namespace, name) = (NAMESPACE.to_owned(), LOCK.to_owned());
    let release = ReleaseLock { namespace, name, holder: holder.to_owned(), token: Some(token) };
    Ok(Coordination::of(handle).release_lock(release).await?)
}

/// Microseconds from the end of one leader until its stand-by has its answer.
async fn take_over(handle: &Handle, leaves: Leaves) -> Outcome<f64> {
    let locks = Coordination::of(handle);
    let ttl = Span::from_secs(if leaves == Leaves::Expiring { limits::LOCK_TTL_SECONDS_MIN } else { 60 });
    let LockClaim::Held { token, until, .. } = locks.acquire_lock(campaign("first", ttl), Duration::ZERO).await? else {
        return Err("the lock of the bench is held already".into());
    };
    let standing_by = tokio::spawn({
        let handle = handle.clone();
        async move {
            let second = campaign("second", Span::from_secs(60));
            let claim = Coordination::of(&handle).acquire_lock(second, Duration::from_secs(30)).await?;
            Outcome::Ok((claim, Instant::now(), now()))
        }
    });
    while locks.lock(NAMESPACE, LOCK).await?.waiting == 0 {
        tokio::task::yield_now().await;
    }
    let resigned = Instant::now();
    if leaves == Leaves::Resigning {
        resign(handle, "first", token).await?;
    }
    let (claim, at, wall) = standing_by.await??;
    let LockClaim::Held { token: next, .. } = claim else { return Err("the stand-by was not granted the lock".into()) };
    if next <= token {
        return Err(format!("the token `{next}` of the stand-by is not above `{token}`").into());
    }
    resign(handle, "second", next).await?;
    Ok(match leaves {
        Leaves::Resigning => at.duration_since(resigned).as_secs_f64() * 1e6,
        Leaves::Expiring => wall.since(until).0 as f64,
    })
}
