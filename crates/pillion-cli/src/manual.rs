//! `pillion completions` and `pillion man`: what shells and man(1) know about the command.

use std::{
    fs,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args as ClapArgs, CommandFactory as _};
use clap_complete::Shell;

use crate::Cli;

/// Write the completions of this command for a shell to stdout.
#[derive(Debug, ClapArgs)]
#[command(after_help = COMPLETIONS)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

const COMPLETIONS: &str = "\
Examples:
  bash:
    pillion completions bash > ~/.local/share/bash-completion/completions/pillion
  zsh, in a folder of $fpath:
    pillion completions zsh > ~/.zfunc/_pillion
  fish:
    pillion completions fish > ~/.config/fish/completions/pillion.fish
  PowerShell, in $PROFILE:
    pillion completions powershell | Out-String | Invoke-Expression";

/// Write a man page for each command to a folder.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Example:\n  pillion man ~/.local/share/man/man1")]
pub(crate) struct ManArgs {
    /// The folder. It is created if it is missing.
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

pub(crate) fn completions(args: &CompletionsArgs) -> ExitCode {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "pillion", &mut text);
    finish(io::stdout().write_all(&text), "the completions to stdout")
}

pub(crate) fn man(args: &ManArgs) -> ExitCode {
    let written = fs::create_dir_all(&args.folder)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), &args.folder));
    finish(written, &format!("the man pages to {}", args.folder.display()))
}

fn finish(written: io::Result<()>, what: &str) -> ExitCode {
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprintln!("pillion: cannot write {what}: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_shows_an_example() {
        let mut cli = Cli::command();
        cli.build();
        let commands = cli.get_subcommands_mut().filter(|it| !it.is_hide_set() && it.get_name() != "help");
        for command in commands {
            let name = command.get_name().to_owned();
            let nested: Vec<_> = command
                .get_subcommands_mut()
                .filter(|it| it.get_name() != "help")
                .map(|it| it.render_long_help().to_string())
                .collect();
            let helps = if nested.is_empty() { vec![command.render_long_help().to_string()] } else { nested };
            for help in helps {
                assert!(
                    help.contains("Example") && help.contains(&format!("pillion {name}")),
                    "{name}: {help}"
                );
            }
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn each_shell_and_man_know_all_commands() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::PowerShell, Shell::Elvish] {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "pillion", &mut text);
            let text = String::from_utf8(text).unwrap();
            assert!(text.contains("doctor") && text.contains("completions"), "{shell}");
        }
        let folder = tempfile::tempdir().unwrap();
        clap_mangen::generate_to(Cli::command(), folder.path()).unwrap();
        for page in ["pillion.1", "pillion-run.1", "pillion-doctor.1"] {
            assert!(folder.path().join(page).is_file(), "{page}");
        }
    }
}
