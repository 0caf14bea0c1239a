//! A healthy project has no finding, and each broken one has its own finding alone.

mod case;

use std::{collections::BTreeSet, fs};

use serde_json::{Value, json};

use self::case::*;
use super::*;
use crate::{
    binary::{
        Arch::{Aarch64, X86_64},
        Runtime, samples,
    },
    project::Platform::{Linux, MacOs, Windows},
};

fn ids(findings: &[Finding]) -> Vec<&'static str> {
    findings.iter().map(|finding| finding.kind.id).collect()
}

/// Breaks a healthy project in one way.
type Break = fn(&mut Case);

/// The same by the mode of a file, which only Unix has.
const BROKEN_BY_MODE: &[(&str, Break)] = &[
    ("exec-bit", |it| it.mode(LINUX, 0o644)),
    ("read-only", |it| it.mode(MAC, 0o555)),
    ("not-in-bundle", |it| it.mode(BUNDLED, 0o644)),
];

/// The finding of each broken project, and how it is broken.
#[rustfmt::skip]
const BROKEN: &[(&str, Break)] = &[
    ("declaration", |it| it.declare("readyTimeout", json!(5))),
    ("declaration", |it| { it.declare("port", json!(8080)); it.declare("handover", json!(true)); }),
    ("declaration", |it| it.declare("dependsOn", json!(["db"]))),
    ("declaration", |it| {
        let section = config_of(it)["plugins"]["pillion"].take();
        it.set(CONFIG, "/plugins", json!({ "pilion": section }));
    }),
    ("package-source", |it| it.declare("package", json!({ "node": "backend/src/other.ts" }))),
    ("package-source", |it| it.declare("package", json!({ "command": ["make", "${output}"], "cwd": "server" }))),
    ("program-not-bundled", |it| it.declare("program", json!("demo-server"))),
    ("program-not-bundled", |it| it.set(CONFIG, "/plugins/pillion/sidecars/worker", json!({ "resource": "worker/main" }))),
    ("external-bin-name", |it| it.set(CONFIG, "/bundle/externalBin", json!(["binaries/demo-api", "binaries/tool-x86_64-apple-darwin"]))),
    ("external-bin-name", |it| it.set(CONFIG, "/bundle/externalBin", json!(["binaries/demo-api", "binaries/tool.exe"]))),
    ("name-of-app", |it| it.set(CONFIG, "/mainBinaryName", json!("demo-api"))),
    ("generic-name", |it| {
        it.json("src-tauri/tauri.linux.conf.json", &json!({ "bundle": { "externalBin": ["binaries/server"] },
            "plugins": { "pillion": { "sidecars": { "api": { "program": "server" } } } } }));
        fs::rename(it.path(LINUX), it.path(&LINUX.replace("demo-api", "server"))).unwrap();
        fs::rename(it.path(BUNDLED), it.path(&BUNDLED.replace("demo-api", "server"))).unwrap();
    }),
    ("mobile-programs", |it| it.text("src-tauri/gen/android/build.gradle.kts", "")),
    ("mobile-programs", |it| { it.text("src-tauri/gen/apple/project.yml", ""); it.json("src-tauri/tauri.android.conf.json", &json!({ "bundle": { "externalBin": [] } })); }),
    ("blocked-port", |it| it.declare("port", json!(6000))),
    ("port-conflict", |it| it.declare("port", json!(1420))),
    ("plugin-missing", |it| it.text("src-tauri/Cargo.toml", "[package]\nname = \"demo\"\n\n[dependencies]\ntauri = \"2\"\n")),
    ("plugin-not-registered", |it| it.text("src-tauri/src/lib.rs", "// .plugin(tauri_plugin_pillion::init())\n")),
    ("plugin-not-registered", |it| it.text("src-tauri/src/lib.rs", "fn run() { tauri_plugin_pillion::guard::run_if_asked(); }")),
    ("no-own-guard", |it| it.text("src-tauri/src/lib.rs", "fn run() { tauri_plugin_pillion::init(); }")),
    ("plugin-versions", |it| it.json("node_modules/tauri-plugin-pillion-api/package.json", &json!({ "version": "0.2.0" }))),
    ("single-instance-order", |it| it.text("src-tauri/src/lib.rs", "fn run() { tauri_plugin_pillion::guard::run_if_asked(); tauri::Builder::default().plugin(tauri_plugin_pillion::init())\n.plugin(tauri_plugin_single_instance::init(|_, _, _| {})); }")),
    ("gitignore", |it| it.text("src-tauri/.gitignore", "/target/\n")),
    ("taurignore", |it| it.remove("src-tauri/.taurignore")),
    ("permission", |it| it.set(CAPABILITY, "/permissions", json!(["core:default"]))),
    ("permission", |it| it.set(CAPABILITY, "/permissions", json!(["pillion:allow-connect"]))),
    ("permission", |it| it.declare("transport", json!("local"))),
    ("permission", |it| it.set(CONFIG, "/app/security/capabilities", json!(["other"]))),
    ("permission", |it| it.set(CAPABILITY, "/permissions", json!(["pillion:default", "pillion:allow-connect", "pillion:deny-connect"]))),
    ("scope", |it| it.set(CAPABILITY, "/permissions", json!(["pillion:allow-connect", { "identifier": "pillion:default", "allow": [{ "sidecar": "api" }, { "sidecar": "apl" }] }]))),
    ("csp-connect", |it| it.set(CONFIG, "/app/security/csp", json!("connect-src ipc: http://ipc.localhost http://localhost:*"))),
    ("csp-connect", |it| {
        it.set(CONFIG, "/app/security/csp", json!("connect-src ipc: http://ipc.localhost http://127.0.0.1:*"));
        it.text("src/chat.ts", "const socket = sidecar(\"api\").webSocket(\"/chat\");\n");
    }),
    ("csp-connect", |it| it.text("index.html", "<meta http-equiv=\"Content-Security-Policy\" content=\"connect-src ipc: http://ipc.localhost\">")),
    ("csp-ipc", |it| it.set(CONFIG, "/app/security/csp", json!("default-src 'self'; connect-src http://127.0.0.1:*"))),
    ("missing-binary", |it| it.remove(LINUX)),
    ("missing-binary", |it| for file in [MAC, MAC_INTEL, MAC_BOTH] { it.remove(file) }),
    ("binary-name", |it| it.program("src-tauri/binaries/demo-api", &samples::program(Linux, X86_64, true))),
    ("binary-name", |it| it.program("src-tauri/binaries/demo-api-x86_64-linux", &samples::program(Linux, X86_64, true))),
    ("binary-name", |it| it.program("src-tauri/binaries/demo-api-aarch64-pc-windows-msvc", &samples::program(Windows, Aarch64, true))),
    ("empty-binary", |it| it.program(WINDOWS, b"")),
    ("not-a-program", |it| it.program(WINDOWS, b"version https://git-lfs.github.com/spec/v1\n")),
    ("script", |it| it.linux(b"#!/bin/sh\nexec node main.js\n")),
    ("architecture", |it| it.program(WINDOWS, &samples::program(Windows, Aarch64, true))),
    ("architecture", |it| it.linux(&samples::program(Windows, X86_64, true))),
    ("architecture", |it| it.program(MAC, &samples::program(MacOs, X86_64, true))),
    ("universal", |it| it.remove(MAC_INTEL)),
    ("universal", |it| it.program(MAC_BOTH, &samples::universal(&[Aarch64]))),
    ("unsigned", |it| it.program(MAC, &samples::program(MacOs, Aarch64, false))),
    ("jit-entitlement", |it| it.text("src-tauri/entitlements.plist", &entitlements("com.apple.security.app-sandbox"))),
    ("jit-entitlement", |it| it.set(CONFIG, "/bundle/macOS", json!({}))),
    ("library-entitlement", |it| it.program(MAC, &samples::with_runtime(samples::program(MacOs, Aarch64, true), Runtime::PyInstallerOnefile))),
    ("stale", |it| {
        it.change(LINUX, SOURCE_CHANGED - 1);
    }),
    ("stale", |it| {
        it.declare("dev", json!({ "command": ["npx", "tsx", "src/main.ts"], "cwd": "backend" }));
        it.declare("package", json!({ "node": "backend/src/main.ts" }));
        it.change(LINUX, SOURCE_CHANGED - 1);
    }),
    ("appimage-strip", |it| it.linux(&samples::with_runtime(samples::program(Linux, X86_64, true), Runtime::Bun))),
    ("temp-execution", |it| it.program(WINDOWS, &samples::with_runtime(samples::program(Windows, X86_64, true), Runtime::PyInstallerOnefile))),
    ("not-in-bundle", |it| it.remove(BUNDLED)),
    ("other-in-bundle", |it| it.program(BUNDLED, &samples::program(Linux, Aarch64, true))),
    ("webview", |it| it.machine.no_webview = Some("missing".to_owned())),
    ("display", |it| it.machine.no_display = Some("missing".to_owned())),
    ("dbus", |it| it.machine.no_dbus = Some("missing".to_owned())),
    ("guard-place", |it| it.machine.no_guard_place = Some("missing".to_owned())),
    ("login-shell", |it| { it.declare("loginShellEnv", json!(true)); it.machine.no_login_shell = Some("missing".to_owned()); }),
    ("dev-command", |it| it.machine.path.clear()),
    ("dev-command", |it| it.declare("dev", json!({ "command": ["npx"], "cwd": "elsewhere", "watch": ["src/**/*.ts"] }))),
    ("dev-command", |it| it.declare("dev", json!({ "command": ["npx"], "cwd": "backend", "watch": ["source/**/*.ts"] }))),
];

fn config_of(case: &Case) -> Value {
    serde_json::from_slice(&fs::read(case.path(CONFIG)).unwrap()).unwrap()
}

#[test]
fn a_healthy_project_has_no_finding() {
    assert_eq!(Case::healthy().examine(), []);
}

#[test]
fn a_machine_may_lack_what_the_app_does_not_use() {
    let mut case = Case::healthy();
    case.machine.no_login_shell = Some("missing".to_owned());
    assert_eq!(case.examine(), []);
}

/// The broken projects of this system.
fn broken() -> impl Iterator<Item = &'static (&'static str, Break)> {
    BROKEN.iter().chain(BROKEN_BY_MODE.iter().filter(|_| cfg!(unix)))
}

#[test]
fn each_broken_project_has_its_own_finding_alone() {
    let mut wrong = Vec::new();
    for (id, break_it) in broken() {
        let mut case = Case::healthy();
        break_it(&mut case);
        let found = case.examine();
        if found.is_empty() || ids(&found).iter().any(|other| other != id) {
            wrong.push(format!("{id}: {found:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let broken: BTreeSet<_> = BROKEN.iter().chain(BROKEN_BY_MODE).map(|(id, _)| *id).collect();
    let known: BTreeSet<_> = KINDS.iter().map(|kind| kind.id).collect();
    assert_eq!(broken, known, "each kind of finding needs a broken project");
}

#[test]
fn a_fix_leaves_no_finding_and_other_kinds_have_none() {
    for (id, break_it) in broken() {
        let mut case = Case::healthy();
        break_it(&mut case);
        let mut found = case.examine();
        let fixable = found.iter().all(|finding| finding.fix.is_some());
        let kind = catalogue::find(id).unwrap();
        assert!(kind.fixable || !fixable, "{id} has a fix");
        if !fixable {
            continue;
        }
        fix::apply(&mut found);
        assert!(found.iter().all(|finding| finding.fixed), "{id}");
        assert_eq!(case.examine(), [], "{id}");
    }
}

#[test]
fn permissions_are_added_to_the_capability_of_the_first_window() {
    let case = Case::healthy();
    case.set(CONFIG, "/app/windows", json!([{ "label": "main" }, { "label": "about" }]));
    case.set(CAPABILITY, "/permissions", json!(["core:default"]));
    let about = json!({ "identifier": "about", "windows": ["about"],
        "permissions": ["pillion:default", "pillion:allow-connect"] });
    case.json("src-tauri/capabilities/about.json", &about);
    let mut found = case.examine();
    assert_eq!(ids(&found), ["permission"]);
    fix::apply(&mut found);
    let read = |path| serde_json::from_slice::<Value>(&fs::read(case.path(path)).unwrap()).unwrap();
    assert_eq!(read("src-tauri/capabilities/about.json"), about);
    assert_eq!(
        read(CAPABILITY)["permissions"],
        json!(["core:default", "pillion:default", "pillion:allow-connect"])
    );
    assert_eq!(case.examine(), []);
}

#[test]
fn a_fix_does_not_widen_a_scope() {
    let narrow = |identifier: &str, scope: Value| {
        let case = Case::healthy();
        let mut entry = json!({ "identifier": identifier });
        entry.as_object_mut().unwrap().extend(scope.as_object().unwrap().clone());
        case.set(CAPABILITY, "/permissions", json!(["core:default", "pillion:default", entry]));
        case
    };
    let denied = narrow("pillion:allow-connect", json!({ "deny": [{ "sidecar": "api" }] }));
    // A sidecar without a port needs allow-fetch.
    let other_way = narrow("pillion:allow-connect", json!({ "allow": [{ "sidecar": "api" }] }));
    other_way.declare("transport", json!("local"));
    let limits = "limits pillion:allow-connect to some sidecars, so --fix adds nothing: add {";
    for (case, advice) in [(denied, "remove it from `deny`"), (other_way, limits)] {
        let before = fs::read_to_string(case.path(CAPABILITY)).unwrap();
        let mut found = case.examine();
        assert_eq!(ids(&found), ["permission"]);
        fix::apply(&mut found);
        assert_eq!(fs::read_to_string(case.path(CAPABILITY)).unwrap(), before);
        assert!(!found[0].fixed && found[0].detail.contains(advice), "{found:?}");
        assert_eq!(found[0].detail.contains("to the scope"), advice == limits, "{found:?}");
    }
}

#[test]
fn entitlements_are_an_error_only_for_an_app_that_is_signed() {
    let case = Case::healthy();
    case.set(CONFIG, "/bundle/macOS", json!({}));
    let level = || case.examine().iter().map(|finding| finding.kind.level).collect::<Vec<_>>();
    assert_eq!(level(), [Severity::Warning]);
    case.set(CONFIG, "/bundle/macOS", json!({ "signingIdentity": "-" }));
    assert_eq!(level(), [Severity::Error]);
}

#[test]
fn a_stripped_node_program_is_found() {
    let case = Case::healthy();
    case.linux(&samples::with_runtime(samples::program(Linux, X86_64, true), Runtime::Node));
    assert_eq!(ids(&case.examine()), ["appimage-strip"]);
}

#[test]
fn bundles_of_older_versions_and_changed_bytes_in_an_app_image_are_no_finding() {
    let case = Case::healthy();
    fs::create_dir_all(case.path("src-tauri/target/release/bundle/deb/demo_0.0.1_amd64/data/usr/bin"))
        .unwrap();
    let app_image = "src-tauri/target/release/bundle/appimage/Demo.AppDir/usr/bin/demo-api";
    case.program(app_image, &samples::program(Linux, Aarch64, true));
    assert_eq!(case.examine(), []);
    case.remove(app_image);
    assert_eq!(ids(&case.examine()), ["not-in-bundle"]);
    case.program(app_image, b"changed");
    case.set(CONFIG, "/version", json!("0.0.1"));
    assert_eq!(ids(&case.examine()), ["not-in-bundle"]);
}

#[test]
fn bundles_of_other_apps_in_the_same_target_folder_are_no_finding() {
    let case = Case::healthy();
    for other in [
        "deb/other_0.1.0_amd64/data/usr/bin",
        "deb/demo-two_0.1.0_amd64/data/usr/bin",
        "appimage/Other.AppDir/usr/bin",
    ] {
        fs::create_dir_all(case.path(&format!("src-tauri/target/release/bundle/{other}"))).unwrap();
    }
    assert_eq!(case.examine(), []);
}

#[test]
fn a_program_with_a_current_stamp_is_not_stale() {
    use sha2::Digest as _;
    let case = Case::healthy();
    let hex =
        |bytes: &[u8]| sha2::Sha256::digest(bytes).iter().map(|it| format!("{it:02x}")).collect::<String>();
    case.change(LINUX, SOURCE_CHANGED - 1);
    let (source, program) = (case.path("backend/src/main.ts"), fs::read(case.path(LINUX)).unwrap());
    case.json(
        "src-tauri/target/pillion/api-x86_64-unknown-linux-gnu.json",
        &json!({ "recipe": "", "folders": [], "files": { source.to_str().unwrap(): hex(b"") }, "check": "",
            "output": { "bytes": program.len(), "modified": 0, "sha256": hex(&program) } }),
    );
    assert_eq!(case.examine(), []);
    // A universal file has a stamp without inputs.
    let both = fs::read(case.path(MAC_BOTH)).unwrap();
    case.change(MAC_BOTH, SOURCE_CHANGED - 1);
    case.json(
        "src-tauri/target/pillion/api-universal-apple-darwin.json",
        &json!({ "recipe": "", "folders": [], "files": {}, "check": "",
            "output": { "bytes": both.len(), "modified": 0, "sha256": hex(&both) } }),
    );
    assert_eq!(ids(&case.examine()), ["stale"]);
    case.change(MAC_BOTH, SOURCE_CHANGED + 1);
    case.text("backend/src/main.ts", "changed");
    case.change("backend/src/main.ts", SOURCE_CHANGED);
    assert_eq!(ids(&case.examine()), ["stale"]);
}

#[test]
fn a_sidecar_that_only_rust_calls_needs_no_permission() {
    let case = Case::healthy();
    case.json("package.json", &json!({ "name": "demo" }));
    case.set(CAPABILITY, "/permissions", json!(["core:default"]));
    case.set(CONFIG, "/app/security/csp", json!("default-src 'self'; connect-src ipc: http://ipc.localhost"));
    assert_eq!(case.examine(), []);
}

#[test]
fn a_second_sidecar_that_the_page_does_not_call_needs_no_permission() {
    let case = Case::healthy();
    case.set(
        CONFIG,
        "/plugins/pillion/sidecars/db",
        json!({ "command": "postgres", "private": false, "ready": "tcp" }),
    );
    let scoped = |permission: &str| json!({ "identifier": permission, "allow": [{ "sidecar": "api" }] });
    case.set(CAPABILITY, "/permissions", json!([scoped("pillion:default"), scoped("pillion:allow-connect")]));
    assert_eq!(case.examine(), []);
}

#[test]
fn a_mobile_app_without_programs_has_no_finding() {
    let case = Case::healthy();
    for (folder, system) in [("android", "android"), ("apple", "ios")] {
        case.text(&format!("src-tauri/gen/{folder}/README"), "");
        case.json(
            &format!("src-tauri/tauri.{system}.conf.json"),
            &json!({ "bundle": { "externalBin": [] } }),
        );
    }
    assert_eq!(case.examine(), []);
    let case = Case::healthy();
    case.text("src-tauri/gen/android/README", "");
    case.text(
        "src-tauri/build.rs",
        "fn main() { pillion_build::allow_missing_sidecars(); tauri_build::build() }",
    );
    assert_eq!(case.examine(), []);
}

#[test]
fn pillion_package_is_advised_only_where_it_can_build_the_program() {
    let advised = |case: &Case| {
        let found = case.examine();
        assert_eq!(ids(&found), ["empty-binary"]);
        found[0].cure.to_string()
    };
    let case = Case::healthy();
    case.program(WINDOWS, b"");
    assert_eq!(
        advised(&case),
        "Build it. `pillion package` does so after plugins.pillion.sidecars.api says how, in `package` (docs/package.md)."
    );
    case.declare("package", json!({ "node": "backend/src/main.ts" }));
    assert_eq!(advised(&case), "Build it: `pillion package`.");
    // Another program of the app, such as ffmpeg.
    let case = Case::healthy();
    case.set(CONFIG, "/bundle/externalBin", json!(["binaries/demo-api", "binaries/ffmpeg"]));
    for name in [LINUX, WINDOWS, MAC, MAC_INTEL, MAC_BOTH, BUNDLED] {
        let other = name.replace("demo-api", "ffmpeg");
        case.program(&other, &fs::read(case.path(name)).unwrap());
    }
    case.program(&WINDOWS.replace("demo-api", "ffmpeg"), b"");
    assert!(advised(&case).starts_with("Build it. No sidecar is declared with this program"));
}

#[test]
fn the_report_says_what_why_and_what_to_do() {
    let case = Case::healthy();
    case.program(WINDOWS, b"");
    let report = Report {
        project: "src-tauri".to_owned(),
        targets: vec!["x86_64-pc-windows-msvc".to_owned()],
        findings: case.examine(),
        ignored: 0,
    };
    let mut text = Vec::new();
    render::text(&report, &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    for part in
        ["empty-binary", "windows-msvc.exe", "0 bytes", "why: ", "do:  Build it", "1 error, 0 warnings"]
    {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let mut json = Vec::new();
    render::json(&report, &mut json).unwrap();
    let json: Value = serde_json::from_slice(&json).unwrap();
    let finding = &json["findings"][0];
    assert_eq!((&finding["id"], &finding["level"]), (&json!("empty-binary"), &json!("error")));
    assert!(finding["why"].is_string() && finding["cure"].is_string() && finding["fixed"] == false);
}
