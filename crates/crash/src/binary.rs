//! The program under test.
//!
//! For: finding it, and running it without the settings of the user who runs the tests. Not for: talking to it.
//! Invariant: it is the one that was built beside the test.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

/// The binary `consort` of the profile that the test was built with. Where it is missing (this test runs alone in a
/// fresh folder), it is built as the gate builds it; an older one is taken as it is.
///
/// # Panics
/// Where it can be neither found nor built.
pub fn consort() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        let own = std::env::current_exe().expect("the program has a file");
        let folder = own.parent().expect("`target/PROFILE/PROGRAM` or `target/PROFILE/deps/TEST`");
        let profile = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
        let binary = profile.join("consort");
        if !binary.is_file() {
            build(profile);
        }
        assert!(binary.is_file(), "no `consort` in {}: run `cargo build --workspace --bins` first", profile.display());
        binary
    })
}

/// All programs at once, as the gate does: one alone could be built with other features of what it depends on.
fn build(profile: &Path) {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--workspace", "--bins"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    // The folder of a profile has its name, but for that of `dev`.
    let name = profile.file_name().map_or("dev".into(), OsStr::to_string_lossy);
    cargo.args(["--profile", if name == "debug" { "dev" } else { &name }]);
    let status = cargo.status().expect("cargo starts");
    assert!(status.success(), "the program could not be built: {status}");
}

/// A command of the program, silent, in this folder.
pub fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(consort());
    command.args(args).current_dir(folder).env("HOME", folder).env("XDG_CONFIG_HOME", folder.join(".config"));
    command.env("NO_COLOR", "1").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CONSORT_")) {
        command.env_remove(name);
    }
    command
}

/// The settings of all servers in this folder: a drain that is short, and rows that go to the store often.
///
/// # Panics
/// Where the folder cannot be written.
pub fn settle(folder: &Path) {
    let settings = "drain-timeout = \"250ms\"\nflush-interval = \"40ms\"\nsync-interval = \"400ms\"\n";
    std::fs::write(folder.join("consort.toml"), settings).expect("the folder can be written");
}
