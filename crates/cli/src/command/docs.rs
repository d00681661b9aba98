//! `docs/cli.md`, made from the commands themselves.
//!
//! For: a reference that cannot drift. Not for: a tour (that is `docs/tour.md`).
//! Invariant: every visible command, argument and flag is on the page.

use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory as _};

use crate::{args::Cli, exit::TABLE};

const HEAD: &str = "<!-- Generated from `crates/cli/src/args`; a test compares. -->\n
# The `consort` command

A command talks to the server that `--server` or `CONSORT_SERVER` names. Without one it reads the lock file of the data folder: where another process has the folder open (`consort up`, or a running `consort run`), it talks to that process; where none has, it opens the folder itself.

`consort run` hosts the engine in its own process where no server does. A run that was interrupted (by Ctrl-C, by `kill -9`, by a power cut) is kept and continues as soon as the folder is open again. The same command again (same workflow text, same input, same labels) continues that run instead of starting another; `--new` starts another. The run is found by its label `consort.invocation`, a hash of these.

Results go to standard output, everything else to standard error. With `--json` results are JSON: one document, or one a line for lists. Colour is used on terminals, unless `NO_COLOR` is set.

A table has its heads also in a pipe, where an empty cell is `-`. On a terminal that is too narrow it leaves out what is least useful and says so; the text of an error stays. Characters that a terminal would obey instead of showing them are replaced, and escaped in JSON.

A run is named by its id, by a unique part of its beginning or end, or by `last`.

## Exit codes

| code | means |
|---|---|
";

/// The text of the page.
pub(super) fn page() -> String {
    let mut page = HEAD.to_owned();
    for (exit, meaning) in TABLE {
        let _ = writeln!(page, "| {} | {meaning} |", exit.code());
    }
    let mut root = Cli::command();
    root.build();
    page.push_str("\n## Flags of every command\n\n");
    arguments(&mut page, &root, Arg::is_global_set);
    page.push_str("\n## Commands\n");
    commands(&mut page, &root, "consort");
    page
}

fn commands(page: &mut String, command: &Command, path: &str) {
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set() && inner.get_name() != "help") {
        let path = format!("{path} {}", inner.get_name());
        let about = inner.get_about().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(page, "\n### `{path}`\n\n{about}.");
        if !inner.has_subcommands() || inner.get_positionals().next().is_some() {
            let usage = inner.clone().render_usage().to_string();
            let usage = usage.strip_prefix("Usage: ").unwrap_or(&usage).to_owned();
            let _ = writeln!(page, "\n`{}`\n", usage.trim());
        } else {
            page.push('\n');
        }
        arguments(page, inner, |arg| !arg.is_global_set());
        commands(page, inner, &path);
    }
}

fn arguments(page: &mut String, command: &Command, wanted: impl Fn(&Arg) -> bool) {
    let shown = |arg: &&Arg| wanted(arg) && !arg.is_hide_set() && !matches!(arg.get_id().as_str(), "help" | "version");
    for arg in command.get_arguments().filter(shown) {
        let help = arg.get_long_help().or_else(|| arg.get_help()).map(ToString::to_string).unwrap_or_default();
        let help = help.split('\n').map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
        let default: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        let takes = arg.get_action().takes_values();
        let default =
            if default.is_empty() || !takes { String::new() } else { format!(" Default: `{}`.", default.join(" ")) };
        let values: Vec<String> =
            arg.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
        let values =
            if values.is_empty() || !takes { String::new() } else { format!(" One of {}.", values.join(", ")) };
        let end = if help.ends_with(']') { "" } else { "." };
        let _ = writeln!(page, "- `{}`: {help}{end}{values}{default}", name(arg));
    }
}

fn name(arg: &Arg) -> String {
    let value = || {
        let names = arg.get_value_names().unwrap_or_default();
        names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    let Some(long) = arg.get_long() else { return value() };
    let short = arg.get_short().map(|short| format!("-{short}, ")).unwrap_or_default();
    let value = if arg.get_action().takes_values() { format!(" {}", value()) } else { String::new() };
    format!("{short}--{long}{value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(command: &Command) {
        assert!(command.get_about().is_some(), "{} has no help", command.get_name());
        for arg in command.get_arguments() {
            assert!(arg.get_help().is_some(), "{} of {} has no help", arg.get_id(), command.get_name());
        }
        command.get_subcommands().for_each(check);
    }

    #[test]
    fn every_operation_names_commands_that_are_there() {
        for entry in consort_api::operations() {
            for words in entry.spec.words {
                let root = Cli::command();
                let mut command = &root;
                for word in words.split(' ') {
                    let found = command.find_subcommand(word);
                    command = found.unwrap_or_else(|| panic!("`{}` names `{words}`", entry.spec.id));
                }
            }
        }
    }

    #[test]
    fn the_commands_are_well_formed_and_every_part_has_help() {
        Cli::command().debug_assert();
        check(&Cli::command());
    }
}
