//! JSON values in CBOR.
//!
//! For: documents inside of a normal form. Not for: payloads, which stay JSON texts.
//! Invariant: a value is written in one way only, and read back as it was, numbers bit by bit; so the bytes depend on
//! no library that writes numbers as text.

use minicbor::{
    Decode, Decoder, Encode, Encoder,
    data::Type,
    decode::Error,
    encode::{self, Write},
};
use serde_json::{Map, Number, Value};

/// A JSON value that is a part of a normal form.
#[derive(Clone, Debug, PartialEq)]
pub struct Json(pub Value);

impl<C> Encode<C> for Json {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, ctx: &mut C) -> Result<(), encode::Error<W::Error>> {
        encode(&self.0, e, ctx)
    }
}

impl<'b, C> Decode<'b, C> for Json {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, Error> {
        decode(d, ctx).map(Self)
    }
}

/// Recursion is as deep as the value is nested, which the check of a workflow bounds.
#[expect(clippy::only_used_in_recursion, reason = "it is what derived encoders call, with their context")]
pub(crate) fn encode<C, W: Write>(
    value: &Value,
    e: &mut Encoder<W>,
    ctx: &mut C,
) -> Result<(), encode::Error<W::Error>> {
    match value {
        Value::Null => e.null()?.ok(),
        Value::Bool(value) => e.bool(*value)?.ok(),
        Value::String(text) => e.str(text)?.ok(),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(int), _) => e.u64(int)?.ok(),
            (None, Some(int)) => e.i64(int)?.ok(),
            (None, None) => e.f64(number.as_f64().unwrap_or_default())?.ok(),
        },
        Value::Array(items) => {
            e.array(items.len() as u64)?;
            items.iter().try_for_each(|item| encode(item, e, ctx))
        }
        Value::Object(map) => {
            e.map(map.len() as u64)?;
            for (key, value) in map {
                e.str(key)?;
                encode(value, e, ctx)?;
            }
            Ok(())
        }
    }
}

/// Recursion is bounded by the check of depth that comes before any reading.
#[expect(clippy::only_used_in_recursion, reason = "it is what derived decoders call, with their context")]
pub(crate) fn decode<C>(d: &mut Decoder<'_>, ctx: &mut C) -> Result<Value, Error> {
    let unknown = || Error::message("a value is none of JSON's");
    Ok(match d.datatype()? {
        Type::Null => {
            d.null()?;
            Value::Null
        }
        Type::Bool => Value::Bool(d.bool()?),
        Type::String => Value::from(d.str()?),
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => Value::from(d.u64()?),
        Type::I8 | Type::I16 | Type::I32 | Type::I64 => Value::from(d.i64()?),
        Type::F64 => Value::Number(Number::from_f64(d.f64()?).ok_or_else(unknown)?),
        Type::Array => {
            let count = d.array()?.ok_or_else(unknown)?;
            Value::Array((0..count).map(|_| decode(d, ctx)).collect::<Result<_, _>>()?)
        }
        Type::Map => {
            let count = d.map()?.ok_or_else(unknown)?;
            let entry = |_| Ok((d.str()?.to_owned(), decode(d, ctx)?));
            Value::Object((0..count).map(entry).collect::<Result<Map<_, _>, Error>>()?)
        }
        _ => return Err(unknown()),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_come_back_as_they_were() {
        let value = json!({
            "a": [null, true, "é", 0, 23, 24, 255, 256, 65_536, u64::MAX, -1, -25, i64::MIN, 1.0, -0.0, 1.5e300, 5e-324],
            "": {"x": []},
        });
        let bytes = minicbor::to_vec(Json(value.clone())).unwrap();
        let Json(back) = minicbor::decode(&bytes).unwrap();
        assert_eq!(format!("{back:?}"), format!("{value:?}"));
        assert_eq!(minicbor::to_vec(Json(back)).unwrap(), bytes);
    }
}
