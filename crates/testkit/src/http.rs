//! A tiny HTTP/1.1 client: JSON requests, and event streams that are read line by line.
//!
//! For: tests against a server on loopback. Not for: anything else (no TLS, no redirects, no keep-alive).
//! Invariant: one connection a request; a server that stays silent fails the test instead of hanging it.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Error, ErrorKind, Read, Result, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::Value;

/// How long a server may be silent: far longer than any slow machine needs.
const SILENCE: Duration = Duration::from_mins(1);

/// Asks one server.
#[derive(Clone, Debug)]
pub struct Client {
    server: SocketAddr,
    headers: BTreeMap<String, String>,
}

/// What the server answered.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Header fields by their name in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body, in full.
    pub body: Vec<u8>,
}

impl Response {
    /// The body as text; what is not UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is not JSON, showing it.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.text()))
    }
}

impl Client {
    /// A client of the server at this address.
    pub fn new(server: SocketAddr) -> Self {
        Self { server, headers: BTreeMap::new() }
    }

    /// The same client that sends this header field with every request.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    /// `GET path`.
    pub fn get(&self, path: &str) -> Result<Response> {
        self.request("GET", path, None)
    }

    /// `POST path` with a JSON body.
    pub fn post(&self, path: &str, body: &Value) -> Result<Response> {
        self.request("POST", path, Some(body))
    }

    /// `DELETE path`.
    pub fn delete(&self, path: &str) -> Result<Response> {
        self.request("DELETE", path, None)
    }

    /// Any method, with a JSON body or none.
    pub fn request(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Response> {
        let body = body.map(Value::to_string);
        self.raw(method, path, "application/json", body.as_ref().map(String::as_bytes))
    }

    /// Any method, with a body of any type.
    pub fn raw(&self, method: &str, path: &str, content_type: &str, body: Option<&[u8]>) -> Result<Response> {
        let (head, mut reader) = self.open(method, path, content_type, body)?;
        let body = read_body(&head, &mut reader)?;
        Ok(Response { status: head.status, headers: head.headers, body })
    }

    /// Opens a stream of server-sent events; `last` is the id of the last event that was seen.
    pub fn events(&self, path: &str, last: Option<&str>) -> Result<Events> {
        let mut client = self.clone().header("accept", "text/event-stream");
        if let Some(last) = last {
            client = client.header("last-event-id", last);
        }
        let (head, reader) = client.open("GET", path, "application/json", None)?;
        let reader: Box<dyn BufRead + Send> = if head.is_chunked() {
            Box::new(BufReader::new(Chunks { reader, left: 0, done: false }))
        } else {
            Box::new(reader)
        };
        Ok(Events { status: head.status, reader })
    }

    fn open(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: Option<&[u8]>,
    ) -> Result<(Head, BufReader<TcpStream>)> {
        let mut stream = TcpStream::connect(self.server)?;
        stream.set_read_timeout(Some(SILENCE))?;
        stream.set_nodelay(true)?;
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.server);
        for (name, value) in &self.headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        if let Some(body) = body {
            head.extend(["content-type: ", content_type, "\r\ncontent-length: ", &body.len().to_string(), "\r\n"]);
        }
        head.push_str("\r\n");
        let mut request = head.into_bytes();
        request.extend_from_slice(body.unwrap_or_default());
        // A server may answer and close before it has read a body that it refuses: the answer counts.
        let sent = stream.write_all(&request);
        let mut reader = BufReader::new(stream);
        match Head::read(&mut reader) {
            Ok(head) => Ok((head, reader)),
            Err(error) => Err(sent.err().unwrap_or(error)),
        }
    }
}

/// Status line and header fields.
struct Head {
    status: u16,
    headers: BTreeMap<String, String>,
}

impl Head {
    fn read(reader: &mut impl BufRead) -> Result<Self> {
        let line = read_line(reader)?;
        let status = line.split(' ').nth(1).and_then(|text| text.parse().ok()).ok_or_else(|| bad("status line"))?;
        let mut headers = BTreeMap::new();
        loop {
            let line = read_line(reader)?;
            if line.is_empty() {
                return Ok(Self { status, headers });
            }
            let (name, value) = line.split_once(':').ok_or_else(|| bad("header field"))?;
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
    }

    fn is_chunked(&self) -> bool {
        self.headers.get("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"))
    }
}

fn read_line(reader: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    line.truncate(line.trim_end_matches(['\r', '\n']).len());
    Ok(line)
}

fn read_body(head: &Head, reader: &mut BufReader<TcpStream>) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    if head.is_chunked() {
        Chunks { reader, left: 0, done: false }.read_to_end(&mut body)?;
    } else if let Some(length) = head.headers.get("content-length") {
        let length = length.parse().map_err(|_| bad("content length"))?;
        reader.take(length).read_to_end(&mut body)?;
        if body.len() as u64 != length {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    } else {
        reader.read_to_end(&mut body)?;
    }
    Ok(body)
}

fn bad(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("the server sent a bad {what}"))
}

/// Reads a chunked body.
struct Chunks<R> {
    reader: R,
    left: usize,
    done: bool,
}

impl<R: BufRead> Read for Chunks<R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if self.done || buffer.is_empty() {
            return Ok(0);
        }
        if self.left == 0 {
            let line = read_line(&mut self.reader)?;
            let size = line.split(';').next().unwrap_or_default().trim();
            self.left = usize::from_str_radix(size, 16).map_err(|_| bad("chunk size"))?;
            if self.left == 0 {
                while !read_line(&mut self.reader)?.is_empty() {}
                self.done = true;
                return Ok(0);
            }
        }
        let wanted = buffer.len().min(self.left);
        let count = self.reader.read(&mut buffer[..wanted])?;
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.left -= count;
        if self.left == 0 {
            read_line(&mut self.reader)?;
        }
        Ok(count)
    }
}

/// A server-sent event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Its id, to resume after it.
    pub id: String,
    /// Its kind; empty where the server sends none.
    pub event: String,
    /// Its data, lines joined by a line feed.
    pub data: String,
}

/// An open event stream. It ends where the server ends it.
pub struct Events {
    /// The status code of the answer.
    pub status: u16,
    reader: Box<dyn BufRead + Send>,
}

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let mut event = Event::default();
        let mut seen = false;
        loop {
            let line = read_line(&mut self.reader).ok()?;
            if line.is_empty() {
                if seen {
                    return Some(event);
                }
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "id" => value.clone_into(&mut event.id),
                "event" => value.clone_into(&mut event.event),
                "data" if event.data.is_empty() => value.clone_into(&mut event.data),
                "data" => {
                    event.data.push('\n');
                    event.data.push_str(value);
                }
                // A comment keeps the connection alive and has no content.
                _ => continue,
            }
            seen = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Cursor, net::TcpListener, thread};

    use serde_json::json;

    use super::*;

    /// Answers one request with these bytes and returns the request.
    fn server(answer: &'static str) -> (Client, thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = Client::new(listener.local_addr().unwrap());
        let served = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut request = String::new();
            while !request.ends_with("\r\n\r\n") {
                reader.read_line(&mut request).unwrap();
            }
            let length = request.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
            let mut body = vec![0; length.parse().unwrap()];
            reader.read_exact(&mut body).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            request + &String::from_utf8(body).unwrap()
        });
        (client, served)
    }

    #[test]
    fn sends_and_reads_json() {
        let (client, served) = server("HTTP/1.1 201 Created\r\nContent-Length: 9\r\nX-A: b\r\n\r\n{\"ok\":1}\n");
        let response = client.header("authorization", "Bearer x").post("/v1/runs", &json!({"a": 1})).unwrap();
        assert_eq!((response.status, response.json()), (201, json!({"ok": 1})));
        assert_eq!(response.headers["x-a"], "b");
        let request = served.join().unwrap();
        assert!(
            request.starts_with("POST /v1/runs HTTP/1.1\r\n") && request.ends_with("\r\n\r\n{\"a\":1}"),
            "{request}"
        );
        assert!(request.contains("authorization: Bearer x\r\n"));
    }

    #[test]
    fn reads_chunks_and_refuses_a_torn_body() {
        let (client, _) =
            server("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n");
        assert_eq!(client.get("/").unwrap().text(), "abcde");
        let (client, _) = server("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
        assert_eq!(client.get("/").unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }

    #[test]
    fn reads_events() {
        let text = ": hello\n\nid: 7\nevent: step\ndata: a\ndata: b\n\nid: 8\ndata: c\n\n";
        let events: Vec<_> = Events { status: 200, reader: Box::new(Cursor::new(text)) }.collect();
        let event = |id: &str, event: &str, data: &str| Event { id: id.into(), event: event.into(), data: data.into() };
        assert_eq!(events, [event("7", "step", "a\nb"), event("8", "", "c")]);
    }
}
