//! `GET /health`: who answers, for how long, and for which run.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use axum::{Json, Router, http::header::CACHE_CONTROL, routing::get};
use pillion_protocol::{Health, Instance, health::DEFAULT_PATH};

use crate::Error;

/// What stays the same in every answer.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) app: String,
    pub(crate) version: Option<String>,
    pub(crate) instance: Option<Instance>,
    pub(crate) started: Instant,
}

impl Identity {
    #[expect(clippy::disallowed_methods, reason = "health shows the clock; the uptime goes by another")]
    fn health(&self) -> Health {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Health {
            status: "ok".to_owned(),
            app: self.app.clone(),
            timestamp: since_epoch.as_millis() as u64,
            uptime: self.started.elapsed().as_secs_f64(),
            version: self.version.clone(),
            instance: self.instance,
        }
    }
}

/// Adds the health route; HEAD is answered by axum from GET.
pub(crate) fn mount(router: Router, identity: Identity) -> Result<Router, Error> {
    let identity = Arc::new(identity);
    let health = get(async move || ([(CACHE_CONTROL, "no-store")], Json(identity.health())));
    // axum has no way to ask for a route, and answers a second one with a panic. The router is ours and is gone
    // after a panic, so nothing half-changed is seen.
    catch_unwind(AssertUnwindSafe(|| router.route(DEFAULT_PATH, health))).map_err(|_| Error::HealthTaken)
}
