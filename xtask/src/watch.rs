//! `cargo xtask dev`: rebuilds the backend when its source changes, and gives a successful build to the running app.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use serde_json::Value;
use xshell::cmd;

use crate::{sidecar, workspace::Workspace};

/// How long to wait for further file events before a build starts: an editor saves in several steps.
const DEBOUNCE: Duration = Duration::from_millis(150);

/// Rebuilds the backend after each change of its source, or of the source of a workspace crate that it depends on, until
/// the returned watcher is dropped or this process ends. A successful build is copied beside the app, where the plugin
/// finds it and swaps the running backend for it. A failed build changes nothing.
pub(crate) fn backend(workspace: &Workspace) -> Result<RecommendedWatcher> {
    let sh = workspace.shell()?;
    let metadata = cmd!(sh, "cargo metadata --format-version 1 --no-deps").quiet().read()?;
    let (sender, events) = mpsc::channel();
    let mut watcher = notify::recommended_watcher(sender)?;
    for folder in folders(&serde_json::from_str(&metadata)?, sidecar::PACKAGE) {
        watcher
            .watch(&folder, RecursiveMode::Recursive)
            .with_context(|| format!("cannot watch {}", folder.display()))?;
    }
    let workspace = workspace.clone();
    thread::spawn(move || {
        while wait_for_edit(&events) {
            match rebuild(&workspace) {
                Ok(()) => println!(
                    "xtask: built the backend; if it changed, the app swaps to it as soon as it is healthy"
                ),
                // Cargo has already printed the compile errors.
                Err(error) => eprintln!("xtask: the running backend stays as it is: {error:#}"),
            }
        }
    });
    Ok(watcher)
}

fn rebuild(workspace: &Workspace) -> Result<()> {
    sidecar::compile(&workspace.shell()?, false, None).quiet().run()?;
    sidecar::place_beside_app(workspace)
}

/// Waits for an edit, and until no event has followed it for [`DEBOUNCE`]. Returns false once the watcher is dropped.
fn wait_for_edit(events: &Receiver<notify::Result<Event>>) -> bool {
    if !events.iter().any(|event| event.is_ok_and(|event| is_edit(&event))) {
        return false;
    }
    while events.recv_timeout(DEBOUNCE).is_ok() {}
    true
}

/// Returns whether an event is a change of a source file. A compiler's read and an editor's backup file are not.
fn is_edit(event: &Event) -> bool {
    let is_source =
        |path: &PathBuf| path.extension().is_some_and(|extension| extension == "rs" || extension == "toml");
    !matches!(event.kind, EventKind::Access(_)) && event.paths.iter().any(is_source)
}

/// Returns the folders of a package and of its path dependencies, from the output of `cargo metadata`.
fn folders(metadata: &Value, package: &str) -> BTreeSet<PathBuf> {
    let packages = metadata["packages"].as_array().map_or(&[][..], Vec::as_slice);
    let folder =
        |package: &Value| Some(PathBuf::from(package["manifest_path"].as_str()?).parent()?.to_owned());
    let mut found = BTreeSet::new();
    let mut next: Vec<PathBuf> =
        packages.iter().filter(|it| it["name"] == package).filter_map(folder).collect();
    while let Some(here) = next.pop() {
        let package = packages.iter().find(|it| folder(it).as_ref() == Some(&here));
        let dependencies = package.and_then(|it| it["dependencies"].as_array()).into_iter().flatten();
        if found.insert(here) {
            // The program does not contain its dev-dependencies.
            let built = dependencies.filter(|it| it["kind"] != "dev");
            next.extend(built.filter_map(|it| it["path"].as_str().map(PathBuf::from)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_backend_and_its_path_dependencies_are_watched() {
        let package = |name: &str, dependencies: Value| json!({ "name": name, "manifest_path": format!("/w/{name}/Cargo.toml"), "dependencies": dependencies });
        let on =
            |name: &str, kind: Value| json!({ "name": name, "kind": kind, "path": format!("/w/{name}") });
        let metadata = json!({ "packages": [
            package("aios-backend", json!([on("server", json!(null)), on("tests", json!("dev")), { "name": "tokio" }])),
            package("server", json!([on("protocol", json!(null)), on("codegen", json!("build"))])),
            package("protocol", json!([])),
            package("codegen", json!([on("protocol", json!(null))])),
            package("tests", json!([on("app", json!(null))])),
            package("app", json!([on("protocol", json!(null))])),
        ] });
        let expected = ["aios-backend", "codegen", "protocol", "server"];
        let expected: BTreeSet<_> = expected.map(|name| PathBuf::from(format!("/w/{name}"))).into();
        assert_eq!(folders(&metadata, "aios-backend"), expected);
    }

    #[test]
    fn an_edit_is_distinguished_from_a_read() {
        let folder = tempfile::tempdir().unwrap();
        let (source, notes) = (folder.path().join("main.rs"), folder.path().join("main.rs~"));
        fs::write(&source, "fn main() {}").unwrap();
        let (sender, events) = mpsc::channel();
        let mut watcher = notify::recommended_watcher(sender).unwrap();
        watcher.watch(folder.path(), RecursiveMode::Recursive).unwrap();
        fs::read(&source).unwrap();
        fs::write(notes, "").unwrap();
        fs::write(folder.path().join("end"), "").unwrap();
        let seen = events.iter().map(Result::unwrap).take_while(|event| !event.paths[0].ends_with("end"));
        assert!(!seen.into_iter().any(|event| is_edit(&event)), "no source file was edited");

        fs::write(folder.path().join("new.rs"), "").unwrap();
        fs::rename(folder.path().join("new.rs"), &source).unwrap();
        assert!(wait_for_edit(&events));
        drop(watcher);
        while wait_for_edit(&events) {}
    }
}
