//! Lists the public API of each published crate, and compares the list with the committed `public-api.txt`.
//!
//! A change of the public API is thus visible in each commit. `cargo xtask codegen` writes the lists. They come from rustdoc's
//! JSON output: <https://github.com/cargo-public-api/cargo-public-api>.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, bail};
use public_api::Builder;
use serde_json::Value;
use xshell::Shell;

use crate::{
    steps::Steps,
    workspace::{Workspace, cargo},
};

/// The published libraries, by their folders in `crates`. Each library has the name of its folder, with underscores.
const CRATES: &[&str] = &[
    "pillion-protocol",
    "pillion",
    "pillion-config",
    "pillion-control",
    "pillion-build",
    "pillion-server",
    "pillion-cli",
    "pillion-vectors",
    "tauri-plugin-pillion",
];

/// Crates whose trait implementations are left out: they belong to features that only the tests enable.
const HIDDEN: &[&str] = &["schemars::", "ts_rs::"];

/// Compares the lists of the libraries, whose documentation is written.
pub(crate) fn check(workspace: &Workspace, steps: &mut Steps) -> Result<()> {
    if !cfg!(target_os = "linux") {
        steps.skip("public api", "the committed lists are those of Linux");
        return Ok(());
    }
    match unsupported_format(workspace)? {
        Some(why) => steps.skip("public api", &why),
        None => steps.check("public api", || compare(workspace))?,
    }
    Ok(())
}

/// Writes the lists.
pub(crate) fn write(workspace: &Workspace) -> Result<()> {
    if !cfg!(target_os = "linux") {
        println!("xtask: the public API lists are not written: they are those of Linux");
        return Ok(());
    }
    let sh = workspace.shell()?;
    let _environment = json_output(workspace, &sh)?;
    cargo(&sh, &["doc", "--quiet"]).args(DOCUMENTED).run()?;
    if let Some(why) = unsupported_format(workspace)? {
        bail!("cannot list the public API: {why}");
    }
    for name in CRATES {
        fs::write(list_file(workspace, name), list(workspace, name)?)?;
    }
    Ok(())
}

/// Documents the libraries with the dependencies' features that the tests need, so that Cargo compiles nothing twice: with
/// `--examples`, it resolves the development dependencies as well.
const DOCUMENTED: [&str; 3] = ["--no-deps", "--lib", "--examples"];

/// Makes rustdoc write JSON, which is unstable. Only rustdoc gets `RUSTC_BOOTSTRAP`, which allows it: some build scripts run again
/// if this variable changes, and Cargo would compile most dependencies anew.
fn json_output<'sh>(workspace: &Workspace, sh: &'sh Shell) -> Result<[xshell::PushEnv<'sh>; 2]> {
    let rustdoc = workspace.target.join("xtask/rustdoc-json");
    sh.write_file(&rustdoc, "#!/bin/sh\nRUSTC_BOOTSTRAP=1 exec rustdoc \"$@\"\n")?;
    #[cfg(unix)]
    fs::set_permissions(&rustdoc, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    Ok([
        sh.push_env("RUSTDOC", rustdoc),
        sh.push_env("RUSTDOCFLAGS", "--deny warnings -Z unstable-options --output-format json"),
    ])
}

/// Compares each list with the committed one.
///
/// # Errors
///
/// Fails with the lines that are new and those that are gone.
fn compare(workspace: &Workspace) -> Result<()> {
    let mut changes = Vec::new();
    for name in CRATES {
        let file = list_file(workspace, name);
        let committed =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        changes.extend(difference(&committed, &list(workspace, name)?).map(|line| format!("{name}: {line}")));
    }
    if changes.is_empty() {
        return Ok(());
    }
    bail!(
        "the public API differs from public-api.txt; if you intend these changes, run `cargo xtask codegen`:\n{}",
        changes.join("\n")
    )
}

/// Returns the lines that only one of the lists has: `- removed` and `+ added`.
fn difference<'a>(old: &'a str, new: &'a str) -> impl Iterator<Item = String> {
    let removed =
        old.lines().filter(|line| !new.lines().any(|it| it == *line)).map(|line| format!("- {line}"));
    let added = new.lines().filter(|line| !old.lines().any(|it| it == *line)).map(|line| format!("+ {line}"));
    removed.chain(added).collect::<Vec<_>>().into_iter()
}

/// Returns the public API of a crate, one item a line.
fn list(workspace: &Workspace, name: &str) -> Result<String> {
    let api = Builder::from_rustdoc_json(json_file(workspace, name))
        .sorted(true)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build()
        .with_context(|| format!("cannot read the JSON of {name}"))?;
    let items = api.items().map(ToString::to_string);
    let items = items.filter(|item| !HIDDEN.iter().any(|hidden| item.contains(hidden)));
    Ok(items.map(|item| item + "\n").collect())
}

/// Returns why the JSON cannot be read, or `None` if it can.
fn unsupported_format(workspace: &Workspace) -> Result<Option<String>> {
    let file = json_file(workspace, CRATES[0]);
    if Builder::from_rustdoc_json(&file).build().is_ok() {
        return Ok(None);
    }
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let json: Value = serde_json::from_str(&text)?;
    Ok(Some(format!(
        "rustdoc of this compiler writes format {}, which is not supported",
        json["format_version"]
    )))
}

fn json_file(workspace: &Workspace, name: &str) -> PathBuf {
    workspace.target.join("doc").join(format!("{}.json", name.replace('-', "_")))
}

fn list_file(workspace: &Workspace, name: &str) -> PathBuf {
    workspace.root.join("crates").join(name).join("public-api.txt")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn added_and_removed_lines_are_named() {
        let lines: Vec<_> = difference("a\nb\nc\n", "a\nc\nd\n").collect();
        assert_eq!(lines, ["- b", "+ d"]);
        assert_eq!(difference("a\n", "a\n").count(), 0);
    }
}
