//! `cargo xtask sbom`: writes software bills of materials (SBOMs) in CycloneDX format (<https://cyclonedx.org>) for
//! everything that ships. Each one is compared with the dependencies that Cargo or npm lists.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use xshell::{Shell, cmd};

use crate::{npm, tools::CARGO_CYCLONEDX, workspace::Workspace};

/// A program that ships.
struct Shipped {
    package: &'static str,
    /// The folder of its manifest.
    folder: &'static str,
    /// The features of the shipped build.
    features: &'static str,
}

/// The app.
const SHIPPED: &[Shipped] = &[
    Shipped { package: "aios", folder: "apps/desktop/src-tauri", features: "custom-protocol" },
    Shipped { package: "aios-backend", folder: "apps/backend", features: "" },
];

/// The crates with most dependencies that a release publishes: the others need a part of theirs.
const PUBLISHED: &[Shipped] = &[
    Shipped { package: "pillion-cli", folder: "crates/pillion-cli", features: "" },
    Shipped { package: "pillion-server", folder: "crates/pillion-server", features: "" },
    Shipped { package: "tauri-plugin-pillion", folder: "crates/tauri-plugin-pillion", features: "" },
];

/// The npm workspace of the front end.
const FRONT_END: &str = "aios-desktop";
/// The npm workspace of the page's client. The SDK for Node has no dependencies.
const CLIENT: &str = "tauri-plugin-pillion-api";

/// Writes an SBOM for the app, its backend and its front end into the folder of the release bundles for `target` (default:
/// this machine's target), and prints that folder. Installs cargo-cyclonedx if it is missing.
pub(crate) fn write(workspace: &Workspace, target: Option<&str>) -> Result<()> {
    install(workspace)?;
    let folder = target.map_or_else(|| workspace.target.clone(), |triple| workspace.target.join(triple));
    let folder = folder.join("release/bundle/sbom");
    programs(workspace, target, &folder)?;
    front_end(workspace, &folder)?;
    println!("{}", folder.display());
    Ok(())
}

/// Writes the SBOMs of the packages that a release publishes. Installs cargo-cyclonedx if it is missing.
///
/// # Errors
///
/// Fails if cargo-cyclonedx cannot be installed, or if an SBOM lacks a dependency.
pub(crate) fn published(workspace: &Workspace, folder: &Path) -> Result<()> {
    install(workspace)?;
    rust(workspace, PUBLISHED, None, folder)?;
    npm_workspace(workspace, CLIENT, folder)
}

fn install(workspace: &Workspace) -> Result<()> {
    if CARGO_CYCLONEDX.find(workspace).is_none() {
        CARGO_CYCLONEDX.install(workspace, &workspace.shell()?).run()?;
    }
    Ok(())
}

/// Writes the SBOMs of the app's Rust programs.
///
/// # Errors
///
/// Fails if cargo-cyclonedx is not installed, or if an SBOM lacks a dependency.
pub(crate) fn programs(workspace: &Workspace, target: Option<&str>, folder: &Path) -> Result<()> {
    rust(workspace, SHIPPED, target, folder)
}

fn rust(workspace: &Workspace, shipped: &[Shipped], target: Option<&str>, folder: &Path) -> Result<()> {
    let sh = workspace.shell()?;
    let tool = CARGO_CYCLONEDX.find(workspace).context("cargo-cyclonedx is not installed")?;
    let triple = match target {
        // Tauri's own name for two programs in one file.
        Some("universal-apple-darwin") => "all".to_owned(),
        Some(triple) => triple.to_owned(),
        None => cmd!(sh, "rustc --print host-tuple").quiet().read()?,
    };
    for Shipped { package, folder: home, features } in shipped {
        let scratch = ScratchFiles::of(workspace, &sh)?;
        let name = scratch.name;
        cmd!(sh, "{tool} cyclonedx --quiet --format json --spec-version 1.5 --override-filename {name}")
            .args(["--manifest-path", &format!("{home}/Cargo.toml"), "--target", &triple])
            .args(["--features", features])
            .quiet()
            .run()?;
        // cargo-cyclonedx identifies workspace members by absolute path; make the paths relative.
        let text = fs::read_to_string(workspace.root.join(home).join(format!("{name}.json")))?;
        let here = format!("file://{}", workspace.root.display());
        let sbom = text.replace(&here, "file://.");
        let tree =
            cmd!(sh, "cargo tree --locked --package {package} --features {features} --target {triple}")
                .args(["--edges", "normal,build", "--prefix", "none", "--format", "{p}"])
                .quiet()
                .read()?;
        write_if_complete(&folder.join(format!("{package}.cdx.json")), &sbom, &cargo_names(&tree))?;
    }
    Ok(())
}

/// Writes the SBOM of the app's front end.
///
/// # Errors
///
/// Fails if the SBOM lacks a dependency.
pub(crate) fn front_end(workspace: &Workspace, folder: &Path) -> Result<()> {
    npm_workspace(workspace, FRONT_END, folder)
}

/// Writes the SBOM of an npm workspace. It also lists the build tools, marked as optional. `--omit dev` would leave out
/// packages that both the tools and the page need, for example React: <https://github.com/npm/cli/issues/7909>.
fn npm_workspace(workspace: &Workspace, name: &str, folder: &Path) -> Result<()> {
    let sh = workspace.shell()?;
    let of = ["--package-lock-only", "--workspace", name];
    let sbom = npm::npm(&sh, &["sbom", "--sbom-format", "cyclonedx"]).args(of).quiet().read()?;
    let list = npm::npm(&sh, &["ls", "--all", "--omit", "dev", "--json"]).args(of).quiet().read()?;
    let mut expected = BTreeSet::new();
    npm_names(&serde_json::from_str(&list)?, &mut expected);
    write_if_complete(&folder.join(format!("{name}.cdx.json")), &sbom, &expected)
}

/// Writes an SBOM, or fails with the names of the dependencies that it lacks.
fn write_if_complete(file: &Path, sbom: &str, expected: &BTreeSet<String>) -> Result<()> {
    let name = file.file_name().unwrap_or_default().display();
    let listed = listed(&serde_json::from_str(sbom)?);
    if expected.is_empty() {
        bail!("cannot check {name}: the package manager listed no dependencies");
    }
    let missing: Vec<&str> = expected.difference(&listed).map(String::as_str).collect();
    if !missing.is_empty() {
        bail!("{name} lacks these dependencies: {}", missing.join(", "));
    }
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(file, sbom).with_context(|| format!("cannot write {}", file.display()))
}

/// Returns `name@version` of each component of an SBOM, and of the program that the SBOM describes.
fn listed(sbom: &Value) -> BTreeSet<String> {
    let components = sbom["components"].as_array().into_iter().flatten();
    // For a workspace, npm writes the folder as `name`, and the package name in `bom-ref`.
    let names = |component: &Value| {
        let text = |key: &str| component[key].as_str().unwrap_or_default().to_owned();
        [text("bom-ref"), format!("{}@{}", text("name"), text("version"))]
    };
    components.chain([&sbom["metadata"]["component"]]).flat_map(names).collect()
}

/// Returns `name@version` for each line of `cargo tree`: `name v1.2.3`, optionally followed by a remark in parentheses.
fn cargo_names(tree: &str) -> BTreeSet<String> {
    let name = |line: &str| {
        let mut words = line.split(' ');
        Some(format!("{}@{}", words.next()?, words.next()?.strip_prefix('v')?))
    };
    tree.lines().filter_map(name).collect()
}

/// Collects `name@version` of each dependency below a node of `npm ls --json`.
fn npm_names(node: &Value, names: &mut BTreeSet<String>) {
    for (name, dependency) in node["dependencies"].as_object().into_iter().flatten() {
        // An optional dependency for another platform has no version.
        if let Some(version) = dependency["version"].as_str() {
            names.insert(format!("{name}@{version}"));
        }
        npm_names(dependency, names);
    }
}

/// The output files of cargo-cyclonedx, which can only write beside each workspace member's manifest. Drop removes them.
struct ScratchFiles {
    name: &'static str,
    files: Vec<PathBuf>,
}

impl ScratchFiles {
    fn of(workspace: &Workspace, sh: &Shell) -> Result<Self> {
        let name = "xtask-sbom";
        let text = cmd!(sh, "cargo metadata --format-version 1 --no-deps").quiet().read()?;
        let metadata: Value = serde_json::from_str(&text)?;
        let manifests = metadata["packages"].as_array().into_iter().flatten();
        let beside = |package: &Value| {
            Some(Path::new(package["manifest_path"].as_str()?).with_file_name(format!("{name}.json")))
        };
        let files: Vec<_> = manifests.filter_map(beside).collect();
        if files.is_empty() {
            bail!("`cargo metadata` lists no workspace member in {}", workspace.root.display());
        }
        Ok(Self { name, files })
    }
}

impl Drop for ScratchFiles {
    fn drop(&mut self) {
        for file in &self.files {
            let _ = fs::remove_file(file);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_incomplete_sbom_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sbom/app.cdx.json");
        let sbom = json!({
            "metadata": { "component": { "bom-ref": "x", "name": "app", "version": "0.1.0" } },
            "components": [
                { "bom-ref": "registry+a", "name": "a", "version": "1.0.0" },
                { "bom-ref": "web@0.1.0", "name": "apps/web", "version": "0.1.0" },
            ],
        });
        let write = |expected: &[&str]| {
            write_if_complete(&file, &sbom.to_string(), &expected.iter().map(ToString::to_string).collect())
        };
        for (expected, message) in
            [(&["a@1.0.0", "a@2.0.0", "b@1.0.0"][..], "a@2.0.0, b@1.0.0"), (&[], "listed no dependencies")]
        {
            let error = write(expected).unwrap_err().to_string();
            assert!(error.contains(message) && error.contains("app.cdx.json"), "{error}");
            assert!(!file.exists());
        }
        write(&["a@1.0.0", "app@0.1.0", "web@0.1.0"]).unwrap();
        assert_eq!(fs::read_to_string(file).unwrap(), sbom.to_string());
    }

    #[test]
    fn dependency_lists_of_cargo_and_npm_are_parsed() {
        let tree = "aios v0.1.0 (/src/apps/desktop)\nserde v1.0.2\nserde v1.0.2 (*)\nderive v2.0.0+x (proc-macro)\n\n";
        let names: Vec<_> = cargo_names(tree).into_iter().collect();
        assert_eq!(names, ["aios@0.1.0", "derive@2.0.0+x", "serde@1.0.2"]);

        let list = json!({ "version": "0.1.0", "dependencies": {
            "web": { "version": "0.1.0", "dependencies": { "@a/b": { "version": "1.0.0" }, "optional": {} } },
        } });
        let mut names = BTreeSet::new();
        npm_names(&list, &mut names);
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["@a/b@1.0.0", "web@0.1.0"]);
    }
}
