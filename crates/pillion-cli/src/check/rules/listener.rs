//! Rule 6: the listener of the host.

use std::net::TcpListener;
#[cfg(target_os = "linux")]
use std::os::fd::AsFd as _;

use pillion_vectors::{Address, Descriptor3, Server as _};
use rustix::process::Signal;

use super::{environment, requests};
#[cfg(target_os = "linux")]
use crate::binary;
use crate::check::{
    harness::{Harness, Start, Started},
    report::Verdict,
    run::{Run, Shown},
};

fn third(kind: &str) -> Result<Descriptor3, Verdict> {
    Descriptor3::new(kind)
        .map_err(|error| Verdict::NotChecked(format!("a descriptor cannot be made: {error:#}")))
}

/// Starts the program with a listener that it takes.
fn taken(harness: &Harness, kind: &str, change: impl FnOnce(Start) -> Start) -> Result<Run, Verdict> {
    let third = third(kind)?;
    let address = third.address.clone();
    match harness.launch(change(harness.start()).handover(third))? {
        Started::Announced(run) if Some(run.address()) == address.as_ref() => Ok(run),
        Started::Announced(run) => Err(Verdict::NotSupported(format!(
            "the program opened {} instead of the listener of the host",
            Shown(run.address())
        ))),
        Started::Ended(ended) => {
            Err(Verdict::Broken(format!("with a listener of the host: {}", ended.text())))
        }
        Started::Silent(_) => Err(Verdict::Broken("with a listener of the host: no announcement".to_owned())),
    }
}

/// Fails if the program does not take listeners at all.
fn needs_handover(harness: &Harness) -> Result<(), Verdict> {
    let try_once = || taken(harness, "tcp", |start| start).map(drop);
    harness.shared.takes_listener.get_or_init(try_once).clone().map_err(as_not_checked)
}

/// The check `handover` or `socket` says that the rule is broken.
fn as_not_checked(why: Verdict) -> Verdict {
    match why {
        Verdict::Broken(why) => Verdict::NotChecked(why),
        why => why,
    }
}

fn answers(harness: &Harness, run: &Run, how: &str) -> Verdict {
    match run.get("GET /health", harness.settings.private) {
        Ok(answer) if answer.status != 0 => Verdict::Kept(format!("{how}: GET /health: {}", answer.status)),
        Ok(answer) => Verdict::Broken(format!("{how}: GET /health: {}", answer.text())),
        Err(error) => Verdict::Broken(format!("{how}: GET /health: {error:#}")),
    }
}

pub(in crate::check) fn handover(harness: &Harness) -> Result<Verdict, Verdict> {
    let run = taken(harness, "tcp", |start| start)?;
    Ok(answers(harness, &run, "descriptor 3 is a listener on a port"))
}

/// A listener beside a taken and an invalid `PORT`.
pub(in crate::check) fn port(harness: &Harness) -> Result<Verdict, Verdict> {
    needs_handover(harness)?;
    let other = TcpListener::bind("127.0.0.1:0").map_err(|error| Verdict::NotChecked(error.to_string()))?;
    let other =
        other.local_addr().map_err(|error| Verdict::NotChecked(error.to_string()))?.port().to_string();
    let mut broken = Vec::new();
    for port in [other.as_str(), "http"] {
        if let Err(why) = taken(harness, "tcp", |start| start.set("PORT", port)) {
            broken.push(format!("PORT={port}: {}", why.split().1));
        }
    }
    Ok(Verdict::unless(&broken, "it takes the listener, whatever PORT says"))
}

/// Whether the program refuses to start with these descriptors.
fn refuses(harness: &Harness, cases: &[(&str, &str)]) -> Result<Verdict, Verdict> {
    needs_handover(harness)?;
    let (mut kept, mut broken) = (Vec::new(), Vec::new());
    for (kind, count) in cases {
        let start = harness.start().handover(third(kind)?).set("LISTEN_FDS", *count);
        let shown = format!("LISTEN_FDS={count}, descriptor 3: {kind}");
        match harness.launch(start)? {
            Started::Ended(ended) => kept.push(format!("{shown}: it {}", ended.exit)),
            Started::Announced(run) => {
                broken.push(format!("{shown}: it started on {}", Shown(run.address())));
            }
            Started::Silent(_) => broken.push(format!("{shown}: it neither announced itself nor ended")),
        }
    }
    Ok(Verdict::unless(&broken, kept.join("; ")))
}

pub(in crate::check) fn count(harness: &Harness) -> Result<Verdict, Verdict> {
    refuses(harness, &[("tcp", "0"), ("tcp", "2"), ("tcp", ""), ("tcp", "http")])
}

pub(in crate::check) fn address(harness: &Harness) -> Result<Verdict, Verdict> {
    refuses(harness, &[("tcp 0.0.0.0", "1"), ("tcp [::]", "1")])
}

pub(in crate::check) fn kind(harness: &Harness) -> Result<Verdict, Verdict> {
    refuses(harness, &[("connection", "1"), ("udp", "1"), ("file", "1")])
}

/// A listener for another process is left alone.
pub(in crate::check) fn foreign(harness: &Harness) -> Result<Verdict, Verdict> {
    let mut broken = Vec::new();
    for pid in ["1", "{ppid}", ""] {
        let third = third("tcp")?;
        let inherited = third.address.clone();
        let start = harness.start().handover(third).set("LISTEN_PID", pid);
        match harness.launch(start)? {
            Started::Announced(run) if Some(run.address()) != inherited.as_ref() => {}
            Started::Announced(_) => broken.push(format!("LISTEN_PID={pid:?}: it took descriptor 3")),
            Started::Ended(ended) => broken.push(format!("LISTEN_PID={pid:?}: {}", ended.text())),
            Started::Silent(_) => broken.push(format!("LISTEN_PID={pid:?}: no announcement")),
        }
    }
    Ok(Verdict::unless(&broken, "with LISTEN_PID of another process, it opened a port itself"))
}

/// Stops the program, and looks whether the listener still listens.
pub(in crate::check) fn shutdown(harness: &Harness) -> Result<Verdict, Verdict> {
    needs_handover(harness)?;
    let run = taken(harness, "tcp", |start| start)?;
    let _ = run.get("GET /health", harness.settings.private);
    ended(&run)?;
    Ok(match run.connect_once() {
        Ok(_) => Verdict::Kept("after the end of the program, a client can still connect".to_owned()),
        Err(error) => Verdict::Broken(format!("after the end of the program: {error}")),
    })
}

fn ended(run: &Run) -> Result<(), Verdict> {
    let _ = run.signal(Signal::TERM);
    let ended = run.wait_exit(super::stop::LIMIT);
    ended.map(drop).ok_or_else(|| Verdict::NotChecked("SIGTERM does not end the program".to_owned()))
}

/// Each descriptor of the listener is closed by exec.
#[cfg(target_os = "linux")]
pub(in crate::check) fn close_on_exec(harness: &Harness) -> Result<Verdict, Verdict> {
    needs_handover(harness)?;
    let run = taken(harness, "tcp", |start| start)?;
    let _ = run.get("GET /health", harness.settings.private);
    let (Some(pid), Some(third)) = (run.pid(), &run.third) else {
        return Err(Verdict::NotChecked("the program has ended".to_owned()));
    };
    let pid = server(pid);
    let stat = rustix::fs::fstat(third.fd.as_fd()).map_err(|error| Verdict::NotChecked(error.to_string()))?;
    let socket = format!("socket:[{}]", stat.st_ino);
    let (mut held, mut open) = (Vec::new(), Vec::new());
    let folder = format!("/proc/{pid}/fd");
    for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
        if std::fs::read_link(entry.path()).is_ok_and(|target| target.as_os_str() == socket.as_str()) {
            let number = entry.file_name().to_string_lossy().into_owned();
            // O_CLOEXEC among the flags: <https://man7.org/linux/man-pages/man5/proc_pid_fdinfo.5.html>.
            let info = std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).unwrap_or_default();
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
            let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok()).unwrap_or(0);
            if flags & rustix::fs::OFlags::CLOEXEC.bits() == 0 {
                open.push(format!("descriptor {number} of the listener stays open in other programs"));
            }
            held.push(number);
        }
    }
    Ok(Verdict::unless(&open, format!("FD_CLOEXEC is set on descriptor {}", held.join(", "))))
}

/// The process that serves: the program, or the child of `PyInstaller`'s bootloader, which only waits for it and starts no other
/// program. <https://man7.org/linux/man-pages/man5/proc_pid_task_children.5.html>
#[cfg(target_os = "linux")]
fn server(pid: u32) -> u32 {
    let program = |pid: &u32| std::fs::read_link(format!("/proc/{pid}/exe")).ok();
    let Some(bootloader) = program(&pid) else { return pid };
    let one_file =
        binary::read(&bootloader).is_ok_and(|it| it.runtime == Some(binary::Runtime::PyInstallerOnefile));
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let mut children = children.split_whitespace().filter_map(|child| child.parse().ok());
    let itself = |child: &u32| one_file && program(child).as_ref() == Some(&bootloader);
    children.find(itself).unwrap_or(pid)
}

#[cfg(not(target_os = "linux"))]
pub(in crate::check) fn close_on_exec(_: &Harness) -> Result<Verdict, Verdict> {
    Err(Verdict::NotChecked("the flags of a descriptor are visible only on Linux".to_owned()))
}

pub(in crate::check) fn socket(harness: &Harness) -> Result<Verdict, Verdict> {
    let run = taken(harness, "unix", |start| start)?;
    let how = "descriptor 3 is a Unix domain socket";
    Ok(answers(harness, &run, how))
}

/// `Host` and the proof on a local socket.
pub(in crate::check) fn socket_host(harness: &Harness) -> Result<Verdict, Verdict> {
    environment::needs_private(harness)?;
    let run = taken(harness, "unix", |start| start).map_err(as_not_checked)?;
    let failures = requests::failures_on_socket(harness, &run)?;
    Ok(Verdict::unless(&failures, "Host is localhost, in the proof too"))
}

pub(in crate::check) fn socket_path(harness: &Harness) -> Result<Verdict, Verdict> {
    let run = taken(harness, "unix", |start| start).map_err(as_not_checked)?;
    let Address::Unix(path) = run.address().clone() else {
        return Err(Verdict::NotChecked("the socket has no path".to_owned()));
    };
    ended(&run)?;
    Ok(if path.exists() {
        Verdict::Kept("the path of the socket exists after the end of the program".to_owned())
    } else {
        Verdict::Broken("the path of the socket is gone after the end of the program".to_owned())
    })
}
