//! What a name means at its place.
//!
//! For: resolving the references of expressions. Not for: their grammar.
//! Invariant: a step's name means the step of that name in the nearest enclosing block; every reference to a step is an
//! edge of the block that both belong to.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use consort_workflow::{Block, Reference, cel::Root, did_you_mean, listed};

use crate::yaml::{Node, NodeKind};

/// What may be used at a place beside what its block and loops give.
#[expect(clippy::struct_excessive_bools, reason = "each name may be used, or not, by itself")]
#[derive(Clone, Copy, Default)]
pub(super) struct Place {
    /// The step's own outcome (`compensate`).
    pub(super) own: bool,
    /// The status functions (`if`).
    pub(super) status: bool,
    /// `output` (`until`, `while`).
    pub(super) output: bool,
    /// `event` (the `filter` of a wait for an event).
    pub(super) event: bool,
    /// `bid` (the `award` of an auction).
    pub(super) bid: bool,
}

/// A block that is being parsed, or was parsed already.
#[expect(clippy::struct_excessive_bools, reason = "each setting is there, or not, by itself")]
#[derive(Default)]
pub(super) struct Frame {
    pub(super) names: BTreeMap<Arc<str>, usize>,
    /// The step that is being read.
    pub(super) current: Option<usize>,
    /// What each step needs.
    pub(super) edges: Vec<BTreeSet<usize>>,
    /// Whether what is being read is inside of the current step's `for_each`.
    pub(super) each: bool,
    /// Whether what is being read is inside of the current step's `repeat`.
    pub(super) repeats: bool,
    /// Whether what is being read is inside of the current step's `with_lock`.
    pub(super) locked: bool,
    /// The name of that lock, where it is known before a run and one holds it at a time.
    pub(super) mutex: Option<String>,
    /// Whether what is being read comes after the current step's `reads`.
    pub(super) reads: bool,
}

impl Frame {
    /// A finished block, seen from outside of its steps.
    pub(super) fn of(block: &Block) -> Self {
        let names = block.steps.iter().enumerate().map(|(at, step)| (Arc::from(step.name.as_str()), at));
        Self { names: names.collect(), ..Self::default() }
    }
}

/// What was found wrong with a name.
pub(super) struct Unresolved {
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) hint: String,
}

#[derive(Default)]
pub(super) struct Scope {
    /// Blocks around the place, the root first.
    pub(super) frames: Vec<Frame>,
    /// Every step of the file: name to the groups that contain it.
    paths: BTreeMap<String, Vec<String>>,
}

impl Scope {
    /// Notes the place of every step of the file, for messages about steps that cannot be seen.
    pub(super) fn remember(&mut self, steps: &Node) {
        self.remember_below(steps, &mut Vec::new());
    }

    fn remember_below(&mut self, steps: &Node, groups: &mut Vec<String>) {
        let NodeKind::Map(entries) = &steps.kind else { return };
        for entry in entries {
            self.paths.entry(entry.key.clone()).or_insert_with(|| groups.clone());
            let NodeKind::Map(step) = &entry.value.kind else { continue };
            if let Some(inner) = step.iter().find(|field| field.key == "steps") {
                groups.push(entry.key.clone());
                self.remember_below(&inner.value, groups);
                groups.pop();
            }
        }
    }

    /// Whether the file has a step of this name, anywhere.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.paths.contains_key(name)
    }

    /// What a variable refers to.
    pub(super) fn root(&self, root: Root, place: Place) -> Result<Reference, Unresolved> {
        let outside = |message: &str, hint: &str| {
            Err(Unresolved { code: "out-of-scope", message: message.to_owned(), hint: hint.to_owned() })
        };
        match root {
            Root::Input => Ok(Reference::Input),
            Root::Run => Ok(Reference::Run),
            Root::Item | Root::Index if self.frames.iter().any(|frame| frame.each) => {
                Ok(if root == Root::Item { Reference::Item } else { Reference::Index })
            }
            Root::Item => {
                outside("`item` has no value outside of `for_each`", "add `for_each` to the step or its group")
            }
            Root::Index => {
                outside("`index` has no value outside of `for_each`", "in `repeat` the count is `loop.index`")
            }
            Root::Loop if self.frames.iter().any(|frame| frame.repeats) => Ok(Reference::Loop),
            Root::Loop => outside("`loop` has no value outside of `repeat`", "in `for_each` the position is `index`"),
            Root::Event if place.event => Ok(Reference::Event),
            Root::Event => outside(
                "`event` is known only in triggers, and in the `filter` of a wait for an event",
                "a run that a trigger starts has its data as `input`; an event that was waited for is the step's output",
            ),
            Root::Lock if self.frames.iter().any(|frame| frame.locked) => Ok(Reference::Lock),
            Root::Lock => {
                outside("`lock` has no value outside of `with_lock`", "add `with_lock` to the step or its group")
            }
            Root::Reads if self.frames.iter().any(|frame| frame.reads) => Ok(Reference::Reads),
            Root::Reads => outside(
                "`reads` has no value where no step reads",
                "add `reads: { NAME: { space: S, key: K } }` to the step or its group",
            ),
            Root::Write => outside(
                "`write` is known only in merges of shared state",
                "it is for the policy `expression` of a space",
            ),
            Root::Bid if place.bid => Ok(Reference::Bid),
            Root::Bid => outside(
                "`bid` is known only in the `award` of an auction",
                "write `assign: { auction: { award: \"${{ bid.cost }}\" } }`",
            ),
            Root::Output if place.output => Ok(Reference::Output),
            Root::Output => {
                outside("`output` is known only in `until` and `while`", "another step's output is `steps.NAME.output`")
            }
        }
    }

    /// What a step's name refers to; notes the dependency.
    pub(super) fn step(&mut self, name: &Arc<str>, place: Place) -> Result<Reference, Unresolved> {
        let found = self.frames.iter().rev().enumerate().find_map(|(up, frame)| Some((up, *frame.names.get(name)?)));
        let Some((up, index)) = found else { return Err(self.unknown_step(name)) };
        let last = self.frames.len() - 1;
        let frame = &mut self.frames[last - up];
        if frame.current == Some(index) && !(place.own && up == 0) {
            return Err(itself(name, up));
        }
        if let Some(current) = frame.current.filter(|current| *current != index) {
            frame.edges[current].insert(index);
        }
        Ok(Reference::Step { up: up as u32, index, name: Arc::clone(name) })
    }

    /// The hint about a step that is not visible.
    pub(super) fn unknown_step(&self, name: &str) -> Unresolved {
        if let Some(groups) = self.paths.get(name)
            && let Some(outer) =
                groups.iter().find(|group| self.frames.iter().any(|f| f.names.contains_key(group.as_str())))
        {
            let path: Vec<String> =
                groups.iter().skip_while(|group| *group != outer).skip(1).map(|g| format!(".{g}")).collect();
            return Unresolved {
                code: "invisible-step",
                message: format!("the step `{name}` is inside of `{}`, and cannot be seen from here", groups.join("/")),
                hint: format!("use the group's output: `steps.{outer}.output{}.{name}`", path.concat()),
            };
        }
        let visible = || self.frames.iter().rev().flat_map(|frame| frame.names.keys().map(|name| &**name));
        let hint = did_you_mean(name, visible()).unwrap_or_else(|| format!("there are {}", listed(visible())));
        let shown: String = name.chars().take(60).collect();
        Unresolved { code: "unknown-step", message: format!("there is no step `{shown}`"), hint }
    }
}

fn itself(name: &str, up: usize) -> Unresolved {
    let (message, hint) = if up == 0 {
        (
            format!("the step `{name}` uses its own outcome"),
            "in `until` an iteration's output is `output`; the one before is `loop.previous`",
        )
    } else {
        (
            format!("the step is inside of `{name}`, and so cannot use its outcome"),
            "use the steps beside it; the iteration before is `loop.previous`",
        )
    };
    Unresolved { code: "self-reference", message, hint: hint.to_owned() }
}
