//! What macOS has for a guard: lists of processes. Type-checked only; never run on a Mac.
//!
//! Nobody is adopted here: who loses its parent becomes launchd's child. So whoever comes of the sidecar is looked for by
//! its parents, by the sidecar's process group, and by the mark in its environment; and once seen, it is remembered.

use std::{env, ffi::c_int, fs};

use super::{
    Pid, Process,
    processes::{self, Process as Found},
};

unsafe extern "C" {
    fn close(fd: c_int) -> c_int;
    fn getpid() -> c_int;
}

pub(crate) const SIGCONT: c_int = 19;
pub(super) const SIGCHLD: c_int = 20;
pub(super) const O_NONBLOCK: c_int = 4;
pub(super) type Count = std::ffi::c_uint;
pub(super) type BufferCount = c_int;
pub(super) type ControlLength = u32;

/// Whether who loses its parent becomes our child.
pub(crate) const ADOPTS: bool = false;

/// Nothing can be done about the app's death while we are stopped, nor about our own.
pub(super) fn become_guard() {
    // Descriptors that the app did not mean to hand on. One of these is the list's own, and closed by then.
    let listed = fs::read_dir("/dev/fd").into_iter().flatten().flatten();
    let open: Vec<c_int> = listed.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| *fd > 2) {
        // SAFETY: std has opened nothing that it keeps: only the three standard streams are ours.
        unsafe { close(fd) };
    }
}

/// In the sidecar's process, before it becomes the program.
pub(super) fn become_sidecar() {}

/// Who came of the sidecar.
pub(crate) struct Kin {
    own: c_int,
    mark: Option<Vec<u8>>,
    known: Vec<Found>,
}

impl Kin {
    pub(crate) fn new() -> Self {
        /// The nonce of a run, which the sidecar gets from us (`docs/protocol.md`).
        const INSTANCE: &str = "PILLION_INSTANCE";
        let mark = env::var(INSTANCE).ok().map(|nonce| format!("{INSTANCE}={nonce}").into_bytes());
        // SAFETY: getpid(2) has no preconditions.
        Self { own: unsafe { getpid() }, mark, known: Vec::new() }
    }

    /// Those of them who live. `group` is the sidecar's, and `held` tells whether its number is known to be that still.
    pub(crate) fn look(&mut self, group: Pid, held: bool) -> Vec<Process> {
        let mut others = Found::all();
        others.retain(|process| process.pid != self.own);
        let is = |one: &Found, other: &Found| one.pid == other.pid && one.born == other.born;
        let is_known = |process: &Found| self.known.iter().any(|known| is(known, process));
        // Whoever is in the group holds its number.
        let held = held || others.iter().any(|process| process.group == group.0 && is_known(process));
        let marked = self.mark.as_ref().map(|mark| Found::with_variable(&others, mark)).unwrap_or_default();
        let (mut kin, mut others): (Vec<_>, Vec<_>) = others.into_iter().partition(|process| {
            is_known(process)
                || (held && process.group == group.0)
                || marked.iter().any(|marked| is(marked, process))
        });
        loop {
            let parents: Vec<_> = kin.iter().map(|process| process.pid).chain([self.own]).collect();
            let children: Vec<_> = others.extract_if(.., |it| parents.contains(&it.parent)).collect();
            if children.is_empty() {
                break;
            }
            kin.extend(children);
        }
        self.known.clone_from(&kin);
        kin.into_iter().map(|it| Process { pid: Pid(it.pid), group: Pid(it.group), born: it.born }).collect()
    }
}

/// Sends a signal to a process, unless it is dead and its number another one's.
pub(crate) fn kill(process: &Process, signal: c_int) {
    processes::signal(process.pid.0, process.born, signal);
}
