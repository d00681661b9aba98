//! The `consort` command.
//!
//! For: parsing, one runtime, one exit code. Not for: any command (see `command`).
//! Invariant: an error is printed once, here, with its code and hint, and the exit code follows from it.

mod app;
mod args;
mod client;
mod command;
mod contact;
mod exit;
mod follow;
mod input;
mod reach;
mod select;
mod show;
mod signals;
mod source;

use std::process::ExitCode;

use clap::Parser as _;
use consort_types::{Code, Error, Result};

use crate::{
    app::App,
    args::{Cli, Command},
    exit::Exit,
    show::style::{Paint, Style, wrapped},
};

/// Half of what a step costs is small allocations, made on one thread and freed on another: the C library's allocator is
/// slow at that, and keeps the memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // This one reads a hostile file: it gets nothing that it does not need.
    if let Command::InternalExtractPdf { file } = &cli.command {
        return consort_server::pdf_child_main(file);
    }
    let style = Style::stderr(cli.globals.color);
    let exit = run(cli).unwrap_or_else(|error| {
        write_error(&error, style);
        Exit::of(&error)
    });
    ExitCode::from(exit.code())
}

fn run(cli: Cli) -> Result<Exit> {
    let mut settings = cli.globals.settings();
    match &cli.command {
        Command::Up(args) => settings.extend(args.settings()),
        Command::Dev(args) => settings.extend(args.settings()),
        _ => {}
    }
    let app = App::new(&cli.globals, settings)?;
    consort_server::start_telemetry(app.settings.log());
    let runtime = consort_server::runtime()
        .map_err(|error| Error::new(Code::Internal, format!("the runtime cannot be started: {error}")))?;
    let exit = runtime.block_on(command::execute(&app, cli.command));
    // What still computes on a thread of its own is recorded as lost, and is done again later.
    runtime.shutdown_background();
    exit
}

/// Prints an error on standard error.
pub(crate) fn print_error(app: &App, error: &Error) {
    write_error(error, app.err);
}

fn write_error(error: &Error, style: Style) {
    use std::io::Write as _;
    let head = style.paint(Paint::Red, &format!("error[{}]", error.code));
    let mut text = format!("{head}: {}\n", wrapped(&error.message, format!("error[{}]: ", error.code).len(), style));
    if let Some(hint) = &error.hint {
        let hint = wrapped(hint, "  hint: ".len(), style);
        text.extend(["  ", &style.paint(Paint::Cyan, "hint"), ": ", &hint, "\n"]);
    }
    // Where standard error is closed, there is nowhere to report that.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}
