//! Equality and order of JSON values as JSON Schema has them.
//!
//! For: `enum`, `uniqueItems` and `multipleOf`. Not for: expressions (see `cel`).
//! Invariant: numbers compare by value, however they are written; the order is total and depends on the values alone.

use std::cmp::Ordering;

use serde_json::Value;

use crate::cel::Number;

/// A total order in which exactly the values that JSON Schema calls equal are equal.
pub(super) fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Number(_), Value::Number(_)) => compare_numbers(a, b).unwrap_or(Ordering::Equal),
        (Value::Array(a), Value::Array(b)) => {
            let parts = a.iter().zip(b).map(|(a, b)| compare(a, b)).find(|order| order.is_ne());
            a.len().cmp(&b.len()).then(parts.unwrap_or(Ordering::Equal))
        }
        (Value::Object(a), Value::Object(b)) => {
            let parts = a.iter().zip(b).map(|((a_key, a), (b_key, b))| a_key.cmp(b_key).then_with(|| compare(a, b)));
            a.len().cmp(&b.len()).then(parts.into_iter().find(|order| order.is_ne()).unwrap_or(Ordering::Equal))
        }
        _ => rank(a).cmp(&rank(b)),
    }
}

/// The order of two numbers; `None` where one of the two is none.
pub(super) fn compare_numbers(a: &Value, b: &Value) -> Option<Ordering> {
    Number::of(a)?.compare(Number::of(b)?)
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Number(_) => 2,
        Value::String(_) => 3,
        Value::Array(_) => 4,
        Value::Object(_) => 5,
    }
}

/// What walking a value costs: one for each value in it and for each 16 bytes of text.
pub(super) fn weight(value: &Value) -> u64 {
    let text = |text: &str| 1 + text.len() as u64 / 16;
    match value {
        Value::String(value) => text(value),
        Value::Array(items) => 1 + items.iter().map(weight).sum::<u64>(),
        Value::Object(map) => 1 + map.iter().map(|(key, value)| text(key) + weight(value)).sum::<u64>(),
        _ => 1,
    }
}

/// Whether a number is a whole multiple of another, both taken as the decimal digits that they are written with, so
/// that `0.3` is a multiple of `0.1`.
pub(super) fn is_multiple(value: &Value, of: &Value) -> Option<bool> {
    let ((digits, exponent), (of_digits, of_exponent)) = (decimal(value)?, decimal(of)?);
    if digits == 0 || of_digits == 0 {
        return Some(digits == 0);
    }
    let shift = exponent - of_exponent;
    Some(if shift >= 0 {
        ((digits % of_digits) * power_of_ten(shift.unsigned_abs(), of_digits)).is_multiple_of(of_digits)
    } else {
        // Digits have no zeros at their end, so a divisor with more than 20 of them divides none.
        let factor = 10_u128.checked_pow(shift.unsigned_abs());
        factor.and_then(|factor| factor.checked_mul(of_digits)).is_some_and(|divisor| digits % divisor == 0)
    })
}

/// The size of a number as digits and a power of ten.
fn decimal(value: &Value) -> Option<(u128, i32)> {
    let Value::Number(number) = value else { return None };
    if let Some(int) = number.as_i128() {
        return Some((int.unsigned_abs(), 0));
    }
    // The shortest digits that read back as the same number.
    let text = format!("{:e}", number.as_f64()?.abs());
    let (digits, exponent) = text.split_once('e')?;
    let fraction = digits.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    let digits = digits.replace('.', "").parse().ok()?;
    Some((digits, exponent.parse::<i32>().ok()? - i32::try_from(fraction).ok()?))
}

/// `10^exponent % modulus`; the modulus has at most 20 digits, so no product overflows.
fn power_of_ten(exponent: u32, modulus: u128) -> u128 {
    let (mut result, mut base, mut left) = (1 % modulus, 10 % modulus, exponent);
    while left > 0 {
        if left & 1 == 1 {
            result = result * base % modulus;
        }
        base = base * base % modulus;
        left >>= 1;
    }
    result
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_equal_however_they_are_written() {
        assert_eq!(compare(&json!(1), &json!(1.0)), Ordering::Equal);
        assert_eq!(compare(&json!([{"a": 0}]), &json!([{"a": -0.0}])), Ordering::Equal);
        assert_ne!(compare(&json!(9_007_199_254_740_993_u64), &json!(9_007_199_254_740_992.0)), Ordering::Equal);
        assert_ne!(compare(&json!(1), &json!("1")), Ordering::Equal);
    }

    #[test]
    fn multiples_are_exact_in_decimal() {
        for (value, of) in [
            (json!(0.3), json!(0.1)),
            (json!(19.99), json!(0.01)),
            (json!(1e300), json!(7e299)),
            (json!(u64::MAX), json!(5)),
            (json!(0), json!(0.7)),
            (json!(-6), json!(3.0)),
            (json!(1e22), json!(1)),
        ] {
            let expected = of != json!(7e299);
            assert_eq!(is_multiple(&value, &of), Some(expected), "{value} of {of}");
        }
        for (value, of) in
            [(json!(0.35), json!(0.1)), (json!(7), json!(2)), (json!(1), json!(1e300)), (json!(1.5), json!(1))]
        {
            assert_eq!(is_multiple(&value, &of), Some(false), "{value} of {of}");
        }
    }
}
