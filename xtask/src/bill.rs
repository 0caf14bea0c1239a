//! `cargo xtask sbom`: bills of materials of what ships, in CycloneDX (<https://cyclonedx.org>), each held against what
//! Cargo and npm themselves say that it is made of.

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
    /// Where its manifest is.
    folder: &'static str,
    /// The features that it ships with.
    features: &'static str,
}

const SHIPPED: &[Shipped] = &[
    Shipped { package: "aios", folder: "apps/desktop/src-tauri", features: "custom-protocol" },
    Shipped { package: "aios-backend", folder: "apps/backend", features: "" },
];

/// The npm workspace that the front end is built from.
const FRONT_END: &str = "aios-desktop";

/// Writes a bill for the app, its backend and its front end into the folder of a release's packages for `target` (this
/// machine's own by default), and prints where. Installs the tool for Rust if it is not there.
pub(crate) fn write(workspace: &Workspace, target: Option<&str>) -> Result<()> {
    if CARGO_CYCLONEDX.find(workspace).is_none() {
        CARGO_CYCLONEDX.install(workspace, &workspace.shell()?).run()?;
    }
    let folder = target.map_or_else(|| workspace.target.clone(), |triple| workspace.target.join(triple));
    let folder = folder.join("release/bundle/sbom");
    programs(workspace, target, &folder)?;
    front_end(workspace, &folder)?;
    println!("{}", folder.display());
    Ok(())
}

/// Writes the bills of the programs; the tool has to be there.
pub(crate) fn programs(workspace: &Workspace, target: Option<&str>, folder: &Path) -> Result<()> {
    let sh = workspace.shell()?;
    let tool = CARGO_CYCLONEDX.find(workspace).context("cargo-cyclonedx is not installed")?;
    let triple = match target {
        // Tauri's own name for two programs in one file.
        Some("universal-apple-darwin") => "all".to_owned(),
        Some(triple) => triple.to_owned(),
        None => cmd!(sh, "rustc --print host-tuple").quiet().read()?,
    };
    for Shipped { package, folder: home, features } in SHIPPED {
        let strays = Strays::of(workspace, &sh)?;
        let name = strays.name;
        cmd!(sh, "{tool} cyclonedx --quiet --format json --spec-version 1.5 --override-filename {name}")
            .args(["--manifest-path", &format!("{home}/Cargo.toml"), "--target", &triple])
            .args(["--features", features])
            .quiet()
            .run()?;
        // The tool names the members of this workspace by where they are on this machine.
        let text = fs::read_to_string(workspace.root.join(home).join(format!("{name}.json")))?;
        let here = format!("file://{}", workspace.root.display());
        let bill = text.replace(&here, "file://.");
        let tree =
            cmd!(sh, "cargo tree --locked --package {package} --features {features} --target {triple}")
                .args(["--edges", "normal,build", "--prefix", "none", "--format", "{p}"])
                .quiet()
                .read()?;
        keep(&folder.join(format!("{package}.cdx.json")), &bill, &cargo_names(&tree))?;
    }
    Ok(())
}

/// Writes the bill of the front end. It lists the build's tools, too, as optional: they write what ships. Leaving them out
/// (`--omit dev`) would leave out what both they and the page need, React among others: npm/cli#7909.
pub(crate) fn front_end(workspace: &Workspace, folder: &Path) -> Result<()> {
    let sh = workspace.shell()?;
    let of = ["--package-lock-only", "--workspace", FRONT_END];
    let bill = npm::npm(&sh, &["sbom", "--sbom-format", "cyclonedx"]).args(of).quiet().read()?;
    let list = npm::npm(&sh, &["ls", "--all", "--omit", "dev", "--json"]).args(of).quiet().read()?;
    let mut expected = BTreeSet::new();
    npm_names(&serde_json::from_str(&list)?, &mut expected);
    keep(&folder.join(format!("{FRONT_END}.cdx.json")), &bill, &expected)
}

/// Writes a bill, unless something is missing from it.
fn keep(file: &Path, bill: &str, expected: &BTreeSet<String>) -> Result<()> {
    let name = file.file_name().unwrap_or_default().display();
    let listed = listed(&serde_json::from_str(bill)?);
    if expected.is_empty() {
        bail!("nobody knows what should be in {name}");
    }
    let missing: Vec<&str> = expected.difference(&listed).map(String::as_str).collect();
    if !missing.is_empty() {
        bail!("{name} is not complete; missing: {}", missing.join(", "));
    }
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(file, bill).with_context(|| format!("cannot write {}", file.display()))
}

/// `name@version` of everything in a bill, and of what it is the bill of.
fn listed(bill: &Value) -> BTreeSet<String> {
    let components = bill["components"].as_array().into_iter().flatten();
    // npm calls a workspace by its folder, but refers to it by its name.
    let names = |component: &Value| {
        let text = |key: &str| component[key].as_str().unwrap_or_default().to_owned();
        [text("bom-ref"), format!("{}@{}", text("name"), text("version"))]
    };
    components.chain([&bill["metadata"]["component"]]).flat_map(names).collect()
}

/// `name@version` from the lines of `cargo tree`, which are `name v1.2.3`, and a remark in parentheses or none.
fn cargo_names(tree: &str) -> BTreeSet<String> {
    let name = |line: &str| {
        let mut words = line.split(' ');
        Some(format!("{}@{}", words.next()?, words.next()?.strip_prefix('v')?))
    };
    tree.lines().filter_map(name).collect()
}

/// `name@version` of everything below a node of `npm ls --json`.
fn npm_names(node: &Value, names: &mut BTreeSet<String>) {
    for (name, dependency) in node["dependencies"].as_object().into_iter().flatten() {
        // What is optional and not for this system has no version.
        if let Some(version) = dependency["version"].as_str() {
            names.insert(format!("{name}@{version}"));
        }
        npm_names(dependency, names);
    }
}

/// The files of cargo-cyclonedx, which writes one beside the manifest of every member of the workspace and nowhere else.
/// They are removed on drop.
struct Strays {
    name: &'static str,
    files: Vec<PathBuf>,
}

impl Strays {
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
            bail!("cargo names no member of {}", workspace.root.display());
        }
        Ok(Self { name, files })
    }
}

impl Drop for Strays {
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
    fn a_bill_that_lacks_something_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sbom/app.cdx.json");
        let bill = json!({
            "metadata": { "component": { "bom-ref": "x", "name": "app", "version": "0.1.0" } },
            "components": [
                { "bom-ref": "registry+a", "name": "a", "version": "1.0.0" },
                { "bom-ref": "web@0.1.0", "name": "apps/web", "version": "0.1.0" },
            ],
        });
        let keep = |expected: &[&str]| {
            keep(&file, &bill.to_string(), &expected.iter().map(ToString::to_string).collect())
        };
        for (expected, said) in
            [(&["a@1.0.0", "a@2.0.0", "b@1.0.0"][..], "a@2.0.0, b@1.0.0"), (&[], "nobody knows")]
        {
            let error = keep(expected).unwrap_err().to_string();
            assert!(error.contains(said) && error.contains("app.cdx.json"), "{error}");
            assert!(!file.exists());
        }
        keep(&["a@1.0.0", "app@0.1.0", "web@0.1.0"]).unwrap();
        assert_eq!(fs::read_to_string(file).unwrap(), bill.to_string());
    }

    #[test]
    fn what_cargo_and_npm_list_is_read() {
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
