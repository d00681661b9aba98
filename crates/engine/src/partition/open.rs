//! Recovery: from a store and a log to a partition.
//!
//! For: replaying the tail of the log, and rebuilding the dispatcher. Not for: opening files (the adapters do).
//! Invariant: after recovery the state is the fold of every record of the log but those that were refused (law 4).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use consort_core::{LiveTask, Machine};
use consort_dispatch::Dispatcher;
use consort_log::Log;
use consort_store::{Blobs, Store};
use consort_types::{Locality, Result, RunId, Seq, Time};

use super::{
    Counters, Outputs, Partition, deferred::DeferredRecords, effects::EffectClasses, group::Group, live::LiveProgress,
    pipeline::Pipeline, positions, refusal,
};
use crate::{Config, Parts, backing::StoreBacking, clock::first_time, observer::Observed, write_rows};

/// Tasks that recovery looks at at once.
const PAGE: usize = 1_024;

impl Partition {
    /// Recovers a partition: replays what the store does not reflect yet, and restores every task that is not over.
    ///
    /// `incarnation` must differ between any two starts of a process on the same log; it tells instances of this start
    /// from those of earlier ones. `wall` is the wall clock; [`Partition::clock`] then says where log time begins.
    pub fn open(parts: Parts, config: Config, incarnation: u64, wall: Time) -> Result<Self> {
        let Parts { log, store, blobs } = parts;
        let applied = store.applied()?;
        positions::check(&*log, applied)?;
        let backing = Arc::new(StoreBacking::new(Arc::clone(&store), Arc::clone(&blobs)));
        let mut machine = Machine::open(backing, applied)?;
        replay(&*log, &mut machine, &*store, &*blobs, config.flush_rows)?;
        assert_eq!(machine.applied(), log.last(), "recovery applies every record");
        let recovered = machine.applied();
        let last = (recovered > Seq::ZERO).then(|| machine.now());
        let clock = first_time(wall, last);
        let counters = Counters { log_bytes_before: log.bytes_written(), ..Counters::default() };
        let mut partition = Self {
            written: machine.applied(),
            pipeline: Pipeline::new(log),
            machine,
            dispatcher: Dispatcher::new(),
            config,
            start: incarnation,
            recovered,
            group: Group::default(),
            observed: Observed::default(),
            deferred: DeferredRecords::default(),
            live: LiveProgress::default(),
            effects: EffectClasses::default(),
            clock,
            outputs: Outputs::default(),
            outbox: BTreeMap::new(),
            overrun: BTreeSet::new(),
            changed: BTreeMap::new(),
            events_changed: BTreeMap::new(),
            halted: None,
            retry_at: None,
            ticking: false,
            notes_time: false,
            applying: None,
            refused: Vec::new(),
            counters,
        };
        partition.rebuild()?;
        Ok(partition)
    }

    /// Restores what operators have set, and every task that is not over.
    fn rebuild(&mut self) -> Result<()> {
        self.refused = self.machine.refused_records()?;
        for (namespace, name, version, state) in self.machine.registry().agent_states()? {
            self.dispatcher.set_agent_state(&namespace, &name, &version, Some(state));
        }
        for (namespace, scope, limit) in self.machine.registry().limits()? {
            self.dispatcher.set_limit(&namespace, &scope, limit, self.clock);
        }
        let (mut after, mut run) = (None, None);
        loop {
            let (page, next) = self.machine.live_tasks(after, PAGE)?;
            for live in page {
                let (LiveTask::Ready(task) | LiveTask::Taken { task, .. }) = &live;
                self.restore_run(task.task.run, &mut run)?;
                self.restore(live);
            }
            match next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    fn restore_run(&mut self, run: RunId, seen: &mut Option<RunId>) -> Result<()> {
        if *seen != Some(run) {
            *seen = Some(run);
            let held = self.machine.is_held(run)?;
            self.dispatcher.hold(run, held);
        }
        Ok(())
    }

    fn restore(&mut self, live: LiveTask) {
        match live {
            LiveTask::Ready(task) => self.dispatcher.ready(task),
            LiveTask::Taken { task, instance, .. } => {
                // A local instance has ended with its process; a remote one may reconnect.
                let until = match instance.locality {
                    Locality::Local => self.clock,
                    Locality::Remote => self.clock.after(self.config.grace),
                };
                self.dispatcher.restore(task, instance, until);
            }
        }
    }
}

/// Applies what the store does not reflect yet; writes rows back as it goes, so memory stays bounded.
fn replay(log: &dyn Log, machine: &mut Machine, store: &dyn Store, blobs: &dyn Blobs, flush_rows: usize) -> Result<()> {
    let from = machine.applied().next();
    if from > log.last() {
        return Ok(());
    }
    let refused = refusal::refused(log, from)?;
    for item in log.read(from) {
        let (seq, record) = item?;
        if refused.contains(&seq) {
            machine.refuse(seq, record.time);
        } else {
            refusal::fold(machine, seq, &record)?;
        }
        if machine.changed() >= flush_rows {
            flush(machine, store, blobs)?;
        }
    }
    flush(machine, store, blobs)
}

fn flush(machine: &mut Machine, store: &dyn Store, blobs: &dyn Blobs) -> Result<()> {
    let taken = machine.take();
    let generation = taken.generation;
    write_rows(store, blobs, taken)?;
    machine.written(generation);
    Ok(())
}
