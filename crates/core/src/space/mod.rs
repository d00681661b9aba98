//! The state store: spaces of keys that agents share, with their changes and conflicts.
//!
//! For: the commands, rules, rows and views of shared state. Not for: documents of runs, or who may write what (the doors
//! know their callers).
//! Invariant: the operations of a namespace are linearisable, because each is one record; a version is the record that
//! wrote it.
//!
//! | file | is about |
//! |---|---|
//! | `transact` | reading and writing keys together |
//! | `plan`, `merge` | what a write comes to, before anything is changed |
//! | `weave`, `difference`, `sequence` | texts and lists: what a writer has changed, woven into what others have written |
//! | `execute` | the changes of rows that follow |
//! | `changes`, `oldest` | the changes that are kept: watches, history, earlier versions |
//! | `conflicts`, `decide` | writes that did not see the latest value |
//! | `timers`, `expire` | values that live for some time |
//! | `journaled` | transactions that tasks record in their journals |
//! | `spaces`, `set_space`, `delete_space` | spaces |
//! | `views` | what readers see |
//!
//! The tests of its commands are the scenarios in `tests/state.rs`.

pub(crate) mod announce;
pub(crate) mod changes;
pub(crate) mod conflicts;
pub(crate) mod decide;
pub(crate) mod delete_space;
pub(crate) mod difference;
pub(crate) mod execute;
pub(crate) mod expire;
pub(crate) mod expression;
pub(crate) mod journaled;
pub(crate) mod keys;
pub(crate) mod merge;
pub(crate) mod oldest;
pub(crate) mod plan;
pub(crate) mod rows;
pub(crate) mod sequence;
pub(crate) mod set_space;
pub(crate) mod spaces;
pub(crate) mod timers;
pub(crate) mod transact;
pub(crate) mod views;
pub(crate) mod weave;
