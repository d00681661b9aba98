//! Server-sent events, read as they come.
//!
//! For: following. Not for: reconnecting (the subscriber keeps its cursor).
//! Invariant: an event is returned whole, with its id, after which a new subscription can continue; an event that this
//! version does not know is left out.

use std::{collections::BTreeMap, marker::PhantomData};

use bytes::{Bytes, BytesMut};
use consort_types::{Code, Error, Result, limits};
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::Body;

/// An event of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<T> {
    /// Its id; that of the event before where it has none; empty where none had one.
    pub id: String,
    /// Its content.
    pub what: T,
}

/// A stream of events.
pub struct Events<T> {
    body: Body,
    parser: Parser,
    _says: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Events<T> {
    pub(super) fn new(body: Body) -> Self {
        Self { body, parser: Parser::default(), _says: PhantomData }
    }

    /// The next event; `None` where the server closes the stream.
    ///
    /// # Errors
    /// [`Code::Unreachable`] where the stream breaks off: open another after the last id that was seen.
    pub async fn next(&mut self) -> Result<Option<Event<T>>> {
        loop {
            if let Some(raw) = self.parser.next()? {
                match typed(&raw)? {
                    Some(what) => return Ok(Some(Event { id: raw.id, what })),
                    None => continue,
                }
            }
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            let frame = frame.map_err(|error| {
                Error::new(Code::Unreachable, format!("the stream of events broke off: {error}"))
                    .hint("open another after the last event that was seen")
            })?;
            if let Ok(data) = frame.into_data() {
                self.parser.feed(&data);
            }
        }
    }
}

/// The variant that has the event's name; `None` where this version has none.
fn typed<T: DeserializeOwned>(raw: &Raw) -> Result<Option<T>> {
    let unreadable = |error: &serde_json::Error| {
        Error::new(Code::Internal, format!("the event `{}` of the server cannot be understood: {error}", raw.kind))
            .hint("use the same version of Consort on both sides")
    };
    let data: &RawValue = serde_json::from_str(&raw.data).map_err(|error| unreadable(&error))?;
    let variant = serde_json::to_string(&[(&raw.kind, data)].into_iter().collect::<BTreeMap<_, _>>());
    match variant.and_then(|variant| serde_json::from_str(&variant)) {
        Ok(what) => Ok(Some(what)),
        Err(error) if error.to_string().starts_with("unknown variant") => Ok(None),
        Err(error) => Err(unreadable(&error)),
    }
}

/// An event as it travels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Raw {
    kind: String,
    id: String,
    data: String,
}

/// Splits bytes into events.
#[derive(Default)]
struct Parser {
    waiting: BytesMut,
    /// How much of `waiting` is known to hold no line end.
    looked_at: usize,
    event: Raw,
    any: bool,
    whole: Option<Raw>,
}

impl Parser {
    fn feed(&mut self, bytes: &Bytes) {
        self.waiting.extend_from_slice(bytes);
    }

    fn next(&mut self) -> Result<Option<Raw>> {
        while let Some(end) = self.waiting[self.looked_at..].iter().position(|byte| *byte == b'\n') {
            let line = self.waiting.split_to(self.looked_at + end + 1);
            self.looked_at = 0;
            let line = String::from_utf8_lossy(&line);
            self.line(line.trim_end_matches(['\n', '\r']));
            if let Some(event) = self.whole.take() {
                return Ok(Some(event));
            }
        }
        self.looked_at = self.waiting.len();
        if self.waiting.len() > limits::PAYLOAD_BYTES_MAX {
            return Err(Error::new(Code::Internal, "the server sends an event without end")
                .hint("check the address; is something else listening there?"));
        }
        Ok(None)
    }

    fn line(&mut self, line: &str) {
        if line.is_empty() {
            if std::mem::take(&mut self.any) {
                let id = self.event.id.clone();
                let event = std::mem::replace(&mut self.event, Raw { id, ..Raw::default() });
                self.whole = Some(event);
            }
            return;
        }
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
            // Comments keep the connection alive; other fields are not used.
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
            while let Some(Raw { kind, id, data }) = parser.next().unwrap() {
                found.push((kind, id, data));
            }
        }
        found
    }

    #[test]
    fn events_come_whole_however_they_are_cut() {
        let text = ": hello\n\nevent: entry\nid: 4-0\ndata: {\"a\":1}\n\ndata: x\r\ndata: y\r\n\r\nevent: e\n\n";
        let expected = [("entry", "4-0", "{\"a\":1}"), ("", "4-0", "x\ny")];
        let expected = expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned()));
        assert_eq!(read(&[text]), expected);
        let bytes: Vec<String> = text.chars().map(String::from).collect();
        assert_eq!(read(&bytes.iter().map(String::as_str).collect::<Vec<_>>()), expected);
    }
}
