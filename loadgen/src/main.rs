//! loadgen judges hexcast from outside: it speaks to a server over QUIC as any operator, partner
//! and authority would, and reports what they would have seen.
//!
//! It knows the client, the protocol and the public API only. Invariant: latencies count from
//! the time at which a batch should have been sent, so that a server which stalls its senders
//! does not look fast (no coordinated omission).

mod alert;
mod compare;
mod crowd;
mod engine;
mod generate;
mod machine;
mod operator;
mod others;
mod partner;
mod place;
mod report;
mod run;
mod scenario;
mod schedule;
mod verdict;
mod watch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A page-wise allocator that gives memory back and does not serialise threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Loads a hexcast server with pings and alerts, and reports what its users would see.
#[derive(Debug, Parser)]
#[command(name = "loadgen", version, max_term_width = 100, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::RunArgs),
    Alert(alert::AlertArgs),
    Generate(generate::GenerateArgs),
    Compare(compare::CompareArgs),
    /// List the built-in scenarios.
    Scenarios,
    /// Runs an engine on loopback with the certificates in a directory, until its standard input
    /// closes; `run` starts it for itself.
    #[command(hide = true)]
    Engine {
        /// The directory.
        place: std::path::PathBuf,
        /// Keeps every ping, too.
        #[arg(long)]
        durable_pings: bool,
    },
    /// Runs hexcast on loopback with certificates and data in a directory; `compare` starts it for itself.
    #[command(hide = true)]
    CompareEngine {
        /// The directory.
        folder: std::path::PathBuf,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Alert(args) => alert::run(&args),
        Command::Generate(args) => generate::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::CompareEngine { folder } => compare::serve(&folder),
        Command::Scenarios => scenario::print_all(),
        Command::Engine { place, durable_pings } => engine::serve(&place, durable_pings),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
            eprintln!("loadgen: {}", causes.join(": "));
            ExitCode::FAILURE
        }
    }
}
