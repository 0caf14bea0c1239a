//! The signals that request the stop. A second signal ends the process without help of the runtime.

pub(crate) use platform::Signals;

#[cfg(unix)]
mod platform {
    use std::{
        io,
        sync::{Arc, atomic::AtomicBool},
    };

    use signal_hook::{
        consts::{SIGINT, SIGTERM},
        flag,
    };
    use tokio::signal::unix::{Signal, SignalKind, signal};

    #[derive(Debug)]
    pub(crate) struct Signals {
        interrupt: Signal,
        terminate: Signal,
    }

    impl Signals {
        /// Starts to watch for the signals.
        pub(crate) fn listen() -> io::Result<Self> {
            let asked = Arc::new(AtomicBool::new(false));
            for signal in [SIGINT, SIGTERM] {
                // Both run inside the signal handler, in this order. So the second signal works even if every thread of the
                // runtime hangs, or if the runtime is gone and a blocking task does not end.
                flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&asked))?;
                flag::register(signal, Arc::clone(&asked))?;
            }
            Ok(Self {
                interrupt: signal(SignalKind::interrupt())?,
                terminate: signal(SignalKind::terminate())?,
            })
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
    use std::{io, process};

    use tokio::signal::windows::{CtrlBreak, CtrlC, ctrl_break, ctrl_c};

    #[derive(Debug)]
    pub(crate) struct Signals {
        interrupt: CtrlC,
        terminate: CtrlBreak,
    }

    impl Signals {
        /// Starts to watch for the signals.
        pub(crate) fn listen() -> io::Result<Self> {
            Ok(Self { interrupt: ctrl_c()?, terminate: ctrl_break()? })
        }

        /// Resolves with the name of the first event.
        pub(crate) async fn first(mut self) -> &'static str {
            let name = self.next().await;
            tokio::spawn(async move {
                self.next().await;
                process::exit(130)
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
