//! `ArriveBarrier`: a member comes to a barrier; the last one releases all.
//!
//! For: the command, its rule, and what happens to a generation that does not fill. Not for: waiting for the others (the
//! engine does).
//! Invariant: a generation ends once, by its last member or by its time; each member counts once in it.

use consort_types::{Code, Error, Result, Span, Time, bounds::check_count, limits};
use minicbor::{Decode, Encode};

use super::{
    check_holder, check_names, check_ttl,
    keys::MemberKey,
    rows::{Arrival, Barrier, Generation, Ticket},
    ticket,
};
use crate::{
    context::ApplyContext,
    effect::{Coordinated, Effect},
    key::NamedKey,
    state::missing,
};

/// Comes to a barrier.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct ArriveBarrier {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The barrier.
    #[n(1)]
    pub name: String,
    /// How many members it waits for.
    #[n(2)]
    pub parties: u32,
    /// The id that the member has given itself.
    #[n(3)]
    pub member: String,
    /// The generation that it comes to; `None`: the current one.
    #[n(4)]
    pub generation: Option<u64>,
    /// How long the generation may take to fill, from its first member on.
    #[n(5)]
    pub ttl: Span,
}

/// The state of a barrier, for a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BarrierState {
    /// The generation.
    pub generation: u64,
    /// Whether it was released.
    pub released: bool,
    /// How many have come to it.
    pub arrived: u32,
    /// How many it waits for.
    pub parties: u32,
}

impl ArriveBarrier {
    /// As [`Command::check`](crate::Command::check).
    pub fn check(&self) -> Result<()> {
        check_names(&self.namespace, "barrier", &self.name)?;
        check_holder("member", &self.member)?;
        check_ttl(self.ttl)?;
        if self.parties == 0 {
            return Err(Error::new(Code::BadRequest, "a barrier of `0` parties has no member to release")
                .hint("give the number of members that it waits for"));
        }
        check_count("parties", self.parties as usize, limits::LOCK_BARRIER_PARTIES_MAX as usize)
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<BarrierState> {
        let key = NamedKey::of(&self.namespace, &self.name);
        let known = ctx.state.tables.barriers.get(&key)?;
        let generation = known.as_ref().map_or(1, |barrier| barrier.generation);
        if let Some(asked) = self.generation.filter(|asked| *asked != generation) {
            return outcome(&self.name, known.as_ref(), asked, self.parties);
        }
        match known {
            Some(barrier) if barrier.arrived > 0 => {
                if barrier.parties != self.parties {
                    return Err(other_parties(&self.name, &barrier, self.parties));
                }
                let member = MemberKey::of(&key, &self.member);
                if ctx.state.tables.barrier_arrivals.get(&member)?.is_some() {
                    return Ok(open(&barrier));
                }
                self.come(ctx, &key, barrier)
            }
            Some(mut barrier) => {
                ticket::disarm(ctx, barrier.ticket, barrier.due);
                self.begin(ctx, &mut barrier);
                self.come(ctx, &key, barrier)
            }
            None => {
                ticket::check_count(ctx, &self.namespace, "barriers", |counts| counts.barriers)?;
                ticket::count(ctx, &self.namespace, |counts| counts.barriers += 1)?;
                let what = Ticket::Barrier { namespace: self.namespace.clone(), name: self.name.clone() };
                let ticket = ticket::issue(ctx, what);
                let mut barrier = Barrier {
                    generation: 1,
                    parties: self.parties,
                    arrived: 0,
                    ticket,
                    due: ctx.now,
                    over: Vec::new(),
                };
                self.begin(ctx, &mut barrier);
                self.come(ctx, &key, barrier)
            }
        }
    }

    /// The first member of a generation says how many it waits for, and how long.
    fn begin(&self, ctx: &mut ApplyContext<'_>, barrier: &mut Barrier) {
        (barrier.parties, barrier.due) = (self.parties, ctx.now.after(self.ttl));
        ticket::arm(ctx, barrier.ticket, barrier.due);
    }

    fn come(&self, ctx: &mut ApplyContext<'_>, key: &NamedKey, mut barrier: Barrier) -> Result<BarrierState> {
        ctx.state.tables.barrier_arrivals.put(MemberKey::of(key, &self.member), Arrival { at: ctx.now });
        barrier.arrived += 1;
        let mut state = open(&barrier);
        if barrier.arrived == barrier.parties {
            state.released = true;
            ticket::disarm(ctx, barrier.ticket, barrier.due);
            next_generation(ctx, key, &mut barrier, true)?;
        }
        put(ctx, key, barrier);
        Ok(state)
    }
}

fn open(barrier: &Barrier) -> BarrierState {
    let Barrier { generation, arrived, parties, .. } = *barrier;
    BarrierState { generation, released: false, arrived, parties }
}

fn put(ctx: &mut ApplyContext<'_>, key: &NamedKey, barrier: Barrier) {
    ctx.state.tables.barriers.put(key.clone(), barrier);
    let of = Coordinated::Barrier { namespace: key.namespace.clone(), name: key.name.clone() };
    ctx.effect(Effect::Coordinated { of, seq: ctx.seq });
}

/// Ends the generation: its members are forgotten, and the next one waits for its first.
fn next_generation(ctx: &mut ApplyContext<'_>, key: &NamedKey, barrier: &mut Barrier, released: bool) -> Result<()> {
    let (from, to) = (MemberKey::of(key, ""), MemberKey::last(key));
    for (member, _) in ctx.state.tables.barrier_arrivals.range(&from, &to, barrier.arrived as usize)? {
        ctx.state.tables.barrier_arrivals.delete(&member);
        ctx.charge(1);
    }
    barrier.over.push(Generation { number: barrier.generation, released, at: ctx.now });
    let surplus = barrier.over.len().saturating_sub(limits::LOCK_BARRIER_GENERATIONS_KEPT_MAX);
    barrier.over.drain(..surplus);
    barrier.generation += 1;
    barrier.arrived = 0;
    barrier.due = ctx.now.after(Span::from_secs(limits::LOCK_IDLE_SECONDS));
    ticket::arm(ctx, barrier.ticket, barrier.due);
    Ok(())
}

/// The generation did not fill in time, or no member has come for long.
pub(super) fn barrier_due(ctx: &mut ApplyContext<'_>, key: &NamedKey, due: Time) -> Result<()> {
    let known = ctx.state.tables.barriers.get(key)?;
    let mut barrier = known.ok_or_else(|| missing("barrier", &key.name))?;
    if barrier.due != due {
        return Ok(());
    }
    if barrier.arrived > 0 {
        next_generation(ctx, key, &mut barrier, false)?;
        put(ctx, key, barrier);
        return Ok(());
    }
    ctx.state.tables.tickets.delete(&barrier.ticket);
    ctx.state.tables.barriers.delete(key);
    ticket::count(ctx, &key.namespace, |counts| counts.barriers -= 1)
}

/// The outcome of a generation that is not the current one.
pub(super) fn outcome(name: &str, barrier: Option<&Barrier>, asked: u64, parties: u32) -> Result<BarrierState> {
    let over = barrier.and_then(|barrier| barrier.over.iter().find(|generation| generation.number == asked));
    match over {
        Some(over) if over.released => {
            Ok(BarrierState { generation: asked, released: true, arrived: parties, parties })
        }
        Some(_) => Err(expired(name, asked)),
        None => {
            let current = barrier.map_or(1, |barrier| barrier.generation);
            let message = format!("barrier `{name}` is at generation `{current}` and knows nothing of `{asked}`");
            Err(Error::new(Code::BarrierMismatch, message)
                .hint("a generation begins when the one before is over; leave it out to come to the current one"))
        }
    }
}

fn expired(name: &str, generation: u64) -> Error {
    Error::new(Code::BarrierExpired, format!("generation `{generation}` of barrier `{name}` did not fill in its time"))
        .hint("come again: that begins the next generation")
}

fn other_parties(name: &str, barrier: &Barrier, asked: u32) -> Error {
    let (generation, parties) = (barrier.generation, barrier.parties);
    let message = format!("generation `{generation}` of barrier `{name}` waits for `{parties}` parties, not `{asked}`");
    Error::new(Code::BarrierMismatch, message).hint("all members of a generation must name the same number")
}
