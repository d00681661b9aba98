//! JSON values as CEL sees them.
//!
//! For: numbers, equality, order, weight. Not for: functions by name.
//! Invariant: an integer and a double of the same number are equal, and compare exactly with others.

use std::{cmp::Ordering, fmt::Write as _};

use consort_types::{Code, Error, limits};
use serde_json::Value;

/// Why an evaluation ended without a value.
#[derive(Debug)]
pub(super) enum Fault {
    /// The budget is used up. Never absorbed by `&&` and `||`.
    Budget,
    /// The values do not fit the expression.
    Wrong(Box<Wrong>),
}

#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl Fault {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self::Wrong(Box::new(Wrong { message: message.into(), hint: None }))
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        if let Self::Wrong(wrong) = &mut self {
            wrong.hint = Some(hint.into());
        }
        self
    }

    /// The error as users meet it.
    pub(super) fn into_error(self, source: &str) -> Error {
        match self {
            Self::Budget => Error::new(
                Code::ExpressionBudget,
                format!("`{source}` costs more than {} work units", limits::EXPRESSION_COST_MAX),
            )
            .hint("make it and what is beside it in the same value simpler, or compute it in an agent"),
            Self::Wrong(wrong) => {
                Error { code: Code::Expression, message: format!("{}, in `{source}`", wrong.message), hint: wrong.hint }
            }
        }
    }
}

pub(super) type Outcome<T> = Result<T, Fault>;

/// The work that an evaluation may still do.
pub(super) struct Budget(u64);

impl Budget {
    pub(super) fn new(units: u64) -> Self {
        Self(units)
    }

    pub(super) fn left(&self) -> u64 {
        self.0
    }

    /// Charges the budget. A charge over the rest uses it up.
    pub(super) fn charge(&mut self, cost: usize) -> Outcome<()> {
        let left = self.0.checked_sub(cost as u64);
        self.0 = left.unwrap_or(0);
        left.map(drop).ok_or(Fault::Budget)
    }

    /// Pays for a text of so many bytes.
    pub(super) fn charge_bytes(&mut self, bytes: usize) -> Outcome<()> {
        self.charge(1 + bytes / 16)
    }

    /// Pays for copying or walking a whole value.
    pub(super) fn charge_value(&mut self, value: &Value) -> Outcome<()> {
        match value {
            Value::String(text) => self.charge_bytes(text.len()),
            Value::Array(items) => {
                self.charge(1)?;
                items.iter().try_for_each(|item| self.charge_value(item))
            }
            Value::Object(map) => {
                self.charge(1)?;
                map.iter().try_for_each(|(key, value)| {
                    self.charge_bytes(key.len())?;
                    self.charge_value(value)
                })
            }
            _ => self.charge(1),
        }
    }
}

/// A kind of value, for messages: `a text`.
pub fn kind_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

/// Refuses a value that is nested too deep to be stored and read again.
pub(crate) fn check_depth(value: &Value) -> Result<(), Error> {
    check_depth_below(value, 0)
}

/// The same for a value inside of so many lists and maps.
pub(crate) fn check_depth_below(value: &Value, depth: usize) -> Result<(), Error> {
    fn within(value: &Value, left: usize) -> bool {
        match value {
            Value::Array(items) => left > 0 && items.iter().all(|item| within(item, left - 1)),
            Value::Object(map) => left > 0 && map.values().all(|value| within(value, left - 1)),
            _ => true,
        }
    }
    if limits::VALUE_DEPTH_MAX.checked_sub(depth).is_some_and(|left| within(value, left)) {
        return Ok(());
    }
    let message = format!("the value is nested deeper than {} levels", limits::VALUE_DEPTH_MAX);
    Err(Error::new(Code::LimitReached, message).hint("pass a flatter value"))
}

/// A number: JSON's whole numbers are one type here, whatever their sign.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Number {
    Int(i128),
    Double(f64),
}

impl Number {
    pub(crate) fn of(value: &Value) -> Option<Self> {
        let Value::Number(number) = value else { return None };
        if let Some(int) = number.as_i128() {
            return Some(Self::Int(int));
        }
        number.as_f64().map(Self::Double)
    }

    pub(super) fn double(self) -> f64 {
        match self {
            Self::Int(int) => int as f64,
            Self::Double(double) => double,
        }
    }

    /// Back to JSON; refuses what JSON or 64 bits cannot hold.
    pub(super) fn value(self) -> Outcome<Value> {
        let value = match self {
            Self::Int(int) => i64::try_from(int).map(Value::from).or_else(|_| u64::try_from(int).map(Value::from)).ok(),
            Self::Double(double) => serde_json::Number::from_f64(double).map(Value::Number),
        };
        value.ok_or_else(|| match self {
            Self::Int(_) => Fault::new("integer overflow").hint("convert with `double()`, where rounding does no harm"),
            Self::Double(_) => Fault::new("the result is not a finite number"),
        })
    }

    pub(crate) fn compare(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(&b)),
            (Self::Int(a), Self::Double(b)) => compare_exactly(a, b),
            (Self::Double(a), Self::Int(b)) => compare_exactly(b, a).map(Ordering::reverse),
            (Self::Double(a), Self::Double(b)) => a.partial_cmp(&b),
        }
    }
}

/// The integer that equals a double, where there is one of 64 bits.
pub(super) fn whole(double: f64) -> Option<i128> {
    let int = double as i128;
    let fits = i64::try_from(int).is_ok() || u64::try_from(int).is_ok();
    (fits && compare_exactly(int, double) == Some(Ordering::Equal)).then_some(int)
}

/// Every integer here is below 2^64 in size, so a double beyond 1e20 is further out than any.
fn compare_exactly(int: i128, double: f64) -> Option<Ordering> {
    const BEYOND: f64 = 1e20;
    if double.is_nan() {
        return None;
    }
    if double.abs() > BEYOND {
        return Some(if double > 0.0 { Ordering::Less } else { Ordering::Greater });
    }
    let whole = double.trunc();
    Some(int.cmp(&(whole as i128)).then(0.0_f64.total_cmp(&(double - whole + 0.0))))
}

/// CEL equality: numbers by value, lists and maps by their parts, different kinds are not equal.
pub(super) fn equal(a: &Value, b: &Value, budget: &mut Budget) -> Outcome<bool> {
    budget.charge(1)?;
    Ok(match (a, b) {
        (Value::Number(_), Value::Number(_)) => match (Number::of(a), Number::of(b)) {
            (Some(a), Some(b)) => a.compare(b) == Some(Ordering::Equal),
            _ => false,
        },
        (Value::String(a), Value::String(b)) => {
            budget.charge_bytes(a.len().min(b.len()))?;
            a == b
        }
        (Value::Array(a), Value::Array(b)) => {
            if a.len() != b.len() {
                return Ok(false);
            }
            for (a, b) in a.iter().zip(b) {
                if !equal(a, b, budget)? {
                    return Ok(false);
                }
            }
            true
        }
        (Value::Object(a), Value::Object(b)) => {
            if a.len() != b.len() {
                return Ok(false);
            }
            for ((a_key, a), (b_key, b)) in a.iter().zip(b) {
                budget.charge_bytes(a_key.len())?;
                if a_key != b_key || !equal(a, b, budget)? {
                    return Ok(false);
                }
            }
            true
        }
        _ => a == b,
    })
}

/// CEL order: among numbers, among texts, among truth values.
pub(super) fn order(a: &Value, b: &Value, budget: &mut Budget) -> Outcome<Ordering> {
    let order = match (a, b) {
        (Value::String(a), Value::String(b)) => {
            budget.charge_bytes(a.len().min(b.len()))?;
            Some(a.cmp(b))
        }
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        _ => match (Number::of(a), Number::of(b)) {
            (Some(a), Some(b)) => a.compare(b),
            _ => None,
        },
    };
    order.ok_or_else(|| Fault::new(format!("{} and {} cannot be ordered", kind_name(a), kind_name(b))))
}

/// A text that is the same for equal values, and only for them.
pub(super) fn canonical(value: &Value, into: &mut String) {
    match value {
        Value::Number(_) => match Number::of(value) {
            Some(Number::Double(double)) => match whole(double) {
                Some(int) => {
                    let _ = write!(into, "{int}");
                }
                None => into.push_str(&value.to_string()),
            },
            _ => into.push_str(&value.to_string()),
        },
        Value::Array(items) => {
            into.push('[');
            for item in items {
                canonical(item, into);
                into.push(',');
            }
            into.push(']');
        }
        Value::Object(map) => {
            into.push('{');
            for (key, value) in map {
                into.push_str(&Value::from(key.as_str()).to_string());
                into.push(':');
                canonical(value, into);
                into.push(',');
            }
            into.push('}');
        }
        _ => into.push_str(&value.to_string()),
    }
}

/// The text form of a value: a text as it is, all else as JSON.
pub(crate) fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
