//! Delivers statuses to pages on the main thread, even while that thread waits at exit until the sidecars have stopped.
//!
//! A Tauri channel delivers a message by a script, which only the main thread can run. A message from another thread waits for
//! the event loop (`send_user_message` of tauri-runtime-wry). At exit the event loop has ended, and pages would never learn that
//! their sidecars are stopping. All messages of a channel must take the same way, because a page handles them in the order of
//! their numbers, and waits for a missing one.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use tauri::{AppHandle, Manager as _, Runtime};

use crate::desktop::{Sidecars, lock::lock};

type Delivery = Box<dyn FnOnce() + Send>;

/// The deliveries that wait for the main thread.
#[derive(Default)]
pub(crate) struct Outbox {
    state: Mutex<OutboxState>,
    changed: Condvar,
}

#[derive(Default)]
struct OutboxState {
    queue: VecDeque<Delivery>,
    /// The main thread waits at exit. It runs the deliveries itself, without the event loop.
    main_thread_waits: bool,
    sidecars_stopped: bool,
}

impl Outbox {
    /// Has the main thread run `delivery`, after all earlier ones.
    pub(crate) fn push<R: Runtime>(app: &AppHandle<R>, delivery: impl FnOnce() + Send + 'static) {
        let main_thread = app.clone();
        app.state::<Sidecars>().outbox().push_with(delivery, move || {
            let app = main_thread.clone();
            // An error means that the event loop has ended: then the exit runs the delivery.
            let _ = main_thread.run_on_main_thread(move || app.state::<Sidecars>().outbox().flush());
        });
    }

    fn push_with(&self, delivery: impl FnOnce() + Send + 'static, schedule: impl FnOnce()) {
        let mut state = lock(&self.state);
        state.queue.push_back(Box::new(delivery));
        let main_thread_waits = state.main_thread_waits;
        drop(state);
        self.changed.notify_all();
        if !main_thread_waits {
            schedule();
        }
    }

    /// Runs all waiting deliveries. Call it on the main thread.
    fn flush(&self) {
        loop {
            let Some(delivery) = lock(&self.state).queue.pop_front() else { return };
            delivery();
        }
    }

    /// Runs deliveries until the sidecars have stopped. Call it on the main thread, where the event loop runs no more, or waits for this
    /// call.
    pub(crate) fn deliver_until_stopped(&self) {
        lock(&self.state).main_thread_waits = true;
        self.changed.notify_all();
        loop {
            self.flush();
            let mut state = self.wait_while(|state| state.queue.is_empty() && !state.sidecars_stopped);
            if state.queue.is_empty() {
                // An app that does not exit has an event loop again, for the statuses that follow.
                state.main_thread_waits = false;
                return;
            }
        }
    }

    /// Waits until the sidecars have stopped.
    pub(crate) fn wait_until_stopped(&self) {
        drop(self.wait_while(|state| !state.sidecars_stopped));
    }

    /// Ends all waits: the sidecars have stopped.
    pub(crate) fn set_sidecars_stopped(&self) {
        lock(&self.state).sidecars_stopped = true;
        self.changed.notify_all();
    }

    fn wait_while(&self, mut condition: impl FnMut(&OutboxState) -> bool) -> MutexGuard<'_, OutboxState> {
        let waited = self.changed.wait_while(lock(&self.state), |state| condition(state));
        waited.unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, mpsc},
        thread,
    };

    use super::*;

    #[test]
    fn the_waiting_main_thread_runs_deliveries_in_order_until_the_sidecars_have_stopped() {
        let outbox = Arc::new(Outbox::default());
        let main_thread = thread::current().id();
        let (delivered, numbers) = mpsc::channel();
        let deliver = move |number| {
            let delivered = delivered.clone();
            move || {
                assert_eq!(thread::current().id(), main_thread);
                delivered.send(number).unwrap();
            }
        };
        let (scheduled, schedules) = mpsc::channel();
        // The event loop, which has ended, did not run this one.
        outbox.push_with(deliver(1), || scheduled.send(1).unwrap());
        let (waits, feed) = (Arc::clone(&outbox), Arc::clone(&outbox));
        let sidecars = thread::spawn(move || {
            drop(waits.wait_while(|state| !state.main_thread_waits));
            feed.push_with(deliver(2), || panic!("the event loop has ended"));
            feed.push_with(deliver(3), || panic!("the event loop has ended"));
            feed.set_sidecars_stopped();
        });
        outbox.deliver_until_stopped();
        sidecars.join().unwrap();
        assert_eq!(numbers.try_iter().collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(schedules.try_iter().count(), 1);
    }

    #[test]
    fn the_event_loop_of_an_app_that_goes_on_runs_the_deliveries_that_follow() {
        let outbox = Outbox::default();
        outbox.set_sidecars_stopped();
        outbox.deliver_until_stopped();
        let (scheduled, schedules) = mpsc::channel();
        outbox.push_with(|| {}, || scheduled.send(()).unwrap());
        assert_eq!(schedules.try_iter().count(), 1);
    }

    #[test]
    fn another_thread_waits_without_running_deliveries() {
        let outbox = Outbox::default();
        outbox.push_with(|| panic!("not on the main thread"), || {});
        outbox.set_sidecars_stopped();
        outbox.wait_until_stopped();
    }
}
