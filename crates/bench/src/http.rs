//! A small HTTP/1.1 client for a server on loopback.
//!
//! For: the driver: one connection, one request after the other. Not for: anything beyond this machine.
//! Invariant: an answer that is not a success is an error that carries the answer.

use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, body::Bytes, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A connection to a server.
pub(crate) struct Client {
    host: String,
    sender: SendRequest<Full<Bytes>>,
}

impl Client {
    /// Connects to `HOST:PORT`.
    pub(crate) async fn connect(host: &str) -> Outcome<Self> {
        let stream = TcpStream::connect(host).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            // A connection that breaks shows in the next request.
            let _ = connection.await;
        });
        Ok(Self { host: host.to_owned(), sender })
    }

    /// Reads a document.
    pub(crate) async fn get(&mut self, path: &str) -> Outcome<Value> {
        self.request(Method::GET, path, "application/json", String::new()).await
    }

    /// Posts a document.
    pub(crate) async fn post(&mut self, path: &str, kind: &str, body: String) -> Outcome<Value> {
        self.request(Method::POST, path, kind, body).await
    }

    /// Puts a document.
    pub(crate) async fn put(&mut self, path: &str, body: String) -> Outcome<Value> {
        self.request(Method::PUT, path, "application/json", body).await
    }

    async fn request(&mut self, method: Method, path: &str, kind: &str, body: String) -> Outcome<Value> {
        self.sender.ready().await?;
        let request =
            Request::builder().method(method).uri(path).header("host", &self.host).header("content-type", kind);
        let response = self.sender.send_request(request.body(Full::new(Bytes::from(body)))?).await?;
        let status = response.status();
        let bytes = response.into_body().collect().await?.to_bytes();
        if !status.is_success() {
            return Err(format!("{path} answered {status}: {}", String::from_utf8_lossy(&bytes)).into());
        }
        // A watch is a stream of text; its end is all that is asked of it.
        Ok(serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }
}
