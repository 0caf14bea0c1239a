//! The signals that request the stop. A second signal ends the process without help of the runtime, unless the host has asked as well: it
//! gives the process its time, and a wrapper that passes signals on makes two of one.

pub(crate) use platform::Signals;

#[cfg(unix)]
mod platform {
    use std::{
        io,
        sync::{Arc, atomic::AtomicBool},
    };

    use signal_hook::{
        SigId,
        consts::{SIGINT, SIGTERM},
        flag, low_level,
    };
    use tokio::signal::unix::{Signal, SignalKind, signal};

    #[derive(Debug)]
    pub(crate) struct Signals {
        interrupt: Signal,
        terminate: Signal,
    }

    /// What a second signal does.
    #[derive(Debug)]
    pub(crate) struct SecondSignal(Vec<SigId>);

    impl SecondSignal {
        /// From now on, it changes nothing.
        pub(crate) fn ignore(self) {
            for id in self.0 {
                low_level::unregister(id);
            }
        }
    }

    impl Signals {
        /// Starts to watch for the signals.
        pub(crate) fn listen() -> io::Result<(Self, SecondSignal)> {
            let asked = Arc::new(AtomicBool::new(false));
            let mut second = Vec::new();
            for signal in [SIGINT, SIGTERM] {
                // Both run inside the signal handler, in this order. So the second signal works even if every thread of the
                // runtime hangs, or if the runtime is gone and a blocking task does not end.
                second.push(flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&asked))?);
                flag::register(signal, Arc::clone(&asked))?;
            }
            let signals = Self {
                interrupt: signal(SignalKind::interrupt())?,
                terminate: signal(SignalKind::terminate())?,
            };
            Ok((signals, SecondSignal(second)))
        }

        /// Resolves with the name of the first signal.
        pub(crate) async fn first(mut self) -> &'static str {
            tokio::select! {
                _ = self.interrupt.recv() => "SIGINT",
                _ = self.terminate.recv() => "SIGTERM",
            }
        }
    }
}

#[cfg(windows)]
mod platform {
    use std::{
        io, process,
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
    };

    use tokio::signal::windows::{CtrlBreak, CtrlC, ctrl_break, ctrl_c};

    #[derive(Debug)]
    pub(crate) struct Signals {
        interrupt: CtrlC,
        terminate: CtrlBreak,
        second_ends: Arc<AtomicBool>,
    }

    /// What a second event does.
    #[derive(Debug)]
    pub(crate) struct SecondSignal(Arc<AtomicBool>);

    impl SecondSignal {
        /// From now on, it changes nothing.
        pub(crate) fn ignore(self) {
            self.0.store(false, Ordering::Relaxed);
        }
    }

    impl Signals {
        /// Starts to watch for the signals.
        pub(crate) fn listen() -> io::Result<(Self, SecondSignal)> {
            let second_ends = Arc::new(AtomicBool::new(true));
            let second = SecondSignal(Arc::clone(&second_ends));
            Ok((Self { interrupt: ctrl_c()?, terminate: ctrl_break()?, second_ends }, second))
        }

        /// Resolves with the name of the first event.
        pub(crate) async fn first(mut self) -> &'static str {
            let name = self.next().await;
            tokio::spawn(async move {
                self.next().await;
                if self.second_ends.load(Ordering::Relaxed) {
                    process::exit(130)
                }
            });
            name
        }

        async fn next(&mut self) -> &'static str {
            tokio::select! {
                _ = self.interrupt.recv() => "Ctrl+C",
                _ = self.terminate.recv() => "Ctrl+Break",
            }
        }
    }
}
