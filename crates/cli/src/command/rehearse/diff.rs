//! Where two documents differ.
//!
//! For: what a test expected and found. Not for: deciding what is compared.
//! Invariant: numbers are compared as numbers: `1` is `1.0`.

use serde_json::Value;

/// Differences that are told of one document.
const TOLD_MAX: usize = 10;

/// The differences between what is expected and what was found, whole.
pub(super) fn equal(expected: &Value, found: &Value) -> Vec<String> {
    Walk { partly: false, found: Vec::new() }.all("$", expected, found)
}

/// What is expected and not found; members of maps that are not expected do not count.
pub(super) fn has(expected: &Value, found: &Value) -> Vec<String> {
    Walk { partly: true, found: Vec::new() }.all("$", expected, found)
}

struct Walk {
    partly: bool,
    found: Vec<String>,
}

impl Walk {
    fn all(mut self, path: &str, expected: &Value, found: &Value) -> Vec<String> {
        self.walk(path, expected, found);
        let more = self.found.len().saturating_sub(TOLD_MAX);
        if more > 0 {
            self.found.truncate(TOLD_MAX);
            self.found.push(format!("and {more} more"));
        }
        self.found
    }

    fn walk(&mut self, path: &str, expected: &Value, found: &Value) {
        match (expected, found) {
            (Value::Object(expected), Value::Object(found)) => {
                for (key, value) in expected {
                    let path = format!("{path}.{key}");
                    match found.get(key) {
                        Some(found) => self.walk(&path, value, found),
                        None => self.found.push(format!("{path}: expected {}, found nothing", short(value))),
                    }
                }
                for (key, value) in found.iter().filter(|(key, _)| !self.partly && !expected.contains_key(*key)) {
                    self.found.push(format!("{path}.{key}: expected nothing, found {}", short(value)));
                }
            }
            (Value::Array(expected), Value::Array(found)) => {
                for (at, value) in expected.iter().enumerate() {
                    let path = format!("{path}[{at}]");
                    match found.get(at) {
                        Some(found) => self.walk(&path, value, found),
                        None => self.found.push(format!("{path}: expected {}, found nothing", short(value))),
                    }
                }
                for (at, value) in found.iter().enumerate().skip(expected.len()) {
                    self.found.push(format!("{path}[{at}]: expected nothing, found {}", short(value)));
                }
            }
            (expected, found) if same(expected, found) => {}
            (expected, found) => {
                self.found.push(format!("{path}: expected {}, found {}", short(expected), short(found)));
            }
        }
    }
}

fn same(expected: &Value, found: &Value) -> bool {
    match (expected, found) {
        (Value::Number(a), Value::Number(b)) => a == b || (a.is_f64() != b.is_f64() && a.as_f64() == b.as_f64()),
        (a, b) => a == b,
    }
}

/// A document in a line.
pub(super) fn short(value: &Value) -> String {
    const CHARS_MAX: usize = 200;
    let text = value.to_string();
    let mut shown: String = text.chars().take(CHARS_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_difference_is_told_with_its_place() {
        let (expected, found) = (json!({"a": [1, {"b": "x"}], "c": 1}), json!({"a": [1.0, {"b": "y"}, 3], "d": null}));
        let told = equal(&expected, &found);
        let wanted = [
            "$.a[1].b: expected \"x\", found \"y\"",
            "$.a[2]: expected nothing, found 3",
            "$.c: expected 1, found nothing",
            "$.d: expected nothing, found null",
        ];
        assert_eq!(told, wanted);
        assert_eq!(has(&json!({"c": 1}), &json!({"c": 1, "d": 2})), [""; 0]);
        assert_eq!(has(&json!([1]), &json!([1, 2])).len(), 1);
        assert_eq!(equal(&json!(vec![0; 30]), &json!(vec![1; 30])).last().unwrap(), "and 20 more");
    }
}
