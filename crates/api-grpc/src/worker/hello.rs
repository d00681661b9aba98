//! Opening the sessions of a stream.
//!
//! For: the first batch of a worker, and the first of the server. Not for: anything that follows.
//! Invariant: the refusal of a worker without a common version names the versions of both sides.

use std::time::Duration;

use consort_engine::{Handle, Locality, Session};
use consort_proto::{
    PROTOCOL, convert,
    v1::{self, server_message, worker_message},
};
use consort_types::{Code, Error, Result, limits, worker::Hello};
use tonic::Streaming;

use super::{Workers, incoming::broken};

/// How long `Hello` may take to arrive.
const HELLO: Duration = Duration::from_secs(10);
/// The oldest version of the protocol that is spoken here.
const PROTOCOL_MIN: u32 = 1;

/// The sessions of a stream, in the order of their numbers, and the answer about them.
pub(super) struct Opened {
    pub(super) sessions: Vec<Session>,
    pub(super) welcome: v1::ServerMessages,
}

/// Waits for `Hello` and opens the sessions that it requests.
pub(super) async fn open(workers: &Workers, incoming: &mut Streaming<v1::WorkerMessages>) -> Result<Opened> {
    let first = tokio::time::timeout(HELLO, incoming.message()).await;
    let batch = match first {
        Err(_) => {
            let message = format!("`hello` did not come within `{} s`", HELLO.as_secs());
            return Err(Error::new(Code::SlowRequest, message).hint("send it as soon as the stream is open"));
        }
        Ok(Err(status)) => return Err(broken(&status)),
        Ok(Ok(None)) => return Err(Error::new(Code::BadRequest, "the stream ended before `hello`")),
        Ok(Ok(Some(batch))) => batch,
    };
    let hello = alone(batch)?;
    let protocol = agree(&hello)?;
    let sessions = attach(&workers.engine, convert::hellos_from_wire(hello)?).await?;
    let welcome = v1::Welcome {
        protocol,
        server: env!("CARGO_PKG_VERSION").to_owned(),
        instances: sessions.iter().map(|session| session.name().to_string()).collect(),
        heartbeat_interval_us: workers.heartbeat_interval().0,
        batch_bytes_max: limits::GRPC_BATCH_BYTES_MAX as u64,
        payload_bytes_max: limits::PAYLOAD_BYTES_MAX as u64,
    };
    let welcome = v1::ServerMessage { instance: 0, kind: Some(server_message::Kind::Welcome(welcome)) };
    Ok(Opened { sessions, welcome: v1::ServerMessages { messages: vec![welcome] } })
}

/// The one message of the first batch.
fn alone(mut batch: v1::WorkerMessages) -> Result<v1::Hello> {
    match (batch.messages.pop(), batch.messages.is_empty()) {
        (Some(v1::WorkerMessage { kind: Some(worker_message::Kind::Hello(hello)), .. }), true) => Ok(hello),
        _ => Err(Error::new(Code::BadRequest, "the first batch must have `hello`, and nothing else")
            .hint("send reports after `welcome` has come")),
    }
}

/// The newest version that both speak.
fn agree(hello: &v1::Hello) -> Result<u32> {
    let (oldest, newest) = (hello.protocol_min, hello.protocol);
    let common = newest.min(PROTOCOL);
    if oldest <= newest && common >= oldest.max(PROTOCOL_MIN) {
        return Ok(common);
    }
    Err(Error::new(
        Code::BadProtocol,
        format!(
            "the worker speaks versions `{oldest}` to `{newest}` of the worker protocol, \
             and the server versions `{PROTOCOL_MIN}` to `{PROTOCOL}`"
        ),
    )
    .hint("update the older of the two"))
}

/// One session for each instance. What can be refused is refused before the first is open: an instance that joined
/// and left at once might have been given a task.
async fn attach(engine: &Handle, hellos: Vec<Hello>) -> Result<Vec<Session>> {
    for hello in &hellos {
        hello.check()?;
        engine.register(&hello.namespace, &hello.agent, Locality::Remote).await?;
    }
    let mut sessions = Vec::with_capacity(hellos.len());
    let share = limits::GRPC_STREAM_UNREAD_BYTES_MAX / hellos.len().max(1);
    let unread_max = share.min(limits::INSTANCE_UNREAD_BYTES_MAX);
    for hello in hellos {
        sessions.push(engine.attach_within(hello, Locality::Remote, unread_max).await?);
    }
    Ok(sessions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_agreed_upon_or_refused_with_both_sides() {
        let hello = |min, newest| v1::Hello { protocol: newest, protocol_min: min, ..v1::Hello::default() };
        for (min, newest) in [(1, 1), (0, 1), (1, 7)] {
            assert_eq!(agree(&hello(min, newest)).unwrap(), 1);
        }
        for (min, newest) in [(0, 0), (2, 3), (2, 1)] {
            let error = agree(&hello(min, newest)).unwrap_err();
            let text = format!("versions `{min}` to `{newest}`");
            assert!(error.code == Code::BadProtocol && error.message.contains(&text), "{error}");
            assert!(error.message.contains("server versions `1` to `1`"), "{error}");
        }
    }
}
