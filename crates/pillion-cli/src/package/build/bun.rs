//! Builds with [`bun build --compile`]: the server and the runtime in one program.
//!
//! [`bun build --compile`]: https://bun.com/docs/bundler/executables

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::{Artifact, Built, Inputs, Order, files_above};
use crate::{
    package::{
        npm,
        process::{Failure, find, run},
        target::{this_machine, tool_names},
    },
    project::TargetTriple,
};

/// The version for machines without Bun.
const BUN: &str = "1.4.5";
const LOCK_FILES: [&str; 6] =
    ["package.json", "bun.lock", "bun.lockb", "package-lock.json", "tsconfig.json", "bunfig.toml"];

pub(super) fn fingerprint(order: &Order<'_>, main: &str) -> Result<String, Failure> {
    let main = order.path("bun", main)?;
    name(order.target)?;
    Ok(match own(&main) {
        Some(bun) => format!("bun {}", npm::printed_version(&bun)?),
        None => format!("bun {BUN}"),
    })
}

pub(super) fn build(order: &Order<'_>, main: &str) -> Result<Built, Failure> {
    let main = order.path("bun", main)?;
    let (bun, version) = match own(&main) {
        Some(bun) => {
            let version = npm::printed_version(&bun)?;
            (bun, version)
        }
        None => (runtime(order, &this_machine(), BUN)?, BUN.to_owned()),
    };
    let name = name(order.target)?;
    // npm provides the runtime of the target, with its configuration and its checks of the content.
    let runtime = runtime(order, order.target, &version)?;
    (order.progress)("bun build --compile");
    let output = order.output();
    run(Command::new(bun)
        .current_dir(order.root)
        .args(["build", "--compile"])
        .arg(format!("--target=bun-{name}"))
        .arg("--compile-executable-path")
        .arg(runtime)
        .arg("--outfile")
        .arg(&output)
        .args(&order.config.args)
        .arg(&main))?;
    let folder = main.parent().unwrap_or(&main);
    let inputs = Inputs {
        files: files_above(folder, &LOCK_FILES),
        tool_folders: vec![folder.to_owned()],
        ..Inputs::default()
    };
    Ok(Built { artifact: Artifact::File(output), inputs, embeds_runtime: true })
}

/// Bun as the developer has it: on the `PATH`, or as a package of the project.
fn own(main: &Path) -> Option<PathBuf> {
    find("bun").or_else(|| {
        let package = npm::installed("bun", main)?;
        let name = tool_names(&this_machine())?.bun?;
        Some(program(&package.parent()?.join(format!("@oven/bun-{name}")), &this_machine()))
            .filter(|program| program.is_file())
    })
}

fn name(target: &TargetTriple) -> Result<&'static str, Failure> {
    tool_names(target)
        .and_then(|names| names.bun)
        .ok_or_else(|| Failure::refused(format!("Bun has no runtime for {target}")))
}

/// The runtime for a target, in npm's package of it.
fn runtime(order: &Order<'_>, target: &TargetTriple, version: &str) -> Result<PathBuf, Failure> {
    let package = format!("@oven/bun-{}", name(target)?);
    (order.progress)(&format!("getting {package} {version}"));
    Ok(program(&order.npm.package(&package, version)?, target))
}

fn program(package: &Path, target: &TargetTriple) -> PathBuf {
    package.join("bin").join(format!("bun{}", target.executable_suffix()))
}
