//! A project that each test breaks in its own way.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::super::*;
use crate::{
    binary::{
        Arch::{Aarch64, X86_64},
        Runtime, samples,
    },
    project::Platform::{Linux, MacOs, Windows},
};

pub(super) const LINUX: &str = "src-tauri/binaries/demo-api-x86_64-unknown-linux-gnu";
pub(super) const WINDOWS: &str = "src-tauri/binaries/demo-api-x86_64-pc-windows-msvc.exe";
pub(super) const MAC: &str = "src-tauri/binaries/demo-api-aarch64-apple-darwin";
pub(super) const MAC_INTEL: &str = "src-tauri/binaries/demo-api-x86_64-apple-darwin";
pub(super) const MAC_BOTH: &str = "src-tauri/binaries/demo-api-universal-apple-darwin";
pub(super) const BUNDLED: &str = "src-tauri/target/release/bundle/deb/demo_0.1.0_amd64/data/usr/bin/demo-api";
pub(super) const CONFIG: &str = "src-tauri/tauri.conf.json";
/// When the source of the sidecar was changed: long before each program of this test.
pub(super) const SOURCE_CHANGED: u64 = 1_000_000_000;
pub(super) const CAPABILITY: &str = "src-tauri/capabilities/default.json";

/// A project, and the machine that it is checked on.
pub(super) struct Case {
    pub(super) folder: TempDir,
    pub(super) machine: Machine,
}

impl Case {
    /// A project without a finding.
    pub(super) fn healthy() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let machine = Machine { path: vec![folder.path().join("tools")], ..Machine::default() };
        let case = Self { folder, machine };
        case.json(
            CONFIG,
            &json!({
                "productName": "Demo",
                "build": { "devUrl": "http://localhost:1420", "frontendDist": "../dist" },
                "app": { "security": { "csp": {
                    "default-src": "'self'", "connect-src": "ipc: http://ipc.localhost http://127.0.0.1:*" } } },
                "bundle": {
                    "active": true,
                    "targets": "all",
                    "externalBin": ["binaries/demo-api"],
                    "macOS": { "entitlements": "entitlements.plist" }
                },
                "plugins": { "pillion": { "sidecars": { "api": {
                    "program": "demo-api",
                    "dev": { "command": ["npx", "tsx", "src/main.ts"], "cwd": "backend", "watch": ["src/**/*.ts"] } } } } }
            }),
        );
        case.json(
            CAPABILITY,
            &json!({ "identifier": "default", "windows": ["main"],
                "permissions": ["core:default", "pillion:default", "pillion:allow-connect"] }),
        );
        case.json(
            "package.json",
            &json!({ "name": "demo", "dependencies": { "tauri-plugin-pillion-api": "^0.1.0" } }),
        );
        case.json("node_modules/tauri-plugin-pillion-api/package.json", &json!({ "version": "0.1.0" }));
        case.text("src-tauri/Cargo.toml", "[package]\nname = \"demo\"\nversion = \"0.1.0\"\n\n[dependencies]\ntauri = \"2\"\ntauri-plugin-pillion = \"0.1\"\ntauri-plugin-single-instance = \"2\"\n");
        case.text(
            "src-tauri/Cargo.lock",
            "version = 4\n\n[[package]]\nname = \"tauri-plugin-pillion\"\nversion = \"0.1.0\"\n",
        );
        case.text("src-tauri/src/lib.rs", "pub fn run() {\n    tauri_plugin_pillion::guard::run_if_asked();\n    tauri::Builder::default()\n        .plugin(tauri_plugin_single_instance::init(|_, _, _| {}))\n        .plugin(tauri_plugin_pillion::init());\n}\n");
        case.text("src-tauri/.gitignore", "/target/\n/binaries/*\n");
        case.text("src-tauri/.taurignore", "/binaries/\n");
        case.text("src-tauri/entitlements.plist", &entitlements("com.apple.security.cs.allow-jit"));
        case.text("backend/src/main.ts", "");
        fs::create_dir(case.path(".git")).unwrap();
        case.program("tools/npx", b"#!/bin/sh\n");
        case.linux(&samples::program(Linux, X86_64, true));
        case.program(WINDOWS, &samples::program(Windows, X86_64, true));
        case.program(MAC, &samples::with_runtime(samples::program(MacOs, Aarch64, true), Runtime::Node));
        case.program(MAC_INTEL, &samples::program(MacOs, X86_64, false));
        case.program(MAC_BOTH, &samples::universal(&[X86_64, Aarch64]));
        case.change("backend/src/main.ts", SOURCE_CHANGED);
        case
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    pub(super) fn bytes(&self, path: &str, bytes: &[u8]) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub(super) fn text(&self, path: &str, text: &str) {
        self.bytes(path, text.as_bytes());
    }

    pub(super) fn json(&self, path: &str, value: &Value) {
        self.text(path, &serde_json::to_string_pretty(value).unwrap());
    }

    /// Sets a value of a JSON file.
    pub(super) fn set(&self, path: &str, pointer: &str, value: Value) {
        let mut whole: Value = serde_json::from_slice(&fs::read(self.path(path)).unwrap()).unwrap();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        whole.pointer_mut(parent).unwrap()[key] = value;
        self.json(path, &whole);
    }

    /// Sets a field of the declaration.
    pub(super) fn declare(&self, field: &str, value: Value) {
        self.set(CONFIG, &format!("/plugins/pillion/sidecars/api/{field}"), value);
    }

    pub(super) fn remove(&self, path: &str) {
        fs::remove_file(self.path(path)).unwrap();
    }

    pub(super) fn program(&self, path: &str, bytes: &[u8]) {
        self.bytes(path, bytes);
        self.mode(path, 0o755);
    }

    /// The program for Linux, also in the bundle.
    pub(super) fn linux(&self, bytes: &[u8]) {
        self.program(LINUX, bytes);
        self.program(BUNDLED, bytes);
    }

    /// Sets when a file was changed, in seconds since 1970.
    pub(super) fn change(&self, path: &str, at: u64) {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(at);
        fs::File::options().write(true).open(self.path(path)).unwrap().set_modified(at).unwrap();
    }

    #[cfg(unix)]
    pub(super) fn mode(&self, path: &str, mode: u32) {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    #[cfg(not(unix))]
    pub(super) fn mode(&self, _: &str, _: u32) {}

    pub(super) fn examine(&self) -> Vec<Finding> {
        let project = Project::find(self.folder.path()).unwrap();
        let target = |name: &str| name.parse::<TargetTriple>().unwrap();
        let host = target("x86_64-unknown-linux-gnu");
        let targets = [host.clone(), target("universal-apple-darwin"), target("x86_64-pc-windows-msvc")];
        let environment = Environment { host: Some(host), ..Environment::default() };
        examine(&project, &targets, &environment, Some(&self.machine))
    }
}

pub(super) fn entitlements(key: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \
         \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n<plist version=\"1.0\"><dict><key>{key}</key><true/></dict></plist>\n"
    )
}
