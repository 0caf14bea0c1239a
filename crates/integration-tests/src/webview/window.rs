//! What a person does to a window, without the window manager that they would do it through.

use anyhow::{Context, Result};
use x11rb::{
    connection::Connection as _,
    protocol::xproto::{
        AtomEnum, ClientMessageEvent, ConfigureWindowAux, ConnectionExt as _, EventMask, MapState,
        Window as Id,
    },
    rust_connection::RustConnection,
};

use crate::Living;

/// The app's window on the display that `DISPLAY` names.
pub(super) struct Window {
    connection: RustConnection,
    id: Id,
}

impl Window {
    /// The one window of these processes that can be asked to close.
    pub(super) fn of(processes: &[Living]) -> Result<Self> {
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
        Ok(Self { connection, id })
    }

    /// Asks the window to close, as the button in its frame does (ICCCM 4.2.8.1, Window Deletion):
    /// <https://x.org/releases/current/doc/xorg-docs/icccm/icccm.html#Window_Deletion>.
    pub(super) fn close(&self) -> Result<()> {
        let protocols = atom(&self.connection, "WM_PROTOCOLS")?;
        let delete = atom(&self.connection, "WM_DELETE_WINDOW")?;
        let message = ClientMessageEvent::new(32, self.id, protocols, [delete, x11rb::CURRENT_TIME, 0, 0, 0]);
        self.connection.send_event(false, self.id, EventMask::NO_EVENT, message)?.check()?;
        Ok(())
    }

    pub(super) fn resize(&self, width: u32, height: u32) -> Result<()> {
        let size = ConfigureWindowAux::new().width(width).height(height);
        self.connection.configure_window(self.id, &size)?.check()?;
        Ok(())
    }
}

fn atom(connection: &RustConnection, name: &str) -> Result<u32> {
    Ok(connection.intern_atom(false, name.as_bytes())?.reply()?.atom)
}

/// Whether the window is on the screen. GTK has another one that never is, for talking to the session.
fn is_shown(connection: &RustConnection, window: Id) -> bool {
    let attributes = connection.get_window_attributes(window).ok().and_then(|cookie| cookie.reply().ok());
    attributes.is_some_and(|attributes| attributes.map_state == MapState::VIEWABLE)
}

/// A property's 32-bit values, if the window has it. It may be gone by now; then it has not.
fn property(connection: &RustConnection, window: Id, name: u32, kind: AtomEnum) -> Option<Vec<u32>> {
    let reply = connection.get_property(false, window, name, kind, 0, 64).ok()?.reply().ok()?;
    let values: Vec<u32> = reply.value32()?.collect();
    (!values.is_empty()).then_some(values)
}
