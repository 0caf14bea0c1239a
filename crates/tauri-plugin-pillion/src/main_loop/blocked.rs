//! Tasks that wait on the main thread while the app blocks that thread, as a synchronous command does: the runtime goes on with them. Such
//! a command may itself wait for the sidecar, which may serve one connection after another.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tauri::async_runtime;
use tokio::time::{self, Instant};

use crate::desktop::{
    lock::lock,
    task::{Task, task},
};

/// How long a task waits at least for a thread that is blocked. One timer for all tasks, and none for a thread that works: a timer for each
/// would cost the wake-up of a thread.
const BLOCKED_AFTER: Duration = Duration::from_millis(500);

static PLACES: Mutex<Places> = Mutex::new(Places { slots: Vec::new(), is_watched: false });

struct Places {
    /// Each with the time since when its task waits.
    slots: Vec<(Instant, Arc<Slot>)>,
    /// Whether [`watch`] runs.
    is_watched: bool,
}

type Slot = Mutex<Option<Task>>;

/// The place of a task that waits.
pub(super) struct Place(Arc<Slot>);

impl Place {
    pub(super) fn of(waiting: Task) -> Self {
        let slot = Arc::new(Mutex::new(Some(waiting)));
        let mut all = lock(&PLACES);
        all.slots.push((Instant::now(), Arc::clone(&slot)));
        if !all.is_watched {
            all.is_watched = true;
            async_runtime::spawn(task(watch()));
        }
        Self(slot)
    }

    /// The task, unless the runtime has taken it.
    pub(super) fn take(&self) -> Option<Task> {
        lock(&self.0).take()
    }

    pub(super) fn put_back(&self, task: Task) {
        *lock(&self.0) = Some(task);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&PLACES).slots.retain(|(_, slot)| !Arc::ptr_eq(slot, &self.0));
    }
}

/// Goes on with the tasks that have waited for too long, until none waits.
async fn watch() {
    loop {
        time::sleep(BLOCKED_AFTER).await;
        let mut all = lock(&PLACES);
        let late = all.slots.extract_if(.., |(since, _)| since.elapsed() >= BLOCKED_AFTER);
        late.filter_map(|(_, slot)| lock(&slot).take()).for_each(|task| drop(async_runtime::spawn(task)));
        if all.slots.is_empty() {
            all.is_watched = false;
            return;
        }
    }
}
