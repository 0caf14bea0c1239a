//! The `pillion` command, built where the tests can find it (`CARGO_BIN_EXE_…` names only a package's own programs).

fn main() -> std::process::ExitCode {
    pillion_cli::main()
}
