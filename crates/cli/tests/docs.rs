//! Generated pages match the code.
//!
//! For: `docs/cli.md` and `docs/configuration.md`. Not for: prose.
//! Invariant: as in `common`.

mod common;

use std::path::Path;

#[test]
fn the_generated_pages_are_current() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let folder = common::Folder::new();
    for page in ["cli", "configuration"] {
        let made = folder.ok(&["internal-docs", page]);
        let kept = std::fs::read_to_string(docs.join(format!("{page}.md"))).unwrap_or_default();
        assert!(made == kept, "docs/{page}.md has drifted: `consort internal-docs {page} > docs/{page}.md`");
    }
}
