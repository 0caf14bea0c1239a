use std::{
    fs::{File, Permissions},
    io::Read as _,
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    path::Path,
    process::Command,
    thread::JoinHandle,
};

use rustix::{
    io::{Errno, FdFlags, fcntl_getfd, fcntl_setfd},
    process::{Signal, WaitId, WaitIdOptions, kill_process, waitid},
};

use super::*;
use crate::sys::unix::test_request;

/// A sidecar that has ended: what it has written, how it was started, and what its guard has told.
struct Ended {
    output: String,
    started: LightGuard,
    report: String,
}

/// Starts the program, and waits for the end of all. The ends of the streams go through `move_fd` first.
fn run_with(
    programs: &Programs,
    command: Command,
    move_fd: impl Fn(OwnedFd) -> OwnedFd,
) -> io::Result<io::Result<Ended>> {
    let (mut control, end) = UnixStream::pair().unwrap();
    let (mut output, writer) = io::pipe().unwrap();
    let copy = output.try_clone().unwrap();
    let fds = [end.into(), writer.try_clone().unwrap().into(), writer.into(), copy.into()].map(move_fd);
    let [control_end, stdout, stderr, copy] = fds.each_ref().map(AsFd::as_fd);
    let ends = Ends { control: control_end, streams: [stdout, stderr], outputs: [copy, copy] };
    let started = programs.start(&test_request(command), OsStr::new("15,leader,"), &ends)?;
    drop(fds);
    let (mut text, mut report) = (String::new(), String::new());
    output.read_to_string(&mut text).unwrap();
    control.read_to_string(&mut report).unwrap();
    Ok(started.map(|started| {
        waitpid(Some(started.guard), WaitOptions::empty()).unwrap();
        Ended { output: text, started, report }
    }))
}

/// The programs, by each call that starts a child.
fn all_programs() -> [Programs; 2] {
    [Vfork::Clone3, Vfork::Clone].map(|vfork| Programs { vfork, ..Programs::load().unwrap() })
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]).env_clear().env("PATH", "/none:/bin:/usr/bin").env("A", "1=2");
    command
}

fn run(programs: &Programs, script: &str) -> Ended {
    run_with(programs, shell(script), |fd| fd).unwrap().unwrap()
}

/// A copy with at least this number.
fn from(number: c_int) -> impl Fn(OwnedFd) -> OwnedFd {
    move |fd| fcntl_dupfd_cloexec(fd, number).unwrap()
}

#[test]
fn both_calls_pass_the_trial() {
    let light = Programs::load().unwrap().light;
    assert!(try_with(Vfork::Clone3, light) && try_with(Vfork::Clone, light));
    let null = File::open("/dev/null").unwrap();
    assert!(!try_with(Vfork::Clone3, null.as_fd()));
}

#[test]
fn the_program_gets_its_arguments_environment_directory_and_streams() {
    let script = "echo $0 $A; pwd; readlink /proc/self/fd/0 | cut -c 1-5; echo error >&2; exit 7";
    for programs in all_programs() {
        for first in [3, FEW, ASIDE] {
            let mut command = shell(script);
            command.current_dir("/usr");
            let ended = run_with(&programs, command, from(first)).unwrap().unwrap();
            assert_eq!(ended.output, "sh 1=2\n/usr\npipe:\nerror\n");
            assert!(ended.report.starts_with("exited 7\nused "), "{}", ended.report);
            assert_eq!(ended.started.limited, None);
        }
    }
}

#[test]
fn neither_process_gets_another_descriptor() {
    // Inheritable, one among the low ones and one that many are below.
    let inheritable = [3, 700].map(|from| {
        let fd = fcntl_dupfd_cloexec(File::open("/dev/zero").unwrap(), from).unwrap();
        fcntl_setfd(&fd, FdFlags::empty()).unwrap();
        fd
    });
    // The numbers, without that of the folder itself.
    let script = "for fd in /proc/self/fd/*; do [ ! -e $fd ] || echo ${fd##*/}; done; readlink /proc/$PPID/fd/*; \
                  tr '\\0' '\\n' < /proc/$PPID/cmdline | head -2";
    for programs in all_programs() {
        // After its start, the guard has its own descriptors.
        let wait =
            format!("while ! tr '\\0' ' ' < /proc/$PPID/cmdline | grep -q resume; do :; done; {script}");
        let output = run(&programs, &wait).output;
        let (numbers, rest) = output.split_at(output.find("socket:").unwrap());
        assert_eq!(numbers, "0\n1\n2\n", "{output}");
        assert!(!rest.contains("/dev/zero") && rest.ends_with("pillion-guard\nresume\n"), "{output}");
        assert_eq!(rest.lines().filter(|line| line.contains("light")).count(), 0, "{output}");
    }
    assert!(inheritable.iter().all(|fd| fcntl_getfd(fd).is_ok()), "ours are open");
}

#[test]
fn a_program_that_cannot_be_executed_is_an_error_and_leaves_no_process() {
    for programs in all_programs() {
        for (program, directory, error) in [
            ("/bin/sh", "/none", Errno::NOENT),
            ("/none", "/", Errno::NOENT),
            ("none", "/", Errno::NOENT),
            ("/", "/", Errno::ACCESS),
            ("/etc/passwd", "/", Errno::ACCESS),
        ] {
            let mut command = Command::new(program);
            command.env_clear().current_dir(directory);
            let failed = run_with(&programs, command, |fd| fd).err().unwrap();
            assert_eq!(failed.raw_os_error(), Some(error.raw_os_error()), "{program} in {directory}");
        }
        // Longer than the system permits (execve(2)).
        let failed = run_with(&programs, shell(&" ".repeat(200_000)), |fd| fd).err().unwrap();
        assert_eq!(failed.raw_os_error(), Some(Errno::TOOBIG.raw_os_error()));
    }
    let mut command = shell("");
    command.env("A", "zero\0");
    let failed = run_with(&Programs::load().unwrap(), command, |fd| fd).err().unwrap();
    assert_eq!(failed.kind(), io::ErrorKind::InvalidInput);
    assert!(!has_children(), "something was left");
}

/// Whether this thread has a child. Other tests of this process have their own thread.
fn has_children() -> bool {
    !std::fs::read_to_string("/proc/thread-self/children").unwrap().is_empty()
}

#[test]
fn a_guard_that_cannot_be_executed_takes_the_sidecar_along() {
    let not_a_program = File::open("/dev/null").unwrap();
    // SAFETY: it stays open until the end of this test, which uses it alone.
    let light = unsafe { BorrowedFd::borrow_raw(not_a_program.as_raw_fd()) };
    let failed = Box::leak(Box::new(AtomicBool::new(false)));
    let programs = Programs { light, failed, ..Programs::load().unwrap() };
    // Reading its output waits for the end of the sidecar.
    let error =
        run_with(&programs, shell("read forever < /dev/zero; sleep 1000"), |fd| fd).unwrap().err().unwrap();
    assert_eq!(error.raw_os_error(), Some(Errno::ACCESS.raw_os_error()));
    assert!(failed.load(Ordering::Relaxed), "the next start uses another guard");
    assert!(!has_children(), "something was left");
}

/// The first child of a thread, and its state, once that is the asked one.
fn child(thread: &str, state: &str) -> String {
    loop {
        let children = std::fs::read_to_string(format!("/proc/{thread}/children")).unwrap_or_default();
        if let Some(child) = children.split_whitespace().next()
            && std::fs::read_to_string(format!("/proc/{child}/stat")).is_ok_and(|stat| stat.contains(state))
        {
            return child.to_owned();
        }
        std::thread::yield_now();
    }
}

/// A program that waits in execve(2) until the lease ends: a process that opens the file waits for the one that has a write lease, which gets
/// a signal (`F_SETLEASE`, fcntl(2)). `None` where there are no leases.
fn leased(program: &Path) -> Option<File> {
    let file = File::open(program).unwrap();
    // SAFETY: the calls touch no memory.
    let leased = unsafe {
        libc::signal(libc::SIGIO, libc::SIG_IGN);
        libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK)
    };
    if leased != 0 {
        eprintln!("not tested: there are no leases here: {}", io::Error::last_os_error());
    }
    (leased == 0).then_some(file)
}

/// Starts the program in another thread. Returns that, and the process ids of the guard and of the sidecar, which waits in execve(2).
fn start_leased(command: Command) -> (JoinHandle<io::Result<io::Result<()>>>, Pid, String) {
    // Its trial has a child as well.
    let programs = Programs::load().unwrap();
    let (sender, thread) = std::sync::mpsc::channel();
    let started = std::thread::spawn(move || {
        // SAFETY: touches no memory.
        sender.send(unsafe { libc::gettid() }).unwrap();
        run_with(&programs, command, |fd| fd).map(|started| started.map(drop))
    });
    let guard = child(&format!("self/task/{}", thread.recv().unwrap()), "");
    // It sleeps nowhere else.
    let sidecar = child(&format!("{guard}/task/{guard}"), ") S ");
    (started, Pid::from_raw(guard.parse().unwrap()).unwrap(), sidecar)
}

#[test]
fn a_guard_that_is_killed_before_the_sidecar_is_executed_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("program");
    std::fs::copy("/bin/sleep", &program).unwrap();
    let Some(_lease) = leased(&program) else { return };
    let mut command = Command::new(program);
    command.arg("1000");
    let (started, guard, sidecar) = start_leased(command);
    kill_process(guard, Signal::KILL).unwrap();
    let error = started.join().unwrap().unwrap().unwrap_err();
    assert_eq!(error.to_string(), "it was killed at its start");
    let stat = std::fs::read_to_string(format!("/proc/{sidecar}/stat")).unwrap_or_default();
    // Its parent is now another process, which may not have reaped it yet.
    assert!(stat.is_empty() || stat.contains(") Z "), "{stat}");
}

/// The memory is kept, because the sidecar's process can tell the error and still run when the guard has been killed.
#[test]
fn a_guard_that_is_killed_while_the_sidecar_tells_an_error_tells_none() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("program");
    std::fs::write(&program, "neither a program nor a script").unwrap();
    std::fs::set_permissions(&program, Permissions::from_mode(0o700)).unwrap();
    let Some(lease) = leased(&program) else { return };
    let (started, guard, _) = start_leased(Command::new(program));
    // It stops as soon as it no longer waits for the sidecar's process, which has ended then.
    kill_process(guard, Signal::STOP).unwrap();
    drop(lease);
    waitid(WaitId::Pid(guard), WaitIdOptions::STOPPED).unwrap();
    kill_process(guard, Signal::KILL).unwrap();
    let error = started.join().unwrap().unwrap().unwrap_err();
    assert_eq!(error.to_string(), "it was killed at its start");
}

#[test]
fn no_signal_waits_or_has_a_handler_in_the_sidecar_and_ours_are_as_before() {
    let signals = |status: &str| {
        ["SigBlk:\t", "SigIgn:\t", "SigCgt:\t"].map(|name| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            u64::from_str_radix(line, 16).unwrap()
        })
    };
    let ours = || signals(&std::fs::read_to_string("/proc/thread-self/status").unwrap());
    let before = ours();
    // std ignores it.
    let pipe = 1 << (libc::SIGPIPE - 1);
    assert!(before[1] & pipe != 0 && before[2] != 0, "{before:?}");
    for programs in all_programs() {
        let ended = run(&programs, "exec cat /proc/self/status");
        assert_eq!(signals(&ended.output), [0, before[1] & !pipe, 0]);
    }
    assert_eq!(ours(), before);
}

#[test]
fn the_guard_leads_the_session_and_the_sidecar_a_group() {
    let programs = Programs::load().unwrap();
    let ended = run(&programs, "exec cut -d ' ' -f 1,4,5,6 /proc/self/stat");
    let (guard, leader) = (ended.started.guard, ended.started.leader);
    assert_eq!(ended.output, format!("{leader} {guard} {leader} {guard}\n"));
}

/// The kernel counts the memory of this process for the sidecar, whose process has begun in it.
#[test]
fn the_memory_of_the_app_is_not_told_as_that_of_the_sidecar() {
    let ours = std::hint::black_box(vec![1_u8; 64 << 20]);
    let programs = Programs::load().unwrap();
    // The second one leaves a process to the full guard.
    for script in ["exit 0", "sleep 0.01 & exit 0"] {
        let report = run(&programs, script).report;
        assert!(report.contains("used ") && report.ends_with(" -\ngone\n"), "{report}");
    }
    drop(ours);
}

#[test]
fn the_start_time_is_that_of_proc() {
    let programs = Programs::load().unwrap();
    // Most starts lie within a clock tick.
    let ended: Vec<_> = (0..20).map(|_| run(&programs, "exec cut -d ' ' -f 22 /proc/self/stat")).collect();
    let known = ended.iter().filter(|ended| ended.started.start_time.is_some());
    assert!(known.clone().count() > 0);
    for ended in known {
        assert_eq!(ended.output.trim_end().parse().ok(), ended.started.start_time);
    }
}

#[test]
fn descriptors_that_stay_open_are_set_aside_if_there_are_many() {
    let open = |from| fcntl_dupfd_cloexec(File::open("/dev/null").unwrap(), from).unwrap();
    let many = open(FEW);
    let number = many.as_raw_fd();
    assert!(set_aside(many).as_raw_fd() >= ASIDE && number < ASIDE);
    let far = open(ASIDE);
    let number = far.as_raw_fd();
    assert_eq!(set_aside(far).as_raw_fd(), number);
}
