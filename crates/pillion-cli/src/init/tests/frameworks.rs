//! The lines and fields for each framework.

use super::{super::plan::ByHand, *};

/// The lines that `pillion init` prints for the main file of the folder `server`.
fn lines(files: &[(&str, &str)], main: &str) -> Option<ByHand> {
    let folder = app(files);
    let plan = apply(folder.path(), Some("server"));
    plan.by_hand.into_iter().find(|item| item.path.ends_with(main) && !item.path.ends_with("App.tsx"))
}

#[test]
fn each_framework_of_node_gets_its_own_call() {
    for (dependency, call) in [
        ("express", "await attach(createServer(app));"),
        ("koa", "await attach(createServer(app.callback()));"),
        ("h3", "await attach(createServer(toNodeListener(app)));"),
        ("hono", "await serve(app.fetch);"),
        ("fastify", "await attach(app.server, { onStop: () => app.close() });"),
    ] {
        let package = format!("{{ \"type\": \"module\", \"dependencies\": {{ {dependency:?}: \"1\" }} }}");
        let files = [("server/package.json", package.as_str()), ("server/index.js", "app.listen(3000)\n")];
        let item = lines(&files, "server/index.js").unwrap();
        assert!(item.lines.contains(call), "{dependency}: {}", item.lines);
        // `createServer(app)` of Koa and h3 would answer nothing.
        assert_eq!(item.lines.contains("createServer(app)"), dependency == "express", "{}", item.lines);
        assert_eq!(item.lines.contains("\"node:http\""), call.contains("createServer"), "{}", item.lines);
    }
}

#[test]
fn a_server_of_go_gets_its_lines_unless_it_calls_the_sdk() {
    for (code, expected) in [
        ("log.Fatal(http.ListenAndServe(\":8080\", nil))", true),
        ("server.Serve(listener)", true),
        ("\tif err := Serve(\"backend\", handler); err != nil {", false),
    ] {
        let files = [("server/go.mod", "module server\n"), ("server/main.go", code)];
        assert_eq!(lines(&files, "server/main.go").is_some(), expected, "{code}");
    }
}

#[test]
fn a_framework_with_a_server_of_its_own_is_declared_as_it_is() {
    let manifest = |name: &str| format!("[package]\nname = \"api\"\n\n[dependencies]\n{name} = \"4\"\n");
    let actix = manifest("actix-web");
    let rocket = manifest("rocket");
    let rust = "fn main() {}\n";
    let cases = [
        ([("server/Cargo.toml", &*actix), ("server/src/main.rs", rust)], "main.rs", "PORT"),
        ([("server/Cargo.toml", &rocket), ("server/src/main.rs", rust)], "main.rs", "ROCKET_PORT"),
        (
            [("server/requirements.txt", "aiohttp\n"), ("server/main.py", "from aiohttp import web\n")],
            "main.py",
            "PORT",
        ),
    ];
    for (files, main, port) in cases {
        let folder = app(&files);
        let plan = apply(folder.path(), Some("server"));
        let declared = config(&folder)["plugins"]["pillion"]["sidecars"]["backend"].clone();
        let fields = [
            ("private", json!(false)),
            ("port", json!("assigned")),
            ("portEnv", json!(port)),
            ("ready", json!("tcp")),
        ];
        for (field, value) in fields {
            assert_eq!(declared[field], value, "{declared}");
        }
        serde_json::from_value::<pillion_config::SidecarConfig>(declared).unwrap();
        assert_eq!(read(&folder, files[0].0), files[0].1, "no SDK is added");
        let item = plan.by_hand.iter().find(|item| item.path.ends_with(main)).unwrap();
        assert!(item.what.contains("Frameworks without an SDK"), "{item:?}");
    }

    // An app on axum may use actix-web for something else, and a client of aiohttp is no server.
    let both = format!("{}axum = \"0.8\"\n", manifest("actix-web"));
    let files = [("server/Cargo.toml", both.as_str()), ("server/src/main.rs", "fn main() {}\n")];
    assert!(lines(&files, "main.rs").unwrap().lines.contains("pillion_server::serve"));
    let files = [("server/requirements.txt", "aiohttp\n"), ("server/main.py", "import aiohttp, fastapi\n")];
    assert!(lines(&files, "main.py").unwrap().lines.contains("pillion.serve(app)"));
}

#[test]
fn a_django_project_gets_the_file_that_starts_it() {
    let folder = app(&[
        ("server/requirements.txt", "django\n"),
        ("server/manage.py", "\n"),
        ("server/notes/settings.py", "\n"),
        ("server/notes/wsgi.py", "\n"),
    ]);
    let plan = apply(folder.path(), Some("server"));
    let start = read(&folder, "server/main.py");
    assert!(start.contains("from notes.wsgi import application\n"), "{start}");
    let declared = &config(&folder)["plugins"]["pillion"]["sidecars"]["backend"];
    assert_eq!(declared["dev"]["command"][1], "main.py");
    assert_eq!(declared["package"], json!({ "python": "server/main.py" }));
    assert!(
        !plan.by_hand.iter().any(|item| item.path.starts_with(folder.path().join("server"))),
        "{:?}",
        plan.by_hand
    );
}

#[test]
fn deno_takes_the_sdk_of_a_clone_as_a_file() {
    let folder =
        app(&[("server/main.ts", "Deno.serve(() => new Response())\n"), ("server/deno.json", "{}\n")]);
    let project = Project::find(folder.path()).unwrap();
    let source = Source::Folder(folder.path().join("pillion"));
    let backend = Backend::in_folder(&folder.path().join("server"), None).unwrap();
    let choices = Choices { name: "backend".to_owned(), source, backend: Some(backend) };
    plan::plan(&project, &choices).unwrap().edits.write().unwrap();
    let text = read(&folder, "server/deno.json");
    assert!(text.contains("\"pillion\": \"../pillion/sdk/node/dist/index.js\""), "{text}");
}
