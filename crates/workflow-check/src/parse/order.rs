//! The order of a block's steps.
//!
//! For: needs, dependents and cycles. Not for: running them.
//! Invariant: linear in edges for each cycle found, without recursion, and the cycle that is shown does not depend
//! on the order in which edges were found.

use std::{collections::BTreeSet, ops::Range};

use crate::diagnostic::Report;

/// Cycles that are reported for one block.
const CYCLES_SHOWN_MAX: usize = 10;

/// For each step, the steps that need it.
pub(super) fn dependents(needs: &[BTreeSet<usize>]) -> Vec<Vec<usize>> {
    let mut dependents = vec![Vec::new(); needs.len()];
    for (step, needed) in needs.iter().enumerate() {
        for other in needed {
            dependents[*other].push(step);
        }
    }
    dependents
}

/// The steps that remain when all that can be ordered are removed; `gone` are left out from the start.
fn unordered(needs: &[BTreeSet<usize>], dependents: &[Vec<usize>], gone: &BTreeSet<usize>) -> BTreeSet<usize> {
    let mut open: Vec<usize> = needs.iter().map(|needed| needed.difference(gone).count()).collect();
    let mut left: BTreeSet<usize> = (0..needs.len()).filter(|step| !gone.contains(step)).collect();
    let mut ready: Vec<usize> = left.iter().copied().filter(|step| open[*step] == 0).collect();
    while let Some(step) = ready.pop() {
        left.remove(&step);
        for next in dependents[step].iter().filter(|next| !gone.contains(next)) {
            open[*next] -= 1;
            if open[*next] == 0 {
                ready.push(*next);
            }
        }
    }
    left
}

/// A cycle among steps of which each needs another of them.
fn cycle(needs: &[BTreeSet<usize>], left: &BTreeSet<usize>) -> Vec<usize> {
    let mut path: Vec<usize> = left.iter().take(1).copied().collect();
    let mut seen = BTreeSet::new();
    while let Some(&step) = path.last() {
        if !seen.insert(step) {
            break;
        }
        match needs[step].iter().find(|needed| left.contains(needed)) {
            Some(needed) => path.push(*needed),
            None => break,
        }
    }
    let Some(last) = path.pop() else { return path };
    path.iter().position(|step| *step == last).map_or_else(Vec::new, |start| path.split_off(start))
}

/// Reports each cycle at the first of its steps.
pub(super) fn check_cycles(report: &mut Report<'_>, needs: &[BTreeSet<usize>], steps: &[(String, Range<usize>)]) {
    let dependents = dependents(needs);
    let mut gone = BTreeSet::new();
    for _ in 0..CYCLES_SHOWN_MAX {
        let left = unordered(needs, &dependents, &gone);
        let mut found = cycle(needs, &left);
        let Some(first) = found.iter().enumerate().min_by_key(|(_, step)| **step).map(|(at, _)| at) else { return };
        found.rotate_left(first);
        gone.extend(found.iter().copied());
        let (name, place) = &steps[found[0]];
        let mut names: Vec<String> = found.iter().map(|step| format!("`{}`", steps[*step].0)).collect();
        names.push(format!("`{name}`"));
        let message = format!("steps wait for each other: {}", names.join(" needs "));
        let hint = "take out one of the references; a loop over steps is a group with `repeat`";
        report.error("cycle", place.clone(), message).hint(hint);
    }
}
