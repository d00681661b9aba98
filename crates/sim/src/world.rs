//! The world: one queue of events on virtual time, and the actors that they are for.
//!
//! For: making a world from a plan, and delivering its events. Not for: what an actor does (see `actors`).
//! Invariant: events happen in the order of their time, then of their insertion; what an actor posts happens before
//! the next of them. Nothing else decides an order.

use consort_types::Result;

use crate::{
    actors::{
        approver,
        bus::{self, Bus},
        candidate, chaos, door,
        fleet::{self, Fleet},
        judge::Judge,
        liar,
        operator::Operator,
        process::{self, Process},
        registers::Registers,
        registrar,
        scheduler::Scheduler,
        sharer::Sharer,
        starter::{self, Starter},
        voters::Voters,
    },
    clock::SECOND,
    context::Context,
    event::Event,
    plan::{Checked, Faults, Figures, Plan},
    random::Random,
    verdict, workflows,
};

/// What actors share, and the actors.
pub(crate) struct World {
    ctx: Context,
    process: Process,
    fleet: Fleet,
    starter: Starter,
    operator: Operator,
    sharer: Sharer,
    registers: Registers,
    voters: Voters,
    bus: Bus,
    scheduler: Scheduler,
    judge: Judge,
}

impl World {
    pub(crate) fn new(plan: &Plan) -> Result<Self> {
        let mut random = Random::new(plan.seed);
        let faults = Faults::draw(&mut random, plan.injected);
        let count = random.between(3, 6) as usize;
        let mut workflows = workflows::pool(&mut random, count);
        workflows.push(workflows::long());
        let mut ctx = Context::new(plan, random, faults, &workflows)?;
        let (roster, fleet) = fleet::spawn_workers(&mut ctx.random);
        ctx.roster = roster;
        let (process, starter, bus) = (Process::new(), Starter::new(workflows), Bus::new(&mut ctx.random));
        let scheduler = Scheduler::new(&mut ctx.random);
        let mut world = Self {
            ctx,
            process,
            fleet,
            starter,
            operator: Operator::default(),
            bus,
            scheduler,
            sharer: Sharer::default(),
            registers: Registers::default(),
            voters: Voters::new(plan.seed),
            judge: Judge::default(),
        };
        world.begin();
        Ok(world)
    }

    fn begin(&mut self) {
        let ctx = &mut self.ctx;
        ctx.at(0, Event::Open);
        self.fleet.begin(ctx);
        ctx.at(10, Event::Start);
        ctx.at(20, Event::Bus);
        ctx.at(30, Event::Schedule);
        ctx.at(5 * SECOND, Event::Approve);
        ctx.at(2 * SECOND, Event::Share);
        ctx.at(3 * SECOND, Event::Access);
        ctx.at(4 * SECOND, Event::Campaign);
        ctx.at(3 * SECOND, Event::Lie);
        ctx.at(SECOND, Event::Vote);
        let fault = ctx.random.span(SECOND, ctx.faults.pause);
        ctx.at(fault, Event::Fault);
        let quiescence = ctx.random.between(60, 400) * SECOND;
        ctx.at(quiescence, Event::Quiesce);
    }

    pub(crate) fn run(&mut self) -> Checked {
        while let Some(event) = self.ctx.next_event() {
            self.note(&event);
            self.dispatch(event)?;
            if self.ctx.over {
                break;
            }
        }
        self.ctx.figures.micros = self.ctx.now;
        self.ctx.figures.records = self.ctx.fold.history.len() as u64;
        self.ctx.figures.steps = self.ctx.fold.steps;
        Ok(())
    }

    fn note(&mut self, event: &Event) {
        let now = self.ctx.now;
        match event.brief() {
            // Most rounds of the loop are no longer due when their time comes.
            _ if matches!(event, Event::Loop) => {}
            Some(brief) => self.ctx.trace.note_brief(now, format_args!("{brief}"), format_args!("{event:?}")),
            None => self.ctx.trace.note(now, format_args!("{event:?}")),
        }
    }

    /// Gives an event to its actor, and then what the actor has posted, depth first.
    fn dispatch(&mut self, event: Event) -> Checked {
        self.deliver(event)?;
        for posted in self.ctx.take_posted() {
            self.dispatch(posted)?;
        }
        Ok(())
    }

    fn deliver(&mut self, event: Event) -> Checked {
        let (ctx, process, fleet) = (&mut self.ctx, &mut self.process, &mut self.fleet);
        match event {
            Event::Loop => process.run_loop(ctx),
            Event::Deliver(outputs) => process::deliver(ctx, *outputs),
            Event::Delivered { unused, dropped } => process.delivered(ctx, unused, dropped),
            Event::CutOff => process.cut_off(ctx),
            Event::Flush => process.flush(ctx),
            Event::Write => process.write(ctx),
            Event::Sync => process.sync(ctx),
            Event::LogArrival => process::log_arrival(ctx),
            Event::LogAnswer => process::log_answer(ctx),
            Event::Open => process.open(ctx),
            Event::Crash { end, why } => process.crash(ctx, end, why),
            Event::DiskFault(fault) => process.disk_fault(ctx, fault),
            Event::Request(request) => door::request(ctx, *request),
            Event::Report { session, report } => door::report(ctx, session, report),
            Event::Detach { session } => door::detach(ctx, session),
            Event::Reply { ticket, reply } => door::reply(ctx, ticket, *reply),
            Event::Send { remote, messages } => door::send(ctx, remote, messages),
            Event::Receive { session, messages } => fleet.receive(ctx, session, messages),
            Event::Connect { instance } => fleet.worker(instance).connect(ctx),
            Event::Registered { instance } => fleet.worker(instance).attach(ctx),
            Event::Broken { session } => fleet.broken(ctx, session),
            Event::Work { instance, task, token } => fleet.worker(instance).work(ctx, task, token),
            Event::Zombie { instance, report } => fleet.worker(instance).zombie(ctx, report),
            Event::Beat { instance } => fleet.worker(instance).beat(ctx),
            Event::Misbehave { instance, how } => fleet.worker(instance).misbehave(ctx, how),
            Event::LeasesExpire => fleet.expire_leases(ctx),
            Event::Heal => fleet.heal(ctx),
            Event::Start => self.starter.step(ctx),
            Event::Deployed { namespace, workflow } => self.starter.deployed(namespace, workflow),
            Event::Started { index, run } => starter::started(ctx, index, run),
            Event::Bus => self.bus.step(ctx),
            Event::Published { index, published } => self.bus.published(index, &published),
            Event::Fetched { namespace, subscription, fetched } => bus::fetched(ctx, namespace, subscription, &fetched),
            Event::Schedule => self.scheduler.step(ctx),
            Event::Operate => self.operator.step(ctx),
            Event::Register => registrar::step(ctx),
            Event::Approve => approver::step(ctx),
            Event::Share => self.sharer.step(ctx),
            Event::Access => self.registers.step(ctx),
            Event::Accessed { number, answer } => self.registers.answered(ctx, number, &answer),
            Event::Campaign => candidate::step(ctx),
            Event::Vote => self.voters.step(ctx),
            Event::Lie => liar::step(ctx),
            Event::Fault => chaos::step(ctx),
            Event::ClockLeap => chaos::leap(ctx),
            Event::Quiesce => {
                let started = self.starter.is_settled(ctx) && self.bus.is_settled(ctx);
                let started = (!ctx.is_quiescent() || Scheduler::is_settled(ctx)) && started;
                self.judge.step(ctx, started)
            }
            Event::Finish => {
                self.registers.finish()?;
                verdict::finish(ctx, &fleet.held())
            }
        }
    }

    /// The trace's hash and the figures so far.
    pub(crate) fn into_outcome(self) -> ([u8; 32], Figures) {
        (self.ctx.trace.hash(), self.ctx.figures)
    }
}
