//! Following a run.
//!
//! For: `WatchRun`: entries as they happen, live messages in between, and the end. Not for: keeping a place for a
//! client: its cursor is all there is, so a watch goes on wherever it broke off.
//! Invariant: entries come in order, each once, from the cursor on; `ended` is the last message.

use std::{collections::BTreeMap, pin::Pin};

use consort_engine::{WatchEvent, view::JournalView};
use consort_proto::v1::{self, watch_run_response::Kind};
use consort_types::{Code, Error, Result};
use futures::{Stream, StreamExt as _};
use serde_json::value::RawValue;
use tonic::Status;

use super::{Clients, id, namespace};
use crate::status::status;

type Watched = Pin<Box<dyn Stream<Item = Result<v1::WatchRunResponse, Status>> + Send>>;

impl Clients {
    pub(super) async fn watch(&self, request: v1::WatchRunRequest) -> Result<Watched> {
        let (namespace, run) = (namespace(request.namespace)?, id("run", &request.run)?);
        let after = (!request.after.is_empty()).then(|| request.after.parse()).transpose()?;
        let watch = self.engine.watch(&namespace, run, after).await?;
        let (clients, live) = (self.clone(), request.live);
        let events = watch.into_stream().filter_map(move |event| {
            let clients = clients.clone();
            async move {
                match clients.tell(event, live).await {
                    Ok(kind) => kind.map(|kind| Ok(v1::WatchRunResponse { kind: Some(kind) })),
                    Err(error) => Some(Err(status(error))),
                }
            }
        });
        Ok(Box::pin(events))
    }

    async fn tell(&self, event: Result<WatchEvent>, live: bool) -> Result<Option<Kind>> {
        Ok(match event? {
            WatchEvent::Entry(view) => Some(Kind::Entry(entry(&view)?)),
            WatchEvent::Progress(progress) => live.then(|| Kind::Live(progress.into())),
            WatchEvent::Ended(view) => Some(Kind::Ended(self.whole_run(*view).await?)),
        })
    }
}

/// An entry; what belongs to its event stands in a document of its own.
fn entry(view: &JournalView) -> Result<v1::RunEntry> {
    let defect = |error: serde_json::Error| Error::new(Code::Internal, format!("an entry cannot be written: {error}"));
    let text = serde_json::to_string(view).map_err(defect)?;
    let mut fields: BTreeMap<&str, &RawValue> = serde_json::from_str(&text).map_err(defect)?;
    let event = fields.remove("event").map(RawValue::get).map(serde_json::from_str::<String>);
    let event = event.transpose().map_err(defect)?.unwrap_or_default();
    for told in ["cursor", "time", "step"] {
        fields.remove(told);
    }
    Ok(v1::RunEntry {
        cursor: view.cursor.to_string(),
        time_us: view.time.0,
        step: view.step.clone().unwrap_or_default(),
        event,
        details: serde_json::to_vec(&fields).map_err(defect)?.into(),
    })
}
