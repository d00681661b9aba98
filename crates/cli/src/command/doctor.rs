//! `consort doctor`: examines the data folder and the machine.
//!
//! For: reporting problems and what to do; restoring the folder's marker, making its store again, and refusing a record,
//! where an operator wants it. Not for: repairing anything else.
//! Invariant: one line for each examination; a bad finding makes the command fail.

use consort_api::agents::{AgentFilter, ListAgents};
use consort_server::{
    RefuseRecord,
    doctor::{Finding, Health},
};
use consort_types::{Result, Seq};
use serde_json::json;

use crate::{
    app::{App, Need, Session},
    args::DoctorArgs,
    exit::Exit,
    show::style::{Paint, clean},
};

pub(crate) async fn execute(app: &App, args: DoctorArgs) -> Result<Exit> {
    if args.mend_marker {
        let last = consort_server::mend_marker(&app.settings).await?;
        app.eprint(&format!("the marker is restored, beside a log that ends at record {last}"));
    }
    if args.rebuild_store {
        let last = consort_server::rebuild_store(&app.settings).await?;
        app.eprint(&format!("the store is made again; the next start applies the log up to record {last}"));
    }
    if let DoctorArgs { refuse_record: Some(seq), reason: Some(reason), by: Some(by), .. } = args {
        let refusal = RefuseRecord { seq: Seq(seq), reason, by };
        let by_record = consort_server::refuse_record(&app.settings, refusal).await?;
        app.eprint(&format!("record {seq} is passed over from now on, by record {by_record}"));
    }
    let mut worst = Health::Good;
    let mut findings = consort_server::doctor::examine(&app.settings).await;
    findings.extend(agents(app).await);
    for finding in findings {
        worst = worst.max(finding.health);
        print(app, &finding);
    }
    Ok(if worst == Health::Bad { Exit::Broken } else { Exit::Ok })
}

/// What connected agents declare that does not go together, where a server answers.
async fn agents(app: &App) -> Vec<Finding> {
    let served = app.settings.server().is_some() || app.holder().is_ok_and(|holder| holder.is_some());
    if !served {
        return Vec::new();
    }
    let list = async |session: &Session| session.client.call::<ListAgents>(&AgentFilter::default(), &()).await;
    let listed = match app.with_session(Need::Look, list).await {
        Ok(listed) => listed.items,
        Err(error) => {
            let detail = format!("they cannot be listed: {} ({})", error.message, error.code);
            return vec![Finding { subject: "agents", health: Health::Odd, detail, hint: error.hint }];
        }
    };
    let connected = listed.iter().filter(|agent| !agent.instances.is_empty()).count();
    let odd = |detail: String| Finding {
        subject: "agents",
        health: Health::Odd,
        detail,
        hint: Some(
            "tasks go to either; give one of the capabilities another name, or both the same schemas".to_owned(),
        ),
    };
    let told: Vec<Finding> = listed
        .iter()
        .flat_map(|agent| {
            let (name, version) = (clean(&agent.name), clean(&agent.version));
            agent.warnings.iter().map(move |warning| odd(format!("{name} {version}: {}", clean(warning))))
        })
        .collect();
    if told.is_empty() {
        let detail = format!("{connected} connected; no two declare a capability with different schemas");
        return vec![Finding { subject: "agents", health: Health::Good, detail, hint: None }];
    }
    told
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
