//! Sharers: clients that read, write and follow shared state.
//!
//! For: writes of every policy, with and without the version that was seen, transactions, values that expire, decisions,
//! and watchers that resume. Not for: what a write comes to (see `oracle::space`).
//! Invariant: what a watcher has read between two starts of its watch is every change of the space in that time, each once
//! and in order.

use consort_core::{
    Command,
    command::{Choice, DecideConflict, DeleteSpace, SetSpace, Transact},
    rows::PrefixMerge,
    view::SharedState,
};
use consort_types::{
    Code, Payload, Seq, Span,
    state::{
        Action, Check, Condition, MergePolicy, Operation, Position, PrefixPolicy, SpaceId, SpaceSettings, Transaction,
        Writer,
    },
};
use consort_workflow_check::merge_expression;

use crate::{
    clock::SECOND,
    context::Context,
    event::Event,
    plan::{Checked, Violation},
    requests::Purpose,
    roster::NAMESPACES,
};

/// Spaces of each namespace.
const SPACES: [&str; 2] = ["plans", "counts"];
/// Kinds of keys, each with its policy.
const KINDS: [(&str, MergePolicy); 9] = [
    ("n/", MergePolicy::Counter),
    ("s/", MergePolicy::Set),
    ("m/", MergePolicy::Map),
    ("l/", MergePolicy::LastWriterWins),
    ("a/", MergePolicy::Agent),
    ("r/", MergePolicy::Reject),
    ("e/", MergePolicy::Expression),
    ("t/", MergePolicy::Text),
    ("o/", MergePolicy::List),
];
/// Changes that a watcher reads at once.
const PAGE: usize = 7;

/// A watcher of a space.
#[derive(Debug)]
struct Watcher {
    namespace: usize,
    space: &'static str,
    /// The space that it follows, from where, and how far it has come.
    follows: Option<(SpaceId, Position, Position)>,
    read: Vec<Position>,
}

/// The clients.
#[derive(Debug)]
pub(crate) struct Sharer {
    watchers: Vec<Watcher>,
}

impl Default for Sharer {
    fn default() -> Self {
        let of = |namespace| SPACES.map(|space| Watcher { namespace, space, follows: None, read: Vec::new() });
        Self { watchers: (0..NAMESPACES.len()).flat_map(of).collect() }
    }
}

impl Sharer {
    pub(crate) fn step(&mut self, ctx: &mut Context) -> Checked {
        let pause = ctx.random.span(SECOND / 2, 20 * SECOND);
        ctx.at(pause, Event::Share);
        for watcher in &mut self.watchers {
            watcher.follow(ctx)?;
        }
        if !ctx.is_quiescent() {
            for _ in 0..ctx.random.between(1, 4) {
                act(ctx);
            }
        }
        Ok(())
    }
}

impl Watcher {
    /// Reads what has changed; a process that is dead is asked again later.
    fn follow(&mut self, ctx: &mut Context) -> Checked {
        let Some(machine) = ctx.host.partition.as_mut().and_then(|partition| partition.machine().ok()) else {
            return Ok(());
        };
        let namespace = NAMESPACES[self.namespace];
        let Ok(space) = SharedState::of(machine).space(namespace, self.space) else {
            self.follows = None;
            return Ok(());
        };
        let (id, _, cursor) = match self.follows {
            Some(follows) if follows.0 == space.space.id => follows,
            _ => {
                self.read.clear();
                *self.follows.insert((space.space.id, space.space.last, space.space.last))
            }
        };
        match SharedState::of(machine).changes(namespace, self.space, "", Some(cursor), PAGE) {
            Ok(page) => self.took(ctx, id, page.items.iter().map(|item| item.at).collect(), page.seen),
            // It was too slow: it starts again from what there is.
            Err(error) if error.code == Code::VersionGone => {
                self.follows = None;
                Ok(())
            }
            Err(error) if error.code == Code::Disk => Ok(()),
            Err(error) => Err(Violation::of(9, format!("a watcher is refused: {error}"))),
        }
    }

    fn took(&mut self, ctx: &Context, id: SpaceId, read: Vec<Position>, seen: Position) -> Checked {
        self.read.extend(read);
        let Some((_, from, cursor)) = &mut self.follows else { return Ok(()) };
        *cursor = seen;
        let expected = ctx.fold.spaces.between(id, *from, seen);
        // The process may have applied records that are not folded here yet; never others.
        if !self.read.starts_with(&expected) || self.read.last().is_some_and(|last| *last > seen) {
            let what = format!("a watcher from {from} on has read {:?}, there were {expected:?}", self.read);
            return Err(Violation::of(9, what));
        }
        Ok(())
    }
}

/// Something is written, set, decided or deleted.
fn act(ctx: &mut Context) {
    let namespace = NAMESPACES[ctx.random.below(2) as usize].to_owned();
    let space = SPACES[ctx.random.below(2) as usize].to_owned();
    let by = Writer::client(Some("ann"));
    let command = match ctx.random.below(40) {
        0 | 1 => Command::SetSpace(SetSpace { namespace, space, settings: settings(ctx), merges: merges() }),
        2 if ctx.random.chance(300) => Command::DeleteSpace(DeleteSpace { namespace, space }),
        3 | 4 => match undecided(ctx, &namespace, &space) {
            Some(conflict) => {
                let choice =
                    if ctx.random.chance(500) { Choice::Candidate(1) } else { Choice::Value(value(ctx, "a/")) };
                Command::DecideConflict(DecideConflict { namespace, space, conflict, choice, by, comment: None })
            }
            None => return,
        },
        5..=9 => {
            let (first, second) = (operation(ctx, &namespace, &space), operation(ctx, &namespace, &space));
            let condition = Condition { space, key: first.key.clone(), check: Check::Exists };
            if first.key == second.key {
                return;
            }
            let (then, otherwise) = (vec![first.clone(), second], vec![first]);
            let transaction = Transaction { conditions: vec![condition], then, otherwise, ..Transaction::default() };
            Command::Transact(Transact { namespace, transaction, by })
        }
        _ => {
            let transaction = Transaction::single(operation(ctx, &namespace, &space));
            Command::Transact(Transact { namespace, transaction, by })
        }
    };
    ctx.figures.fault("writes of shared state");
    ctx.request(command, Purpose::Any);
}

fn settings(ctx: &mut Context) -> SpaceSettings {
    let policies = KINDS.map(|(prefix, policy)| PrefixPolicy { prefix: prefix.to_owned(), policy }).to_vec();
    let keep_changes = if ctx.random.chance(500) { 100 } else { SpaceSettings::default().keep_changes };
    let events = ctx.random.chance(500);
    SpaceSettings { policies, keep_changes, events, ..SpaceSettings::default() }
}

/// Of two numbers of a key of this kind, the larger stays.
fn merges() -> Vec<PrefixMerge> {
    let larger = "write.incoming > write.current ? write.incoming : write.current";
    let expression = merge_expression(larger).expect("the merge is right");
    vec![PrefixMerge { prefix: "e/".to_owned(), expression }]
}

fn undecided(ctx: &mut Context, namespace: &str, space: &str) -> Option<Position> {
    let machine = ctx.host.partition.as_mut()?.machine().ok()?;
    SharedState::of(machine).conflicts(namespace, space, true, None, 10).ok()?.items.first().map(|conflict| conflict.id)
}

/// A value that fits the keys of a kind.
fn value(ctx: &mut Context, prefix: &str) -> Payload {
    let (a, b) = (ctx.random.below(6), ctx.random.below(6));
    value_of(prefix, a, b)
}

fn value_of(prefix: &str, a: u64, b: u64) -> Payload {
    let text = match prefix {
        "n/" => format!("{}", a as i64 - 2),
        "s/" => format!("[{a},{b}]"),
        "m/" => format!(r#"{{"k{a}":{b}}}"#),
        "t/" => format!(r#""one{a} two three{b}\n{}""#, "four ".repeat(b as usize)),
        "o/" => format!("[{a},7,8,{b},{b}]"),
        _ => format!("{}", a * 10 + b),
    };
    Payload::inline(text.into_bytes())
}

fn operation(ctx: &mut Context, namespace: &str, space: &str) -> Operation {
    let prefix = KINDS[ctx.random.below(KINDS.len() as u64) as usize].0;
    let key = format!("{prefix}{}", ctx.random.below(3));
    let saw = if prefix == "n/" || ctx.random.chance(400) { None } else { Some(saw(ctx, namespace, space, &key)) };
    let action = match ctx.random.below(12) {
        0 => Action::Delete { saw },
        1 => Action::Get,
        n => {
            let ttl = (n == 2).then(|| Span(ctx.random.span(SECOND, 600 * SECOND)));
            // Some were away for so long that their version is not kept, and say what they saw.
            let (saw, base) = match saw {
                Some(Seq(saw)) if saw > 0 && saw % 4 == 0 => {
                    (Some(Seq(1 + saw % 8)), Some(value_of(prefix, saw % 6, saw % 5)))
                }
                saw => (saw, None),
            };
            Action::Put { value: value(ctx, prefix), saw, ttl, stamp: None, base }
        }
    };
    Operation { space: space.to_owned(), key, action }
}

/// A version that a writer has seen: the latest, or sometimes one before.
fn saw(ctx: &mut Context, namespace: &str, space: &str, key: &str) -> Seq {
    let stale = ctx.random.chance(300);
    let Some(machine) = ctx.host.partition.as_mut().and_then(|partition| partition.machine().ok()) else {
        return Seq::ZERO;
    };
    let history =
        SharedState::of(machine).history(namespace, space, key, None, 2).map(|page| page.items).unwrap_or_default();
    let version = history.get(usize::from(stale)).filter(|item| item.change.value.is_some());
    version.map_or(Seq::ZERO, |item| item.at.seq)
}
