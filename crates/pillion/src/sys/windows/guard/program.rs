//! The guard's process.

use std::{
    fs::File,
    io::{self, IsTerminal, Read, Write},
    num::NonZeroU16,
    os::windows::io::{AsHandle as _, OwnedHandle},
    process,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use pillion_guard::http_stop::HttpStopMessage;

use super::{
    super::{super::own_program, job::Job, port_owners::Mark},
    handles::{SharedReader, take},
    message::{self, Message},
};

/// How often a job is asked for its number of processes, while a sidecar stops.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Guards the sidecars of the app that has started this process, with this value. Returns to nowhere: it ends the process.
pub(crate) fn run(value: &str) -> ! {
    let mut input = io::stdin().lock();
    // A console would be waited for.
    if input.is_terminal() || !own_program::receives(value, &mut input) {
        own_program::refuse();
    }
    // Without the answer, the app ends this process. It is gone if nothing reads it.
    let _ = io::stdout().write_all(b"1").and_then(|()| io::stdout().flush());
    guard(&mut input);
    process::exit(0)
}

/// Returns when the app is gone, or needs no guard any more, and no process of its sidecars is left.
fn guard(input: &mut impl Read) {
    let mut runs: Vec<Run> = Vec::new();
    let mut ending: Vec<JoinHandle<()>> = Vec::new();
    while let Some(message) = Message::read(input) {
        let number = match message {
            Message::Run(run) => {
                runs.extend(Run::new(run));
                continue;
            }
            Message::HttpStop { run, .. }
            | Message::HttpStopSent { run }
            | Message::Asked { run }
            | Message::End { run } => run,
        };
        let Some(at) = runs.iter().position(|run| run.number == number) else { continue };
        match message {
            Message::HttpStop { request, .. } => runs[at].http_stop = HttpStopMessage::parse(&request),
            Message::HttpStopSent { .. } => runs[at].asked = true,
            Message::Asked { .. } => (runs[at].asked, runs[at].lifeline) = (true, None),
            Message::End { .. } => ending.extend(runs.swap_remove(at).end()),
            Message::Run(_) => {}
        }
        ending.retain(|thread| !thread.is_finished());
    }
    ending.extend(runs.into_iter().filter_map(Run::end));
    for thread in ending {
        // A panic has dropped the run, and so ended its processes.
        let _ = thread.join();
    }
}

/// A sidecar that runs. Drop closes its job, which kills its processes if the app has closed it as well.
struct Run {
    number: u64,
    grace: Duration,
    job: Job,
    outputs: [Option<OwnedHandle>; 2],
    lifeline: Option<OwnedHandle>,
    line: Vec<u8>,
    /// The fixed port.
    port: Option<NonZeroU16>,
    http_stop: Option<HttpStopMessage>,
    /// Whether the leader was asked to stop.
    asked: bool,
}

impl Run {
    /// Takes the handles that the message names.
    fn new(message: message::Run) -> Option<Self> {
        let message::Run { run, grace_ms, job, outputs, lifeline, port, line } = message;
        let (outputs, lifeline) = (outputs.map(take), take(lifeline));
        let job = Job::from(take(job)?);
        let grace = Duration::from_millis(grace_ms);
        let port = u16::try_from(port).ok().and_then(NonZeroU16::new);
        Some(Self { number: run, grace, job, outputs, lifeline, line, port, http_stop: None, asked: false })
    }

    /// Ends the sidecar, on a thread of its own. Without a thread, it is killed.
    fn end(self) -> Option<JoinHandle<()>> {
        thread::Builder::new().spawn(move || self.stop()).ok()
    }

    /// Asks the leader to stop, waits for the grace period, and kills what is left.
    ///
    /// The end of stdin asks it, too, and comes with the app's death, unless the guard holds the lifeline as well.
    fn stop(mut self) {
        if matches!(self.job.is_empty(), Ok(true)) {
            // There is no leader to ask: the declared request would reach whatever has its port now.
            return;
        }
        // Until its end, a new start of the app waits for the port.
        let _mark = self.port.and_then(|port| Mark::new(port).ok());
        let now = Instant::now();
        let (half, end) = (now.checked_add(self.grace / 2), now.checked_add(self.grace));
        let is_over = |deadline: Option<Instant>| deadline.is_some_and(|deadline| Instant::now() >= deadline);
        for output in self.outputs.iter_mut().filter_map(Option::take) {
            // Without a reader, the sidecar's next line would be an error for it, before it has saved its state.
            let _ = thread::Builder::new().spawn(move || discard(&output));
        }
        let by_http = !self.asked && self.http_stop.take().is_some_and(|http| http.send().is_ok());
        if !by_http && !self.asked {
            self.write_line();
        }
        if !by_http {
            self.lifeline = None;
        }
        // An error: the system cannot tell whether a process is left.
        while matches!(self.job.is_empty(), Ok(false)) && !is_over(end) {
            if is_over(half) {
                self.lifeline = None;
            }
            thread::sleep(POLL_INTERVAL);
        }
        self.job.kill();
    }

    /// Writes the declared line to the leader's stdin and ends it, on a thread: a program that never reads must not block the guard.
    fn write_line(&mut self) {
        if let Some(lifeline) = self.lifeline.take_if(|_| !self.line.is_empty()) {
            let line = std::mem::take(&mut self.line);
            let _ = thread::Builder::new().spawn(move || File::from(lifeline).write_all(&line));
        }
    }
}

/// Reads what comes, and drops it, until no process holds the write end.
fn discard(output: &OwnedHandle) {
    let Ok(reader) = SharedReader::new(output.as_handle()) else { return };
    let mut bytes = [0; 16 * 1024];
    // A write of nothing reads as 0 bytes. The end of the pipe is an error.
    while reader.read(&mut bytes).is_ok() {}
}

#[cfg(test)]
mod tests {
    use std::{
        net::{Ipv4Addr, TcpListener},
        sync::Barrier,
    };

    use super::*;

    #[test]
    fn a_sidecar_that_has_ended_is_not_asked() {
        let successor = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = successor.local_addr().unwrap().port();
        let run = Run {
            number: 1,
            grace: Duration::from_secs(1),
            job: Job::new().unwrap(),
            outputs: [None, None],
            lifeline: None,
            line: Vec::new(),
            port: None,
            http_stop: HttpStopMessage::parse(format!("{port} 0 -\nPOST /shutdown").as_bytes()),
            asked: false,
        };
        assert!(run.http_stop.is_some());
        run.stop();
        successor.set_nonblocking(true).unwrap();
        assert_eq!(successor.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    /// More than a pipe holds.
    const OUTPUT: usize = 200_000;

    #[test]
    #[ignore = "it is the child of the next test"]
    fn writes_when_it_is_told() {
        if io::stdin().read_line(&mut String::new()).is_ok_and(|read| read > 0) {
            io::stdout().write_all(&[b'x'; OUTPUT]).unwrap();
        }
    }

    /// The app and the guard read by one file object: a duplicated handle stands for the same one.
    #[test]
    fn output_is_read_to_its_end_beside_a_read_of_the_app() {
        let mut command = process::Command::new(std::env::current_exe().unwrap());
        let name = "sys::windows::guard::program::tests::writes_when_it_is_told";
        command.args([name, "--exact", "--ignored", "--nocapture", "--test-threads", "1"]);
        command.stdin(process::Stdio::piped()).stdout(process::Stdio::piped());
        #[expect(clippy::disallowed_methods, reason = "it ends with its stdin")]
        let mut child = command.spawn().unwrap();
        let mut app = child.stdout.take().unwrap();
        let guard = app.as_handle().try_clone_to_owned().unwrap();
        // What the harness says before the test.
        let mut said = Vec::new();
        while !said.ends_with(b" ... ") {
            let mut byte = [0];
            app.read_exact(&mut byte).unwrap();
            said.extend(byte);
        }
        let begun = Barrier::new(3);
        thread::scope(|scope| {
            // The app's last read, at whose end it is killed.
            scope.spawn(|| {
                begun.wait();
                app.read(&mut [0; 16]).unwrap()
            });
            let discarded = scope.spawn(|| {
                begun.wait();
                discard(&guard);
            });
            begun.wait();
            child.stdin.take().unwrap().write_all(b"now\n").unwrap();
            assert!(child.wait().unwrap().success(), "a write of the child failed");
            discarded.join().unwrap();
        });
    }
}
