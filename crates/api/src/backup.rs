//! Backups of a server.
//!
//! For: the operation that writes one, while the server works. Not for: verifying or restoring one, which needs no server.
//! Invariant: a backup holds everything that was acknowledged before it was requested.

use consort_types::{Code, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Accepts, Method, NoParams, Operation, Returns, Scope, Spec, schema};

/// Where to write a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BackupRequest {
    /// The absolute path of a folder of the server's machine, which is new, empty, or has an earlier backup.
    pub folder: String,
}

/// A backup that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Backup {
    /// The folder that has it.
    pub folder: String,
    /// The last record of the log that it reflects.
    pub record: u64,
    /// Log time at that record.
    #[schemars(with = "schema::Instant")]
    pub time: Time,
    /// Rows of the store in it.
    pub rows: u64,
    /// Blobs in it.
    pub blobs: u64,
    /// Blobs that are not in it, because they are missing or damaged in the data folder.
    pub missing_blobs: u64,
    /// Bytes of its files.
    pub bytes: u64,
    /// Files that this backup has added; the others were there from an earlier one.
    pub files_written: u64,
    /// Bytes of the added files.
    pub bytes_written: u64,
}

/// Makes a backup.
pub struct MakeBackup;

impl Operation for MakeBackup {
    type Params = NoParams;
    type Body = BackupRequest;
    type Reply = Backup;
    const SPEC: Spec = Spec {
        id: "makeBackup",
        group: "server",
        scope: Scope::Server,
        method: Method::Post,
        path: "/v1/backups",
        doc: "Writes a backup of all namespaces into a folder of the server's machine; a second one there adds what is new.",
        words: &["backup"],
        accepts: Accepts::SMALL,
        returns: Returns::Json,
        answers: &[(200, "It is made, and durable.")],
        errors: &[Code::FileExists, Code::Damaged, Code::Disk, Code::Locked],
        ..Spec::CHANGE
    };
}
