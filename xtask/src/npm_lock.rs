//! Checks package-lock.json: each package has a hash, names no download address (so that npm uses the registry of the
//! machine), and runs no install script. Cargo.lock needs no such check: Cargo writes a checksum for each package, and
//! deny.toml lists the allowed sources.

use std::fs;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

use crate::workspace::Workspace;

/// Checks package-lock.json and .npmrc.
///
/// # Errors
///
/// Fails with one line for each problem.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let read = |name: &str| {
        fs::read_to_string(workspace.root.join(name)).with_context(|| format!("cannot read {name}"))
    };
    let lock: Value = serde_json::from_str(&read("package-lock.json")?)?;
    let packages = lock["packages"].as_object().context("package-lock.json has no \"packages\"")?;
    let mut problems = problems(packages);
    if !read(".npmrc")?.lines().any(|line| line == "ignore-scripts=true") {
        problems.push(
            ".npmrc lacks ignore-scripts=true: packages could run scripts during installation".to_owned(),
        );
    }
    if problems.is_empty() { Ok(()) } else { bail!("{}", problems.join("\n")) }
}

/// Checks each entry. The key is the package's path in `node_modules`:
/// <https://docs.npmjs.com/cli/configuring-npm/package-lock-json>.
fn problems(packages: &Map<String, Value>) -> Vec<String> {
    packages.iter().flat_map(|(path, package)| check_entry(path, package, packages)).collect()
}

fn check_entry(path: &str, package: &Value, packages: &Map<String, Value>) -> Vec<String> {
    let is = |key: &str| package[key].as_bool() == Some(true);
    let mut problems = Vec::new();
    // All other entries are folders of this repository and links to them.
    if path.contains("node_modules/") && !is("link") {
        // The hash of a bundled package is that of the archive which contains it.
        let hash = package["integrity"].as_str().unwrap_or_default();
        if !hash.starts_with("sha512-") && !is("inBundle") {
            problems.push(format!("{path} has no SHA-512 in \"integrity\""));
        }
        if !package["resolved"].is_null() {
            problems.push(format!(
                "{path} has a download address in \"resolved\": set omit-lockfile-registry-resolved in .npmrc"
            ));
        }
    } else if package["resolved"].as_str().is_some_and(|target| !packages.contains_key(target)) {
        problems.push(format!("{path} links to a folder outside this repository"));
    }
    if is("hasInstallScript") {
        problems.push(format!("{path} needs an install script, which .npmrc does not allow"));
    }
    // npm drops the optional packages of other platforms when it rewrites the lock file from an installed tree:
    // <https://github.com/npm/cli/issues/4828>.
    for name in package["optionalDependencies"].as_object().into_iter().flat_map(Map::keys) {
        let end = format!("node_modules/{name}");
        if !packages.keys().any(|path| path.ends_with(&end)) {
            problems.push(format!("{path} has the optional dependency {name}, which the lock file lacks"));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_problem_is_named() {
        for (package, problem) in [
            (json!({ "integrity": "sha512-a" }), None),
            (json!({ "inBundle": true }), None),
            (json!({ "link": true, "resolved": "apps/desktop" }), None),
            (json!({ "optionalDependencies": { "b": "1" }, "integrity": "sha512-a" }), None),
            (json!({}), Some("integrity")),
            (json!({ "integrity": "sha1-a" }), Some("integrity")),
            (json!({ "integrity": "sha512-a", "resolved": "https://a.test/a.tgz" }), Some("address")),
            (json!({ "integrity": "sha512-a", "resolved": "git+ssh://a.test/a" }), Some("address")),
            (json!({ "link": true, "resolved": "../elsewhere" }), Some("outside this repository")),
            (json!({ "integrity": "sha512-a", "hasInstallScript": true }), Some("script")),
            (json!({ "integrity": "sha512-a", "optionalDependencies": { "c": "1" } }), Some("dependency c,")),
        ] {
            let packages = json!({
                "": {}, "apps/desktop": { "hasInstallScript": false },
                "node_modules/b": { "integrity": "sha512-b" },
                "node_modules/a": package,
            });
            let problems = problems(packages.as_object().unwrap());
            match problem {
                None => assert!(problems.is_empty(), "{problems:?}"),
                Some(problem) => {
                    assert!(
                        matches!(&problems[..], [one] if one.contains(problem)),
                        "{package}: {problems:?}"
                    );
                }
            }
        }
    }
}
