//! `consort-conformance`: runs every scenario against every SDK and prints the table.
//!
//! For: the table in the documentation. Not for: the gate (its tests run the same list).
//! Invariant: it ends with 1 where anything failed.

use std::process::ExitCode;

use consort_conformance::{all_outcomes, table};

fn main() -> ExitCode {
    let only: Vec<String> = std::env::args().skip(1).collect();
    match all_outcomes(&only) {
        Ok(rows) => {
            print!("{}", table(&rows));
            let failures: Vec<&String> =
                rows.iter().flat_map(|(_, row)| row).filter_map(|(_, outcome)| outcome.as_ref().err()).collect();
            for failure in &failures {
                eprintln!("{failure}");
            }
            ExitCode::from(u8::from(!failures.is_empty()))
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}
