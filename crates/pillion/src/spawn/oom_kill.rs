//! Whether the kernel's out-of-memory killer ended a process of a run.

use std::{fs, path::PathBuf};

/// The file of version 1 of control groups.
const EVENTS_1: &str = "memory.oom_control";

/// The count of out-of-memory kills in the control group of a process, shortly before its start.
#[derive(Debug)]
pub(crate) struct OomKills {
    /// `memory.events` (<https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-interface-files>) or [`EVENTS_1`]. Both have
    /// a line `oom_kill NUMBER`, as `/proc/vmstat` has for the whole system.
    events: PathBuf,
    kills: u64,
}

impl OomKills {
    /// The control group of this process, which a process that it starts inherits (cgroups(7)). `None` if the system does not tell, as on any
    /// system but Linux. To ask after a start would delay the new process, which needs the same locks of the kernel.
    pub(crate) fn here() -> Option<Self> {
        let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
        let folders = groups.lines().filter_map(folder);
        let found = folders.filter_map(|(folder, version_1)| {
            let events = folder.join(if version_1 { EVENTS_1 } else { "memory.events" });
            Some(Self { kills: kills(&events)?, events })
        });
        // The root group has no such file.
        found.into_iter().next().or_else(|| {
            let events = PathBuf::from("/proc/vmstat");
            Some(Self { kills: kills(&events)?, events })
        })
    }

    /// A sentence about a process that SIGKILL ended, if the kernel has killed for lack of memory since the start.
    pub(crate) fn explain(&self) -> Option<String> {
        if kills(&self.events)? <= self.kills {
            return None;
        }
        let name = if self.events.ends_with(EVENTS_1) { "memory.limit_in_bytes" } else { "memory.max" };
        // The whole system has no such file.
        let limit = fs::read_to_string(self.events.with_file_name(name)).ok();
        let limit = limit.and_then(|limit| limit.trim().parse::<u64>().ok());
        // Version 1 writes a number near 2^63 for "no limit".
        let limit = limit.filter(|bytes| *bytes < 1 << 60).map(|bytes| {
            format!(" (the memory limit of its control group is {} MiB)", bytes / (1024 * 1024))
        });
        Some(format!("the kernel killed it because memory ran out{}", limit.unwrap_or_default()))
    }
}

/// The folder of the memory controller that a line of `/proc/PID/cgroup` names (cgroups(7)), and whether it is of version 1.
fn folder(line: &str) -> Option<(PathBuf, bool)> {
    let mut fields = line.splitn(3, ':');
    let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    let (root, version_1) = match controllers {
        "" => ("/sys/fs/cgroup", false),
        _ if controllers.split(',').any(|controller| controller == "memory") => {
            ("/sys/fs/cgroup/memory", true)
        }
        _ => return None,
    };
    Some((PathBuf::from(format!("{root}{path}")), version_1))
}

fn kills(events: &PathBuf) -> Option<u64> {
    let text = fs::read_to_string(events).ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_the_memory_controller_is_found() {
        let folder = |line| folder(line).map(|(folder, version_1)| (folder.display().to_string(), version_1));
        assert_eq!(folder("0::/app.slice"), Some(("/sys/fs/cgroup/app.slice".to_owned(), false)));
        let memory = Some(("/sys/fs/cgroup/memory/a:b".to_owned(), true));
        assert_eq!(folder("9:memory:/a:b"), memory);
        assert_eq!(folder("9:cpu,memory:/a:b"), memory);
        assert_eq!(folder("8:cpu:/a"), None);
        assert_eq!(folder("nonsense"), None);
    }

    #[test]
    fn a_kill_since_the_start_is_explained_with_the_limit_of_now() {
        for (events, limit, value, expected) in [
            ("memory.events", "memory.max", "157286400\n", Some("150 MiB")),
            ("memory.events", "memory.max", "max\n", None),
            ("memory.oom_control", "memory.limit_in_bytes", "157286400\n", Some("150 MiB")),
            ("memory.oom_control", "memory.limit_in_bytes", "9223372036854771712\n", None),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let events = dir.path().join(events);
            let write = |kills: u32| fs::write(&events, format!("low 0\noom 1\noom_kill {kills}\n")).unwrap();
            write(3);
            let known = OomKills { kills: kills(&events).unwrap(), events: events.clone() };
            assert_eq!(known.explain(), None);
            write(4);
            fs::write(dir.path().join(limit), value).unwrap();
            let explained = known.explain().unwrap();
            assert!(explained.contains("memory ran out"), "{explained}");
            assert_eq!(explained.contains("limit"), expected.is_some(), "{explained}");
            assert!(expected.is_none_or(|limit| explained.contains(limit)), "{explained}");
        }
    }
}
