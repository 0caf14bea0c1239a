use std::{
    io::Write as _,
    os::unix::net::UnixStream,
    sync::{
        Mutex, PoisonError,
        mpsc::{self, Receiver, Sender},
    },
    thread::{self, ThreadId},
};

use tokio::{io::AsyncReadExt as _, sync::oneshot};

use super::*;
use crate::desktop::{local_stream::LocalStream, task::task};

/// Runs a test in a thread that has the event loop, of which there is one in a process.
fn with_event_loop(test: impl FnOnce(&MainContext)) {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let context = MainContext::default();
    let _owner = context.acquire().unwrap();
    test(&context);
    assert_eq!(WAITING.get(), 0);
}

fn pair() -> (LocalStream, UnixStream) {
    let (own, peer) = UnixStream::pair().unwrap();
    own.set_nonblocking(true).unwrap();
    (LocalStream::new(own), peer)
}

/// Reads a byte, and tells in which thread it arrived.
fn reads(mut stream: LocalStream, told: Sender<(ThreadId, LocalStream)>) -> Task {
    task(async move {
        stream.read_u8().await.unwrap();
        told.send((thread::current().id(), stream)).unwrap();
    })
}

fn write(peer: &mut UnixStream) {
    peer.write_all(b"1").unwrap();
}

/// What a task told, which waits here or is in the runtime.
fn next<T>(context: &MainContext, told: &Receiver<T>) -> T {
    while WAITING.get() > 0 {
        if let Ok(value) = told.try_recv() {
            return value;
        }
        context.iteration(true);
    }
    told.recv().unwrap()
}

#[test]
fn a_task_goes_on_here_when_its_socket_is_ready() {
    with_event_loop(|context| {
        let (told, answers) = mpsc::channel();
        let (stream, mut peer) = pair();
        write(&mut peer);
        begin(reads(stream, told.clone()));
        assert_eq!(answers.try_recv().unwrap().0, thread::current().id());

        // A slow machine gives up a wait.
        for _ in 0..1_000 {
            let (stream, mut peer) = pair();
            begin(reads(stream, told.clone()));
            assert_eq!(WAITING.get(), 1);
            write(&mut peer);
            if next(context, &answers).0 == thread::current().id() {
                return;
            }
        }
        panic!("no task ended here");
    });
}

#[test]
fn the_end_of_the_stream_wakes_as_well() {
    with_event_loop(|context| {
        let (told, answers) = mpsc::channel();
        let (mut stream, peer) = pair();
        begin(task(async move {
            assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
            told.send(thread::current().id()).unwrap();
        }));
        drop(peer);
        next(context, &answers);
    });
}

#[test]
fn a_task_whose_socket_is_late_ends_in_the_runtime() {
    with_event_loop(|context| {
        let (told, answers) = mpsc::channel();
        let (stream, mut peer) = pair();
        begin(reads(stream, told));
        assert_eq!(WAITING.get(), 1);
        while WAITING.get() > 0 {
            context.iteration(true);
        }
        write(&mut peer);
        assert_ne!(answers.recv().unwrap().0, thread::current().id());
    });
}

#[test]
fn a_task_ends_in_the_runtime_while_this_thread_is_blocked() {
    with_event_loop(|context| {
        let (told, answers) = mpsc::channel();
        let (stream, mut peer) = pair();
        begin(reads(stream, told));
        write(&mut peer);
        let answer = answers.recv_timeout(Duration::from_secs(60));
        assert_ne!(answer.unwrap().0, thread::current().id());
        assert_eq!(WAITING.get(), 1);
        while WAITING.get() > 0 {
            context.iteration(true);
        }
    });
}

#[test]
fn a_task_that_waits_for_something_else_ends_in_the_runtime() {
    with_event_loop(|_| {
        let (told, answers) = mpsc::channel();
        let (tell, wait) = oneshot::channel();
        let here = thread::current().id();
        begin(task(async move {
            assert_eq!(thread::current().id(), here);
            wait.await.unwrap();
            told.send(thread::current().id()).unwrap();
        }));
        tell.send(()).unwrap();
        assert_ne!(answers.recv().unwrap(), here);
    });
}

#[test]
fn a_stream_changes_between_here_and_the_runtime() {
    with_event_loop(|_| {
        let (told, answers) = mpsc::channel();
        let (mut stream, mut peer) = pair();
        let here = thread::current().id();
        for _ in 0..3 {
            write(&mut peer);
            begin(reads(stream, told.clone()));
            let (thread, read) = answers.try_recv().unwrap();
            assert_eq!(thread, here);
            async_runtime::spawn(reads(read, told.clone()));
            write(&mut peer);
            let (thread, read) = answers.recv().unwrap();
            assert_ne!(thread, here);
            stream = read;
        }
    });
}

#[test]
fn few_tasks_wait_here() {
    with_event_loop(|context| {
        let (told, answers) = mpsc::channel();
        let streams: Vec<_> = (0..3 * MAX_WAITING).map(|_| pair()).collect();
        let mut peers = Vec::new();
        for (stream, peer) in streams {
            begin(reads(stream, told.clone()));
            assert!(WAITING.get() <= MAX_WAITING);
            peers.push(peer);
        }
        peers.iter_mut().for_each(write);
        for _ in &peers {
            next(context, &answers);
        }
    });
}

#[test]
fn a_panic_stays_within() {
    with_event_loop(|_| begin(task(async { panic!("of a test") })));
}

#[test]
fn a_thread_without_the_event_loop_leaves_all_to_the_runtime() {
    let (told, answers) = mpsc::channel();
    begin(task(async move { told.send(thread::current().id()).unwrap() }));
    assert_ne!(answers.recv().unwrap(), thread::current().id());
}
