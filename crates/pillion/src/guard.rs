//! The guard that an app's own program can be, and the one inside the program.
//!
//! A guard is a process that outlives a killed app just long enough to stop its sidecars. [`run_if_asked`] says where the app's own
//! program is needed for it.

use crate::sys;

/// Becomes a guard if this process was started as one, and then never returns. Otherwise it returns at once, and from then on the
/// supervisor may start this program's own file as a guard. Call it first in `main`, before any thread, window or log exists:
///
/// ```no_run
/// pillion::guard::run_if_asked();
/// // … the program itself
/// ```
///
/// An `async fn main` is too late: its runtime (`#[tokio::main]`) has started threads before its first line. Write a plain `main` that
/// makes this call, and starts the runtime then.
///
/// **Windows** has no other guard. Without it, the system kills all sidecars in the moment in which the app is killed. With it, they are
/// asked to stop as their [`StopRequest`](crate::StopRequest) says, and have their [grace period](crate::Spec::grace) first. The guard is
/// one process for all sidecars of an app, and runs only as long as one of them. A tool that kills by the name of the program
/// kills it too, and with it all sidecars.
///
/// **macOS** examines each new file before its first run, and does not run one that an app with `LSFileQuarantineEnabled` has written.
/// With this call nothing is written: the guard is this program. In the App Sandbox it cannot be, and no other guard can run there.
///
/// **Linux** runs the small guard that is inside this program, and this program itself only where the system executes neither memory
/// nor a file that this program writes.
///
/// A guard has the first argument `--pillion-guard=VALUE`. Linux, macOS: it works only for a process of the same program: its parent must
/// execute the same file, and have the other end of the socket that is its stdin. Otherwise it prints a message and exits with code 2.
pub fn run_if_asked() {
    match sys::own_program::asked() {
        Some(value) => sys::run_guard(&value),
        None => sys::own_program::remember(),
    }
}

/// Loads the guard that is inside this program, which the first start of a sidecar does otherwise: some tenths of a millisecond of a thread
/// beside the caller, which does not wait for it. That thread stays for a second, to be the one that starts the sidecar. To be called before
/// the caller prepares the start; `tauri-plugin-pillion` does so when it is built. A failure shows at the start. Without effect on macOS and
/// Windows.
pub fn prepare() {
    sys::prepare_guard();
}
