//! The section `plugins.pillion` of `tauri.conf.json`.

use std::{
    collections::BTreeMap,
    fmt,
    num::{NonZeroU32, NonZeroU64},
    time::Duration,
};

use pillion::{Inherit, Restart, Spec, Transport};
use serde::{
    Deserialize, Deserializer,
    de::{self, value::MapAccessDeserializer},
};

/// The whole section. An error names the field by its path.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(remote = "Self", rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// The sidecars by name.
    pub sidecars: BTreeMap<String, Sidecar>,
}

/// One sidecar. Every field may be left out.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sidecar {
    /// The file name of its program, which Tauri installs beside the app's own: the last part of its
    /// `bundle.externalBin` entry, without target triple and `.exe`. The sidecar's name by default.
    pub program: Option<String>,
    /// Its arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// Which of the app's environment variables it inherits: `{ "allow": ["LANG", "LC_*"] }` is these alone,
    /// `{ "deny": ["AWS_*"] }` all but these. By default all but proxies and `NODE_OPTIONS`; see [`Inherit`], which says
    /// what is never inherited.
    #[serde(default)]
    pub inherit: Inherit,
    /// Environment variables beside the inherited ones, or in their place.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Whether it answers the app alone: `true` by default. Each start gives it a token, which every request has to carry,
    /// and which windows get by the permission `pillion:allow-connect`. It has to keep rule 5 of the protocol, as it does on
    /// `pillion-server`. With `false`, whatever reaches this machine's loopback may call it.
    #[serde(default = "yes")]
    pub private: bool,
    /// The path whose 2xx answer means ready; `/health` by default.
    pub health: Option<String>,
    /// How long a start may take, in milliseconds; [`Spec::DEFAULT_READY_TIMEOUT`] by default.
    pub ready_timeout_ms: Option<NonZeroU64>,
    /// How long it has to end by itself once it was asked to, in milliseconds; [`Spec::DEFAULT_GRACE`] by default.
    pub grace_ms: Option<u64>,
    /// Which ends make it start again: `"never"`, `"onFailure"` (the default) or `"always"`.
    pub restart: Option<Restart>,
    /// How often it may be restarted before it is given up; 4 times in a minute by default.
    #[serde(default)]
    pub restart_limit: RestartLimit,
    /// How it is watched once it is ready; `false` is not at all, but for its exit. Every 10 s by default, and three
    /// questions without an answer mean that it hangs.
    #[serde(default)]
    pub liveness: Liveness,
    /// Whether it takes its listener from the app (`LISTEN_FDS`, as systemd hands it over), so that its port is the same
    /// after a restart, and requests wait for it meanwhile. Linux and macOS; elsewhere it finds a port by itself.
    #[serde(default)]
    pub handover: bool,
    /// `"tcp"` (the default), or `"local"` for a Unix domain socket, on Windows a named pipe, and no port at all, which implies
    /// `handover`. Pages then call it by way of the app, and need `pillion:allow-fetch`.
    #[serde(default)]
    pub transport: Transport,
    /// The sidecars that have to be ready before it is started, and that are stopped after it.
    #[serde(default)]
    pub depends_on: Vec<String>,
    /// Whether those that depend on it start without it when it has failed.
    #[serde(default)]
    pub optional: bool,
}

/// How often a sidecar may be restarted: see [`pillion::RestartLimit`], which has the defaults.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RestartLimit {
    /// So many restarts, …
    pub limit: Option<u32>,
    /// … within so many milliseconds.
    pub window_ms: Option<NonZeroU64>,
}

/// How a ready sidecar is watched: `false`, or the fields of [`Questions`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// Only its exit is noticed.
    Off,
    /// It is asked for its health.
    Asked(Questions),
}

/// How often a sidecar is asked for its health: see [`pillion::Liveness`], which has the defaults.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Questions {
    /// From one question to the next, in milliseconds.
    pub interval_ms: Option<NonZeroU64>,
    /// So many without an answer mean that it hangs.
    pub tolerance: Option<NonZeroU32>,
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
    /// `inherit` names what can be no variable's name.
    #[error(
        "plugins.pillion.sidecars.{sidecar}.inherit names {name:?}: give the name of an environment variable, or its \
         beginning and a *, as \"LC_*\""
    )]
    Inherit {
        /// The sidecar's name.
        sidecar: String,
        /// What is declared.
        name: String,
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

    /// Applies the declared settings of the program.
    pub(crate) fn configure(&self, program: pillion::Program) -> pillion::Program {
        let program = program
            .args(&self.args)
            .private(self.private)
            .inherit(self.inherit.clone())
            .handover(self.handover)
            .transport(self.transport);
        self.env.iter().fold(program, |program, (variable, value)| program.env(variable, value))
    }

    /// Checks the declaration, and applies its settings that do not depend on where the server comes from.
    pub(crate) fn refine(&self, mut spec: Spec, name: &str) -> Result<Spec, ConfigError> {
        let names = self.inherit.allow.iter().flatten().chain(&self.inherit.deny);
        for variable in names {
            let stem = variable.strip_suffix('*').unwrap_or(variable);
            if variable.is_empty() || stem.contains(['*', '=']) {
                return Err(ConfigError::Inherit { sidecar: name.to_owned(), name: variable.clone() });
            }
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
        if let Some(restart) = self.restart {
            spec = spec.restart(restart);
        }
        Ok(spec
            .restart_limit(self.restart_limit.into())
            .liveness(Option::from(self.liveness))
            .depends_on(&self.depends_on)
            .optional(self.optional))
    }
}

fn yes() -> bool {
    true
}

impl From<RestartLimit> for pillion::RestartLimit {
    fn from(RestartLimit { limit, window_ms }: RestartLimit) -> Self {
        let default = Self::default();
        Self::new(
            limit.unwrap_or(default.limit),
            window_ms.map_or(default.window, |ms| Duration::from_millis(ms.get())),
        )
    }
}

impl From<Liveness> for Option<pillion::Liveness> {
    fn from(liveness: Liveness) -> Self {
        let Liveness::Asked(Questions { interval_ms, tolerance }) = liveness else { return None };
        let default = pillion::Liveness::default();
        Some(pillion::Liveness::new(
            interval_ms.map_or(default.interval, |ms| Duration::from_millis(ms.get())),
            tolerance.map_or(default.tolerance, NonZeroU32::get),
        ))
    }
}

impl Default for Liveness {
    fn default() -> Self {
        Self::Asked(Questions::default())
    }
}

// Tauri passes the error on without saying where in the section it is.
impl<'de> Deserialize<'de> for Config {
    fn deserialize<D: Deserializer<'de>>(section: D) -> Result<Self, D::Error> {
        let mut track = serde_path_to_error::Track::new();
        Self::deserialize(serde_path_to_error::Deserializer::new(section, &mut track))
            .map_err(|error| de::Error::custom(format!("plugins.pillion.{}: {error}", track.path())))
    }
}

impl<'de> Deserialize<'de> for Liveness {
    fn deserialize<D: Deserializer<'de>>(declared: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> de::Visitor<'de> for Either {
            type Value = Liveness;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("false, or an object with intervalMs and tolerance")
            }

            fn visit_bool<E: de::Error>(self, on: bool) -> Result<Liveness, E> {
                if on { Err(E::invalid_value(de::Unexpected::Bool(on), &self)) } else { Ok(Liveness::Off) }
            }

            fn visit_map<A: de::MapAccess<'de>>(self, questions: A) -> Result<Liveness, A::Error> {
                Questions::deserialize(MapAccessDeserializer::new(questions)).map(Liveness::Asked)
            }
        }

        declared.deserialize_any(Either)
    }
}

#[cfg(test)]
mod schema;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn sidecar(fields: &Value) -> Sidecar {
        serde_json::from_value(fields.clone()).unwrap()
    }

    fn parse(json: &str) -> Result<Config, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_declaration_is_enough() {
        let config = parse(r#"{ "sidecars": { "backend": {} } }"#).unwrap();
        assert_eq!(config.sidecars["backend"].program("backend"), Ok("backend"));
    }

    #[test]
    fn a_sidecar_is_private_unless_it_says_otherwise() {
        assert!(sidecar(&json!({})).private);
        assert!(!sidecar(&json!({ "private": false })).private);
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
    fn what_is_wrong_is_found_by_its_path() {
        let error =
            |field: &str| parse(&format!(r#"{{ "sidecars": {{ "db": {{ {field} }} }} }}"#)).unwrap_err();
        for (field, path, hint) in [
            (r#""restart": "sometimes""#, "restart", "`never`, `onFailure`"),
            (r#""restartLimit": { "limit": -1 }"#, "restartLimit.limit", "u32"),
            (r#""restartLimit": { "window": 5 }"#, "restartLimit.window", "`windowMs`"),
            (r#""liveness": true"#, "liveness", "false, or an object"),
            (r#""liveness": { "intervalMs": 0 }"#, "liveness.intervalMs", "nonzero"),
            (r#""private": "no""#, "private", "a boolean"),
            (r#""handover": "yes""#, "handover", "a boolean"),
            (r#""transport": "pipe""#, "transport", "`tcp` or `local`"),
            (r#""dependsOn": "cache""#, "dependsOn", "a sequence"),
            (r#""optional": 1"#, "optional", "a boolean"),
            (r#""inherit": { "only": [] }"#, "inherit.only", "`allow` or `deny`"),
            (r#""inherit": { "deny": "A" }"#, "inherit.deny", "a sequence"),
        ] {
            let error = error(field);
            assert!(error.contains(&format!("plugins.pillion.sidecars.db.{path}: ")), "{error}");
            assert!(error.contains(hint), "{error}");
        }
    }

    #[test]
    fn what_is_left_out_is_as_the_supervisor_has_it() {
        let none = sidecar(&json!({}));
        assert_eq!(pillion::RestartLimit::from(none.restart_limit), pillion::RestartLimit::default());
        assert_eq!(Option::from(none.liveness), Some(pillion::Liveness::default()));

        let some = sidecar(&json!({ "restartLimit": { "windowMs": 1500 }, "liveness": { "tolerance": 9 } }));
        let (window, interval) = (Duration::from_millis(1500), pillion::Liveness::default().interval);
        assert_eq!(pillion::RestartLimit::from(some.restart_limit), pillion::RestartLimit::new(4, window));
        assert_eq!(Option::from(some.liveness), Some(pillion::Liveness::new(interval, 9)));
        assert_eq!(Option::<pillion::Liveness>::from(sidecar(&json!({ "liveness": false })).liveness), None);
    }

    #[test]
    fn what_cannot_be_a_file_name_is_refused() {
        for program in ["binaries/backend", "..", "", r"bin\backend"] {
            let sidecar = sidecar(&json!({ "program": program }));
            let error = sidecar.program("api").unwrap_err().to_string();
            assert!(error.contains("plugins.pillion.sidecars.api.program"), "{error}");
        }
    }

    #[test]
    fn what_is_inherited_is_named() {
        let refine = |inherit: &str| {
            let sidecar: Sidecar = serde_json::from_str(&format!(r#"{{ "inherit": {inherit} }}"#)).unwrap();
            sidecar.refine(Spec::run("api", "api"), "api").map(|_| sidecar.inherit)
        };
        assert_eq!(refine(r#"{ "allow": ["LANG", "LC_*"] }"#), Ok(Inherit::only(["LANG", "LC_*"])));
        assert_eq!(refine(r#"{ "deny": ["AWS_*"] }"#), Ok(Inherit::default().except(["AWS_*"])));
        assert_eq!(refine(r#"{ "allow": ["*"] }"#), Ok(Inherit::all()));
        for name in ["", "*_PROXY", "A=1", "A**"] {
            let error = refine(&format!(r#"{{ "deny": ["{name}"] }}"#)).unwrap_err().to_string();
            assert!(error.contains("plugins.pillion.sidecars.api.inherit"), "{error}");
        }
    }

    #[test]
    fn a_health_path_is_a_path() {
        assert!(sidecar(&json!({ "health": "health" })).refine(Spec::run("api", "api"), "api").is_err());
    }
}
