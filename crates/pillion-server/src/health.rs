//! `GET /health`: the app, the version, the uptime, and the instance of the run.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use axum::{Json, Router, http::header::CACHE_CONTROL, routing::get};
use pillion_protocol::{Health, Instance, environment::PROTOCOL_VERSION, health::DEFAULT_PATH};

use crate::Error;

/// The fields that stay the same in every answer.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) app: String,
    pub(crate) version: Option<String>,
    pub(crate) instance: Option<Instance>,
    pub(crate) started: Instant,
}

impl Identity {
    #[expect(
        clippy::disallowed_methods,
        reason = "health shows the wall clock; the uptime uses a monotonic clock"
    )]
    fn health(&self) -> Health {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let uptime = self.started.elapsed().as_secs_f64();
        let mut health = Health::ok(self.app.clone(), since_epoch.as_millis() as u64, uptime);
        health.version.clone_from(&self.version);
        health.pillion_protocol = Some(PROTOCOL_VERSION.to_owned());
        health.instance = self.instance;
        health
    }
}

/// Adds the health route. axum answers HEAD from the same handler.
pub(crate) fn mount(router: Router, identity: Identity) -> Result<Router, Error> {
    let identity = Arc::new(identity);
    let health = get(async move || ([(CACHE_CONTROL, "no-store")], Json(identity.health())));
    // axum cannot tell whether a route exists, and panics on a second one. The panic drops the router, so no code sees it
    // half changed.
    catch_unwind(AssertUnwindSafe(|| router.route(DEFAULT_PATH, health))).map_err(|_| Error::HealthTaken)
}
