//! One connection: a greeting, a request, its answers.

use std::{io, sync::Arc, time::Duration};

use pillion::{Diagnosis, Log, LogQuery, Logs, Status, Supervisor, UsageWatch};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
    task::{self, JoinSet},
    time,
};

use crate::{
    ControlAnswer, ControlLevel, ControlRequest, REQUEST_LIMIT, RefusalKind,
    line::{LineReader, LineWriter},
    server::Served,
    task::task,
};

/// How long a client may take to send its request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How many bytes of output are collected for one write.
const CHUNK: usize = 64 * 1024;

/// Why a request gets no further answer.
enum End {
    /// The request was refused, or has failed.
    Refused(RefusalKind, String),
    /// The connection is gone.
    Gone,
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

/// Serves one client to its end. Its writes wait for the client; nothing else does.
pub(crate) async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, served: Arc<Served>) {
    let (read, write) = tokio::io::split(stream);
    let (mut reader, mut writer) = (LineReader::new(read, REQUEST_LIMIT), LineWriter::new(write));
    if writer.send(&served.greeting).await.is_err() {
        return;
    }
    let Ok(received) = time::timeout(REQUEST_TIMEOUT, reader.next()).await else { return };
    let line = match received {
        Ok(Some(line)) => line,
        Ok(None) => return,
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) => {
            let message =
                format!("a request is one line of at most {REQUEST_LIMIT} bytes, and its newline: {error}");
            let _ = writer.send(&ControlAnswer::Error { kind: RefusalKind::Malformed, message }).await;
            return;
        }
        Err(_) => return,
    };
    let last = match answer(&line, &served, &mut reader, &mut writer).await {
        Ok(()) => ControlAnswer::Done,
        Err(End::Refused(kind, message)) => ControlAnswer::Error { kind, message },
        Err(End::Gone) => return,
    };
    let _ = writer.send(&last).await;
}

/// Answers a request. Only an answer that waits for something new looks at the reader: without output to write, the reader alone shows that
/// the client is gone. A client that has only closed its side for writing gets what the app has, and then the end of the answer.
async fn answer<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    line: &[u8],
    served: &Served,
    reader: &mut LineReader<R>,
    writer: &mut LineWriter<W>,
) -> Result<(), End> {
    match read(line)? {
        ControlRequest::Status { sidecar } => {
            for sidecar in served.selected(sidecar.as_deref())? {
                writer.push(&status(sidecar.status()))?;
            }
            Ok(writer.flush().await?)
        }
        ControlRequest::Watch { sidecar } => {
            watch(&served.selected(sidecar.as_deref())?, reader, writer).await
        }
        ControlRequest::Logs { sidecar, tail, since, follow, levels } => {
            let mut query = LogQuery::default().follow(follow).levels(levels);
            (query.tail, query.since) = (tail, since);
            logs(served.sidecar(&sidecar)?.logs(query), reader, writer).await
        }
        ControlRequest::ExitReports { sidecar } => {
            for sidecar in served.selected(sidecar.as_deref())? {
                for report in sidecar.exit_reports().await {
                    writer.push(&ControlAnswer::ExitReport { report: Box::new(report) })?;
                }
                writer.flush().await?;
            }
            Ok(())
        }
        ControlRequest::Usage { sidecar, interval_ms } => {
            let interval = interval_ms.map_or(UsageWatch::DEFAULT_INTERVAL, Duration::from_millis);
            let sidecars = served.selected(sidecar.as_deref())?;
            usage(sidecars.into_iter().map(|sidecar| sidecar.usage().every(interval)), reader, writer).await
        }
        ControlRequest::Diagnose { sidecar } => {
            let mut diagnosis = Diagnosis::of(served.selected(sidecar.as_deref())?).await;
            diagnosis.add_json("app.json", &serde_json::to_value(&served.greeting).unwrap_or_default());
            for file in diagnosis.files() {
                let (name, text) = (file.name.clone(), file.text.clone());
                writer.push(&ControlAnswer::File { name, text })?;
                send_chunk(writer).await?;
            }
            Ok(())
        }
        ControlRequest::Restart { sidecar } => {
            let sidecar = served.sidecar(&sidecar)?;
            served.demand(ControlLevel::Full, "restart")?;
            match sidecar.restart().await {
                Ok(_) => Ok(writer.send(&status(sidecar.status())).await?),
                Err(failure) => Err(End::Refused(RefusalKind::Failed, failure.message)),
            }
        }
    }
}

fn read(line: &[u8]) -> Result<ControlRequest, End> {
    let value: serde_json::Value = serde_json::from_slice(line)
        .map_err(|error| End::Refused(RefusalKind::Malformed, format!("the request is not JSON: {error}")))?;
    let name = value["request"].as_str().unwrap_or_default().to_owned();
    serde_json::from_value(value).map_err(|error| {
        let known = ["status", "watch", "logs", "exitReports", "usage", "diagnose", "restart"];
        if known.contains(&name.as_str()) || name.is_empty() {
            End::Refused(RefusalKind::Malformed, format!("the request is not valid: {error}"))
        } else {
            let message =
                format!("the app does not know the request {name:?}; it knows {}", known.join(", "));
            End::Refused(RefusalKind::UnknownRequest, message)
        }
    })
}

fn status(status: Status) -> ControlAnswer {
    ControlAnswer::Status { status: Box::new(status) }
}

/// Sends the output. The supervisor keeps what waits for a client that reads slowly, and counts what it cannot keep.
async fn logs<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    mut logs: Logs,
    reader: &mut LineReader<R>,
    writer: &mut LineWriter<W>,
) -> Result<(), End> {
    loop {
        let log = tokio::select! {
            biased;
            log = logs.next() => log,
            // Comes only when a follower waits: kept lines are there at once.
            () = reader.closed() => None,
        };
        let Some(log) = log else { return Ok(()) };
        match log {
            Log::Lines { entries, .. } => {
                for entry in entries {
                    writer.push(&ControlAnswer::Line(entry))?;
                    if writer.pending() >= CHUNK {
                        send_chunk(writer).await?;
                    }
                }
            }
            Log::Missed { lines, .. } => writer.push(&ControlAnswer::Missed { lines })?,
            // Comes as a line when it is complete.
            _ => {}
        }
        send_chunk(writer).await?;
    }
}

/// Writes what is pending. Then the other tasks of the thread get their turn, even if the client reads so fast that no write waits.
async fn send_chunk<W: AsyncWrite + Unpin>(writer: &mut LineWriter<W>) -> io::Result<()> {
    writer.flush().await?;
    task::yield_now().await;
    Ok(())
}

/// Sends the statuses of the sidecars until all are closed. For a client that reads slowly, a newer status replaces those that wait.
async fn watch<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    sidecars: &[&Supervisor],
    reader: &mut LineReader<R>,
    writer: &mut LineWriter<W>,
) -> Result<(), End> {
    // The status that each task holds, and one that waits here.
    let (sender, changes) = mpsc::channel(1);
    let mut watches = JoinSet::new();
    for sidecar in sidecars {
        let (mut watch, sender) = (sidecar.watch(), sender.clone());
        // The present one comes at once.
        if let Some(present) = watch.next().await {
            writer.push(&status(present))?;
        }
        watches.spawn(task(async move {
            while let Some(status) = watch.next().await {
                if sender.send(status).await.is_err() {
                    return;
                }
            }
        }));
    }
    drop(sender);
    writer.flush().await?;
    forward(changes, status, reader, writer).await
}

/// Sends what the sidecars use, until all are closed. Nothing is measured for a client that does not read.
async fn usage<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    usages: impl Iterator<Item = UsageWatch>,
    reader: &mut LineReader<R>,
    writer: &mut LineWriter<W>,
) -> Result<(), End> {
    let (sender, values) = mpsc::channel(1);
    let mut watches = JoinSet::new();
    let as_usage = |usage| ControlAnswer::Usage { usage: Box::new(usage) };
    for mut watch in usages {
        // The present value comes at once.
        if let Some(present) = watch.next().await {
            writer.push(&as_usage(present))?;
        }
        let sender = sender.clone();
        watches.spawn(task(async move {
            while let Ok(place) = sender.reserve().await {
                let Some(usage) = watch.next().await else { return };
                place.send(usage);
            }
        }));
    }
    drop(sender);
    writer.flush().await?;
    forward(values, as_usage, reader, writer).await
}

/// Sends what comes, until no more comes or the client is gone.
async fn forward<T, R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    mut values: mpsc::Receiver<T>,
    answer: impl Fn(T) -> ControlAnswer,
    reader: &mut LineReader<R>,
    writer: &mut LineWriter<W>,
) -> Result<(), End> {
    loop {
        let value = tokio::select! {
            biased;
            value = values.recv() => value,
            () = reader.closed() => None,
        };
        let Some(value) = value else { return Ok(()) };
        writer.send(&answer(value)).await?;
    }
}

impl Served {
    fn sidecar(&self, name: &str) -> Result<&Supervisor, End> {
        self.sidecars.get(name).ok_or_else(|| {
            let names: Vec<_> = self.sidecars.keys().map(String::as_str).collect();
            let app = &self.greeting.app.name;
            let message = format!("{app} has no sidecar {name:?}; it has {}", names.join(", "));
            End::Refused(RefusalKind::UnknownSidecar, message)
        })
    }

    fn selected(&self, name: Option<&str>) -> Result<Vec<&Supervisor>, End> {
        match name {
            Some(name) => Ok(vec![self.sidecar(name)?]),
            None => Ok(self.sidecars.values().collect()),
        }
    }

    fn demand(&self, level: ControlLevel, request: &str) -> Result<(), End> {
        if self.greeting.control == level {
            return Ok(());
        }
        let app = &self.greeting.app.name;
        let message = format!(
            "{app} lets other programs look at its sidecars only, and not {request} them: set \"control\": \"full\" in plugins.pillion of \
             its tauri.conf.json, or start `pillion run` with --control full"
        );
        Err(End::Refused(RefusalKind::NotAllowed, message))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::{AppInfo, Greeting};

    #[tokio::test]
    async fn a_client_that_closes_its_side_for_writing_gets_its_answer() {
        let greeting = Greeting::new(AppInfo::new("x"), ControlLevel::Read);
        let served = Arc::new(Served { greeting, sidecars: BTreeMap::new() });
        // Several times: the order in which a task looks at its two sides can be random.
        for round in 0..50 {
            for request in ["status", "watch", "exitReports", "usage", "diagnose"] {
                let (mut client, stream) = tokio::io::duplex(4096);
                client.write_all(format!("{{\"request\":\"{request}\"}}\n").as_bytes()).await.unwrap();
                client.shutdown().await.unwrap();
                serve(stream, Arc::clone(&served)).await;
                let mut answer = String::new();
                client.read_to_string(&mut answer).await.unwrap();
                assert!(answer.ends_with("{\"answer\":\"done\"}\n"), "{round}, {request}: {answer}");
            }
        }
    }

    #[tokio::test]
    async fn a_request_without_its_newline_is_answered_with_an_error() {
        let greeting = Greeting::new(AppInfo::new("x"), ControlLevel::Read);
        let served = Arc::new(Served { greeting, sidecars: BTreeMap::new() });
        let (mut client, stream) = tokio::io::duplex(4096);
        client.write_all(b"{\"request\":\"status\"}").await.unwrap();
        client.shutdown().await.unwrap();
        serve(stream, served).await;
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains("malformed") && answer.contains("no newline at its end"), "{answer}");
    }
}
