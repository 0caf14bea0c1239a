//! Whether the kernel's out-of-memory killer ended a process of a run.

use std::{fs, path::PathBuf};

/// The count of out-of-memory kills in the control group of a process, at the time of its start.
#[derive(Debug)]
pub(crate) struct OomKills {
    /// `memory.events` (<https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-interface-files>) or `memory.oom_control` of
    /// version 1. Both have a line `oom_kill NUMBER`, as `/proc/vmstat` has for the whole system.
    events: PathBuf,
    limit: Option<u64>,
    kills: u64,
}

impl OomKills {
    /// The control group of this process. `None` if the system does not tell, as on any system but Linux.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let limit = |file: PathBuf| fs::read_to_string(file).ok()?.trim().parse().ok();
        let folders = groups.lines().filter_map(folder);
        let found = folders.filter_map(|(folder, version_1)| {
            let events = folder.join(if version_1 { "memory.oom_control" } else { "memory.events" });
            let limit = limit(folder.join(if version_1 { "memory.limit_in_bytes" } else { "memory.max" }));
            Some(Self { kills: kills(&events)?, events, limit })
        });
        // The root group has no such file.
        found.into_iter().next().or_else(|| {
            let events = PathBuf::from("/proc/vmstat");
            Some(Self { kills: kills(&events)?, events, limit: None })
        })
    }

    /// A sentence about a process that SIGKILL ended, if the kernel has killed for lack of memory since the start.
    pub(crate) fn explain(&self) -> Option<String> {
        if kills(&self.events)? <= self.kills {
            return None;
        }
        // Version 1 writes a number near 2^63 for "no limit".
        let limit = self.limit.filter(|bytes| *bytes < 1 << 60).map(|bytes| {
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
    fn a_kill_since_the_start_is_explained_with_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let events = dir.path().join("memory.events");
        let write = |kills: u32| fs::write(&events, format!("low 0\noom 1\noom_kill {kills}\n")).unwrap();
        write(3);
        let limit = |limit| OomKills { events: events.clone(), limit, kills: kills(&events).unwrap() };
        let (limited, unlimited) = (limit(Some(150 << 20)), limit(Some(i64::MAX as u64)));
        assert_eq!(limited.explain(), None);
        write(4);
        let explained = limited.explain().unwrap();
        assert!(explained.contains("memory ran out") && explained.contains("150 MiB"), "{explained}");
        assert_eq!(unlimited.explain().unwrap(), "the kernel killed it because memory ran out");
    }
}
