//! Reads `/proc/PID/stat`. Both the guard and the supervisor use this file.

use std::{fs::File, io::Read};

/// More than the fields up to the last one that is of interest need: 22 numbers of at most 20 digits, and a name.
const SIZE: usize = 1024;

/// Fields of `/proc/PID/stat` (`proc_pid_stat(5)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcStat {
    /// The process id.
    pub pid: i32,
    /// `R`, `S` and so on; `T` after a signal such as SIGSTOP (`t` if a debugger holds the process), `Z` for a zombie, `X` for a
    /// dead process.
    pub state: char,
    /// The process id of its parent.
    pub parent: i32,
    /// The number of its process group.
    pub group: i32,
    /// The number of its session.
    pub session: i32,
    /// `utime`, `stime`, `cutime` and `cstime` together: the processor time of the process and of the children that it has
    /// reaped, in clock ticks.
    pub ticks: u64,
    /// `cutime` and `cstime` alone.
    pub reaped_ticks: u64,
    /// When it started, in clock ticks after the boot.
    pub start_time: u64,
}

impl ProcStat {
    /// The fields of the process that has this id now. `None` if it does not exist, or is hidden (`hidepid`, proc(5)).
    #[must_use]
    pub fn read(pid: i32) -> Option<Self> {
        let mut stat = [0; SIZE];
        let length = File::open(format!("/proc/{pid}/stat")).ok()?.read(&mut stat).ok()?;
        Self::parse(&stat[..length])
    }

    /// The name in parentheses before the fields may hold any bytes: parentheses, and a part of a UTF-8 character, because the
    /// kernel cuts names after 15 bytes (`PR_SET_NAME(2const)`).
    fn parse(stat: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(stat);
        let (head, rest) = text.rsplit_once(')')?;
        let pid = head.split_once(' ')?.0.parse().ok()?;
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        let parent = fields.next()?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        let session = fields.next()?.parse().ok()?;
        let mut fields = fields.skip(7);
        let mut two = || fields.by_ref().take(2).map(|ticks| ticks.parse::<u64>().ok()).sum::<Option<u64>>();
        let (own_ticks, reaped_ticks) = (two()?, two()?);
        let start_time = fields.nth(4)?.parse().ok()?;
        let ticks = own_ticks + reaped_ticks;
        Some(Self { pid, state, parent, group, session, ticks, reaped_ticks, start_time })
    }
}

#[cfg(test)]
mod tests {
    use super::ProcStat;

    const FIELDS: &str = "1 8 9 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 1 0 4242 9";

    #[test]
    fn a_process_name_cannot_forge_the_fields_after_it() {
        for name in ["(cat)", "(a) Z 1 9 (b))"] {
            let stat = ProcStat::parse(format!("7 {name} S {FIELDS}\n").as_bytes());
            let expected = ProcStat {
                pid: 7,
                state: 'S',
                parent: 1,
                group: 8,
                session: 9,
                ticks: 100,
                reaped_ticks: 70,
                start_time: 4242,
            };
            assert_eq!(stat, Some(expected), "{name}");
        }
    }

    #[test]
    fn a_process_name_need_not_be_utf_8() {
        let stat = [b"7 (caf\xc3) S ", FIELDS.as_bytes()].concat();
        assert_eq!(ProcStat::parse(&stat).unwrap().start_time, 4242);
    }

    #[test]
    fn an_incomplete_line_is_no_process() {
        let stat = format!("7 (cat) S {FIELDS}");
        let end = stat.rfind(" 4242").unwrap();
        for length in 0..=end {
            assert_eq!(ProcStat::parse(&stat.as_bytes()[..length]), None, "{length}");
        }
    }
}
