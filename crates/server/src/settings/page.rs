//! `docs/configuration.md`, made from the table of keys.
//!
//! For: a reference that cannot drift. Not for: tutorials.
//! Invariant: every key is on the page with its kind, default, variable, flag and purpose.

use std::fmt::Write as _;

use super::keys;

const HEAD: &str = "<!-- Generated from `crates/server/src/settings`; a test compares. -->\n
# Configuration

Every setting can be given in five places. The first that is set decides:

1. the flag on the command line, where there is one,
2. the environment variable (an empty one counts as not set),
3. the project's file: `consort.toml` in the current folder or the nearest folder above it,
4. the user's file: `$XDG_CONFIG_HOME/consort/config.toml`, or `~/.config/consort/config.toml`,
5. the system's file: `/etc/consort/config.toml`.

`consort config show --origin` prints every value with the place that it came from.
A file is a flat TOML table, for example:

```toml
data-dir = \"/var/lib/consort\"
listen = \"127.0.0.1:7878\"
concurrency = 4
```

A relative path in a file is taken from the folder of that file. A list of commands (`dev-workers`) is a TOML array of texts. An unknown name or a value that does not fit is an error that names its place.

| setting | value | default | environment | flag | what it is for |
|---|---|---|---|---|---|
";

/// The text of the page.
pub fn reference_page() -> String {
    let mut page = HEAD.to_owned();
    for key in keys::ALL {
        let default = if key.default.is_empty() { "none".to_owned() } else { format!("`{}`", key.default) };
        let flag = if key.flag { format!("`--{}`", key.name) } else { String::new() };
        let (name, kind, variable, doc) = (key.name, key.kind.describe(), key.variable(), key.doc.trim());
        let _ = writeln!(page, "| `{name}` | {kind} | {default} | `{variable}` | {flag} | {doc} |");
    }
    page
}
