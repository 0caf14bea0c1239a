//! The `pillion` command.

fn main() -> std::process::ExitCode {
    pillion_cli::main()
}
