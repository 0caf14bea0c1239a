//! The signal of a stop request.

use core::ffi::c_int;

use crate::text;

/// What the light guard needs of a stop request `SIGNAL,SCOPE,TEXT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StopSignal {
    pub(crate) number: c_int,
    /// Whether the request is this signal to the leader, and nothing else.
    pub(crate) alone: bool,
}

impl StopSignal {
    pub(crate) fn parse(stop: &[u8]) -> Option<Self> {
        let (number, rest) = stop.split_at_checked(stop.iter().position(|byte| *byte == b',')?)?;
        Some(Self { number: text::number(number)?, alone: rest == b",leader," })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_or_a_group_is_more_than_a_signal() {
        for (request, number, alone) in [
            ("15,leader,", 15, true),
            ("2,leader,quit\n", 2, false),
            ("15,group,", 15, false),
            ("34,leader,,", 34, false),
        ] {
            let expected = StopSignal { number, alone };
            assert_eq!(StopSignal::parse(request.as_bytes()), Some(expected), "{request}");
        }
        for request in ["", "15", ",leader,", "TERM,leader,", "-1,leader,"] {
            assert_eq!(StopSignal::parse(request.as_bytes()), None, "{request}");
        }
    }
}
