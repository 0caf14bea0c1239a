//! The machine and the versions of a measurement.

use std::{fs, process::Command, thread};

use super::{FULL, QUICK, build::Workspace};

/// The lines at the top of the report.
pub(crate) fn describe(workspace: &Workspace, quick: bool) -> Vec<String> {
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let load: Vec<&str> = load.split_whitespace().take(3).collect();
    let effort = if quick { QUICK } else { FULL };
    vec![
        format!(
            "{}, {}{}",
            ask("date", &["-u", "+%F %R UTC"]),
            revision(workspace),
            if quick { ", --quick" } else { "" }
        ),
        format!("{cores} cores of {}, Linux {kernel}, load average {} at the start", cpu(), load.join(" ")),
        format!(
            "{}; Node {}; WebKitGTK {}; release builds",
            ask("rustc", &["--version"]),
            ask("node", &["--version"]),
            ask("pkg-config", &["--modversion", "webkit2gtk-4.1"])
        ),
        format!(
            "Trials: {} starts of a backend, {} rounds of load and output, {} starts of an app; subjects alternate.",
            effort.starts, effort.rounds, effort.launches
        ),
    ]
}

fn read(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

fn cpu() -> String {
    let text = read("/proc/cpuinfo");
    let named = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    named.map_or_else(|| "an unnamed CPU".to_owned(), |(_, name)| name.to_owned())
}

fn revision(workspace: &Workspace) -> String {
    let root = workspace.root.display().to_string();
    let revision = ask("git", &["-C", &root, "describe", "--always", "--dirty", "--abbrev=10"]);
    format!("pillion {} ({revision})", env!("CARGO_PKG_VERSION"))
}

/// The output of a program, or `none` if it is not installed or prints nothing.
fn ask(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text =
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    if text.is_empty() { "none".to_owned() } else { text }
}
