//! An outside service that counts what it was asked to do.
//!
//! For: knowing from outside how often an effect happened, and holding it at a chosen moment. Not for: anything that
//! is not a test.
//! Invariant: an effect counts from when its request was read, answered or not.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Result, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
};

use parking_lot::{Condvar, Mutex};

/// The requested effects.
#[derive(Debug, Default)]
struct Counts {
    effects: BTreeMap<String, u32>,
    /// By effect and idempotency key.
    keys: BTreeMap<String, BTreeMap<String, u32>>,
    held: BTreeSet<String>,
    together: u32,
    together_most: u32,
    closed: bool,
}

#[derive(Debug, Default)]
struct Shared {
    counts: Mutex<Counts>,
    changed: Condvar,
}

/// The service. It ends with this value.
#[derive(Debug)]
pub struct Ledger {
    shared: Arc<Shared>,
    address: SocketAddr,
}

impl Ledger {
    /// A service on a free port that holds back the answers of these effects.
    ///
    /// # Errors
    /// Where no port can be opened.
    pub fn open(hold: &[String]) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        shared.counts.lock().held.extend(hold.iter().cloned());
        let of_server = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if of_server.counts.lock().closed {
                    return;
                }
                let shared = Arc::clone(&of_server);
                // A client that was killed in the middle is what the service is for.
                thread::spawn(move || drop(serve(stream, &shared)));
            }
        });
        Ok(Self { shared, address })
    }

    /// Where it is, as a URL without a slash at its end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How often an effect was requested.
    pub fn count(&self, effect: &str) -> u32 {
        self.shared.counts.lock().effects.get(effect).copied().unwrap_or(0)
    }

    /// How many different idempotency keys an effect came with.
    pub fn keys(&self, effect: &str) -> usize {
        self.shared.counts.lock().keys.get(effect).map_or(0, BTreeMap::len)
    }

    /// The most requests for the effect under one key.
    pub fn most_under_one_key(&self, effect: &str) -> u32 {
        self.shared.counts.lock().keys.get(effect).and_then(|keys| keys.values().copied().max()).unwrap_or(0)
    }

    /// How often an effect was requested under this key.
    pub fn count_under(&self, effect: &str, key: &str) -> u32 {
        let key = serde_json::Value::from(key).to_string();
        self.shared.counts.lock().keys.get(effect).and_then(|keys| keys.get(&key).copied()).unwrap_or(0)
    }

    /// The number of all requests.
    pub fn total(&self) -> u32 {
        self.shared.counts.lock().effects.values().sum()
    }

    /// How many effects were held at once at most.
    pub fn most_together(&self) -> u32 {
        self.shared.counts.lock().together_most
    }

    /// Answers the held requests for an effect, and holds no further ones.
    pub fn release(&self, effect: &str) {
        self.shared.counts.lock().held.remove(effect);
        self.shared.changed.notify_all();
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        let mut counts = self.shared.counts.lock();
        counts.closed = true;
        counts.held.clear();
        drop(counts);
        self.shared.changed.notify_all();
        // Wakes the thread that accepts, so that it sees the end.
        drop(TcpStream::connect(self.address));
    }
}

/// Answers the requests of one connection.
fn serve(stream: TcpStream, shared: &Shared) -> Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    while let Some((effect, body)) = request(&mut reader)? {
        let key = serde_json::from_slice::<serde_json::Value>(&body).unwrap_or_default()["key"].to_string();
        let count = take(shared, &effect, key);
        let answer = format!("{{\"count\":{count}}}");
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", answer.len());
        writer.write_all(format!("{head}{answer}").as_bytes())?;
    }
    Ok(())
}

/// Counts an effect, and waits while it is held.
fn take(shared: &Shared, effect: &str, key: String) -> u32 {
    let mut counts = shared.counts.lock();
    let count = counts.effects.entry(effect.to_owned()).or_default();
    *count += 1;
    let count = *count;
    *counts.keys.entry(effect.to_owned()).or_default().entry(key).or_default() += 1;
    counts.together += 1;
    counts.together_most = counts.together_most.max(counts.together);
    while counts.held.contains(effect) {
        shared.changed.wait(&mut counts);
    }
    counts.together -= 1;
    count
}

/// The effect and the body of the next request; `None` at the end of the connection.
fn request(reader: &mut impl BufRead) -> Result<Option<(String, Vec<u8>)>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let path = line.split(' ').nth(1).unwrap_or_default();
    let effect = path.strip_prefix("/effects/").unwrap_or(path).to_owned();
    let mut length = 0;
    loop {
        let mut field = String::new();
        reader.read_line(&mut field)?;
        let field = field.trim_end();
        if field.is_empty() {
            break;
        }
        if let Some((name, value)) = field.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some((effect, body)))
}
