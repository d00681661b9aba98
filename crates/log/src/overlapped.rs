//! A log that appends in a thread of its own, where the caller submits a group instead of appending it.
//!
//! For: the loop that owns a log which waits for a disk: while a group is synced, the loop applies the one before and
//! gathers the next. Not for: making an append faster (a group that nothing else waits for is best appended by
//! [`Log::append`], which wakes no thread), nor for logs that are far (those have no thread to give away).
//! Invariant: the log is in one place at a time, with its owner or with its thread, so its calls never overlap.

use std::{
    sync::mpsc::{self, TryRecvError},
    thread::JoinHandle,
};

use consort_types::Seq;

use crate::{Log, LogError, LogWaker, Record, Records, frame};

/// A group on its way, with the log that is to take it.
struct Job {
    log: Box<dyn Log>,
    group: Vec<Record>,
    waker: Option<LogWaker>,
}

/// The log again, with what the append came to.
type Done = (Box<dyn Log>, Result<Seq, LogError>);

struct Thread {
    jobs: mpsc::Sender<Job>,
    done: mpsc::Receiver<Done>,
    join: JoinHandle<()>,
}

/// A log of depth 1, whose [`Log::submit`] returns at once.
pub struct Overlapped {
    /// The log, while no group is in flight.
    log: Option<Box<dyn Log>>,
    /// Made at the first submission.
    thread: Option<Thread>,
    waker: Option<LogWaker>,
    /// What the log said of itself when it was last here.
    first: Seq,
    last: Seq,
    bytes_written: u64,
    epoch: u64,
    /// Up to where the log may forget once it is here.
    trim: Option<Seq>,
}

impl Overlapped {
    /// Gives the log a thread, which is started when it is first needed.
    pub fn new(log: Box<dyn Log>) -> Self {
        let (first, last, bytes_written, epoch) = (log.first(), log.last(), log.bytes_written(), log.epoch());
        Self { log: Some(log), thread: None, waker: None, first, last, bytes_written, epoch, trim: None }
    }

    fn thread(&mut self) -> Result<&Thread, LogError> {
        if self.thread.is_none() {
            let (jobs, todo) = mpsc::channel();
            let (report, done) = mpsc::channel();
            let body = move || work(&todo, &report);
            let join = std::thread::Builder::new().name("consort-log".to_owned()).spawn(body);
            let join = join.map_err(|error| LogError::io("the thread of the log", &error))?;
            self.thread = Some(Thread { jobs, done, join });
        }
        self.thread.as_ref().ok_or_else(lost)
    }

    fn back(&mut self, (log, appended): Done) -> Result<Seq, LogError> {
        (self.first, self.last, self.bytes_written) = (log.first(), log.last(), log.bytes_written());
        self.log = Some(log);
        let last = appended?;
        if let Some(before) = self.trim.take() {
            // It says nothing about the group, which is durable: what could not be removed now is tried again at the
            // next trim, and a log that was poisoned refuses the next append.
            drop(self.trim(before));
        }
        Ok(last)
    }

    fn receive(&mut self) -> Result<Seq, LogError> {
        let done = self.thread.as_ref().and_then(|thread| thread.done.recv().ok());
        done.map_or_else(|| Err(lost()), |done| self.back(done))
    }

    fn here(&mut self) -> Result<&mut Box<dyn Log>, LogError> {
        self.log.as_mut().ok_or_else(lost)
    }
}

/// The thread has panicked, and the log with it.
fn lost() -> LogError {
    LogError::Poisoned { why: "the thread of the log has ended".to_owned() }
}

fn work(todo: &mpsc::Receiver<Job>, report: &mpsc::Sender<Done>) {
    for Job { mut log, group, waker } in todo {
        let appended = log.append(&group);
        if report.send((log, appended)).is_err() {
            return;
        }
        if let Some(waker) = waker {
            waker();
        }
    }
}

impl Log for Overlapped {
    fn append(&mut self, group: &[Record]) -> Result<Seq, LogError> {
        let log = self.here()?;
        let appended = log.append(group);
        let (first, last, bytes_written) = (log.first(), log.last(), log.bytes_written());
        (self.first, self.last, self.bytes_written) = (first, last, bytes_written);
        appended
    }

    fn submit(&mut self, group: &[Record]) -> Result<Seq, LogError> {
        assert!(self.log.is_some(), "one group is in flight at most");
        // What would be refused is refused here, while nothing depends on it.
        frame::check_group(group)?;
        self.thread()?;
        let (Some(log), Some(thread)) = (self.log.take(), &self.thread) else { return Err(lost()) };
        let last = Seq(log.last().0 + group.len() as u64);
        let job = Job { log, group: group.to_vec(), waker: self.waker.clone() };
        thread.jobs.send(job).map_err(|_| lost())?;
        Ok(last)
    }

    fn poll(&mut self) -> Result<Seq, LogError> {
        if self.log.is_some() {
            return Ok(self.last);
        }
        match self.thread.as_ref().map(|thread| thread.done.try_recv()) {
            Some(Ok(done)) => self.back(done),
            Some(Err(TryRecvError::Empty)) => Ok(self.last),
            Some(Err(TryRecvError::Disconnected)) | None => Err(lost()),
        }
    }

    fn wait(&mut self) -> Result<Seq, LogError> {
        if self.log.is_some() { Ok(self.last) } else { self.receive() }
    }

    fn set_waker(&mut self, waker: LogWaker) {
        self.waker = Some(waker);
    }

    fn epoch(&self) -> u64 {
        self.epoch
    }

    /// While a group is in flight there is nothing to read: the log is with its thread.
    fn read(&self, from: Seq) -> Records<'_> {
        match &self.log {
            Some(log) => log.read(from),
            None => Box::new(std::iter::once(Err(LogError::Io {
                place: "the log".to_owned(),
                what: "a group is in flight".to_owned(),
            }))),
        }
    }

    fn first(&self) -> Seq {
        self.first
    }

    fn last(&self) -> Seq {
        self.last
    }

    fn trim(&mut self, before: Seq) -> Result<(), LogError> {
        let Some(log) = &mut self.log else {
            self.trim = self.trim.max(Some(before));
            return Ok(());
        };
        let trimmed = log.trim(before);
        self.first = log.first();
        trimmed
    }

    fn bytes_written(&self) -> u64 {
        self.bytes_written
    }
}

impl Drop for Overlapped {
    fn drop(&mut self) {
        if self.log.is_none() {
            // The append of a group in flight is finished, so that the next opening of the log finds the group whole.
            let _ = self.receive();
        }
        if let Some(Thread { jobs, done, join }) = self.thread.take() {
            drop((jobs, done));
            // A panic of the thread was printed, and was reported as an append whose outcome is unknown.
            let _ = join.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use consort_types::Time;

    use super::*;
    use crate::{MemoryLogDisk, conformance};

    fn group(n: u8) -> Vec<Record> {
        vec![Record::new(Time(1), vec![n]), Record::new(Time(1), vec![n])]
    }

    #[test]
    fn it_keeps_every_promise_of_a_log() {
        conformance::run(|| {
            let disk = MemoryLogDisk::new();
            move || disk.open().map(|log| Box::new(Overlapped::new(Box::new(log))) as Box<dyn Log>)
        });
    }

    #[test]
    fn a_group_is_appended_by_the_thread_and_the_waker_says_so() {
        let disk = MemoryLogDisk::new();
        let mut log = Overlapped::new(Box::new(disk.open().unwrap()));
        let (woken, wakes) = mpsc::channel();
        log.set_waker(std::sync::Arc::new(move || woken.send(()).unwrap()));
        for round in 1..4 {
            assert_eq!(log.submit(&group(1)), Ok(Seq(round * 2)));
            log.trim(Seq(round)).unwrap();
            wakes.recv().unwrap();
            assert_eq!(log.poll(), Ok(Seq(round * 2)));
            assert_eq!((log.first(), log.last()), (Seq(round), Seq(round * 2)), "what was to be trimmed meanwhile is");
        }
        assert_eq!(log.append(&group(2)), Ok(Seq(8)));
        log.submit(&group(3)).unwrap();
        drop(log);
        assert_eq!(disk.open().unwrap().last(), Seq(10), "what was in flight is finished");
    }

    /// A log whose segments cannot be removed.
    struct Kept(crate::MemoryLog);

    impl Log for Kept {
        fn append(&mut self, group: &[Record]) -> Result<Seq, LogError> {
            self.0.append(group)
        }

        fn epoch(&self) -> u64 {
            self.0.epoch()
        }

        fn read(&self, from: Seq) -> Records<'_> {
            self.0.read(from)
        }

        fn first(&self) -> Seq {
            self.0.first()
        }

        fn last(&self) -> Seq {
            self.0.last()
        }

        fn trim(&mut self, _: Seq) -> Result<(), LogError> {
            Err(LogError::Io { place: "memory".to_owned(), what: "it cannot be removed".to_owned() })
        }

        fn bytes_written(&self) -> u64 {
            self.0.bytes_written()
        }
    }

    #[test]
    fn a_trim_that_fails_behind_an_append_does_not_make_the_append_fail() {
        let mut log = Overlapped::new(Box::new(Kept(MemoryLogDisk::new().open().unwrap())));
        assert_eq!(log.submit(&group(1)), Ok(Seq(2)));
        assert_eq!(log.trim(Seq(2)), Ok(()), "it is done when the log is back");
        assert_eq!(log.wait(), Ok(Seq(2)), "the group is durable");
        assert_eq!((log.first(), log.last()), (Seq(1), Seq(2)));
        assert!(matches!(log.trim(Seq(2)), Err(LogError::Io { .. })), "the next trim tries again, and says so");
    }

    #[test]
    fn a_failure_comes_out_once_and_stays() {
        let disk = MemoryLogDisk::new();
        let mut log = Overlapped::new(Box::new(disk.open().unwrap()));
        disk.fail_append(1);
        log.submit(&group(1)).unwrap();
        assert!(matches!(log.wait(), Err(LogError::Poisoned { .. })));
        assert_eq!(log.poll(), Ok(Seq::ZERO));
        log.submit(&group(1)).unwrap();
        assert!(matches!(log.wait(), Err(LogError::Poisoned { .. })));
    }
}
