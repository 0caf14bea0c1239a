//! What a request to the backend costs inside the real webview, by the routes that a page has.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::{
    Effort,
    app::Stage,
    build::Workspace,
    collector::{Message, Plan},
    report::{Samples, Table},
};

/// By their names in apps/routes/page/page.js.
const ROUTES: [(&str, &str); 5] = [
    ("direct", "direct fetch"),
    ("socket", "app, socket"),
    ("plugin", "plugin-http"),
    ("push", "into a channel"),
    ("whole", "URI scheme"),
];

const ROWS: [(&str, &str); 5] = [
    ("nothing", "an IPC call that does nothing"),
    ("get", "GET of a few bytes, one at a time"),
    ("down", "64 MiB down"),
    ("up", "16 MiB up"),
    ("event", "first event of a stream"),
];

/// plugin-http takes seconds for each upload.
const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) fn measure(workspace: &Workspace, effort: Effort) -> Result<Table> {
    let app = workspace.routes()?;
    let (rounds, times) = effort.routes;
    let stage = Stage::set(Some(Plan { rounds, times }))?;
    let launch = stage.launch(&app)?;
    let deadline = Instant::now() + PATIENCE;
    let took = loop {
        if let Message::Routes { took } = stage.collector.next(deadline)? {
            break took;
        }
    };
    launch.end()?;
    let mut table = Table::new(ROUTES.map(|(_, title)| title));
    for (row, what) in ROWS {
        let by = took.get(row).with_context(|| format!("the page did not measure {row}"))?;
        let samples =
            ROUTES.map(|(route, _)| by.get(route).into_iter().flatten().copied().collect::<Samples>());
        table.row(what, "ms", samples);
    }
    table.note(format!(
        "{rounds} rounds, by turns, in one page; {times} small requests in each, 10 streams, and one of each large body. The \
         webview's clock ticks in milliseconds. All carry the token. Into a channel and URI scheme are ways that the plugin does not \
         go: they open a connection for each request, and the scheme's answers have no beginning before their end."
    ));
    Ok(table)
}
