//! What `KERN_PROCARGS2` tells of a process: the number of its arguments, the file it runs, its arguments, its environment.

/// Whether this is the area of a process that was started with `entry`, a `NAME=value`, in its environment.
///
/// Its arguments are passed over: whoever looks for a mark by `ps` and `grep` has it there, and is a stranger.
pub(super) fn has_variable(area: &[u8], entry: &[u8]) -> bool {
    let Some((count, rest)) = area.split_first_chunk() else { return false };
    let Ok(count) = usize::try_from(i32::from_ne_bytes(*count)) else { return false };
    let Some(end_of_file) = rest.iter().position(|byte| *byte == 0) else { return false };
    let rest = &rest[end_of_file..];
    // The file's name is filled up with zeros, so that the arguments are aligned.
    let Some(padding) = rest.iter().position(|byte| *byte != 0) else { return false };
    let environment = rest[padding..].split(|byte| *byte == 0).skip(count);
    // An empty entry is the end; what follows is between the kernel and the dynamic linker.
    environment.take_while(|entry| !entry.is_empty()).any(|it| it == entry)
}

#[cfg(test)]
mod tests {
    use super::has_variable;

    fn area(count: i32, rest: &[u8]) -> Vec<u8> {
        [&count.to_ne_bytes(), rest].concat()
    }

    #[test]
    fn the_environment_is_searched_and_nothing_else() {
        let area = area(3, b"/bin/grep\0\0\0\0grep\0A=1\0B=2\0B=2\0HOME=/\0\0C=3\0");
        assert!(has_variable(&area, b"B=2"));
        assert!(has_variable(&area, b"HOME=/"));
        for other in ["A=1", "C=3", "B=", "OME=/", "/bin/grep", ""] {
            assert!(!has_variable(&area, other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn what_is_cut_short_has_nothing() {
        let whole = area(1, b"/bin/a\0\0a\0A=1\0\0");
        assert!(has_variable(&whole, b"A=1"));
        for end in 0..whole.len() - 3 {
            assert!(!has_variable(&whole[..end], b"A=1"), "{end}");
        }
        assert!(!has_variable(&area(-1, b"/bin/a\0a\0A=1\0\0"), b"A=1"));
    }
}
