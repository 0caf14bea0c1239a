//! Repeated looks at lists that the kernel does not read at one moment: the sockets of a port, the children of a process.
//!
//! A list that changes while it is read can miss an entry that was there all the time (`proc_tid_children(5)`; of sockets see
//! `SockDiag::query`). An entry that a list has is certain. That an entry is missing is certain enough if two looks agree.

use std::{io, time::Duration};

use rustix::io::Errno;

use crate::sys::PortOwner;

/// How many looks are taken at most.
const LOOKS: u32 = 4;
/// How many of them must miss an entry.
const AGREEING: u32 = 2;

/// What the connections of clients show of the work of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Traffic {
    /// Whether a response is owed on one of them.
    pub(super) has_request: bool,
    /// How long ago something was last sent on one of them.
    pub(super) last_sent: Option<Duration>,
}

/// Looks until a request is found, or until two complete looks have found none. If most looks fail for a reason that passes, a request
/// counts as found: the sidecar is not restarted for what is not known, until the busy limit ends the doubt. If the system denies the
/// look, nothing counts as found.
pub(super) fn find_request(mut look: impl FnMut() -> io::Result<Traffic>) -> Traffic {
    let (mut last_sent, mut without) = (None, 0);
    for _ in 0..LOOKS {
        match look() {
            Ok(traffic) => {
                last_sent = [last_sent, traffic.last_sent].into_iter().flatten().min();
                if traffic.has_request {
                    return Traffic { has_request: true, last_sent };
                }
                without += 1;
                if without == AGREEING {
                    return Traffic { has_request: false, last_sent };
                }
            }
            Err(error) if passes(&error) => {}
            Err(_) => return Traffic::default(),
        }
    }
    Traffic { has_request: true, last_sent }
}

/// Looks until something is found, or until two looks have found nothing.
pub(super) fn find_any<T>(mut look: impl FnMut() -> Vec<T>) -> Vec<T> {
    (0..AGREEING).map(|_| look()).find(|found| !found.is_empty()).unwrap_or_default()
}

/// Looks again before a port is said to be another program's.
pub(super) fn find_owner(mut look: impl FnMut() -> PortOwner) -> PortOwner {
    match look() {
        PortOwner::Other(_) => look(),
        owner => owner,
    }
}

/// Whether the reason why a look failed can be gone at the next one: the list changed, a signal came, or memory or descriptors are used up.
fn passes(error: &io::Error) -> bool {
    const PASSING: [Errno; 6] =
        [Errno::INTR, Errno::AGAIN, Errno::NOMEM, Errno::NOBUFS, Errno::MFILE, Errno::NFILE];
    error.kind() == io::ErrorKind::Interrupted
        || Errno::from_io_error(error).is_some_and(|error| PASSING.contains(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Traffic = Traffic { has_request: false, last_sent: Some(Duration::from_secs(9)) };
    const REQUEST: Traffic = Traffic { has_request: true, last_sent: None };

    /// The verdict on these looks, and how many were taken.
    fn verdict(looks: &[Result<Traffic, Errno>]) -> (bool, usize) {
        let mut left = looks.iter();
        let found = find_request(|| Ok((*left.next().unwrap())?));
        (found.has_request, looks.len() - left.len())
    }

    #[test]
    fn a_request_that_one_look_misses_is_found() {
        assert_eq!(verdict(&[Ok(REQUEST)]), (true, 1));
        assert_eq!(verdict(&[Ok(NONE), Ok(REQUEST)]), (true, 2));
        assert_eq!(verdict(&[Ok(NONE), Ok(NONE)]), (false, 2));
        let sent = Traffic { last_sent: Some(Duration::from_secs(1)), ..NONE };
        let mut looks = [sent, NONE].into_iter();
        assert_eq!(find_request(|| Ok(looks.next().unwrap())), sent, "the later look misses the connection");
    }

    #[test]
    fn what_is_not_known_is_no_idleness() {
        let (interrupted, denied) = (Err(Errno::INTR), Err(Errno::ACCESS));
        assert_eq!(verdict(&[interrupted, Ok(NONE), interrupted, Ok(NONE)]), (false, 4));
        assert_eq!(verdict(&[interrupted, Ok(NONE), interrupted, interrupted]), (true, 4));
        assert_eq!(verdict(&[interrupted; 4]), (true, 4));
        // A sandbox never tells: its sidecars are judged without it.
        assert_eq!(verdict(&[denied]), (false, 1));
        assert!(passes(&io::ErrorKind::Interrupted.into()));
        assert!(!passes(&io::ErrorKind::Unsupported.into()));
    }

    #[test]
    fn a_listener_that_one_look_misses_is_found() {
        let mut looks = [vec![], vec![1]].into_iter();
        assert_eq!(find_any(|| looks.next().unwrap()), [1]);
        let mut looks = [vec![], vec![], vec![1]].into_iter();
        assert!(find_any(|| looks.next().unwrap()).is_empty());
        assert_eq!(looks.len(), 1, "looks are bounded");
    }

    #[test]
    fn a_port_is_another_programs_only_if_two_looks_say_so() {
        let other = || PortOwner::Other(None);
        for (looks, owner) in [
            (vec![PortOwner::Run], PortOwner::Run),
            (vec![other(), PortOwner::Run], PortOwner::Run),
            (vec![other(), PortOwner::Unknown], PortOwner::Unknown),
            (vec![other(), other()], other()),
        ] {
            let mut looks = looks.into_iter();
            assert_eq!(find_owner(|| looks.next().unwrap()), owner);
        }
    }
}
