//! Pages of changes that the followers of a topic share.
//!
//! For: followers at the same place, as all are that keep up: one reads, and the others are given what it read. Not for:
//! what is on a page (its reader says).
//! Invariant: a page is what follows a position, which is the same for every follower and never changes; it says up to
//! which revision of its topic it was read, so a follower knows whether there may be more.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use consort_types::{Position, Result};
use tokio::sync::OnceCell;

/// Pages that are kept for followers that come to them a little later.
const PAGES_MAX: usize = 4;
/// Bytes of a page that is kept.
const PAGE_BYTES_MAX: usize = 128 * 1024;

/// What follows a position.
#[derive(Debug)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    /// The last position that was looked at: the next page begins behind it.
    pub(crate) seen: Position,
    /// Whether it ends before what there was.
    pub(crate) more: bool,
    /// The revision that the topic had when the page was read.
    pub(crate) revision: u64,
    /// Roughly, the bytes of its items.
    pub(crate) bytes: usize,
}

type Shared<T> = Arc<OnceCell<Arc<Page<T>>>>;

/// The last pages of a topic.
pub(crate) struct Pages<T> {
    recent: Mutex<VecDeque<(Position, Shared<T>)>>,
}

impl<T> Default for Pages<T> {
    fn default() -> Self {
        Self { recent: Mutex::default() }
    }
}

impl<T> Pages<T> {
    fn recent(&self) -> MutexGuard<'_, VecDeque<(Position, Shared<T>)>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The place of the page behind a position.
    fn place(&self, after: Position) -> Shared<T> {
        let mut recent = self.recent();
        if let Some((_, page)) = recent.iter().find(|(behind, _)| *behind == after) {
            return Arc::clone(page);
        }
        let page = Shared::default();
        recent.push_back((after, Arc::clone(&page)));
        if recent.len() > PAGES_MAX {
            recent.pop_front();
        }
        page
    }

    /// The page behind a position: one that is there, one that another follower is reading, or what `read` gives.
    ///
    /// # Errors
    /// Those of `read`; a follower that waited for another one reads by itself then.
    pub(crate) async fn behind(
        &self,
        after: Position,
        read: impl Future<Output = Result<Page<T>>>,
    ) -> Result<Arc<Page<T>>> {
        let place = self.place(after);
        let page = place.get_or_try_init(|| async { read.await.map(Arc::new) }).await?;
        // What is behind the last change comes to be there; and few followers are worth much memory.
        if page.items.is_empty() || page.bytes > PAGE_BYTES_MAX {
            self.recent().retain(|(_, other)| !Arc::ptr_eq(other, &place));
        }
        Ok(Arc::clone(page))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use consort_types::{Code, Error, Seq};
    use futures::future::join_all;

    use super::*;

    fn at(seq: u64) -> Position {
        Position { seq: Seq(seq), n: 0 }
    }

    fn page(items: Vec<u64>, bytes: usize) -> Page<u64> {
        let seen = at(items.last().copied().unwrap_or_default());
        Page { items, seen, more: false, revision: 7, bytes }
    }

    #[tokio::test]
    async fn followers_at_one_place_share_one_read() {
        let (pages, reads) = (Pages::default(), AtomicUsize::new(0));
        let follower = || {
            pages.behind(at(1), async {
                reads.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                Ok(page(vec![2, 3], 10))
            })
        };
        let read = join_all((0..9).map(|_| follower())).await;
        assert!(read.iter().all(|page| page.as_ref().unwrap().items == [2, 3]));
        assert_eq!(follower().await.unwrap().revision, 7);
        assert_eq!(reads.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn what_may_grow_or_is_large_is_read_again() {
        let pages = Pages::default();
        for (items, bytes) in [(vec![], 0), (vec![2], PAGE_BYTES_MAX + 1), (vec![2, 3], 1)] {
            let wanted = items.clone();
            let read = pages.behind(at(1), async { Ok(page(items, bytes)) }).await.unwrap();
            assert_eq!(read.items, wanted);
        }
        assert_eq!(pages.recent().len(), 1);
        for n in 2..20 {
            pages.behind(at(n), async { Ok(page(vec![n + 1], 1)) }).await.unwrap();
        }
        assert_eq!(pages.recent().len(), PAGES_MAX);
    }

    #[tokio::test]
    async fn a_read_that_fails_is_not_shared() {
        let pages = Pages::default();
        let refused = Error::new(Code::VersionGone, "it is gone");
        let first = pages.behind(at(1), async { Err(refused) });
        let second = pages.behind(at(1), async { Ok(page(vec![2], 1)) });
        let (first, second) = futures::future::join(first, second).await;
        assert_eq!(first.unwrap_err().code, Code::VersionGone);
        assert_eq!(second.unwrap().items, [2]);
    }
}
