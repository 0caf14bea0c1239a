//! What becomes of a sidecar when its light guard has to become the full one and the system makes that difficult.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, Write},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::{net::UnixStream, process::ExitStatusExt},
    },
    process::{self, Command, ExitStatus, Stdio},
    thread::{self, JoinHandle},
    time::Instant,
};

use integration_tests::{
    LiveProcess, ProcessTree, ReportServer, TEST_TIMEOUT, TestMarker, run,
    sandbox::{killing, may, refusing},
};
use rustix::{
    fs::{MemfdFlags, memfd_create},
    process::{Pid, Signal, WaitId, WaitIdOptions, waitid},
};

use crate::support::{FakeHost, HOUR, fake_sidecar, programs};

/// A sidecar that reports when it is asked to end, perhaps with a daemon that ends by SIGTERM.
fn asked(reports: &ReportServer, daemon: bool) -> Vec<String> {
    let (port, daemon) = (reports.port(), if daemon { "daemon close park ;" } else { "" });
    fake_sidecar(&format!("listen ok {daemon} announce term report {port} asked exit 0"))
}

fn guard(tree: &ProcessTree) -> LiveProcess {
    tree.alive().into_iter().find(LiveProcess::is_guard).unwrap()
}

fn assert_all_end(processes: Vec<LiveProcess>) {
    let deadline = Instant::now() + TEST_TIMEOUT / 2;
    for process in processes {
        assert!(process.ends_before(deadline), "{process:?}");
    }
}

/// Kills an app in this sandbox. Its sidecar has to be asked to end, and all processes have to end. Returns whether its guard was a
/// light one at first.
async fn kills_the_app_in(sandbox: &[&str], daemon: bool) -> bool {
    let (hosts, sidecars) = (ReportServer::new().await, ReportServer::new().await);
    let mut host = FakeHost::start_in(sandbox, &hosts, HOUR, None, &asked(&sidecars, daemon));
    hosts.wait_for("host").await;
    let was_light = guard(&host.tree).is_light_guard();
    host.kill().await;
    sidecars.wait_for("asked").await;
    assert_all_end(host.tree.alive());
    was_light
}

#[test]
fn a_light_guard_takes_a_few_pages() {
    run(async {
        let (hosts, sidecars) = (ReportServer::new().await, ReportServer::new().await);
        let mut host = FakeHost::start_in(&[], &hosts, HOUR, None, &asked(&sidecars, false));
        hosts.wait_for("host").await;
        let guard = guard(&host.tree);
        if guard.is_light_guard() {
            let file = |name| fs::read(format!("/proc/{}/{name}", guard.pid)).unwrap();
            let smaps = String::from_utf8(file("smaps_rollup")).unwrap();
            let own = smaps.lines().find_map(|line| line.strip_prefix("Anonymous:")).unwrap();
            let own: usize = own.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024;
            // The kernel puts the arguments and the environment on the stack, with a pointer to each.
            let strings = [file("cmdline"), file("environ")].concat();
            let strings =
                strings.len() + strings.iter().filter(|byte| **byte == 0).count() * size_of::<usize>();
            // On x86-64, which alone has a light guard.
            let page = 4096;
            assert!(
                own <= strings.next_multiple_of(page) + 4 * page,
                "{own} bytes with {strings} of strings"
            );
        }
        host.kill().await;
        sidecars.wait_for("asked").await;
        assert_all_end(host.tree.alive());
    });
}

const EXECVEAT: u32 = 322;
const ENOSYS: u32 = 38;

#[test]
fn without_execveat_the_full_guard_starts_at_once() {
    let filter = refusing(EXECVEAT, None, ENOSYS);
    if may(&["python3", "-c", &filter]) {
        run(async { assert!(!kills_the_app_in(&["python3", "-c", &filter], true).await) });
    }
}

#[test]
fn where_execveat_fails_later_the_full_guard_is_executed_by_its_path() {
    const AT_EMPTY_PATH: u32 = 0x1000;
    // The guard asks with another flag beforehand.
    let filter = refusing(EXECVEAT, Some((4, AT_EMPTY_PATH)), ENOSYS);
    if may(&["python3", "-c", &filter]) {
        run(async {
            kills_the_app_in(&["python3", "-c", &filter], true).await;
        });
    }
}

#[test]
fn without_dev_null_the_full_guard_takes_over_all_the_same() {
    let sandbox = [
        "unshare",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        r#"mount -t tmpfs none /dev && { [ $# = 0 ] || exec "$@"; }"#,
    ];
    if may(&sandbox) {
        // A daemon of `fake-sidecar` needs /dev/null itself.
        run(async {
            kills_the_app_in(&[&sandbox[..], &["sh"]].concat(), false).await;
        });
    }
}

/// A program in memory. One in a file would be busy while another test starts a process (execve(2)).
fn in_memory(program: &[u8]) -> File {
    let mut memory = File::from(memfd_create("pillion-guard-light", MemfdFlags::CLOEXEC).unwrap());
    memory.write_all(program).unwrap();
    memory
}

/// Starts a sidecar and becomes its light guard, as the process does that the supervisor starts. Arguments: a pipe, of which it writes a byte
/// and closes the end when it has become the guard; the light guard, the full one, the file of the run, the two outputs, and the sidecar's
/// program with its arguments.
const BECOME_LIGHT_GUARD: &str = r#"
import ctypes, os, signal, subprocess, sys
executed, light, full, run_file, stdout, stderr, *sidecar = sys.argv[1:]
os.write(os.open(executed, os.O_WRONLY), b"x")
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
os.setsid()
def start():
    os.setpgid(0, 0)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
read, lifeline = os.pipe()
sidecar = subprocess.Popen(sidecar, stdin=read, preexec_fn=start)
full, stdout, stderr = (os.open(file, os.O_RDONLY) for file in (full, stdout, stderr))
run_file = os.open(run_file, os.O_RDWR)
for fd in (lifeline, full, run_file, stdout, stderr):
    os.set_inheritable(fd, True)
os.close(1)
os.close(2)
state = f"-,-,0,{lifeline},{run_file},{stdout},{stderr},0,-,-,-,{sidecar.pid}"
os.execv(light, ["pillion-guard", "resume", state, "3600000", "15,leader,", str(full)])
"#;

/// Starts a light guard and its sidecar, with this file as its full guard, and with the file of a run; in this sandbox, if any. Returns the
/// supervisor's end of the socket, and the end of the guard, once there is a guard.
#[expect(clippy::disallowed_methods, reason = "the tree kills what remains")]
fn start_light(
    sandbox: &[&str],
    tree: &ProcessTree,
    (full, run_file): (&File, &File),
    sidecar: &[String],
) -> (UnixStream, JoinHandle<ExitStatus>) {
    let light = in_memory(pillion_guard::LIGHT_PROGRAM);
    let (control, guard_end) = UnixStream::pair().unwrap();
    let (mut executed, executes) = io::pipe().unwrap();
    let (outputs, writers): (Vec<_>, Vec<_>) = (0..2).map(|_| io::pipe().unwrap()).unzip();
    // The other process opens them.
    let path = |fd: BorrowedFd<'_>| format!("/proc/{}/fd/{}", process::id(), fd.as_raw_fd());
    let files = [executes.as_fd(), light.as_fd(), full.as_fd(), run_file.as_fd()];
    let fds = files.into_iter().chain(outputs.iter().map(AsFd::as_fd));
    let words = [sandbox, &["python3", "-c", BECOME_LIGHT_GUARD]].concat();
    let mut command = Command::new(words[0]);
    let [stdout, stderr] = writers.try_into().ok().unwrap();
    command
        .args(&words[1..])
        .args(fds.map(path))
        .args(sidecar)
        .env(TestMarker::VARIABLE, tree.marker())
        .stdin(Stdio::from(OwnedFd::from(guard_end)))
        .stdout(stdout)
        .stderr(stderr);
    let mut child = command.spawn().unwrap();
    executed.read_exact(&mut [0]).unwrap();
    drop(executes);
    assert_eq!(executed.read(&mut [0]).unwrap(), 0);
    // Reaped at its end, for which the files stay open.
    let files = (light, full.try_clone().unwrap(), run_file.try_clone().unwrap(), outputs);
    (control, thread::spawn(move || child.wait().map(|status| (status, files)).unwrap().0))
}

#[test]
fn a_guard_that_cannot_become_the_full_one_asks_the_sidecar_and_ends_every_process() {
    run(async {
        let reports = ReportServer::new().await;
        let port = reports.port();
        // The daemon is outside the group, and both ignore the request.
        let steps = format!(
            "daemon ignore-term close report {port} daemon park ; report {port} up term report {port} asked ignore-term park"
        );
        let tree = ProcessTree::new(programs().sidecar);
        let not_a_program = File::open("/dev/null").unwrap();
        let run_file = tempfile::tempfile().unwrap();
        let (control, _) = start_light(&[], &tree, (&not_a_program, &run_file), &fake_sidecar(&steps));
        let _both = (reports.next().await, reports.next().await);
        let alive = tree.alive();
        drop(control);
        reports.wait_for("asked").await;
        assert_all_end(alive);
    });
}

#[test]
fn an_end_that_the_guard_sees_together_with_that_of_the_app_is_no_end_before_it() {
    run(async {
        let (reports, tree) = (ReportServer::new().await, ProcessTree::new(programs().sidecar));
        let (full, mut run_file) = (in_memory(pillion_guard::PROGRAM), tempfile::tempfile().unwrap());
        let sidecar = fake_sidecar(&format!("report {} up park", reports.port()));
        let (control, _) = start_light(&[], &tree, (&full, &run_file), &sidecar);
        let leader = reports.wait_for("up").await;
        let guard = guard(&tree);
        guard.signal(Signal::STOP).unwrap();
        // Until it has stopped, it could still see the end of the sidecar alone.
        let pid = Pid::from_raw(guard.pid.cast_signed()).unwrap();
        waitid(WaitId::Pid(pid), WaitIdOptions::STOPPED).unwrap();
        tree.sidecars()[0].signal(Signal::KILL).unwrap();
        leader.wait_death().await;
        drop(control);
        guard.signal(Signal::CONT).unwrap();
        assert_all_end(vec![guard]);
        let mut noted = String::new();
        run_file.rewind().unwrap();
        run_file.read_to_string(&mut noted).unwrap();
        let words: Vec<_> = noted.lines().filter_map(|line| line.split(' ').nth(1)).collect();
        assert_eq!(words, ["alone", "signalled", "used", "gone"], "{noted}");
    });
}

/// It would spin in the kernel until the last thread of the sidecar has finished: docs/benchmarks.md.
#[test]
fn a_light_guard_lets_other_threads_run_before_it_reaps_the_sidecar() {
    const SCHED_YIELD: u32 = 24;
    let filter = killing(SCHED_YIELD);
    if may(&["python3", "-c", &filter]) {
        let tree = ProcessTree::new(programs().sidecar);
        let (full, run_file) = (in_memory(pillion_guard::PROGRAM), tempfile::tempfile().unwrap());
        let sandbox = ["python3", "-c", &filter];
        let (mut control, end) = start_light(&sandbox, &tree, (&full, &run_file), &["true".to_owned()]);
        assert_eq!(end.join().unwrap().signal(), Some(Signal::SYS.as_raw()));
        let mut told = String::new();
        control.read_to_string(&mut told).unwrap();
        assert_eq!(told, "");
    }
}
