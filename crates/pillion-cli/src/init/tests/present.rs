//! An app that has a server already: tauri-plugin-shell starts it, and the page knows its port.

use super::*;

const MANIFEST: &str = "[package]\nname = \"notes\"\n\n[build-dependencies]\ntauri-build = \"2\"\n\n[dependencies]\ntauri = \"2\"\n\
    tauri-plugin-shell = \"2\"\n";
const STARTS: &str = "pub fn run() {\n    tauri::Builder::default()\n        .setup(|app| {\n            \
    app.shell()\n                .sidecar(\"server\")?\n                .spawn()?;\n            Ok(())\n        })\n        \
    .run(tauri::generate_context!())\n        .expect(\"error\");\n}\n";
const STARTS_IN_PAGE: &str = "<script>\nCommand.sidecar('binaries/server').spawn();\nsidecar(\"backend\");\n\
    window.__TAURI__.pillion.sidecar(\"backend\");\n</script>\n";
const EXECUTES: &str = "{ \"identifier\": \"default\", \"windows\": [\"main\"], \"permissions\": [\"core:default\", { \"identifier\": \
    \"shell:allow-execute\", \"allow\": [{ \"name\": \"binaries/server\", \"sidecar\": true }] }, \"shell:allow-kill\"] }\n";

/// What `init` leaves to the developer, with the file.
fn items(plan: &Plan, folder: &TempDir) -> Vec<(String, String)> {
    let name = |path: &Path| path.strip_prefix(folder.path()).unwrap().to_string_lossy().replace('\\', "/");
    let ours = plan.by_hand.iter().filter(|item| item.lines.is_empty());
    ours.map(|item| (name(&item.path), item.what.clone())).collect()
}

#[test]
fn a_server_that_the_shell_plugin_starts_is_named_with_all_that_belongs_to_it() {
    let config =
        CONFIG.replace("\"active\": true", "\"externalBin\": [\"binaries/server\", \"binaries/ffmpeg\"]");
    let mut files = vec![
        ("src-tauri/Cargo.toml", MANIFEST),
        ("src-tauri/src/lib.rs", STARTS),
        ("src-tauri/tauri.conf.json", config.as_str()),
        ("src-tauri/capabilities/default.json", EXECUTES),
        ("src/pages/Start.vue", STARTS_IN_PAGE),
    ];
    files.extend(NODE_BACKEND);
    let folder = app(&files);
    let items = items(&apply(folder.path(), Some("backend")), &folder);
    let expected = [
        ("src-tauri/src/lib.rs", "line 5: tauri-plugin-shell starts server;"),
        ("src/pages/Start.vue", "line 2: tauri-plugin-shell starts binaries/server;"),
        ("src-tauri/capabilities/default.json", "remove shell:allow-execute, shell:allow-kill,"),
        ("src-tauri/tauri.conf.json", "remove \"binaries/server\" from `bundle.externalBin`"),
    ];
    assert_eq!(items.len(), expected.len(), "{items:#?}");
    for (path, what) in expected {
        let found = items.iter().find(|item| item.0 == path).unwrap_or_else(|| panic!("{path}: {items:#?}"));
        assert!(found.1.starts_with(what), "{}", found.1);
    }
}

#[test]
fn the_shell_plugin_alone_is_no_sidecar() {
    let opens = STARTS.replace("sidecar(\"server\")", "open(\"https://example.com\", None)");
    let folder = app(&[
        ("src-tauri/Cargo.toml", MANIFEST),
        ("src-tauri/src/lib.rs", &opens),
        ("src-tauri/capabilities/default.json", EXECUTES),
    ]);
    assert_eq!(items(&apply(folder.path(), None), &folder), []);
}

#[test]
fn a_page_that_knows_the_port_is_named_with_its_lines() {
    let page = "fetch(\"/local\");\nfetch(`http://localhost:3001/cards`);\n\nnew WebSocket('ws://127.0.0.1:3001/live');\n";
    let folder = app(&[("src/api/cards.ts", page), ("src/main.ts", "import \"./api/cards\";\n")]);
    let items = items(&apply(folder.path(), None), &folder);
    assert_eq!(items.len(), 1, "{items:#?}");
    assert_eq!(items[0].0, "src/api/cards.ts");
    assert!(
        items[0].1.starts_with("lines 2, 4: if this is the server of the sidecar backend,"),
        "{}",
        items[0].1
    );
    assert!(self::items(&planned(folder.path(), None), &folder).is_empty(), "the page has the client now");
}

#[test]
fn a_command_for_development_that_starts_the_server_is_named() {
    let command = |command: &str| CONFIG.replace("npm run dev", command);
    let scripts = |scripts: &str| format!("{{ \"name\": \"notes\", \"scripts\": {scripts} }}\n");
    let all = scripts(
        "{ \"dev\": \"vite\", \"all\": \"npm run both\", \"both\": \"concurrently 'npm:dev' 'npm:serve'\" }",
    );
    for (config, package, named) in [
        (command("npm run all"), all.as_str(), Some("(concurrently 'npm:dev' 'npm:serve')")),
        (command("npm run dev & node server.js"), PACKAGE, Some("(npm run dev & node server.js)")),
        (command("npm run dev"), all.as_str(), None),
        (command("npm run build && npm run dev"), PACKAGE, None),
    ] {
        let folder = app(&[("src-tauri/tauri.conf.json", &config), ("package.json", package)]);
        let items = items(&apply(folder.path(), None), &folder);
        let found =
            items.iter().find(|item| item.1.starts_with("`build.beforeDevCommand` starts several programs"));
        assert_eq!(
            found.map(|item| item.0.as_str()),
            named.map(|_| "src-tauri/tauri.conf.json"),
            "{items:#?}"
        );
        if let (Some(found), Some(named)) = (found, named) {
            assert!(found.1.contains(named), "{}", found.1);
        }
        assert!(
            self::items(&planned(folder.path(), None), &folder).is_empty(),
            "the sidecar is declared now"
        );
    }
}
