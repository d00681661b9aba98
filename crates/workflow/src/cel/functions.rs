//! What the functions do, but for those on texts.
//!
//! For: evaluating calls. Not for: which functions there are (see `catalog`), or macros (see `eval`).
//! Invariant: a function is pure, and pays for its work before it does it.

use std::{borrow::Cow, collections::BTreeSet};

use serde_json::Value;

use super::{
    arguments::{bounds, list, whole},
    catalog::Function,
    strings,
    value::{Budget, Fault, Number, Outcome, canonical, equal, kind_name, order, text_of},
};

/// The value of a call. Status functions never come here.
pub(super) fn call(function: Function, arguments: &[Cow<'_, Value>], budget: &mut Budget) -> Outcome<Value> {
    use Function as F;
    let first = arguments[0].as_ref();
    match function {
        F::Success | F::Failure | F::Always | F::Cancelled => Err(Fault::new("not a value")),
        F::Size => size(first),
        F::Int => int(first),
        F::Double => double(first),
        F::Bool => boolean(first),
        F::String => {
            budget.charge_value(first)?;
            Ok(Value::from(text_of(first)))
        }
        F::Type => Ok(Value::from(type_name(first))),
        F::Min | F::Max => extreme(function, arguments, budget),
        F::Sum => sum(list(first, "sum")?, budget),
        F::Range => range(arguments, budget),
        F::Keys | F::Flatten | F::Distinct | F::Sort | F::Reverse | F::Slice => of_list(function, arguments, budget),
        F::Json => {
            budget.charge_value(first)?;
            Ok(Value::from(first.to_string()))
        }
        F::FromJson => from_json(first, budget),
        F::Join => strings::join(list(first, "join")?, arguments.get(1).map(AsRef::as_ref), budget),
        _ => strings::call(function, arguments, budget),
    }
}

fn size(value: &Value) -> Outcome<Value> {
    Ok(Value::from(match value {
        Value::String(text) => text.chars().count(),
        Value::Array(items) => items.len(),
        Value::Object(map) => map.len(),
        other => return Err(Fault::new(format!("{} has no size", kind_name(other)))),
    }))
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "double",
        Value::Number(_) => "int",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "map",
    }
}

fn not_convertible(value: &Value, to: &str) -> Fault {
    let shown: String = value.to_string().chars().take(60).collect();
    Fault::new(format!("`{shown}` cannot be made {to}"))
}

fn int(value: &Value) -> Outcome<Value> {
    let number = match value {
        Value::String(text) => text.trim().parse::<i128>().ok().map(Number::Int),
        Value::Bool(truth) => Some(Number::Int(i128::from(*truth))),
        _ => Number::of(value),
    };
    match number {
        Some(Number::Double(double)) => Number::Int(double.trunc() as i128).value(),
        Some(int) => int.value(),
        None => Err(not_convertible(value, "an integer")),
    }
}

fn double(value: &Value) -> Outcome<Value> {
    let number = match value {
        Value::String(text) => text.trim().parse::<f64>().ok().filter(|double| double.is_finite()),
        _ => Number::of(value).map(Number::double),
    };
    Number::Double(number.ok_or_else(|| not_convertible(value, "a number"))?).value()
}

fn boolean(value: &Value) -> Outcome<Value> {
    match value {
        Value::Bool(_) => Ok(value.clone()),
        Value::String(text) if text == "true" => Ok(Value::Bool(true)),
        Value::String(text) if text == "false" => Ok(Value::Bool(false)),
        _ => Err(not_convertible(value, "a truth value").hint("compare it, such as `value != 0`")),
    }
}

fn extreme(function: Function, arguments: &[Cow<'_, Value>], budget: &mut Budget) -> Outcome<Value> {
    let wanted = if function == Function::Min { std::cmp::Ordering::Less } else { std::cmp::Ordering::Greater };
    let items: Vec<&Value> = match arguments {
        [one] if one.is_array() => list(one, "min")?.iter().collect(),
        all => all.iter().map(AsRef::as_ref).collect(),
    };
    budget.charge(items.len())?;
    let mut items = items.into_iter();
    let mut best = items.next().ok_or_else(|| Fault::new("an empty list has no smallest or largest element"))?;
    order(best, best, budget)?;
    for item in items {
        if order(item, best, budget)? == wanted {
            best = item;
        }
    }
    Ok(best.clone())
}

fn sum(items: &[Value], budget: &mut Budget) -> Outcome<Value> {
    budget.charge(items.len())?;
    let mut total = Number::Int(0);
    for item in items {
        let number = Number::of(item)
            .ok_or_else(|| Fault::new(format!("`sum` needs a list of numbers, found {} in it", kind_name(item))))?;
        total = match (total, number) {
            (Number::Int(a), Number::Int(b)) => Number::Int(a + b),
            (a, b) => Number::Double(a.double() + b.double()),
        };
    }
    total.value()
}

fn range(arguments: &[Cow<'_, Value>], budget: &mut Budget) -> Outcome<Value> {
    let (start, end) = match arguments {
        [end] => (0, whole(end, "range")?),
        _ => (whole(&arguments[0], "range")?, whole(&arguments[1], "range")?),
    };
    let length = usize::try_from(i128::from(end) - i128::from(start)).unwrap_or(0);
    budget.charge(length)?;
    Ok((start..end).map(Value::from).collect())
}

fn of_list(function: Function, arguments: &[Cow<'_, Value>], budget: &mut Budget) -> Outcome<Value> {
    let first = arguments[0].as_ref();
    budget.charge_value(first)?;
    if function == Function::Keys {
        let map =
            first.as_object().ok_or_else(|| Fault::new(format!("`keys` needs a map, found {}", kind_name(first))));
        return Ok(map?.keys().map(|key| Value::from(key.as_str())).collect());
    }
    match function {
        Function::Flatten => Ok(flatten(list(first, "flatten")?)),
        Function::Distinct => Ok(distinct(list(first, "distinct")?)),
        Function::Sort => sort(list(first, "sort")?, budget),
        Function::Reverse => Ok(list(first, "reverse")?.iter().rev().cloned().collect()),
        _ => {
            let items = list(first, "slice")?;
            let (start, end) = bounds(&arguments[1..], items.len(), "slice")?;
            Ok(items[start..end].iter().cloned().collect())
        }
    }
}

fn flatten(items: &[Value]) -> Value {
    let parts = items.iter().flat_map(|item| match item {
        Value::Array(inner) => inner.as_slice(),
        other => std::slice::from_ref(other),
    });
    parts.cloned().collect()
}

fn distinct(items: &[Value]) -> Value {
    let mut seen = BTreeSet::new();
    let new = |item: &&Value| {
        let mut key = String::new();
        canonical(item, &mut key);
        seen.insert(key)
    };
    items.iter().filter(new).cloned().collect()
}

fn sort(items: &[Value], budget: &mut Budget) -> Outcome<Value> {
    let rounds = usize::BITS - items.len().leading_zeros();
    budget.charge(items.len().saturating_mul(rounds as usize))?;
    let mut sorted = items.to_vec();
    let mut fault = None;
    sorted.sort_by(|a, b| {
        order(a, b, budget).unwrap_or_else(|first| {
            fault.get_or_insert(first);
            std::cmp::Ordering::Equal
        })
    });
    match fault {
        Some(fault) => Err(fault),
        None => Ok(Value::Array(sorted)),
    }
}

fn from_json(value: &Value, budget: &mut Budget) -> Outcome<Value> {
    let Value::String(text) = value else {
        return Err(Fault::new(format!("`fromJson` needs a text, found {}", kind_name(value))));
    };
    budget.charge(text.len())?;
    // The library's own sentence would reach durable rows, and change with the library.
    serde_json::from_str(text).map_err(|error| {
        Fault::new(if error.is_eof() { "the text is not JSON: it ends too early" } else { "the text is not JSON" })
    })
}

/// Membership: an element of a list, a key of a map.
pub(super) fn contains(container: &Value, item: &Value, budget: &mut Budget) -> Outcome<bool> {
    match container {
        Value::Array(items) => {
            for element in items {
                if equal(element, item, budget)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        Value::Object(map) => Ok(item.as_str().is_some_and(|key| map.contains_key(key))),
        Value::String(_) => {
            Err(Fault::new("`in` looks into a list or a map, found a text").hint("write `text.contains(part)`"))
        }
        other => Err(Fault::new(format!("`in` looks into a list or a map, found {}", kind_name(other)))),
    }
}
