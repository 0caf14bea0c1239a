//! The server of the sidecar.

use std::{
    env,
    io::{BufRead as _, BufReader, Read as _},
    net::{TcpListener, TcpStream},
    process,
    sync::{
        Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use crate::output::write;

/// The listener that the supervisor handed over (`sd_listen_fds(3)`).
pub(crate) fn inherited() -> TcpListener {
    assert_eq!(env::var("LISTEN_PID").unwrap(), process::id().to_string());
    assert_eq!(env::var("LISTEN_FDNAMES").unwrap(), "http");
    let listener = listenfd::ListenFd::from_env().take_tcp_listener(0).unwrap();
    listener.expect("LISTEN_FDS names a listener")
}

/// Serves in the background. Connections are accepted when this returns the port.
pub(crate) fn listen(listener: TcpListener, kind: &str, test: Option<&TcpStream>) -> u16 {
    let port = listener.local_addr().unwrap().port();
    let kind = kind.to_owned();
    let gate: &'static (Mutex<bool>, Condvar) = Box::leak(Box::default());
    if matches!(kind.as_str(), "held" | "queue") {
        let test = test.expect("a report comes before the server that the test controls").try_clone();
        thread::spawn(move || control(gate, test.unwrap()));
    }
    let (unanswered, connections) = mpsc::channel();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let (kind, connection) = (kind.clone(), connection.unwrap());
            match kind.as_str() {
                "silent" => unanswered.send(connection).unwrap(),
                "queue" => answer(connection, &kind, gate),
                _ => drop(thread::spawn(move || answer(connection, &kind, gate))),
            }
        }
    });
    // Holds the unanswered connections open.
    thread::spawn(move || connections.into_iter().collect::<Vec<TcpStream>>());
    port
}

/// Closes and opens the gate in front of the answers, as the test says.
fn control((closed, changed): &(Mutex<bool>, Condvar), test: TcpStream) {
    for byte in BufReader::new(test).bytes().map_while(Result::ok) {
        *closed.lock().unwrap() = byte == b'c';
        changed.notify_all();
    }
}

fn answer(mut connection: TcpStream, kind: &str, gate: &(Mutex<bool>, Condvar)) {
    static ASKED: AtomicBool = AtomicBool::new(false);
    let mut request = BufReader::new(connection.try_clone().unwrap());
    let (mut path, mut line) = (String::new(), String::new());
    while request.read_line(&mut line).is_ok_and(|read| read > 0) && line != "\r\n" {
        if path.is_empty() {
            path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        }
        line.clear();
    }
    let instance = env::var("PILLION_INSTANCE").unwrap_or_default();
    let ok = || (200, format!(r#"{{"status":"ok","version":"1.2.3","instance":"{instance}"}}"#));
    let (status, body) = match kind {
        "ok" => ok(),
        "late" if ASKED.swap(true, Ordering::Relaxed) => ok(),
        "late" => (503, String::new()),
        "sick" if ASKED.swap(true, Ordering::Relaxed) => (503, String::new()),
        "sick" => ok(),
        "held" | "queue" => {
            let (closed, changed) = gate;
            drop(changed.wait_while(closed.lock().unwrap(), |closed| *closed).unwrap());
            ok()
        }
        "bare" => (200, String::new()),
        "foreign" => (200, r#"{"status":"ok","instance":"00000000000000000000000000000000"}"#.to_owned()),
        wanted if wanted.starts_with('/') => {
            if wanted == path {
                ok()
            } else {
                (404, String::new())
            }
        }
        status => (status.parse().unwrap(), String::new()),
    };
    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    write(&mut connection, (head + &body).as_bytes());
}
