//! `cargo xtask release`: one version for all packages, and everything that `.github/workflows/release.yml` publishes.

mod changelog;
mod version;

use std::fs;

use anyhow::{Context, Result, ensure};
use xshell::cmd;

use crate::{
    npm, pack, sbom,
    setup::{self, Purpose},
    workspace::Workspace,
};

/// Sets the version of all packages, gives the section "Unreleased" of the changelog its name and date, and prints what to do next.
///
/// # Errors
///
/// Fails before it changes a file if `version` is not newer than the current one, if the changelog has nothing to release, or if a
/// package has another version than the others.
pub(crate) fn prepare(workspace: &Workspace, version: &str) -> Result<()> {
    let current = version::check(workspace)?;
    ensure!(
        version::is_newer(version, &current)?,
        "version {version} is not newer than {current}, which the packages have"
    );
    let file = workspace.root.join(changelog::FILE);
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let dated = changelog::with_version(&text, version, &today())?;

    version::set(workspace, &current, version)?;
    fs::write(&file, dated).with_context(|| format!("cannot write {}", file.display()))?;
    let sh = workspace.shell()?;
    cmd!(sh, "cargo update --workspace --offline --quiet").run()?;
    npm::npm(&sh, &["install", "--package-lock-only", "--offline", "--no-audit", "--no-fund"])
        .quiet()
        .run()?;
    println!(
        "All packages have version {version} now. Next:\n\
         1. Read the diff, and shorten the section {version} of {}.\n\
         2. cargo xtask codegen && cargo xtask test && cargo xtask release --dry-run\n\
         3. git commit --all --message 'Release {version}' && git tag v{version} && git push --atomic origin HEAD v{version}\n\
         The workflow `release` then publishes the packages.",
        changelog::FILE
    );
    Ok(())
}

/// Makes and checks everything that a release publishes, and publishes nothing. Takes many minutes, most of them to compile each
/// crate from its package. `tag` is the tag that is released: its version must be that of the packages.
///
/// # Errors
///
/// Fails if the packages have several versions, if one does not work, if the changelog has no section for the version, or if the
/// tree has changes that are not committed and `tag` is given.
pub(crate) fn dry_run(workspace: &Workspace, tag: Option<&str>) -> Result<()> {
    let version = version::check(workspace)?;
    let file = workspace.root.join(changelog::FILE);
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let notes = match tag {
        Some(tag) => {
            ensure!(
                tag.strip_prefix('v') == Some(&version),
                "the tag {tag} is not v{version}, the version of the packages: run `cargo xtask release VERSION`, and tag that commit"
            );
            let sh = workspace.shell()?;
            let changed = cmd!(sh, "git status --porcelain").quiet().read()?;
            ensure!(changed.is_empty(), "these files differ from the tagged commit:\n{changed}");
            pack::ensure_repository(workspace)?;
            changelog::section(&text, &version)?
        }
        None => changelog::section(&text, &version)
            .or_else(|_| changelog::section(&text, changelog::UNRELEASED))?,
    };
    setup::ensure(Purpose::Build)?;
    npm::install(workspace)?;
    let packages = pack::check_all(workspace)?;
    let folder = pack::destination(workspace)?;
    sbom::published(workspace, &folder)?;
    fs::write(folder.join("notes.md"), notes)?;

    println!("A release of {version} would publish:");
    for package in packages {
        println!("  {}", package.file_name().unwrap_or_default().display());
    }
    println!("They lie in {}, with their SBOMs and the release notes.", folder.display());
    Ok(())
}

/// The date in UTC, as `2026-11-29`.
#[expect(clippy::disallowed_methods, reason = "a date for people")]
fn today() -> String {
    let now = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
    now.split('T').next().unwrap_or_default().to_owned()
}
