//! The canonical form of a JSON document: RFC 8785 (JSON Canonicalization Scheme).
//!
//! For: telling whether two documents say the same, whatever their order of fields, white space and spelling of numbers.
//! Not for: what is stored for a client (its own bytes are kept there).
//! Invariant: equal forms mean equal documents: a number that the form would round is refused, not rounded.

use serde_json::Value;

use crate::{Code, Error, Result};

/// The largest whole number up to which every one is a double: 2^53 - 1 (RFC 7493, section 2.2).
const WHOLE_MAX: u64 = (1 << 53) - 1;

/// The canonical form of a value; `what` names it in the error.
///
/// Numbers are compared as IEEE 754 doubles, as the scheme wants it: `1`, `1.0` and `1e0` are equal, and `-0` is `0`.
/// Texts are compared by their characters as they are; they are not normalised.
///
/// # Errors
/// [`Code::BadJson`] where a whole number is beyond 2^53 - 1, so that two different ones would have the same form.
pub fn canonical_json(what: &str, value: &Value) -> Result<String> {
    check_numbers(what, value)?;
    serde_json_canonicalizer::to_string(value)
        .map_err(|error| Error::new(Code::BadJson, format!("the {what} has no canonical form: {error}")))
}

/// Refuses a text that is not the canonical form of a document.
///
/// # Errors
/// [`Code::BadJson`].
pub fn check_canonical(what: &str, text: &str) -> Result<()> {
    let value: Value = serde_json::from_str(text)
        .map_err(|error| Error::new(Code::BadJson, format!("the {what} is not JSON: {error}")))?;
    if canonical_json(what, &value)? == text {
        return Ok(());
    }
    Err(Error::new(Code::BadJson, format!("the {what} is not in the canonical form of RFC 8785")))
}

fn check_numbers(what: &str, value: &Value) -> Result<()> {
    match value {
        Value::Number(number) => {
            let whole = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
            if whole.is_none_or(|whole| whole <= WHOLE_MAX) {
                return Ok(());
            }
            let message = format!("the {what} has the number `{number}`, the limit of whole numbers is {WHOLE_MAX}");
            Err(Error::new(Code::BadJson, message).hint("write a longer number as a text"))
        }
        Value::Array(items) => items.iter().try_for_each(|item| check_numbers(what, item)),
        Value::Object(fields) => fields.values().try_for_each(|field| check_numbers(what, field)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(text: &str) -> Result<String> {
        canonical_json("answer", &serde_json::from_str(text).unwrap())
    }

    #[test]
    fn numbers_have_the_forms_of_the_rfc() {
        // RFC 8785, appendix B: the bits of a double, and its form.
        let samples = [
            (0x0000_0000_0000_0000_u64, "0"),
            (0x8000_0000_0000_0000, "0"),
            (0x0000_0000_0000_0001, "5e-324"),
            (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
            (0xffef_ffff_ffff_ffff, "-1.7976931348623157e+308"),
            (0x4340_0000_0000_0001, "9007199254740994"),
            (0x4430_0000_0000_0000, "295147905179352830000"),
            (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
            (0x44b5_2d02_c7e1_4af6, "1e+23"),
            (0x44b5_2d02_c7e1_4af7, "1.0000000000000001e+23"),
            (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
            (0x444b_1ae4_d6e2_ef50, "1e+21"),
            (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
            (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
            (0x41b3_de43_5555_5554, "333333333.33333325"),
            (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
        ];
        for (bits, text) in samples {
            let value = Value::from(f64::from_bits(bits));
            assert_eq!(canonical_json("answer", &value).unwrap(), text, "{bits:016x}");
        }
    }

    #[test]
    fn fields_are_in_the_order_of_utf_16_and_texts_are_escaped_as_little_as_possible() {
        // RFC 8785, section 3.2.3: the order of these names.
        let names = ["\r", "1", "\u{80}", "\u{f6}", "\u{20ac}", "\u{1f600}", "\u{fb33}"];
        let object: serde_json::Map<String, Value> =
            names.iter().rev().map(|name| ((*name).to_owned(), Value::from(1))).collect();
        let expected: Vec<String> =
            names.iter().map(|name| format!("{}:1", serde_json::to_string(name).unwrap())).collect();
        assert_eq!(canonical_json("answer", &object.into()).unwrap(), format!("{{{}}}", expected.join(",")));
        assert_eq!(
            form(r#"[ "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/" ]"#).unwrap(),
            "[\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"]"
        );
    }

    #[test]
    fn documents_that_say_the_same_have_one_form() {
        let one = form(r#"{"b": 1.0, "a": [true, null, "x"]}"#).unwrap();
        assert_eq!(one, r#"{"a":[true,null,"x"],"b":1}"#);
        assert_eq!(one, form("{\"a\":[true,null,\"\\u0078\"],\n\"b\":1e0}").unwrap());
        assert_ne!(form("\"é\"").unwrap(), form("\"e\u{301}\"").unwrap(), "texts are not normalised");
        check_canonical("answer", &one).unwrap();
        assert_eq!(check_canonical("answer", "1.0").unwrap_err().code, Code::BadJson);
        assert_eq!(check_canonical("answer", "1 1").unwrap_err().code, Code::BadJson);
    }

    #[test]
    fn a_number_that_would_be_rounded_is_refused() {
        assert_eq!(form("9007199254740991").unwrap(), "9007199254740991");
        for text in ["9007199254740992", "[-9007199254740993]", r#"{"a":18446744073709551615}"#] {
            let error = form(text).unwrap_err();
            assert!(error.code == Code::BadJson && error.message.contains("9007199254740991"), "{error}");
        }
    }
}
