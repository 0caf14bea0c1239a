//! What a guard is told that did not start its sidecar: the light guard by the supervisor, and the full guard by the light one, which it
//! replaces in the same process. The supervisor and both programs compile this file; it needs `core` alone.
//!
//! ```text
//! pillion-guard resume STATE GRACE_MS SIGNAL,SCOPE,TEXT
//! ```
//!
//! `STATE` is twelve words, separated by commas: the status of the leader and the time of its end, in milliseconds since the Unix epoch, if it
//! was reaped; 1 if it was asked to end; the descriptors of the lifeline, of the file of the run, and of the two outputs; 1 if the app is
//! gone; the descriptor of the journal, and the place of the run in it; the descriptor that tells of the app's end; and the leader's process
//! id, last because it is known last. A word that is missing is `-`.

use core::ffi::c_int;

/// The first argument of a guard that gets a `STATE`.
pub const RESUME: &[u8] = b"resume";

/// `STATE`: what is known about the sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuardState {
    /// Its process id.
    pub leader: c_int,
    /// How the leader has ended, if it was reaped. The supervisor does not know it yet.
    pub ended: Option<Ended>,
    /// Whether the leader got the signal that asks it to end.
    pub asked: bool,
    /// Whether the end of the app was seen, before any end of the leader.
    pub app_gone: bool,
    /// The place of the run in the journal.
    pub place: Option<c_int>,
    /// What the guard holds.
    pub fds: GuardFds,
}

/// A reaped leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Its status as wait(2) returns it.
    pub status: c_int,
    /// When it was reaped, in milliseconds since the Unix epoch.
    pub at: u64,
}

/// The descriptors that stay open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuardFds {
    /// The write end of the leader's stdin, if that is a lifeline that is still open.
    pub lifeline: Option<c_int>,
    /// The file of the run.
    pub run_file: Option<c_int>,
    /// The memory that has what the app has not written to the log file.
    pub journal: Option<c_int>,
    /// The read ends of the sidecar's output.
    pub outputs: [c_int; 2],
    /// A pidfd of the app (`pidfd_open(2)`). The supervisor knows none: the light guard opens it.
    pub app: Option<c_int>,
}

/// The maximum length of `STATE`, in bytes: each number has at most 20 digits and a separator.
pub const STATE_SIZE: usize = 12 * 21;

impl GuardState {
    /// `STATE` as numbers; one that is missing is `-`. The leader is the last one.
    #[must_use]
    pub fn numbers(&self) -> [Option<u64>; 12] {
        let number = |value: c_int| u64::try_from(value).ok();
        [
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
            self.fds.app.and_then(number),
            number(self.leader),
        ]
    }

    /// Parses `STATE`. `None` if none of the writers can have written it.
    #[must_use]
    pub fn parse(state: &[u8]) -> Option<Self> {
        let mut words = state.split(|byte| *byte == b',');
        let mut next = || match words.next()? {
            b"-" => Some(None),
            word => number(word).map(Some),
        };
        let small = |value: Option<u64>| value.and_then(|value| c_int::try_from(value).ok());
        let (status, at) = (small(next()?), next()?);
        let asked = next()? == Some(1);
        let (lifeline, run_file) = (small(next()?), small(next()?));
        let outputs = [small(next()?)?, small(next()?)?];
        let app_gone = next()? == Some(1);
        let (journal, place) = (small(next()?), small(next()?));
        let app = small(next()?);
        let leader = small(next()?)?;
        let ended = status.zip(at).map(|(status, at)| Ended { status, at });
        let fds = GuardFds { lifeline, run_file, journal, outputs, app };
        Some(Self { leader, ended, asked, app_gone, place, fds })
    }
}

/// The number that these digits are. `None` for anything else.
fn number(word: &[u8]) -> Option<u64> {
    let (first, rest) = word.split_first()?;
    let digit = |byte: u8| byte.is_ascii_digit().then(|| u64::from(byte - b'0'));
    rest.iter().try_fold(digit(*first)?, |number, byte| number.checked_mul(10)?.checked_add(digit(*byte)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(state: &GuardState) -> String {
        let words = state.numbers().map(|number| number.map_or("-".to_owned(), |number| number.to_string()));
        words.join(",")
    }

    #[test]
    fn a_guard_reads_what_another_one_knows() {
        let fds = GuardFds { lifeline: Some(5), run_file: None, journal: None, outputs: [6, 7], app: None };
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
                app: Some(i32::MAX),
            },
            ..running
        };
        for state in [running, ended] {
            assert_eq!(GuardState::parse(text(&state).as_bytes()), Some(state));
            assert!(text(&state).len() < STATE_SIZE);
        }
    }

    #[test]
    fn a_state_that_is_cut_is_none() {
        for state in
            ["", "4711", "-,-,0,5,-,6,7,0,-,-,-", "-,-,0,5,-,6,7,0,-,-,-,-", "-,-,0,5,-,6,7,0,-,-,-,x"]
        {
            assert_eq!(GuardState::parse(state.as_bytes()), None, "{state}");
        }
    }
}
