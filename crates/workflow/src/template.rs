//! YAML values with `${{ }}` inside.
//!
//! For: inputs of steps and outputs of workflows. Not for: conditions (those are one expression).
//! Invariant: a value that is one whole expression keeps its JSON type; embedded expressions become text. What
//! `evaluate` and `evaluate_json` give is the same document.

use std::{borrow::Cow, cell::RefCell, fmt::Write as _};

use consort_types::{Code, Error, Span, Time, limits};
use minicbor::{Decode, Encode};
use serde::{Serialize, Serializer, ser::Error as _};
use serde_json::{Map, Value};

use crate::{Environment, Expression, Reference, cel};

/// A JSON value with holes.
#[derive(Clone, Debug, Encode, Decode)]
pub enum Template {
    /// No expression inside.
    #[n(0)]
    Literal(
        #[n(0)]
        #[cbor(with = "crate::form::json")]
        Value,
    ),
    /// One expression is the whole value.
    #[n(1)]
    Expression(#[n(0)] Expression),
    /// Text with expressions inside; strings are put in as they are, other values as JSON.
    #[n(2)]
    Text(#[n(0)] Vec<TextPart>),
    /// A list.
    #[n(3)]
    List(#[n(0)] Vec<Template>),
    /// A map, in order of its keys, which are distinct.
    #[n(4)]
    Map(#[n(0)] Vec<(String, Template)>),
}

/// A part of a [`Template::Text`].
#[derive(Clone, Debug, Encode, Decode)]
pub enum TextPart {
    /// As it is.
    #[n(0)]
    Literal(#[n(0)] String),
    /// To be evaluated.
    #[n(1)]
    Expression(#[n(0)] Expression),
}

impl Template {
    /// The input of the run, as it is.
    pub fn input() -> Self {
        let name = "input";
        let program = cel::Program::of_root(cel::Root::Input, name.len());
        Self::Expression(Expression::new(name, program, vec![Reference::Input]))
    }

    /// The references of its expressions; sorted, without duplicates.
    pub fn references(&self) -> Vec<Reference> {
        let mut references = Vec::new();
        self.expressions(&mut |expression| references.extend_from_slice(expression.references()));
        references.sort();
        references.dedup();
        references
    }

    fn expressions<'a>(&'a self, visit: &mut impl FnMut(&'a Expression)) {
        match self {
            Self::Literal(_) => {}
            Self::Expression(expression) => visit(expression),
            Self::Text(parts) => {
                for part in parts {
                    if let TextPart::Expression(expression) = part {
                        visit(expression);
                    }
                }
            }
            Self::List(items) => items.iter().for_each(|item| item.expressions(visit)),
            Self::Map(entries) => entries.iter().for_each(|(_, value)| value.expressions(visit)),
        }
    }

    /// Its value. The caller checks the size of what it stores.
    pub fn evaluate(&self, environment: &Environment) -> Result<Value, Error> {
        environment.meter.begin();
        let value = self.fill(environment)?.into_owned();
        cel::check_depth(&value)?;
        Ok(value)
    }

    /// Its value as the bytes of a JSON document; large parts of the environment are written without being copied.
    pub fn evaluate_json(&self, environment: &Environment) -> Result<Vec<u8>, Error> {
        environment.meter.begin();
        let mut bytes = Vec::with_capacity(128);
        let stopped = RefCell::new(None);
        let filled = Filled { template: self, environment, depth: 0, error: &stopped };
        if let Err(error) = serde_json::to_writer(Capped(&mut bytes), &filled) {
            return Err(stopped.into_inner().unwrap_or_else(|| too_large(&error)));
        }
        Ok(bytes)
    }

    fn fill<'a>(&'a self, environment: &'a Environment) -> Result<Cow<'a, Value>, Error> {
        match self {
            Self::Literal(value) => Ok(Cow::Borrowed(value)),
            Self::Expression(expression) => expression.evaluate_borrowed(environment),
            Self::Text(parts) => text(parts, environment).map(|text| Cow::Owned(Value::String(text))),
            Self::List(items) => {
                let items = items.iter().map(|item| item.fill(environment).map(Cow::into_owned));
                items.collect::<Result<Vec<Value>, Error>>().map(|items| Cow::Owned(Value::Array(items)))
            }
            Self::Map(entries) => {
                let fill = |(key, value): &'a (String, Self)| {
                    value.fill(environment).map(|value| (key.clone(), value.into_owned()))
                };
                entries.iter().map(fill).collect::<Result<Map<_, _>, Error>>().map(|map| Cow::Owned(Value::Object(map)))
            }
        }
    }
}

fn text(parts: &[TextPart], environment: &Environment) -> Result<String, Error> {
    let mut text = String::new();
    for part in parts {
        match part {
            TextPart::Literal(literal) => text.push_str(literal),
            TextPart::Expression(expression) => match &*expression.evaluate_borrowed(environment)? {
                Value::String(value) => text.push_str(value),
                other => {
                    let _ = write!(text, "{other}");
                }
            },
        }
        if text.len() > limits::PAYLOAD_BYTES_MAX {
            return Err(Error::new(Code::PayloadTooLarge, payload_message()));
        }
    }
    Ok(text)
}

fn payload_message() -> String {
    format!("the value is larger than {} bytes", limits::PAYLOAD_BYTES_MAX)
}

fn too_large(error: &serde_json::Error) -> Error {
    if error.is_io() {
        return Error::new(Code::PayloadTooLarge, payload_message()).hint("pass a reference to the data instead");
    }
    Error::new(Code::Internal, "a value could not be written")
}

/// A writer that refuses more than a payload may have.
struct Capped<'b>(&'b mut Vec<u8>);

impl std::io::Write for Capped<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > limits::PAYLOAD_BYTES_MAX {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A template and its environment, to be written as JSON part by part.
struct Filled<'a> {
    template: &'a Template,
    environment: &'a Environment,
    /// Lists and maps around it.
    depth: usize,
    /// What stopped the writing; the serializer's own error carries only text.
    error: &'a RefCell<Option<Error>>,
}

impl Serialize for Filled<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (environment, depth, error) = (self.environment, self.depth + 1, self.error);
        let below = |template| Filled { template, environment, depth, error };
        match self.template {
            Template::List(items) => serializer.collect_seq(items.iter().map(below)),
            Template::Map(entries) => serializer.collect_map(entries.iter().map(|(key, value)| (key, below(value)))),
            leaf => {
                let filled = leaf.fill(environment);
                match filled.and_then(|value| cel::check_depth_below(&value, self.depth).map(|()| value)) {
                    Ok(value) => value.serialize(serializer),
                    Err(stopped) => {
                        error.replace(Some(stopped));
                        Err(S::Error::custom("an expression failed"))
                    }
                }
            }
        }
    }
}

/// Reads a length of time that an expression gave: a text such as `30s`, or a whole number of seconds.
pub fn span_of(value: &Value) -> Result<Span, Error> {
    match value {
        Value::String(text) => text.parse(),
        Value::Number(number) => number.as_u64().map(Span::from_secs).ok_or_else(|| bad_span(value)),
        _ => Err(bad_span(value)),
    }
}

fn bad_span(value: &Value) -> Error {
    let message = match value {
        Value::Number(number) => format!("`{number}` is not a duration"),
        other => format!("{} is not a duration", cel::kind_name(other)),
    };
    Error::new(Code::BadDuration, message).hint("give a text such as `30s` or `1h30m`, or a whole number of seconds")
}

/// Reads an instant that an expression gave: RFC 3339 text in UTC.
pub fn time_of(value: &Value) -> Result<Time, Error> {
    match value {
        Value::String(text) => Time::parse_rfc3339(text),
        other => Err(Error::new(Code::BadTime, format!("{} is not an instant", cel::kind_name(other)))
            .hint("write it as RFC 3339 in UTC, such as `2026-11-22T10:00:00Z`")),
    }
}
