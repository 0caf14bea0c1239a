//! The `pillion` command as a library, so that tests and other front ends can run the same code.

mod binary;
#[cfg(unix)]
mod check;
mod interrupts;
mod package;
#[expect(dead_code, unused_imports, reason = "the commands that use the model land next")]
mod project;
mod ready;
mod report;
mod run;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Starts, watches and stops sidecars: local servers that a desktop app runs beside itself.
#[derive(Debug, Parser)]
#[command(name = "pillion", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    Run(run::Args),
    Package(package::Args),
    #[cfg(unix)]
    Check(check::Args),
    /// Holds the program of a check.
    #[cfg(unix)]
    #[command(hide = true)]
    CheckHold(check::launch::HoldArgs),
    /// Becomes the program of a check.
    #[cfg(unix)]
    #[command(hide = true)]
    CheckExec(check::launch::ExecArgs),
}

/// Parses the command line and runs the command. An invalid command line ends the process with status 2.
#[must_use]
pub fn main() -> ExitCode {
    match Cli::parse().command {
        CliCommand::Run(args) => run::main(args),
        CliCommand::Package(args) => package::main(args),
        #[cfg(unix)]
        CliCommand::Check(args) => check::main(args),
        #[cfg(unix)]
        CliCommand::CheckHold(args) => check::launch::hold(&args),
        #[cfg(unix)]
        CliCommand::CheckExec(args) => check::launch::exec(&args),
    }
}
