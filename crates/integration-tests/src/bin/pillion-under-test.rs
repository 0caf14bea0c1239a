//! The `pillion` command as a program of this package: `CARGO_BIN_EXE_…` names only a package's own programs.

fn main() -> std::process::ExitCode {
    pillion_cli::main()
}
