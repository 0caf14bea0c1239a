//! The `pillion` command.

fn main() -> std::process::ExitCode {
    pillion::guard::run_if_asked();
    pillion_cli::main()
}
