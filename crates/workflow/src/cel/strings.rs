//! Functions on texts.
//!
//! For: what CEL's string extension has. Not for: locales (only ASCII letters change case).
//! Invariant: positions count characters; results are paid for by their bytes before they are built.

use std::borrow::Cow;

use regex::{Regex, RegexBuilder};
use serde_json::Value;

use super::{
    arguments::bounds,
    catalog::Function,
    value::{Budget, Fault, Outcome, kind_name, text_of},
};

/// Bytes that a compiled pattern may take; larger repetitions are refused.
const PATTERN_BYTES_MAX: usize = 256 * 1024;

/// What compiling a pattern while evaluating costs; a literal pattern is compiled once, at parse.
const PATTERN_COST: usize = 5_000;

/// Compiles a pattern, with bounded size.
pub(super) fn regex(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX).build()
}

/// What is wrong with a pattern, in words that no other version of the library changes: they reach durable rows.
fn refusal(pattern: &str, error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(limit) => format!("the pattern needs more than {limit} bytes"),
        _ => format!("`{pattern}` is not a pattern"),
    }
}

/// The same with the library's reason, for diagnostics, which are not kept.
pub(super) fn explained(pattern: &str, error: &regex::Error) -> String {
    let text = error.to_string();
    let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
    match error {
        regex::Error::Syntax(_) => format!("{}: {reason}", refusal(pattern, error)),
        _ => refusal(pattern, error),
    }
}

fn text(value: &Value, wanted_by: Function) -> Outcome<&str> {
    value
        .as_str()
        .ok_or_else(|| Fault::new(format!("a text is needed, found {}", kind_name(value))).hint(wanted_by.usage()))
}

/// The value of a call of a text function.
pub(super) fn call(function: Function, arguments: &[Cow<'_, Value>], budget: &mut Budget) -> Outcome<Value> {
    let subject = text(&arguments[0], function)?;
    budget.charge_bytes(subject.len())?;
    let argument = |at: usize| text(&arguments[at], function);
    Ok(match function {
        Function::Contains => Value::Bool(subject.contains(argument(1)?)),
        Function::StartsWith => Value::Bool(subject.starts_with(argument(1)?)),
        Function::EndsWith => Value::Bool(subject.ends_with(argument(1)?)),
        Function::Matches => {
            budget.charge(PATTERN_COST)?;
            let pattern = argument(1)?;
            let compiled = regex(pattern).map_err(|error| Fault::new(refusal(pattern, &error)))?;
            return matches(&arguments[0], &compiled, budget);
        }
        Function::LowerAscii => Value::from(subject.to_ascii_lowercase()),
        Function::UpperAscii => Value::from(subject.to_ascii_uppercase()),
        Function::Trim => Value::from(subject.trim()),
        Function::Split => split(subject, argument(1)?, budget)?,
        Function::Replace => replace(subject, argument(1)?, argument(2)?, budget)?,
        _ => {
            let length = subject.chars().count();
            let (start, end) = bounds(&arguments[1..], length, "substring")?;
            Value::from(subject.chars().skip(start).take(end - start).collect::<String>())
        }
    })
}

/// Whether the pattern is found in the text.
pub(super) fn matches(subject: &Value, pattern: &Regex, budget: &mut Budget) -> Outcome<Value> {
    let subject = text(subject, Function::Matches)?;
    budget.charge(subject.len() / 4)?;
    Ok(Value::Bool(pattern.is_match(subject)))
}

fn split(subject: &str, separator: &str, budget: &mut Budget) -> Outcome<Value> {
    if separator.is_empty() {
        budget.charge(subject.len())?;
        return Ok(subject.chars().map(|c| Value::from(c.to_string())).collect());
    }
    budget.charge(subject.matches(separator).count())?;
    Ok(subject.split(separator).map(Value::from).collect())
}

fn replace(subject: &str, from: &str, to: &str, budget: &mut Budget) -> Outcome<Value> {
    let found = subject.matches(from).count();
    budget.charge(found)?;
    budget.charge_bytes(found.saturating_mul(to.len()))?;
    Ok(Value::from(subject.replace(from, to)))
}

/// Elements as texts, one after the other.
pub(super) fn join(items: &[Value], separator: Option<&Value>, budget: &mut Budget) -> Outcome<Value> {
    let separator = separator.map_or(Ok(""), |value| text(value, Function::Join))?;
    budget.charge_bytes(items.len().saturating_mul(separator.len()))?;
    let mut joined = String::new();
    for (at, item) in items.iter().enumerate() {
        budget.charge_value(item)?;
        if at > 0 {
            joined.push_str(separator);
        }
        joined.push_str(&text_of(item));
    }
    Ok(Value::from(joined))
}
