//! The messages to `NOTIFY_SOCKET` (`sd_notify(3)`), translated into events: readiness, progress, and the watchdog.

use tokio::time::Instant;

use super::Driver;
use crate::{
    health::{hang_reason::HangReason, watchdog::Watchdog},
    state::{Event, Lifecycle},
    supervisor::run::NoticeKind,
    transport::notification::{KeepAlive, Notification, Notified},
};

impl Driver {
    /// Handles a message to `NOTIFY_SOCKET`.
    pub(super) fn notified(&mut self, notified: Notified) {
        let Notification { ready, stopping, status, extend, keep_alive, watchdog } = match notified {
            Notified::Run(notification) => notification,
            Notified::Other(sender) => return self.notified_by_other(sender),
            Notified::CaughtUp => {
                if let Some(reason) = self.watchdog.as_mut().and_then(Watchdog::caught_up) {
                    self.hangs(reason);
                }
                return;
            }
        };
        if let Some(words) = status {
            self.run.diagnostics.progress.say(words, Instant::now());
        }
        if extend.is_some() {
            self.dispatch(Event::Extend(extend));
        }
        if let Some(interval) = watchdog {
            self.run.watchdog = (!interval.is_zero()).then_some(interval);
            if is_up(&self.state) {
                self.watch_messages();
            }
            if interval.is_zero() && self.missed_watchdog() {
                // It ends its watch, and will not say again that it works.
                self.kept_alive();
            }
        }
        if ready && !self.is_known_to_hang_or_stop() {
            self.dispatch(Event::Healthy);
        }
        match keep_alive {
            Some(KeepAlive::Alive) => self.kept_alive(),
            Some(KeepAlive::Trigger) => self.hangs(HangReason::WatchdogTriggered),
            None => {}
        }
        if stopping {
            self.run.diagnostics.stopping = true;
            // A program that ends need not say that it works.
            self.watchdog = None;
            self.dispatch(Event::Unhealthy);
        }
    }

    fn notified_by_other(&mut self, sender: Option<i32>) {
        let sender = sender.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
        self.run.notice(
            NoticeKind::NotifiedByOther,
            format!(
                "{sender} sent a message to its NOTIFY_SOCKET, and is not a process of this run, or had ended before the message was \
                 read: the message is ignored; let the program itself send it, or call sd_notify_barrier(3) after it"
            ),
        );
    }

    /// Begins to count the time without a `WATCHDOG=1`, if the run has a watchdog.
    pub(super) fn watch_messages(&mut self) {
        let interval = self.run.watchdog.filter(|_| !self.run.diagnostics.stopping);
        match (&mut self.watchdog, interval) {
            (Some(watchdog), Some(interval)) => watchdog.set_interval(interval),
            (watchdog, interval) => *watchdog = interval.map(Watchdog::new),
        }
    }

    /// `WATCHDOG=1` is overdue, among the messages that were read.
    pub(super) fn on_overdue(&mut self) {
        let unread_decide = self.watchdog.as_mut().is_some_and(Watchdog::on_due);
        if unread_decide && let Some(notifications) = &self.run.notifications {
            notifications.catch_up();
        }
    }

    fn missed_watchdog(&self) -> bool {
        matches!(self.run.diagnostics.hang, Some(HangReason::WatchdogMissed { .. }))
    }

    /// Whether the sidecar has said, since it was ready, that it hangs or stops. `READY=1` after a reload does not count.
    fn is_known_to_hang_or_stop(&self) -> bool {
        is_up(&self.state) && (self.run.diagnostics.hang.is_some() || self.run.diagnostics.stopping)
    }

    fn kept_alive(&mut self) {
        if let Some(watchdog) = &mut self.watchdog {
            watchdog.keep_alive();
        }
        let diagnostics = &mut self.run.diagnostics;
        if is_up(&self.state) && diagnostics.hang.take().is_some() && !diagnostics.stopping {
            // It hung, was not restarted, and works again.
            self.dispatch(Event::Healthy);
        }
    }

    fn hangs(&mut self, reason: HangReason) {
        let event = match &self.state {
            Lifecycle::Ready { .. } | Lifecycle::Unhealthy { .. } => self.hung_event(),
            // A start that says that it hangs fails at once: `liveness.restart` is about ready sidecars only.
            Lifecycle::Starting(_) => Event::Hung,
            Lifecycle::Waiting { .. }
            | Lifecycle::Ending(_)
            | Lifecycle::BackingOff(_)
            | Lifecycle::Idle(_)
            | Lifecycle::Down(_) => return,
        };
        self.run.diagnostics.hang = Some(reason);
        self.dispatch(event);
    }
}

fn is_up(state: &Lifecycle) -> bool {
    matches!(state, Lifecycle::Ready { .. } | Lifecycle::Unhealthy { .. })
}
