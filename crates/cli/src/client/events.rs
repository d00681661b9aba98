//! Server-sent events, read as they come.
//!
//! For: following a run. Not for: reconnecting (who follows knows the cursor).
//! Invariant: an event is given out whole, with the id after which following goes on.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use consort_types::{Code, Error, Result, limits};
use http_body_util::BodyExt as _;

/// An event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    /// Its kind; `message` where the server gave none.
    pub(crate) kind: String,
    /// Its id; kept from the event before where it has none.
    pub(crate) id: String,
    /// Its lines, joined.
    pub(crate) data: String,
}

/// A stream of events.
pub(crate) struct Events {
    body: Body,
    parser: Parser,
}

impl Events {
    pub(crate) fn new(body: Body) -> Self {
        Self { body, parser: Parser::default() }
    }

    /// The next event; `None` where the server closes the stream.
    pub(crate) async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            if let Some(event) = self.parser.next()? {
                return Ok(Some(event));
            }
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            let frame = frame.map_err(|error| {
                Error::new(Code::Unreachable, format!("the stream of events broke off: {error}"))
                    .hint("`consort runs watch` follows on")
            })?;
            if let Ok(data) = frame.into_data() {
                self.parser.feed(&data);
            }
        }
    }
}

/// Splits bytes into events.
#[derive(Default)]
struct Parser {
    waiting: BytesMut,
    /// How much of `waiting` is known to hold no line end.
    looked_at: usize,
    event: Event,
    any: bool,
}

impl Parser {
    fn feed(&mut self, bytes: &Bytes) {
        self.waiting.extend_from_slice(bytes);
    }

    fn next(&mut self) -> Result<Option<Event>> {
        while let Some(end) = self.waiting[self.looked_at..].iter().position(|byte| *byte == b'\n') {
            let line = self.waiting.split_to(self.looked_at + end + 1);
            self.looked_at = 0;
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\n', '\r']);
            if !line.is_empty() {
                self.line(line);
            } else if std::mem::take(&mut self.any) {
                let id = self.event.id.clone();
                let mut event = std::mem::replace(&mut self.event, Event { id, ..Event::default() });
                if event.kind.is_empty() {
                    "message".clone_into(&mut event.kind);
                }
                return Ok(Some(event));
            }
        }
        self.looked_at = self.waiting.len();
        if self.waiting.len() > limits::PAYLOAD_BYTES_MAX {
            return Err(Error::new(Code::Internal, "the server sends an event without end"));
        }
        Ok(None)
    }

    fn line(&mut self, line: &str) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event.kind),
            "id" => value.clone_into(&mut self.event.id),
            "data" => {
                if self.any {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
                self.any = true;
            }
            // Comments keep the connection alive; other fields are none of ours.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(parts: &[&str]) -> Vec<(String, String, String)> {
        let mut parser = Parser::default();
        let mut found = Vec::new();
        for part in parts {
            parser.feed(&Bytes::copy_from_slice(part.as_bytes()));
            while let Some(Event { kind, id, data }) = parser.next().unwrap() {
                found.push((kind, id, data));
            }
        }
        found
    }

    #[test]
    fn events_come_whole_however_they_are_cut() {
        let text = ": hello\n\nevent: entry\nid: 4-0\ndata: {\"a\":1}\n\ndata: x\r\ndata: y\r\n\r\nevent: e\n\n";
        let expected = [("entry", "4-0", "{\"a\":1}"), ("message", "4-0", "x\ny")];
        let expected = expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned()));
        assert_eq!(read(&[text]), expected);
        let bytes: Vec<String> = text.chars().map(String::from).collect();
        assert_eq!(read(&bytes.iter().map(String::as_str).collect::<Vec<_>>()), expected);
    }
}
