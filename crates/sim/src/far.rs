//! A log that is far: a service that other processes can reach too, behind a network that is late.
//!
//! For: groups that arrive late and answers that come out of pace, also when the process that sent them is dead and
//! another one has taken the log over. Not for: disks that fail (a log that is near has those), or deciding when
//! something arrives (the world does).
//! Invariant: groups arrive in the order in which they were sent, and the service takes those of its newest epoch only.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use consort_log::{Log, LogError, MemoryDisk, Record, Records, frame};
use consort_types::Seq;

use crate::{
    disk::{Control, SimLog},
    plan::InjectedBug,
};

/// A group on its way to the service.
#[derive(Debug)]
struct Flight {
    epoch: u64,
    group: Vec<Record>,
}

/// An answer on its way to the process.
#[derive(Debug)]
struct Answer {
    last: Seq,
    group: Vec<Record>,
}

/// The outcome of a group that has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It is durable, and an answer is on its way.
    Appended,
    /// Another process has taken the log over.
    Fenced,
}

/// The service. It outlives the processes that use it.
pub(crate) struct Service {
    log: Option<SimLog>,
    depth: usize,
    epoch: u64,
    flights: VecDeque<Flight>,
    answers: VecDeque<Answer>,
    /// Answers that have arrived at the process of the newest epoch, and that it has not looked at.
    arrived: VecDeque<Answer>,
    /// Groups that were sent and that the world has not seen.
    sent: usize,
    /// An injected bug: an old epoch is as good as the newest.
    accepts_old_epochs: bool,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

impl Service {
    fn new(depth: usize, accepts_old_epochs: bool) -> Self {
        Self {
            log: None,
            depth,
            epoch: 0,
            flights: VecDeque::new(),
            answers: VecDeque::new(),
            arrived: VecDeque::new(),
            sent: 0,
            accepts_old_epochs,
        }
    }

    /// A process opens the log: earlier ones are fenced. Returns its epoch. `start` starts the service where it does
    /// not run yet.
    fn take_over(&mut self, start: impl FnOnce() -> Result<SimLog, LogError>) -> Result<u64, LogError> {
        if self.log.is_none() {
            self.log = Some(start()?);
        }
        self.epoch += 1;
        self.answers.clear();
        self.arrived.clear();
        Ok(self.epoch)
    }

    fn log(&self) -> &SimLog {
        self.log.as_ref().expect("the service runs since the first opening")
    }

    /// Groups that were sent since the last call.
    pub(crate) fn take_sent(&mut self) -> usize {
        std::mem::take(&mut self.sent)
    }

    /// The first group on its way arrives.
    pub(crate) fn arrive(&mut self) -> Option<Arrival> {
        let Flight { epoch, group } = self.flights.pop_front()?;
        if epoch != self.epoch && !self.accepts_old_epochs {
            return Some(Arrival::Fenced);
        }
        let log = self.log.as_mut().expect("the service runs since the first opening");
        let last = log.append_silently(&group).expect("the disk of the service does not fail");
        if epoch == self.epoch {
            self.answers.push_back(Answer { last, group });
        }
        Some(Arrival::Appended)
    }

    /// The first answer on its way arrives at the process.
    pub(crate) fn answer(&mut self) {
        self.arrived.extend(self.answers.pop_front());
    }
}

/// A log that is far. Clones are the same log.
#[derive(Clone)]
pub(crate) struct Far {
    service: Arc<Mutex<Service>>,
}

impl Far {
    /// `depth`: how many groups may be in flight.
    pub(crate) fn new(depth: usize, injected: Option<InjectedBug>) -> Self {
        let accepts_old_epochs = injected == Some(InjectedBug::OldEpochAccepted);
        Self { service: Arc::new(Mutex::new(Service::new(depth, accepts_old_epochs))) }
    }

    pub(crate) fn service(&self) -> MutexGuard<'_, Service> {
        self.service.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A process takes the log over.
    pub(crate) fn open(&self, control: &Control, disk: &MemoryDisk, log_id: [u8; 16]) -> Result<FarLog, LogError> {
        let epoch = self.service().take_over(|| control.open(disk, log_id))?;
        let last = self.service().log().last();
        Ok(FarLog {
            control: control.clone(),
            far: self.clone(),
            epoch,
            submitted: last,
            durable: last,
            bytes_written: 0,
        })
    }
}

/// The log, as a process of one epoch sees it.
pub(crate) struct FarLog {
    control: Control,
    far: Far,
    epoch: u64,
    submitted: Seq,
    durable: Seq,
    bytes_written: u64,
}

impl FarLog {
    /// The service, unless another process has taken it over.
    fn own_service(&self) -> Result<MutexGuard<'_, Service>, LogError> {
        let service = self.far.service();
        if service.epoch == self.epoch {
            return Ok(service);
        }
        Err(LogError::Fenced { epoch: self.epoch, newest: service.epoch })
    }
}

impl Log for FarLog {
    fn append(&mut self, group: &[Record]) -> Result<Seq, LogError> {
        self.submit(group)?;
        self.wait()
    }

    fn submit(&mut self, group: &[Record]) -> Result<Seq, LogError> {
        let bytes = frame::check_group(group)?;
        let mut service = self.own_service()?;
        service.flights.push_back(Flight { epoch: self.epoch, group: group.to_vec() });
        service.sent += 1;
        drop(service);
        self.bytes_written += bytes;
        self.submitted = Seq(self.submitted.0 + group.len() as u64);
        Ok(self.submitted)
    }

    fn poll(&mut self) -> Result<Seq, LogError> {
        let arrived = std::mem::take(&mut self.own_service()?.arrived);
        for Answer { last, group } in arrived {
            self.durable = last;
            self.control.note_appended(group);
        }
        Ok(self.durable)
    }

    fn wait(&mut self) -> Result<Seq, LogError> {
        while self.poll()? < self.submitted {
            let mut service = self.own_service()?;
            service.arrive();
            service.answer();
        }
        Ok(self.durable)
    }

    fn depth(&self) -> usize {
        self.far.service().depth
    }

    fn epoch(&self) -> u64 {
        self.epoch
    }

    fn read(&self, from: Seq) -> Records<'_> {
        let records: Vec<_> = self.far.service().log().read(from).collect();
        Box::new(records.into_iter())
    }

    fn first(&self) -> Seq {
        self.far.service().log().first()
    }

    fn last(&self) -> Seq {
        self.durable
    }

    fn trim(&mut self, before: Seq) -> Result<(), LogError> {
        let mut service = self.own_service()?;
        service.log.as_mut().expect("the service runs since the first opening").trim(before)
    }

    fn bytes_written(&self) -> u64 {
        self.bytes_written
    }
}

#[cfg(test)]
mod tests {
    use consort_types::Time;

    use super::*;

    fn group(body: u8) -> Vec<Record> {
        vec![Record::new(Time(1), vec![body])]
    }

    #[test]
    fn a_far_log_keeps_every_promise_of_a_log() {
        consort_log::conformance::run(|| {
            let (disk, control, far) = (MemoryDisk::new(), Control::new(None), Far::new(3, None));
            move || far.open(&control, &disk, [7; 16]).map(|log| Box::new(log) as Box<dyn Log>)
        });
    }

    #[test]
    fn groups_of_a_dead_process_count_until_another_one_has_the_log() {
        let (disk, control, far) = (MemoryDisk::new(), Control::new(None), Far::new(3, None));
        let mut old = far.open(&control, &disk, [7; 16]).unwrap();
        for body in 1..4 {
            old.submit(&group(body)).unwrap();
        }
        assert_eq!(far.service().arrive(), Some(Arrival::Appended));
        assert_eq!(old.poll(), Ok(Seq::ZERO), "the answer is on its way");
        assert_eq!(far.service().arrive(), Some(Arrival::Appended));
        let mut new = far.open(&control, &disk, [7; 16]).unwrap();
        assert_eq!(new.last(), Seq(2));
        assert_eq!(far.service().arrive(), Some(Arrival::Fenced));
        assert!(matches!(old.poll(), Err(LogError::Fenced { epoch: 1, newest: 2 })));
        assert_eq!(new.append(&group(9)), Ok(Seq(3)));
    }
}
