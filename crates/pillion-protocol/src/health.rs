//! The body of `GET /health`.

use serde::{Deserialize, Serialize};

use crate::environment::Instance;

/// Where a host asks for health unless it is told otherwise.
pub const DEFAULT_PATH: &str = "/health";

/// What a sidecar that speaks the whole protocol answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// `"ok"`.
    pub status: String,
    /// The name of the app that the sidecar serves.
    pub app: String,
    /// The sidecar's clock, in milliseconds since the Unix epoch.
    pub timestamp: u64,
    /// Seconds since the sidecar started.
    pub uptime: f64,
    /// The sidecar's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The nonce that this run was started with, so that a stranger on the port is never taken for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<Instance>,
}

/// What a host learns from a health body: everything is optional, because a 2xx status alone is a healthy sidecar.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HealthReport {
    /// `version`, where it is a string.
    pub version: Option<String>,
    /// `instance`, where it is a string, whether or not it is a nonce.
    pub instance: Option<String>,
}

impl HealthReport {
    /// Reads what can be read of a body of any kind.
    #[must_use]
    pub fn read(body: &[u8]) -> Self {
        let Ok(serde_json::Value::Object(mut fields)) = serde_json::from_slice(body) else {
            return Self::default();
        };
        let mut text = |name| match fields.remove(name) {
            Some(serde_json::Value::String(text)) => Some(text),
            _ => None,
        };
        Self { version: text("version"), instance: text("instance") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_the_one_that_the_plan_names() {
        let health = Health {
            status: "ok".into(),
            app: "AIOS".into(),
            timestamp: 1_700_000_000_000,
            uptime: 1.25,
            version: None,
            instance: None,
        };
        let body = serde_json::to_string(&health).unwrap();
        assert_eq!(body, r#"{"status":"ok","app":"AIOS","timestamp":1700000000000,"uptime":1.25}"#);
    }

    #[test]
    fn any_body_is_read_for_what_it_holds() {
        let full = HealthReport::read(br#"{"status":"ok","version":"1.2.3","instance":"abc"}"#);
        assert_eq!((full.version.as_deref(), full.instance.as_deref()), (Some("1.2.3"), Some("abc")));
        for body in [b"".as_slice(), b"OK", b"[1]", b"{", br#"{"version":3,"instance":null}"#, b"\xff"] {
            assert_eq!(HealthReport::read(body), HealthReport::default());
        }
    }
}
