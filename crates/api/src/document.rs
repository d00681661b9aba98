//! JSON documents of clients, whose form is theirs.
//!
//! For: inputs, outputs, signals and what is to be decided upon. Not for: documents of this crate.
//! Invariant: the bytes of a document are kept: no number is rounded and no field moves.

use std::borrow::Cow;

use consort_types::{Code, Error, Payload, Result};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::schema;

/// A JSON document of any form. In an answer a large one is the reference `{"$blob": HASH, "bytes": LENGTH}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document(Payload);

impl Document {
    /// Writes a value as a document; `what` names it in the error.
    pub fn of(what: &str, value: &impl Serialize) -> Result<Self> {
        match serde_json::to_vec(value) {
            Ok(bytes) => Ok(Self(Payload::inline(bytes))),
            Err(error) => Err(Error::new(Code::BadJson, format!("the {what} cannot be written as JSON: {error}"))
                .hint("the keys of a JSON object are texts")),
        }
    }

    /// Reads the document as a value; `what` names it in the error.
    ///
    /// # Errors
    /// [`Code::BadJson`] where it has another form, also where it is only a reference.
    pub fn read<T: DeserializeOwned>(&self, what: &str) -> Result<T> {
        serde_json::from_slice(self.0.bytes().unwrap_or_default()).map_err(|error| {
            Error::new(Code::BadJson, format!("the {what} has another form: {error}"))
                .hint("read it as a `serde_json::Value` to see what it is")
        })
    }
}

impl From<Payload> for Document {
    fn from(payload: Payload) -> Self {
        Self(payload)
    }
}

impl From<Document> for Payload {
    fn from(document: Document) -> Self {
        document.0
    }
}

impl From<serde_json::Value> for Document {
    fn from(value: serde_json::Value) -> Self {
        Self(Payload::from_value(&value))
    }
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Self(Payload::inline(raw.get().as_bytes())))
    }
}

impl JsonSchema for Document {
    fn schema_name() -> Cow<'static, str> {
        schema::Any::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        schema::Any::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_kept_and_forms_are_checked() {
        let text = r#"{"b":1.50, "a":20000000000000000000001}"#;
        let document: Document = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&document).unwrap(), text);
        assert_eq!(document.read::<Vec<u8>>("input").unwrap_err().code, Code::BadJson);
        assert_eq!(Document::of("input", &[1, 2]).unwrap().read::<Vec<u8>>("input").unwrap(), [1, 2]);
    }
}
