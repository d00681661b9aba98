//! Workloads W1 to W9, each beside the disk's own fdatasync of the same bytes in the same run.
//!
//! For: figures that can be compared from one change to the next: ratios to a reference measured in the same
//! session, one JSON line each on standard output. Not for: assertions (timings never decide a test).
//! Invariant: every step that is counted was durable before the next one started.

mod ballots;
mod code_first;
mod coordination;
mod disk;
mod etcd;
mod events;
mod http;
mod in_flight;
mod in_process;
mod keys;
mod many_keys;
mod networked;
mod peers;
mod redis_peer;
mod report;
mod state;
mod through_grpc;
mod through_http;
mod workflows;

use clap::{Parser, ValueEnum};

/// Half of what a step costs is small allocations, made on one thread and freed on another: the C library's allocator
/// is slow at that, and keeps the memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures Consort on this machine; figures go to standard output as JSON lines, the rest to standard error.
#[derive(Debug, Parser)]
#[command(name = "consort-bench")]
struct Arguments {
    /// The workloads to run; all of them where none is named.
    #[arg(value_enum)]
    workloads: Vec<Workload>,
    /// How the driver reaches the engine; every way where none is named.
    #[arg(long, value_enum)]
    transport: Option<Transport>,
    /// Fewer repetitions: shows that everything runs, the figures are rough.
    #[arg(long)]
    quick: bool,
}

/// A workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "UPPER")]
enum Workload {
    /// A chain of 100 steps.
    W1,
    /// 1,000 runs of 10 steps.
    W2,
    /// A fan-out of 1,000 steps and its join.
    W3,
    /// Cold start, memory, bytes written.
    W4,
    /// Kill -9 during W2.
    W5,
    /// 10,000 idle instances (over gRPC).
    W6,
    /// 1,000 runs of 10 steps, of which 64 are in flight.
    W7,
    /// Code that records 100 effects, and code that makes 100 calls (over gRPC, with a worker in Rust).
    W8,
    /// Shared state, events, elections and ballots; over HTTP beside Redis and etcd, with the memory of a million keys.
    W9,
}

/// How the driver reaches the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Transport {
    /// The engine and its agents in the driver's own process.
    InProcess,
    /// A server process, reached over loopback HTTP.
    Http,
    /// A server process, a worker process of each SDK, and the driver, over loopback gRPC.
    Grpc,
}

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let arguments = Arguments::parse();
    let wanted = |workload| arguments.workloads.is_empty() || arguments.workloads.contains(&workload);
    let over = |transport| arguments.transport.is_none_or(|chosen| chosen == transport);
    let runtime = consort_server::runtime()?;
    if over(Transport::InProcess) {
        runtime.block_on(in_process::run(&wanted, arguments.quick))?;
    }
    if over(Transport::Grpc) {
        runtime.block_on(through_grpc::run(&wanted, arguments.quick))?;
    }
    if over(Transport::Http) {
        runtime.block_on(through_http::run(&wanted, arguments.quick))?;
        if wanted(Workload::W9) {
            runtime.block_on(networked::run(arguments.quick))?;
        }
        if wanted(Workload::W9) && !arguments.quick {
            runtime.block_on(many_keys::run())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn a_workload_is_chosen_by_its_name_and_the_help_names_all() {
        let chosen = Arguments::try_parse_from(["consort-bench", "W9", "--transport", "http", "--quick"]).unwrap();
        assert_eq!((chosen.workloads, chosen.transport), (vec![Workload::W9], Some(Transport::Http)));
        assert!(Arguments::try_parse_from(["consort-bench", "W99"]).is_err());
        let help = Arguments::command().render_long_help().to_string();
        for workload in Workload::value_variants() {
            let name = workload.to_possible_value().unwrap();
            assert!(help.contains(name.get_name()), "{help}");
        }
        assert!(help.contains("beside Redis and etcd"), "{help}");
    }
}
