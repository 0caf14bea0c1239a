//! Tasks that begin on the app's main thread, and end there if what they wait for comes soon: a call of a page arrives on that thread, and
//! its answer leaves on it. A task of the runtime instead costs the wake-up of a thread in each direction.

mod blocked;

use std::{
    cell::Cell,
    panic::{self, AssertUnwindSafe},
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use gtk::glib::{self, ControlFlow, IOCondition, MainContext, SourceId};
use tauri::async_runtime;

use self::blocked::Place;
use crate::desktop::{
    local_stream::{Wait, poll_here},
    task::Task,
};

/// How many tasks may wait here at a time. The threads of the runtime share what is beyond that.
const MAX_WAITING: usize = 8;

/// How long a task may wait here. Nothing but its socket can wake it, neither a timer nor a cancellation.
const MAX_WAIT: Duration = Duration::from_millis(5);

thread_local! {
    /// How many tasks wait here.
    static WAITING: Cell<usize> = const { Cell::new(0) };
}

/// Whether a task may begin here, and wait.
pub(crate) fn has_room() -> bool {
    MainContext::default().is_owner() && WAITING.get() < MAX_WAITING
}

/// Runs a task here until it waits for something else than a socket, or for too long, and from there on in the runtime. In a thread without
/// the event loop: in the runtime.
pub(crate) fn begin(task: Task) {
    if !has_room() {
        async_runtime::spawn(task);
        return;
    }
    match step(task) {
        Step::Done => {}
        Step::Waits(task, wait) => Waiting::begin(task, wait),
        Step::Other(task) => drop(async_runtime::spawn(task)),
    }
}

/// What became of a task that was polled here.
enum Step {
    Done,
    Waits(Task, Wait),
    /// It waits for something that only wakes a task of the runtime.
    Other(Task),
}

fn step(mut task: Task) -> Step {
    let runtime = async_runtime::handle();
    let _context = runtime.inner().enter();
    let poll = || poll_here(|| task.as_mut().poll(&mut Context::from_waker(Waker::noop())));
    // A panic must not reach the webview's own code. As after a panic in the runtime, the page gets no answer.
    match panic::catch_unwind(AssertUnwindSafe(poll)) {
        Ok((Poll::Pending, Some(wait))) => Step::Waits(task, wait),
        Ok((Poll::Pending, None)) => Step::Other(task),
        Ok((Poll::Ready(()), _)) | Err(_) => Step::Done,
    }
}

/// A task that waits for its socket.
struct Waiting {
    task: Place,
    wait: Wait,
    socket: Cell<Option<SourceId>>,
    timer: Cell<Option<SourceId>>,
}

impl Waiting {
    fn begin(task: Task, wait: Wait) {
        WAITING.set(WAITING.get() + 1);
        let waiting =
            Rc::new(Self { task: Place::of(task), wait, socket: Cell::default(), timer: Cell::default() });
        let (fd, condition) = match wait {
            Wait::Readable(fd) => (fd, IOCondition::IN),
            Wait::Writable(fd) => (fd, IOCondition::OUT),
        };
        let ready = Rc::clone(&waiting);
        waiting.socket.set(Some(glib::source::unix_fd_add_local(fd, condition, move |_, _| ready.go_on())));
        let late = Rc::clone(&waiting);
        waiting.timer.set(Some(glib::timeout_add_local_once(MAX_WAIT, move || late.give_up())));
    }

    /// The socket is ready, or has an error.
    fn go_on(&self) -> ControlFlow {
        match self.task.take().map(step) {
            Some(Step::Waits(task, wait)) if wait == self.wait => {
                self.task.put_back(task);
                return ControlFlow::Continue;
            }
            // Another socket: a new connection instead of one that the server had closed.
            Some(Step::Waits(task, _) | Step::Other(task)) => drop(async_runtime::spawn(task)),
            Some(Step::Done) | None => {}
        }
        // The event loop removes the source of the socket by itself.
        self.socket.set(None);
        if let Some(timer) = self.timer.take() {
            timer.remove();
        }
        ControlFlow::Break
    }

    fn give_up(&self) {
        if let Some(socket) = self.socket.take() {
            socket.remove();
        }
        self.timer.set(None);
        if let Some(task) = self.task.take() {
            async_runtime::spawn(task);
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        WAITING.set(WAITING.get() - 1);
    }
}

#[cfg(test)]
mod tests;
