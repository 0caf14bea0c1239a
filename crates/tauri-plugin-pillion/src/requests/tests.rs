use std::num::NonZeroU16;

use pillion::Spec;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

use super::*;

const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

/// A connection on which a request has arrived.
struct Conversation {
    /// The head of the last request, in lower case.
    head: String,
    stream: BufReader<TcpStream>,
}

impl Conversation {
    async fn hear(stream: TcpStream) -> Self {
        let mut conversation = Self { head: String::new(), stream: BufReader::new(stream) };
        conversation.listen().await;
        conversation
    }

    /// Waits for the next request.
    async fn listen(&mut self) {
        self.head.clear();
        while !self.head.ends_with("\r\n\r\n") && self.stream.read_line(&mut self.head).await.unwrap() > 0 {}
        self.head.make_ascii_lowercase();
    }

    async fn say(&mut self, bytes: &str) {
        self.stream.write_all(bytes.as_bytes()).await.unwrap();
    }

    /// Waits until the other side has hung up.
    async fn end(mut self) {
        assert_eq!(self.stream.read(&mut [0]).await.unwrap_or(0), 0);
    }
}

/// A sidecar whose answers are the test's, but for its health.
struct Stage {
    supervisor: Supervisor,
    requests: Requests,
    conversations: mpsc::UnboundedReceiver<Conversation>,
    port: u16,
}

impl Stage {
    async fn set() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (arrived, conversations) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let mut conversation = Conversation::hear(listener.accept().await.unwrap().0).await;
                if conversation.head.starts_with("get /health ") {
                    conversation.say("HTTP/1.1 204 No Content\r\n\r\n").await;
                } else if arrived.send(conversation).is_err() {
                    break;
                }
            }
        });
        let (supervisor, _) = Supervisor::start(Spec::attach("stage", NonZeroU16::new(port).unwrap()));
        supervisor.ready().await.unwrap();
        Self { supervisor, requests: Requests::default(), conversations, port }
    }

    async fn send(&self, head: Value) -> Result<(Value, String), Refusal> {
        self.send_with(head, "").await
    }

    async fn send_with(&self, mut head: Value, body: &str) -> Result<(Value, String), Refusal> {
        head["sidecar"] = json!("stage");
        let head = serde_json::from_value(head).unwrap();
        let body = Bytes::copy_from_slice(body.as_bytes());
        let answer = self.requests.send("main", &self.supervisor, head, body).await?;
        let (head, body) = framing::split(&answer).unwrap();
        Ok((head, String::from_utf8(body.to_vec()).unwrap()))
    }

    async fn read(&self, webview: &str, id: u32) -> Result<String, Refusal> {
        self.requests.read(webview, id).await.map(|bytes| String::from_utf8(bytes).unwrap())
    }

    /// Asks, and has the answer begin: a body in chunks.
    async fn begin(&mut self, id: u32) -> Conversation {
        let Self { supervisor, requests, conversations, .. } = self;
        let head = serde_json::from_value(with_sidecar(get(id))).unwrap();
        let begun = async {
            let mut conversation = conversations.recv().await.unwrap();
            conversation.say(CHUNKED).await;
            conversation
        };
        let (answer, conversation) =
            tokio::join!(requests.send("main", supervisor, head, Bytes::new()), begun);
        let answer = answer.unwrap();
        let (head, start) = framing::split::<Value>(&answer).unwrap();
        assert_eq!(
            (&head["ended"], start),
            (&json!(false), &b""[..]),
            "it is answered before the body begins"
        );
        conversation
    }
}

fn get(id: u32) -> Value {
    json!({ "id": id, "method": "GET", "path": "/", "headers": [] })
}

fn with_sidecar(mut head: Value) -> Value {
    head["sidecar"] = json!("stage");
    head
}

#[tokio::test]
async fn a_request_arrives_as_it_is_and_so_does_the_answer() {
    let mut stage = Stage::set().await;
    let mut conversations = mem::replace(&mut stage.conversations, mpsc::unbounded_channel().1);
    let head =
        json!({ "id": 1, "method": "POST", "path": "/a?b=1", "headers": [["x-mine", "1"], ["x-mine", "2"]] });
    let (answer, mut conversation) = tokio::join!(stage.send_with(head, "body"), async {
        let mut conversation = conversations.recv().await.unwrap();
        let mut body = [0; 4];
        conversation.stream.read_exact(&mut body).await.unwrap();
        assert_eq!(&body, b"body");
        conversation.say("HTTP/1.1 201 Created\r\ncontent-length: 2\r\nx-its: \u{fc}\r\n\r\nok").await;
        conversation
    });
    assert!(conversation.head.starts_with("post /a?b=1 http/1.1\r\n"), "{}", conversation.head);
    for line in [&format!("host: 127.0.0.1:{}", stage.port), "x-mine: 1\r\nx-mine: 2", "content-length: 4"] {
        assert!(conversation.head.contains(&format!("\r\n{line}\r\n")), "{}", conversation.head);
    }
    let (head, body) = answer.unwrap();
    // A header is bytes, and `ü` is two of them in UTF-8.
    let headers = json!([["content-length", "2"], ["x-its", "\u{c3}\u{bc}"]]);
    assert_eq!(head, json!({ "status": 201, "headers": headers, "ended": true }));
    assert_eq!(body, "ok");

    // The same number, and mostly the same connection: it is kept once it is known to be free.
    let mut again = Box::pin(stage.send(get(1)));
    tokio::select! {
        _ = &mut again => unreachable!("nobody has answered"),
        () = conversation.listen() => assert!(conversation.head.starts_with("get / ")),
        other = conversations.recv() => conversation = other.unwrap(),
    }
    let (answer, ()) = tokio::join!(again, conversation.say("HTTP/1.1 204 No Content\r\n\r\n"));
    assert_eq!(answer.unwrap().0["status"], 204);
}

#[tokio::test]
async fn a_body_comes_piece_by_piece() {
    let mut stage = Stage::set().await;
    let mut conversation = stage.begin(1).await;
    conversation.say("3\r\none\r\n").await;
    assert_eq!(stage.read("main", 1).await.unwrap(), "one");
    let (piece, ()) = tokio::join!(stage.read("main", 1), conversation.say("3\r\ntwo\r\n"));
    assert_eq!(piece.unwrap(), "two");
    conversation.say("0\r\n\r\n").await;
    assert_eq!(stage.read("main", 1).await.unwrap(), "");
    stage.read("main", 1).await.unwrap_err();
}

#[tokio::test]
async fn the_beginning_of_a_body_comes_with_the_head() {
    let mut stage = Stage::set().await;
    let mut conversations = mem::replace(&mut stage.conversations, mpsc::unbounded_channel().1);
    // It is not waited for longer than the page takes to ask for it, so on a busy machine it may miss the head.
    for id in 1..=20 {
        let (answer, _conversation) = tokio::join!(stage.send(get(id)), async {
            let mut conversation = conversations.recv().await.unwrap();
            conversation.say(&format!("{CHUNKED}3\r\none\r\n")).await;
            conversation
        });
        let (head, start) = answer.unwrap();
        assert_eq!(head["ended"], false);
        if start == "one" {
            return;
        }
        assert_eq!(start, "");
        assert_eq!(stage.read("main", id).await.unwrap(), "one");
        stage.requests.cancel("main", id);
    }
    panic!("it never does");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_an_error_and_no_end() {
    let mut stage = Stage::set().await;
    let mut conversation = stage.begin(1).await;
    conversation.say("3\r\none\r\n").await;
    assert_eq!(stage.read("main", 1).await.unwrap(), "one");
    drop(conversation);
    stage.read("main", 1).await.unwrap_err();
}

#[tokio::test]
async fn what_is_cancelled_is_hung_up_on() {
    let mut stage = Stage::set().await;
    let conversation = stage.begin(1).await;
    stage.requests.cancel("main", 1);
    conversation.end().await;
    stage.read("main", 1).await.unwrap_err();

    // Also before the answer, …
    let mut conversations = mem::replace(&mut stage.conversations, mpsc::unbounded_channel().1);
    let (answer, ()) = tokio::join!(stage.send(get(2)), async {
        let conversation = conversations.recv().await.unwrap();
        stage.requests.cancel("main", 2);
        conversation.end().await;
    });
    answer.unwrap_err();

    // … and while somebody reads.
    stage.conversations = conversations;
    let conversation = stage.begin(3).await;
    let (read, ()) = tokio::join!(stage.read("main", 3), async { stage.requests.cancel("main", 3) });
    read.unwrap_err();
    conversation.end().await;
}

#[tokio::test]
async fn another_webview_can_neither_read_nor_cancel_it() {
    let mut stage = Stage::set().await;
    let mut conversation = stage.begin(1).await;
    stage.requests.cancel("other", 1);
    stage.requests.cancel_all_of("other");
    stage.read("other", 1).await.unwrap_err();
    conversation.say("3\r\none\r\n").await;
    assert_eq!(stage.read("main", 1).await.unwrap(), "one");
    stage.requests.cancel_all_of("main");
    conversation.end().await;
}

#[tokio::test]
async fn a_number_is_free_once_its_request_is_over() {
    let mut stage = Stage::set().await;
    let conversation = stage.begin(1).await;
    stage.send(get(1)).await.unwrap_err();
    stage.requests.cancel("main", 1);
    conversation.end().await;
    stage.begin(1).await;
}

#[tokio::test]
async fn what_no_page_may_say_reaches_nobody() {
    let stage = Stage::set().await;
    for (method, path) in
        [("CONNECT", "/"), ("TRACE", "/"), ("G T", "/"), ("GET", "http://a/"), ("GET", ""), ("GET", "/a b")]
    {
        let head = json!({ "id": 1, "method": method, "path": path, "headers": [] });
        assert!(matches!(stage.send(head).await, Err(Refusal::Unanswered(_))), "{method} {path}");
    }
    for name in OURS {
        let head = json!({ "id": 1, "method": "GET", "path": "/", "headers": [[name.as_str(), "x"]] });
        assert!(matches!(stage.send(head).await, Err(Refusal::Unanswered(_))), "{name}");
    }
    assert!(stage.conversations.is_empty());
}
