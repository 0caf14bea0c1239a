//! The lines that make a server a sidecar.

use std::{fs, path::PathBuf};

use serde_json::Value;

use super::{Backend, Runtime};
use crate::project::Document;

/// What a file has that Node takes for a module or for CommonJS, which cannot wait at its top level.
struct Form {
    imports: fn(&str, &str) -> String,
    before_call: &'static str,
}

impl Backend {
    /// The file that starts the server, or its usual name.
    pub(crate) fn main_file(&self) -> PathBuf {
        self.folder.join(self.entry.as_deref().unwrap_or(match self.runtime {
            Runtime::Node | Runtime::Bun => "src/index.ts",
            Runtime::Deno => "main.ts",
            Runtime::Python => "main.py",
            Runtime::Go => "main.go",
            Runtime::Rust => "src/main.rs",
        }))
    }

    /// The code of that file; nothing without one.
    pub(super) fn code(&self) -> String {
        fs::read_to_string(self.main_file()).unwrap_or_default()
    }

    /// Whether that file already mentions Pillion or the announcement.
    pub(super) fn is_sidecar(&self) -> bool {
        let code = self.code();
        let serves = || {
            code.match_indices("Serve(").any(|(at, _)| {
                // Not `ListenAndServe(` and `http.Serve(`.
                !code[..at]
                    .ends_with(|before: char| before.is_alphanumeric() || before == '.' || before == '_')
            })
        };
        code.contains("pillion") || code.contains("BACKEND_PORT") || (self.runtime == Runtime::Go && serves())
    }

    /// The lines that make the server a sidecar, unless it is one already.
    pub(crate) fn lines(&self) -> Option<(PathBuf, String)> {
        if self.is_sidecar() || self.own_server().is_some() || self.django().is_some() {
            return None;
        }
        let lines = match self.runtime {
            Runtime::Node | Runtime::Bun => self.node_lines(),
            Runtime::Deno => "import { serve } from \"pillion\";\n\
                 await serve(handler);                // instead of Deno.serve(handler), or the default export of `deno serve`; app.fetch of Hono\n"
                .to_owned(),
            Runtime::Python => "import pillion\n\nif __name__ == \"__main__\":\n    \
                 pillion.serve(app)               # FastAPI, Flask, Django …: instead of uvicorn.run or app.run\n"
                .to_owned(),
            Runtime::Go => {
                "Serve(\"backend\", handler)          // instead of http.ListenAndServe; pillion.go has it\n".to_owned()
            }
            Runtime::Rust => {
                "pillion_server::serve(\"backend\", router).await   // a router of axum; instead of axum::serve\n".to_owned()
            }
        };
        Some((self.main_file(), lines))
    }

    fn node_lines(&self) -> String {
        let Form { imports, before_call } = self.form();
        let import = imports;
        let call =
            |call: &str, comment: &str| format!("{:<36} // {comment}\n", format!("{before_call}{call}"));
        let server = "createServer";
        let attach = || import("attach", "pillion") + &import(server, "node:http");
        if self.depends_on("@nestjs/core") {
            return import("attach", "pillion")
                + &call("app.init();", "instead of app.listen; without enableCors and enableShutdownHooks")
                + &format!("{before_call}attach(app.getHttpServer(), {{ onStop: () => app.close() }});\n");
        }
        if self.depends_on("fastify") {
            return import("attach", "pillion")
                + &call("app.ready();", "instead of app.listen; without @fastify/cors")
                + &format!("{before_call}attach(app.server, {{ onStop: () => app.close() }});\n");
        }
        if self.depends_on("koa") {
            let attached =
                call("attach(createServer(app.callback()));", "instead of app.listen; without @koa/cors");
            return attach() + &attached;
        }
        if self.depends_on("h3") {
            return import("attach, serve", "pillion")
                + &import(server, "node:http")
                + &call("serve(app.fetch);", "h3 2: instead of listening")
                + &call("attach(createServer(toNodeListener(app)));", "h3 1");
        }
        if self.depends_on("hono") {
            return import("serve", "pillion")
                + &call("serve(app.fetch);", "instead of the serve of @hono/node-server; without hono/cors");
        }
        if self.depends_on("express") {
            return attach() + &call("attach(createServer(app));", "instead of app.listen; without cors");
        }
        import("attach, serve", "pillion")
            + &import(server, "node:http")
            + &call("serve(app.fetch);", "instead of listening: Hono and other fetch-style servers")
            + &call("attach(createServer(app));", "or: Express, node:http; without a middleware for CORS")
    }

    fn form(&self) -> Form {
        let import = |names: &str, package: &str| format!("import {{ {names} }} from {package:?};\n");
        let require = |names: &str, package: &str| {
            let comment = if package == "pillion" { "  // Node 20.19, 22.12 or later" } else { "" };
            format!("const {{ {names} }} = require({package:?});{comment}\n")
        };
        let file = self.main_file();
        if self.runtime == Runtime::Node && self.is_common_js() {
            if file.extension().is_some_and(|ending| ending == "js") {
                return Form { imports: require, before_call: "" };
            }
            return Form { imports: import, before_call: "void " };
        }
        Form { imports: import, before_call: "await " }
    }

    /// Whether Node takes the main file for a CommonJS module, which cannot wait at its top level
    /// (<https://nodejs.org/api/packages.html#determining-module-system>).
    fn is_common_js(&self) -> bool {
        let module = |entry: &str| entry.ends_with(".mjs") || entry.ends_with(".mts");
        if self.entry.as_deref().is_some_and(module) {
            return false;
        }
        let package = Document::read_if_exists(&self.folder.join("package.json")).ok().flatten();
        package.is_some_and(|package| package.get(&["type"]).and_then(Value::as_str) != Some("module"))
    }
}
