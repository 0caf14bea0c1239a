//! The changes of the app's crate: dependency, builder line, capability, ignored files.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Choices, Plan};
use crate::{
    init::{
        backend::Runtime,
        build_script,
        builder::{self, NotAdded},
        configuration::{self, Wanted},
        main_function::{self, Main},
        source::{BUILD, PLUGIN, Package, Source},
        source_text::append_lines,
        toml,
    },
    project::{Format, Platform, Project, first_window_label, grants, narrowed, read_text, usual},
};

/// What every page needs to observe sidecars and to call them.
const PERMISSIONS: [&str; 2] = ["pillion:default", "pillion:allow-connect"];
/// The same as `allow-connect` for a sidecar without a port.
const PERMISSIONS_LOCAL: [&str; 2] = ["pillion:default", "pillion:allow-fetch"];

/// The dependencies on the plugin, and on the helper of the build script.
pub(super) fn dependencies(plan: &mut Plan, project: &Project, source: &Source) {
    if project.manifest.dependency(PLUGIN.name).is_none() {
        dependency(plan, project, source, PLUGIN, "dependencies");
    }
    let document = &project.manifest.document;
    if document.get(&["build-dependencies", BUILD.name]).is_none() {
        dependency(plan, project, source, BUILD, "build-dependencies");
    }
}

fn dependency(plan: &mut Plan, project: &Project, source: &Source, package: Package, section: &str) {
    let manifest = &project.manifest;
    let shared = manifest
        .workspace
        .as_ref()
        .is_some_and(|workspace| workspace.get(&["workspace", "dependencies", package.name]).is_some());
    let value = if shared {
        let mut table = toml_edit::InlineTable::new();
        table.insert("workspace", true.into());
        toml_edit::Value::InlineTable(table)
    } else {
        source.cargo(package, &project.tauri)
    };
    let lines = format!("[{section}]\n{} = {value}\n", package.name);
    plan.change(&manifest.document.path, package.name, &lines, |text| {
        toml::edit(text, |root| {
            toml::table_at(root, &[section])?.insert(package.name, toml_edit::Item::Value(value.clone()));
            Ok(())
        })
    });
}

/// The line in the build script that lets `cargo check` and `tauri dev` work before the program of the sidecar is built.
pub(super) fn build_script(plan: &mut Plan, project: &Project) {
    let manifest = &project.manifest.document;
    // <https://doc.rust-lang.org/cargo/reference/manifest.html#the-build-field>
    let file = match manifest.get(&["package", "build"]) {
        None | Some(Value::Bool(true)) => "build.rs",
        Some(Value::String(file)) => file,
        Some(_) => {
            return plan.by_hand(
                &manifest.path,
                "let the app build before the sidecar is built: `package.build` is not the path of one file; make this line the \
                 first statement of `main` in the build script that calls tauri-build",
                format!("{}\n", build_script::LINE),
            );
        }
    };
    let file = project.tauri.join(file);
    if !file.is_file() {
        return plan.by_hand(
            &file,
            "let the app build before the sidecar is built: the file does not exist; a build script for Tauri is",
            format!("fn main() {{\n    {}\n    tauri_build::build();\n}}\n", build_script::LINE),
        );
    }
    let refused =
        line(plan, &file, "a build without the sidecar's program", build_script::allow_missing_sidecars);
    if let Some(reason) = refused {
        plan.by_hand(
            &file,
            format!("let the app build before the sidecar is built: {reason}; make this line the first statement of `main`"),
            format!("{}\n", build_script::LINE),
        );
    }
}

/// Adds a line to Rust code, unless the code has it. Returns why it was not added.
fn line(
    plan: &mut Plan,
    file: &Path,
    adds: &str,
    add: impl FnOnce(&str) -> Result<String, NotAdded>,
) -> Option<String> {
    let added = plan.edits.change(file, adds, |text| match add(text) {
        Ok(changed) => Ok(changed),
        Err(NotAdded::Present) => Ok(text.to_owned()),
        Err(NotAdded::Unknown(why)) => Err(why.to_owned()),
    });
    added.err()
}

/// The line that registers the plugin, in the file with the builder.
pub(super) fn builder_line(plan: &mut Plan, project: &Project) {
    let files = ["src/lib.rs", "src/main.rs"].map(|file| project.tauri.join(file));
    let code = |file: &PathBuf| read_text(file).unwrap_or_default();
    let with_builder: Vec<_> = files.iter().filter(|file| builder::has_builder(&code(file))).collect();
    let existing = files.iter().find(|file| file.is_file()).unwrap_or(&files[0]);
    let by_hand = |plan: &mut Plan, file: &PathBuf, reason: &str| {
        plan.by_hand(
            file,
            format!("register the plugin: {reason}; add this line to the chain of calls after `tauri::Builder::default()`"),
            format!("{}\n", builder::LINE),
        );
    };
    let file = match with_builder.as_slice() {
        [] => {
            return by_hand(
                plan,
                existing,
                "src/lib.rs and src/main.rs have no builder that this command recognises",
            );
        }
        // A main.rs may only call lib.rs; the first file has the builder.
        [file, ..] => (*file).clone(),
    };
    let [library, program] = &files;
    // The guard comes first in the process: before all that `main` does before it calls the library.
    let main = if file == *library { main_function::main_of(&code(program)) } else { Main::CallsAlone };
    let add = |text: &str| builder::add_plugin(text, main == Main::CallsAlone);
    if let Some(reason) = line(plan, &file, "the line that registers the plugin", add) {
        return by_hand(plan, &file, &reason);
    }
    if files.iter().any(|file| builder::has_guard(&code(file))) {
        return;
    }
    let how = match main {
        Main::CallsAlone => return,
        Main::DoesMore => {
            let added = line(plan, program, "the line of the guard, first in `main`", main_function::add_guard);
            let Some(reason) = added else { return };
            format!("{reason}; make this line the first statement of `main`")
        }
        Main::Async => "its runtime has started threads before the first line of `main`; make `main` a plain function that begins \
            with this line, and starts the runtime then"
            .to_owned(),
    };
    let what = format!("let the app be its own guard: {how}");
    plan.by_hand(program, what, format!("{}\n", builder::GUARD_LINE));
}

/// Cargo takes a crate for a part of the workspace above it, and refuses one that the workspace does not list.
pub(super) fn membership(plan: &mut Plan, project: &Project) {
    let Some((workspace, folder)) = project.manifest.unlisted() else { return };
    let folder = folder.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/");
    plan.by_hand(
        &workspace.path,
        "make the app a member of this workspace, or exclude it: Cargo compiles no crate below a workspace that lists it in neither",
        format!("[workspace]\nexclude = [{folder:?}]\n"),
    );
}

/// The permissions of the page.
pub(super) fn capability(plan: &mut Plan, project: &Project, sidecar: &str) -> Result<(), String> {
    let platform = Platform::host();
    let config = project.config.on(platform);
    let declared = config.sidecars().map_err(|error| error.to_string())?.unwrap_or_default();
    let local = declared.iter().any(|declared| declared.name == sidecar && declared.local());
    let wanted = if local { PERMISSIONS_LOCAL } else { PERMISSIONS };
    let capabilities = project.capabilities(platform).map_err(|error| error.to_string())?;
    let window = first_window_label(&config);
    let for_window: Vec<_> =
        capabilities.iter().filter(|found| found.active && found.local && found.covers(&window)).collect();
    let missing: Vec<_> =
        wanted.into_iter().filter(|permission| !grants(&for_window, &[permission], sidecar)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let Some(chosen) = usual(&for_window) else {
        new_capability(plan, project, &window, &wanted);
        return Ok(());
    };
    let mut free = Vec::new();
    for permission in missing {
        let Some((capability, entry)) = narrowed(&for_window, permission, sidecar) else {
            free.push(permission);
            continue;
        };
        let (what, lines) = if entry.denies(sidecar) {
            // `deny` takes precedence. An `allow` would not help, and would take the permission from all other sidecars.
            ("remove the sidecar from its `deny`, and run `pillion init` again", String::new())
        } else if entry.identifier == permission {
            ("extend its scope", format!("\"allow\": [{{ \"sidecar\": {sidecar:?} }}]\n"))
        } else {
            let scope = format!("\"allow\": [{{ \"sidecar\": {sidecar:?} }}]");
            ("add the permission with a scope", format!("{{ \"identifier\": {permission:?}, {scope} }}\n"))
        };
        plan.by_hand(
            &capability.origin.path,
            format!(
                "let the window call the sidecar {sidecar} ({permission}): the capability {} limits {} to some sidecars; {what}",
                capability.identifier, entry.identifier
            ),
            lines,
        );
    }
    let missing = free;
    if missing.is_empty() {
        return Ok(());
    }
    let lines = format!(
        "\"permissions\": [{}]\n",
        missing.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
    );
    let adds = format!("the permissions of the window {window} to call the sidecar");
    plan.change(&chosen.origin.path, &adds, &lines, |text| {
        configuration::add_permissions(Format::of(&chosen.origin.path), text, &chosen.origin.keys, &missing)
    });
    Ok(())
}

/// A capability of its own, for an app that has none for this window.
fn new_capability(plan: &mut Plan, project: &Project, window: &str, permissions: &[&str]) {
    const IDENTIFIER: &str = "pillion";
    let path = project.tauri.join("capabilities").join(format!("{IDENTIFIER}.json"));
    let list: Vec<_> = permissions.iter().map(|permission| format!("    {permission:?}")).collect();
    let text = format!(
        "{{\n  \"$schema\": \"../gen/schemas/desktop-schema.json\",\n  \"identifier\": \"{IDENTIFIER}\",\n  \"description\": \
         \"The window may read the status of the sidecars and call them\",\n  \"windows\": [{window:?}],\n  \"permissions\": \
         [\n{}\n  ]\n}}\n",
        list.join(",\n")
    );
    plan.edits.create(&path, &format!("the permissions of the window {window} to call the sidecar"), &text);
    // A list of capabilities leaves out all others.
    for document in project.config.files() {
        let listed = document.get(&["app", "security", "capabilities"]).and_then(Value::as_array);
        if listed.is_some_and(|listed| !listed.is_empty()) {
            let wanted = Wanted { capability: Some(IDENTIFIER.to_owned()), ..Wanted::default() };
            let lines = format!("\"app\": {{ \"security\": {{ \"capabilities\": [\"{IDENTIFIER}\"] }} }}\n");
            plan.change(&document.path, "the capability in the list", &lines, |text| {
                wanted.apply(document.format, text)
            });
        }
    }
}

/// Built programs belong neither to the repository, nor to the files whose change restarts `tauri dev`.
pub(super) fn ignored_files(plan: &mut Plan, project: &Project) {
    let ignores = |text: &str, extra: &[&str]| {
        text.lines()
            .map(|line| line.trim().trim_matches('/'))
            .any(|line| line == "binaries" || extra.contains(&line))
    };
    // A pattern with a slash before its end is relative to the folder of its file (<https://git-scm.com/docs/gitignore>).
    let ignored_above = |text: &str, folder: &str| {
        text.lines().map(|line| line.trim().trim_end_matches('/')).any(|line| {
            let line = line.strip_prefix("**/").unwrap_or(line);
            let anchored = line.strip_prefix('/').unwrap_or(line).strip_prefix(folder);
            line == "binaries" || matches!(anchored, Some("/binaries" | "/binaries/*"))
        })
    };
    let above = read_text(&project.root.join(".gitignore")).unwrap_or_default();
    let folder = project.tauri.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if !ignored_above(&above, &folder) {
        let lines = "\n# Programs of sidecars, which `pillion package` builds.\n/binaries/\n";
        plan.change(&project.tauri.join(".gitignore"), "the built programs", lines, |text| {
            let lines = if text.is_empty() { lines.trim_start() } else { lines };
            Ok(if ignores(text, &["binaries/*"]) { text.to_owned() } else { append_lines(text, lines) })
        });
    }
    let lines = "# The running app swaps in a new program of a sidecar by itself: `tauri dev` must not restart the app.\nbinaries/\n";
    plan.change(&project.tauri.join(".taurignore"), "the built programs", lines, |text| {
        Ok(if ignores(text, &[]) { text.to_owned() } else { append_lines(text, lines) })
    });
}

/// Leaves AppImage out of the bundles for Linux, if a new sidecar is a program of Node, Bun or Deno. With updates, the developer chooses.
pub(super) fn linux_bundles(plan: &mut Plan, project: &Project, choices: &Choices) -> Result<(), String> {
    let config = project.config.on(Platform::Linux);
    let declared = config.sidecars().map_err(|error| error.to_string())?.unwrap_or_default();
    let known = declared.iter().any(|sidecar| sidecar.name == choices.name);
    let runtime = choices.backend.as_ref().map(|backend| backend.runtime);
    let breaks = !known && matches!(runtime, Some(Runtime::Node | Runtime::Bun | Runtime::Deno));
    let Some(left) = config.bundles_without_app_image().filter(|_| breaks) else { return Ok(()) };
    let adds = "the bundles for Linux without AppImage, whose tool breaks programs of Node, Bun and Deno";
    let own = project.config.platforms.iter().find(|(platform, _)| *platform == Platform::Linux);
    let (path, format) = match (own, project.config.base.format) {
        (Some((_, document)), _) => (document.path.clone(), document.format),
        (None, Format::Json) => (project.tauri.join("tauri.linux.conf.json"), Format::Json),
        (None, Format::Toml) => (project.tauri.join("Tauri.linux.toml"), Format::Toml),
    };
    let list = left.iter().map(|kind| format!("{kind:?}")).collect::<Vec<_>>().join(", ");
    let lines = match (own, format) {
        (_, Format::Toml) => format!("[bundle]\ntargets = [{list}]\n"),
        (Some(_), Format::Json) => format!("\"bundle\": {{ \"targets\": [{list}] }}\n"),
        (None, Format::Json) => format!("{{\n  \"bundle\": {{\n    \"targets\": [{list}]\n  }}\n}}\n"),
    };
    if config.creates_updates() {
        // Without AppImage, the apps that are installed would find no update. Only the developer can decide that.
        plan.by_hand(
            &path,
            "choose the bundles for Linux: the updater replaces an AppImage there (`bundle.createUpdaterArtifacts`), and the tool \
             that makes it breaks programs of Node, Bun and Deno; either keep AppImage, set `NO_STRIP=true` in the environment of `tauri \
             build`, and try the AppImage, or leave AppImage out, and with it its updates, by",
            lines,
        );
    } else if own.is_some() {
        let wanted = Wanted { bundles: Some(left), ..Wanted::default() };
        plan.change(&path, adds, &lines, |text| wanted.apply(format, text));
    } else {
        plan.edits.create(&path, adds, &lines);
    }
    Ok(())
}
