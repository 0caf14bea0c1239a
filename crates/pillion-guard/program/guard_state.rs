//! What the light guard hands over to the full guard, which replaces it in the same process. Both programs compile this file; it needs
//! `core` alone.
//!
//! ```text
//! pillion-guard resume STATE GRACE_MS SIGNAL,SCOPE,TEXT
//! ```
//!
//! `STATE` is eleven words, separated by commas: the leader's process id; its status and the time of its end, in milliseconds since the Unix
//! epoch, if it was reaped; 1 if it was asked to end; the descriptors of the lifeline, of the file of the run, and of the two outputs; 1 if
//! the app is gone; the descriptor of the journal, and the place of the run in it. A word that is missing is `-`.

use core::ffi::c_int;

/// The first argument of a full guard that continues the work of a light one.
pub(crate) const RESUME: &[u8] = b"resume";

/// `STATE`: what the light guard knows about its sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GuardState {
    pub(crate) leader: c_int,
    /// How the leader has ended, if it was reaped. The supervisor does not know it yet.
    pub(crate) ended: Option<Ended>,
    /// Whether the leader got the signal that asks it to end.
    pub(crate) asked: bool,
    /// Whether the end of the socket to the supervisor was seen, before any end of the leader.
    pub(crate) app_gone: bool,
    /// The place of the run in the journal.
    pub(crate) place: Option<c_int>,
    pub(crate) fds: GuardFds,
}

/// A reaped leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Its status as wait(2) returns it.
    pub(crate) status: c_int,
    /// When it was reaped, in milliseconds since the Unix epoch.
    pub(crate) at: u64,
}

/// The descriptors that stay open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GuardFds {
    /// The write end of the leader's stdin, if that is a lifeline that is still open.
    pub(crate) lifeline: Option<c_int>,
    pub(crate) run_file: Option<c_int>,
    pub(crate) journal: Option<c_int>,
    /// The read ends of the sidecar's output.
    pub(crate) outputs: [c_int; 2],
}

/// The maximum length of `STATE`, in bytes: each number has at most 20 digits and a separator.
pub(crate) const STATE_SIZE: usize = 11 * 21;

impl GuardState {
    /// `STATE` as numbers; one that is missing is `-`.
    pub(crate) fn numbers(&self) -> [Option<u64>; 11] {
        let number = |value: c_int| u64::try_from(value).ok();
        [
            number(self.leader),
            self.ended.and_then(|ended| number(ended.status)),
            self.ended.map(|ended| ended.at),
            Some(u64::from(self.asked)),
            self.fds.lifeline.and_then(number),
            self.fds.run_file.and_then(number),
            number(self.fds.outputs[0]),
            number(self.fds.outputs[1]),
            Some(u64::from(self.app_gone)),
            self.fds.journal.and_then(number),
            self.place.and_then(number),
        ]
    }

    /// Parses `STATE`. `None` if a light guard cannot have written it.
    pub(crate) fn parse(state: &str) -> Option<Self> {
        let mut words = state.split(',');
        let mut next = || match words.next()? {
            "-" => Some(None),
            word => word.parse::<u64>().ok().map(Some),
        };
        let small = |value: Option<u64>| value.and_then(|value| c_int::try_from(value).ok());
        let leader = small(next()?)?;
        let (status, at) = (small(next()?), next()?);
        let asked = next()? == Some(1);
        let (lifeline, run_file) = (small(next()?), small(next()?));
        let outputs = [small(next()?)?, small(next()?)?];
        let app_gone = next()? == Some(1);
        let (journal, place) = (small(next()?), small(next()?));
        let ended = status.zip(at).map(|(status, at)| Ended { status, at });
        let fds = GuardFds { lifeline, run_file, journal, outputs };
        Some(Self { leader, ended, asked, app_gone, place, fds })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(state: &GuardState) -> String {
        let words = state.numbers().map(|number| number.map_or("-".to_owned(), |number| number.to_string()));
        words.join(",")
    }

    #[test]
    fn the_full_guard_reads_what_the_light_one_knows() {
        let fds = GuardFds { lifeline: Some(5), run_file: None, journal: None, outputs: [6, 7] };
        let running =
            GuardState { leader: 4711, ended: None, asked: false, app_gone: false, place: None, fds };
        let ended = GuardState {
            ended: Some(Ended { status: 0x8b, at: 1_790_000_000_000 }),
            asked: true,
            app_gone: true,
            place: Some(3),
            fds: GuardFds {
                lifeline: None,
                run_file: Some(i32::MAX),
                journal: Some(i32::MAX),
                outputs: [0, 1],
            },
            ..running
        };
        for state in [running, ended] {
            assert_eq!(GuardState::parse(&text(&state)), Some(state));
            assert!(text(&state).len() < STATE_SIZE);
        }
    }

    #[test]
    fn a_state_that_is_cut_is_none() {
        for state in ["", "4711", "4711,-,-,0,5,-,6,7,0,-", "-,-,-,0,5,-,6,7,0,-,-", "x,-,-,0,5,-,6,7,0,-,-"]
        {
            assert_eq!(GuardState::parse(state), None, "{state}");
        }
    }
}
