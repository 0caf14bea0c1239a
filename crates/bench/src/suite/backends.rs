//! The Rust backend, and the one that a developer would write in TypeScript.

use std::{fs, process::Command, time::Duration};

use anyhow::Result;

use super::{
    Effort,
    build::{Hono, Workspace},
    child::Backend,
    load::requests_per_second,
    report::{Samples, Table},
};

/// Concurrent connections, the same for all backends.
const CONNECTIONS: usize = 64;

/// The measurements of one backend.
#[derive(Debug, Default)]
struct BackendSamples {
    announced: Samples,
    healthy: Samples,
    stopped: Samples,
    rss: Samples,
    pss: Samples,
    loaded: Samples,
    rate: Samples,
}

pub(crate) fn measure(workspace: &Workspace, effort: Effort) -> Result<Table> {
    let ours = workspace.programs()?.backend;
    let hono = workspace.hono()?;
    let commands: [&dyn Fn() -> Command; 2] = [&|| hono.command(), &|| Command::new(&ours)];
    let mut measured = [BackendSamples::default(), BackendSamples::default()];
    for _ in 0..effort.starts {
        for (command, measured) in commands.iter().zip(&mut measured) {
            start_and_stop(command(), measured)?;
        }
    }
    for _ in 0..effort.rounds {
        for (command, measured) in commands.iter().zip(&mut measured) {
            load(command(), measured, Duration::from_secs(effort.load))?;
        }
    }
    table(measured, &hono, fs::metadata(&ours)?.len())
}

fn start_and_stop(command: Command, measured: &mut BackendSamples) -> Result<()> {
    let backend = Backend::start(command)?;
    measured.announced.push(millis(backend.announced));
    measured.healthy.push(millis(backend.until_healthy()?));
    measured.stopped.push(millis(backend.stop()?));
    Ok(())
}

fn load(command: Command, measured: &mut BackendSamples, span: Duration) -> Result<()> {
    let backend = Backend::start(command)?;
    backend.until_healthy()?;
    requests_per_second(backend.port, 1, Duration::from_millis(500))?;
    let warm = backend.memory()?;
    measured.rss.push(mib(warm.rss));
    measured.pss.push(mib(warm.pss));
    measured.rate.push(requests_per_second(backend.port, CONNECTIONS, span)?);
    measured.loaded.push(mib(backend.memory()?.rss));
    backend.stop()?;
    Ok(())
}

fn table([hono, ours]: [BackendSamples; 2], sizes: &Hono, our_size: u64) -> Result<Table> {
    let mut table = Table::new(["Hono, Node", "Rust"]);
    let size = |bytes: u64| [mib(bytes)].into_iter().collect::<Samples>();
    table.row("spawn to announced", "ms", [hono.announced, ours.announced]);
    table.row("spawn to healthy", "ms", [hono.healthy, ours.healthy]);
    table.row("SIGTERM to exit", "ms", [hono.stopped, ours.stopped]);
    table.row("RSS after warm-up", "MiB", [hono.rss, ours.rss]);
    table.row("PSS after warm-up", "MiB", [hono.pss, ours.pss]);
    table.row("RSS after the load", "MiB", [hono.loaded, ours.loaded]);
    table.row("size on disk", "MiB", [size(sizes.size()?), size(our_size)]);
    table.row("GET /health, 64 connections", "requests/s", [hono.rate, ours.rate]);
    table.note(
        "Size: the node binary with dist/ and its two packages, and the Rust binary alone. \
         The benchmark itself generates the load, on one thread of the same machine.",
    );
    Ok(table)
}

pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[expect(clippy::cast_precision_loss, reason = "exact below 2^53 bytes")]
pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}
