use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
};

use super::*;

/// A server's end on which the client has sent once, 9 s ago, and the server 5 s ago.
const ANSWERED: Socket = Socket {
    port: 80,
    peer: 5000,
    inode: 1,
    close_wait: false,
    unread: 0,
    unsent: 0,
    has_received: true,
    has_sent: true,
    last_sent: 5000,
    last_received: 9000,
    last_ack_received: 5000,
};

#[test]
fn a_response_is_owed_for_bytes_that_were_read_and_not_answered() {
    use Response::{Ambiguous, NotOwed, Owed};
    for (socket, expected) in [
        (ANSWERED, NotOwed),
        (Socket { last_received: 4000, ..ANSWERED }, Owed),
        (Socket { last_received: 5000, ..ANSWERED }, Ambiguous),
        (Socket { has_sent: false, last_sent: 9000, ..ANSWERED }, Owed),
        (Socket { has_sent: false, has_received: false, ..ANSWERED }, NotOwed),
        // The server has not read the next request.
        (Socket { last_received: 4000, unread: 1, ..ANSWERED }, NotOwed),
        // The client has closed its side, and the server has not read the end.
        (Socket { last_received: 4000, unread: 1, close_wait: true, ..ANSWERED }, Owed),
        (Socket { last_received: 4000, unread: 2, close_wait: true, ..ANSWERED }, NotOwed),
        // The client does not read the response.
        (Socket { unsent: 1, ..ANSWERED }, Owed),
    ] {
        assert_eq!(socket.response(), expected, "{socket:?}");
    }
}

#[test]
fn the_clients_end_decides_about_one_tick() {
    let server = Socket { last_received: 5000, ..ANSWERED };
    let client = |last_ack_received| Socket { last_ack_received, last_received: 5000, ..ANSWERED };
    assert!(!server.accepted(None).owes_response);
    assert!(!server.accepted(Some(&client(5000))).owes_response);
    assert!(server.accepted(Some(&client(4960))).owes_response);
    assert!(!server.accepted(Some(&client(1000))).owes_response, "a TCP keep-alive");
}

/// A connection to a server in this process, not yet accepted.
struct Pair {
    listener: TcpListener,
    client: TcpStream,
}

impl Pair {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        Self { listener, client }
    }

    /// What the kernel says of the one accepted connection.
    fn accepted(&self) -> Option<Accepted> {
        let port = self.listener.local_addr().unwrap().port().try_into().unwrap();
        let accepted = accepted(port).unwrap();
        assert!(accepted.len() < 2, "{accepted:?}");
        accepted.first().copied()
    }

    fn owes_response(&self) -> bool {
        self.accepted().unwrap().owes_response
    }
}

#[test]
fn the_kernel_tells_a_request_that_was_read_from_one_that_waits() {
    let mut pair = Pair::new();
    pair.client.write_all(b"request").unwrap();
    assert_eq!(pair.accepted(), None, "it waits to be accepted");
    let (mut server, client_addr) = pair.listener.accept().unwrap();
    assert_eq!(pair.accepted().unwrap().client, client_addr.port());
    assert!(!pair.owes_response(), "the request is not read");
    server.read_exact(&mut [0; 7]).unwrap();
    assert!(pair.owes_response());
    assert_eq!(pair.accepted().unwrap().last_sent, None);
    server.write_all(b"response").unwrap();
    pair.client.read_exact(&mut [0; 8]).unwrap();
    assert!(pair.accepted().unwrap().last_sent.is_some());
    // The next request owes a response once it has been read, even if the client leaves meanwhile.
    let answered_at = pair.accepted().unwrap().last_sent.unwrap();
    // A new tick, so that the order of response and request is certain.
    while pair.accepted().unwrap().last_sent.unwrap() == answered_at {}
    assert!(!pair.owes_response(), "an idle connection");
    pair.client.write_all(b"request").unwrap();
    server.read_exact(&mut [0; 7]).unwrap();
    assert!(pair.owes_response());
    pair.client.shutdown(Shutdown::Write).unwrap();
    assert!(pair.owes_response());
}

#[test]
fn a_response_that_the_client_does_not_read_is_owed() {
    let mut pair = Pair::new();
    pair.client.write_all(b"request").unwrap();
    let (mut server, _) = pair.listener.accept().unwrap();
    server.read_exact(&mut [0; 7]).unwrap();
    server.set_nonblocking(true).unwrap();
    while server.write(&[0; 4096]).is_ok() {}
    assert!(pair.owes_response());
}

#[test]
fn what_the_kernel_would_not_send_is_no_socket() {
    assert_eq!(Socket::parse(&[0; 71]), None);
    assert_eq!(Socket::parse(&[0; 80]), None, "an attribute of length 0 ends the search");
    let mut short = vec![0; 72 + 4 + 104];
    short[72..76].copy_from_slice(&[108, 0, 2, 0]);
    assert_eq!(Socket::parse(&short), None, "the tcp_info of an old kernel");
}
