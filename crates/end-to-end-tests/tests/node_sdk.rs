//! The SDK for Node as its users get it: packed, installed into an empty project, type-checked and supervised; and the Express
//! example with AIOS. `cargo xtask test` builds both and provides the app.

#![cfg(target_os = "linux")]

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use end_to_end_tests::webview::{ShownState, launch_aios_with_node_backend};
use integration_tests::{ProcessTree, helper_program};
use pillion::{StopOutcome, Supervisor};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    process::Command,
};

fn root() -> Result<PathBuf> {
    Ok(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?)
}

fn express() -> Result<PathBuf> {
    let file = root()?.join("examples/express-backend/dist/index.js");
    ensure!(file.exists(), "{} is not built: use `cargo xtask test`", file.display());
    Ok(file)
}

/// Runs a program to its end. Fails with its output if it fails.
async fn run(program: &str, arguments: &[&str], folder: &Path) -> Result<()> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .output()
        .await
        .with_context(|| format!("cannot run {program}"))?;
    let said = [output.stdout, output.stderr].concat();
    ensure!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&said));
    Ok(())
}

const USER_FILE: &str = r#"
import { createServer, type Server } from "node:http";
import { attach, type FetchHandler, type Options, serve, type Serving, stopping } from "pillion";

const handler: FetchHandler = async (request, { incoming }) =>
  new Response(`${request.method} ${incoming.url} ${stopping.aborted}\n`);
const options: Options = { app: "Empty", version: "9.9.9", graceMs: 1000, onStop: () => {} };
const other: (server: Server) => Promise<Serving> = (server) => attach(server);
if (process.argv.includes("--attach")) await other(createServer());
else await serve({ fetch: handler }, options);
"#;

#[tokio::test]
#[ignore = "needs Node and the built SDK: cargo xtask test"]
async fn the_packed_sdk_installs_into_an_empty_project_and_becomes_ready() -> Result<()> {
    let (root, folder) = (root()?, tempfile::tempdir()?);
    let folder = folder.path();
    let text = |path: PathBuf| path.into_os_string().into_string().ok().context("the path is not UTF-8");
    let destination = text(folder.to_owned())?;
    run("npm", &["pack", "--workspace", "sdk/node", "--pack-destination", &destination], &root).await?;
    fs::write(folder.join("package.json"), r#"{ "name": "user", "private": true, "type": "module" }"#)?;
    let package = format!("./pillion-{}.tgz", env!("CARGO_PKG_VERSION"));
    // Offline: the package has no dependencies.
    run("npm", &["install", "--offline", "--no-audit", "--no-fund", &package], folder).await?;
    for file in ["dist/index.js", "dist/index.d.ts", "README.md", "LICENSE-MIT", "LICENSE-APACHE"] {
        ensure!(folder.join("node_modules/pillion").join(file).exists(), "the package lacks {file}");
    }
    let installed = fs::read_dir(folder.join("node_modules"))?.filter_map(Result::ok);
    let packages = installed.filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'));
    assert_eq!(packages.count(), 1, "the package brings no other");

    fs::write(folder.join("main.ts"), USER_FILE)?;
    let (compiler, types) = (root.join("node_modules/.bin/tsc"), root.join("node_modules/@types"));
    let (compiler, types) = (text(compiler)?, text(types)?);
    let strict =
        ["--strict", "--module", "nodenext", "--target", "es2022", "--types", "node", "--typeRoots", &types];
    run(&compiler, &[&strict[..], &["--exactOptionalPropertyTypes", "main.ts"]].concat(), folder).await?;

    let tree = ProcessTree::new(helper_program("fake-sidecar")?);
    let program = tree.program("node").arg(folder.join("main.js"));
    let (supervisor, _events) = Supervisor::start(tree.spec(program.private(true)));
    // It is ready: it has proved that it holds the token.
    assert_eq!(supervisor.ready().await?.version.as_deref(), Some("9.9.9"));
    let outcome = supervisor.stop().await;
    ensure!(matches!(outcome, StopOutcome::Graceful(exit) if exit.is_success()), "{outcome:?}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs Node and the built example: cargo xtask test"]
async fn express_answers_only_the_app() -> Result<()> {
    let tree = ProcessTree::new(helper_program("fake-sidecar")?);
    let (supervisor, _events) =
        Supervisor::start(tree.spec(tree.program("node").arg(express()?).private(true)));
    let port = supervisor.ready().await?.port.context("it listens on a port")?;
    let token = supervisor.access().await?.token.context("it is private")?;
    let bearer = format!("authorization: Bearer {}\r\n", token.reveal());
    let json = "content-type: application/json\r\ncontent-length: 7\r\n";
    for (request, headers, body, status) in [
        ("GET /", bearer.clone(), "", 200),
        ("POST /notes", format!("{bearer}{json}"), r#"{"a":1}"#, 201),
        ("POST /notes", json.to_owned(), r#"{"a":1}"#, 401),
        ("GET /missing", bearer.clone(), "", 404),
        ("GET /missing", String::new(), "", 401),
        ("GET /", format!("{bearer}origin: https://example.org\r\n"), "", 403),
    ] {
        let mut stream = TcpStream::connect(("127.0.0.1", port.get())).await?;
        let head =
            format!("{request} HTTP/1.1\r\nhost: localhost:{port}\r\n{headers}connection: close\r\n\r\n");
        stream.write_all(format!("{head}{body}").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        ensure!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{head}{answer}");
        ensure!(status != 201 || answer.ends_with(body), "{answer}");
    }
    let outcome = supervisor.stop().await;
    ensure!(matches!(outcome, StopOutcome::Graceful(exit) if exit.is_success()), "{outcome:?}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs Node, the built app and a display: cargo xtask test"]
async fn express_runs_with_aios_and_ends_with_it() -> Result<()> {
    let (_folder, app) = launch_aios_with_node_backend(&express()?).await?;
    app.page().wait_for_state(ShownState::Connected).await?;
    assert!(app.processes()?.iter().any(|process| process.runs("node")));
    let left = app.close().await?;
    assert!(left.is_empty(), "these outlive the app: {left:?}");
    Ok(())
}
