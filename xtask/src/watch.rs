//! `cargo xtask dev`: the backend is built again when its source has changed, and the running app is given what compiles.

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

/// How long nothing has to happen before what happened is built: an editor saves in several steps.
const QUIET: Duration = Duration::from_millis(150);

/// Builds the backend after each change of its own source, or of that of the workspace's crates it consists of, until
/// the returned watcher is dropped or this process ends. The plugin swaps the running backend for what it finds beside the
/// app; a build that fails puts nothing there.
pub(crate) fn backend(workspace: &Workspace) -> Result<RecommendedWatcher> {
    let sh = workspace.shell()?;
    let metadata = cmd!(sh, "cargo metadata --format-version 1 --no-deps").quiet().read()?;
    let (told, events) = mpsc::channel();
    let mut watcher = notify::recommended_watcher(told)?;
    for folder in folders(&serde_json::from_str(&metadata)?, sidecar::PACKAGE) {
        watcher
            .watch(&folder, RecursiveMode::Recursive)
            .with_context(|| format!("cannot watch {}", folder.display()))?;
    }
    let workspace = workspace.clone();
    thread::spawn(move || {
        while edited(&events) {
            match rebuild(&workspace) {
                Ok(()) => println!(
                    "xtask: the backend is built; if it has changed, the app takes it once it is healthy"
                ),
                // What is wrong was said by cargo.
                Err(error) => eprintln!("xtask: the running backend stays: {error:#}"),
            }
        }
    });
    Ok(watcher)
}

fn rebuild(workspace: &Workspace) -> Result<()> {
    sidecar::compile(&workspace.shell()?, false, None).quiet().run()?;
    sidecar::hand_to_app(workspace)
}

/// Waits for an edit, and for the end of it. False when nobody watches any more.
fn edited(events: &Receiver<notify::Result<Event>>) -> bool {
    if !events.iter().any(|event| event.is_ok_and(|event| is_edit(&event))) {
        return false;
    }
    while events.recv_timeout(QUIET).is_ok() {}
    true
}

/// Compilers read what editors write, and editors write besides what nobody compiles.
fn is_edit(event: &Event) -> bool {
    let is_source =
        |path: &PathBuf| path.extension().is_some_and(|extension| extension == "rs" || extension == "toml");
    !matches!(event.kind, EventKind::Access(_)) && event.paths.iter().any(is_source)
}

/// The folders of a package and of all that it depends on by path, from what `cargo metadata` prints.
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
            // Those of the tests alone are no part of it.
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
    fn what_the_backend_is_made_of_is_watched_and_nothing_else() {
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
    fn an_edit_is_told_from_a_compilers_reading() {
        let folder = tempfile::tempdir().unwrap();
        let (source, notes) = (folder.path().join("main.rs"), folder.path().join("main.rs~"));
        fs::write(&source, "fn main() {}").unwrap();
        let (told, events) = mpsc::channel();
        let mut watcher = notify::recommended_watcher(told).unwrap();
        watcher.watch(folder.path(), RecursiveMode::Recursive).unwrap();
        fs::read(&source).unwrap();
        fs::write(notes, "").unwrap();
        fs::write(folder.path().join("end"), "").unwrap();
        let seen = events.iter().map(Result::unwrap).take_while(|event| !event.paths[0].ends_with("end"));
        assert!(!seen.into_iter().any(|event| is_edit(&event)), "nothing was edited");

        fs::write(folder.path().join("new.rs"), "").unwrap();
        fs::rename(folder.path().join("new.rs"), &source).unwrap();
        assert!(edited(&events));
        drop(watcher);
        while edited(&events) {}
    }
}
