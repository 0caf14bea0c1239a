//! Shared support for tests that start real processes: the helper programs, and what finds, watches and kills them.
//!
//! `cargo test -p integration-tests` needs no webview, no display and no browser; tests that do are in `end-to-end-tests`.
//! The Windows tests are a crate of their own, `windows-tests`. Folding them in here would not save code: on Windows a test
//! observes a process by its handle instead of `/proc`, a stop is the end of stdin instead of SIGTERM, and the sidecar's steps
//! are different ones (jobs, consoles and pipes instead of signals, sessions and descriptors). The two crates have only
//! [`run`] and the files of one Tauri app in common.

#[cfg(unix)]
pub mod dying_host;
#[cfg(target_os = "linux")]
mod hang_report;
#[cfg(target_os = "linux")]
mod isolated;
#[cfg(target_os = "linux")]
pub mod orphans;
#[cfg(target_os = "linux")]
mod process_tree;
#[cfg(target_os = "linux")]
pub mod python;
#[cfg(target_os = "linux")]
mod report_server;
#[cfg(target_os = "linux")]
pub mod sandbox;
#[cfg(target_os = "linux")]
mod test_marker;

#[cfg(target_os = "linux")]
pub use isolated::{isolated, isolated_with};
#[cfg(target_os = "linux")]
pub use process_tree::ProcessTree;
#[cfg(target_os = "linux")]
pub use report_server::{ReportServer, Reporter};
#[cfg(target_os = "linux")]
pub use test_marker::{LiveProcess, TestMarker};

use std::{env, future::Future, io, path::PathBuf, pin::pin, time::Duration};

/// The time after which a test counts as hanging. The slowest test takes 50 s with both cores of a machine busy.
pub const TEST_TIMEOUT: Duration = Duration::from_secs(300);

/// Runs the body of a test on a runtime with one worker thread. The test fails if the body takes longer than
/// [`TEST_TIMEOUT`], with what its processes do then.
///
/// # Panics
/// If the body panics or hangs.
pub fn run(body: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("the system has the resources for a test");
    runtime.block_on(async {
        let mut body = pin!(body);
        if tokio::time::timeout(TEST_TIMEOUT, body.as_mut()).await.is_err() {
            // The body still exists: its end would kill the processes.
            let processes = marked_processes();
            panic!("the test hangs: it was given up after {} s, with\n{processes}", TEST_TIMEOUT.as_secs());
        }
    });
}

#[cfg(target_os = "linux")]
use hang_report::marked_processes;

/// Only Linux tells what a process does.
#[cfg(not(target_os = "linux"))]
fn marked_processes() -> &'static str {
    "processes that this system does not describe"
}

/// The path of a program that this workspace builds, such as `fake-sidecar`. Cargo puts all programs of a profile into one
/// folder, and tests into the folder `deps` below it.
///
/// # Errors
/// The program is not there; the error says how to build it.
pub fn helper_program(name: &str) -> io::Result<PathBuf> {
    let mut folder = env::current_exe()?;
    folder.pop();
    if folder.ends_with("deps") {
        folder.pop();
    }
    let file = folder.join(format!("{name}{}", env::consts::EXE_SUFFIX));
    if file.is_file() {
        return Ok(file);
    }
    let cure = format!("run `cargo build --workspace --bin {name}`, or use `cargo xtask test`");
    Err(io::Error::new(io::ErrorKind::NotFound, format!("{} is not built: {cure}", file.display())))
}
