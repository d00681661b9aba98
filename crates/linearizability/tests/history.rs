//! What the checker takes, and what it refuses.

use consort_linearizability::{
    History,
    keys::{KeyOperation, Keys},
    lock::{Acquired, Lock, LockOperation},
};

fn get(value: Option<u64>) -> KeyOperation {
    KeyOperation::Get { key: 0, value }
}

fn set(value: u64) -> KeyOperation {
    KeyOperation::Set { key: 0, value: Some(value) }
}

#[test]
fn a_read_behind_an_answered_write_has_seen_it() {
    let (stale, fresh) = (History::default(), History::default());
    for (history, value) in [(&stale, None), (&fresh, Some(1))] {
        let write = history.call(set(1));
        history.answered(write, set(1));
        let read = history.call(get(None));
        history.answered(read, get(value));
    }
    assert!(!stale.is_linearizable::<Keys>());
    assert!(fresh.is_linearizable::<Keys>());
}

#[test]
fn an_unknown_write_may_be_seen_late_but_does_not_come_and_go() {
    let history = History::default();
    let _unknown = history.call(set(1));
    for value in [None, Some(1), Some(1)] {
        let read = history.call(get(None));
        history.answered(read, get(value));
    }
    assert!(history.is_linearizable::<Keys>());
    let read = history.call(get(None));
    history.answered(read, get(None));
    assert!(!history.is_linearizable::<Keys>());
}

#[test]
fn what_is_written_together_is_seen_together() {
    let history = History::default();
    let write = history.call(set(1));
    history.answered(write, set(1));
    let moved = KeyOperation::Move { from: 0, to: 1, saw: 1, value: 2, done: Some(true) };
    let call = history.call(moved.clone());
    let read = history.call(KeyOperation::Snapshot([None; 3]));
    history.answered(read, KeyOperation::Snapshot([None, None, None]));
    history.answered(call, moved);
    assert!(!history.is_linearizable::<Keys>(), "no order has neither key");
}

#[test]
fn of_two_swaps_that_saw_the_same_one_is_done() {
    let history = History::default();
    for value in [1, 2] {
        let swap = KeyOperation::Swap { key: 0, saw: None, value: Some(value), done: Some(true) };
        let call = history.call(swap.clone());
        history.answered(call, swap);
    }
    assert!(!history.is_linearizable::<Keys>());
}

#[test]
fn a_lock_has_one_holder_and_its_tokens_grow() {
    let told = |grants: &[(usize, u64)], release: Option<(usize, u64)>| {
        let history = History::default();
        for (at, (holder, token)) in grants.iter().enumerate() {
            let acquire = LockOperation::Acquire { holder: *holder, told: Acquired::Granted(*token) };
            let call = history.call(acquire);
            history.answered(call, acquire);
            if let Some((holder, token)) = release.filter(|_| at == 0) {
                let release = LockOperation::Release { holder, token, done: Some(true) };
                let call = history.call(release);
                history.answered(call, release);
            }
        }
        history.is_linearizable::<Lock>()
    };
    assert!(told(&[(0, 5), (0, 5)], None), "it joins its grant");
    assert!(!told(&[(0, 5), (1, 6)], None), "two hold it");
    assert!(told(&[(0, 5), (1, 6)], Some((0, 5))));
    assert!(!told(&[(0, 5), (1, 5)], Some((0, 5))), "the token did not grow");
}
