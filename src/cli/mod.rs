//! The commands: what people type, in their words.
//!
//! This room reads arguments and files, starts the other rooms and prints what became of it. It
//! decides nothing about alerts, pings or matches. Invariant: standard output carries results
//! only, everything said to people besides goes to standard error; a failure is one line there.

mod alert;
mod args;
mod config;
mod demo;
mod ingest;
mod output;
mod pings;
mod pki;
mod progress;
mod replay;
mod serve;
mod subscribe;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

/// Finds the devices near a missing-child alert, exactly and once.
#[derive(Debug, Parser)]
#[command(name = "hexcast", version, max_term_width = 100, arg_required_else_help = true)]
#[command(after_help = "\
Start here: `hexcast demo`. Then, in four terminals of one directory:
  hexcast serve
  hexcast ingest --now examples/pings.csv
  hexcast alert publish examples/alert.json
  hexcast subscribe
Exit codes: 0 done, 1 failed (one line on standard error says why), 2 wrong usage.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::DemoArgs),
    Serve(serve::ServeArgs),
    Ingest(ingest::IngestArgs),
    Subscribe(subscribe::SubscribeArgs),
    Alert(alert::AlertArgs),
    Replay(replay::ReplayArgs),
    Pki(pki::PkiArgs),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too. Nothing can be said where printing fails.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    if let Command::Replay(args) = &cli.command
        && let Some(message) = args.usage_error()
    {
        let _ = Cli::command().error(clap::error::ErrorKind::ArgumentConflict, message).print();
        return ExitCode::from(2);
    }
    let result = match cli.command {
        Command::Demo(args) => demo::run(&args),
        Command::Serve(args) => serve::run(args),
        Command::Ingest(args) => ingest::run(&args),
        Command::Subscribe(args) => subscribe::run(&args),
        Command::Alert(args) => alert::run(args),
        Command::Replay(args) => replay::run(&args),
        Command::Pki(args) => pki::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::note(&format!("hexcast: {}", output::one_line(&error)));
            ExitCode::FAILURE
        }
    }
}
