//! `consort backup`, `consort backup verify` and `consort restore`.
//!
//! For: writing a backup, reading one, and making a data folder of one. Not for: the data folder's own health (see
//! `doctor`).
//! Invariant: a backup that lacks something makes the command fail, after everything else was written.

use std::path::PathBuf;

use consort_api::{
    NoParams,
    backup::{Backup, BackupRequest, MakeBackup},
};
use consort_server::Verified;
use consort_types::{Code, Error, Result};
use serde_json::{Value, json};

use crate::{
    app::{App, Need},
    args::{BackupArgs, BackupCommand, RestoreArgs},
    exit::Exit,
};

pub(crate) async fn execute(app: &App, args: BackupArgs) -> Result<Exit> {
    match (args.command, args.folder) {
        (Some(BackupCommand::Verify { folder }), _) => verify(app, folder).await,
        (None, Some(folder)) => make(app, folder).await,
        (None, None) => unreachable!("without a command there is a folder"),
    }
}

async fn make(app: &App, folder: PathBuf) -> Result<Exit> {
    // The folder is one of the server's machine, which knows nothing of this process's current folder.
    let folder = app.settings.folder().join(folder);
    let request = BackupRequest { folder: folder.display().to_string() };
    let made = async |session: &crate::app::Session| session.client.call::<MakeBackup>(&NoParams {}, &request).await;
    let made = app.with_session(Need::Look, made).await?;
    let Backup { record, time, rows, blobs, missing_blobs, bytes, files_written, bytes_written, .. } = &made;
    if app.json {
        app.print_json(&made);
    } else {
        app.print(&format!(
            "backup of {time}, up to record {record}: {rows} rows and {blobs} blobs, {}; {files_written} files of {} are new\n",
            size(*bytes),
            size(*bytes_written)
        ));
    }
    if *missing_blobs > 0 {
        let message = format!("{missing_blobs} blobs are missing or damaged, and so are not in the backup");
        crate::print_error(
            app,
            &Error::new(Code::Damaged, message).hint("`consort doctor` names them; what is there is in the backup"),
        );
        return Ok(Exit::Broken);
    }
    Ok(Exit::Ok)
}

async fn verify(app: &App, folder: PathBuf) -> Result<Exit> {
    let found = on_thread(move || consort_server::verify_backup(&folder)).await?;
    if app.json {
        app.print_json(&document(&found));
    } else {
        for fault in &found.faults {
            app.print(&format!("bad  {fault}\n"));
        }
        for hash in &found.missing {
            app.print(&format!("note  blob {hash} was missing when the backup was made\n"));
        }
        if found.faults.is_empty() {
            app.print(&format!("ok  {}\n", summary(&found)));
        }
    }
    Ok(if found.faults.is_empty() { Exit::Ok } else { Exit::Broken })
}

pub(crate) async fn restore(app: &App, args: RestoreArgs) -> Result<Exit> {
    let RestoreArgs { backup, into } = args;
    let shown = into.display().to_string();
    let restored = on_thread(move || consort_server::restore(&backup, &into)).await?;
    if app.json {
        let mut document = document(&restored.backup);
        document["log_first"] = json!(restored.log_first);
        app.print_json(&document);
    } else {
        app.print(&format!(
            "restored {shown} from the {}; its log continues at record {}\n",
            summary(&restored.backup),
            restored.log_first
        ));
    }
    Ok(Exit::Ok)
}

fn summary(found: &Verified) -> String {
    let Verified { record, time, rows, blobs, bytes, .. } = found;
    format!("backup of {time}, up to record {record}: {rows} rows and {blobs} blobs, {}", size(*bytes))
}

fn document(found: &Verified) -> Value {
    let faults = found.faults.iter().map(|fault| json!({ "file": fault.path, "detail": fault.what }));
    json!({
        "record": found.record, "time": found.time, "rows": found.rows, "blobs": found.blobs, "bytes": found.bytes,
        "missing_blobs": found.missing, "faults": faults.collect::<Vec<_>>(),
    })
}

/// Bytes as people read them.
fn size(bytes: u64) -> String {
    match bytes {
        0..10_240 => format!("{bytes} B"),
        10_240..10_485_760 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}

async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::new(Code::Internal, format!("the thread that reads the backup has ended: {error}")))?
}
