//! An answer that carries no instance proves nothing: the port must be served by a process of the run (Linux).

use std::{
    io::{Read, Write},
    net::TcpListener,
    thread,
};

use integration_tests::run;
use pillion::Supervisor;

use crate::support::{expire, tree};

/// Answers every request on an OS-chosen port with a healthy 200 that names no instance, from this process.
fn other_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("it is bound").port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}");
        }
    });
    port
}

#[test]
fn another_program_on_the_announced_port_is_never_ready() {
    run(async {
        let (tree, port) = (tree(), other_server());
        let steps = format!("out BACKEND_PORT:{port}\\n park");
        let owner = format!("process {}", std::process::id());
        expire(|| tree.sidecar(&steps), &["another program answered", &owner]).await;
    });
}

#[test]
fn any_process_of_the_run_may_serve_the_port() {
    run(async {
        for program in [
            "listen bare announce park",
            "fork listen bare announce park ; park",
            "new-group listen bare announce park ; park",
            "daemon listen bare announce park ; park",
        ] {
            let tree = tree();
            let (supervisor, _) = Supervisor::start(tree.sidecar(program));
            supervisor.ready().await.unwrap_or_else(|failure| panic!("{program}: {failure}"));
            let _ = supervisor.stop().await;
        }
    });
}
