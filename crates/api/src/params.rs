//! The parameters of an operation: in the path, the query and the header fields.
//!
//! For: the description of each parameter, and the conversion between the parameters' type and texts. Not for: bodies.
//! Invariant: what [`encode`] writes, [`decode`] reads as the same value; a parameter that is not declared, comes twice
//! or has another form is refused with its name.

use consort_types::{Code, Error, Position, Result, RunId, Span, StepInstanceId, Time, registry::LimitScope};
use schemars::Schema;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::spec::{Scope, Spec};

/// Where a parameter travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the path.
    Path,
    /// In the query.
    Query,
    /// As a header field.
    Header,
}

/// The form of a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// Any text, or one of a format.
    Text {
        /// `run-id`, `task-id`, `date-time`, `duration`, `position` or `quota-scope`, where it is one of those.
        format: Option<String>,
    },
    /// A whole number from 1.
    Count {
        /// The largest that is taken.
        max: u64,
    },
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Word(Vec<String>),
    /// Several of these words, with commas between.
    Words(Vec<String>),
    /// Any number of parameters whose names begin with the name and a dot, such as `label.region`.
    Family,
}

/// A parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// Its name.
    pub name: String,
    /// Where it travels.
    pub place: Place,
    /// Its form.
    pub form: Form,
    /// Whether it must be given.
    pub required: bool,
    /// What it means.
    pub doc: String,
    /// Its JSON Schema, without references.
    pub schema: Value,
}

impl Param {
    /// The name as a reader of documents sees it: `label.KEY` for a family.
    pub fn shown(&self) -> String {
        if self.form == Form::Family { format!("{}.KEY", self.name) } else { self.name.clone() }
    }

    /// Whether a parameter of this name is this one.
    fn fits(&self, name: &str) -> bool {
        match self.form {
            Form::Family => member(&self.name, name).is_some(),
            _ => self.name.eq_ignore_ascii_case(name) && (self.place == Place::Header || self.name == name),
        }
    }

    /// The value of a text.
    fn read(&self, name: &str, text: &str) -> Result<Value> {
        let bad = |what: String| bad(format!("`{name}` is `{text}`, but must be {what}"));
        match &self.form {
            Form::Text { format } => check_format(format.as_deref(), text).map(|()| text.into()),
            Form::Count { max } => match text.parse::<u64>() {
                Ok(count) if (1..=*max).contains(&count) => Ok(count.into()),
                _ => Err(bad(format!("a number from 1 to {max}"))),
            },
            Form::Flag => text.parse::<bool>().map(Value::from).map_err(|_| bad("`true` or `false`".to_owned())),
            Form::Word(words) if words.iter().any(|word| word == text) => Ok(text.into()),
            Form::Word(words) => Err(bad(format!("one of `{}`", words.join("`, `")))),
            Form::Words(words) => {
                let given: Vec<&str> = text.split(',').map(str::trim).collect();
                let known = given.iter().all(|text| words.iter().any(|word| word == text));
                if known { Ok(given.into()) } else { Err(bad(format!("some of `{}`", words.join("`, `")))) }
            }
            Form::Family => Ok(text.into()),
        }
    }
}

fn bad(message: impl Into<String>) -> Error {
    Error::new(Code::BadRequest, message)
}

fn member<'a>(family: &str, name: &'a str) -> Option<&'a str> {
    name.strip_prefix(family)?.strip_prefix('.').filter(|rest| !rest.is_empty())
}

/// Refuses a text that is not of its format, with the error of that format.
fn check_format(format: Option<&str>, text: &str) -> Result<()> {
    match format {
        Some("run-id") => text.parse::<RunId>().map(drop),
        Some("task-id") => text.parse::<StepInstanceId>().map(drop),
        Some("date-time") => Time::parse_rfc3339(text).map(drop),
        Some("duration") => text.parse::<Span>().map(drop),
        Some("position") => text.parse::<Position>().map(drop),
        Some("quota-scope") => text.parse::<LimitScope>().map(drop),
        _ => Ok(()),
    }
}

/// The parameters that a type declares.
pub(crate) fn derive(spec: &Spec, schema: &Schema) -> Vec<Param> {
    let schema = schema.as_value();
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let path: Vec<&str> = spec.path_params().collect();
    let fields = schema["properties"].as_object().into_iter().flatten();
    fields
        .map(|(name, field)| {
            let place = match name.as_str() {
                name if path.contains(&name) => Place::Path,
                name if spec.headers.contains(&name) => Place::Header,
                _ => Place::Query,
            };
            let doc = field["description"].as_str().unwrap_or_default().replace('\n', " ");
            let (schema, required) = (plain(field), required.contains(&name.as_str()));
            Param { name: name.clone(), place, form: form(&schema), required, doc, schema }
        })
        .collect()
}

/// The schema of a value that is given: without `null`, name and description.
fn plain(field: &Value) -> Value {
    let given = field["anyOf"].as_array().and_then(|any| any.iter().find(|schema| schema["type"] != "null"));
    let mut schema = given.unwrap_or(field).clone();
    if let Some(map) = schema.as_object_mut() {
        for name in ["description", "title", "default", "$schema"] {
            map.remove(name);
        }
        if let Some(Value::Array(types)) = map.get_mut("type") {
            types.retain(|name| name != "null");
            let only = types.pop().unwrap_or_default();
            map.insert("type".to_owned(), only);
        }
        if let Some(Value::Array(words)) = map.get_mut("enum") {
            words.retain(|word| !word.is_null());
        }
    }
    schema
}

fn form(schema: &Value) -> Form {
    let words = |schema: &Value| -> Option<Vec<String>> {
        if let Some(words) = schema["enum"].as_array() {
            return Some(words.iter().filter_map(Value::as_str).map(str::to_owned).collect());
        }
        // A documented word is a schema of its own.
        let each = schema["oneOf"].as_array()?.iter();
        let of = |one: &Value| -> Vec<String> {
            let several = one["enum"].as_array().into_iter().flatten().chain(one.get("const"));
            several.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        Some(each.flat_map(of).collect())
    };
    match schema["type"].as_str() {
        Some("integer") => Form::Count { max: schema["maximum"].as_u64().unwrap_or(u64::MAX) },
        Some("boolean") => Form::Flag,
        Some("object") => Form::Family,
        Some("array") => Form::Words(words(&schema["items"]).unwrap_or_default()),
        _ => match words(schema) {
            Some(words) => Form::Word(words),
            None => Form::Text { format: schema["format"].as_str().map(str::to_owned) },
        },
    }
}

/// Refuses parameters of the query that are not declared, or come twice.
pub(crate) fn check_names(spec: &Spec, params: &[Param], query: &[(String, String)]) -> Result<()> {
    for (at, (name, _)) in query.iter().enumerate() {
        if query[..at].iter().any(|(before, _)| before == name) {
            return Err(bad(format!("the parameter `{name}` is there more than once")));
        }
        let namespace = spec.scope == Scope::Namespace && name == "namespace";
        if !namespace && !params.iter().any(|param| param.place == Place::Query && param.fits(name)) {
            return Err(unknown(spec, params, name));
        }
    }
    Ok(())
}

fn unknown(spec: &Spec, params: &[Param], name: &str) -> Error {
    let namespace = (spec.scope == Scope::Namespace).then(|| "namespace".to_owned());
    let known: Vec<String> =
        params.iter().filter(|param| param.place == Place::Query).map(Param::shown).chain(namespace).collect();
    let hint = if known.is_empty() { "it takes none".to_owned() } else { format!("it takes `{}`", known.join("`, `")) };
    bad(format!("`{name}` is not a parameter of `{}`", spec.path)).hint(hint)
}

/// Reads parameters of texts, each with the place that it came from.
pub(crate) fn decode<T: DeserializeOwned>(params: &[Param], given: &[(Place, String, String)]) -> Result<T> {
    let mut document = Map::new();
    for param in params {
        let mut its = given.iter().filter(|(place, name, _)| *place == param.place && param.fits(name)).peekable();
        if param.required && its.peek().is_none() {
            return Err(bad(format!("`{}` is missing", param.name)).hint(param.doc.clone()));
        }
        for (_, name, text) in its {
            let value = param.read(name, text)?;
            match (&param.form, member(&param.name, name)) {
                (Form::Family, Some(key)) => {
                    document.entry(param.name.as_str()).or_insert_with(|| Map::new().into())[key] = value;
                }
                _ => drop(document.insert(param.name.clone(), value)),
            }
        }
    }
    serde_json::from_value(document.into()).map_err(|error| bad(format!("the parameters do not fit: {error}")))
}

/// Writes parameters as texts, each with the place that it goes to.
pub(crate) fn encode<T: Serialize>(params: &[Param], value: &T) -> Result<Vec<(Place, String, String)>> {
    let document = serde_json::to_value(value).map_err(|error| bad(format!("the parameters do not fit: {error}")))?;
    let mut written = Vec::new();
    for param in params {
        match &document[&param.name] {
            Value::Null => {}
            Value::Object(family) => written.extend(
                family.iter().map(|(key, value)| (param.place, format!("{}.{key}", param.name), text_of(value))),
            ),
            Value::Array(words) if words.is_empty() => {}
            Value::Array(words) => {
                let text = words.iter().map(text_of).collect::<Vec<_>>().join(",");
                written.push((param.place, param.name.clone(), text));
            }
            value => written.push((param.place, param.name.clone(), text_of(value))),
        }
    }
    Ok(written)
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Entry, Operation, runs::ListRuns};

    type Given = Vec<(Place, String, String)>;

    fn query(pairs: &[(&str, &str)]) -> Given {
        pairs.iter().map(|(name, text)| (Place::Query, (*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn parameters_are_written_and_read_alike() {
        let entry = Entry::of::<ListRuns>();
        let given = query(&[("children", "true"), ("label.a b", "c"), ("limit", "7"), ("status", "failed,running")]);
        let read: <ListRuns as Operation>::Params = decode(entry.params(), &given).unwrap();
        assert_eq!((read.limit, read.children, read.status.len()), (Some(7), true, 2));
        assert_eq!(read.labels["a b"], "c");
        assert_eq!(encode(entry.params(), &read).unwrap(), given);
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_name() {
        let entry = Entry::of::<ListRuns>();
        for (name, text) in [("limit", "0"), ("limit", "1001"), ("children", "yes"), ("status", "failed,odd")] {
            let error = decode::<<ListRuns as Operation>::Params>(entry.params(), &query(&[(name, text)])).unwrap_err();
            assert!(
                error.code == Code::BadRequest && error.message.contains(&format!("`{name}` is `{text}`")),
                "{error}"
            );
        }
        let check = |pairs: &[(&str, &str)]| {
            let pairs: Vec<_> = pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
            check_names(&ListRuns::SPEC, entry.params(), &pairs)
        };
        check(&[("namespace", "a"), ("label.x", "1"), ("label.y", "1")]).unwrap();
        for pairs in [&[("limt", "1")][..], &[("limit", "1"), ("limit", "1")], &[("label.", "1")], &[("label", "1")]] {
            assert_eq!(check(pairs).unwrap_err().code, Code::BadRequest, "{pairs:?}");
        }
    }

    #[test]
    fn every_parameter_in_a_path_is_declared_and_must_be_given() {
        for entry in crate::operations() {
            for name in entry.spec.path_params() {
                let param = entry.params().iter().find(|param| param.name == name);
                assert!(param.is_some_and(|param| param.required && param.place == Place::Path), "{}", entry.spec.id);
            }
            for name in entry.spec.headers {
                assert!(entry.params().iter().any(|param| param.name == *name), "{} {name}", entry.spec.id);
            }
            assert!(entry.params().iter().all(|param| !param.doc.is_empty()), "{}", entry.spec.id);
        }
    }
}
