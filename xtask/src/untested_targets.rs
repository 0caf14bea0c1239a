//! Checks that a target whose manifest says `test = false` contains no unit tests, because they would never run.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use xshell::cmd;

use crate::workspace::Workspace;

/// The packages whose library compiles and tests the modules of the untested targets too.
const TESTED_BY_LIBRARY: &[&str] = &["pillion-guard"];

/// Fails if there is such a test, and names its file.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let sh = workspace.shell()?;
    let metadata = cmd!(sh, "cargo metadata --format-version 1 --no-deps").quiet().read()?;
    for sources in untested(&serde_json::from_str(&metadata)?) {
        for file in rust_files(&sources)? {
            let text =
                fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            if has_test(&text) {
                let file = file.strip_prefix(&workspace.root).unwrap_or(&file).display();
                bail!(
                    "{file} has a unit test that never runs: remove `test = false` of its target in Cargo.toml"
                );
            }
        }
    }
    Ok(())
}

fn has_test(text: &str) -> bool {
    text.lines()
        .map(str::trim_start)
        .any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
}

/// The source files and folders of the targets that have `test = false`, except build scripts: the whole folder, unless a target that
/// is tested begins in it as well.
fn untested(metadata: &Value) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        if TESTED_BY_LIBRARY.iter().any(|name| package["name"] == *name) {
            continue;
        }
        let targets = package["targets"].as_array().map_or(&[][..], Vec::as_slice);
        let root = |target: &Value| target["src_path"].as_str().map(PathBuf::from);
        let (tested, untested): (Vec<_>, Vec<_>) = targets
            .iter()
            .filter(|target| target["kind"][0] != "custom-build")
            .partition(|target| target["test"] == true);
        let tested: Vec<_> = tested.into_iter().filter_map(root).collect();
        for file in untested.into_iter().filter_map(root) {
            let folder = file.parent().map(Path::to_owned).unwrap_or_default();
            let shared = tested.iter().any(|tested| tested.starts_with(&folder));
            let is_folder = file.ends_with("main.rs") || file.ends_with("lib.rs");
            found.insert(if is_folder && !shared { folder } else { file });
        }
    }
    found
}

/// The file, or the files in the folder and in all folders below.
fn rust_files(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))? {
        let path = entry?.path();
        if path.is_dir() || path.extension().is_some_and(|extension| extension == "rs") {
            found.extend(rust_files(&path)?);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_folder_is_untested_unless_a_tested_target_begins_there() {
        let target =
            |kind: &str, path: &str, test: bool| json!({ "kind": [kind], "src_path": path, "test": test });
        let metadata = json!({ "packages": [
            { "name": "app", "targets": [
                target("lib", "/app/src/lib.rs", false),
                target("bin", "/app/src/main.rs", false),
                target("test", "/app/tests/it.rs", true),
                target("custom-build", "/app/build.rs", false),
            ] },
            { "name": "tool", "targets": [
                target("lib", "/tool/src/lib.rs", true),
                target("bin", "/tool/src/main.rs", false),
                target("bin", "/tool/src/bin/one.rs", false),
                target("bin", "/tool/src/bin/two/main.rs", false),
            ] },
        ] });
        let expected = ["/app/src", "/tool/src/bin/one.rs", "/tool/src/bin/two", "/tool/src/main.rs"];
        assert_eq!(untested(&metadata), expected.map(PathBuf::from).into());
    }

    #[test]
    fn a_test_is_an_attribute_of_its_own() {
        assert!(has_test("mod tests {\n    #[test]\n    fn f() {}\n}"));
        assert!(has_test("#[tokio::test(start_paused = true)]"));
        assert!(!has_test("// #[test]\nlet text = \"#[test]\";"));
    }
}
