//! Event streams that a page has open at the same time: the time by their number.

use std::time::Duration;

use anyhow::Result;

use super::super::{
    Effort,
    build::Workspace,
    collector::Plan,
    picture::{Axis, Picture},
    report::Table,
    routes::{self, curves, samples},
};

/// The routes by their names in apps/routes/page/page.js, with their titles.
const ROUTES: [(&str, &str); 1] = [("socket", "through the app, a socket")];
const TIME_LIMIT: Duration = Duration::from_secs(300);

pub(crate) fn measure(workspace: &Workspace, effort: Effort) -> Result<Table> {
    let plan = Plan::Streams { rounds: effort.rounds, streams: effort.streams };
    let took = routes::run(workspace, plan, TIME_LIMIT)?;
    let mut table = Table::new(ROUTES.map(|(_, title)| title));
    for count in effort.streams {
        let streams = if *count == 1 { "1 stream".to_owned() } else { format!("{count} streams") };
        for (kind, what) in [
            ("open", "until all have their first event"),
            ("event", "until an event has reached all"),
            ("get", "a small GET meanwhile"),
        ] {
            let row = ROUTES.map(|(route, _)| samples(&took, &format!("{kind}-{count}"), route));
            table.row(format!("{streams}: {what}"), "ms", row);
        }
    }
    table.note(
        "All are opened at once. An event is one request of the page to the sidecar, which then writes to each stream; the average of 10. A small \
         GET: the average of 50. A webview opens six connections to a port; through the app there is no such limit.",
    );
    for (kind, file, title, y) in [
        ("open", "streams-open", "Opening event streams at once", "until all have their first event, ms"),
        ("event", "streams-event", "An event to all open event streams", "until all have it, ms"),
    ] {
        table.picture(Picture {
            file,
            title,
            x: Axis { title: "open event streams" },
            y: Axis { title: y },
            curves: curves(&took, kind, effort.streams, &ROUTES),
        });
    }
    Ok(table)
}
