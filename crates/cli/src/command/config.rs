//! `consort config show`: every setting, with its origin.
//!
//! For: finding out why a value is what it is. Not for: changing it (edit a file).
//! Invariant: a secret is shown as `(set)`.

use consort_server::settings::keys;
use serde_json::{Map, json};

use crate::{
    app::App,
    exit::Exit,
    show::{style::Paint, table::Table},
};

pub(crate) fn show(app: &App, origin: bool) -> Exit {
    if app.json {
        let mut document = Map::new();
        for key in keys::ALL {
            let (value, from) = app.settings.show(key);
            let entry = if origin { json!({ "value": value, "origin": from.to_string() }) } else { json!(value) };
            document.insert(key.name.to_owned(), entry);
        }
        app.print_json(&document);
        return Exit::Ok;
    }
    let heads: &[&str] = if origin { &["SETTING", "VALUE", "ORIGIN"] } else { &["SETTING", "VALUE"] };
    let mut table = Table::new(heads);
    for key in keys::ALL {
        let (value, from) = app.settings.show(key);
        let value = if value.is_empty() { "(none)" } else { value };
        let mut row = vec![(key.name.to_owned(), Some(Paint::Cyan)), (value.to_owned(), None)];
        if origin {
            row.push((from.to_string(), Some(Paint::Dim)));
        }
        table.row(row);
    }
    app.print(&table.render(app.out));
    Exit::Ok
}
