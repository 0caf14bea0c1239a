//! Parses the answer of `KERN_PROCARGS2`: the arguments and the environment with which a process was started.
//!
//! By XNU (`sysctl_procargsx` in `kern_sysctl.c`, `exec_extract_strings` in `kern_exec.c`) it is an integer of C, the number
//! of arguments, and then strings that each end with a zero: the path of the program, zeros up to an aligned place, the arguments, the
//! environment, zeros up to an aligned place, and what the kernel tells the dynamic linker. The kernel reads all of that but the number
//! from the memory of the process, which may have overwritten it.

use std::io;

use super::search::Environment;

/// What the kernel's answer says of `entry`, a `NAME=value` in the environment.
pub(super) fn environment(answer: io::Result<&[u8]>, entry: &[u8]) -> Environment {
    const EPERM: i32 = 1;
    match answer.map(|area| has_variable(area, entry)) {
        Ok(Some(true)) => Environment::Marked,
        Ok(Some(false)) => Environment::Unmarked,
        Err(error) if error.raw_os_error() == Some(EPERM) => Environment::Unmarked,
        // EINVAL is the answer for a process that is about to execute a program, and for one that has ended.
        Ok(None) | Err(_) => Environment::Unknown,
    }
}

/// Whether the process of this area was started with `entry` in its environment. `None` if the area ends before the environment.
///
/// Skips the arguments: a `grep` for the marker has it as an argument, and does not belong to the sidecar. A title that a program wrote
/// over its arguments (`process.title` of Node) is followed by zeros up to their end, which count as empty arguments, or are empty
/// entries. If it fills the arguments to their end, entries at the beginning of the environment count as arguments.
fn has_variable(area: &[u8], entry: &[u8]) -> Option<bool> {
    let (count, rest) = area.split_first_chunk()?;
    let count = usize::try_from(i32::from_ne_bytes(*count)).ok()?;
    let end_of_path = rest.iter().position(|byte| *byte == 0)?;
    let rest = &rest[end_of_path..];
    // An empty first argument cannot be told from the zeros before it: then the first entry counts as an argument.
    let rest = &rest[rest.iter().position(|byte| *byte != 0).unwrap_or(rest.len())..];
    let mut strings = rest.split_inclusive(|byte| *byte == 0);
    if count > 0 {
        // Without their end, these arguments may not be all.
        strings.nth(count - 1)?.strip_suffix(&[0])?;
    }
    Some(strings.any(|string| string.strip_suffix(&[0]) == Some(entry)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An area as XNU lays it out: `arguments` and `environment` are the strings with their zeros.
    fn area(count: i32, path: &str, arguments: &str, environment: &str) -> Vec<u8> {
        let aligned = |mut text: String| {
            text.extend(std::iter::repeat_n('\0', text.len().wrapping_neg() % 8));
            text
        };
        let strings = aligned(format!("{path}\0")) + arguments + environment;
        let linker = "executable_path=/bin/a\0ptr_munge=\0main_stack=\0";
        [&count.to_ne_bytes(), (aligned(strings) + linker).as_bytes()].concat()
    }

    fn has(area: &[u8], entry: &str) -> Option<bool> {
        has_variable(area, entry.as_bytes())
    }

    #[test]
    fn finds_entries_of_the_environment_only() {
        let area = area(3, "/usr/bin/grep", "grep\0A=1\0B=2\0", "B=2\0\0HOME=/\0EMPTY=\0");
        for entry in ["B=2", "HOME=/", "EMPTY="] {
            assert_eq!(has(&area, entry), Some(true), "{entry}");
        }
        for other in ["A=1", "B=", "OME=/", "HOME=", "grep", "/usr/bin/grep"] {
            assert_eq!(has(&area, other), Some(false), "{other}");
        }
    }

    #[test]
    fn a_path_of_any_length_is_passed_over() {
        for length in 0..40 {
            let area = area(1, &"p".repeat(length), "a\0", "M=1\0");
            assert_eq!(has(&area, "M=1"), Some(true), "{length}");
        }
    }

    #[test]
    fn a_process_without_arguments_or_with_empty_ones_has_an_environment() {
        assert_eq!(has(&area(0, "/bin/a", "", "M=1\0"), "M=1"), Some(true));
        assert_eq!(has(&area(3, "/bin/a", "a\0\0\0", "M=1\0"), "M=1"), Some(true));
        assert_eq!(has(&area(3, "/bin/a", "a\0\0M=1\0", "N=1\0"), "M=1"), Some(false));
        // Indistinguishable from the zeros after the path: one entry is lost.
        assert_eq!(has(&area(1, "/bin/a", "\0", "N=1\0M=1\0"), "M=1"), Some(true));
    }

    #[test]
    fn a_process_without_an_environment_has_none() {
        assert_eq!(has(&area(1, "/bin/a", "a\0", ""), "M=1"), Some(false));
        assert_eq!(has(&area(0, "/bin/a", "", ""), "M=1"), Some(false));
    }

    #[test]
    fn a_title_over_the_arguments_does_not_hide_the_environment() {
        // libuv: the title, and zeros up to the end of the arguments, here "node\0npm-cli.js\0run\0dev\0".
        for title in ["x", "npm run dev"] {
            let arguments = format!("{title:\0<24}");
            assert_eq!(
                has(&area(4, "/usr/local/bin/node", &arguments, "N=1\0M=1\0"), "M=1"),
                Some(true),
                "{title}"
            );
        }
    }

    #[test]
    fn a_title_over_arguments_and_environment_hides_it() {
        let area = area(2, "/usr/bin/postgres", "postgres: checkpointer \0\0\0\0\0\0\0\0", "");
        assert_eq!(has(&area, "M=1"), Some(false));
    }

    #[test]
    fn a_huge_area_is_read_to_its_end() {
        let many: String = (0..10_000).map(|number| format!("N{number}={}\0", "x".repeat(90))).collect();
        let area = area(10_001, "/bin/a", &format!("{many}a\0"), &format!("{many}M=1\0"));
        assert!(area.len() > 1 << 20);
        assert_eq!(has(&area, "M=1"), Some(true));
        assert_eq!(has(&area, "a"), Some(false));
    }

    #[test]
    fn a_cut_area_tells_nothing_and_never_the_wrong_thing() {
        let whole = area(2, "/bin/a", "a\0M=1\0", "N=1\0M=2\0");
        assert_eq!(has(&whole, "M=2"), Some(true));
        let end_of_arguments = 4 + "/bin/a\0\0a\0M=1\0".len();
        for end in 0..whole.len() {
            let cut = &whole[..end];
            assert_ne!(has(cut, "M=1"), Some(true), "{end}");
            assert_eq!(has(cut, "M=1").is_some(), end >= end_of_arguments, "{end}");
        }
        assert_eq!(has(&area(-1, "/bin/a", "a\0", "M=1\0"), "M=1"), None);
        assert_eq!(has(&area(i32::MAX, "/bin/a", "a\0", "M=1\0"), "M=1"), None);
    }

    #[test]
    fn an_error_is_no_answer_unless_the_system_hides_the_environment() {
        let answer = |errno| environment(Err(io::Error::from_raw_os_error(errno)), b"M=1");
        let (eperm, esrch, einval, enomem) = (1, 3, 22, 12);
        assert_eq!(answer(eperm), Environment::Unmarked);
        for errno in [esrch, einval, enomem] {
            assert_eq!(answer(errno), Environment::Unknown, "{errno}");
        }
        assert_eq!(environment(Ok(&[]), b"M=1"), Environment::Unknown);
        assert_eq!(environment(Ok(&area(1, "/bin/a", "a\0", "M=1\0")), b"M=1"), Environment::Marked);
        assert_eq!(environment(Ok(&area(1, "/bin/a", "a\0", "N=1\0")), b"M=1"), Environment::Unmarked);
    }
}
