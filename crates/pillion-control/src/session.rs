//! One connection: a greeting, a request, its answers.

use std::{io, sync::Arc, time::Duration};

use pillion::{Log, LogQuery, Logs, Status, Supervisor};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
    task::JoinSet,
    time,
};

use crate::{
    ControlAnswer, ControlLevel, ControlRequest, REQUEST_LIMIT, RefusalKind,
    line::{LineReader, LineWriter},
    server::Served,
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
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            let message = format!("a request has at most {REQUEST_LIMIT} bytes");
            let _ = writer.send(&ControlAnswer::Error { kind: RefusalKind::Malformed, message }).await;
            return;
        }
        Err(_) => return,
    };
    let answered = async {
        let last = match answer(&line, &served, &mut writer).await {
            Ok(()) => ControlAnswer::Done,
            Err(End::Refused(kind, message)) => ControlAnswer::Error { kind, message },
            Err(End::Gone) => return,
        };
        let _ = writer.send(&last).await;
    };
    tokio::select! {
        () = answered => {}
        // Without output to write, only this shows that the client is gone.
        () = reader.closed() => {}
    }
}

async fn answer<W: AsyncWrite + Unpin>(
    line: &[u8],
    served: &Served,
    writer: &mut LineWriter<W>,
) -> Result<(), End> {
    match read(line)? {
        ControlRequest::Status { sidecar } => {
            for sidecar in served.selected(sidecar.as_deref())? {
                writer.push(&status(sidecar.status()))?;
            }
            Ok(writer.flush().await?)
        }
        ControlRequest::Watch { sidecar } => watch(&served.selected(sidecar.as_deref())?, writer).await,
        ControlRequest::Logs { sidecar, tail, since, follow, levels } => {
            let mut query = LogQuery::default().follow(follow).levels(levels);
            (query.tail, query.since) = (tail, since);
            logs(served.sidecar(&sidecar)?.logs(query), writer).await
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
        let known = ["status", "watch", "logs", "exitReports", "restart"];
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
async fn logs<W: AsyncWrite + Unpin>(mut logs: Logs, writer: &mut LineWriter<W>) -> Result<(), End> {
    while let Some(log) = logs.next().await {
        match log {
            Log::Lines { entries, .. } => {
                for entry in entries {
                    writer.push(&ControlAnswer::Line(entry))?;
                    if writer.pending() >= CHUNK {
                        writer.flush().await?;
                    }
                }
            }
            Log::Missed { lines, .. } => writer.push(&ControlAnswer::Missed { lines })?,
            // Comes as a line when it is complete.
            _ => {}
        }
        writer.flush().await?;
    }
    Ok(())
}

/// Sends the statuses of the sidecars until all are closed. For a client that reads slowly, a newer status replaces those that wait.
async fn watch<W: AsyncWrite + Unpin>(
    sidecars: &[&Supervisor],
    writer: &mut LineWriter<W>,
) -> Result<(), End> {
    // The status that each task holds, and one that waits here.
    let (sender, mut changes) = mpsc::channel(1);
    let mut watches = JoinSet::new();
    for sidecar in sidecars {
        let (mut watch, sender) = (sidecar.watch(), sender.clone());
        watches.spawn(async move {
            while let Some(status) = watch.next().await {
                if sender.send(status).await.is_err() {
                    return;
                }
            }
        });
    }
    drop(sender);
    while let Some(changed) = changes.recv().await {
        writer.send(&status(changed)).await?;
    }
    Ok(())
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
