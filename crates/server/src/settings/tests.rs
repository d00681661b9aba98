//! Precedence and origins of settings.
//!
//! For: the order of the five places. Not for: what each key means.
//! Invariant: no test reads the machine's own environment or files.

use std::{collections::BTreeMap, path::Path};

use consort_testkit::temp_dir;
use consort_types::Code;

use super::{Origin, Sources, keys};

fn sources(root: &Path) -> Sources {
    let folder = root.join("project/below");
    std::fs::create_dir_all(&folder).unwrap();
    Sources {
        folder,
        user_file: Some(root.join("user.toml")),
        system_file: Some(root.join("system.toml")),
        ..Sources::default()
    }
}

#[test]
fn the_nearest_place_decides() {
    let root = temp_dir();
    let root = root.path();
    let places = [root.join("system.toml"), root.join("user.toml"), root.join("project/consort.toml")];
    let mut given = sources(root);
    assert_eq!(given.clone().load().unwrap().show(keys::LOG), ("warn", &Origin::Default));
    for (place, level) in places.iter().zip(["error", "info", "debug"]) {
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::write(place, format!("log = \"{level}\"\n")).unwrap();
        assert_eq!(given.clone().load().unwrap().show(keys::LOG), (level, &Origin::File(place.clone())));
    }
    given.environment = BTreeMap::from([("CONSORT_LOG".to_owned(), "trace".to_owned())]);
    let environment = Origin::Environment("CONSORT_LOG".to_owned());
    assert_eq!(given.clone().load().unwrap().show(keys::LOG), ("trace", &environment));
    given.flags = BTreeMap::from([("log", "off".to_owned())]);
    assert_eq!(given.clone().load().unwrap().show(keys::LOG), ("off", &Origin::Flag));
    given.flags.clear();
    given.environment.insert("CONSORT_LOG".to_owned(), String::new());
    assert_eq!(given.load().unwrap().log(), "debug");
}

#[test]
fn paths_are_taken_from_where_they_were_written() {
    let root = temp_dir();
    let root = root.path();
    let mut given = sources(root);
    assert_eq!(given.clone().load().unwrap().data_dir(), root.join("project/below/.consort"));
    let file = root.join("project/consort.toml");
    std::fs::write(&file, "").unwrap();
    assert_eq!(given.clone().load().unwrap().data_dir(), root.join("project/.consort"));
    std::fs::write(&file, "data-dir = \"data\"\n").unwrap();
    assert_eq!(given.clone().load().unwrap().data_dir(), root.join("project/data"));
    given.flags = BTreeMap::from([("data-dir", "here".to_owned())]);
    assert_eq!(given.load().unwrap().data_dir(), root.join("project/below/here"));
}

#[test]
fn bad_files_are_refused_with_their_place() {
    let root = temp_dir();
    let root = root.path();
    let file = root.join("project/consort.toml");
    for (text, said) in [
        ("log = \n", "line 1"),
        ("unheard = 1\n", "`unheard`"),
        ("concurrency = true\n", "boolean"),
        ("concurrency = 0\n", "consort.toml"),
    ] {
        let given = sources(root);
        std::fs::write(&file, text).unwrap();
        let error = given.load().unwrap_err();
        assert!(error.code == Code::BadSetting && error.message.contains(said), "{error}");
    }
}

#[test]
fn a_secret_is_not_shown() {
    let root = temp_dir();
    let mut given = sources(root.path());
    given.environment = BTreeMap::from([("CONSORT_TOKEN".to_owned(), "sesame".to_owned())]);
    let settings = given.load().unwrap();
    assert_eq!((settings.show(keys::TOKEN).0, settings.token()), ("(set)", Some("sesame")));
}
