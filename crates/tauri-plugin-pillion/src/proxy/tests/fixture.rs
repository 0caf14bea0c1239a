//! A sidecar whose responses a test writes, and a proxy to it.

use std::{mem, num::NonZeroU16, sync::Arc, time::Duration};

use pillion::{Spec, Supervisor};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

use crate::desktop::{
    http_pool::HttpPool,
    lock::lock,
    proxy::{CommandError, Exchange, HttpExchange, Proxy, ipc_message},
};

pub(super) const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

/// A connection on which a request has arrived.
pub(super) struct Connection {
    /// The head of the last request, in lower case.
    pub(super) head: String,
    /// The same as it arrived.
    pub(super) raw_head: String,
    pub(super) stream: BufReader<TcpStream>,
}

impl Connection {
    pub(super) async fn accept(stream: TcpStream) -> Self {
        let mut connection =
            Self { head: String::new(), raw_head: String::new(), stream: BufReader::new(stream) };
        connection.read_head().await;
        connection
    }

    /// Waits for the next request.
    pub(super) async fn read_head(&mut self) {
        self.raw_head.clear();
        let Self { raw_head, stream, .. } = self;
        while !raw_head.ends_with("\r\n\r\n") && stream.read_line(raw_head).await.unwrap() > 0 {}
        self.head = self.raw_head.to_ascii_lowercase();
    }

    pub(super) async fn write(&mut self, bytes: &str) {
        self.stream.write_all(bytes.as_bytes()).await.unwrap();
    }

    /// Waits until the client has closed the connection.
    pub(super) async fn closed(mut self) {
        assert_eq!(self.stream.read(&mut [0]).await.unwrap_or(0), 0);
    }
}

/// A proxy to a sidecar whose responses the test writes, except those to `GET /health`.
pub(super) struct Fixture {
    pub(super) supervisor: Supervisor,
    pub(super) proxy: Proxy,
    pub(super) connections: mpsc::UnboundedReceiver<Connection>,
    pub(super) port: u16,
}

impl Fixture {
    pub(super) async fn new() -> Self {
        Self::with(|spec| spec).await
    }

    pub(super) async fn with(change: impl FnOnce(Spec) -> Spec) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (accepted, connections) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let mut connection = Connection::accept(listener.accept().await.unwrap().0).await;
                if connection.head.starts_with("get /health ") {
                    connection.write("HTTP/1.1 204 No Content\r\n\r\n").await;
                } else if accepted.send(connection).is_err() {
                    break;
                }
            }
        });
        let spec = Spec::attach("server", NonZeroU16::new(port).unwrap());
        let (supervisor, _) = Supervisor::start(change(spec));
        supervisor.ready().await.unwrap();
        let proxy = Proxy::default();
        // A slow machine does not make a kept connection an old one.
        let pool = HttpPool::new(Duration::from_secs(3_600));
        lock(&proxy.pools).insert("server".to_owned(), Arc::new(pool));
        Self { supervisor, proxy, connections, port }
    }

    /// Takes the receiver of connections, so that a test can await one while the fixture is borrowed.
    pub(super) fn take_connections(&mut self) -> mpsc::UnboundedReceiver<Connection> {
        mem::replace(&mut self.connections, mpsc::unbounded_channel().1)
    }

    pub(super) async fn send(&self, head: Value) -> Result<(Value, String), CommandError> {
        self.send_with(head, "").await
    }

    pub(super) async fn send_with(&self, head: Value, body: &str) -> Result<(Value, String), CommandError> {
        let head = serde_json::from_value(with_sidecar(head)).unwrap();
        let response = self.proxy.send("main", &self.supervisor, head, body.as_bytes()).await?;
        let (head, body) = ipc_message::decode(&response).unwrap();
        Ok((head, String::from_utf8(body.to_vec()).unwrap()))
    }

    pub(super) async fn read(&self, webview: &str, id: u32) -> Result<String, CommandError> {
        self.proxy.read(webview, id, None).await.map(|bytes| String::from_utf8(bytes).unwrap())
    }

    /// Reads the chunk at this place.
    pub(super) async fn read_at(&self, id: u32, place: u32) -> Result<String, CommandError> {
        self.proxy.read("main", id, Some(place)).await.map(|bytes| String::from_utf8(bytes).unwrap())
    }

    /// A request that is under way.
    pub(super) fn exchange(&self, id: u32) -> Arc<HttpExchange> {
        match self.proxy.exchanges.get(&("main".to_owned(), id)) {
            Some(Exchange::Http(exchange)) => exchange,
            other => panic!("{other:?} is not a request"),
        }
    }

    /// Waits until the chunks before this place were read.
    pub(super) async fn taken(&self, id: u32, place: u32) {
        self.exchange(id).next.subscribe().wait_for(|next| *next >= place).await.unwrap();
    }

    /// Sends a request, and writes the head of a response whose body is chunked.
    pub(super) async fn begin(&mut self, id: u32) -> Connection {
        self.begin_with(id, CHUNKED).await
    }

    /// Sends a request, and writes this head of a response.
    pub(super) async fn begin_with(&mut self, id: u32, answer: &str) -> Connection {
        let Self { supervisor, proxy, connections, .. } = self;
        let head = serde_json::from_value(with_sidecar(get(id))).unwrap();
        let begun = async {
            let mut connection = connections.recv().await.unwrap();
            connection.write(answer).await;
            connection
        };
        let (response, connection) = tokio::join!(proxy.send("main", supervisor, head, &[]), begun);
        let response = response.unwrap();
        let (head, start) = ipc_message::decode::<Value>(&response).unwrap();
        assert_eq!(
            (&head["ended"], start),
            (&json!(false), &b""[..]),
            "the head is passed on before the body begins"
        );
        connection
    }
}

pub(super) fn get(id: u32) -> Value {
    json!({ "id": id, "method": "GET", "path": "/", "headers": [] })
}

pub(super) fn with_sidecar(mut head: Value) -> Value {
    head["sidecar"] = json!("server");
    head
}
