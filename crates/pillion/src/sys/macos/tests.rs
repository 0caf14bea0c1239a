//! What only macOS can show: that its kernel tells what the search relies on. Never run here; the hosted CI runs them (`--ignored`).
#![expect(clippy::disallowed_methods, reason = "the processes have no supervisor")]

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
};

use pillion_guard::processes::search::{Environment, ProcessTable};
use rustix::process::{WaitId, WaitIdOptions, getpid, waitid};

use super::{super::unix::in_new_session, tree_usage::ProcessTree, *};
use crate::status::MemoryKind;

fn piped(command: &mut Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

fn id(child: &Child) -> i32 {
    child.id().cast_signed()
}

fn line(child: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    line.trim().to_owned()
}

#[test]
#[ignore = "the child of another test"]
fn waits_for_the_end_of_its_stdin() {
    let _ = io::stdin().read_to_end(&mut Vec::new());
}

#[test]
#[ignore = "needs macOS"]
fn the_environment_of_a_program_shows_its_marker() {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "sys::macos::tests::waits_for_the_end_of_its_stdin"]);
    let mut child = piped(command.env("PILLION_TEST_MARKER", "1"));
    // The harness prints before it runs the test: the child has executed its program.
    line(&mut child);
    let mut table = SystemTable::new();
    let found = table.find(id(&child)).unwrap();
    let own = table.find(std::process::id().cast_signed()).unwrap();
    assert_eq!((found.parent, found.parent_unique_id), (own.pid, own.unique_id));
    assert_eq!(table.environment(found.pid, b"PILLION_TEST_MARKER=1"), Environment::Marked);
    assert_eq!(table.environment(found.pid, b"PILLION_TEST_MARKER=2"), Environment::Unmarked);
    assert!(table.pids().unwrap().contains(&own.pid));
    drop(child.stdin.take());
    child.wait().unwrap();
}

#[test]
#[ignore = "needs macOS"]
fn an_orphan_keeps_the_unique_id_of_the_process_that_forked_it() {
    // Programs of macOS, whose environment the system hides.
    let mut shell = piped(Command::new("/bin/sh").args(["-c", "/bin/sleep 1000 & echo $!; read line"]));
    let orphan: i32 = line(&mut shell).parse().unwrap();
    let parent = processes::find(id(&shell)).unwrap();
    drop(shell.stdin.take());
    shell.wait().unwrap();
    let found = processes::find(orphan).unwrap();
    assert_eq!((found.parent, found.parent_unique_id), (1, parent.unique_id));
    // So a sweep that knows the dead parent alone finds it.
    let marker = "PILLION_TEST_MARKER=absent".to_owned();
    sweep(&Known { marker, session: None, remembered: vec![(parent.pid, parent.unique_id)] });
    assert_eq!(processes::find(orphan), None);
}

/// A shell of macOS, whose environment the system hides, with a child that executes another one when it reads a line. That child prints `up`
/// then. The shell ends at once.
fn shell_with_orphan() -> Command {
    let mut shell = Command::new("/bin/sh");
    let orphan = "read line <&3; exec /bin/sh -c 'echo up; read line <&3'";
    shell.args(["-c", &format!("exec 3<&0; ({orphan}) & echo $!")]);
    shell
}

#[test]
#[ignore = "needs macOS"]
fn an_orphan_that_executes_a_program_is_known_by_the_version_of_its_parent() {
    let mut shell = piped(&mut shell_with_orphan());
    let orphan: i32 = line(&mut shell).parse().unwrap();
    let parent_version = processes::find(orphan).unwrap().original_parent_version;
    // To wait for it would close a stdin that it still has.
    let mut input = shell.stdin.take().unwrap();
    shell.wait().unwrap();
    writeln!(input).unwrap();
    assert_eq!(line(&mut shell), "up");
    let found = processes::find(orphan).unwrap();
    // Before macOS 15.4 the system tells 0.
    assert_eq!((found.parent, found.original_parent_version), (1, parent_version));
    assert_ne!(found.version, 0);
}

#[test]
#[ignore = "needs macOS"]
fn a_sweep_finds_all_processes_of_a_session_whose_leader_has_ended() {
    let mut command = shell_with_orphan();
    in_new_session(&mut command);
    let mut shell = piped(&mut command);
    let leader = Pid::from_raw(id(&shell)).unwrap();
    let orphan: i32 = line(&mut shell).parse().unwrap();
    waitid(WaitId::Pid(leader), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
    writeln!(shell.stdin.as_mut().unwrap()).unwrap();
    assert_eq!(line(&mut shell), "up");
    assert_eq!(processes::find(orphan).unwrap().session, leader.as_raw_nonzero().get());
    let marker = "PILLION_TEST_MARKER=absent".to_owned();
    sweep(&Known { marker, session: Some(leader), remembered: Vec::new() });
    assert_eq!(processes::find(orphan), None);
    shell.wait().unwrap();
}

#[test]
#[ignore = "needs macOS"]
fn a_zombie_is_not_found() {
    let mut child = piped(&mut Command::new("/usr/bin/true"));
    let pid = Pid::from_raw(id(&child)).unwrap();
    waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
    assert_eq!((processes::find(id(&child)), identity_of_child(pid, getpid())), (None, None));
    assert_eq!(members(pid).unwrap(), Vec::new());
    child.wait().unwrap();
}

#[test]
#[ignore = "needs macOS"]
fn the_guard_is_stored_in_the_users_cache_directory() {
    let program = GuardProgram::in_cache(b"#!/bin/sh\nexit 7\n").unwrap();
    assert!(program.path().starts_with(user_cache_directory().unwrap()));
    assert_eq!(Command::new(program.path()).status().unwrap().code(), Some(7));
}

#[test]
#[ignore = "needs macOS"]
fn the_usage_is_that_of_the_leader_and_its_children() {
    let script = "/bin/sleep 1000 & echo up; read line; i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; \
                  echo done; read line; kill $!";
    let mut shell = piped(Command::new("/bin/sh").args(["-c", script]).process_group(0));
    let leader = Pid::from_raw(id(&shell)).unwrap();
    assert_eq!(line(&mut shell), "up");
    let first = ProcessTree::of_group(leader).usage();
    let (memory, kind) = first.memory.unwrap();
    assert!(first.processes == Some(2) && memory > 100_000 && kind == MemoryKind::Footprint, "{first:?}");
    assert!(first.descriptors.unwrap() >= 6, "{first:?}");
    writeln!(shell.stdin.as_mut().unwrap()).unwrap();
    assert_eq!(line(&mut shell), "done");
    let after = ProcessTree::of_group(leader).usage();
    assert!(after.cpu_time.unwrap() > first.cpu_time.unwrap(), "{first:?} {after:?}");
    // The end of its stdin: it ends its child.
    drop(shell.stdin.take());
    shell.wait().unwrap();
}
