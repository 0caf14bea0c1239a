//! What package-lock.json has to hold: whatever is installed is known by its hash, is asked of whichever registry the machine
//! uses, and runs nothing while it is installed. Cargo.lock needs no such look: Cargo writes a checksum for each package, and
//! deny.toml says where packages may come from.

use std::fs;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

use crate::workspace::Workspace;

/// Fails with a line for each fault.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let read = |name: &str| {
        fs::read_to_string(workspace.root.join(name)).with_context(|| format!("cannot read {name}"))
    };
    let lock: Value = serde_json::from_str(&read("package-lock.json")?)?;
    let packages = lock["packages"].as_object().context("package-lock.json names no packages")?;
    let mut faults = faults(packages);
    if !read(".npmrc")?.lines().any(|line| line == "ignore-scripts=true") {
        faults.push(
            ".npmrc has no ignore-scripts=true: packages could run scripts when they are installed"
                .to_owned(),
        );
    }
    if faults.is_empty() { Ok(()) } else { bail!("{}", faults.join("\n")) }
}

/// What is wrong with the entries, by their place in `node_modules`
/// (<https://docs.npmjs.com/cli/configuring-npm/package-lock-json>).
fn faults(packages: &Map<String, Value>) -> Vec<String> {
    packages.iter().flat_map(|(place, package)| entry(place, package, packages)).collect()
}

fn entry(place: &str, package: &Value, packages: &Map<String, Value>) -> Vec<String> {
    let is = |key: &str| package[key].as_bool() == Some(true);
    let mut faults = Vec::new();
    // The rest are folders of this repository, and links to them.
    if place.contains("node_modules/") && !is("link") {
        // What comes in another package's archive has that one's hash.
        let hash = package["integrity"].as_str().unwrap_or_default();
        if !hash.starts_with("sha512-") && !is("inBundle") {
            faults.push(format!("{place} has no SHA-512 in \"integrity\""));
        }
        if !package["resolved"].is_null() {
            faults
                .push(format!("{place} names the address it came from; see omit-lockfile-registry-resolved"));
        }
    } else if package["resolved"].as_str().is_some_and(|target| !packages.contains_key(target)) {
        faults.push(format!("{place} links to what is not in this repository"));
    }
    if is("hasInstallScript") {
        faults
            .push(format!("{place} wants to run a script when it is installed, which .npmrc keeps it from"));
    }
    // npm leaves out other systems' packages when it writes the lock anew from an installed tree: npm/cli#4828.
    for name in package["optionalDependencies"].as_object().into_iter().flat_map(Map::keys) {
        let end = format!("node_modules/{name}");
        if !packages.keys().any(|place| place.ends_with(&end)) {
            faults.push(format!("{place} can need {name}, which is missing"));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_fault_is_named() {
        for (package, fault) in [
            (json!({ "integrity": "sha512-a" }), None),
            (json!({ "inBundle": true }), None),
            (json!({ "link": true, "resolved": "apps/desktop" }), None),
            (json!({ "optionalDependencies": { "b": "1" }, "integrity": "sha512-a" }), None),
            (json!({}), Some("integrity")),
            (json!({ "integrity": "sha1-a" }), Some("integrity")),
            (json!({ "integrity": "sha512-a", "resolved": "https://a.test/a.tgz" }), Some("address")),
            (json!({ "integrity": "sha512-a", "resolved": "git+ssh://a.test/a" }), Some("address")),
            (json!({ "link": true, "resolved": "../elsewhere" }), Some("links to")),
            (json!({ "integrity": "sha512-a", "hasInstallScript": true }), Some("script")),
            (json!({ "integrity": "sha512-a", "optionalDependencies": { "c": "1" } }), Some("c, which")),
        ] {
            let packages = json!({
                "": {}, "apps/desktop": { "hasInstallScript": false },
                "node_modules/b": { "integrity": "sha512-b" },
                "node_modules/a": package,
            });
            let faults = faults(packages.as_object().unwrap());
            match fault {
                None => assert!(faults.is_empty(), "{faults:?}"),
                Some(fault) => {
                    assert!(matches!(&faults[..], [one] if one.contains(fault)), "{package}: {faults:?}");
                }
            }
        }
    }
}
