//! A text that was accepted once is accepted by every later version.
//!
//! Every text of `corpus/` has its normal form beside it, one file for each language version that had the text. A
//! recorded file never changes: a new language version adds files with its own number.

use std::{
    fs,
    path::{Path, PathBuf},
};

use consort_workflow::{CompiledWorkflow, LANGUAGE_VERSION};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn texts() -> Vec<(String, String)> {
    let mut texts: Vec<(String, String)> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap()))
        .collect();
    texts.sort();
    texts
}

fn form_path(name: &str, language: u32) -> PathBuf {
    folder().join(format!("{name}.v{language}.cbor"))
}

fn compiled(language: u32, normal_form: Vec<u8>) -> CompiledWorkflow {
    CompiledWorkflow { language, normal_form, source: String::new(), writer: "the corpus".to_owned() }
}

#[test]
fn every_text_checks_and_gives_the_recorded_bytes() {
    let texts = texts();
    assert!(texts.len() >= 15, "the corpus is complete");
    for (name, source) in texts {
        let checked = crate::checked(&source);
        let path = form_path(&name, LANGUAGE_VERSION);
        if std::env::var_os("CONSORT_RECORD").is_some() && !path.exists() {
            fs::write(&path, &checked.compiled.normal_form).unwrap();
        }
        let recorded = fs::read(&path).unwrap_or_else(|_| {
            panic!("`{}` is missing: record it with CONSORT_RECORD=1, then commit it", path.display())
        });
        assert!(
            checked.compiled.normal_form == recorded,
            "`{name}` has another normal form than was recorded: that needs a new language version"
        );
    }
}

#[test]
fn every_recorded_form_is_read_as_the_definition_of_its_text() {
    for (name, source) in texts() {
        let definition = crate::parse(&source);
        for language in 1..=LANGUAGE_VERSION {
            let Ok(bytes) = fs::read(form_path(&name, language)) else { continue };
            let read = compiled(language, bytes).definition().unwrap();
            assert_eq!(format!("{read:#?}"), format!("{definition:#?}"), "{name}, language version {language}");
        }
    }
}

#[test]
fn what_was_read_is_written_as_it_was() {
    for (name, _) in texts() {
        let bytes = fs::read(form_path(&name, LANGUAGE_VERSION)).unwrap();
        let read = compiled(LANGUAGE_VERSION, bytes.clone()).definition().unwrap();
        assert!(CompiledWorkflow::new(&read, "", "").normal_form == bytes, "{name}");
    }
}

#[test]
fn damaged_forms_are_refused_or_read_but_never_panic() {
    let (name, _) = &texts()[0];
    let bytes = fs::read(form_path(name, LANGUAGE_VERSION)).unwrap();
    for at in 0..bytes.len() {
        for change in [0x01, 0x20, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] ^= change;
            let _ = compiled(LANGUAGE_VERSION, damaged).definition();
        }
        assert!(compiled(LANGUAGE_VERSION, bytes[..at].to_vec()).definition().is_err());
    }
}
