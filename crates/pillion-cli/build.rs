//! Links gcc's code that unwinds the stack into `pillion`, where the linker has it as an archive. The standard library would load it as
//! `libgcc_s.so.1`, which takes 0.2 ms of each command ([`docs/benchmarks.md`](../../docs/benchmarks.md#supervision)).

use std::{
    env::{self, VarError},
    path::Path,
    process::Command,
};

fn main() -> Result<(), VarError> {
    println!("cargo:rerun-if-changed=build.rs");
    let target = (env::var("CARGO_CFG_TARGET_OS")?, env::var("CARGO_CFG_TARGET_ENV")?);
    // rustc links a program for this machine by `cc`. For another one, the linker is not known here.
    let linked_by_cc = env::var("HOST")? == env::var("TARGET")?;
    if (target.0.as_str(), target.1.as_str()) == ("linux", "gnu") && linked_by_cc && cc_finds("libgcc_eh.a") {
        println!("cargo:rustc-link-lib=static:-bundle=gcc_eh");
    }
    Ok(())
}

/// Whether the linker has this library: for one that it does not find, it prints the name alone (gcc(1), `-print-file-name`).
fn cc_finds(library: &str) -> bool {
    let found = Command::new("cc").arg(format!("-print-file-name={library}")).output();
    found.is_ok_and(|it| Path::new(String::from_utf8_lossy(&it.stdout).trim()).is_absolute())
}
