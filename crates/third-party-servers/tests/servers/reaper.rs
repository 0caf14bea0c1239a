//! Finds every process that an app leaves behind. A marker in the environment would not do: Postgres, Redis and others overwrite
//! their environment with their title. Instead the test adopts all orphans: the children of a child subreaper's dead descendants
//! become its own children (`PR_SET_CHILD_SUBREAPER`, prctl(2)).

use std::{fs, panic::catch_unwind, process::Command, sync::mpsc, thread};

use integration_tests::{TEST_TIMEOUT, isolated};
use rustix::{
    io::Errno,
    process::{WaitOptions, getpid, set_child_subreaper, wait},
};

/// Makes this process adopt the orphans among its descendants.
pub(crate) fn adopt_orphans() {
    set_child_subreaper(Some(getpid())).unwrap();
}

/// Fails if a descendant is alive now.
pub(crate) fn assert_nothing_is_left() {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_dead)) => {}
            Ok(None) => panic!("these outlived the app: {:?}", children()),
            Err(error) => return assert_eq!(error, Errno::CHILD),
        }
    }
}

/// Waits until no descendant is alive.
pub(crate) fn wait_until_nothing_is_left() {
    let (sender, ended) = mpsc::channel();
    thread::spawn(move || {
        let error = loop {
            if let Err(error) = wait(WaitOptions::empty())
                && error != Errno::INTR
            {
                break error;
            }
        };
        let _ = sender.send(error);
    });
    let error = ended.recv_timeout(TEST_TIMEOUT);
    assert_eq!(error, Ok(Errno::CHILD), "these outlived the killed app: {:?}", children());
}

/// The command lines of this process's children.
fn children() -> Vec<String> {
    let threads = fs::read_dir("/proc/self/task").unwrap();
    let ids = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("children")).ok());
    let ids: Vec<String> =
        ids.flat_map(|ids| ids.split(' ').map(str::to_owned).collect::<Vec<_>>()).collect();
    let command = |id: &String| {
        let line = fs::read_to_string(format!("/proc/{id}/cmdline")).ok()?;
        Some(format!("{} ({id})", line.replace('\0', " ").trim_end()))
    };
    ids.iter().filter(|id| !id.is_empty()).filter_map(command).collect()
}

#[test]
fn an_orphan_is_found_whatever_its_environment() {
    isolated("reaper::an_orphan_is_found_whatever_its_environment", || {
        adopt_orphans();
        let (held, hold) = std::io::pipe().unwrap();
        // The shell ends at once. Its child waits for the end of the pipe, with no environment and in a session of its own. A shell
        // gives a background process /dev/null as its stdin, so the pipe goes by another descriptor.
        let orphan = "exec 3<&0; env -i setsid cat <&3 >/dev/null & exit 0";
        let shell = Command::new("sh").args(["-c", orphan]).stdin(held).status().unwrap();
        assert!(shell.success());
        let found = catch_unwind(assert_nothing_is_left).unwrap_err();
        let words = found.downcast_ref::<String>().unwrap();
        assert!(words.contains("these outlived the app"), "{words}");
        drop(hold);
        wait_until_nothing_is_left();
        assert_nothing_is_left();
    });
}
