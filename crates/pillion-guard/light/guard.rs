//! What the light guard does until the sidecar has ended, or until the full guard takes over.

use core::{ffi::c_int, time::Duration};

use crate::{
    guard_state::{Ended, GuardState, RESUME},
    stop_signal::StopSignal,
    sys::{self, Command, Process, Reaped},
    text::{Text, number},
};

/// Where the arguments are; `light/main.rs` describes them.
pub(crate) mod argument {
    pub(crate) const NAME: usize = 0;
    pub(crate) const TASK: usize = 1;
    pub(crate) const STATE: usize = 2;
    pub(crate) const GRACE: usize = 3;
    pub(crate) const STOP: usize = 4;
    pub(crate) const FULL: usize = 5;
}

/// When the guard first looks for other processes of the sidecar, and the longest pause until it does so again. The pauses double, as
/// those of the full guard do.
const LOOK_FIRST: Duration = Duration::from_millis(100);
const LOOK_MAX_INTERVAL: Duration = Duration::from_secs(60);

/// The sidecar.
struct Guard {
    process: Process,
    /// The program of the full guard.
    full: c_int,
    stop: StopSignal,
    state: GuardState,
}

/// Does what the arguments ask for, and ends this process.
pub(crate) fn run(process: Process) -> ! {
    match process.argument(argument::TASK) {
        Some(b"check") => sys::exit((!sys::can_execute(&process)).into()),
        Some(RESUME) => {}
        // It is started by pillion, not by hand.
        _ => sys::exit(2),
    }
    let state = process.argument(argument::STATE).and_then(GuardState::parse);
    let stop = process.argument(argument::STOP).and_then(StopSignal::parse);
    let full = process.argument(argument::FULL).and_then(number);
    let (Some(state), Some(stop), Some(full)) = (state, stop, full) else { sys::exit(2) };
    let mut guard = Guard { process, full, stop, state };
    sys::name_guard();
    guard.state.fds.app = sys::watch_app();
    match sys::watch_children() {
        Some(children) => guard.guard(children),
        // It manages without.
        None => guard.become_full(),
    }
}

/// How often a full guard that the system cannot execute is tried again, and the pause, in milliseconds.
const ATTEMPTS: u32 = 100;
const ATTEMPT_INTERVAL: u32 = 20;

impl Guard {
    /// `children` becomes readable when a child may have died.
    fn guard(mut self, children: c_int) -> ! {
        let mut interval = LOOK_FIRST;
        // Without `/proc`, nothing would be found.
        let mut look_at = sys::proc_is_ours().then(|| sys::now() + interval);
        loop {
            let wake =
                sys::wait(children, self.state.fds.app, look_at.map(|at| at.saturating_sub(sys::now())));
            // The supervisor first: if both have ended, the end of the app comes before that of the sidecar in the file of the run.
            if wake.supervisor {
                match sys::peek_command() {
                    Command::Byte(b'A') if self.stop.alone => {
                        sys::take_command();
                        self.ask_leader();
                    }
                    // The byte is still in the socket.
                    Command::Byte(_) => self.become_full(),
                    Command::Nothing => {}
                    Command::End => {
                        self.state.app_gone = true;
                        self.become_full();
                    }
                }
            } else if wake.app_ended {
                // What the app has sent before its end was handled before.
                self.state.app_gone = true;
                self.become_full();
            }
            if wake.child {
                // The last thread of the sidecar wakes us before it has removed its entries from `/proc`. To reap the sidecar removes
                // all of them, and would spin until that thread has finished, which waits for this processor.
                sys::let_others_run();
                self.reap();
            }
            if look_at.is_some_and(|at| sys::now() >= at) {
                if sys::has_other_processes(self.state.leader) {
                    self.become_full();
                }
                interval = (interval * 2).min(LOOK_MAX_INTERVAL);
                look_at = Some(sys::now() + interval);
            }
        }
    }

    /// Asks the leader to end, once.
    fn ask_leader(&mut self) {
        self.state.fds.lifeline.take().into_iter().for_each(sys::close);
        if !core::mem::replace(&mut self.state.asked, true) {
            // A stopped process cannot handle a signal before it is continued (signal(7)).
            for signal in [self.stop.number, sys::SIGCONT] {
                sys::kill(self.state.leader, signal);
            }
        }
    }

    /// Reaps the dead children.
    fn reap(&mut self) {
        loop {
            match sys::reap() {
                Reaped::Child(pid, status) if pid == self.state.leader => {
                    self.state.ended = Some(Ended { status, at: sys::now_millis() });
                }
                Reaped::Child(..) => {}
                Reaped::NoneDead if self.state.ended.is_none() => return,
                // Other processes have become our children.
                Reaped::NoneDead => self.become_full(),
                Reaped::NoneLeft => self.end(),
            }
        }
    }

    /// Tells the supervisor the end of the leader, after which no process is left, and ends.
    fn end(&mut self) -> ! {
        let mut text = Text::<160>::new();
        if let Some(Ended { status, .. }) = self.state.ended {
            // wait(2): the lowest seven bits are the signal, or 0 after an exit; the eighth says that there is a core dump.
            let status = status.unsigned_abs();
            match status & 0x7f {
                0 => text.text(b"exited ").number(u64::from(status >> 8 & 0xff)),
                signal => text.text(b"signalled ").number(signal.into()),
            };
            if status & 0xff > 0x80 {
                text.text(b" core");
            }
            text.text(b"\n");
        }
        if let Some((micros, bytes)) = sys::used_by_children() {
            text.text(b"used ").number(micros).text(b" ");
            match bytes {
                Some(bytes) => text.number(bytes),
                None => text.text(b"-"),
            };
            text.text(b"\n");
        }
        let told = sys::report(text.text(b"gone\n").bytes());
        if !told && (self.state.fds.run_file.is_some() || self.state.fds.journal.is_some()) {
            // The app has died at the same moment: the end is to be noted for its next start, and the log file is to be completed.
            self.become_full();
        }
        sys::exit(0)
    }

    /// If the system cannot execute the full guard (no memory, for example), tries again for two seconds. Then kills the sidecar and ends:
    /// the supervisor, if it lives, cleans up as after any death of a guard.
    ///
    /// Asks the leader to end before it is killed: at once if the app is gone, or else after a second, because the next attempt may do.
    fn become_full(&mut self) -> ! {
        let ask_after = if self.state.app_gone { 0 } else { ATTEMPTS / 2 };
        for attempt in 0..ATTEMPTS {
            sys::execute_full(self.full, &self.process, &self.state);
            if attempt == ask_after && self.state.ended.is_none() {
                self.ask_leader();
            }
            sys::pause(ATTEMPT_INTERVAL);
        }
        sys::end_children(self.state.ended.is_none().then_some(self.state.leader));
        sys::exit(1)
    }
}
