use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
};

use super::*;

const LIMIT: Duration = Duration::from_millis(20);

/// An app that serves its socket by hand.
struct App {
    listener: UnixListener,
    client: DiscoveredApp,
    _folder: tempfile::TempDir,
}

impl App {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let greeting = Greeting::new(AppInfo::new("mail"), ControlLevel::Full);
        let client = DiscoveredApp { address: Address { pid: 1, path }, greeting };
        Self { listener, client, _folder: folder }
    }

    /// Greets the next client.
    async fn greet(&self) -> BufReader<UnixStream> {
        let (mut connection, _) = self.listener.accept().await.unwrap();
        let greeting = serde_json::to_string(&self.client.greeting).unwrap() + "\n";
        connection.write_all(greeting.as_bytes()).await.unwrap();
        BufReader::new(connection)
    }

    /// The answers to this request, which the app has read.
    async fn ask(&self, request: &ControlRequest) -> (AnswerStream, BufReader<UnixStream>) {
        let served = async {
            let mut connection = self.greet().await;
            connection.read_line(&mut String::new()).await.unwrap();
            connection
        };
        let (answers, connection) = tokio::join!(self.client.request(request), served);
        (AnswerStream { limit: LIMIT, ..answers.unwrap() }, connection)
    }
}

fn logs(follow: bool) -> ControlRequest {
    ControlRequest::Logs { sidecar: "mail".to_owned(), tail: None, since: None, follow, levels: false }
}

#[tokio::test]
async fn an_app_that_falls_silent_within_its_answer_ends_it() {
    let app = App::new();
    for request in [
        ControlRequest::Status { sidecar: None },
        ControlRequest::ExitReports { sidecar: None },
        ControlRequest::Diagnose { sidecar: None },
        logs(false),
    ] {
        let (mut answers, mut connection) = app.ask(&request).await;
        connection.write_all(b"{\"answer\":\"missed\",\"lines\":1}\n").await.unwrap();
        assert_eq!(answers.next().await.unwrap(), Some(ControlAnswer::Missed { lines: 1 }));
        assert!(matches!(answers.next().await, Err(ClientError::Silent)), "{request:?}");
        assert_eq!(answers.next().await.unwrap(), None);
    }
}

#[tokio::test]
async fn an_app_that_waits_for_news_is_silent_once_it_does_not_greet() {
    let app = App::new();
    for request in [
        ControlRequest::Watch { sidecar: None },
        ControlRequest::Usage { sidecar: None, interval_ms: None },
        ControlRequest::Restart { sidecar: "mail".to_owned() },
        logs(true),
    ] {
        let (mut answers, mut connection) = app.ask(&request).await;
        let greets = async {
            // It has nothing to say for several times the limit.
            for _ in 0..3 {
                app.greet().await;
            }
            connection.write_all(b"{\"answer\":\"missed\",\"lines\":1}\n").await.unwrap();
        };
        // A slow machine must not make the app look silent before the test says so.
        answers.greeting_limit = ANSWER_TIMEOUT;
        let (answer, ()) = tokio::join!(answers.next(), greets);
        assert_eq!(answer.unwrap(), Some(ControlAnswer::Missed { lines: 1 }), "{request:?}");
        answers.greeting_limit = LIMIT;
        // The system accepts the connections of a suspended app.
        assert!(matches!(answers.next().await, Err(ClientError::Silent)), "{request:?}");
        while time::timeout(LIMIT, app.listener.accept()).await.is_ok() {}
    }
}
