//! Inputs from the command line: fields, files, whole documents.
//!
//! For: `--input` of `run` and `fork`, and payloads. Not for: checking them against a workflow (the engine does).
//! Invariant: the declared type of a field decides how its text is read, so that `"42"` for a string stays a text.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use consort_engine::check_whole_numbers;
use consort_types::{Code, Error, Result, limits};
use consort_workflow::{did_you_mean, listed};
use serde_json::{Map, Value};

/// Makes an input document of what was typed; `base` is what fields are put into.
pub(crate) fn document(typed: &[String], base: Value, schema: Option<&Value>, folder: &Path) -> Result<Value> {
    let mut document = match base {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    let mut given: Vec<&str> = Vec::new();
    for text in typed {
        if let Some(file) = text.strip_prefix('@') {
            let Value::Object(fields) = read_json(file, folder)? else {
                return Err(Error::new(Code::BadRequest, format!("`{file}` has no JSON object"))
                    .hint("a whole input is an object with a field for each input of the workflow"));
            };
            document.extend(fields);
            continue;
        }
        let Some((key, value)) = text.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            return Err(Error::new(Code::BadRequest, format!("`{text}` is no input"))
                .hint("write `--input KEY=VALUE`, `--input KEY=@FILE` or `--input @FILE.json`"));
        };
        let field = schema.and_then(|schema| schema.get("properties")?.get(key));
        if field.is_none() {
            refuse_unknown(key, schema)?;
        }
        let value = read_field(value, field, folder)?;
        if is_list(field) && given.contains(&key) {
            append(&mut document, key, value);
        } else {
            document.insert(key.to_owned(), value);
        }
        given.push(key);
    }
    absolute_paths(&mut document, schema, folder);
    Ok(Value::Object(document))
}

/// Refuses the name of a field that a workflow would refuse.
fn refuse_unknown(key: &str, schema: Option<&Value>) -> Result<()> {
    let closed = schema.filter(|schema| schema.get("additionalProperties") == Some(&Value::Bool(false)));
    let Some(schema) = closed.filter(|schema| schema.get("patternProperties").is_none()) else { return Ok(()) };
    let fields = schema.get("properties").and_then(Value::as_object);
    let names = || fields.into_iter().flat_map(Map::keys).map(String::as_str);
    let hint = did_you_mean(key, names()).unwrap_or_else(|| match names().next() {
        Some(_) => format!("it takes {}", listed(names())),
        None => "it takes none".to_owned(),
    });
    Err(Error::new(Code::BadInput, format!("the workflow has no input `{key}`")).hint(hint))
}

/// A document by itself: JSON, `@FILE`, or plain text.
pub(crate) fn payload(text: &str, folder: &Path) -> Result<Value> {
    match text.strip_prefix('@') {
        Some(file) => read_field_file(file, folder),
        None => json_or_text(text),
    }
}

fn append(document: &mut Map<String, Value>, key: &str, value: Value) {
    let more = match value {
        Value::Array(items) => items,
        one => vec![one],
    };
    let items = match document.remove(key) {
        Some(Value::Array(items)) => items,
        Some(one) => vec![one],
        None => Vec::new(),
    };
    document.insert(key.to_owned(), items.into_iter().chain(more).collect());
}

fn is_list(field: Option<&Value>) -> bool {
    has_type(field, "array")
}

/// Whether a field may have this type, by its own declaration or by one of its choices.
fn has_type(field: Option<&Value>, wanted: &str) -> bool {
    let Some(field) = field else { return false };
    let own = match field.get("type") {
        Some(Value::String(name)) => name == wanted,
        Some(Value::Array(names)) => names.iter().any(|name| name == wanted),
        _ => false,
    };
    let choices = ["anyOf", "oneOf"].into_iter().filter_map(|key| field.get(key)?.as_array()).flatten();
    own || choices.into_iter().any(|choice| has_type(Some(choice), wanted))
}

fn read_field(text: &str, field: Option<&Value>, folder: &Path) -> Result<Value> {
    let value = match text.strip_prefix('@') {
        Some(file) if has_type(field, "string") => Value::String(read_text(file, folder)?),
        Some(file) => read_field_file(file, folder)?,
        None if is_list(field) && text.trim_start().starts_with('[') => json_or_text(text)?,
        None if has_type(field, "string") => Value::String(text.to_owned()),
        None if is_list(field) => {
            let items = field.and_then(|field| field.get("items"));
            Value::Array(vec![read_field(text, items, folder)?])
        }
        None => json_or_text(text)?,
    };
    Ok(value)
}

fn json_or_text(text: &str) -> Result<Value> {
    match serde_json::from_str(text) {
        Ok(value) => check_whole_numbers("input", text.as_bytes()).map(|()| value),
        Err(_) => Ok(Value::String(text.to_owned())),
    }
}

/// A file as JSON where its name ends in `.json`, else as text.
fn read_field_file(file: &str, folder: &Path) -> Result<Value> {
    let json = Path::new(file).extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json"));
    if json { read_json(file, folder) } else { Ok(Value::String(read_text(file, folder)?)) }
}

fn read_json(file: &str, folder: &Path) -> Result<Value> {
    let text = read_text(file, folder)?;
    let value = serde_json::from_str(&text).map_err(|error| {
        Error::new(Code::BadJson, format!("`{file}` is not JSON: {error}")).hint("check it with another program")
    })?;
    check_whole_numbers("input", text.as_bytes()).map(|()| value)
}

/// The text of a file; `-` is standard input.
pub(crate) fn read_text(file: &str, folder: &Path) -> Result<String> {
    let refused = |error: std::io::Error| {
        Error::new(Code::SourceNotFound, format!("`{file}` cannot be read: {error}"))
            .hint("a relative path is taken from the current folder")
    };
    let mut text = String::new();
    let limit = limits::PAYLOAD_BYTES_MAX as u64 + 1;
    if file == "-" {
        std::io::stdin().lock().take(limit).read_to_string(&mut text).map_err(refused)?;
    } else {
        let opened = std::fs::File::open(folder.join(file)).map_err(refused)?;
        opened.take(limit).read_to_string(&mut text).map_err(refused)?;
    }
    if text.len() > limits::PAYLOAD_BYTES_MAX {
        let max = limits::PAYLOAD_BYTES_MAX;
        return Err(Error::new(
            Code::PayloadTooLarge,
            format!("`{file}` has more than {max} bytes, the limit is {max}"),
        )
        .hint("store the document elsewhere and pass a reference to it"));
    }
    Ok(text)
}

/// Makes fields of `format: path` absolute: the engine may work in another folder than this command. A field that was
/// left out gets its default here, for the same reason.
fn absolute_paths(document: &mut Map<String, Value>, schema: Option<&Value>, folder: &Path) {
    let Some(fields) = schema.and_then(|schema| schema.get("properties")).and_then(Value::as_object) else { return };
    for (name, field) in fields {
        let items = field.get("items").is_some_and(is_path);
        if !is_path(field) && !items {
            continue;
        }
        if let (None, Some(default)) = (document.get(name), field.get("default")) {
            document.insert(name.clone(), default.clone());
        }
        match document.get_mut(name) {
            Some(Value::Array(items)) => items.iter_mut().for_each(|item| make_absolute(item, folder)),
            Some(value) => make_list_absolute(value, is_list(Some(field)), folder),
            None => {}
        }
    }
}

fn is_path(schema: &Value) -> bool {
    schema.get("format").is_some_and(|format| format == "path")
}

/// One path; an item of a list is never several.
fn make_absolute(value: &mut Value, folder: &Path) {
    if let Value::String(text) = value {
        *text = absolute(text, folder);
    }
}

fn absolute(path: &str, folder: &Path) -> String {
    // A name may begin or end with a blank.
    let path = if folder.join(path).exists() { path } else { path.trim() };
    let path: PathBuf = folder.join(path).components().collect();
    path.display().to_string()
}

/// A text may hold several paths with commas between. A name may have commas too: of what is there, the longest name is
/// meant. Several become a list where the field can be one, so that they are not cut again.
fn make_list_absolute(value: &mut Value, may_be_list: bool, folder: &Path) {
    let Value::String(text) = value else { return };
    let parts: Vec<&str> = text.split(',').collect();
    let mut paths = Vec::new();
    let mut from = 0;
    while from < parts.len() {
        let there = |to: &usize| {
            let joined = parts[from..*to].join(",");
            folder.join(&joined).exists() || folder.join(joined.trim()).exists()
        };
        let to = (from + 2..=parts.len()).rev().find(there).unwrap_or(from + 1);
        paths.push(absolute(&parts[from..to].join(","), folder));
        from = to;
    }
    *value = if may_be_list && paths.len() > 1 { paths.into() } else { paths.join(",").into() };
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({"type": "object", "properties": {
            "name": {"type": "string"},
            "count": {"type": "integer"},
            "sources": {"type": "array", "items": {"type": "string", "format": "path"}},
            "places": {"format": "path", "anyOf": [{"type": "array"}, {"type": "string"}]},
            "root": {"format": "path", "type": "string", "default": "."},
        }})
    }

    fn read(typed: &[&str]) -> Result<Value> {
        let typed: Vec<String> = typed.iter().map(|text| (*text).to_owned()).collect();
        document(&typed, json!({}), Some(&schema()), Path::new("/data"))
    }

    #[test]
    fn the_declared_type_decides() {
        assert_eq!(read(&["name=42", "count=42"]).unwrap(), json!({"name": "42", "count": 42, "root": "/data"}));
        assert_eq!(
            read(&["other=true", "more=plain"]).unwrap(),
            json!({"other": true, "more": "plain", "root": "/data"})
        );
        assert_eq!(read(&["name=a=b"]).unwrap(), json!({"name": "a=b", "root": "/data"}));
    }

    #[test]
    fn lists_grow_and_paths_become_absolute() {
        let field = |typed: &[&str], name: &str| read(typed).unwrap()[name].clone();
        assert_eq!(field(&["sources=a", "sources=/b", "sources=./c"], "sources"), json!(["/data/a", "/b", "/data/c"]));
        assert_eq!(field(&["sources=[\"x\"]"], "sources"), json!(["/data/x"]));
        assert_eq!(field(&["places=a, b"], "places"), json!(["/data/a", "/data/b"]));
        assert_eq!(field(&["root=a, b"], "root"), json!("/data/a,/data/b"));
        assert_eq!(field(&["places=a", "places=b"], "places"), json!(["/data/a", "/data/b"]));
        assert_eq!(field(&["root=x"], "root"), json!("/data/x"));
    }

    #[test]
    fn a_name_with_commas_is_one_path_where_it_is_there() {
        let folder = consort_testkit::temp_dir();
        for name in ["a, b.md", "c.md", " led.md"] {
            std::fs::write(folder.path().join(name), "text").unwrap();
        }
        let read = |typed: &str| {
            let read = document(&[format!("places={typed}")], json!({}), Some(&schema()), folder.path()).unwrap();
            let shown = read["places"].to_string();
            shown.replace(&format!("{}/", folder.path().display()), "")
        };
        assert_eq!(read("a, b.md"), "\"a, b.md\"");
        assert_eq!(read("c.md, a, b.md,none.md"), "[\"c.md\",\"a, b.md\",\"none.md\"]");
        assert_eq!(read("[\"a, b.md\"]"), "[\"a, b.md\"]");
        assert_eq!(read(" led.md"), "\" led.md\"");
    }

    #[test]
    fn a_name_that_a_workflow_refuses_is_told_with_what_may_have_been_meant() {
        let closed = json!({"properties": {"name": {"type": "string"}}, "additionalProperties": false});
        let refused = |typed: &str, schema: &Value| {
            document(&[typed.to_owned()], json!({}), Some(schema), Path::new("/")).unwrap_err()
        };
        let error = refused("nam=x", &closed);
        assert_eq!((error.code, error.hint.as_deref()), (Code::BadInput, Some("did you mean `name`?")));
        assert_eq!(refused("other=x", &closed).hint.as_deref(), Some("it takes `name`"));
        let none = json!({"properties": {}, "additionalProperties": false});
        assert_eq!(refused("a=x", &none).hint.as_deref(), Some("it takes none"));
    }

    #[test]
    fn files_are_text_or_json_or_a_whole_input() {
        let folder = consort_testkit::temp_dir();
        std::fs::write(folder.path().join("a.json"), "{\"name\": \"n\", \"count\": 1}").unwrap();
        std::fs::write(folder.path().join("b.txt"), "text\n").unwrap();
        let read = |typed: &[&str]| {
            let typed: Vec<String> = typed.iter().map(|text| (*text).to_owned()).collect();
            document(&typed, json!({"old": 1}), Some(&schema()), folder.path())
        };
        let whole = read(&["@a.json", "count=2"]).unwrap();
        assert_eq!((&whole["old"], &whole["name"], &whole["count"]), (&json!(1), &json!("n"), &json!(2)));
        assert_eq!(read(&["name=@b.txt"]).unwrap()["name"], "text\n");
        assert_eq!(payload("@a.json", folder.path()).unwrap()["count"], 1);
        assert_eq!(read(&["@missing.json"]).unwrap_err().code, Code::SourceNotFound);
        assert_eq!(read(&["nonsense"]).unwrap_err().code, Code::BadRequest);
    }
}
