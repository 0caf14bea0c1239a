//! The signals with which a terminal, a service manager or a user ends `pillion run`.

use std::io;

use tokio::sync::mpsc;

/// How a user or a program asks for the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interrupt {
    /// A key of the terminal, such as Ctrl-C. The second one is meant to be stronger.
    Key,
    /// SIGTERM or SIGHUP, which a program may send twice: timeout(1) signals its child, and then its own process group with that child.
    Request,
}

/// Receives one message for each such signal. A signal that the parent process had set to be ignored stays ignored, as nohup(1) and
/// the background jobs of a shell script need it (signal(7): execve(2) keeps ignored signals).
#[cfg(unix)]
pub(crate) fn interrupts() -> io::Result<mpsc::UnboundedReceiver<Interrupt>> {
    use std::{future::poll_fn, task::Poll};

    use tokio::signal::unix::{SignalKind, signal};

    // Before the first handler is installed.
    let ignored = ignored_signals();
    let (sender, receiver) = mpsc::unbounded_channel();
    let mut signals = Vec::new();
    for (kind, interrupt) in [
        (SignalKind::interrupt(), Interrupt::Key),
        (SignalKind::quit(), Interrupt::Key),
        (SignalKind::terminate(), Interrupt::Request),
        (SignalKind::hangup(), Interrupt::Request),
    ] {
        if !is_ignored(ignored, kind.as_raw_value()) {
            signals.push((signal(kind)?, interrupt));
        }
    }
    // One task for all: each new one wakes the thread of the runtime. It goes on if all signals are ignored, so that the receiver does not
    // end.
    tokio::spawn(async move {
        loop {
            let received = poll_fn(|context| {
                let mut received = signals.iter_mut().filter_map(|(signal, interrupt)| {
                    signal.poll_recv(context).is_ready().then_some(*interrupt)
                });
                received.next().map_or(Poll::Pending, Poll::Ready)
            });
            tokio::select! {
                interrupt = received => if sender.send(interrupt).is_err() { break },
                () = sender.closed() => break,
            }
        }
    });
    Ok(receiver)
}

/// Ctrl-C; Ctrl-Break, the only one that a program can send to another one; and the end of the console, of the session or of the system, after
/// which Windows leaves this program a few seconds ([`HandlerRoutine`]).
///
/// [`HandlerRoutine`]: https://learn.microsoft.com/en-us/windows/console/handlerroutine
#[cfg(windows)]
pub(crate) fn interrupts() -> io::Result<mpsc::UnboundedReceiver<Interrupt>> {
    use tokio::signal::windows::{ctrl_break, ctrl_c, ctrl_close, ctrl_logoff, ctrl_shutdown};

    let (sender, receiver) = mpsc::unbounded_channel();
    let (mut ctrl_c, mut ctrl_break) = (ctrl_c()?, ctrl_break()?);
    let (mut close, mut logoff, mut shutdown) = (ctrl_close()?, ctrl_logoff()?, ctrl_shutdown()?);
    tokio::spawn(async move {
        loop {
            let (received, interrupt) = tokio::select! {
                received = ctrl_c.recv() => (received, Interrupt::Key),
                received = ctrl_break.recv() => (received, Interrupt::Key),
                received = close.recv() => (received, Interrupt::Request),
                received = logoff.recv() => (received, Interrupt::Request),
                received = shutdown.recv() => (received, Interrupt::Request),
                () = sender.closed() => break,
            };
            if received.is_none() || sender.send(interrupt).is_err() {
                break;
            }
        }
    });
    Ok(receiver)
}

#[cfg(unix)]
fn is_ignored(mask: u64, signal: i32) -> bool {
    u32::try_from(signal - 1).is_ok_and(|bit| mask.checked_shr(bit).is_some_and(|rest| rest & 1 == 1))
}

/// The signals that this process ignores, as a mask: bit 0 is signal 1. Without an answer of the system, none.
#[cfg(target_os = "linux")]
fn ignored_signals() -> u64 {
    // proc_pid_status(5).
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().find_map(|line| line.strip_prefix("SigIgn:")).and_then(mask).unwrap_or(0)
}

/// The same by ps(1), because macOS has no `/proc`, and only `sys` may call `sigaction(2)`, which needs unsafe code.
#[cfg(all(unix, not(target_os = "linux")))]
fn ignored_signals() -> u64 {
    let pid = std::process::id().to_string();
    let output = std::process::Command::new("ps").args(["-o", "sigignore=", "-p", &pid]).output();
    output.ok().and_then(|output| mask(&String::from_utf8_lossy(&output.stdout))).unwrap_or(0)
}

#[cfg(unix)]
fn mask(hexadecimal: &str) -> Option<u64> {
    u64::from_str_radix(hexadecimal.trim(), 16).ok()
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_counts_signals_from_1() {
        // SIGHUP (1), SIGQUIT (3) and SIGTERM (15).
        let ignored = mask("\t0000000000004005\n").unwrap();
        let signals: Vec<_> = (-1..=70).filter(|signal| is_ignored(ignored, *signal)).collect();
        assert_eq!(signals, [1, 3, 15]);
        assert_eq!(mask(""), None);
    }
}
