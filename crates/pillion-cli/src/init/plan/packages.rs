//! The changes of npm, Python, Go and Rust packages: the client of the page, and the SDK of the backend.

use std::path::Path;

use jsonc_parser::cst::CstInputValue;

use super::{ByHand, ByHandKind, Choices, Plan, without_bundler};
use crate::{
    init::{
        backend::{Backend, PYTHON, Runtime},
        json,
        source::{CLIENT, NODE_SDK, PLUGIN, PYTHON_SDK, Package, SERVER, Source},
        source_text::append_lines,
        toml,
    },
    project::{Document, Project, workspace_of},
};

/// The SDK for Go: one file to copy. The same as examples/go-backend/pillion.go.
const GO_SDK: &str = include_str!("../../../templates/backend/go/pillion.go");

/// The client of the page, and the lines that call the sidecar.
pub(super) fn client(plan: &mut Plan, project: &Project, choices: &Choices) {
    let name = &choices.name;
    let Some(front_end) = project.front_end.as_ref().filter(|_| !without_bundler(project)) else {
        if project.manifest.dependency(PLUGIN.name).is_some() {
            return;
        }
        return call(
            plan,
            &project.root,
            "call the sidecar where the page needs it: a page without a bundler uses `window.__TAURI__`, which \
             `app.withGlobalTauri` turns on",
            format!(
                "const backend = window.__TAURI__.pillion.sidecar({name:?});\nconst response = await backend.fetch(\"/\");\n"
            ),
        );
    };
    if front_end.dependency(CLIENT.name).is_some() {
        return;
    }
    let added = npm(plan, &front_end.package.path, front_end.folder(), CLIENT, &choices.source);
    if added {
        let page = PAGES.iter().map(|file| front_end.folder().join(file)).find(|file| file.is_file());
        call(
            plan,
            &page.unwrap_or_else(|| front_end.folder().join("src")),
            "call the sidecar where the page needs it",
            format!(
                "import {{ sidecar }} from \"{}\";\n\nconst backend = sidecar({name:?});\nconst response = await backend.fetch(\"/\");\n",
                CLIENT.name
            ),
        );
    }
}

/// The files that usually have the page's code.
const PAGES: [&str; 7] = [
    "src/App.tsx",
    "src/App.jsx",
    "src/routes/+page.svelte",
    "src/App.svelte",
    "src/App.vue",
    "src/main.ts",
    "src/main.js",
];

fn call(plan: &mut Plan, path: &Path, what: &str, lines: String) {
    plan.by_hand.push(ByHand { path: path.to_owned(), what: what.to_owned(), lines, kind: ByHandKind::Call });
}

/// Adds a package to the dependencies in a `package.json`. Returns whether it could.
fn npm(plan: &mut Plan, path: &Path, folder: &Path, package: Package, source: &Source) -> bool {
    let Some(requirement) = source.npm(package, folder) else {
        plan.by_hand(
            path,
            format!(
                "add {}: npm installs no package from a folder of a git repository; clone the repository, build the package \
                 (npm ci && npm run build), and run this command with --source FOLDER",
                package.name
            ),
            format!("{:?}: \"file:FOLDER\"\n", package.name),
        );
        return false;
    };
    let lines = format!("\"dependencies\": {{ {:?}: {requirement:?} }}\n", package.name);
    plan.change(path, package.name, &lines, |text| {
        json::edit(text, |root| {
            let section = json::object_at(root, &["dependencies"])?;
            json::insert_sorted(&section, package.name, CstInputValue::from(requirement.as_str()));
            Ok(())
        })
    });
    if let Some((clone, command)) = source.unbuilt(package) {
        plan.by_hand(clone, format!("build {}: npm installs the folder as it is", package.name), command);
    }
    true
}

/// The SDK of the backend.
pub(super) fn sdk(plan: &mut Plan, backend: &Backend, source: &Source) {
    if let Some(framework) = backend.own_server() {
        return plan.by_hand(
            &backend.main_file(),
            format!(
                "let the server listen on 127.0.0.1 and the port in the variable {}, and allow the origins in PILLION_ALLOWED_ORIGINS \
                 (CORS): no SDK can take a server of {}, so that the declaration takes it as it is, with \"private\": false: every \
                 program and website that finds the port can call it (docs/servers.md, \"Frameworks without an SDK\")",
                framework.port, framework.name
            ),
            framework.lines,
        );
    }
    match backend.runtime {
        Runtime::Node | Runtime::Bun => node(plan, backend, source),
        Runtime::Deno => deno(plan, backend, source),
        Runtime::Python => python(plan, backend, source),
        Runtime::Rust => rust(plan, backend, source),
        Runtime::Go => {
            plan.edits.create(&backend.folder.join("pillion.go"), "the SDK for Go", GO_SDK);
        }
    }
    if let Some(text) = backend.django() {
        plan.edits.create(&backend.main_file(), "starts the Django project", &text);
    }
    if let Some((file, lines)) = backend.lines() {
        plan.by_hand(
            &file,
            "make the server a sidecar; a server that you cannot change is declared as it is, with \"private\": false (docs/servers.md)",
            lines,
        );
    }
    if backend.entry.is_none() && !matches!(backend.runtime, Runtime::Go | Runtime::Rust) {
        plan.by_hand(
            &backend.folder,
            "the file that starts the backend is not known: add `dev` and `package` to the declaration (docs/development.md, \
             docs/package.md)",
            "\"dev\": { \"command\": [\"…\"], \"cwd\": \"…\" }, \"package\": { \"…\": \"…\" }\n",
        );
    }
}

fn node(plan: &mut Plan, backend: &Backend, source: &Source) {
    let path = backend.folder.join("package.json");
    let package = match Document::read_if_exists(&path) {
        Ok(package) => package,
        Err(error) => return plan.by_hand(&path, format!("add {}: {error}", NODE_SDK.name), ""),
    };
    let Some(package) = package else {
        return plan.by_hand(
            &backend.folder,
            "add the SDK: the folder has no package.json",
            format!("npm init && npm install {}\n", NODE_SDK.name),
        );
    };
    let has = |name: &str| {
        ["dependencies", "devDependencies"].into_iter().any(|section| package.get(&[section, name]).is_some())
    };
    if !has(NODE_SDK.name) {
        npm(plan, &path, &backend.folder, NODE_SDK, source);
    }
    if backend.loads_by_name() {
        plan.by_hand(
            &path,
            "NestJS loads packages by name while it runs, so that its server cannot be one file: declare `package`, `args` and \
             `bundle.resources` (docs/package.md, \"A Node server that cannot be one file\")"
                .to_owned(),
            "",
        );
    }
    if let Some(compiled) = backend.compiled() {
        plan.by_hand(
            &backend.folder.join("tsconfig.json"),
            format!(
                "`emitDecoratorMetadata`: neither tsx nor esbuild supports it, so the declaration runs {compiled}, which tsc writes; run \
                 `tsc --watch` in `build.beforeDevCommand`, and `tsc` before `pillion package`"
            ),
            "",
        );
        return;
    }
    // `dev` of the declaration runs it.
    let typescript = backend.entry.as_deref().is_some_and(|entry| entry.ends_with(".ts"));
    if backend.runtime == Runtime::Node && typescript && !has("tsx") {
        plan.change(&path, "tsx", "\"devDependencies\": { \"tsx\": \"^4\" }\n", |text| {
            json::edit(text, |root| {
                let section = json::object_at(root, &["devDependencies"])?;
                json::insert_sorted(&section, "tsx", CstInputValue::from("^4"));
                Ok(())
            })
        });
    }
}

fn deno(plan: &mut Plan, backend: &Backend, source: &Source) {
    let files = ["deno.json", "deno.jsonc"].map(|name| backend.folder.join(name));
    let path = files.iter().find(|path| path.is_file()).unwrap_or(&files[0]);
    let Some(import) = source.deno(NODE_SDK, &backend.folder) else {
        return plan.by_hand(
            path,
            format!(
                "add {}: Deno imports no package from a git repository; clone the repository, build the package \
                 (npm ci && npm run build), and run this command with --source FOLDER",
                NODE_SDK.name
            ),
            "",
        );
    };
    let lines = format!("\"imports\": {{ {:?}: {import:?} }}\n", NODE_SDK.name);
    plan.change(path, NODE_SDK.name, &lines, |text| {
        json::edit(if text.is_empty() { "{}\n" } else { text }, |root| {
            let section = json::object_at(root, &["imports"])?;
            if section.get(NODE_SDK.name).is_none() {
                json::insert_sorted(&section, NODE_SDK.name, CstInputValue::from(import.as_str()));
            }
            Ok(())
        })
    });
    if let Some((clone, command)) = source.unbuilt(NODE_SDK) {
        plan.by_hand(clone, format!("build {}: Deno imports its files as they are", NODE_SDK.name), command);
    }
}

fn python(plan: &mut Plan, backend: &Backend, source: &Source) {
    let extra = backend.python_extra();
    let requirement = source.python(extra);
    let project_file = backend.folder.join("pyproject.toml");
    let requirements = backend.folder.join("requirements.txt");
    let document = match Document::read_if_exists(&project_file) {
        Ok(document) => document,
        Err(error) => return plan.by_hand(&project_file, format!("add {requirement}: {error}"), ""),
    };
    let lines = format!("{requirement}\n");
    match document {
        Some(document) if document.get(&["project"]).is_some() => {
            let listed = document.get(&["project", "dependencies"]).and_then(|list| list.as_array());
            let present = listed.into_iter().flatten().filter_map(|entry| entry.as_str()).any(Source::is_python_line);
            if !present {
                plan.change(&project_file, PYTHON_SDK.name, &lines, |text| {
                    toml::edit(text, |root| {
                        toml::add_strings(toml::table_at(root, &["project"])?, "dependencies", &[&requirement])
                    })
                });
            }
        }
        Some(_) if !requirements.is_file() => plan.by_hand(
            &project_file,
            "add the SDK: the file has no section [project], so it is for another package manager (Poetry: `poetry add`)",
            lines,
        ),
        _ => {
            let lines = format!("{}\n", source.python_line(&backend.folder, extra));
            plan.change(&requirements, PYTHON_SDK.name, &lines, |text| {
                let present = text.lines().any(Source::is_python_line);
                Ok(if present { text.to_owned() } else { append_lines(text, &lines) })
            });
        }
    }
}

fn rust(plan: &mut Plan, backend: &Backend, source: &Source) {
    let path = backend.folder.join("Cargo.toml");
    let value = if backend.workspace_has(SERVER.name) {
        toml_edit::Value::InlineTable([("workspace", true)].into_iter().collect())
    } else {
        source.cargo(SERVER, &backend.folder)
    };
    let lines = format!("[dependencies]\n{} = {value}\n", SERVER.name);
    plan.change(&path, SERVER.name, &lines, |text| {
        toml::edit(text, |root| {
            let dependencies = toml::table_at(root, &["dependencies"])?;
            if !dependencies.contains_key(SERVER.name) {
                dependencies.insert(SERVER.name, toml_edit::Item::Value(value.clone()));
            }
            Ok(())
        })
    });
}

/// The commands that install what was added to the backend, unless the command for `page` installs it.
pub(super) fn install_steps(backend: &Backend, project: &Project, page: Option<&Path>) -> Vec<String> {
    let has = |file: &str| backend.folder.join(file).exists();
    let node = matches!(backend.runtime, Runtime::Node | Runtime::Bun);
    if let Some(workspace) = workspace_of(&backend.folder, &project.root).filter(|_| node) {
        if page == Some(workspace) {
            return Vec::new();
        }
        let manager = project.front_end.as_ref().map_or("npm", |front_end| front_end.manager.name());
        return vec![format!("{manager} install   (in {})", Project::shown(workspace))];
    }
    let uv = backend.uv_lock(&project.root);
    let command = match backend.runtime {
        Runtime::Node => "npm install",
        Runtime::Bun => "bun install",
        Runtime::Python if uv.is_some() => "uv sync",
        Runtime::Python if has("pyproject.toml") => "pip install .",
        Runtime::Python => "pip install -r requirements.txt",
        Runtime::Deno => "deno install",
        Runtime::Go | Runtime::Rust => return Vec::new(),
    };
    let install = format!("{command}   (in {})", Project::shown(&backend.folder));
    match (backend.runtime, uv) {
        // uv makes the environment itself, beside its lock file.
        (Runtime::Python, Some(lock)) => {
            let folder = lock.parent().unwrap_or(&backend.folder);
            vec![install, activation(folder, ".venv", "")]
        }
        (Runtime::Python, None) => vec![environment_step(backend), install],
        _ => vec![install],
    }
}

/// The command that chooses the interpreter of the backend, which `dev` names without a path: a path would differ between systems.
fn environment_step(backend: &Backend) -> String {
    let folders = backend.folder.ancestors().take(2);
    let mut places = folders.flat_map(|folder| [".venv", "venv"].map(|name| (folder, name)));
    let found = places.find(|(folder, name)| folder.join(name).join("pyvenv.cfg").is_file());
    let make = if found.is_none() { format!("{PYTHON} -m venv .venv && ") } else { String::new() };
    let (folder, name) = found.unwrap_or((&backend.folder, ".venv"));
    activation(folder, name, &make)
}

fn activation(folder: &Path, name: &str, make: &str) -> String {
    let activate =
        if cfg!(windows) { format!("{name}\\Scripts\\activate") } else { format!(". {name}/bin/activate") };
    format!(
        "{make}{activate}   (in {}): `tauri dev` runs the {PYTHON} of its terminal",
        Project::shown(folder)
    )
}
