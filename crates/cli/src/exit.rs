//! How the process ends: the exit codes, in one table.
//!
//! For: scripts that act on how a command ended. Not for: what went wrong in detail (the error's code has that).
//! Invariant: the table is what `docs/cli.md` shows, and every error maps to exactly one line of it.

use consort_types::{Code, Error, ErrorKind};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All is well.
    Ok,
    /// The command was carried out and its finding is bad.
    Failure,
    /// The command cannot be understood.
    Usage,
    /// What was named is not there.
    NotFound,
    /// Not now.
    Unavailable,
    /// Refused.
    Refused,
    /// Stored data is damaged, or Consort has a defect.
    Broken,
    /// Ended by SIGINT.
    Interrupted,
    /// Ended by SIGTERM.
    Terminated,
    /// As the command that it has run under a lock.
    Command(u8),
}

/// Every exit code of Consort's own with what it means.
pub(crate) const TABLE: &[(Exit, &str)] = &[
    (Exit::Ok, "done; a run completed, a check found nothing"),
    (Exit::Failure, "a run failed or was cancelled, or a check found something"),
    (Exit::Usage, "the command, its workflow, its input or the settings cannot be understood"),
    (Exit::NotFound, "what was named is not there"),
    (Exit::Unavailable, "not now: the server cannot be reached, is busy or stops, or the folder is in use"),
    (Exit::Refused, "refused by a rule: not in that state, over a limit, or not allowed"),
    (Exit::Broken, "stored data is damaged, or a defect of Consort"),
    (Exit::Interrupted, "interrupted (Ctrl-C); what was started is kept and continues later"),
    (Exit::Terminated, "terminated (SIGTERM); what was started is kept and continues later"),
];

impl Exit {
    /// The number that the system sees.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Unavailable => 4,
            Self::Refused => 5,
            Self::Broken => 6,
            Self::Interrupted => 130,
            Self::Terminated => 143,
            Self::Command(code) => code,
        }
    }

    /// How a command ends that met this error.
    pub(crate) fn of(error: &Error) -> Self {
        match error.code {
            Code::BadRequest
            | Code::BadName
            | Code::BadDuration
            | Code::BadTime
            | Code::BadJson
            | Code::BadSetting
            | Code::BadWorkflow
            | Code::BadInput
            | Code::BadCursor
            | Code::BadTopic
            | Code::BadEvent
            | Code::BadTrigger
            | Code::BadSchedule
            | Code::BadWebhook => Self::Usage,
            _ => match error.kind() {
                ErrorKind::NotFound => Self::NotFound,
                ErrorKind::Unavailable => Self::Unavailable,
                ErrorKind::Failed | ErrorKind::OutcomeUnknown => Self::Failure,
                ErrorKind::Corrupt | ErrorKind::Internal => Self::Broken,
                ErrorKind::Rejected
                | ErrorKind::Conflict
                | ErrorKind::Fenced
                | ErrorKind::TooLarge
                | ErrorKind::Denied => Self::Refused,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_each_code_once_and_every_error_ends_in_it() {
        let codes: Vec<u8> = TABLE.iter().map(|(exit, _)| exit.code()).collect();
        assert!(codes.windows(2).all(|pair| pair[0] < pair[1]), "{codes:?}");
        for code in Code::ALL {
            let exit = Exit::of(&Error::new(*code, "a reason"));
            assert!(exit != Exit::Ok && TABLE.iter().any(|(listed, _)| *listed == exit), "{code}");
        }
    }
}
