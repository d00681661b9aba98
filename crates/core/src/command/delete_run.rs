//! `DeleteRun`: remove an ended run and the runs below it, rows and blobs, a bounded number at a time.

use consort_types::{Code, Error, Name, Result, RunId};
use minicbor::{Decode, Encode};

use super::Reply;
use crate::fold::Fold;

/// Deletes an ended run.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct DeleteRun {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The run.
    #[n(1)]
    pub run: RunId,
}

impl DeleteRun {
    pub(crate) fn check(&self) -> Result<()> {
        Name::check("namespace", &self.namespace)
    }

    pub(crate) fn apply(&self, fold: &mut Fold<'_>) -> Result<Reply> {
        let run = fold.run_in(&self.namespace, self.run)?;
        if !run.status.is_terminal() {
            let message =
                format!("run `{}` is {}, and only an ended run can be deleted", self.run, run.status.as_str());
            return Err(Error::new(Code::RunActive, message).hint("cancel it first: `consort runs cancel`"));
        }
        if let Some(parent) = run.parent
            && fold.run(parent.run).is_ok()
        {
            let message = format!("run `{}` belongs to run `{}`", self.run, parent.run);
            return Err(Error::new(Code::RunActive, message).hint("delete the run above it; this one goes with it"));
        }
        fold.delete_run(self.run, run);
        Ok(Reply::Done)
    }
}
