//! `consort doctor`: examines the data folder and the machine.
//!
//! For: telling what is wrong and what to do, and mending the folder's marker where that is asked for. Not for:
//! repairing anything else.
//! Invariant: one line for each examination; a bad finding makes the command fail.

use consort_server::doctor::{Finding, Health};
use consort_types::Result;
use serde_json::json;

use crate::{app::App, args::DoctorArgs, exit::Exit, show::style::Paint};

pub(crate) async fn execute(app: &App, args: &DoctorArgs) -> Result<Exit> {
    if args.mend_marker {
        let last = consort_server::mend_marker(&app.settings).await?;
        app.tell(&format!("the marker is written anew, beside a log that ends at record {last}"));
    }
    let mut worst = Health::Good;
    for finding in consort_server::doctor::examine(&app.settings).await {
        worst = worst.max(finding.health);
        print(app, &finding);
    }
    Ok(if worst == Health::Bad { Exit::Broken } else { Exit::Ok })
}

fn print(app: &App, finding: &Finding) {
    let Finding { subject, health, detail, hint } = finding;
    let (word, paint) = match health {
        Health::Good => ("ok", Paint::Green),
        Health::Odd => ("note", Paint::Yellow),
        Health::Bad => ("bad", Paint::Red),
    };
    if app.json {
        let document = json!({ "subject": subject, "health": word, "detail": detail, "hint": hint });
        app.print(&format!("{document}\n"));
        return;
    }
    app.print(&format!("{}{}  {subject}: {detail}\n", " ".repeat(4 - word.len()), app.out.paint(paint, word)));
    if let Some(hint) = hint {
        app.print(&format!("      hint: {hint}\n"));
    }
}
