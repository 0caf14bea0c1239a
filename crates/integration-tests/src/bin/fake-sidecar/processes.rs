//! The steps that start processes.

use std::{
    env,
    io::{self, Read as _},
    net::TcpStream,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    process::{self, Child, Command, Stdio},
};

use crate::steps::Steps;

/// The processes that this one has started and waits for.
#[derive(Default)]
pub(crate) struct Processes {
    children: Vec<Child>,
    workers: Vec<Child>,
}

impl Processes {
    /// Executes the step. Returns false if it is none of these.
    pub(crate) fn execute(&mut self, step: &str, steps: &mut Steps) -> bool {
        match step {
            "fork" | "fork-without-env" | "new-group" => {
                let mut command = this_program();
                command.args(steps.of_child()).stdin(Stdio::null());
                match step {
                    "new-group" => drop(command.process_group(0)),
                    "fork-without-env" => drop(command.env_clear()),
                    _ => {}
                }
                self.children.push(command.spawn().unwrap());
            }
            "reap" => {
                for mut child in self.children.drain(..) {
                    child.wait().unwrap();
                }
            }
            "exec" => panic!("{}", this_program().args(steps.of_child()).exec()),
            "pool" => {
                let (count, port): (usize, _) = (steps.number(), steps.text());
                self.workers.extend((0..count).map(|_| worker(&port)));
            }
            "drain" => drain(&mut self.workers),
            "daemon" => {
                let mut command = Command::new("setsid");
                command
                    .arg("--fork")
                    .arg(env::current_exe().unwrap())
                    .args(steps.of_child())
                    .stdin(Stdio::null());
                assert!(command.status().unwrap().success());
            }
            #[cfg(target_os = "linux")]
            "subreaper" => rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap(),
            "storm" => {
                for _ in 0..steps.number() {
                    let mut command = this_program();
                    command
                        .args(["ignore-term", "park"])
                        .stdin(Stdio::null())
                        .process_group(0)
                        .spawn()
                        .unwrap();
                }
            }
            _ => return false,
        }
        true
    }
}

/// A process that was just seen has ended when it is looked for again. The connection tells the test whether one is left, and
/// the test ends the sequence by closing it.
pub(crate) fn hop(left: u32, report: Option<TcpStream>) {
    let mut test =
        report.unwrap_or_else(|| TcpStream::from(io::stdin().as_fd().try_clone_to_owned().unwrap()));
    rustix::process::setsid().unwrap();
    test.set_nonblocking(left > 0).unwrap();
    if test.read(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
        this_program().args(["hop", &(left - 1).to_string()]).stdin(OwnedFd::from(test)).spawn().unwrap();
    }
    process::exit(0);
}

fn this_program() -> Command {
    Command::new(env::current_exe().unwrap())
}

/// Starts a worker. It holds its job until its stdin ends, and SIGTERM kills it.
fn worker(port: &str) -> Child {
    let mut command = this_program();
    command.args(["report", port, "up", "eof", "exit", "0"]).env_clear().stdin(Stdio::piped());
    command.spawn().unwrap()
}

fn drain(workers: &mut Vec<Child>) {
    for worker in &mut *workers {
        drop(worker.stdin.take());
    }
    if !workers.drain(..).all(|mut worker| worker.wait().unwrap().success()) {
        process::exit(1);
    }
}
