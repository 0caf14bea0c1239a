//! Frameworks that need more than the usual lines of their language.

use std::fs;

use super::{Backend, Runtime};
use crate::project::Document;

/// A framework with a server of its own, which no SDK can take: its declaration says where it listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OwnServer {
    pub(crate) name: &'static str,
    /// The variable for its port.
    pub(crate) port: &'static str,
    /// How it listens there.
    pub(crate) lines: &'static str,
}

/// The file that starts a Django project as a sidecar.
pub(super) const DJANGO_ENTRY: &str = "main.py";

/// Each by its crate. An app on axum may use them for something else.
const RUST: [OwnServer; 3] = [
    OwnServer {
        name: "actix-web",
        port: "PORT",
        lines: "let port: u16 = std::env::var(\"PORT\")?.parse()?;\nHttpServer::new(…).bind((\"127.0.0.1\", port))?\n",
    },
    OwnServer { name: "rocket", port: "ROCKET_PORT", lines: "" },
    OwnServer {
        name: "warp",
        port: "PORT",
        lines: "let port: u16 = std::env::var(\"PORT\")?.parse()?;\nwarp::serve(routes).run(([127, 0, 0, 1], port)).await\n",
    },
];
/// Each by the words of its server: `aiohttp` is a client, too.
const PYTHON: [(&str, OwnServer); 3] = [
    ("aiohttp import web", AIOHTTP),
    ("aiohttp.web", AIOHTTP),
    (
        "tornado.web",
        OwnServer {
            name: "Tornado",
            port: "PORT",
            lines: "app.listen(int(os.environ[\"PORT\"]), \"127.0.0.1\")\n",
        },
    ),
];
const AIOHTTP: OwnServer = OwnServer {
    name: "aiohttp",
    port: "PORT",
    lines: "web.run_app(app, host=\"127.0.0.1\", port=int(os.environ[\"PORT\"]))\n",
};

impl Backend {
    /// The framework of a server that no SDK can take, unless the server follows the protocol by itself.
    pub(crate) fn own_server(&self) -> Option<OwnServer> {
        if self.is_sidecar() {
            return None;
        }
        match self.runtime {
            Runtime::Rust => {
                let manifest = Document::read_if_exists(&self.folder.join("Cargo.toml")).ok().flatten()?;
                let has = |name: &str| manifest.get(&["dependencies", name]).is_some();
                let known = !has("axum") && !has("pillion-server");
                RUST.into_iter().find(|framework| known && has(framework.name))
            }
            Runtime::Python => {
                let code = self.code();
                PYTHON.into_iter().find(|(words, _)| code.contains(words)).map(|(_, framework)| framework)
            }
            Runtime::Node | Runtime::Bun | Runtime::Deno | Runtime::Go => None,
        }
    }

    /// The text of the file that starts a Django project, which has `manage.py` and no such file.
    pub(crate) fn django(&self) -> Option<String> {
        let starts = self.entry.as_deref().is_none_or(|entry| entry == DJANGO_ENTRY);
        let missing = !self.folder.join(DJANGO_ENTRY).exists();
        if self.runtime != Runtime::Python || !starts || !missing || !self.folder.join("manage.py").is_file()
        {
            return None;
        }
        let entries = fs::read_dir(&self.folder).ok()?.flatten();
        let mut names: Vec<_> = entries
            .filter(|entry| {
                entry.path().join("wsgi.py").is_file() && entry.path().join("settings.py").is_file()
            })
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort();
        let name = names.first()?;
        Some(format!(
            "\"\"\"Starts the project as a sidecar of the app.\"\"\"\n\nimport pillion\nfrom {name}.wsgi import application\n\n\
             if __name__ == \"__main__\":\n    pillion.serve(application)\n"
        ))
    }
}
