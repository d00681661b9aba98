//! The Common Expression Language: grammar, values, functions, evaluation.
//!
//! For: expressions over JSON values. Not for: what a name refers to in a workflow (see `scope`).
//! Invariant: parsing and evaluating never overflow the stack (depth is checked before recursion), cost bounded work,
//! and depend on nothing but their arguments; maps are walked in key order.
//!
//! Why not the `cel` crate: its grammar reserves `loop`, which is a variable here; it costs a minute of CPU to build
//! (ANTLR) for a grammar of this size; its errors speak of ANTLR's tokens; and its evaluator has no budget and walks
//! maps in hash order, so it could not have been used anyway.

mod arguments;
mod ast;
mod catalog;
mod eval;
mod form;
mod functions;
mod lexer;
mod parser;
mod problem;
mod strings;
mod types;
mod value;

pub use ast::{Program, Root, Use};
pub(crate) use eval::evaluate;
pub use lexer::closing;
pub use parser::parse;
pub use problem::Problem;
pub use types::{Kind, Schema, infer};
pub use value::kind_name;
pub(crate) use value::{Number, check_depth, check_depth_below, text_of};
