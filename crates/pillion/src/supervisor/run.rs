//! One run of a sidecar: its process, where it has one, and what is known of it.

use std::sync::Arc;

use pillion_protocol::{Announcement, Instance, ListenAddr, Token, announcement::LISTENER};
use tokio::{sync::broadcast, time::Instant};

use crate::{
    listener::Listener,
    output::{Output, Read, Tail},
    report::events::SidecarEvent,
    report::messages::StartDiagnostics,
    spawn::launch::{Launched, launch},
    spec::{Launch, Spec},
    state::Event,
    sys::Group,
};

/// From a launch to the next.
pub(crate) struct Run {
    name: String,
    events: broadcast::Sender<SidecarEvent>,
    pub(crate) process: Option<Process>,
    pub(crate) pid: Option<u32>,
    /// The nonce that the process was given.
    pub(crate) instance: Option<Instance>,
    /// The token that it was given, where it is private.
    pub(crate) token: Option<Token>,
    /// The version that its health names.
    pub(crate) version: Option<String>,
    pub(crate) tail: Tail,
    pub(crate) diagnostics: StartDiagnostics,
    started: Instant,
    noticed: Vec<NoticeKind>,
}

/// The process of a run.
pub(crate) struct Process {
    pub(crate) group: Arc<Group>,
    pub(crate) output: Output,
    /// Whether the leader's end was seen.
    pub(crate) exited: bool,
}

/// What a sidecar does that its author should know of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoticeKind {
    AnnouncedTwice,
    ListenerNotTaken,
    Misannounced,
    Unguarded,
}

impl Run {
    /// Before the first launch.
    pub(crate) fn none(spec: &Spec, events: broadcast::Sender<SidecarEvent>) -> Self {
        Self {
            name: spec.name.clone(),
            events,
            process: None,
            pid: None,
            instance: None,
            token: None,
            version: None,
            tail: Tail::default(),
            diagnostics: StartDiagnostics::default(),
            started: Instant::now(),
            noticed: Vec::new(),
        }
    }

    /// Starts the process, if there is one to start; says what came of it.
    pub(crate) fn launch(
        spec: &Spec,
        listener: Option<Listener>,
        events: broadcast::Sender<SidecarEvent>,
    ) -> (Self, Event) {
        let mut run = Self::none(spec, events);
        let program = match &spec.launch {
            Launch::Attach(port) => return (run, Event::Attached(ListenAddr::Tcp(*port))),
            Launch::Run(program) => program,
        };
        match launch(program, spec.grace, listener) {
            Ok(Launched { instance, token, spawned }) => {
                if let Some(why) = spawned.unguarded {
                    run.notice(
                        NoticeKind::Unguarded,
                        format!("no guard watches over it: {why}; if this program is killed, it may be left behind"),
                    );
                }
                (run.instance, run.token) = (Some(instance), token);
                run.pid = Some(spawned.group.pid());
                run.process = Some(Process {
                    group: Arc::new(spawned.group),
                    output: Output::new(spawned.stdout, spawned.stderr),
                    exited: false,
                });
                (run, Event::Launched)
            }
            Err(why) => (run, Event::NotLaunched(why)),
        }
    }

    /// Takes in what was read, and returns the places that it announces.
    pub(crate) fn absorb(&mut self, read: Read) -> Vec<ListenAddr> {
        self.tail.push(&read.lines);
        if !read.lines.is_empty() {
            self.publish(SidecarEvent::Output(read.lines));
        }
        let mut addrs = Vec::new();
        for announcement in read.announcements {
            match announcement {
                Announcement::Of(addr) => addrs.push(addr),
                Announcement::Malformed(line) => self.misannounced(format!(
                    "it printed {line:?}, which is no announcement: a port is a number from 1 to 65535, a socket is \
                     called {LISTENER}, and nothing else is"
                )),
                Announcement::Unfinished(line) => {
                    self.misannounced(format!("it printed {line:?} without the newline that completes it"));
                }
                // `Announcement` may gain forms: one that this version does not know is reported, not believed.
                unknown => self.misannounced(format!("it announced an address in an unknown form: {unknown:?}")),
            }
        }
        addrs
    }

    /// Notes an announcement that is none, which may be why the start fails.
    pub(crate) fn misannounced(&mut self, note: String) {
        self.diagnostics.misannounced = Some(note.clone());
        self.notice(NoticeKind::Misannounced, note);
    }

    /// Reports an oddity, once a run: a sidecar that repeats it would flood whoever listens.
    pub(crate) fn notice(&mut self, oddity: NoticeKind, text: String) {
        if !self.noticed.contains(&oddity) {
            self.noticed.push(oddity);
            tracing::warn!(sidecar = self.name, "{text}");
            self.publish(SidecarEvent::Notice(text));
        }
    }

    /// The leader is dead.
    pub(crate) fn exited(&mut self) {
        self.diagnostics.lived = Some(self.started.elapsed());
        if let Some(process) = &mut self.process {
            process.exited = true;
        }
    }

    fn publish(&self, event: SidecarEvent) {
        // An error means that nobody listens.
        let _ = self.events.send(event);
    }
}
