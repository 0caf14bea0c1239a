//! Requests from the webview: the time by the size of a body.

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
const ROUTES: [(&str, &str); 3] =
    [("direct", "direct fetch, a port"), ("socket", "through the app, a socket"), ("plugin", "plugin-http")];
/// 1 GB takes plugin-http half a minute on a slow machine.
const TIME_LIMIT: Duration = Duration::from_secs(900);

pub(crate) fn measure(workspace: &Workspace, effort: Effort) -> Result<Table> {
    let [downloads, uploads] = effort.requests;
    let plan = Plan::Curves { rounds: effort.rounds, downloads, uploads };
    let took = routes::run(workspace, plan, TIME_LIMIT)?;
    let mut table = Table::new(ROUTES.map(|(_, title)| title));
    for (kind, what, places) in [("down", "bytes down", downloads), ("up", "bytes up", uploads)] {
        for place in places {
            let row = ROUTES.map(|(route, _)| samples(&took, &format!("{kind}-{place}"), route));
            table.row(format!("{place} {what}"), "ms", row);
        }
    }
    table.note(
        "Bodies below 1 MB: the average of 20 requests, because the resolution of the webview's clock is a millisecond. A download is read in \
         pieces, which the page drops.",
    );
    let picture = |kind, file, title, x, y, places: &[u64]| Picture {
        file,
        title,
        x: Axis { title: x },
        y: Axis { title: y },
        curves: curves(&took, kind, places, &ROUTES),
    };
    let bytes = "size of the body, bytes";
    table.picture(picture(
        "down",
        "download",
        "A download by the page",
        bytes,
        "until it is read, ms",
        downloads,
    ));
    table.picture(picture("up", "upload", "An upload by the page", bytes, "until the answer, ms", uploads));
    Ok(table)
}
