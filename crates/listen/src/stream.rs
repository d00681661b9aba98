//! A connection whose client must read what it is sent, and is told why a request of it cannot be read.
//!
//! For: ending connections that are full of answers that their client does not read; words for the refusals that the
//! protocol's library writes by itself, without any. Not for: reading (heads and bodies have timeouts of their own).
//! Invariant: a write that waits for its client fails when it has waited for the timeout.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// The answer to a request that cannot be read, by its status.
type Words = fn(u16) -> Option<Vec<u8>>;

/// A stream that gives up on a client that does not read.
pub(crate) struct TimedStream<S> {
    inner: S,
    timeout: Duration,
    /// Set while a write waits.
    deadline: Option<Pin<Box<Sleep>>>,
    words: Words,
    /// What is written instead of a refusal without words, and how much of it is.
    instead: Option<(Vec<u8>, usize)>,
}

/// The status of a refusal that hyper writes by itself, for a request that it cannot read: it has no body, which no answer
/// of a door with these statuses has.
fn bare_refusal(bytes: &[u8]) -> Option<u16> {
    const HEAD_BYTES_MAX: usize = 256;
    const NO_BODY: &[u8] = b"content-length: 0\r\n";
    let rest = bytes.strip_prefix(b"HTTP/1.1 4").filter(|_| bytes.len() <= HEAD_BYTES_MAX)?;
    let status = match rest.get(..2)? {
        b"00" => 400,
        b"14" => 414,
        b"31" => 431,
        _ => return None,
    };
    let bare = bytes.ends_with(b"\r\n\r\n") && bytes.windows(NO_BODY.len()).any(|part| part == NO_BODY);
    bare.then_some(status)
}

impl<S> TimedStream<S> {
    pub(crate) fn new(inner: S, timeout: Duration, words: Words) -> Self {
        Self { inner, timeout, deadline: None, words, instead: None }
    }

    /// Lets what is done pass; what waits fails once it has waited too long.
    fn watch<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.deadline = None;
            return written;
        }
        let timeout = self.timeout;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(timeout)));
        deadline.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncWrite + Unpin> TimedStream<S> {
    /// Writes words instead of a refusal that has none; `None` where `bytes` are anything else.
    fn write_words(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Option<Poll<io::Result<usize>>> {
        if self.instead.is_none() {
            self.instead = Some(((self.words)(bare_refusal(bytes)?)?, 0));
        }
        let written = self.write_instead(cx);
        let whole = written.map_ok(|()| bytes.len());
        Some(self.watch(cx, whole))
    }

    fn write_instead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some((text, sent)) = &mut self.instead {
            match ready!(Pin::new(&mut self.inner).poll_write(cx, &text[*sent..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                more => *sent += more,
            }
            if *sent == text.len() {
                self.instead = None;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TimedStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TimedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(written) = self.write_words(cx, bytes) {
            return written;
        }
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(written) = slices.first().and_then(|first| self.write_words(cx, first)) {
            return written;
        }
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        self.watch(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.watch(cx, ended)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn a_client_that_does_not_read_is_given_up() {
        let (server, mut client) = duplex(8);
        let mut stream = TimedStream::new(server, Duration::from_millis(1), |_| None);
        stream.write_all(b"12345678").await.unwrap();
        let error = stream.write_all(b"more").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let mut read = [0; 8];
        client.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"12345678");
    }

    #[tokio::test]
    async fn a_client_that_reads_is_not() {
        let (server, mut client) = duplex(8);
        let mut stream = TimedStream::new(server, Duration::from_mins(1), |_| None);
        let reading = tokio::spawn(async move {
            let mut all = Vec::new();
            client.read_to_end(&mut all).await.map(|_| all)
        });
        stream.write_all(&[7; 100]).await.unwrap();
        stream.shutdown().await.unwrap();
        drop(stream);
        assert_eq!(reading.await.unwrap().unwrap(), vec![7; 100]);
    }

    #[tokio::test]
    async fn a_refusal_without_words_gets_some_and_nothing_else_does() {
        // So small that the words take several writes.
        let (server, mut client) = duplex(4);
        let words = |status: u16| (status == 431).then(|| b"why it is refused".to_vec());
        let mut stream = TimedStream::new(server, Duration::from_mins(1), words);
        let reading = tokio::spawn(async move {
            let mut all = String::new();
            client.read_to_string(&mut all).await.map(|_| all)
        });
        let bare = |status: &str| format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(b"HTTP/1.1 431 x\r\ncontent-length: 2\r\n\r\n").await.unwrap();
        stream.write_all(bare("431 x").as_bytes()).await.unwrap();
        stream.write_all(bare("400 x").as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        drop(stream);
        let all = reading.await.unwrap().unwrap();
        let kept = "HTTP/1.1 431 x\r\ncontent-length: 2\r\n\r\n";
        assert_eq!(all, format!("{kept}why it is refused{}", bare("400 x")));
    }
}
