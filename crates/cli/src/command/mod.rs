//! One module for each command.
//!
//! For: what a command does and what it prints. Not for: how requests travel or how lines are drawn.
//! Invariant: a command returns how the process ends; it ends the process never by itself.

mod agents;
mod agents_watch;
mod backup;
mod ballots;
mod barriers;
#[cfg(any(feature = "bridge", feature = "mirror"))]
mod beside;
#[cfg(feature = "bridge")]
mod bridge;
mod config;
mod decide;
mod deployed;
mod dev;
mod docs;
mod doctor;
mod events;
mod hints;
mod inbox;
mod init;
mod limits;
mod lock_claim;
mod locks;
mod locks_run;
#[cfg(feature = "mirror")]
mod mirror;
mod namespaces;
mod outcome;
mod patterns;
mod queues;
mod quotas;
mod rehearse;
mod replay_check;
mod run;
mod runs;
mod runs_ask;
mod runs_list;
mod runs_show;
mod schedules;
mod spaces;
mod state;
mod step;
mod subscriptions;
mod triggers;
mod up;
mod workflows;

use clap::CommandFactory as _;
use consort_types::Result;

use crate::{
    app::App,
    args::{Cli, Command, ConfigCommand, DocsPage},
    exit::Exit,
};

/// Carries a command out.
pub(crate) async fn execute(app: &App, command: Command) -> Result<Exit> {
    match command {
        Command::Run(args) => run::execute(app, args).await,
        Command::Up(_) => up::execute(app).await,
        Command::Dev(_) => dev::execute(app).await,
        Command::Runs(command) => runs::execute(app, command).await,
        Command::Workflows(command) => workflows::execute(app, command).await,
        Command::Patterns(command) => patterns::execute(app, command),
        Command::Inbox { command } => inbox::execute(app, command).await,
        Command::Agents(command) => agents::execute(app, command).await,
        Command::ReplayCheck(args) => replay_check::execute(app, args).await,
        Command::Queues { watch } => queues::execute(app, watch).await,
        Command::Quotas(command) => quotas::execute(app, command).await,
        #[cfg(feature = "mirror")]
        Command::State(crate::args::StateCommand::Mirror(args)) => mirror::execute(app, args).await,
        Command::State(command) => state::execute(app, command).await,
        Command::Locks(command) => locks::execute(app, command).await,
        Command::Barriers(command) => barriers::execute(app, command).await,
        Command::Ballots(command) => ballots::execute(app, command).await,
        #[cfg(feature = "bridge")]
        Command::Events(crate::args::EventsCommand::Bridge(args)) => bridge::execute(app, *args).await,
        Command::Events(command) => events::execute(app, command).await,
        Command::Subscriptions(command) => subscriptions::execute(app, command).await,
        Command::Triggers(command) => triggers::execute(app, command).await,
        Command::Schedules(command) => schedules::execute(app, command).await,
        Command::Namespaces(command) => namespaces::execute(app, command).await,
        Command::Limits => limits::execute(app).await,
        Command::Backup(args) => backup::execute(app, args).await,
        Command::Restore(args) => backup::restore(app, args).await,
        Command::Doctor(args) => doctor::execute(app, args).await,
        Command::Config(ConfigCommand::Show { origin }) => Ok(config::show(app, origin)),
        Command::Init { folder, example, python, typescript, rust } => {
            let starters = [(python, &init::PYTHON), (typescript, &init::TYPESCRIPT), (rust, &init::RUST)];
            let starter = starters.into_iter().find_map(|(wanted, starter)| wanted.then_some(starter));
            init::execute(app, &folder, example, starter)
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "consort", &mut script);
            app.print(&String::from_utf8_lossy(&script));
            Ok(Exit::Ok)
        }
        Command::InternalExtractPdf { .. } => unreachable!("reading a PDF file needs no engine: `main` does it"),
        Command::InternalDocs { page } => {
            let text = match page {
                DocsPage::Cli => docs::page(),
                DocsPage::Configuration => consort_server::settings::reference_page(),
            };
            app.print(&text);
            Ok(Exit::Ok)
        }
    }
}
