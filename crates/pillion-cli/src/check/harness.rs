//! Starts the program again and again, and makes sure that no process of it is left.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    fs::{self, File},
    io::{self, IoSlice, Write as _},
    mem::MaybeUninit,
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use pillion::{Inherit, Program, Restart, Spec, State, Supervisor};
use pillion_vectors::Descriptor3;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg},
};

use super::{
    launch::{self, Orders},
    registry::Registry,
    report::Verdict,
    rules::{
        environment::{Exposure, InvalidToken},
        health::Health,
        life::Life,
        requests::Answers,
        stop::Stops,
    },
    run::Run,
    watch::{Output, Seen, Watch},
};

/// The token of every run: that of the vectors.
pub(super) const TOKEN: &str = "5ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2";
/// The instance of every run.
pub(super) const INSTANCE: &str = "00112233445566778899aabbccddeeff";

/// Variables of the environment, by name.
pub(super) type Variables = BTreeMap<String, String>;

/// The program under check, and what starts it.
#[derive(Debug)]
pub(super) struct Harness {
    pub(super) settings: Settings,
    registry: Arc<Registry>,
    folder: PathBuf,
    starts: AtomicUsize,
    pub(super) shared: Shared,
}

/// What several checks look at; the first one of them starts the program.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) answers: OnceLock<Result<Answers, Verdict>>,
    pub(super) health: OnceLock<Result<Health, Verdict>>,
    pub(super) life: OnceLock<Result<Life, Verdict>>,
    pub(super) stops: Stops,
    /// Whether health failed at first, and then did not: the program needs time after its announcement.
    pub(super) warms_up: OnceLock<bool>,
    /// The end of a start with `PORT=http`; `None` if it started.
    pub(super) refusal: OnceLock<Result<Option<Ended>, Verdict>>,
    pub(super) invalid_tokens: OnceLock<Result<Vec<InvalidToken>, Verdict>>,
    #[cfg_attr(
        not(target_os = "linux"),
        expect(dead_code, reason = "only Linux shows the environment of other processes")
    )]
    pub(super) exposures: OnceLock<Result<Vec<Exposure>, Verdict>>,
    /// Whether the program takes a listener of the host.
    pub(super) takes_listener: OnceLock<Result<(), Verdict>>,
}

/// What the command line says.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) command: Vec<OsString>,
    pub(super) private: bool,
    /// The longest wait for a start or an answer.
    pub(super) timeout: Duration,
    /// The path whose `POST` handler reads its whole body.
    pub(super) upload: String,
}

/// The stdin of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stdin {
    Pipe,
    Socket,
    DevNull,
}

/// How the program starts.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) variables: Variables,
    pub(super) stdin: Stdin,
    pub(super) third: Option<Descriptor3>,
}

impl Start {
    pub(super) fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.insert(name.to_owned(), value.into());
        self
    }

    pub(super) fn unset(mut self, name: &str) -> Self {
        self.variables.remove(name);
        self
    }

    pub(super) fn stdin(mut self, stdin: Stdin) -> Self {
        self.stdin = stdin;
        self
    }

    /// Passes descriptor 3 with the variables of a handover.
    pub(super) fn handover(self, third: Descriptor3) -> Self {
        let mut start = self.set("LISTEN_FDS", "1").set("LISTEN_PID", "{pid}").set("LISTEN_FDNAMES", "http");
        start.third = Some(third);
        start
    }
}

/// How a start ended.
pub(super) enum Started {
    /// The program announced itself.
    Announced(Run),
    /// It ended before.
    Ended(Ended),
    /// It did neither within the time limit.
    Silent(Run),
}

/// A program that has ended without an announcement.
#[derive(Debug, Clone)]
pub(super) struct Ended {
    pub(super) exit: pillion::Exit,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

impl Ended {
    /// The exit status and the output, for a message.
    pub(super) fn text(&self) -> String {
        format!("it {}{}{}", self.exit, quoted("stdout", &self.stdout), quoted("stderr", &self.stderr))
    }
}

/// The end of some output in one line, or nothing if it is empty.
pub(super) fn quoted(name: &str, output: &[u8]) -> String {
    const MOST: usize = 400;
    if output.is_empty() {
        return String::new();
    }
    let (start, dots) = output.len().checked_sub(MOST).map_or((0, ""), |start| (start, "…"));
    format!("; {name}: \"{dots}{}\"", output[start..].escape_ascii())
}

impl Harness {
    pub(super) fn new(settings: Settings, registry: Arc<Registry>, folder: PathBuf) -> Self {
        Self { settings, registry, folder, starts: AtomicUsize::new(0), shared: Shared::default() }
    }

    /// A start as a host makes it.
    pub(super) fn start(&self) -> Start {
        let mut variables = Variables::new();
        variables.insert("PILLION_PROTOCOL".to_owned(), "1".to_owned());
        variables.insert("PILLION_INSTANCE".to_owned(), INSTANCE.to_owned());
        if self.settings.private {
            variables.insert("PILLION_TOKEN".to_owned(), TOKEN.to_owned());
        }
        self.start_with(variables)
    }

    /// A start with exactly these variables of the protocol.
    pub(super) fn start_with(&self, variables: Variables) -> Start {
        Start { variables, stdin: Stdin::Pipe, third: None }
    }

    /// Starts the program, and waits for its announcement or its end. An error says why the program could not be started.
    pub(super) fn launch(&self, start: Start) -> Result<Started, Verdict> {
        let mut run = self.spawn(start).map_err(|error| Verdict::NotChecked(error.to_string()))?;
        let waited = run.watch.wait(self.settings.timeout, |seen| {
            if let Some(why) = &seen.failed {
                return Some(Err(Verdict::NotChecked(format!("the program cannot be started: {why}"))));
            }
            (seen.announced.is_some() || seen.exit.is_some() || seen.holder_gone).then_some(Ok(()))
        });
        match waited {
            Some(Err(why)) => Err(why),
            None => Ok(Started::Silent(run)),
            Some(Ok(())) => {
                let mut streams_ended = None;
                if run.watch.seen().announced.is_none() {
                    // The exit can become known before the last output is read, and a process that is left may hold the
                    // streams open.
                    run.kill();
                    let ended = |seen: &Seen| (seen.ended_streams == 2).then_some(());
                    streams_ended = run.watch.wait(self.settings.timeout, ended);
                }
                let mut seen = run.watch.seen();
                if let Some((addr, _)) = seen.announced {
                    drop(seen);
                    return Ok(Started::Announced(run.announced(addr)));
                }
                let exit = seen.exit.filter(|_| streams_ended.is_some());
                let Some((exit, _)) = exit else {
                    return Err(Verdict::NotChecked("the start was interrupted".to_owned()));
                };
                let (stdout, stderr) = (std::mem::take(&mut seen.stdout), std::mem::take(&mut seen.stderr));
                Ok(Started::Ended(Ended { exit, stdout, stderr }))
            }
        }
    }

    /// Starts the program for a check that needs it running.
    pub(super) fn run(&self, start: Start) -> Result<Run, Verdict> {
        match self.launch(start)? {
            Started::Announced(run) => {
                if self.shared.warms_up.get() == Some(&true) {
                    run.wait_healthy(self.settings.private);
                }
                Ok(run)
            }
            Started::Ended(ended) => Err(Verdict::NotChecked(format!(
                "the program ended before its announcement: {}",
                ended.text()
            ))),
            Started::Silent(run) => Err(Verdict::NotChecked(format!(
                "the program did not announce itself within {}{}",
                humantime::format_duration(self.settings.timeout),
                quoted("stderr", &run.watch.seen().stderr)
            ))),
        }
    }

    fn spawn(&self, mut start: Start) -> io::Result<Run> {
        let path = self.folder.join(self.starts.fetch_add(1, Ordering::Relaxed).to_string());
        let listener = UnixListener::bind(&path)?;
        // A killed program leaves its files: one of PyInstaller unpacks itself there, 40 MB at each start.
        let temporary = tempfile::Builder::new().prefix("tmp").tempdir_in(&self.folder)?;
        start.variables.insert("TMPDIR".to_owned(), temporary.path().to_string_lossy().into_owned());
        let owner = self.registry.start(self.holder(&path)?, temporary)?;
        let accepted = accept(&listener, &owner.supervisor, self.settings.timeout);
        let _ = fs::remove_file(&path);
        let holder = accepted?;
        let began = Instant::now();
        let (stdin, lifeline) = match start.stdin {
            Stdin::Pipe => {
                let (reader, writer) = io::pipe()?;
                (OwnedFd::from(reader), Some(OwnedFd::from(writer)))
            }
            Stdin::Socket => {
                let (ours, theirs) = UnixStream::pair()?;
                (theirs.into(), Some(ours.into()))
            }
            Stdin::DevNull => (File::open("/dev/null")?.into(), None),
        };
        let ((stdout, stdout_end), (stderr, stderr_end)) = (io::pipe()?, io::pipe()?);
        let mut descriptors = vec![stdin.as_fd(), stdout_end.as_fd(), stderr_end.as_fd()];
        descriptors.extend(start.third.as_ref().map(|third| third.fd.as_fd()));
        send(&holder, &descriptors, &Orders { variables: std::mem::take(&mut start.variables) })?;
        // From here the program alone holds its ends.
        drop((stdin, stdout_end, stderr_end));
        let watch = Arc::new(Watch::default());
        watch.read(stdout, Output::Stdout);
        watch.read(stderr, Output::Stderr);
        watch.listen(holder.try_clone()?);
        Ok(Run::new(watch, began, self.settings.timeout, lifeline, start.third, holder, owner))
    }

    /// The process that holds the program.
    fn holder(&self, socket: &Path) -> io::Result<Spec> {
        let program = Program::new(env::current_exe()?)
            .arg(launch::HOLD)
            .arg(socket)
            .args(&self.settings.command)
            .inherit(Inherit::all());
        // The holder never announces itself.
        let ready_timeout = Duration::from_secs(24 * 60 * 60);
        Ok(Spec::run("program", program).restart(Restart::Never).ready_timeout(ready_timeout).liveness(None))
    }
}

fn send(holder: &UnixStream, descriptors: &[BorrowedFd<'_>], orders: &Orders) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
    sendmsg(holder, &[IoSlice::new(b"D")], &mut ancillary, SendFlags::empty())?;
    let orders = serde_json::to_string(orders)?;
    (&mut &*holder).write_all(format!("{orders}\n").as_bytes())
}

/// Waits for the connection of the holder, or until the holder has failed.
fn accept(listener: &UnixListener, supervisor: &Supervisor, limit: Duration) -> io::Result<UnixStream> {
    const INTERVAL: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
    let deadline = Instant::now() + limit;
    loop {
        match poll(&mut [PollFd::new(listener, PollFlags::IN)], Some(&INTERVAL)) {
            Ok(1..) => return Ok(listener.accept()?.0),
            Ok(0) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let status = supervisor.status();
        if matches!(status.state, State::Failed | State::Stopped) || Instant::now() > deadline {
            let why = status.reason.unwrap_or_else(|| "it did not answer in time".to_owned());
            return Err(io::Error::other(format!("the holder of the program failed: {why}")));
        }
    }
}
