//! The body of `GET /health`.

use serde::{Deserialize, Serialize};

use crate::environment::Instance;

/// The path of the health request, unless the declaration names another.
pub const DEFAULT_PATH: &str = "/health";

/// The health body of a sidecar that implements the whole protocol.
///
/// ```
/// use pillion_protocol::Health;
///
/// let health = Health::ok("AIOS", 1_700_000_000_000, 1.25);
/// let body = r#"{"status":"ok","app":"AIOS","timestamp":1700000000000,"uptime":1.25}"#;
/// assert_eq!(serde_json::to_string(&health).unwrap(), body);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = SidecarHealth, description = "The answer of `GET /health`."))]
#[non_exhaustive]
pub struct Health {
    /// `"ok"`.
    pub status: String,
    /// The name of the app that the sidecar belongs to.
    pub app: String,
    /// The sidecar's clock, in milliseconds since the Unix epoch.
    pub timestamp: u64,
    /// The seconds since the sidecar started.
    pub uptime: f64,
    /// The version of the sidecar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub version: Option<String>,
    /// The version of Pillion's protocol that the sidecar speaks: [`PROTOCOL_VERSION`](crate::environment::PROTOCOL_VERSION).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub pillion_protocol: Option<String>,
    /// The instance that the host gave to this run. It tells the host that no other server answers on the port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, nullable = false))]
    pub instance: Option<Instance>,
}

impl Health {
    /// The health of a sidecar of the app `app` that serves: `timestamp` in milliseconds since the Unix epoch, `uptime` in
    /// seconds, without version, protocol and instance.
    #[must_use]
    pub fn ok(app: impl Into<String>, timestamp: u64, uptime: f64) -> Self {
        Self {
            status: "ok".to_owned(),
            app: app.into(),
            timestamp,
            uptime,
            version: None,
            pillion_protocol: None,
            instance: None,
        }
    }
}

/// The fields of a health body that a host uses. All are optional, because a 2xx status alone means healthy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HealthReport {
    /// `version`, if it is a string of at most 256 bytes without control characters, which fits into a line.
    pub version: Option<String>,
    /// `pillion_protocol`, if it is a string. It need not have the form of a version.
    pub pillion_protocol: Option<String>,
    /// `instance`, if it is a string. It need not have the form of an instance.
    pub instance: Option<String>,
}

impl HealthReport {
    /// Reads the fields from a body. A body that is not a JSON object has none of them.
    #[must_use]
    pub fn read(body: &[u8]) -> Self {
        let Ok(serde_json::Value::Object(mut fields)) = serde_json::from_slice(body) else {
            return Self::default();
        };
        let mut text = |name| match fields.remove(name) {
            Some(serde_json::Value::String(text)) => Some(text),
            _ => None,
        };
        Self {
            version: text("version").filter(|version| fits_into_a_line(version)),
            pillion_protocol: text("pillion_protocol"),
            instance: text("instance"),
        }
    }
}

/// Terminals and log files show the version within a line of their own.
fn fits_into_a_line(version: &str) -> bool {
    version.len() <= 256 && !version.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minimal_health_has_the_four_required_fields() {
        let health = Health::ok("AIOS", 1_700_000_000_000, 1.25);
        let body = serde_json::to_string(&health).unwrap();
        assert_eq!(body, r#"{"status":"ok","app":"AIOS","timestamp":1700000000000,"uptime":1.25}"#);
    }

    #[test]
    fn fields_of_other_types_and_other_bodies_are_ignored() {
        let full = HealthReport::read(br#"{"status":"ok","version":"1.2.3","instance":"abc"}"#);
        assert_eq!((full.version.as_deref(), full.instance.as_deref()), (Some("1.2.3"), Some("abc")));
        for body in [b"".as_slice(), b"OK", b"[1]", b"{", br#"{"version":3,"instance":null}"#, b"\xff"] {
            assert_eq!(HealthReport::read(body), HealthReport::default());
        }
    }

    #[test]
    fn a_version_that_does_not_fit_into_a_line_is_ignored() {
        let read = |version: &str| {
            HealthReport::read(serde_json::json!({ "version": version }).to_string().as_bytes()).version
        };
        let longest = "1".repeat(256);
        assert_eq!(read(&longest), Some(longest.clone()));
        for version in [format!("{longest}1"), "1.0\nready".to_owned(), "1\u{1b}[2J".to_owned()] {
            assert_eq!(read(&version), None, "{version:?}");
        }
    }
}
