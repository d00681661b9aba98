//! What workers print, with their names in front.
//!
//! For: lines of several processes in one place. Not for: what they mean.
//! Invariant: lines are whole; no text of a worker commands the terminal.

use std::io::{self, Write as _};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};

use crate::{
    app::App,
    show::style::{Paint, Style, clean_json, clean_lines},
};

/// A longer line is shown as several.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// Where a worker has printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Out,
    Err,
}

/// Prints what one worker prints, and what is done with it.
#[derive(Clone)]
pub(super) struct Printer {
    name: String,
    /// The name, as wide as the longest.
    padded: String,
    paint: Paint,
    json: bool,
    out: Style,
    err: Style,
}

impl Printer {
    pub(super) fn new(app: &App, name: &str, width: usize, paint: Paint) -> Self {
        let padded = format!("{name:width$} | ");
        Self { name: name.to_owned(), padded, paint, json: app.json, out: app.out, err: app.err }
    }

    /// Prints each line until the worker closes the stream.
    pub(super) async fn copy(self, pipe: impl AsyncRead + Unpin, stream: Stream) {
        let mut reader = BufReader::new(pipe);
        let mut line = Vec::new();
        loop {
            line.clear();
            match (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await {
                Ok(read) if read > 0 => {
                    self.line(stream, String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']));
                }
                _ => return,
            }
        }
    }

    fn line(&self, stream: Stream, text: &str) {
        if self.json {
            let stream = if stream == Stream::Out { "stdout" } else { "stderr" };
            return self.document(&json!({ "worker": self.name, "stream": stream, "line": text }));
        }
        self.write(stream, &clean_lines(text));
    }

    /// Says what is done with the worker: as a document, or in words on standard error.
    pub(super) fn say(&self, event: &str, fields: Value, text: &str) {
        if !self.json {
            return self.write(Stream::Err, &self.err.paint(Paint::Dim, &clean_lines(text)));
        }
        let mut document = json!({ "worker": self.name, "event": event });
        if let (Some(document), Value::Object(fields)) = (document.as_object_mut(), fields) {
            document.extend(fields);
        }
        self.document(&document);
    }

    fn document(&self, document: &Value) {
        let text = document.to_string();
        // Where standard output is closed, the workers stay: they are stopped by a signal.
        let _ = writeln!(io::stdout().lock(), "{}", if self.out.terminal { clean_json(&text) } else { text });
    }

    fn write(&self, stream: Stream, text: &str) {
        let style = if stream == Stream::Out { self.out } else { self.err };
        let line = format!("{}{text}\n", style.paint(self.paint, &self.padded));
        let _ = match stream {
            Stream::Out => io::stdout().lock().write_all(line.as_bytes()),
            Stream::Err => io::stderr().lock().write_all(line.as_bytes()),
        };
    }
}
