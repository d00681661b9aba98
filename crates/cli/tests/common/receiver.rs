//! A receiver of webhooks.
//!
//! For: the tests of what a server pushes. Not for: anything that the product uses: it reads requests and checks
//! signatures by itself.
//! Invariant: a request is noted before it is answered.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    thread,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use consort_testkit::wait_until;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// A request that has come.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
    /// The status that it was answered with; `None` where it was not answered.
    pub(crate) answered: Option<u16>,
}

impl Received {
    pub(crate) fn event(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The id of its event.
    pub(crate) fn id(&self) -> String {
        self.event()["id"].as_str().unwrap().to_owned()
    }

    pub(crate) fn timestamp(&self) -> u64 {
        self.headers["webhook-timestamp"].parse().unwrap()
    }

    /// How many of its signatures a secret has made.
    pub(crate) fn signed_by(&self, secret: &str) -> usize {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let mut text = format!("{}.{}.", self.headers["webhook-id"], self.timestamp()).into_bytes();
        text.extend(&self.body);
        let right = format!("v1,{}", STANDARD.encode(hmac(&key, &text)));
        self.headers["webhook-signature"].split(' ').filter(|signature| *signature == right).count()
    }
}

/// HMAC with SHA-256, as in RFC 2104, for keys of at most 64 bytes.
pub(crate) fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let pad = |with: u8| -> Vec<u8> { (0..64).map(|at| key.get(at).copied().unwrap_or(0) ^ with).collect() };
    let inner = Sha256::digest([pad(0x36), text.to_vec()].concat());
    Sha256::digest([pad(0x5c), inner.to_vec()].concat()).to_vec()
}

/// What a receiver answers.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// A status, with a header field more.
    Status(u16, Option<(&'static str, String)>),
    /// Nothing, until the other side gives up.
    Never,
    /// 200, once [`Receiver::release`] is called.
    Held,
}

impl Answer {
    pub(crate) fn status(status: u16) -> Self {
        Self::Status(status, None)
    }
}

type Script = Box<dyn Fn(&Received, usize) -> Answer + Send + Sync>;

struct Shared {
    received: Mutex<Vec<Received>>,
    script: Script,
    released: (Mutex<bool>, Condvar),
}

/// A receiver on a port of its own.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

impl Receiver {
    /// It answers as the script says of a request and its number.
    pub(crate) fn new(script: impl Fn(&Received, usize) -> Answer + Send + Sync + 'static) -> Self {
        Self::at("127.0.0.1", script)
    }

    /// One at another address of loopback.
    pub(crate) fn at(host: &str, script: impl Fn(&Received, usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((host, 0)).unwrap();
        let released = (Mutex::new(false), Condvar::new());
        let shared = Arc::new(Shared { received: Mutex::default(), script: Box::new(script), released });
        let receiver = Self { address: listener.local_addr().unwrap(), shared: Arc::clone(&shared) };
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&shared);
                // A connection that is broken off is no request.
                thread::spawn(move || drop(serve(&shared, stream)));
            }
        });
        receiver
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/in?to=me", self.address)
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap().clone()
    }

    /// Waits until so many requests have come.
    pub(crate) fn wait_for(&self, count: usize) -> Vec<Received> {
        wait_until("requests", || Some(self.received()).filter(|received| received.len() >= count))
    }

    /// Waits until every event of these ids has been answered well; all that has come.
    pub(crate) fn wait_for_ids(&self, ids: &[String]) -> Vec<Received> {
        wait_until("every event", || {
            let received = self.received();
            let taken = |id: &String| received.iter().any(|one| one.answered == Some(200) && one.id() == *id);
            ids.iter().all(taken).then_some(received)
        })
    }

    /// Answers what is held.
    pub(crate) fn release(&self) {
        *self.shared.released.0.lock().unwrap() = true;
        self.shared.released.1.notify_all();
    }
}

fn serve(shared: &Shared, mut stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let mut one = Received { path, headers, body, answered: None };
    let mut received = shared.received.lock().unwrap();
    let (at, answer) = (received.len(), (shared.script)(&one, received.len()));
    if let Answer::Status(status, _) = answer {
        one.answered = Some(status);
    }
    received.push(one);
    drop(received);
    let (status, more) = match answer {
        Answer::Status(status, more) => (status, more),
        Answer::Never => return reader.read(&mut [0]).map(|_| ()),
        Answer::Held => {
            let (released, changed) = &shared.released;
            let guard = changed.wait_while(released.lock().unwrap(), |released| !*released).unwrap();
            drop(guard);
            shared.received.lock().unwrap()[at].answered = Some(200);
            (200, None)
        }
    };
    let more = more.map(|(name, value)| format!("{name}: {value}\r\n")).unwrap_or_default();
    // A body, and nothing that says its length: a sender is not to wait for it.
    write!(stream, "HTTP/1.1 {status} Some\r\nconnection: close\r\n{more}\r\nsesame")
}
