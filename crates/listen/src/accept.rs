//! The accept loop: connections with a cap, and a stop that ends within its bound.
//!
//! For: a listener's life from its first connection to the end of its last. Not for: the protocol of a connection, or
//! how long it may be silent.
//! Invariant: an error of accept is retried, because the listener may recover; when the loop is to stop, it ends within
//! its time limit. A peer that asks something is not kept out by peers that ask nothing.

use std::{io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
};

use crate::newcomer::{Newcomer, Newcomers};

/// The amounts of a loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Connections at once.
    pub connections_max: usize,
    /// How long open connections may take to end after the loop began to stop.
    pub drain_timeout: Duration,
}

/// After a refused accept: first this long, then twice as long each time, up to the second.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// Connections above the cap, each for as long as one that was sent away takes to end.
const SPARE: usize = 64;

/// Accepts connections until `shutdown` ends, and then waits until the open ones have ended, within the bound.
///
/// Each runs in a task of its own, made by `connect`, whose receiver turns true when the loop stops. One above the cap
/// takes the place of the oldest one whose peer has asked nothing yet; where there is none, it is given to `refuse`, and
/// closed.
pub async fn accept<C>(
    listener: TcpListener,
    bounds: Bounds,
    connect: impl Fn(TcpStream, SocketAddr, watch::Receiver<bool>, Newcomer) -> C,
    refuse: impl Fn(&TcpStream),
    shutdown: impl Future<Output = ()>,
) where
    C: Future<Output = ()> + Send + 'static,
{
    let (stop, closing) = watch::channel(false);
    let seats = Arc::new(Semaphore::new(bounds.connections_max.saturating_add(SPARE).min(Semaphore::MAX_PERMITS)));
    let newcomers = Newcomers::default();
    let (mut connections, mut back_off) = (JoinSet::new(), BACK_OFF.0);
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            // Ended connections are forgotten as they end. One that panicked ended too; its peer sees it closed.
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    back_off = BACK_OFF.0;
                    let seat = Arc::clone(&seats).try_acquire_owned().ok();
                    let room = seats.available_permits() >= SPARE || newcomers.send_oldest_away();
                    let Some(seat) = seat.filter(|_| room) else {
                        refuse(&stream);
                        continue;
                    };
                    // What is sent is whole when it is written. Where it cannot be set, it is only slower.
                    let _ = stream.set_nodelay(true);
                    let connection = connect(stream, peer, closing.clone(), newcomers.add());
                    connections.spawn(async move {
                        connection.await;
                        drop(seat);
                    });
                }
                Err(error) if is_of_one_client(&error) => {}
                Err(_) => {
                    tokio::select! {
                        () = &mut shutdown => break,
                        () = tokio::time::sleep(back_off) => back_off = (back_off * 2).min(BACK_OFF.1),
                    }
                }
            },
        }
    }
    drop(listener);
    // Sending fails only where no connection is open.
    let _ = stop.send(true);
    let drained = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(bounds.drain_timeout, drained).await;
    connections.shutdown().await;
}

/// Whether accepting failed because of the one client that was to be accepted.
fn is_of_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_shortage_of_the_machine_makes_the_loop_wait() {
        assert!(is_of_one_client(&io::ErrorKind::ConnectionReset.into()));
        // Too many open files.
        assert!(!is_of_one_client(&io::Error::from_raw_os_error(24)));
    }
}
