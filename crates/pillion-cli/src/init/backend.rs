//! The backend: which language it is written in, where it lies, and how it is started and packaged.

mod frameworks;
mod lines;
mod shared_packages;

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::ValueEnum;
use serde_json::{Value, json};

use super::source::relative_path;
use crate::project::{Document, Project};

/// A language or runtime of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Runtime {
    Node,
    Bun,
    Deno,
    Python,
    Go,
    Rust,
}

/// A backend in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Backend {
    pub(super) runtime: Runtime,
    pub(super) folder: PathBuf,
    /// The file that starts the server, relative to the folder; `None` if it is not known. Go and Rust need none.
    pub(super) entry: Option<String>,
}

/// The interpreter on the `PATH`. A virtual environment has no `python3` on Windows, and Debian has no `python` outside of one.
pub(super) const PYTHON: &str = if cfg!(windows) { "python" } else { "python3" };
/// The usual names of the folder.
const NAMES: [&str; 9] = [
    "backend",
    "server",
    "sidecar",
    "api",
    "service",
    "src-backend",
    "src-server",
    "src-sidecar",
    "src-python",
];
/// Packages that only a server uses. A package in a folder of another name is a backend if it depends on one of them.
const SERVERS: [&str; 8] =
    ["pillion", "hono", "express", "fastify", "koa", "elysia", "@hono/node-server", "@nestjs/core"];
/// Packages for Python whose apps are ASGI apps, or that serve such.
const ASGI: [&str; 9] =
    ["fastapi", "starlette", "litestar", "quart", "blacksheep", "uvicorn", "hypercorn", "daphne", "channels"];
/// Packages for Python whose apps are WSGI apps, which the SDK serves without another package.
const WSGI: [&str; 6] = ["flask", "django", "bottle", "falcon", "pyramid", "werkzeug"];
/// Folders of other people's or of built files, and those of the page.
const SKIPPED: [&str; 9] =
    ["node_modules", "target", "dist", "build", "src-tauri", "src", "public", "static", "gen"];

impl Runtime {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Bun => "bun",
            Self::Deno => "deno",
            Self::Python => "python",
            Self::Go => "go",
            Self::Rust => "rust",
        }
    }

    /// The files that can start a server, the usual ones first.
    fn entries(self) -> &'static [&'static str] {
        match self {
            Self::Node | Self::Bun => &[
                "src/index.ts",
                "src/main.ts",
                "src/server.ts",
                "index.ts",
                "main.ts",
                "server.ts",
                "src/index.js",
                "src/main.js",
                "src/server.js",
                "src/index.mjs",
                "index.js",
                "main.js",
                "server.js",
                "index.mjs",
            ],
            Self::Deno => &[
                "main.ts",
                "src/main.ts",
                "server.ts",
                "src/server.ts",
                "index.ts",
                "src/index.ts",
                "main.js",
                "server.js",
            ],
            Self::Python => &["main.py", "app.py", "server.py", "src/main.py", "__main__.py"],
            Self::Go => &["main.go"],
            Self::Rust => &["src/main.rs"],
        }
    }

    /// The runtime of the program in a folder, by its files.
    pub(crate) fn of(folder: &Path) -> Option<Self> {
        let has = |name: &str| folder.join(name).is_file();
        if has("Cargo.toml") {
            Some(Self::Rust)
        } else if has("go.mod") {
            Some(Self::Go)
        } else if has("pyproject.toml") || has("requirements.txt") {
            Some(Self::Python)
        } else if has("deno.json") || has("deno.jsonc") {
            Some(Self::Deno)
        } else if has("package.json") {
            let text = fs::read_to_string(folder.join("package.json")).unwrap_or_default();
            let main =
                Self::Node.entries().iter().find_map(|name| fs::read_to_string(folder.join(name)).ok());
            let main = main.unwrap_or_default();
            if main.contains("Deno.serve(") {
                return Some(Self::Deno);
            }
            let bun = ["bun.lock", "bun.lockb", "bunfig.toml"].into_iter().any(has)
                || ["@types/bun", "\"elysia\"", "\"bun "].into_iter().any(|mark| text.contains(mark))
                || ["Bun.serve(", "\"bun:", "'bun:"].into_iter().any(|mark| main.contains(mark));
            Some(if bun { Self::Bun } else { Self::Node })
        } else {
            None
        }
    }
}

impl Backend {
    /// The backend in this folder. Without `runtime`, the files of the folder say which it is.
    ///
    /// # Errors
    ///
    /// Fails if the folder does not exist, or has no file of a known runtime.
    pub(super) fn in_folder(folder: &Path, runtime: Option<Runtime>) -> Result<Self, String> {
        let shown = Project::shown(folder);
        if !folder.is_dir() {
            return Err(format!(
                "the folder {shown} of the backend does not exist: create it, or pass another --backend-dir"
            ));
        }
        let runtime = runtime.or_else(|| Runtime::of(folder)).ok_or_else(|| {
            format!(
                "{shown} has none of the files package.json, deno.json, pyproject.toml, requirements.txt, go.mod and Cargo.toml: \
                 pass --backend node, bun, deno, python, go or rust; for another language, leave --backend-dir out and pass --backend none"
            )
        })?;
        let entry = runtime.entries().iter().find(|entry| folder.join(entry).is_file());
        let mut backend =
            Self { runtime, folder: folder.to_owned(), entry: entry.map(|entry| (*entry).to_owned()) };
        if backend.django().is_some() {
            backend.entry = Some(frameworks::DJANGO_ENTRY.to_owned());
        }
        Ok(backend)
    }

    /// The backends of a project, by the usual names and files: in its folder, in the folder of its repository, and in `apps`.
    pub(super) fn find_all(project: &Project) -> Vec<Self> {
        let page = project.front_end.as_ref().map(|front_end| front_end.folder().to_owned());
        let repository = project.root.ancestors().find(|folder| folder.join(".git").exists());
        let parents = [
            Some(project.root.clone()),
            repository.map(Path::to_owned),
            repository.map(|it| it.join("apps")),
        ];
        let mut folders: Vec<PathBuf> = Vec::new();
        for parent in parents.into_iter().flatten() {
            let entries = fs::read_dir(parent).into_iter().flatten().flatten();
            folders.extend(entries.map(|entry| entry.path()).filter(|path| path.is_dir()));
        }
        folders.sort();
        folders.dedup();
        folders.retain(|folder| {
            let name = folder.file_name().unwrap_or_default().to_string_lossy();
            !name.starts_with('.')
                && !SKIPPED.contains(&name.as_ref())
                && Some(folder) != page.as_ref()
                && !project.tauri.starts_with(folder)
                && is_backend(folder, &name)
        });
        folders.iter().filter_map(|folder| Self::in_folder(folder, None).ok()).collect()
    }

    /// What `tauri dev` runs instead of the packaged program: the field `dev` of a declaration. `root` is the project's folder.
    pub(super) fn dev(&self, root: &Path) -> Option<Value> {
        let (entry, compiled) = (self.entry.as_deref(), self.compiled());
        let entry = compiled.as_deref().or(entry);
        // The files beside the one that starts the server, and below it; those of `node_modules` lie beside a file without a folder.
        let beside = || {
            let (name, ending) = entry?.rsplit_once('.')?;
            let folder = name.rsplit_once('/').map(|(folder, _)| format!("{folder}/**/")).unwrap_or_default();
            Some(format!("{folder}*.{ending}"))
        };
        let owned = |patterns: &[&str]| patterns.iter().map(ToString::to_string).collect();
        let (command, mut watch): (Vec<&str>, Vec<String>) = match self.runtime {
            // Not `npx tsx`, which is one more process: it takes the signals, and does not pass on the listener.
            Runtime::Node if entry?.ends_with(".ts") => {
                (vec!["node", "--import", "tsx", entry?], vec![beside()?])
            }
            Runtime::Node => (vec!["node", entry?], vec![beside()?]),
            Runtime::Bun => (vec!["bun", entry?], vec![beside()?]),
            Runtime::Deno => (vec!["deno", "run", "-A", entry?], vec![beside()?]),
            // Not `uv run`, which is one more process, as `npx`.
            Runtime::Python => (vec![PYTHON, entry?], owned(&["**/*.py"])),
            Runtime::Go => (vec!["go", "run", "."], owned(&["**/*.go"])),
            Runtime::Rust => (vec!["cargo", "run"], owned(&["src/**/*.rs", "Cargo.toml"])),
        };
        watch.extend(shared_packages::patterns(self.runtime, &self.folder, root));
        Some(json!({ "command": command, "cwd": relative_path(root, &self.folder), "watch": watch }))
    }

    /// Whether the Cargo workspace of the backend has this dependency for its members.
    pub(super) fn workspace_has(&self, dependency: &str) -> bool {
        let root = shared_packages::root_above(&self.folder, "Cargo.toml", &["workspace"]);
        root.is_some_and(|(_, root)| root.get(&["workspace", "dependencies", dependency]).is_some())
    }

    /// The lock file of uv, of the backend or of the workspace to which it belongs.
    pub(super) fn uv_lock(&self, root: &Path) -> Option<PathBuf> {
        let top = root.ancestors().find(|folder| folder.join(".git").exists()).unwrap_or(root);
        let folders = self.folder.ancestors().take_while(|folder| folder.starts_with(top));
        folders.map(|folder| folder.join("uv.lock")).find(|lock| lock.is_file())
    }

    /// The extra of the SDK for Python that the server needs: uvicorn serves ASGI apps alone.
    pub(super) fn python_extra(&self) -> &'static str {
        let read = |name: &str| fs::read_to_string(self.folder.join(name)).unwrap_or_default();
        let required = [read("pyproject.toml"), read("requirements.txt")].concat().to_lowercase();
        let word = |letter: char| letter.is_alphanumeric() || letter == '-' || letter == '_';
        let requires = |names: &[&str]| required.split(|letter| !word(letter)).any(|it| names.contains(&it));
        let asgi = requires(&ASGI);
        if !asgi && requires(&WSGI) {
            return "";
        }
        let code = self.entry.as_deref().map(read).unwrap_or_default();
        if requires(&["websockets"]) || asgi && code.contains("WebSocket") {
            "[websockets]"
        } else {
            "[uvicorn]"
        }
    }

    /// Whether it loads packages whose names only the run knows, so that no tool finds them for a program in one file.
    pub(super) fn loads_by_name(&self) -> bool {
        self.runtime == Runtime::Node && self.depends_on("@nestjs/core")
    }

    /// How `pillion package` builds the program: the field `package` of a declaration.
    pub(super) fn package(&self, root: &Path) -> Option<Value> {
        let folder = relative_path(root, &self.folder);
        let entry = self.compiled().or_else(|| self.entry.clone());
        let file = entry.map(|entry| format!("{folder}/{entry}"));
        Some(match self.runtime {
            Runtime::Node if self.loads_by_name() => return None,
            Runtime::Node => json!({ "node": file? }),
            Runtime::Bun => json!({ "bun": file? }),
            // Deno names its targets as Rust does.
            Runtime::Deno => json!({
                "command": ["deno", "compile", "-A", "--target", "${target}", "--output", "${output}", self.entry.as_deref()?],
                "cwd": folder,
            }),
            Runtime::Python => json!({ "python": file? }),
            Runtime::Go => json!({ "go": folder }),
            Runtime::Rust => json!({ "rust": folder }),
        })
    }

    /// The compiled main file of a server in TypeScript with `emitDecoratorMetadata`, as Nest has it: neither tsx nor esbuild emits that
    /// (<https://esbuild.github.io/content-types/#typescript-caveats>), so that injected services would be undefined.
    pub(super) fn compiled(&self) -> Option<String> {
        let entry = self.entry.as_deref().filter(|_| self.runtime == Runtime::Node)?.strip_suffix(".ts")?;
        let config = Document::read_if_exists(&self.folder.join("tsconfig.json")).ok().flatten()?;
        let option = |name: &str| config.get(&["compilerOptions", name]);
        option("emitDecoratorMetadata")?.as_bool().filter(|emits| *emits)?;
        let out = option("outDir").and_then(Value::as_str).unwrap_or("dist");
        let out = out.trim_start_matches("./").trim_end_matches('/');
        Some(format!("{out}/{}.js", entry.strip_prefix("src/").unwrap_or(entry)))
    }

    /// Whether its package.json asks for this package.
    fn depends_on(&self, package: &str) -> bool {
        let document = Document::read_if_exists(&self.folder.join("package.json")).ok().flatten();
        document.is_some_and(|document| document.get(&["dependencies", package]).is_some())
    }
}

/// Whether the folder holds a server: by its name, or by a package that only servers use.
fn is_backend(folder: &Path, name: &str) -> bool {
    if Runtime::of(folder).is_none() {
        return false;
    }
    if NAMES.contains(&name) {
        return true;
    }
    let package = fs::read_to_string(folder.join("package.json")).unwrap_or_default();
    SERVERS.iter().any(|server| package.contains(&format!("\"{server}\":")))
}
