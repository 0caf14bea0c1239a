//! What the app does now that Pillion does in its place: it starts a server by tauri-plugin-shell, which would run twice, and calls it by
//! a port that it knows.

use std::path::{Path, PathBuf};

use super::Plan;
use crate::{
    init::source::CLIENT,
    project::{Platform, Project, SidecarProgram, last_part, read_text},
};

/// The names of files with the code of an app or of its page.
const CODE: [&str; 9] = ["rs", "ts", "tsx", "js", "jsx", "mjs", "mts", "vue", "svelte"];
/// How a page calls a server on a port of this machine.
const ADDRESSES: [&str; 4] = ["http://localhost:", "http://127.0.0.1:", "ws://localhost:", "ws://127.0.0.1:"];
/// Programs and a sign of the shell that start several programs beside each other.
const RUNNERS: [&str; 7] = ["concurrently", "npm-run-all", "npm-run-all2", "run-p", "turbo", "nx", "&"];
/// What lets a page start programs by tauri-plugin-shell, write to them and kill them.
const SHELL_PERMISSIONS: [&str; 4] =
    ["shell:allow-execute", "shell:allow-spawn", "shell:allow-kill", "shell:allow-stdin-write"];
const DOCS: &str = "docs/servers.md, \"From tauri-plugin-shell\"";

/// Names the calls, the permissions and the programs that the declaration replaces. Only the developer knows whether they are of the
/// server that moves, so that nothing is removed.
///
/// # Errors
///
/// Fails if a file of the project is wrong, with its path and position.
pub(super) fn started_by_shell(plan: &mut Plan, project: &Project, sidecar: &str) -> Result<(), String> {
    if project.manifest.dependency("tauri-plugin-shell").is_none() {
        return Ok(());
    }
    let mut files = Vec::new();
    code(&project.tauri.join("src"), &mut files);
    if let Some(front_end) = &project.front_end {
        code(&front_end.folder().join("src"), &mut files);
    }
    files.sort();
    files.dedup();
    let mut started = Vec::new();
    for file in files {
        for (line, program) in started_by(&read_text(&file).unwrap_or_default()) {
            plan.by_hand(
                &file,
                format!(
                    "line {line}: tauri-plugin-shell starts {program}; if this is the server of the sidecar {sidecar}, remove the call \
                     and what uses its result: the declaration starts and stops it ({DOCS})"
                ),
                "",
            );
            started.push(last_part(&program).to_owned());
        }
    }
    if started.is_empty() {
        return Ok(());
    }
    permissions(plan, project)?;
    programs(plan, project, &started)
}

/// Names the lines of the page with a port of this machine, unless the page has the client already. They may be of another server.
pub(super) fn called_by_port(plan: &mut Plan, project: &Project, sidecar: &str) {
    let Some(front_end) = project.front_end.as_ref().filter(|it| it.dependency(CLIENT.name).is_none()) else {
        return;
    };
    let mut files = Vec::new();
    code(&front_end.folder().join("src"), &mut files);
    files.sort();
    for file in files {
        let text = read_text(&file).unwrap_or_default();
        let lines = text.lines().zip(1..).filter(|(line, _)| ADDRESSES.iter().any(|it| line.contains(it)));
        let lines: Vec<_> = lines.map(|(_, number): (_, usize)| number.to_string()).collect();
        let word = if lines.len() == 1 { "line" } else { "lines" };
        if !lines.is_empty() {
            plan.by_hand(
                &file,
                format!(
                    "{word} {}: if this is the server of the sidecar {sidecar}, leave out scheme, host and port, and call it by `fetch`, \
                     `webSocket` or `events` of `sidecar({sidecar:?})` (docs/page.md)",
                    lines.join(", ")
                ),
                "",
            );
        }
    }
}

/// Names the command that starts several programs for development: the server may be one of them, and would run twice.
pub(super) fn started_for_development(plan: &mut Plan, project: &Project, sidecar: &str) {
    let config = project.config.on(Platform::host());
    let Some(command) = config.build_command("beforeDevCommand") else { return };
    let mut texts = vec![command.to_owned()];
    // A script may call another one; each is looked at once.
    let mut at = 0;
    while let Some(text) = texts.get(at).cloned() {
        let scripts = text.split_whitespace().filter_map(|word| script(project, word));
        let new: Vec<_> = scripts.filter(|script| !texts.contains(script)).collect();
        texts.extend(new);
        at += 1;
    }
    let starts_several = |text: &&String| text.split_whitespace().any(|word| RUNNERS.contains(&word));
    if let Some(text) = texts.iter().find(starts_several) {
        plan.by_hand(
            &config.file_of(&["build", "beforeDevCommand"]).path,
            format!(
                "`build.beforeDevCommand` starts several programs ({text}); if one of them is the server of the sidecar {sidecar}, leave it \
                 out: the app starts it by `dev` of its declaration"
            ),
            "",
        );
    }
}

/// The script of this name in the page's package.
fn script(project: &Project, name: &str) -> Option<String> {
    let package = &project.front_end.as_ref()?.package;
    package.get(&["scripts", name.trim_matches(['"', '\''])])?.as_str().map(str::to_owned)
}

/// The permissions that let a page start programs.
fn permissions(plan: &mut Plan, project: &Project) -> Result<(), String> {
    for capability in project.capabilities(Platform::host()).map_err(|error| error.to_string())? {
        let names = capability.permissions.iter().map(|entry| entry.identifier.as_str());
        let names: Vec<_> = names.filter(|name| SHELL_PERMISSIONS.contains(name)).collect();
        if !names.is_empty() {
            plan.by_hand(
                &capability.origin.path,
                format!("remove {}, unless something else needs it", names.join(", ")),
                "",
            );
        }
    }
    Ok(())
}

/// The entries of `bundle.externalBin` that no sidecar of Pillion names.
fn programs(plan: &mut Plan, project: &Project, started: &[String]) -> Result<(), String> {
    let config = project.config.on(Platform::host());
    let declared = config.sidecars().map_err(|error| error.to_string())?.unwrap_or_default();
    for entry in config.external_bin().map_err(|error| error.to_string())? {
        let program = last_part(&entry);
        let used = declared.iter().any(
            |sidecar| matches!(&sidecar.program, SidecarProgram::External { file, .. } if file == program),
        );
        if !used && started.iter().any(|name| name == program) {
            plan.by_hand(
                &config.file_of(&["bundle", "externalBin"]).path,
                format!(
                    "remove {entry:?} from `bundle.externalBin`, if the new entry takes its place; or keep it, name it in the \
                     declaration (\"program\": {program:?}), and remove the new one"
                ),
                "",
            );
        }
    }
    Ok(())
}

/// The files with code in a folder and below it.
fn code(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            code(&path, files);
        } else if path.extension().is_some_and(|it| CODE.iter().any(|code| it == *code)) {
            files.push(path);
        }
    }
}

/// The lines on which `shell().sidecar("…")` (Rust) or `Command.sidecar("…")` (JavaScript) stand, from 1, with the names in the quotes.
fn started_by(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, call) in text.match_indices(".sidecar(") {
        let before = text[..at].trim_end();
        if !before.ends_with("shell()") && !before.ends_with("Command") {
            continue;
        }
        let argument = text[at + call.len()..].trim_start();
        let Some(quote) = argument.chars().next().filter(|first| ['"', '\'', '`'].contains(first)) else {
            continue;
        };
        if let Some(name) = argument[1..].split(quote).next() {
            found.push((text[..at].matches('\n').count() + 1, name.to_owned()));
        }
    }
    found
}
