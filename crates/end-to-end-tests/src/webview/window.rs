//! A person's actions on a window, without a window manager.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use x11rb::{
    connection::Connection as _,
    protocol::{
        Event,
        xproto::{
            AtomEnum, ChangeWindowAttributesAux, ClientMessageEvent, ConfigureWindowAux, ConnectionExt as _,
            EventMask, InputFocus, MapState, Window as Id,
        },
    },
    rust_connection::RustConnection,
};

use integration_tests::{LiveProcess, TEST_TIMEOUT};

/// The app's window on the display that `DISPLAY` names.
#[derive(Debug)]
pub(super) struct Window {
    connection: RustConnection,
    screen: usize,
    id: Id,
}

/// A window whose changes are observed. At first it does not have the keyboard focus.
#[derive(Debug)]
pub struct WatchedWindow(Window);

impl Window {
    /// The window of these processes that accepts a request to close.
    pub(super) fn of(processes: &[LiveProcess]) -> Result<Self> {
        let (connection, screen) = RustConnection::connect(None).context("no X display")?;
        let root = connection.setup().roots[screen].root;
        let owner = atom(&connection, "_NET_WM_PID")?;
        let protocols = atom(&connection, "WM_PROTOCOLS")?;
        let children = connection.query_tree(root)?.reply()?.children;
        let id = children.into_iter().find(|&id| {
            let pid = property(&connection, id, owner, AtomEnum::CARDINAL);
            let ours = pid.is_some_and(|pid| processes.iter().any(|process| pid.contains(&process.pid)));
            ours && property(&connection, id, protocols, AtomEnum::ATOM).is_some()
                && is_shown(&connection, id)
        });
        let id = id.with_context(|| format!("none of {processes:?} has a window"))?;
        Ok(Self { connection, screen, id })
    }

    /// Requests the window to close, as the button in its frame does (ICCCM 4.2.8.1, Window Deletion):
    /// <https://x.org/releases/current/doc/xorg-docs/icccm/icccm.html#Window_Deletion>.
    pub(super) fn close(&self) -> Result<()> {
        let protocols = atom(&self.connection, "WM_PROTOCOLS")?;
        let delete = atom(&self.connection, "WM_DELETE_WINDOW")?;
        let message = ClientMessageEvent::new(32, self.id, protocols, [delete, x11rb::CURRENT_TIME, 0, 0, 0]);
        self.connection.send_event(false, self.id, EventMask::NO_EVENT, message)?.check()?;
        Ok(())
    }

    /// Takes the keyboard focus from the window, as another window in front of it does, and observes the window.
    pub(super) fn watch(self) -> Result<WatchedWindow> {
        let root = self.connection.setup().roots[self.screen].root;
        self.connection.set_input_focus(InputFocus::NONE, root, x11rb::CURRENT_TIME)?.check()?;
        let events = EventMask::STRUCTURE_NOTIFY | EventMask::FOCUS_CHANGE;
        let attributes = ChangeWindowAttributesAux::new().event_mask(events);
        self.connection.change_window_attributes(self.id, &attributes)?.check()?;
        Ok(WatchedWindow(self))
    }

    pub(super) fn resize(&self, width: u32, height: u32) -> Result<()> {
        let size = ConfigureWindowAux::new().width(width).height(height);
        self.connection.configure_window(self.id, &size)?.check()?;
        Ok(())
    }
}

impl WatchedWindow {
    /// Waits until the window has the keyboard focus. Blocks.
    ///
    /// # Errors
    /// It did not happen in time.
    pub fn has_keyboard(&self) -> Result<()> {
        self.wait_for_event(|event| matches!(event, Event::FocusIn(_)))
    }

    /// Unmaps the window. Without a window manager, GTK takes that for minimising.
    ///
    /// # Errors
    /// The window is gone.
    pub fn minimise(&self) -> Result<()> {
        Ok(self.0.connection.unmap_window(self.0.id)?.check()?)
    }

    /// Waits until the window is mapped again. Blocks.
    ///
    /// # Errors
    /// It did not happen in time.
    pub fn is_back(&self) -> Result<()> {
        self.wait_for_event(|event| matches!(event, Event::MapNotify(_)))
    }

    fn wait_for_event(&self, wanted: impl Fn(&Event) -> bool) -> Result<()> {
        let deadline = Instant::now() + TEST_TIMEOUT;
        while !wanted(&next_event(&self.0.connection, deadline)?) {}
        Ok(())
    }
}

fn next_event(connection: &RustConnection, deadline: Instant) -> Result<Event> {
    loop {
        if let Some(event) = connection.poll_for_event()? {
            return Ok(event);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        ensure!(!left.is_zero(), "the expected event of the window did not come within {TEST_TIMEOUT:?}");
        let mut readable = [PollFd::new(connection.stream(), PollFlags::IN)];
        match poll(&mut readable, Some(&Timespec::try_from(left)?)) {
            // A signal handler ran on this thread, for example tokio's handler of SIGCHLD.
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn atom(connection: &RustConnection, name: &str) -> Result<u32> {
    Ok(connection.intern_atom(false, name.as_bytes())?.reply()?.atom)
}

/// Whether the window is on the screen. GTK has another one for the session, which never is.
fn is_shown(connection: &RustConnection, window: Id) -> bool {
    let attributes = connection.get_window_attributes(window).ok().and_then(|cookie| cookie.reply().ok());
    attributes.is_some_and(|attributes| attributes.map_state == MapState::VIEWABLE)
}

/// The 32-bit values of a property, if the window exists and has it.
fn property(connection: &RustConnection, window: Id, name: u32, kind: AtomEnum) -> Option<Vec<u32>> {
    let reply = connection.get_property(false, window, name, kind, 0, 64).ok()?.reply().ok()?;
    let values: Vec<u32> = reply.value32()?.collect();
    (!values.is_empty()).then_some(values)
}
