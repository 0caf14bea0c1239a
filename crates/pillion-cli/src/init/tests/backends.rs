//! What the backend of each runtime gets.

use super::{
    super::{backend::PYTHON, source::SERVER},
    *,
};

#[test]
fn each_runtime_gets_its_sdk_and_its_declaration() {
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], Value, &'a str, &'a str);
    let python = Source::Registries.python("[uvicorn]");
    let in_project = format!("    \"fastapi\",\n    \"{python}\",\n]");
    let in_requirements = format!("fastapi\n{python}\n");
    let server = Source::Registries.cargo(SERVER, Path::new(""));
    let in_manifest = format!("axum = \"0.8\"\npillion-server = {server}\n");
    let in_package = format!("    \"elysia\": \"1\",\n    \"pillion\": \"{}\"\n", npm_requirement());
    let without_others = format!("\"pillion\": \"{}\"", npm_requirement());
    let in_imports = format!("\"pillion\": \"npm:pillion@{}\"", npm_requirement());
    let compile = ["deno", "compile", "-A", "--target", "${target}", "--output", "${output}", "main.ts"];
    let cases: [Case<'_>; 7] = [
        (
            "python",
            &[
                (
                    "backend/pyproject.toml",
                    "[project]\nname = \"api\"\ndependencies = [\n    \"fastapi\",\n]\n",
                ),
                ("backend/main.py", "app = 1\n"),
            ],
            json!({ "dev": { "command": [PYTHON, "main.py"], "cwd": "backend", "watch": ["**/*.py"] }, "package": { "python": "backend/main.py" } }),
            "backend/pyproject.toml",
            &in_project,
        ),
        (
            "python",
            &[("backend/requirements.txt", "fastapi"), ("backend/app.py", "app = 1\n")],
            json!({ "dev": { "command": [PYTHON, "app.py"], "cwd": "backend", "watch": ["**/*.py"] }, "package": { "python": "backend/app.py" } }),
            "backend/requirements.txt",
            &in_requirements,
        ),
        (
            "go",
            &[("backend/go.mod", "module backend\n"), ("backend/main.go", "package main\n")],
            json!({ "dev": { "command": ["go", "run", "."], "cwd": "backend", "watch": ["**/*.go"] }, "package": { "go": "backend" } }),
            "backend/pillion.go",
            "func Serve(",
        ),
        (
            "rust",
            &[
                ("backend/Cargo.toml", "[package]\nname = \"api\"\n\n[dependencies]\naxum = \"0.8\"\n"),
                ("backend/src/main.rs", "fn main() {}\n"),
            ],
            json!({ "dev": { "command": ["cargo", "run"], "cwd": "backend", "watch": ["src/**/*.rs", "Cargo.toml"] }, "package": { "rust": "backend" } }),
            "backend/Cargo.toml",
            &in_manifest,
        ),
        (
            "deno",
            &[
                (
                    "backend/deno.jsonc",
                    "{\n  // Hono\n  \"imports\": { \"hono\": \"jsr:@hono/hono@4\" }\n}\n",
                ),
                ("backend/main.ts", "Deno.serve(() => new Response())\n"),
            ],
            json!({ "dev": { "command": ["deno", "run", "-A", "main.ts"], "cwd": "backend", "watch": ["*.ts"] }, "package": { "command": compile, "cwd": "backend" } }),
            "backend/deno.jsonc",
            &in_imports,
        ),
        (
            "bun",
            &[
                ("backend/package.json", "{ \"dependencies\": { \"elysia\": \"1\" } }\n"),
                ("backend/index.ts", "serve()\n"),
            ],
            json!({ "dev": { "command": ["bun", "index.ts"], "cwd": "backend", "watch": ["*.ts"] }, "package": { "bun": "backend/index.ts" } }),
            "backend/package.json",
            &in_package,
        ),
        (
            "bun",
            &[
                ("backend/package.json", "{ \"scripts\": { \"build\": \"node build.mjs\" } }\n"),
                ("backend/server.ts", "import { Database } from 'bun:sqlite';\n"),
            ],
            json!({ "dev": { "command": ["bun", "server.ts"], "cwd": "backend", "watch": ["*.ts"] }, "package": { "bun": "backend/server.ts" } }),
            "backend/package.json",
            &without_others,
        ),
    ];
    for (runtime, files, expected, sdk_file, sdk) in cases {
        let folder = app(files);
        let found = Backend::find_all(&Project::find(folder.path()).unwrap());
        assert_eq!(found.len(), 1, "{runtime}");
        assert_eq!(found[0].runtime.name(), runtime);
        apply(folder.path(), Some("backend"));
        let mut declaration = config(&folder)["plugins"]["pillion"]["sidecars"]["backend"].clone();
        declaration.as_object_mut().unwrap().remove("program");
        assert_eq!(declaration, expected, "{runtime}");
        assert!(read(&folder, sdk_file).contains(sdk), "{runtime}: {}", read(&folder, sdk_file));
    }
}

#[test]
fn the_lines_and_the_watched_files_are_those_of_the_kind_of_module() {
    let package = "{ \"dependencies\": { \"express\": \"4\" } }\n";
    let module = "{ \"type\": \"module\", \"dependencies\": { \"express\": \"4\" } }\n";
    for (package, file, import, call, watch) in [
        (package, "src/server.ts", "import {", "\nvoid attach(", "src/**/*.ts"),
        (package, "server.js", "require(", "\nattach(", "*.js"),
        (package, "src/index.mjs", "import {", "\nawait attach(", "src/**/*.mjs"),
        (module, "server.js", "import {", "\nawait attach(", "*.js"),
    ] {
        let file = format!("server/{file}");
        let folder = app(&[("server/package.json", package), (&file, "app.listen(3001)\n")]);
        let plan = apply(folder.path(), Some("server"));
        let dev = &config(&folder)["plugins"]["pillion"]["sidecars"]["backend"]["dev"];
        assert_eq!(dev["watch"], json!([watch]), "{file}");
        let item = plan.by_hand.iter().find(|item| item.path.ends_with(&file)).unwrap();
        assert!(item.lines.contains(import) && item.lines.contains(call), "{file}: {}", item.lines);
    }
}

#[test]
fn a_backend_of_another_name_is_found_by_its_packages() {
    let folder = app(&[
        ("packages-of-the-page/package.json", "{ \"dependencies\": { \"react\": \"19\" } }"),
        ("web/package.json", "{ \"dependencies\": { \"react\": \"19\" } }"),
        ("notes-service/package.json", "{ \"dependencies\": { \"hono\": \"4\" } }"),
    ]);
    let found = Backend::find_all(&Project::find(folder.path()).unwrap());
    assert_eq!(found.len(), 1);
    assert!(found[0].folder.ends_with("notes-service"));
    assert_eq!(found[0].entry, None);
    let plan = apply(folder.path(), Some("notes-service"));
    assert!(plan.by_hand.iter().any(|item| item.what.contains("not known")), "{:?}", plan.by_hand);
}

#[test]
fn a_server_of_another_language_is_left_to_the_developer_with_its_fields() {
    let folder = app(&[("server/Server.java", "class Server {}\n")]);
    let plan = apply(folder.path(), None);
    let item = plan.by_hand.iter().find(|item| item.path.ends_with("tauri.conf.json")).unwrap();
    assert!(item.what.contains("docs/servers.md"), "{item:?}");
    let fields = format!("{{ \"program\": \"notes-backend\", {} }}", item.lines.replace("},\n", "}, "));
    let declared: pillion_config::SidecarConfig = serde_json::from_str(&fields).unwrap();
    assert!(declared.dev.is_some() && declared.package.is_some(), "{fields}");
    assert!(
        !plan.next.iter().any(|step| step.contains("source") || step.contains("package")),
        "{:?}",
        plan.next
    );
    assert_eq!(
        planned(folder.path(), None).by_hand.iter().filter(|item| item.what.contains("servers.md")).count(),
        0
    );

    let error = Backend::in_folder(&folder.path().join("server"), None).unwrap_err();
    assert!(error.contains("--backend none"), "{error}");
}

#[test]
fn a_git_source_leaves_the_npm_packages_to_the_developer() {
    let folder = app(&NODE_BACKEND);
    let project = Project::find(folder.path()).unwrap();
    let source = Source::parse("https://example.org/pillion.git").unwrap();
    let backend = Backend::in_folder(&folder.path().join("backend"), None).unwrap();
    let choices = Choices { name: "backend".to_owned(), source, backend: Some(backend) };
    let plan = plan::plan(&project, &choices).unwrap();
    plan.edits.write().unwrap();
    assert!(
        read(&folder, "src-tauri/Cargo.toml")
            .contains("tauri-plugin-pillion = { git = \"https://example.org/pillion.git\" }")
    );
    let items: Vec<_> = plan.by_hand.iter().filter(|item| item.what.contains("--source FOLDER")).collect();
    assert_eq!(items.len(), 2, "{:?}", plan.by_hand);
    assert_eq!(read(&folder, "package.json"), PACKAGE);
}

#[test]
fn npm_copies_the_packages_of_a_clone() {
    let steps = |manager: &str, source: Source| {
        let folder = app(&[(manager, "{}\n")]);
        let project = Project::find(folder.path()).unwrap();
        let choices = Choices { name: "backend".to_owned(), source, backend: None };
        plan::plan(&project, &choices).unwrap().next
    };
    let clone = || Source::Folder("/src/pillion".into());
    let copies = |steps: &[String]| steps[0].contains("install-links true");
    assert!(copies(&steps("package-lock.json", clone())), "{:?}", steps("package-lock.json", clone()));
    assert!(!copies(&steps("pnpm-lock.yaml", clone())));
    assert!(!copies(&steps("package-lock.json", Source::Registries)));
    // Tauri's template without a bundler: the page imports no package.
    let page = r#"{ "app": { "withGlobalTauri": true } }"#;
    let folder = app(&[("package-lock.json", "{}\n"), ("src-tauri/tauri.conf.json", page)]);
    let project = Project::find(folder.path()).unwrap();
    let choices = Choices { name: "backend".to_owned(), source: clone(), backend: None };
    assert!(!copies(&plan::plan(&project, &choices).unwrap().next));
}

#[test]
fn each_next_step_names_its_folder() {
    let folder = app(&[
        ("package-lock.json", "{}\n"),
        ("backend/main.py", "\n"),
        ("backend/requirements.txt", "flask\n"),
    ]);
    let project = Project::find(folder.path()).unwrap();
    let backend = Backend::in_folder(&folder.path().join("backend"), None).unwrap();
    let source = Source::Folder("/src/pillion".into());
    let choices = Choices { name: "backend".to_owned(), source, backend: Some(backend) };
    let steps = plan::plan(&project, &choices).unwrap().next;
    let without: Vec<_> = steps.iter().filter(|step| !step.contains("(in ")).collect();
    assert!(steps.len() > 3 && without.is_empty(), "{steps:?}");
}

#[test]
fn a_clone_whose_packages_are_not_built_is_built_by_the_developer() {
    let clone = tempfile::tempdir().unwrap();
    let make = |path: &str| fs::create_dir_all(clone.path().join(path)).unwrap();
    make("crates/tauri-plugin-pillion");
    fs::write(clone.path().join("crates/tauri-plugin-pillion/Cargo.toml"), "").unwrap();
    let commands = || {
        let folder = app(&NODE_BACKEND);
        let project = Project::find(folder.path()).unwrap();
        let source = Source::parse(clone.path().to_str().unwrap()).unwrap();
        let backend = Backend::in_folder(&folder.path().join("backend"), None).unwrap();
        let choices = Choices { name: "backend".to_owned(), source, backend: Some(backend) };
        let plan = plan::plan(&project, &choices).unwrap();
        let items = plan.by_hand.into_iter().filter(|item| item.what.starts_with("build "));
        items.map(|item| item.lines).collect::<Vec<_>>()
    };
    assert_eq!(
        commands(),
        [
            "npm ci && npm run build --workspace crates/tauri-plugin-pillion\n",
            "npm ci && npm run build --workspace sdk/node\n"
        ]
    );
    make("sdk/node/dist");
    make("crates/tauri-plugin-pillion/dist-js");
    assert_eq!(commands(), [""; 0]);
}

#[test]
fn app_image_is_left_out_for_node_and_bun_alone() {
    const LINUX: &str = "src-tauri/tauri.linux.conf.json";
    let bundles = |folder: &TempDir| {
        let project = Project::find(folder.path()).unwrap();
        project.config.on(Platform::Linux).get(&["bundle", "targets"]).cloned()
    };
    let folder = app(&NODE_BACKEND);
    apply(folder.path(), Some("backend"));
    assert_eq!(bundles(&folder), Some(json!(["deb", "rpm"])));
    assert_eq!(read(&folder, LINUX), "{\n  \"bundle\": {\n    \"targets\": [\"deb\", \"rpm\"]\n  }\n}\n");

    // Python and an inactive bundle need no change, nor does a list without AppImage.
    let python = [("backend/requirements.txt", "fastapi\n"), ("backend/main.py", "app = 1\n")];
    let inactive = CONFIG.replace("\"active\": true", "\"active\": false");
    let deb = CONFIG.replace("\"active\": true", "\"active\": true, \"targets\": \"deb\"");
    let only = CONFIG.replace("\"active\": true", "\"active\": true, \"targets\": [\"appimage\"]");
    for (files, config) in
        [(python, CONFIG), (NODE_BACKEND, &inactive), (NODE_BACKEND, &deb), (NODE_BACKEND, &only)]
    {
        let folder = app(&[&files[..], &[("src-tauri/tauri.conf.json", config)]].concat());
        apply(folder.path(), Some("backend"));
        assert!(!folder.path().join(LINUX).exists(), "{config}");
    }

    // Installed apps may need AppImage for their updates.
    let updates = CONFIG.replace("\"active\": true", "\"active\": true, \"createUpdaterArtifacts\": true");
    let folder = app(&[&NODE_BACKEND[..], &[("src-tauri/tauri.conf.json", &updates)]].concat());
    let plan = apply(folder.path(), Some("backend"));
    assert!(!folder.path().join(LINUX).exists());
    let choice = plan.by_hand.iter().find(|item| item.path.ends_with("tauri.linux.conf.json")).unwrap();
    assert!(
        choice.what.contains("NO_STRIP=true") && choice.what.contains("leave AppImage out"),
        "{choice:?}"
    );
    assert!(choice.lines.contains("\"targets\": [\"deb\", \"rpm\"]"), "{choice:?}");

    // The platform's own file keeps its other values.
    let own = "{\n  // Linux\n  \"bundle\": { \"linux\": {}, \"targets\": [\"appimage\", \"deb\"] }\n}\n";
    let folder = app(&[&NODE_BACKEND[..], &[(LINUX, own)]].concat());
    apply(folder.path(), Some("backend"));
    assert_eq!(bundles(&folder), Some(json!(["deb"])));
    assert!(read(&folder, LINUX).starts_with("{\n  // Linux\n  \"bundle\": { \"linux\": {}, "));
}

#[test]
#[cfg(unix)]
fn the_steps_name_the_virtual_environment_of_the_backend() {
    let backend = [("backend/requirements.txt", "fastapi\n"), ("backend/main.py", "app = 1\n")];
    let uv = [
        ("backend/pyproject.toml", "[project]\n"),
        ("backend/uv.lock", "v"),
        ("backend/main.py", "app = 1\n"),
    ];
    let cases: [(&[_], &[_], Option<&str>); 4] = [
        (&backend, &[], Some("python3 -m venv .venv && . .venv/bin/activate   (in ./backend): ")),
        (&backend, &[("backend/venv/pyvenv.cfg", "v")], Some(". venv/bin/activate   (in ./backend): ")),
        (&backend, &[(".venv/pyvenv.cfg", "v")], Some(". .venv/bin/activate   (in .): ")),
        (&uv, &[], Some(". .venv/bin/activate   (in ./backend): ")),
    ];
    for (files, more, expected) in cases {
        let folder = app(&[files, more].concat());
        let plan = apply(folder.path(), Some("backend"));
        let step = plan.next.iter().find(|step| step.contains("activate"));
        let step = step.map(|step| step.replace(folder.path().to_str().unwrap(), "."));
        let fits = step.as_deref().zip(expected).map(|(step, expected)| step.starts_with(expected));
        assert_eq!((step.is_some(), fits), (expected.is_some(), expected.map(|_| true)), "{step:?}");
    }
}

#[test]
fn python_gets_the_extra_that_its_framework_needs() {
    let extra = |required: &str, code: &str| {
        let files = [("backend/requirements.txt", required), ("backend/main.py", code)];
        let folder = app(&files);
        Backend::in_folder(&folder.path().join("backend"), None).unwrap().python_extra()
    };
    for (required, code, wanted) in [
        ("fastapi>=0.100\n", "app = FastAPI()\n", "[uvicorn]"),
        ("FastAPI[standard]\n", "async def socket(socket: WebSocket): ...\n", "[websockets]"),
        ("starlette\nwebsockets\n", "app = 1\n", "[websockets]"),
        ("Flask==3\n", "app = Flask(__name__)\n", ""),
        ("flask-cors\nflask\n", "app = 1\n", ""),
        ("Django~=5.0\n", "app = 1\n", ""),
        ("django\nchannels\n", "app = 1\n", "[uvicorn]"),
        ("numpy\n", "app = 1\n", "[uvicorn]"),
    ] {
        assert_eq!(extra(required, code), wanted, "{required}{code}");
    }
}

#[test]
fn deno_imports_the_sdk_and_compiles_the_program() {
    let files = [
        ("backend/deno.jsonc", "{\n  // Tasks\n  \"tasks\": { \"dev\": \"deno run -A main.ts\" }\n}\n"),
        ("backend/main.ts", "Deno.serve(handler)\n"),
    ];
    let folder = app(&files);
    apply(folder.path(), Some("backend"));
    assert_eq!(
        config(&folder)["plugins"]["pillion"]["sidecars"]["backend"],
        json!({
            "program": "notes-backend",
            "dev": { "command": ["deno", "run", "-A", "main.ts"], "cwd": "backend", "watch": ["*.ts"] },
            "package": {
                "command": ["deno", "compile", "-A", "--target", "${target}", "--output", "${output}", "main.ts"],
                "cwd": "backend"
            },
        })
    );
    let imports = format!("\"pillion\": \"npm:pillion@{}\"", npm_requirement());
    let text = read(&folder, "backend/deno.jsonc");
    assert!(text.contains(&imports) && text.contains("// Tasks"), "{text}");
}
