//! `streams`: a sidecar with long answers. It records what became of each answer. Tests ask for that record by HTTP too,
//! because a sidecar without a port has no other channel.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /pid` | the process id |
//! | any `/echo` | the body of the request, with its method in the header `echoed-method` |
//! | `POST /sink` | the length of the request's body, which the sidecar discards |
//! | `GET /bytes/{count}/{name}` | `count` bytes, produced as the client reads them: 0, 1, … 250, 0, … |
//! | `GET /events/{name}` | an event stream. Its first event is `open`; the data of `open` is the `Last-Event-ID` of the request |
//! | `POST /emit/{id}` | sends the body to each open event stream as an event with this id; answers the number of streams |
//! | `GET /socket/{name}` | a WebSocket. Its first message is `open`. It echoes each message, and closes with 4001 after `close` |
//! | `POST /refuse/{name}` | reads the first bytes of the body, and refuses the rest (413) once an event is emitted |
//! | `POST /swallow/{name}` | begins with the first bytes of the body, and answers at its end |
//! | `GET /silence/{name}` | never answers |
//! | `GET /begun/{name}` | answers with an empty body as soon as a client has asked for the answer of this name |
//! | `GET /made/{name}` | the number of bytes produced so far for the answer of this name |
//! | `GET /dropped/{name}` | the same number, as soon as the client has dropped that answer |

#[cfg(target_os = "linux")]
mod server;
#[cfg(target_os = "linux")]
mod web_socket;

#[cfg(target_os = "linux")]
fn main() -> pillion_server::Result {
    server::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {}
