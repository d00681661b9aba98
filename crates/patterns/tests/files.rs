//! What ships is what is in the folders, and it is sound.
//!
//! For: the table against `workflows/patterns`. Not for: what a pattern does (see `crates/cli/tests/patterns.rs`).
//! Invariant: a file that is in no table fails here.

use std::{collections::BTreeSet, path::Path};

use consort_patterns::{ALL, Pattern, find};

#[test]
fn the_table_has_each_folder_and_each_file() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../workflows/patterns");
    let names = |folder: &Path| -> BTreeSet<String> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        entries.map(|name| name.to_string_lossy().into_owned()).filter(|name| name != "__pycache__").collect()
    };
    assert_eq!(names(&root), ALL.iter().map(|pattern| pattern.name.to_owned()).collect());
    for pattern in ALL {
        let files = pattern.files.iter().map(|file| file.name.to_owned()).collect();
        assert_eq!(names(&root.join(pattern.name)), files, "{}", pattern.name);
    }
}

#[test]
fn every_workflow_passes_the_checker_without_a_warning() {
    for (pattern, file) in ALL.iter().flat_map(|pattern| pattern.workflows().map(move |file| (pattern, file))) {
        let place = format!("{}/{}", pattern.name, file.name);
        let checked = consort_workflow_check::check(file.text);
        let checked = checked.unwrap_or_else(|found| panic!("{}", found.render(&place, file.text, false)));
        assert!(checked.warnings.0.is_empty(), "{}", checked.warnings.render(&place, file.text, false));
        assert_eq!(format!("{}.yaml", checked.definition.name), file.name, "{place}");
    }
}

#[test]
fn a_pattern_is_found_by_its_name_and_says_what_it_is_for() {
    assert!(find("nothing").is_none());
    for pattern in ALL {
        assert!(std::ptr::eq::<Pattern>(find(pattern.name).unwrap(), pattern), "{} is there twice", pattern.name);
        assert!(pattern.workflows().count() > 0 && !pattern.fits.is_empty() && !pattern.instead.is_empty());
        assert!(pattern.start.iter().any(|line| line.starts_with("consort ")), "{}", pattern.name);
    }
}
