//! The files that `pillion new` adds to Tauri's template.

use super::Template;
use crate::init::Runtime;

/// A macro, because `include_str!` takes no other expression.
macro_rules! template {
    ($path:literal) => {
        include_str!(concat!("../../templates/", $path))
    };
}

/// The files of the backend, without those that `pillion init` adds.
pub(super) fn backend_files(runtime: Runtime, name: &str) -> Vec<(&'static str, String)> {
    let files: &[(&str, &str)] = match runtime {
        Runtime::Node => &[
            ("package.json", template!("backend/node/package.json")),
            ("tsconfig.json", template!("backend/node/tsconfig.json")),
            ("src/index.ts", template!("backend/node/src/index.ts")),
        ],
        Runtime::Bun => &[
            ("package.json", template!("backend/node/package.json")),
            ("tsconfig.json", template!("backend/node/tsconfig.json")),
            ("bunfig.toml", "# The settings of Bun: https://bun.sh/docs/runtime/bunfig\n"),
            ("src/index.ts", template!("backend/node/src/index.ts")),
        ],
        Runtime::Deno => &[
            ("deno.json", "{\n  \"compilerOptions\": { \"strict\": true }\n}\n"),
            ("main.ts", template!("backend/deno/main.ts")),
        ],
        Runtime::Python => &[
            ("requirements.txt", template!("backend/python/requirements.txt")),
            ("main.py", template!("backend/python/main.py")),
        ],
        Runtime::Go => &[
            ("go.mod", template!("backend/go/go.mod.template")),
            ("main.go", template!("backend/go/main.go")),
        ],
        Runtime::Rust => &[
            ("Cargo.toml", template!("backend/rust/Cargo.toml.template")),
            ("src/main.rs", template!("backend/rust/src/main.rs")),
            (".gitignore", "/target/\n"),
        ],
    };
    let ignored = match runtime {
        Runtime::Node | Runtime::Bun => Some((".gitignore", "node_modules/\n")),
        Runtime::Python => Some((".gitignore", "__pycache__/\n.venv/\n")),
        Runtime::Deno | Runtime::Go | Runtime::Rust => None,
    };
    files.iter().copied().chain(ignored).map(|(path, text)| (path, text.replace("NAME", name))).collect()
}

/// The files of the page that replace those of Tauri's template.
pub(super) fn page_files(template: Template) -> &'static [(&'static str, &'static str)] {
    match template {
        Template::React => &[("src/App.tsx", template!("page/App.tsx"))],
        Template::Svelte => &[("src/routes/+page.svelte", template!("page/page.svelte"))],
        Template::Vanilla => {
            &[("src/index.html", template!("page/index.html")), ("src/main.js", template!("page/main.js"))]
        }
    }
}
