//! The packages for crates.io: <https://doc.rust-lang.org/cargo/commands/cargo-package.html>.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use xshell::{Cmd, Shell, cmd};

use super::{LICENSES, destination};
use crate::workspace::Workspace;

/// Parts of the names of the tests that compare with documents of this repository, which no package contains.
const OF_DOCUMENTS: [&str; 7] = [
    "generated_",
    "the_page_of_the_states_",
    "the_page_states_",
    "the_documents_state_the_default_limits",
    "the_protocol_page_states_these_values",
    "the_example_in_the_states_page_shows_the_defaults",
    "examples_in_the_docs_are_valid",
];

/// A crate that can be published.
struct Crate {
    name: String,
    version: String,
    folder: PathBuf,
    has_repository: bool,
}

/// Packs each crate that can be published, without compiling it.
pub(super) fn pack_all(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    let sh = workspace.shell()?;
    let crates = publishable(&sh)?;
    for it in &crates {
        complete(workspace, &sh, it).with_context(|| format!("the crate {} cannot be published", it.name))?;
    }
    package(&sh, &crates).arg("--no-verify").run()?;
    let destination = destination(workspace)?;
    let files = crates.iter().map(|it| {
        let file = format!("{}-{}.crate", it.name, it.version);
        let packed = destination.join(&file);
        fs::copy(workspace.target.join("package").join(&file), &packed)
            .with_context(|| format!("cargo package made no {file}"))?;
        Ok(packed)
    });
    files.collect()
}

/// The manifests without a repository.
pub(super) fn without_repository(workspace: &Workspace) -> Result<Vec<String>> {
    let crates = publishable(&workspace.shell()?)?;
    let without = crates.into_iter().filter(|it| !it.has_repository);
    Ok(without.map(|it| format!("{}/Cargo.toml", it.folder.display())).collect())
}

/// Unpacks each package and compiles it. Its dependencies on the other crates are their packages.
pub(super) fn check(workspace: &Workspace) -> Result<()> {
    let sh = workspace.shell()?;
    package(&sh, &publishable(&sh)?).run().context("a crate does not compile from its package")
}

/// Runs the tests of each crate in its unpacked package, as a distribution of Linux does.
///
/// The packages are the members of a workspace of their own, with the lock file of this one, and depend on one another: so Cargo compiles
/// each dependency once, and from what this repository has already compiled.
pub(super) fn test(workspace: &Workspace, packages: &[PathBuf]) -> Result<()> {
    let sh = workspace.shell()?;
    let crates = publishable(&sh)?;
    let folder = workspace.target.join("xtask/package-tests");
    sh.remove_path(&folder)?;
    sh.create_dir(&folder)?;
    sh.copy_file("Cargo.lock", &folder)?;
    let _folder = sh.push_dir(&folder);
    for package in packages.iter().filter(|it| it.extension().is_some_and(|extension| extension == "crate")) {
        cmd!(sh, "tar --extract --gzip --file {package}").quiet().run()?;
    }
    sh.write_file("Cargo.toml", manifest(&crates))?;
    let _target = sh.push_env("CARGO_TARGET_DIR", &workspace.target);
    let skipped = OF_DOCUMENTS.iter().flat_map(|name| ["--skip", name]);
    cmd!(sh, "cargo test --quiet --workspace --lib --bins --tests --offline --no-fail-fast --")
        .args(skipped)
        .quiet()
        .run()
        .context("the tests of a crate fail in its package (those that read documents are listed in xtask/src/pack/crates.rs)")
}

/// The manifest of a workspace of unpacked packages.
fn manifest(crates: &[Crate]) -> String {
    let folders = crates.iter().map(|it| (&it.name, format!("{}-{}", it.name, it.version)));
    let (mut members, mut patches) = (String::new(), String::new());
    for (name, folder) in folders {
        members += &format!("    {folder:?},\n");
        patches += &format!("{name} = {{ path = {folder:?} }}\n");
    }
    format!(
        "[workspace]\nresolver = \"3\"\nmembers = [\n{members}]\n\n[patch.crates-io]\n{patches}\n\
         # As in the repository, whose compiled dependencies this workspace uses.\n[profile.dev]\ndebug = \"line-tables-only\"\n\
         [profile.dev.package.\"*\"]\ndebug = false\n[profile.dev.build-override]\ndebug = \"line-tables-only\"\n"
    )
}

/// `cargo package` of the crates. Their order does not matter: Cargo sorts them, and offers each package to the next ones.
fn package<'sh>(sh: &'sh Shell, crates: &[Crate]) -> Cmd<'sh> {
    let names = crates.iter().flat_map(|it| ["--package", &it.name]);
    // A release is packed from a commit. Here, a developer checks what is not committed yet.
    cmd!(sh, "cargo package --quiet --allow-dirty").args(names).quiet()
}

/// The members of the workspace whose manifests do not say `publish = false`.
fn publishable(sh: &Shell) -> Result<Vec<Crate>> {
    let text = cmd!(sh, "cargo metadata --format-version 1 --no-deps").quiet().read()?;
    let mut metadata: Value = serde_json::from_str(&text)?;
    let packages = metadata["packages"].take();
    let packages = packages.as_array().into_iter().flatten().filter(|package| package["publish"].is_null());
    let text = |value: &Value| {
        value.as_str().map(str::to_owned).context("`cargo metadata` prints a package without a text")
    };
    let crates = packages.map(|package| {
        let manifest = PathBuf::from(text(&package["manifest_path"])?);
        let folder = manifest.parent().context("a manifest lies in no folder")?.to_owned();
        let (name, version) = (text(&package["name"])?, text(&package["version"])?);
        Ok(Crate { name, version, folder, has_repository: package["repository"].is_string() })
    });
    crates.collect()
}

/// Checks that the package of a crate holds its README.md, and the licences of this repository, and nothing of the fuzz targets.
fn complete(workspace: &Workspace, sh: &Shell, it: &Crate) -> Result<()> {
    let name = &it.name;
    let listed = cmd!(sh, "cargo package --quiet --allow-dirty --list --package {name}").quiet().read()?;
    for required in LICENSES.iter().chain(&["README.md"]) {
        ensure!(listed.lines().any(|line| line == *required), "its package lacks {required}");
    }
    ensure!(!listed.contains("fuzz"), "its package contains what only the fuzz targets use:\n{listed}");
    for license in LICENSES {
        let (ours, its) = (fs::read(workspace.root.join(license))?, fs::read(it.folder.join(license))?);
        ensure!(ours == its, "its {license} differs from that of the repository: copy it");
    }
    Ok(())
}
