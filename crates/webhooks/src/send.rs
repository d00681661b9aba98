//! Sending one message to a webhook.
//!
//! For: the request, the redirects that are followed, and what an answer means. Not for: what is sent, or what follows
//! from the outcome (see `push`).
//! Invariant: every hop is connected to as the first one is; what a webhook answers decides by its status and
//! `Retry-After` alone, and its body is not read.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use consort_types::{WebhookUrl, limits};
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use crate::{
    connect::{Connector, Duplex},
    secret::Keys,
};

/// Bytes that the head of an answer may have.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// What Consort calls itself.
const USER_AGENT: &str = concat!("consort/", env!("CARGO_PKG_VERSION"));

/// What is sent.
pub(crate) struct Message {
    /// The same for each delivery of an event to a subscription.
    pub(crate) id: String,
    /// An event of CloudEvents in its JSON form.
    pub(crate) body: Bytes,
}

/// What has come of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The webhook has it.
    Taken,
    /// The webhook is there no more, and wants nothing.
    Gone,
    /// Another time, perhaps.
    Failed {
        /// Why.
        reason: String,
        /// How long the webhook wants to be left alone.
        retry_after: Option<Duration>,
    },
}

impl Outcome {
    fn failed(reason: impl Into<String>) -> Self {
        Self::Failed { reason: reason.into(), retry_after: None }
    }
}

/// Sends a message, and follows redirects; the whole may take `timeout`.
pub(crate) async fn send(
    connector: &Connector,
    url: &str,
    timeout: Duration,
    keys: &Keys,
    message: &Message,
) -> Outcome {
    let until = Instant::now() + timeout;
    match tokio::time::timeout_at(until, follow(connector, url, until, keys, message)).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(reason)) => Outcome::failed(reason),
        Err(_) => Outcome::failed(format!(
            "it has not answered within {}",
            consort_types::Span::from_millis(timeout.as_millis() as u64)
        )),
    }
}

async fn follow(
    connector: &Connector,
    url: &str,
    until: Instant,
    keys: &Keys,
    message: &Message,
) -> Result<Outcome, String> {
    let mut url: WebhookUrl = url.parse().map_err(|error: consort_types::Error| error.message)?;
    for hop in 0..=limits::WEBHOOK_REDIRECTS_MAX {
        let at_hop = |why: String| if hop == 0 { why } else { format!("redirected: {why}") };
        let stream = connector.connect(&url, until).await.map_err(at_hop)?;
        let (status, headers) = exchange(stream, request(&url, keys, message)?).await.map_err(at_hop)?;
        let redirect = matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
        if !redirect {
            return Ok(judge(status, &headers));
        }
        let location = headers.get(header::LOCATION).and_then(|to| to.to_str().ok()).unwrap_or_default();
        let next = url.redirected(location).map_err(|error| format!("it redirects: {}", error.message))?;
        if url.tls && !next.tls {
            return Err(format!("it redirects from `https` to `http` on `{}`", next.authority()));
        }
        url = next;
    }
    Err(format!("it redirects more than {} times, which is the limit", limits::WEBHOOK_REDIRECTS_MAX))
}

fn request(url: &WebhookUrl, keys: &Keys, message: &Message) -> Result<Request<Full<Bytes>>, String> {
    let timestamp = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Request::post(url.target.as_str())
        .header(header::HOST, url.authority())
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::CONTENT_TYPE, "application/cloudevents+json; charset=utf-8")
        .header(header::CONNECTION, "close")
        .header("webhook-id", message.id.as_str())
        .header("webhook-timestamp", timestamp)
        .header("webhook-signature", keys.sign(&message.id, timestamp, &message.body))
        .body(Full::new(message.body.clone()))
        .map_err(|_| "its address cannot be requested".to_owned())
}

/// The head of the answer.
async fn exchange(stream: Box<dyn Duplex>, request: Request<Full<Bytes>>) -> Result<(StatusCode, HeaderMap), String> {
    let broken = |error: hyper::Error| {
        let what = if error.is_parse() { "it does not answer in HTTP" } else { "the connection was lost" };
        what.to_owned()
    };
    let mut client = http1::Builder::new();
    let (mut sender, connection) =
        client.max_buf_size(HEAD_BYTES_MAX).handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let answer = sender.send_request(request);
    tokio::pin!(answer, connection);
    let answer = tokio::select! {
        biased;
        answer = &mut answer => answer,
        ended = &mut connection => match ended {
            Ok(()) => answer.await,
            Err(error) => Err(error),
        },
    };
    let (head, _) = answer.map_err(broken)?.into_parts();
    Ok((head.status, head.headers))
}

/// What an answer means.
fn judge(status: StatusCode, headers: &HeaderMap) -> Outcome {
    match status {
        _ if status.is_success() => Outcome::Taken,
        StatusCode::GONE => Outcome::Gone,
        _ if status.is_redirection() => {
            Outcome::failed(format!("it answers {}; only redirects with 307 and 308 are followed", status.as_u16()))
        }
        _ => {
            let asks = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
            let retry_after = headers.get(header::RETRY_AFTER).filter(|_| asks).and_then(|after| after.to_str().ok());
            Outcome::Failed {
                reason: format!("it answers {}", status.as_u16()),
                retry_after: retry_after.and_then(|text| wait(text, SystemTime::now())),
            }
        }
    }
}

/// Reads `Retry-After`: seconds, or a date. What is too long is cut.
fn wait(text: &str, now: SystemTime) -> Option<Duration> {
    let asked = match text.trim().parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default(),
    };
    Some(asked.min(Duration::from_secs(limits::WEBHOOK_RETRY_AFTER_SECONDS_MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_seconds_or_a_date_and_bounded() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        for (text, seconds) in [
            ("7", Some(7)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:50:00 GMT", Some(23)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
            ("999999999", Some(limits::WEBHOOK_RETRY_AFTER_SECONDS_MAX)),
            ("soon", None),
            ("-1", None),
        ] {
            assert_eq!(wait(text, now), seconds.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn an_answer_is_judged_by_its_status() {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, "5".parse().unwrap());
        let judge = |status: u16| judge(StatusCode::from_u16(status).unwrap(), &headers);
        assert_eq!([judge(200), judge(204), judge(299)], [Outcome::Taken, Outcome::Taken, Outcome::Taken]);
        assert_eq!(judge(410), Outcome::Gone);
        for (status, asks) in [(429, true), (503, true), (500, false), (404, false), (302, false), (304, false)] {
            let Outcome::Failed { reason, retry_after } = judge(status) else { panic!("{status}") };
            assert!(reason.contains(&status.to_string()), "{reason}");
            assert_eq!(retry_after.is_some(), asks, "{status}");
        }
    }
}
