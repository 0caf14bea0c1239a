//! What a request to the backend costs inside the real webview, by the routes that a page has.

use std::time::Instant;

use anyhow::Result;

use super::{
    Effort,
    app::Stage,
    build::Workspace,
    child::PATIENCE,
    collector::{Message, Plan},
    report::Table,
};

pub(crate) fn measure(workspace: &Workspace, effort: Effort) -> Result<Table> {
    let apps = workspace.apps()?;
    let (rounds, times) = effort.routes;
    let stage = Stage::set(Some(Plan { rounds, times }))?;
    let launch = stage.launch(&apps.aios)?;
    stage.collector.marks(["connected"])?;
    let deadline = Instant::now() + PATIENCE;
    let (direct, plugin) = loop {
        if let Message::Routes { direct, plugin } = stage.collector.next(deadline)? {
            break (direct, plugin);
        }
    };
    launch.end()?;
    let mut table = Table::new(["direct fetch", "plugin-http"]);
    table.row(
        "GET /health, one at a time",
        "ms",
        [direct.into_iter().collect(), plugin.into_iter().collect()],
    );
    table.note(format!(
        "{rounds} rounds of {times} requests each, by turns; the webview's clock ticks in milliseconds. Direct is the client's \
         own way, with the token; plugin-http has none, and is told no more than that the backend is alive."
    ));
    Ok(table)
}
