//! The field `liveness` of a sidecar.

use std::{
    fmt,
    num::{NonZeroU32, NonZeroU64},
    time::Duration,
};

use serde::{
    Deserialize, Deserializer,
    de::{self, value::MapAccessDeserializer},
};

/// `false`, or the fields of [`LivenessProbe`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LivenessConfig {
    Off,
    Probe(LivenessProbe),
}

/// How a ready sidecar is probed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct LivenessProbe {
    /// The time between two probes, in milliseconds; 10000 by default.
    interval_ms: Option<NonZeroU64>,
    /// How many probes may go without a response before the sidecar counts as hung; 3 by default.
    tolerance: Option<NonZeroU32>,
    /// Whether a sidecar that counts as hung is stopped and restarted; `true` by default. Otherwise it is unhealthy until it
    /// answers again (or sends `WATCHDOG=1` again, see `watchdogMs`), as always in an app in development.
    restart: Option<bool>,
    /// How long the sidecar may use the processor, or have a client's request under way, without a response to the probes before
    /// it counts as hung, in milliseconds; 300000 by default (Linux).
    busy_limit_ms: Option<NonZeroU64>,
}

impl From<LivenessConfig> for Option<pillion::Liveness> {
    fn from(liveness: LivenessConfig) -> Self {
        let LivenessConfig::Probe(LivenessProbe { interval_ms, tolerance, restart, busy_limit_ms }) =
            liveness
        else {
            return None;
        };
        let default = pillion::Liveness::default();
        let liveness = pillion::Liveness::new(
            interval_ms.map_or(default.interval, |ms| Duration::from_millis(ms.get())),
            tolerance.map_or(default.tolerance, NonZeroU32::get),
        );
        let busy_limit = busy_limit_ms.map_or(default.busy_limit, |ms| Duration::from_millis(ms.get()));
        Some(liveness.with_busy_limit(busy_limit).with_restart(restart.unwrap_or(default.restart)))
    }
}

impl Default for LivenessConfig {
    fn default() -> Self {
        Self::Probe(LivenessProbe::default())
    }
}

impl<'de> Deserialize<'de> for LivenessConfig {
    fn deserialize<D: Deserializer<'de>>(declared: D) -> Result<Self, D::Error> {
        struct FalseOrProbe;

        impl<'de> de::Visitor<'de> for FalseOrProbe {
            type Value = LivenessConfig;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("false, or an object with intervalMs, tolerance, restart and busyLimitMs")
            }

            fn visit_bool<E: de::Error>(self, on: bool) -> Result<LivenessConfig, E> {
                if on {
                    Err(E::invalid_value(de::Unexpected::Bool(on), &self))
                } else {
                    Ok(LivenessConfig::Off)
                }
            }

            fn visit_map<A: de::MapAccess<'de>>(self, probe: A) -> Result<LivenessConfig, A::Error> {
                LivenessProbe::deserialize(MapAccessDeserializer::new(probe)).map(LivenessConfig::Probe)
            }
        }

        declared.deserialize_any(FalseOrProbe)
    }
}
