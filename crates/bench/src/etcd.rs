//! A small client of etcd over gRPC.
//!
//! For: the comparison: writes, reads, transactions and watches, by the interface that programs use. Not for: anything
//! else of etcd.
//! Invariant: the numbers of the fields are those of etcd's `rpc.proto` (version 3); reads are linearisable.

use std::time::Instant;

use consort_testkit::peers::Peer;
use prost::{Message, Oneof};
use tokio::task::JoinSet;
use tonic::{Request, client::Grpc, codegen::http::uri::PathAndQuery, transport::Channel};
use tonic_prost::ProstCodec;

use crate::{
    keys::{CLIENTS, Keys, value},
    report::figure,
    through_http::Outcome,
};

/// A pair of a key and its value.
#[derive(Clone, PartialEq, Message)]
struct Put {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// Keys that are read; where `range_end` is empty, one.
#[derive(Clone, PartialEq, Message)]
struct Range {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    range_end: Vec<u8>,
}

/// An answer of which nothing is looked at.
#[derive(Clone, PartialEq, Message)]
struct Nothing {}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(int64, tag = "3")]
    mod_revision: i64,
    #[prost(bytes = "vec", tag = "5")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Ranged {
    #[prost(message, repeated, tag = "2")]
    kvs: Vec<KeyValue>,
}

/// A condition: what is compared with a version.
#[derive(Clone, PartialEq, Message)]
struct Compare {
    /// 0 equal, 1 greater, 2 less, 3 not equal.
    #[prost(int32, tag = "1")]
    result: i32,
    /// 0 the version of the key, which is 0 where it has no value.
    #[prost(int32, tag = "2")]
    target: i32,
    #[prost(bytes = "vec", tag = "3")]
    key: Vec<u8>,
    #[prost(int64, optional, tag = "4")]
    version: Option<i64>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Step {
    #[prost(message, tag = "1")]
    Range(Range),
    #[prost(message, tag = "2")]
    Put(Put),
}

#[derive(Clone, PartialEq, Message)]
struct Op {
    #[prost(oneof = "Step", tags = "1, 2")]
    step: Option<Step>,
}

#[derive(Clone, PartialEq, Message)]
struct Txn {
    #[prost(message, repeated, tag = "1")]
    compare: Vec<Compare>,
    #[prost(message, repeated, tag = "2")]
    success: Vec<Op>,
}

#[derive(Clone, PartialEq, Message)]
struct Txned {
    #[prost(bool, tag = "2")]
    succeeded: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Watch {
    #[prost(message, optional, tag = "1")]
    create: Option<Range>,
}

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(message, optional, tag = "2")]
    kv: Option<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct Watched {
    #[prost(bool, tag = "3")]
    created: bool,
    #[prost(bool, tag = "4")]
    canceled: bool,
    #[prost(message, repeated, tag = "11")]
    events: Vec<Event>,
}

/// A client with a connection of its own.
pub(crate) struct Etcd(Grpc<Channel>);

impl Etcd {
    /// So many clients.
    pub(crate) async fn clients(peer: &Peer, count: usize) -> Outcome<Vec<Self>> {
        let mut clients = Vec::new();
        for _ in 0..count {
            let channel = Channel::from_shared(format!("http://{}", peer.address()))?.connect().await?;
            clients.push(Self(Grpc::new(channel)));
        }
        Ok(clients)
    }

    async fn call<Asked, Answered>(&mut self, path: &'static str, asked: Asked) -> Outcome<Answered>
    where
        Asked: Message + Default + 'static,
        Answered: Message + Default + 'static,
    {
        self.0.ready().await?;
        let (path, codec) = (PathAndQuery::from_static(path), ProstCodec::<Asked, Answered>::default());
        Ok(self.0.unary(Request::new(asked), path, codec).await?.into_inner())
    }
}

fn put_of(key: &str, value: &str) -> Put {
    Put { key: key.as_bytes().to_vec(), value: value.as_bytes().to_vec() }
}

fn op(step: Step) -> Op {
    Op { step: Some(step) }
}

impl Keys for Etcd {
    async fn put(&mut self, key: &str, value: &str) -> Outcome<()> {
        self.call::<_, Nothing>("/etcdserverpb.KV/Put", put_of(key, value)).await?;
        Ok(())
    }

    async fn get(&mut self, key: &str) -> Outcome<()> {
        let range = Range { key: key.as_bytes().to_vec(), range_end: Vec::new() };
        let found: Ranged = self.call("/etcdserverpb.KV/Range", range).await?;
        if found.kvs.len() == 1 { Ok(()) } else { Err(format!("key `{key}` has no value").into()) }
    }

    async fn transact(&mut self, key: &str, other: &str, value: &str) -> Outcome<()> {
        let compare = Compare { result: 1, target: 0, key: key.as_bytes().to_vec(), version: Some(0) };
        let read = Step::Range(Range { key: key.as_bytes().to_vec(), range_end: Vec::new() });
        let success = [read, Step::Put(put_of(key, value)), Step::Put(put_of(other, value))].map(op).to_vec();
        let done: Txned = self.call("/etcdserverpb.KV/Txn", Txn { compare: vec![compare], success }).await?;
        if done.succeeded { Ok(()) } else { Err(format!("key `{key}` has no value").into()) }
    }

    async fn load(&mut self, keys: &[String], value: &str) -> Outcome<()> {
        let success = keys.iter().map(|key| op(Step::Put(put_of(key, value)))).collect();
        self.call::<_, Txned>("/etcdserverpb.KV/Txn", Txn { compare: Vec::new(), success }).await?;
        Ok(())
    }
}

/// 64 writers and so many watchers, each with a connection of its own.
pub(crate) async fn watched(peer: &Peer, watchers: usize, changes: usize) -> Outcome<()> {
    let prefix = format!("watched{watchers}/");
    let mut tasks = JoinSet::new();
    for client in Etcd::clients(peer, watchers).await? {
        tasks.spawn(watch(client, prefix.clone(), changes).await?);
    }
    let writers = Etcd::clients(peer, CLIENTS).await?;
    let began = Instant::now();
    for (number, mut client) in writers.into_iter().enumerate() {
        let prefix = prefix.clone();
        tasks.spawn(Box::pin(async move {
            for n in (number..changes).step_by(CLIENTS) {
                client.put(&format!("{prefix}{}", n % 1_000), &value(n)).await?;
            }
            Outcome::Ok(())
        }) as Following);
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    let rate = (watchers * changes) as f64 / began.elapsed().as_secs_f64();
    figure("W9", "etcd", &format!("deliveries_to_{watchers}_per_second"), rate, "1/s");
    Ok(())
}

/// Work that ends when every change has come.
type Following = std::pin::Pin<Box<dyn Future<Output = Outcome<()>> + Send>>;

/// Begins to watch; the work counts so many changes, each behind the one before.
async fn watch(mut client: Etcd, prefix: String, count: usize) -> Outcome<Following> {
    let mut end = prefix.clone().into_bytes();
    // The prefix ends with a slash, which the next byte is behind.
    end.pop();
    end.push(b'/' + 1);
    let create = Watch { create: Some(Range { key: prefix.into_bytes(), range_end: end }) };
    client.0.ready().await?;
    let path = PathAndQuery::from_static("/etcdserverpb.Watch/Watch");
    let asked = futures::StreamExt::chain(futures::stream::iter([create]), futures::stream::pending());
    let codec = ProstCodec::<Watch, Watched>::default();
    let mut answers = client.0.streaming(Request::new(asked), path, codec).await?.into_inner();
    let first = answers.message().await?.ok_or("etcd has ended the watch")?;
    if !first.created {
        return Err("etcd has not begun the watch".into());
    }
    Ok(Box::pin(async move {
        let (mut found, mut last) = (0, 0);
        while found < count {
            let answer = answers.message().await?.ok_or("etcd has ended the watch")?;
            if answer.canceled {
                return Err("etcd has cancelled the watch".into());
            }
            for kv in answer.events.into_iter().filter_map(|event| event.kv) {
                if kv.mod_revision <= last {
                    return Err(
                        format!("a watcher was given the change `{}` twice or too late", kv.mod_revision).into()
                    );
                }
                (found, last) = (found + 1, kv.mod_revision);
            }
        }
        Ok(())
    }))
}
