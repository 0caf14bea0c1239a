//! The packages for the npm registry. The check installs them into an empty project and uses them.
//!
//! `.npmrc` turns scripts off, so `npm pack` alone does not run `prepack`: it would pack whatever an earlier build has left.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use xshell::{Shell, cmd};

use super::{LICENSES, destination};
use crate::{npm::npm, workspace::Workspace};

/// A published package, and how a project uses it.
struct Package {
    folder: &'static str,
    /// The folder of its compiled files.
    compiled: &'static str,
    /// The packages that the project needs beside it. The check takes them from `node_modules`, so it needs no network.
    dependencies: &'static [&'static str],
    /// The libraries of TypeScript, and the packages with global types.
    types: (&'static str, &'static [&'static str]),
    program: &'static str,
    /// How the output of the program begins.
    output: &'static str,
}

const PACKAGES: &[Package] = &[
    Package {
        folder: "sdk/node",
        compiled: "dist",
        dependencies: &["@types/node", "undici-types"],
        types: ("es2022", &["node"]),
        program: r#"import { serve } from "pillion";
await serve(() => new Response("hello"), { app: "packed", version: "1.2.3" });
process.kill(process.pid, "SIGTERM");
"#,
        output: "BACKEND_PORT:",
    },
    Package {
        folder: "crates/tauri-plugin-pillion",
        compiled: "dist-js",
        dependencies: &["@tauri-apps/api", "eventsource-parser"],
        types: ("dom", &[]),
        program: r#"import { type Sidecar, sidecar } from "tauri-plugin-pillion-api";
import { type Mocks, mockSidecars } from "tauri-plugin-pillion-api/mocks";
const mocks: (sidecars: Record<string, string>) => Mocks = mockSidecars;
const backend: Sidecar = sidecar("backend");
const platform: typeof fetch = backend.fetch;
console.log(platform === backend.fetch && typeof mocks === "function" && backend.baseUrl);
"#,
        output: "http://sidecar.invalid\n",
    },
];

/// Builds and packs each package, and returns the files.
///
/// # Errors
///
/// Fails if a package lacks a file that its `exports` name.
pub(super) fn pack_all(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    let sh = workspace.shell()?;
    let destination = destination(workspace)?;
    PACKAGES.iter().map(|package| pack(&sh, workspace, package, &destination)).collect()
}

/// Installs each package into an empty project without the network, compiles a program against its types, and runs it.
///
/// # Errors
///
/// Fails if a package lacks a file, or if the program does not compile or prints something else.
pub(super) fn check(workspace: &Workspace, files: &[PathBuf]) -> Result<()> {
    for (package, file) in PACKAGES.iter().zip(files) {
        let project = Shell::new()?.create_temp_dir()?;
        use_in(project.path(), workspace, package, file)
            .with_context(|| format!("{} does not work in a project", file.display()))?;
    }
    Ok(())
}

/// The manifests without a repository.
pub(super) fn without_repository(workspace: &Workspace) -> Result<Vec<String>> {
    let manifests = PACKAGES.iter().map(|package| format!("{}/package.json", package.folder));
    let mut without = Vec::new();
    for manifest in manifests {
        let text = fs::read_to_string(workspace.root.join(&manifest))?;
        if serde_json::from_str::<Value>(&text)?["repository"].is_null() {
            without.push(manifest);
        }
    }
    Ok(without)
}

fn pack(sh: &Shell, workspace: &Workspace, package: &Package, destination: &Path) -> Result<PathBuf> {
    let folder = package.folder;
    // A build does not remove the output of a source file that is gone.
    sh.remove_path(workspace.root.join(folder).join(package.compiled))?;
    npm(sh, &["run", "build", "--workspace", folder]).quiet().ignore_stdout().run()?;
    let (file, packed) = npm_pack(sh, &["--workspace", folder], destination)?;
    let manifest: Value =
        serde_json::from_str(&sh.read_file(workspace.root.join(folder).join("package.json"))?)?;
    let contents: Vec<_> =
        packed["files"].as_array().into_iter().flatten().filter_map(|file| file["path"].as_str()).collect();
    for required in LICENSES.iter().chain(&["README.md"]) {
        ensure!(contents.contains(required), "the package of {folder} lacks {required}");
    }
    let exports = manifest["exports"].as_object().context("package.json has no exports")?;
    for export in exports.values() {
        for condition in ["types", "default"] {
            let named = export[condition].as_str().context("an export has no types or no file")?;
            ensure!(
                contents.contains(&named.trim_start_matches("./")),
                "the package of {folder} lacks {named}: `files` in its package.json must include it"
            );
        }
    }
    Ok(file)
}

/// Runs `npm pack`, and returns the file and its description: <https://docs.npmjs.com/cli/commands/npm-pack#json>.
fn npm_pack(sh: &Shell, what: &[&str], destination: &Path) -> Result<(PathBuf, Value)> {
    let command = npm(sh, &["pack", "--json", "--pack-destination"]).arg(destination).args(what);
    let mut printed: Value =
        serde_json::from_str(&command.quiet().read()?).context("npm pack printed no JSON")?;
    let packed = printed[0].take();
    let name = packed["filename"]
        .as_str()
        .with_context(|| format!("`npm pack {}` packed nothing", what.join(" ")))?;
    Ok((destination.join(name), packed))
}

fn use_in(project: &Path, workspace: &Workspace, package: &Package, file: &Path) -> Result<()> {
    let sh = workspace.shell()?;
    let mut archives = vec![file.to_owned()];
    for name in package.dependencies {
        let folder = format!("./node_modules/{name}");
        archives.push(npm_pack(&sh, &[&folder], project)?.0);
    }
    let (lib, types) = package.types;
    let options = json!({
        "target": "es2022", "module": "nodenext", "lib": ["es2022", lib], "types": types, "strict": true, "skipLibCheck": false,
    });
    sh.change_dir(project);
    sh.write_file("package.json", json!({ "name": "empty", "private": true, "type": "module" }).to_string())?;
    sh.write_file("tsconfig.json", json!({ "compilerOptions": options, "files": ["index.ts"] }).to_string())?;
    sh.write_file("index.ts", package.program)?;
    npm(&sh, &["install", "--offline", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"])
        .args(archives)
        .quiet()
        .ignore_stdout()
        .run()?;
    let compiler = workspace.root.join("node_modules/typescript/bin/tsc");
    cmd!(sh, "node {compiler} --project .").quiet().run()?;
    let output = cmd!(sh, "node index.js").quiet().ignore_stderr().output()?;
    let output = String::from_utf8_lossy(&output.stdout);
    ensure!(output.starts_with(package.output), "its program printed {output:?}, not {:?}", package.output);
    Ok(())
}
