//! Messages while they arrive.
//!
//! For: bounding the memory that half a message takes, and the time that it may stay half. Not for: what is in it, nor
//! the size of a single one (the decoder's matter).
//! Invariant: all messages that are arriving together stay within [`limits::GRPC_BATCHES_BYTES_MAX`]; a stream on
//! which no message has begun may be silent for as long as it likes.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use consort_types::{Code, Error, limits};
use hyper::body::{Body, Frame, SizeHint};
use prost::bytes::Bytes;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Sleep, sleep},
};
use tonic::Status;

use crate::status::status;

/// Bytes are counted in steps of this many; what a message has below the first step is free.
const UNIT_BYTES: usize = 16 * 1024;
/// Bytes in front of each message: a flag, and its length.
const PREFIX_BYTES: usize = 5;

/// The memory that arriving messages may take, all together. Clones are the same.
#[derive(Clone)]
pub(crate) struct Budget(Arc<Semaphore>);

impl Default for Budget {
    fn default() -> Self {
        Self::of(limits::GRPC_BATCHES_BYTES_MAX)
    }
}

impl Budget {
    fn of(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes / UNIT_BYTES)))
    }
}

/// Where the bytes of a body are: in a prefix, or in a message.
#[derive(Default)]
struct Place {
    prefix: [u8; PREFIX_BYTES],
    /// Bytes of the prefix that have come.
    known: usize,
    /// Bytes of the message that have come.
    come: usize,
    /// Whether a message is whole, and no other has begun.
    between: bool,
}

impl Place {
    /// Whether the length of the message that arrives is known.
    fn is_known(&self) -> bool {
        self.known == PREFIX_BYTES
    }

    fn length(&self) -> usize {
        u32::from_be_bytes([self.prefix[1], self.prefix[2], self.prefix[3], self.prefix[4]]) as usize
    }

    /// Advances by these bytes; returns whether a message has ended with or within them.
    fn pass(&mut self, mut bytes: &[u8]) -> bool {
        let mut ended = false;
        while !bytes.is_empty() {
            self.between = false;
            let wanted = (PREFIX_BYTES - self.known).min(bytes.len());
            self.prefix[self.known..self.known + wanted].copy_from_slice(&bytes[..wanted]);
            self.known += wanted;
            bytes = &bytes[wanted..];
            if self.known < PREFIX_BYTES {
                break;
            }
            let wanted = (self.length() - self.come).min(bytes.len());
            self.come += wanted;
            bytes = &bytes[wanted..];
            if self.come == self.length() {
                *self = Self { between: true, ..Self::default() };
                ended = true;
            }
        }
        ended
    }
}

/// A body whose messages must arrive in time, and together with all others fit the budget.
pub(crate) struct Arriving<B> {
    inner: B,
    budget: Budget,
    held: Option<OwnedSemaphorePermit>,
    /// Bytes that the first message may have, until it has come.
    first_max: Option<usize>,
    place: Place,
    timeout: Duration,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<B> Arriving<B> {
    pub(crate) fn new(inner: B, budget: Budget, timeout: Duration) -> Self {
        Self { inner, budget, held: None, first_max: None, place: Place::default(), timeout, deadline: None }
    }

    /// Refuses a first message of more bytes than this as soon as its length is known.
    pub(crate) fn first_within(mut self, bytes: Option<usize>) -> Self {
        self.first_max = bytes;
        self
    }

    fn arrived(&mut self, bytes: &[u8]) -> Result<(), Status> {
        if self.place.pass(bytes) {
            self.deadline = None;
            self.first_max = None;
        } else if let Some(max) = self.first_max.filter(|max| self.place.is_known() && self.place.length() > *max) {
            let message = format!("the first batch has {} bytes, the limit is {max}", self.place.length());
            let error = Error::new(Code::LimitReached, message);
            return Err(status(error.hint("declare fewer agents on one stream, or shorten their schemas")));
        }
        let units = self.place.come / UNIT_BYTES;
        let mut have = self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        if units < have {
            // The message is whole, and on its way.
            self.held = None;
            have = 0;
        }
        let more = Arc::clone(&self.budget.0).try_acquire_many_owned((units - have) as u32).map_err(|_| {
            let max = limits::GRPC_BATCHES_BYTES_MAX;
            let message = format!("the messages that are arriving together are at the limit of {max} bytes");
            status(Error::new(Code::Overloaded, message).hint("try again after `1s`"))
        })?;
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
        Ok(())
    }

    fn late(&self) -> Status {
        let message = format!("a message did not arrive within `{} s`", self.timeout.as_secs());
        status(Error::new(Code::SlowRequest, message).hint("send it faster, or send less"))
    }
}

impl<B> Body for Arriving<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(context) else {
            // Between two messages there is no time limit.
            if self.place.between {
                return Poll::Pending;
            }
            let timeout = self.timeout;
            let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(timeout)));
            return deadline.as_mut().poll(context).map(|()| Some(Err(self.late().into())));
        };
        let frame = match frame {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
            None => return Poll::Ready(None),
        };
        if let Some(bytes) = frame.data_ref()
            && let Err(refusal) = self.arrived(bytes)
        {
            return Poll::Ready(Some(Err(refusal.into())));
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: usize) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend(u32::try_from(length).unwrap().to_be_bytes());
        bytes.resize(PREFIX_BYTES + length, 7);
        bytes
    }

    #[test]
    fn messages_are_told_apart_however_they_are_cut() {
        let bytes = [message(3), message(0), message(300)].concat();
        for cut in [1, 2, 4, 5, 7, 8, 13, 100, bytes.len()] {
            let mut place = Place::default();
            let mut ends = Vec::new();
            for (at, chunk) in bytes.chunks(cut).enumerate() {
                ends.extend(place.pass(chunk).then_some((at * cut) + chunk.len()));
            }
            assert!(place.between);
            assert_eq!(ends.last(), Some(&bytes.len()), "cut at {cut}");
            assert!(cut > 1 || ends == [8, 13, bytes.len()], "{ends:?}");
        }
    }

    /// A body that yields this, and then stays pending.
    struct Stuck(Option<Vec<u8>>);

    impl Body for Stuck {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            self.0.take().map_or(Poll::Pending, |bytes| Poll::Ready(Some(Ok(Frame::data(bytes.into())))))
        }
    }

    #[tokio::test]
    async fn half_a_message_is_waited_for_and_silence_is_not() {
        let whole = [message(9), message(2)].concat();
        for (bytes, late) in [(None, true), (Some(whole[..20].to_vec()), true), (Some(whole), false)] {
            let given = bytes.is_some();
            let mut body = Arriving::new(Stuck(bytes), Budget::default(), Duration::from_millis(1));
            let mut next = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context));
            if given {
                assert!((&mut next).await.unwrap().is_ok());
            }
            let ended = tokio::time::timeout(Duration::from_millis(if late { 30_000 } else { 30 }), next).await;
            let refusal = ended.ok().map(|frame| *frame.unwrap().unwrap_err().downcast::<Status>().unwrap());
            assert_eq!(refusal.map(|status| status.code()), late.then_some(tonic::Code::InvalidArgument));
        }
    }

    #[test]
    fn a_first_message_that_is_too_large_is_refused_by_its_length() {
        let limited = || Arriving::new((), Budget::default(), Duration::ZERO).first_within(Some(100));
        let mut body = limited();
        body.arrived(&message(101)[..PREFIX_BYTES - 1]).unwrap();
        assert_eq!(
            body.arrived(&message(101)[PREFIX_BYTES - 1..20]).unwrap_err().code(),
            tonic::Code::ResourceExhausted
        );
        let mut body = limited();
        body.arrived(&message(100)).unwrap();
        body.arrived(&message(101)[..50]).unwrap();
    }

    #[test]
    fn the_memory_is_shared_and_given_back() {
        let budget = Budget::of(4 * UNIT_BYTES);
        let arriving = || Arriving::new((), budget.clone(), Duration::ZERO);
        let (mut first, mut second) = (arriving(), arriving());
        let large = message(10 * UNIT_BYTES);
        first.arrived(&large[..3 * UNIT_BYTES + PREFIX_BYTES]).unwrap();
        second.arrived(&large[..UNIT_BYTES + PREFIX_BYTES]).unwrap();
        let refusal = second.arrived(&large[..UNIT_BYTES]).unwrap_err();
        assert_eq!(refusal.code(), tonic::Code::Unavailable);
        drop(first);
        assert_eq!(budget.0.available_permits(), 3);
        second.arrived(&large[..2 * UNIT_BYTES]).unwrap();
        drop(second);
        assert_eq!(budget.0.available_permits(), 4);
        let mut third = arriving();
        third.arrived(&message(3 * UNIT_BYTES)[..2 * UNIT_BYTES]).unwrap();
        third.arrived(&message(3 * UNIT_BYTES)[2 * UNIT_BYTES..]).unwrap();
        assert_eq!(budget.0.available_permits(), 4, "a message that is whole is not arriving");
        third.arrived(&message(1)).unwrap();
        assert_eq!(budget.0.available_permits(), 4);
    }
}
