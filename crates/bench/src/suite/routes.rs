//! The cost of a request from the real webview to the backend, by each route.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::{
    Effort,
    app::Stage,
    build::Workspace,
    collector::{Message, Plan},
    picture::Curve,
    report::{Samples, Table},
};

/// The routes by their names in apps/routes/page/page.js, with their titles.
const ROUTES: [(&str, &str); 5] = [
    ("direct", "direct fetch"),
    ("socket", "app, socket"),
    ("plugin", "plugin-http"),
    ("push", "into a channel"),
    ("whole", "URI scheme"),
];

const ROWS: [(&str, &str); 5] = [
    ("nothing", "an empty IPC call"),
    ("get", "GET of a few bytes, one at a time"),
    ("down", "64 MiB down"),
    ("up", "16 MiB up"),
    ("event", "first event of a stream"),
];

/// The time limit of the whole measurement. plugin-http takes seconds for each upload.
const TIME_LIMIT: Duration = Duration::from_secs(300);

/// Milliseconds for each request, one value a round, by kind of request and by route.
pub(crate) type Took = BTreeMap<String, BTreeMap<String, Vec<f64>>>;

/// Lets the page of `apps/routes` measure what `plan` says.
pub(crate) fn run(workspace: &Workspace, plan: Plan, time_limit: Duration) -> Result<Took> {
    let app = workspace.routes()?;
    let stage = Stage::set(Some(plan))?;
    let mut launch = stage.launch(&app, None)?;
    let deadline = Instant::now() + time_limit;
    let took = loop {
        if let Message::Routes { took } = stage.collector.next(&mut launch, deadline)? {
            break took;
        }
    };
    launch.end()?;
    Ok(took)
}

/// The measurements of a kind of request by a route.
pub(crate) fn samples(took: &Took, row: &str, route: &str) -> Samples {
    took.get(row).and_then(|by| by.get(route)).into_iter().flatten().copied().collect()
}

/// The measurements of the rows `kind-place` as curves, for each route (name and title) that has any.
pub(crate) fn curves(took: &Took, kind: &str, places: &[u64], routes: &[(&str, &'static str)]) -> Vec<Curve> {
    let curve = |&(route, name): &(&str, &'static str)| {
        #[expect(clippy::cast_precision_loss, reason = "at most 1 GB")]
        let point = |place: &u64| (*place as f64, samples(took, &format!("{kind}-{place}"), route));
        let mut points: Vec<_> = places.iter().map(point).collect();
        points.retain(|(_, samples)| samples.median().is_some());
        Curve { name, points }
    };
    routes.iter().map(curve).filter(|curve| !curve.points.is_empty()).collect()
}

pub(crate) fn measure(workspace: &Workspace, effort: Effort) -> Result<Table> {
    let (rounds, times) = effort.routes;
    let took = run(workspace, Plan::Routes { rounds, times }, TIME_LIMIT)?;
    let mut table = Table::new(ROUTES.map(|(_, title)| title));
    for (row, what) in ROWS {
        let by = took.get(row).with_context(|| format!("the page did not measure {row}"))?;
        let samples =
            ROUTES.map(|(route, _)| by.get(route).into_iter().flatten().copied().collect::<Samples>());
        table.row(what, "ms", samples);
    }
    table.note(format!(
        "{rounds} rounds in turn, in one page, each with {times} small requests, 10 streams and one of each large body. The \
         resolution of the webview's clock is a millisecond. All requests carry the token. \"Into a channel\" and \"URI scheme\" are \
         rejected designs: they open a connection for each request, and an answer of the scheme arrives only as a whole."
    ));
    Ok(table)
}
