//! Starts a sidecar under a light guard.
//!
//! This process starts one that starts the sidecar and then executes the guard: when the guard begins to run, the sidecar runs already. Both
//! start without a copy of this process's memory or of its table of descriptors, of which an app with a thousand sidecars has thousands.

mod children;
mod prepared;
mod strings;
mod vfork;

use std::{
    ffi::{OsStr, c_int},
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use pillion_guard::names::GUARD;
use rustix::{
    io::fcntl_dupfd_cloexec,
    process::{Pid, WaitOptions, waitpid},
};

use self::{
    children::{Trial, try_guard},
    prepared::Prepared,
    strings::Strings,
    vfork::{BlockedSignals, Stack, Vfork},
};
use super::{full_guard, in_memory};
use crate::sys::SpawnRequest;

/// So many descriptors are copied in no time.
const FEW: c_int = 64;
/// Where those begin that stay open for as long as a sidecar lives, if there are more than a few: the numbers below are free then for those
/// that a guard gets.
const ASIDE: c_int = 512;

/// Gives a descriptor that stays open for long another number, if there are many, so that a guard is not started with many.
pub(in crate::sys) fn set_aside(fd: OwnedFd) -> OwnedFd {
    if !(FEW..ASIDE).contains(&fd.as_raw_fd()) {
        return fd;
    }
    // The limit of this process may be lower (getrlimit(2)).
    fcntl_dupfd_cloexec(&fd, ASIDE).unwrap_or(fd)
}

/// Gives a descriptor a number of which no start of a sidecar copies the descriptor, not even for the moment until it closes it.
pub(in crate::sys) fn keep_from_starts(fd: OwnedFd) -> OwnedFd {
    fcntl_dupfd_cloexec(&fd, ASIDE).unwrap_or(fd)
}

/// What is started with a guard, besides its sidecar.
pub(in crate::sys) struct Ends<'a> {
    /// The guard's end of the socket to us.
    pub(in crate::sys) control: BorrowedFd<'a>,
    /// The ends of the sidecar's stdout and stderr: its own, and ours, of which the guard gets a copy.
    pub(in crate::sys) streams: [BorrowedFd<'a>; 2],
    pub(in crate::sys) outputs: [BorrowedFd<'a>; 2],
}

/// A light guard that runs, and its sidecar.
#[derive(Debug)]
pub(in crate::sys) struct LightGuard {
    /// A child that is not reaped.
    pub(in crate::sys) guard: Pid,
    pub(in crate::sys) leader: Pid,
    /// When the leader was started, as `/proc/PID/stat` tells it, if that is known. To read that file now would delay the sidecar, whose
    /// start needs the same locks of the kernel.
    pub(in crate::sys) start_time: Option<u64>,
    /// What the system refused.
    pub(in crate::sys) limited: Option<&'static str>,
}

/// Loads the guard, and tries whether it runs here. Blocks.
pub(in crate::sys) fn prepare() -> io::Result<()> {
    Programs::load().map(drop)
}

/// Starts the sidecar and its guard. `stop` is the stop request as a guard reads it. The outer error is that of the sidecar's program; the
/// inner one says why no light guard runs, and nothing that one has started. Blocks until both programs are executed, as long as the file
/// system needs to find that of the sidecar.
pub(in crate::sys) fn start(
    request: &SpawnRequest,
    stop: &OsStr,
    ends: &Ends<'_>,
) -> io::Result<Result<LightGuard, String>> {
    let started = match Programs::load() {
        Ok(programs) => programs.start(request, stop, ends)?,
        Err(error) => Err(error),
    };
    Ok(started.map_err(|error| format!("the light guard: {error}")))
}

/// The programs of both guards, in memory.
struct Programs {
    vfork: Vfork,
    light: BorrowedFd<'static>,
    full: BorrowedFd<'static>,
    /// Whether no light guard is started any more: one could not be executed, although the trial could, and its sidecar had been started.
    failed: &'static AtomicBool,
}

impl Programs {
    /// Loads them at the first call, and tries the light one: a sidecar must not depend on one that does not run, or cannot become the full
    /// one.
    fn load() -> io::Result<Self> {
        static LIGHT: OnceLock<OwnedFd> = OnceLock::new();
        static TRIAL: OnceLock<Option<Vfork>> = OnceLock::new();
        static FAILED: AtomicBool = AtomicBool::new(false);
        let refused = || io::Error::other("the system does not run it");
        if pillion_guard::LIGHT_PROGRAM.is_empty() || FAILED.load(Ordering::Relaxed) {
            return Err(refused());
        }
        let full = full_guard(pillion_guard::PROGRAM)?.as_fd();
        let light = in_memory(&LIGHT, "pillion-guard-light", pillion_guard::LIGHT_PROGRAM)?.as_fd();
        let works = |vfork: &Vfork| try_with(*vfork, light);
        let vfork = *TRIAL.get_or_init(|| [Vfork::Clone3, Vfork::Clone].into_iter().find(works));
        Ok(Self { vfork: vfork.ok_or_else(refused)?, light, full, failed: &FAILED })
    }

    fn start(
        &self,
        request: &SpawnRequest,
        stop: &OsStr,
        ends: &Ends<'_>,
    ) -> io::Result<io::Result<LightGuard>> {
        match Prepared::new(request, stop, ends, self) {
            Ok(prepared) => prepared.start(request, self.failed),
            // That of a text in the request, which no guard could pass on.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Err(error),
            Err(error) => Ok(Err(error)),
        }
    }
}

/// Whether the light guard runs if it is started so.
fn try_with(vfork: Vfork, light: BorrowedFd<'_>) -> bool {
    // Valgrind knows clone(2) as vfork(2) does it, but copies the memory, and ends this program if the descriptors are to be shared as well.
    (vfork == Vfork::Clone3 || try_once(vfork, false, light)) && try_once(vfork, true, light)
}

fn try_once(vfork: Vfork, shares_descriptors: bool, light: BorrowedFd<'_>) -> bool {
    let file = path(light.as_raw_fd());
    let (Ok(mut file), Ok(mut arguments)) =
        (Strings::new([file.as_slice()]), Strings::new([GUARD.to_bytes(), b"check"]))
    else {
        return false;
    };
    let [file, arguments, environment] =
        [&mut file, &mut arguments, &mut Strings::default()].map(|texts| texts.pointers(|_| true));
    let mut stack = Stack::new();
    let trial = Trial {
        file: file.as_ptr(),
        arguments: arguments.as_ptr(),
        environment: environment.as_ptr(),
        first: light.as_raw_fd() + 1,
        shares_memory: AtomicBool::new(false),
        failed: AtomicBool::new(false),
    };
    let _blocked = BlockedSignals::all();
    // SAFETY: all that `trial` points to lives until the child has executed the program or ended, for which this call waits.
    let Ok(child) =
        (unsafe { vfork.start(shares_descriptors, &raw mut *stack, try_guard, &raw const trial) })
    else {
        return false;
    };
    let passed = match waitpid(Some(child), WaitOptions::empty()) {
        Ok(status) => status.and_then(|(_, status)| status.exit_status()) == Some(0),
        // The app ignores SIGCHLD or waits for any child, so that the status is lost (wait(2)).
        Err(_) => !trial.failed.load(Ordering::Relaxed),
    };
    passed && trial.shares_memory.load(Ordering::Relaxed)
}

/// By this path, a program in memory is executed. The descriptor is closed on exec, but the kernel resolves the path first.
fn path(descriptor: c_int) -> Vec<u8> {
    format!("/proc/self/fd/{descriptor}").into_bytes()
}

#[cfg(test)]
mod tests;
