//! An app with several windows whose pages ask the sidecar, and the same windows with pages that do not.

use anyhow::Result;

use super::super::{
    Effort,
    app::Stage,
    backends::mib,
    build::Workspace,
    collector::Plan,
    picture::{Axis, Curve, Picture},
    report::{Samples, Table},
};

const NAMES: [&str; 2] = ["pages that do not ask", "pages that ask the sidecar"];

/// The start of an app with a number of windows.
#[derive(Debug, Default, Clone)]
struct Windows {
    started: Samples,
    pss: Samples,
}

pub(crate) fn measure(workspace: &Workspace, effort: Effort) -> Result<Table> {
    let app = workspace.routes()?;
    let mut table = Table::new(NAMES);
    let mut measured = Vec::new();
    for count in effort.windows {
        let mut pair = [Windows::default(), Windows::default()];
        for _ in 0..effort.rounds {
            for (asks, windows) in [false, true].into_iter().zip(&mut pair) {
                let stage = Stage::set(Some(Plan::Windows { asks }))?;
                let mut launch = stage.launch(&app, Some(&count.to_string()))?;
                let mut last = launch.spawned_at;
                for _ in 0..*count {
                    last = stage.collector.steps(&mut launch)?.into_values().fold(last, f64::max);
                }
                windows.started.push(last - launch.spawned_at);
                windows.pss.push(mib(launch.pss()?));
                launch.end()?;
            }
        }
        let row = |value: fn(&Windows) -> &Samples| pair.each_ref().map(|windows| value(windows).clone());
        table.row(format!("{count} windows: spawn to the last page"), "ms", row(|it| &it.started));
        table.row(format!("{count} windows: PSS of all processes"), "MiB", row(|it| &it.pss));
        measured.push((*count, pair));
    }
    table.note("Until the last page has its first answer, or could ask. All pages are the same, and the app starts the sidecars in both cases.");
    for (file, title, y, value) in [
        (
            "windows-start",
            "Start of an app with several windows",
            "until the last page, ms",
            (|it| &it.started) as fn(&Windows) -> &Samples,
        ),
        ("windows-memory", "Memory of an app with several windows", "PSS of all processes, MiB", |it| {
            &it.pss
        }),
    ] {
        let curve = |(index, name)| {
            #[expect(clippy::cast_precision_loss, reason = "a few windows")]
            let points = measured.iter().map(|(count, pair)| (*count as f64, value(&pair[index]).clone()));
            Curve { name, points: points.collect() }
        };
        let curves = NAMES.into_iter().enumerate().map(curve).collect();
        table.picture(Picture { file, title, x: Axis { title: "windows" }, y: Axis { title: y }, curves });
    }
    Ok(table)
}
