//! The `pillion` command as a library, so that tests and other front ends can run the same code.

mod async_runtime;
mod binary;
#[cfg(unix)]
mod check;
mod ci;
mod control;
mod doctor;
mod init;
mod interrupts;
mod manual;
mod new;
mod package;
mod project;
mod ready;
mod run;

use std::{env, process::ExitCode};

use clap::{Parser, Subcommand};

/// Starts, watches and stops sidecars: local servers that a desktop app runs beside itself.
#[derive(Debug, Parser)]
#[command(name = "pillion", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    Init(init::Args),
    New(new::Args),
    Run(Box<run::Args>),
    Ps(control::ps::Args),
    Status(control::status::Args),
    Top(control::top::Args),
    Logs(control::logs::Args),
    Exits(control::exits::Args),
    Restart(control::restart::Args),
    Report(control::report::Args),
    Package(package::Args),
    #[cfg(unix)]
    Check(check::Args),
    Doctor(doctor::Args),
    Ci(ci::Args),
    Completions(manual::CompletionsArgs),
    #[command(hide = true)]
    Man(manual::ManArgs),
}

/// The command line of `pillion run` alone: to build those of all commands takes longer than to parse it.
#[derive(Debug, Parser)]
#[command(name = "pillion", version)]
struct RunCli {
    #[command(subcommand)]
    command: RunCommand,
}

#[derive(Debug, Subcommand)]
enum RunCommand {
    Run(Box<run::Args>),
}

/// Parses the command line and runs the command. An invalid command line ends the process with status 2.
#[must_use]
pub fn main() -> ExitCode {
    #[cfg(unix)]
    if let Some(code) = check::launch::run_if_asked(env::args_os().skip(1)) {
        return code;
    }
    if env::args_os().nth(1).is_some_and(|command| command == "run") {
        let preparation = run::prepare();
        let RunCommand::Run(args) = RunCli::parse().command;
        return run::main(*args, preparation);
    }
    match Cli::parse().command {
        CliCommand::Init(args) => init::main(args),
        CliCommand::New(args) => new::main(args),
        // After options of `pillion` itself, which are none at present.
        CliCommand::Run(args) => run::main(*args, run::prepare()),
        CliCommand::Ps(args) => control::ps::main(&args),
        CliCommand::Status(args) => control::status::main(&args),
        CliCommand::Top(args) => control::top::main(args),
        CliCommand::Logs(args) => control::logs::main(&args),
        CliCommand::Exits(args) => control::exits::main(&args),
        CliCommand::Report(args) => control::report::main(&args),
        CliCommand::Restart(args) => control::restart::main(&args),
        CliCommand::Package(args) => package::main(args),
        #[cfg(unix)]
        CliCommand::Check(args) => check::main(args),
        CliCommand::Doctor(args) => doctor::main(args),
        CliCommand::Ci(args) => ci::main(args),
        CliCommand::Completions(args) => manual::completions(&args),
        CliCommand::Man(args) => manual::man(&args),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn run_alone_is_the_same_command() {
        let help = |mut cli: clap::Command| {
            cli.build();
            cli.find_subcommand_mut("run").unwrap().render_long_help().to_string()
        };
        assert_eq!(help(RunCli::command()), help(Cli::command()));
    }
}
