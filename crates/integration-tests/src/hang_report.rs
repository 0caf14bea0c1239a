//! What the processes of the tests do at this moment, for the message of a test that hangs.

use std::{fmt::Write as _, fs, path::Path};

use crate::TestMarker;

/// The processes with a test's marker, also those of tests that run at the same time: for each its command, its parent, and the
/// state of each thread, with the function of the kernel in which it waits (`proc_pid_status(5)`, `proc_pid_wchan(5)`).
/// What cannot be read is left out.
pub(crate) fn marked_processes() -> String {
    let mut report = String::new();
    let variable = format!("{}=", TestMarker::VARIABLE);
    for process in folders("/proc") {
        let environment = fs::read(format!("{process}/environ")).unwrap_or_default();
        if environment.split(|byte| *byte == 0).any(|entry| entry.starts_with(variable.as_bytes())) {
            let pid = process.trim_start_matches("/proc/");
            let command = text(&format!("{process}/cmdline")).replace('\0', " ");
            let parent = field(&process, "PPid:");
            let _ = writeln!(report, "{pid} (parent {parent}): {command:.200}");
            for thread in folders(&format!("{process}/task")) {
                let name = field(&thread, "Name:");
                let (state, waits_in) = (field(&thread, "State:"), text(&format!("{thread}/wchan")));
                let _ = writeln!(report, "    {name}: {state}, {waits_in}");
            }
        }
    }
    report
}

/// The folders in `parent` whose name is a number.
fn folders(parent: &str) -> Vec<String> {
    let entries = fs::read_dir(Path::new(parent)).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        .map(|name| format!("{parent}/{name}"))
        .collect()
}

/// The value in a line of `status` that begins with `key`.
fn field(process: &str, key: &str) -> String {
    let status = text(&format!("{process}/status"));
    status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default().trim().to_owned()
}

fn text(path: &str) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).trim_end().to_owned()
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the test waits for its child")]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_marked_process_is_described_with_its_threads() {
        let marker = TestMarker::new().unwrap();
        let mut child = Command::new("cat")
            .env(TestMarker::VARIABLE, marker.value())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let report = marked_processes();
        let begin = format!("{} (parent {}): cat", child.id(), std::process::id());
        assert!(report.lines().any(|line| line.starts_with(&begin)), "{report}");
        assert!(report.contains("    cat: "), "{report}");
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}
