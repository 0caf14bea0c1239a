//! The program under test: starts it with chosen variables and with a chosen descriptor 3.

use std::{
    ffi::{OsStr, OsString},
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc,
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{
    Address, Answer, Server, Variables,
    descriptors::{Descriptor3, Keep},
};

/// How long a program may take for an answer or its announcement. It only bounds a failing test.
const LIMIT: Duration = Duration::from_secs(120);
/// The variables of the protocol, which the program gets from the vector alone.
const OF_PROTOCOL: [&str; 9] = [
    "PORT",
    "PILLION_PROTOCOL",
    "PILLION_INSTANCE",
    "PILLION_TOKEN",
    "PILLION_ALLOWED_ORIGINS",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "LISTEN_FDS_FIRST_FD",
];

/// A program that is a sidecar with the handlers that README.md describes.
#[derive(Debug, Clone)]
pub struct Subject {
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
}

impl Subject {
    /// A program without arguments.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), args: Vec::new(), env: Vec::new() }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Sets a variable that is not of the protocol.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Starts the program, and waits for its announcement or its end.
    pub(crate) fn start(&self, variables: &Variables, third: Option<Descriptor3>) -> Result<Start> {
        let mut command = self.command(variables, third.is_some());
        let (mut address, mut kept) = (None, None);
        if let Some(third) = third {
            command.stdin(third.fd);
            (address, kept) = (third.address, third.keep);
        }
        #[expect(clippy::disallowed_methods, reason = "`Running` kills the program")]
        let mut child = command.spawn().context("cannot start sh")?;
        // From here the sidecar alone holds descriptor 3.
        drop(command);
        let (stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
        let log = thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stderr.as_mut().map(|stderr| stderr.read_to_end(&mut text));
            String::from_utf8_lossy(&text).into_owned()
        });
        let mut running = Running { child, log: Some(log), address: Address::Tcp(0), _keep: kept };
        let (sender, announcement) = mpsc::channel();
        let reader = BufReader::new(stdout.context("stdout is not piped")?);
        let stdout = thread::spawn(move || read_announcement(reader, &sender));
        match announcement.recv_timeout(LIMIT) {
            Ok(line) => {
                running.address = announced(line.trim_end(), address)?;
                Ok(Start::Running(running))
            }
            // The end of stdout: the program ends, or it never announces.
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                let status = running.wait()?;
                let stdout = stdout.join().unwrap_or_default();
                Ok(Start::Ended { code: status, stdout, stderr: running.log() })
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let _ = running.child.kill();
                bail!(
                    "the program neither announced itself nor ended within {LIMIT:?}; stderr: {}",
                    running.log()
                )
            }
        }
    }

    /// The command that starts the program. A shell becomes the program, because only the shell knows the program's process id before it
    /// runs. With `third`, the stdin of the command becomes descriptor 3.
    fn command(&self, variables: &Variables, third: bool) -> Command {
        let mut script = "exec env".to_owned();
        for (name, value) in variables {
            let value = value.replace('\'', r"'\''").replace("{pid}", "'$$'").replace("{ppid}", "'$PPID'");
            script += &format!(" {name}='{value}'");
        }
        script += " \"$0\" \"$@\"";
        if third {
            script += " 3<&0 </dev/null";
        }
        let mut command = Command::new("sh");
        command.args(["-c", &script]).arg(&self.program).args(&self.args);
        for name in OF_PROTOCOL {
            command.env_remove(name);
        }
        command.envs(self.env.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

/// The address that this line announces. `inherited` is that of descriptor 3.
fn announced(line: &str, inherited: Option<Address>) -> Result<Address> {
    if let ("BACKEND_SOCKET:3", Some(Address::Unix(path))) = (line, inherited) {
        return Ok(Address::Unix(path));
    }
    let port = line.strip_prefix("BACKEND_PORT:").and_then(|port| port.parse().ok());
    port.map(Address::Tcp)
        .with_context(|| format!("the first line of stdout is not the announcement of this start: {line:?}"))
}

/// Sends the first line, then reads stdout to its end and returns everything.
fn read_announcement(mut stdout: BufReader<ChildStdout>, sender: &mpsc::Sender<String>) -> String {
    let mut all = String::new();
    // A line without its newline, or no line at all, is not an announcement.
    if stdout.read_line(&mut all).is_ok() && all.ends_with('\n') && all.starts_with("BACKEND_") {
        let _ = sender.send(all.clone());
    }
    let mut rest = Vec::new();
    let _ = stdout.read_to_end(&mut rest);
    all + &String::from_utf8_lossy(&rest)
}

/// How a start ended.
pub(crate) enum Start {
    /// The program announced itself.
    Running(Running),
    /// The program ended without an announcement on its first line.
    Ended { code: Option<i32>, stdout: String, stderr: String },
}

/// A program that has announced itself. Dropping it kills the program.
pub(crate) struct Running {
    child: Child,
    log: Option<JoinHandle<String>>,
    pub(crate) address: Address,
    _keep: Option<Keep>,
}

impl Running {
    #[cfg(target_os = "linux")]
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn wait(&mut self) -> Result<Option<i32>> {
        Ok(self.child.wait()?.code())
    }

    fn log(&mut self) -> String {
        self.log.take().and_then(|log| log.join().ok()).unwrap_or_default()
    }
}

impl Server for Running {
    fn address(&self) -> &Address {
        &self.address
    }

    fn exchange(&self, bytes: &[u8], has_body: bool) -> Result<Answer> {
        match &self.address {
            Address::Tcp(port) => {
                let stream = TcpStream::connect(("127.0.0.1", *port))?;
                stream.set_read_timeout(Some(LIMIT))?;
                exchange(stream, bytes, has_body)
            }
            Address::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(LIMIT))?;
                exchange(stream, bytes, has_body)
            }
        }
    }
}

fn exchange(mut stream: impl Read + Write, bytes: &[u8], has_body: bool) -> Result<Answer> {
    // The server may answer and close before it has read everything.
    let _ = stream.write_all(bytes);
    Answer::read(&mut stream, has_body)
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
