//! The CPU time of reading a sidecar's output, by the number of lines that the sidecar writes each second.

use anyhow::Result;
use clap::ValueEnum as _;

use super::super::{
    Effort,
    build::Workspace,
    flood::{Reader, drain_lines},
    picture::{Axis, Curve, Picture},
    report::{Samples, Table},
};

/// From a talkative server to more than a disk is likely to keep.
const RATES: [u32; 6] = [100, 1_000, 10_000, 30_000, 100_000, 300_000];
/// The readers in the order of [`Reader`].
const NAMES: [&str; 4] =
    ["bare read loop", "Supervisor, no subscriber", "Supervisor, one subscriber", "Supervisor, log files"];

pub(crate) fn measure(_: &Workspace, effort: Effort) -> Result<Table> {
    let (seconds, rounds) = effort.lines;
    let mut table = Table::new(NAMES);
    let mut curves = NAMES.map(|name| Curve { name, points: Vec::new() });
    for rate in RATES {
        let mut used = [const { Samples::new() }; NAMES.len()];
        for _ in 0..rounds {
            for (reader, used) in Reader::value_variants().iter().zip(&mut used) {
                let drained = drain_lines(*reader, u64::from(rate) * seconds, rate)?;
                #[expect(clippy::cast_precision_loss, reason = "a few seconds")]
                used.push(drained.cpu_seconds * 1e3 / seconds as f64);
            }
        }
        for (curve, used) in curves.iter_mut().zip(&used) {
            curve.points.push((rate.into(), used.clone()));
        }
        table.row(format!("{rate} lines per second: CPU time for each second"), "ms", used);
    }
    table.note(format!(
        "Lines of 100 bytes, each written alone, for {seconds} s. The CPU time is that of all threads of the reading process, and includes \
         the start of the producer. The faster the lines come, the more of them one read takes."
    ));
    table.picture(Picture {
        file: "lines",
        title: "CPU time to read the lines of a sidecar",
        x: Axis { title: "lines of 100 bytes per second" },
        y: Axis { title: "CPU time, ms per second" },
        curves: curves.into(),
    });
    Ok(table)
}
