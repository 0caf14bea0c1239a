//! Whether a sidecar is the one that its declaration expects.

use pillion_protocol::{
    environment::{PROTOCOL_MAJOR, PROTOCOL_VERSION, protocol_major},
    health::HealthReport,
};
use semver::{Version, VersionReq};

use super::Spec;

impl Spec {
    /// Why the sidecar with this health is not the expected one. `None` if it is, or if nothing is expected.
    pub(crate) fn mismatch(&self, health: &HealthReport) -> Option<String> {
        if let Some(version) = &health.pillion_protocol
            && protocol_major(version) != Some(PROTOCOL_MAJOR)
        {
            return Some(format!(
                "it speaks version {version:?} of Pillion's protocol, and this app speaks version {PROTOCOL_VERSION}: update the older \
                 one of the two (the SDK of the sidecar, or tauri-plugin-pillion and pillion in the app), so that both speak the same \
                 major version"
            ));
        }
        let requirement = self.expects.as_ref()?;
        let fits = match VersionReq::parse(requirement) {
            Ok(fits) => fits,
            Err(error) => return Some(format!("`expects` is {requirement:?}: {error}")),
        };
        let path = &self.health_path;
        let Some(version) = &health.version else {
            return Some(format!(
                "`expects` is {requirement:?}, but the answer of GET {path} has no `version`: let the sidecar return its version, or \
                 leave `expects` out"
            ));
        };
        match Version::parse(version) {
            Ok(parsed) if fits.matches(&parsed) => None,
            Ok(_) => Some(format!(
                "it has version {version}, and `expects` is {requirement:?}: install the sidecar and the app that belong together"
            )),
            Err(error) => Some(format!(
                "`expects` is {requirement:?}, but its version {version:?} is not a semantic version: {error}; let the sidecar return \
                 one such as 1.2.3"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mismatch(expects: &str, body: &str) -> Option<String> {
        Spec::run("api", "./api").expects(expects).mismatch(&HealthReport::read(body.as_bytes()))
    }

    #[test]
    fn another_major_version_of_the_protocol_is_a_mismatch() {
        let mismatch = |body: &str| Spec::run("api", "./api").mismatch(&HealthReport::read(body.as_bytes()));
        for body in [
            r#"{"pillion_protocol":"1"}"#,
            r#"{"pillion_protocol":"1.4"}"#,
            r#"{"protocol":"2"}"#,
            "{}",
            "OK",
        ] {
            assert_eq!(mismatch(body), None, "{body}");
        }
        for version in ["2", "0", "2.1", "10", "one", ""] {
            let why = mismatch(&format!(r#"{{"pillion_protocol":"{version}"}}"#)).unwrap();
            assert!(
                why.starts_with(&format!(
                    "it speaks version {version:?} of Pillion's protocol, and this app speaks version 1: "
                )),
                "{why}"
            );
        }
    }

    #[test]
    fn a_version_outside_of_the_requirement_does_not_fit() {
        for (expects, version) in
            [("^1.2", "1.2.0"), ("^1.2", "1.9.3+build"), ("*", "0.1.0"), (">=2, <3", "2.5.1")]
        {
            assert_eq!(mismatch(expects, &format!(r#"{{"version":"{version}"}}"#)), None, "{version}");
        }
        for (expects, body, says) in [
            ("^1.2", r#"{"version":"2.0.0"}"#, "it has version 2.0.0, and `expects` is \"^1.2\""),
            ("^1.2", r#"{"version":"1.2.0-beta.1"}"#, "it has version 1.2.0-beta.1"),
            ("^1.2", r#"{"version":"1.2"}"#, "\"1.2\" is not a semantic version"),
            ("^1.2", r#"{"status":"ok"}"#, "GET /health has no `version`"),
            ("^1.2", "OK", "has no `version`"),
        ] {
            let why = mismatch(expects, body).unwrap();
            assert!(why.contains(says), "{why}");
        }
        assert_eq!(Spec::run("api", "./api").mismatch(&HealthReport::default()), None);
    }
}
