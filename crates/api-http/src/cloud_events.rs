//! The HTTP protocol binding of CloudEvents 1.0: an event whose attributes are header fields.
//!
//! For: turning a request in binary mode into the JSON form of the event. Not for: structured mode and batches, whose
//! bodies have that form already, or checking attributes (the event does).
//! Invariant: the data keeps its bytes; a header field that means nothing is refused, never passed over.

use axum::http::HeaderMap;
use consort_api::events::is_attribute;
use consort_engine::check_document;
use consort_types::{Code, Error, Result, event::is_json};
use serde_json::{Map, Value};

/// The media types of bodies that have the JSON form.
pub(crate) const MEDIA_TYPES: [&str; 3] =
    ["application/json", "application/cloudevents+json", "application/cloudevents-batch+json"];

/// What the names of header fields with attributes begin with.
const PREFIX: &str = "ce-";

/// Whether a request is in binary mode.
pub(crate) fn is_binary(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| name.as_str().starts_with(PREFIX))
}

fn bad(message: String) -> Error {
    Error::new(Code::BadEvent, message).hint("in binary mode an attribute is a header field such as `ce-subject`")
}

/// The attributes of an event, by its header fields.
pub(crate) fn attributes(headers: &HeaderMap) -> Result<Map<String, Value>> {
    let mut attributes = Map::new();
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix(PREFIX) else { continue };
        if !is_attribute(name) {
            return Err(bad(format!("the header `ce-{name}` is no attribute of an event")));
        }
        let text = decoded(value.as_bytes()).ok_or_else(|| bad(format!("the header `ce-{name}` is not a text")))?;
        if attributes.insert(name.to_owned(), text.into()).is_some() {
            return Err(bad(format!("the header `ce-{name}` is there more than once")));
        }
    }
    let media = headers.get("content-type").map(|media| media.to_str().unwrap_or("").to_owned());
    match media {
        Some(media) if !is_json(&media) => {
            return Err(Error::new(Code::MediaType, format!("the data of the event is `{media}`, but must be JSON"))
                .hint("send the header `Content-Type: application/json`"));
        }
        Some(media) => drop(attributes.insert("datacontenttype".to_owned(), media.into())),
        None => {}
    }
    Ok(attributes)
}

/// The JSON form of an event with these attributes and this body, which is its data; an empty one is none.
pub(crate) fn with_data(attributes: Map<String, Value>, data: &[u8]) -> Result<Vec<u8>> {
    let mut whole = Value::Object(attributes).to_string().into_bytes();
    if !data.is_empty() {
        check_document("data", data)?;
        // The attributes are an object that is not empty: there is no binary mode without a header field.
        whole.pop();
        whole.extend(b",\"data\":");
        whole.extend(data);
        whole.push(b'}');
    }
    Ok(whole)
}

/// The text of a header field, in which any character may be written by its bytes, such as `%C3%A4`.
fn decoded(value: &[u8]) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::with_capacity(value.len()), value);
    while let Some((first, others)) = rest.split_first() {
        rest = others;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, others) = rest.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = others;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn header_fields_are_the_attributes_and_the_body_is_the_data() {
        let fields =
            [("ce-id", "1"), ("ce-source", "/caf%C3%A9"), ("ce-type", "t"), ("content-type", "application/json")];
        let fields = headers(&fields);
        assert!(is_binary(&fields) && !is_binary(&headers(&[("accept", "ce-id")])));
        let whole = with_data(attributes(&fields).unwrap(), br#"{"a":1.50}"#).unwrap();
        let event: Value = serde_json::from_slice(&whole).unwrap();
        assert_eq!((&event["source"], &event["data"]["a"]), (&"/café".into(), &1.5.into()));
        assert!(String::from_utf8(whole).unwrap().contains(r#""data":{"a":1.50}"#));
        assert_eq!(with_data(attributes(&fields).unwrap(), b"").unwrap().last(), Some(&b'}'));
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for (fields, code) in [
            (&[("ce-a-b", "1")][..], Code::BadEvent),
            (&[("ce-data", "1")], Code::BadEvent),
            (&[("ce-id", "%ZZ")], Code::BadEvent),
            (&[("ce-id", "%C3")], Code::BadEvent),
            (&[("ce-id", "1"), ("content-type", "text/plain")], Code::MediaType),
        ] {
            assert_eq!(attributes(&headers(fields)).unwrap_err().code, code, "{fields:?}");
        }
        let one = attributes(&headers(&[("ce-id", "1")])).unwrap();
        assert_eq!(with_data(one, br#"1,"source":"x""#).unwrap_err().code, Code::BadJson);
    }
}
