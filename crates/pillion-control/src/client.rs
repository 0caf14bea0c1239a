//! The client's side: finds the running apps of this user, and asks them.

use std::{io, time::Duration};

use serde::de::DeserializeOwned;
use tokio::{io::ReadHalf, task::JoinSet, time};

use crate::{
    AppInfo, ClientError, ControlAnswer, ControlError, ControlLevel, ControlRequest, Greeting,
    PROTOCOL_VERSION,
    control_socket::{self, Address, Stream},
    line::{LineReader, LineWriter},
};

/// How long an app may take to greet, or to tell its statuses. The system accepts connections for a suspended app, which says nothing.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an app may take for each part of an answer. It reads and redacts megabytes of log files before the first part of a diagnosis.
const PART_TIMEOUT: Duration = Duration::from_secs(30);
/// The maximum length of an answer, in bytes. A line of output has at most 64 KiB, and each byte may become six in JSON; a status can
/// hold some of them.
const ANSWER_LIMIT: usize = 16 * 1024 * 1024;

/// What [`discover`] found.
#[derive(Debug)]
#[non_exhaustive]
pub struct Discovery {
    /// The apps that answered, by name and process id.
    pub apps: Vec<DiscoveredApp>,
    /// The process ids of apps that gave no answer, and why.
    pub silent: Vec<(u32, ClientError)>,
    /// The directories that cannot be used, and why. Apps do not use them either.
    pub errors: Vec<ControlError>,
}

/// A running app of this user.
#[derive(Debug, Clone)]
pub struct DiscoveredApp {
    address: Address,
    greeting: Greeting,
}

/// The answers to a request, as they come. Dropping it ends the request.
#[derive(Debug)]
pub struct AnswerStream {
    reader: LineReader<ReadHalf<Stream>>,
    /// Keeps the connection open: its end ends the request.
    writer: LineWriter<tokio::io::WriteHalf<Stream>>,
    ended: bool,
    address: Address,
    /// Whether the app may have nothing to say for long.
    may_wait: bool,
    /// How long it may say nothing, and then need for a greeting.
    limit: Duration,
    greeting_limit: Duration,
}

/// Finds the apps of this user that run now and have a control socket. Takes at most 10 s, if an app is suspended. Removes the
/// sockets of dead apps. Dropping the future abandons the search.
pub async fn discover() -> Discovery {
    let (addresses, errors) = control_socket::addresses().await;
    let mut greetings = JoinSet::new();
    for address in addresses {
        greetings.spawn(async move {
            let greeted = open(&address, ANSWER_TIMEOUT).await.map(|(greeting, _)| greeting);
            (address, greeted)
        });
    }
    let (mut apps, mut silent) = (Vec::new(), Vec::new());
    while let Some(greeted) = greetings.join_next().await {
        match greeted {
            Ok((address, Ok(greeting))) => apps.push(DiscoveredApp { address, greeting }),
            // It ended between the two calls.
            Ok((_, Err(ClientError::Ended))) | Err(_) => {}
            Ok((address, Err(error))) => silent.push((address.pid, error)),
        }
    }
    apps.sort_by(|one, other| {
        let key = |app: &DiscoveredApp| (app.greeting.app.name.to_lowercase(), app.greeting.app.pid);
        key(one).cmp(&key(other))
    });
    silent.sort_by_key(|(pid, _)| *pid);
    Discovery { apps, silent, errors }
}

impl DiscoveredApp {
    /// Which app it is.
    #[must_use]
    pub fn info(&self) -> &AppInfo {
        &self.greeting.app
    }

    /// What it allows.
    #[must_use]
    pub fn control(&self) -> ControlLevel {
        self.greeting.control
    }

    /// Sends a request over a connection of its own. Dropping the future abandons it.
    ///
    /// # Errors
    /// [`ClientError::Ended`] if the app has ended, [`ClientError::Silent`] if it does not greet within 10 s, and others.
    pub async fn request(&self, request: &ControlRequest) -> Result<AnswerStream, ClientError> {
        let (_, mut stream) = open(&self.address, ANSWER_TIMEOUT).await?;
        stream.may_wait = may_wait(request);
        stream.writer.send(request).await.map_err(of_connection)?;
        Ok(stream)
    }

    /// The statuses of this sidecar, or of all, by name.
    ///
    /// # Errors
    /// As [`request`](Self::request), and [`ClientError::Refused`] for an unknown name. The whole answer has 10 s.
    pub async fn statuses(&self, sidecar: Option<&str>) -> Result<Vec<pillion::Status>, ClientError> {
        let request = ControlRequest::Status { sidecar: sidecar.map(str::to_owned) };
        let answered = async {
            let mut answers = self.request(&request).await?;
            let mut statuses = Vec::new();
            while let Some(answer) = answers.next().await? {
                if let ControlAnswer::Status { status } = answer {
                    statuses.push(*status);
                }
            }
            Ok(statuses)
        };
        time::timeout(ANSWER_TIMEOUT, answered).await.unwrap_or(Err(ClientError::Silent))
    }
}

impl AnswerStream {
    /// The next answer, and `None` when the answer is complete. Cancel-safe.
    ///
    /// An app that is suspended or hangs does not let it wait for ever: an answer that waits for nothing new comes within 30 s of the call.
    /// For the others (`watch`, `usage`, `restart`, and `logs` that follow), it looks every 30 s whether the app still greets within 10 s.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if the app refused the request or it failed, [`ClientError::Ended`] if the app ended before the answer was
    /// complete, [`ClientError::Silent`] if it does not answer any more, and others. After an error it returns `None`.
    pub async fn next(&mut self) -> Result<Option<ControlAnswer>, ClientError> {
        if self.ended {
            return Ok(None);
        }
        match self.next_answer().await {
            Ok(ControlAnswer::Done) => {
                self.ended = true;
                Ok(None)
            }
            Ok(ControlAnswer::Error { kind, message }) => {
                self.ended = true;
                Err(ClientError::Refused { kind, message })
            }
            Ok(answer) => Ok(Some(answer)),
            Err(error) => {
                self.ended = true;
                Err(error)
            }
        }
    }

    async fn next_answer(&mut self) -> Result<ControlAnswer, ClientError> {
        loop {
            // The whole limit again: the time in which the caller did not read is not the app's.
            let answer = next_line(&mut self.reader);
            if let Ok(answer) = time::timeout(self.limit, answer).await {
                return answer;
            }
            if !self.may_wait {
                return Err(ClientError::Silent);
            }
            tokio::select! {
                answer = next_line(&mut self.reader) => return answer,
                // Any other answer shows that it works, and the end of this connection is that of the app.
                greeted = open(&self.address, self.greeting_limit) => if let Err(ClientError::Silent) = greeted {
                    return Err(ClientError::Silent);
                }
            }
        }
    }
}

/// Whether the app answers this request only when there is something new.
fn may_wait(request: &ControlRequest) -> bool {
    match request {
        ControlRequest::Watch { .. } | ControlRequest::Usage { .. } | ControlRequest::Restart { .. } => true,
        ControlRequest::Logs { follow, .. } => *follow,
        ControlRequest::Status { .. }
        | ControlRequest::ExitReports { .. }
        | ControlRequest::Diagnose { .. } => false,
    }
}

/// Connects, and reads the greeting, within this time.
async fn open(address: &Address, limit: Duration) -> Result<(Greeting, AnswerStream), ClientError> {
    let greeted = async {
        let stream = control_socket::connect(address).await.map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => ClientError::Foreign,
            // The queue of an app that accepts no connections is full (connect(2)).
            io::ErrorKind::WouldBlock => ClientError::Silent,
            _ => of_connection(error),
        })?;
        let (reader, writer) = tokio::io::split(stream);
        let mut stream = AnswerStream {
            reader: LineReader::new(reader, ANSWER_LIMIT),
            writer: LineWriter::new(writer),
            ended: false,
            address: address.clone(),
            may_wait: true,
            limit: PART_TIMEOUT,
            greeting_limit: ANSWER_TIMEOUT,
        };
        let greeting: Greeting = next_line(&mut stream.reader).await?;
        match greeting.pillion_control {
            PROTOCOL_VERSION => Ok((greeting, stream)),
            version => Err(ClientError::Version(version)),
        }
    };
    time::timeout(limit, greeted).await.unwrap_or(Err(ClientError::Silent))
}

async fn next_line<T: DeserializeOwned>(reader: &mut LineReader<ReadHalf<Stream>>) -> Result<T, ClientError> {
    let line = reader.next().await.map_err(of_connection)?.ok_or(ClientError::Ended)?;
    serde_json::from_slice(&line).map_err(|error| ClientError::Malformed(error.to_string()))
}

fn of_connection(error: io::Error) -> ClientError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused
        | io::ErrorKind::NotFound
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => ClientError::Ended,
        io::ErrorKind::InvalidData => ClientError::Malformed(error.to_string()),
        _ => ClientError::Io(error),
    }
}

#[cfg(test)]
#[cfg(windows)]
mod pipe_tests;
#[cfg(test)]
#[cfg(unix)]
mod tests;
