//! How the guard ends the sidecar: it asks the leader, then the rest, and kills what is left.

use std::{io::Write, os::unix::process::ExitStatusExt, process::ExitStatus, time::Instant};

use super::{
    Guard,
    sys::{self, Descendant},
};

/// When the guard goes on by itself, after the app's death.
#[derive(Clone, Copy)]
pub(crate) struct Deadlines {
    pub(crate) ask_rest: Option<Instant>,
    pub(crate) kill: Option<Instant>,
}

/// What the supervisor is told about the end of the leader.
pub(crate) fn end_line(status: ExitStatus) -> String {
    let core = if status.core_dumped() { " core" } else { "" };
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited {code}"),
        (None, Some(signal)) => format!("signalled {signal}{core}"),
        (None, None) => "exited 255".to_owned(),
    }
}

/// The same in words.
pub(crate) fn end_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (_, Some(signal)) => format!("was killed by signal {signal}"),
        (code, None) => format!("exited with code {}", code.unwrap_or(255)),
    }
}

impl Guard {
    /// Asks the leader by the remembered HTTP request, or in another way without one.
    pub(crate) fn ask_leader_by_http_or_else(&mut self) {
        match self.http_stop.take() {
            Some(http) if !self.leader_asked && !self.reaped && http.send().is_ok() => {
                self.leader_asked = true;
            }
            _ => self.ask_leader(),
        }
    }

    /// Asks the leader to end, once.
    pub(crate) fn ask_leader(&mut self) {
        let lifeline = self.lifeline.take();
        if std::mem::replace(&mut self.leader_asked, true) {
            return;
        }
        if !self.stop.stdin.is_empty()
            && let Some(mut lifeline) = lifeline
            && sys::set_nonblocking(&lifeline)
            && lifeline.write_all(&self.stop.stdin).is_ok()
        {
            return;
        }
        if self.stop.whole_group {
            self.ask_group();
        } else if !self.reaped {
            self.signal_leader();
        }
    }

    /// Sends the signal to each process that did not get it yet.
    ///
    /// A process whose stdin is the output of another one (`server | prettifier`) is spared while that one lives: without its
    /// reader, the server would die of SIGPIPE before it has stopped. The end of its stdin ends it, and if it does not, it is
    /// asked then.
    pub(crate) fn ask_rest(&mut self) {
        self.lifeline = None;
        let first = !std::mem::replace(&mut self.rest_asked, true);
        let leader_has_it = !self.reaped && self.leader_signalled;
        // The others may be deep below a leader that lives. Later, orphans become our children.
        let mut all = if first || self.readers_spared { self.list_deep() } else { self.list() };
        self.signalled.retain(|old| all.iter().any(|process| process.is(old)));
        let listed = all.len();
        self.descendants.remove_readers(&mut all);
        self.readers_spared = all.len() < listed;
        let (group, others) = self.partition_by_group(all);
        if first
            && !leader_has_it
            && !self.group_signalled
            && !self.readers_spared
            && (!self.reaped || !group.is_empty())
        {
            // At once, so that no process of the group escapes by a fork.
            for signal in [self.stop.signal, sys::SIGCONT] {
                sys::kill_group(self.leader, signal);
            }
            (self.group_signalled, self.leader_signalled) = (true, true);
            self.signalled.extend(group);
        } else if !self.group_signalled {
            group.into_iter().for_each(|process| self.signal_stop(process));
        }
        others.into_iter().for_each(|process| self.signal_stop(process));
    }

    /// Sends the signal to the whole group at once, as Ctrl-C in a terminal does.
    fn ask_group(&mut self) {
        if !self.reaped && !std::mem::replace(&mut self.group_signalled, true) {
            let all = self.list_deep();
            let (group, _) = self.partition_by_group(all);
            for signal in [self.stop.signal, sys::SIGCONT] {
                sys::kill_group(self.leader, signal);
            }
            self.leader_signalled = true;
            self.signalled.extend(group);
        }
    }

    /// Sends the signal to the leader, which is not reaped, once.
    ///
    /// The kernel cannot have reused its number, so that nothing has to be looked up.
    fn signal_leader(&mut self) {
        if !std::mem::replace(&mut self.leader_signalled, true) {
            for signal in [self.stop.signal, sys::SIGCONT] {
                sys::kill_child(self.leader, signal);
            }
        }
    }

    /// Sends the signal to a process, once.
    fn signal_stop(&mut self, process: Descendant) {
        if process.pid == self.leader && !self.reaped {
            return self.signal_leader();
        }
        if !self.signalled.iter().any(|old| old.is(&process)) {
            // A stopped process cannot handle a signal before it is continued (signal(7)).
            for signal in [self.stop.signal, sys::SIGCONT] {
                sys::kill(&process, signal);
            }
            self.signalled.push(process);
        }
    }

    pub(crate) fn kill(&mut self) {
        self.lifeline = None;
        let mut all = self.list();
        // A process that a kill does not end at once may keep its descendants from becoming our children for ever: a debugger or a
        // file system holds it, or it has another user.
        if all.iter().any(|process| self.killed.iter().any(|old| old.is(process))) {
            all = self.list_deep();
        }
        let (group, others) = self.partition_by_group(all);
        if !self.reaped || !group.is_empty() {
            sys::kill_group(self.leader, sys::SIGKILL);
        }
        others.iter().for_each(|process| sys::kill(process, sys::SIGKILL));
        self.killed = group;
        self.killed.extend(others);
    }

    /// The live descendants in two parts: those that a signal to the group reaches, and those that need their own signal.
    ///
    /// The group's number stays valid while the leader is not reaped or another child of ours is in the group.
    fn partition_by_group(&self, all: Vec<Descendant>) -> (Vec<Descendant>, Vec<Descendant>) {
        let number_is_held = sys::IS_SUBREAPER || !self.reaped;
        all.into_iter().partition(|process| number_is_held && process.group == self.leader)
    }
}
