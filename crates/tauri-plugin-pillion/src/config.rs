//! The section `plugins.pillion` of `tauri.conf.json`.

use std::{collections::BTreeMap, num::NonZeroU64, time::Duration};

use pillion::Spec;
use serde::Deserialize;

/// The whole section.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// The sidecars by name.
    pub sidecars: BTreeMap<String, Sidecar>,
}

/// One sidecar. Every field may be left out.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sidecar {
    /// The file name of its program, which Tauri installs beside the app's own: the last part of its
    /// `bundle.externalBin` entry, without target triple and `.exe`. The sidecar's name by default.
    pub program: Option<String>,
    /// Its arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// Environment variables on top of the inherited ones.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The path whose 2xx answer means ready; `/health` by default.
    pub health: Option<String>,
    /// How long a start may take, in milliseconds; [`Spec::DEFAULT_READY_TIMEOUT`] by default.
    pub ready_timeout_ms: Option<NonZeroU64>,
    /// How long it has to end by itself once it was asked to, in milliseconds; [`Spec::DEFAULT_GRACE`] by default.
    pub grace_ms: Option<u64>,
}

/// A declaration that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// There is no section at all.
    #[error(
        "tauri.conf.json declares no sidecar: add \"plugins\": {{ \"pillion\": {{ \"sidecars\": {{ \"backend\": {{}} }} }} }}"
    )]
    Missing,
    /// `program` is a path, or empty.
    #[error(
        "plugins.pillion.sidecars.{sidecar}.program is {program:?}: give the file name alone, as Tauri installs it \
         (\"backend\" for the externalBin \"binaries/backend\")"
    )]
    Program {
        /// The sidecar's name.
        sidecar: String,
        /// What is declared.
        program: String,
    },
    /// `health` is no path.
    #[error(
        "plugins.pillion.sidecars.{sidecar}.health is {health:?}: a path starts with a slash, as \"/health\""
    )]
    Health {
        /// The sidecar's name.
        sidecar: String,
        /// What is declared.
        health: String,
    },
}

impl Sidecar {
    /// The file name of the program of the sidecar called `name`, without `.exe`.
    pub(crate) fn program<'a>(&'a self, name: &'a str) -> Result<&'a str, ConfigError> {
        let program = self.program.as_deref().unwrap_or(name);
        if program.is_empty() || program.contains(['/', '\\']) || program == "." || program == ".." {
            return Err(ConfigError::Program { sidecar: name.to_owned(), program: program.to_owned() });
        }
        Ok(program)
    }

    /// Puts what is declared beside the program into a specification.
    pub(crate) fn refine(&self, mut spec: Spec, name: &str) -> Result<Spec, ConfigError> {
        spec = spec.args(&self.args);
        for (variable, value) in &self.env {
            spec = spec.env(variable, value);
        }
        if let Some(health) = &self.health {
            if !health.starts_with('/') {
                return Err(ConfigError::Health { sidecar: name.to_owned(), health: health.clone() });
            }
            spec = spec.health_path(health);
        }
        if let Some(timeout) = self.ready_timeout_ms {
            spec = spec.ready_timeout(Duration::from_millis(timeout.get()));
        }
        if let Some(grace) = self.grace_ms {
            spec = spec.grace(Duration::from_millis(grace));
        }
        Ok(spec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Config, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_declaration_is_enough() {
        let config = parse(r#"{ "sidecars": { "backend": {} } }"#).unwrap();
        assert_eq!(config.sidecars["backend"].program("backend"), Ok("backend"));
    }

    #[test]
    fn a_misspelt_field_is_named() {
        let error = parse(r#"{ "sidecars": { "backend": { "readyTimeout": 5 } } }"#).unwrap_err();
        assert!(
            error.contains("unknown field `readyTimeout`") && error.contains("`readyTimeoutMs`"),
            "{error}"
        );
    }

    #[test]
    fn what_cannot_be_a_file_name_is_refused() {
        for program in ["binaries/backend", "..", "", r"bin\backend"] {
            let sidecar = Sidecar { program: Some(program.to_owned()), ..Sidecar::default() };
            let error = sidecar.program("api").unwrap_err().to_string();
            assert!(error.contains("plugins.pillion.sidecars.api.program"), "{error}");
        }
    }

    #[test]
    fn a_health_path_is_a_path() {
        let sidecar = Sidecar { health: Some("health".into()), ..Sidecar::default() };
        assert!(sidecar.refine(Spec::run("api", "api"), "api").is_err());
    }
}
