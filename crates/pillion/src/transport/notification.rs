//! The messages of `sd_notify(3)`.

use std::time::Duration;

#[cfg(target_os = "linux")]
use pillion_protocol::progress;

/// A message of the run.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Notification {
    /// `READY=1`: it is ready.
    pub(crate) ready: bool,
    /// `STOPPING=1`: it stops by itself.
    pub(crate) stopping: bool,
    /// `STATUS=`: how far it is.
    pub(crate) status: Option<String>,
    /// `EXTEND_TIMEOUT_USEC=`: it needs so much more time.
    pub(crate) extend: Option<Duration>,
    /// `WATCHDOG=`: whether it still works.
    pub(crate) keep_alive: Option<KeepAlive>,
    /// `WATCHDOG_USEC=`: the new interval of its watchdog.
    pub(crate) watchdog: Option<Duration>,
}

/// What a program says about itself to its watchdog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "no message comes"))]
pub(crate) enum KeepAlive {
    /// `WATCHDOG=1`: it works.
    Alive,
    /// `WATCHDOG=trigger`: it has found an internal error, and is to be handled as one that hangs.
    Trigger,
}

/// What came over the socket.
#[derive(Debug, PartialEq, Eq)]
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "no message comes"))]
pub(crate) enum Notified {
    /// A message of the run.
    Run(Notification),
    /// A message of a process that is not of the run, or that has ended already.
    Other(Option<i32>),
    /// Every message that had been sent when the driver asked was read before this one.
    CaughtUp,
}

#[cfg(target_os = "linux")]
impl Notification {
    /// Reads the assignments that this host knows. Of several of one name, the last one counts.
    pub(super) fn read(message: &[u8]) -> Self {
        let mut read = Self::default();
        for line in message.split(|byte| *byte == b'\n') {
            let Some((name, value)) =
                line.iter().position(|byte| *byte == b'=').map(|at| line.split_at(at + 1))
            else {
                continue;
            };
            match (name, value) {
                (b"READY=", b"1") => read.ready = true,
                (b"STOPPING=", b"1") => read.stopping = true,
                (b"STATUS=", words) => read.status = Some(progress::words(words)),
                (b"EXTEND_TIMEOUT_USEC=", number) => read.extend = microseconds(number),
                (b"WATCHDOG=", b"1") => read.keep_alive = Some(KeepAlive::Alive),
                (b"WATCHDOG=", b"trigger") => read.keep_alive = Some(KeepAlive::Trigger),
                (b"WATCHDOG_USEC=", number) => read.watchdog = microseconds(number),
                _ => {}
            }
        }
        read
    }
}

#[cfg(target_os = "linux")]
fn microseconds(number: &[u8]) -> Option<Duration> {
    std::str::from_utf8(number).ok()?.parse().ok().map(Duration::from_micros)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_assignments_of_a_message_are_read() {
        let message = b"READY=1\nSTATUS=Loading \x1b[1mmodel\x1b[0m\t42%=\nEXTEND_TIMEOUT_USEC=2500000\nMAINPID=1\nWATCHDOG=1\n\
            WATCHDOG_USEC=20000000";
        let read = Notification::read(message);
        assert_eq!(
            read,
            Notification {
                ready: true,
                stopping: false,
                status: Some("Loading model 42%=".to_owned()),
                extend: Some(Duration::from_millis(2500)),
                keep_alive: Some(KeepAlive::Alive),
                watchdog: Some(Duration::from_secs(20)),
            }
        );
        assert!(Notification::read(b"STOPPING=1\n").stopping);
        let trigger = Notification::read(b"WATCHDOG=1\nWATCHDOG=trigger");
        assert_eq!(trigger.keep_alive, Some(KeepAlive::Trigger), "the last one counts");
        for other in [
            "",
            "READY=0",
            "READY",
            "ready=1",
            "READY=1 ",
            "EXTEND_TIMEOUT_USEC=-1",
            "WATCHDOG=0",
            "WATCHDOG=Trigger",
            "WATCHDOG_USEC=1s",
            "BARRIER=1",
            "\0",
        ] {
            assert_eq!(Notification::read(other.as_bytes()), Notification::default(), "{other:?}");
        }
    }
}
