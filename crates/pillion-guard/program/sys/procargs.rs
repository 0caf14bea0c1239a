//! Parses the result of `KERN_PROCARGS2`: a process's argument count, executable, arguments and environment.

/// Whether the process of this area was started with `entry`, a `NAME=value`, in its environment.
///
/// Skips the arguments: a `grep` for the marker has it as an argument, and does not belong to the sidecar.
pub(super) fn has_variable(area: &[u8], entry: &[u8]) -> bool {
    let Some((count, rest)) = area.split_first_chunk() else { return false };
    let Ok(count) = usize::try_from(i32::from_ne_bytes(*count)) else { return false };
    let Some(end_of_file) = rest.iter().position(|byte| *byte == 0) else { return false };
    let rest = &rest[end_of_file..];
    // Zeros pad the file name, so that the arguments are aligned.
    let Some(padding) = rest.iter().position(|byte| *byte != 0) else { return false };
    let environment = rest[padding..].split(|byte| *byte == 0).skip(count);
    // An empty entry ends the environment; data for the dynamic linker follows.
    environment.take_while(|entry| !entry.is_empty()).any(|it| it == entry)
}

#[cfg(test)]
mod tests {
    use super::has_variable;

    fn area(count: i32, rest: &[u8]) -> Vec<u8> {
        [&count.to_ne_bytes(), rest].concat()
    }

    #[test]
    fn finds_entries_of_the_environment_only() {
        let area = area(3, b"/bin/grep\0\0\0\0grep\0A=1\0B=2\0B=2\0HOME=/\0\0C=3\0");
        assert!(has_variable(&area, b"B=2"));
        assert!(has_variable(&area, b"HOME=/"));
        for other in ["A=1", "C=3", "B=", "OME=/", "/bin/grep", ""] {
            assert!(!has_variable(&area, other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn a_truncated_area_has_no_entries() {
        let whole = area(1, b"/bin/a\0\0a\0A=1\0\0");
        assert!(has_variable(&whole, b"A=1"));
        for end in 0..whole.len() - 3 {
            assert!(!has_variable(&whole[..end], b"A=1"), "{end}");
        }
        assert!(!has_variable(&area(-1, b"/bin/a\0a\0A=1\0\0"), b"A=1"));
    }
}
