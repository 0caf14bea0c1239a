//! macOS: what a kernel queue (kqueue(2)) tells the guard: the death of the app, and a fork of the leader. Type-checked only; never run
//! on a Mac.

use std::{
    ffi::{c_int, c_void},
    ptr,
    sync::atomic::{AtomicI32, Ordering},
};

/// `struct kevent` of `<sys/event.h>`, on 64-bit systems.
#[repr(C)]
#[derive(Clone, Copy)]
struct Event {
    ident: usize,
    filter: i16,
    flags: u16,
    filter_flags: u32,
    data: isize,
    user_data: *mut c_void,
}

#[repr(C)]
struct Timespec {
    seconds: isize,
    nanoseconds: isize,
}

unsafe extern "C" {
    fn kqueue() -> c_int;
    fn kevent(
        queue: c_int,
        changes: *const Event,
        change_count: c_int,
        events: *mut Event,
        event_count: c_int,
        timeout: *const Timespec,
    ) -> c_int;
}

const EVFILT_PROC: i16 = -5;
const EV_ADD: u16 = 0x1;
const EV_CLEAR: u16 = 0x20;
const NOTE_EXIT: u32 = 0x8000_0000;
const NOTE_FORK: u32 = 0x4000_0000;

/// The queue, or -1. A child does not inherit it.
static QUEUE: AtomicI32 = AtomicI32::new(-1);

/// What has happened since the last call.
#[derive(Default)]
pub(crate) struct KernelEvents {
    pub(crate) app_died: bool,
    pub(crate) leader_forked: bool,
}

/// Begins to watch the app. Its death is told even if another process holds a copy of the app's end of the socket. An app that has died
/// already is noticed by the end of that socket alone.
pub(crate) fn watch_app(app: c_int) {
    // SAFETY: has no preconditions.
    QUEUE.store(unsafe { kqueue() }, Ordering::Relaxed);
    watch(app, NOTE_EXIT);
}

/// Begins to watch the leader for forks: a daemon can be found by the process that forked it only if that one was seen.
pub(crate) fn watch_leader(leader: c_int) {
    watch(leader, NOTE_FORK);
}

fn watch(pid: c_int, filter_flags: u32) {
    let Ok(ident) = usize::try_from(pid) else { return };
    let (filter, flags) = (EVFILT_PROC, EV_ADD | EV_CLEAR);
    let change = Event { ident, filter, flags, filter_flags, data: 0, user_data: ptr::null_mut() };
    // SAFETY: reads one change, and writes no event. A queue of -1 is an error, as is a process that has ended.
    unsafe { kevent(QUEUE.load(Ordering::Relaxed), &raw const change, 1, ptr::null_mut(), 0, ptr::null()) };
}

/// The descriptor to wait for until it is readable (poll(2)); -1 without a queue.
pub(in super::super) fn descriptor() -> c_int {
    QUEUE.load(Ordering::Relaxed)
}

/// Takes what has happened. Does not wait.
pub(in super::super) fn take() -> KernelEvents {
    let empty = Event { ident: 0, filter: 0, flags: 0, filter_flags: 0, data: 0, user_data: ptr::null_mut() };
    let mut events = [empty; 4];
    let now = Timespec { seconds: 0, nanoseconds: 0 };
    // SAFETY: the kernel writes at most as many events as the array holds.
    let count = unsafe {
        kevent(QUEUE.load(Ordering::Relaxed), ptr::null(), 0, events.as_mut_ptr(), 4, &raw const now)
    };
    let events = &events[..usize::try_from(count).unwrap_or_default()];
    let any = |note| events.iter().any(|event| event.filter == EVFILT_PROC && event.filter_flags & note != 0);
    KernelEvents { app_died: any(NOTE_EXIT), leader_forked: any(NOTE_FORK) }
}
