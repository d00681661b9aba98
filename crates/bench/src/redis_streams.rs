//! Events of Redis: a stream, its publishers and its followers.
//!
//! For: the comparison with followers of Consort's events. Not for: consumer groups.
//! Invariant: every entry is counted at each follower; one that is missing fails the run.

use std::time::Instant;

use consort_testkit::peers::Peer;
use tokio::task::JoinSet;

use crate::{
    keys::{CLIENTS, value},
    peers::Redis,
    report::figure,
    through_http::Outcome,
};

/// A reply of `XREAD`: for each stream its entries, each an id and its fields.
type Read = Option<Vec<(String, Vec<(String, Vec<String>)>)>>;

/// 64 publishers and so many followers, each with a connection of its own.
pub(crate) async fn followed(peer: &Peer, followers: usize, events: usize) -> Outcome<()> {
    let stream = format!("stream{followers}");
    let mut tasks = JoinSet::new();
    for client in Redis::clients(peer, followers).await? {
        tasks.spawn(follow(client, stream.clone(), events));
    }
    let publishers = Redis::clients(peer, CLIENTS).await?;
    let began = Instant::now();
    for (number, mut client) in publishers.into_iter().enumerate() {
        let stream = stream.clone();
        tasks.spawn(async move {
            for n in (number..events).step_by(CLIENTS) {
                let mut add = redis::cmd("XADD");
                add.arg(&stream).arg("*").arg("id").arg(format!("{stream}/{n}")).arg("data").arg(value(n));
                let _: String = add.query_async(&mut client.0).await?;
            }
            Outcome::Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    let rate = (followers * events) as f64 / began.elapsed().as_secs_f64();
    figure("W9", "redis", &format!("deliveries_to_{followers}_per_second"), rate, "1/s");
    Ok(())
}

async fn follow(mut client: Redis, stream: String, count: usize) -> Outcome<()> {
    let (mut found, mut last) = (0, "0".to_owned());
    while found < count {
        let mut read = redis::cmd("XREAD");
        read.arg("COUNT").arg(256).arg("BLOCK").arg(0).arg("STREAMS").arg(&stream).arg(&last);
        let entries: Read = read.query_async(&mut client.0).await?;
        for (id, _) in entries.into_iter().flatten().flat_map(|(_, entries)| entries) {
            (found, last) = (found + 1, id);
        }
    }
    if found == count { Ok(()) } else { Err(format!("{found} of {count} entries were read").into()) }
}
