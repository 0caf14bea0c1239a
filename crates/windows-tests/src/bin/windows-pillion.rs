//! The `pillion` command as a program of this package: `CARGO_BIN_EXE_…` names only a package's own programs.

fn main() -> std::process::ExitCode {
    // As the command itself.
    pillion::guard::run_if_asked();
    pillion_cli::main()
}
