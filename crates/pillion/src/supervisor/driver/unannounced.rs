//! A process that listens and announces no port, or listens on another port than the one that it was given: the start takes a minute until
//! it fails for that reason, in `tauri dev` ten, and its developer is told before.

use std::{
    net::SocketAddr,
    num::NonZeroU16,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::time::sleep;

use super::{Driver, Pending};
use crate::{
    report::messages,
    state::{Lifecycle, Step},
    supervisor::run::NoticeKind,
    sys::{Group, on_thread},
};

/// When it is looked for first. The pauses double.
const FIRST_LOOK: Duration = Duration::from_secs(5);

impl Driver {
    /// Looks where the process listens, as long as its announcement is awaited, or an answer on the port that it was given.
    pub(super) fn look_for_unannounced(&mut self) {
        let given = self.run.diagnostics.given_port;
        let waits = match self.state {
            Lifecycle::Starting(Step::Announcing) => true,
            Lifecycle::Starting(Step::Checking { addr: Some(addr) }) => {
                given.is_some() && addr.port() == given
            }
            _ => false,
        };
        if !waits {
            self.unannounced = None;
        } else if cfg!(target_os = "linux")
            && self.unannounced.is_none()
            // What inherits a listener of this program has it open, without a word about what it does.
            && self.handover.is_none()
        {
            let group = self.run.process.as_ref().map(|process| Arc::downgrade(&process.group));
            self.unannounced = group.map(|group| Box::pin(look(group, given)) as Pending<_>);
        }
    }

    /// The process listens there, and has announced no port, or not on the port that it was given.
    pub(super) fn listens_unannounced(&mut self, places: Option<Vec<SocketAddr>>) {
        // Not looked for again: the notice comes once in a run.
        self.unannounced = Some(Box::pin(std::future::pending()));
        if let Some(places) = places {
            let given = self.run.diagnostics.given_port;
            self.run.notice(NoticeKind::Unannounced, messages::unannounced(&places, given));
        }
    }
}

/// Waits until a process of the group listens. `None` if the group is gone, or listens on the port that it was given.
async fn look(group: Weak<Group>, given: Option<NonZeroU16>) -> Option<Vec<SocketAddr>> {
    let mut pause = FIRST_LOOK;
    loop {
        sleep(pause).await;
        let processes = group.upgrade()?.processes();
        // Reading /proc blocks.
        let places = on_thread(move || processes.listening()).await.unwrap_or_default();
        if given.is_some_and(|port| places.iter().any(|place| place.port() == port.get())) {
            return None;
        }
        if !places.is_empty() {
            return Some(places);
        }
        pause *= 2;
    }
}
