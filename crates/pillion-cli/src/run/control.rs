//! The control socket of `pillion run`.

use clap::ValueEnum;
use pillion::{SidecarEvent, Supervisor};
use pillion_control::{AppInfo, ControlLevel, ControlSocket};

use super::display::EventPrinter;

/// What other programs of this user may do.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Control {
    /// Look at states and output.
    Read,
    /// Restart the program as well.
    Full,
}

impl From<Control> for ControlLevel {
    fn from(control: Control) -> Self {
        match control {
            Control::Read => Self::Read,
            Control::Full => Self::Full,
        }
    }
}

/// Opens the control socket. The program runs without it, too.
pub(super) fn serve(
    level: ControlLevel,
    supervisor: &Supervisor,
    report: &mut dyn EventPrinter,
) -> Option<ControlSocket> {
    let app = AppInfo::new("pillion run").version(env!("CARGO_PKG_VERSION"));
    match pillion_control::serve(app, level, [supervisor.clone()]) {
        Ok(socket) => Some(socket),
        Err(error) => {
            let notice = format!("other programs cannot look at this one: {error}");
            // An output that is closed shows at the next event.
            let _ = report.show(&SidecarEvent::Notice(notice));
            None
        }
    }
}
