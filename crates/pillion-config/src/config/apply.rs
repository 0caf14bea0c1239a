//! How a declaration becomes what a supervisor takes.

use std::{path::PathBuf, time::Duration};

use pillion::{ReadyCheck, Spec};

use super::{SidecarConfig, error::ConfigError, memory_size::MemorySize, ready};
use crate::Variables;

impl SidecarConfig {
    /// Applies the declared settings of the program called `name`, except its arguments and its working directory.
    ///
    /// # Errors
    /// An unknown variable, or a folder of the app that cannot be created.
    pub fn configure(
        &self,
        program: pillion::Program,
        name: &str,
        variables: &Variables,
    ) -> Result<pillion::Program, ConfigError> {
        let program = program
            .private(self.private)
            .inherit(self.inherit.clone())
            .login_shell_env(self.login_shell_env)
            .placeholders(true)
            .listen(self.port.into())
            .handover(self.handover)
            .transport(self.transport)
            .stop(self.stop.clone());
        let program = match self.port_fallback {
            Some(port_fallback) => program.port_fallback(port_fallback),
            None => program,
        };
        let program = match &self.port_env {
            Some(name) => program.port_env(name),
            None => program,
        };
        self.env.iter().try_fold(program, |program, (variable, value)| {
            let value = variables.expand(value, name, &format!("env.{variable}"))?;
            Ok(program.env(variable, value))
        })
    }

    /// The declared arguments, for the sidecar called `name`.
    ///
    /// # Errors
    /// As [`configure`](Self::configure).
    pub fn args(&self, name: &str, variables: &Variables) -> Result<Vec<String>, ConfigError> {
        variables.expand_all(&self.args, name, "args")
    }

    /// The declared command that checks readiness.
    ///
    /// # Errors
    /// As [`configure`](Self::configure).
    pub fn exec_check(&self, name: &str, variables: &Variables) -> Result<Option<ReadyCheck>, ConfigError> {
        let Some(command) = self.ready.command() else { return Ok(None) };
        Ok(Some(ready::exec_check(&variables.expand_all(command, name, "ready.exec")?)))
    }

    /// The declared working directory.
    ///
    /// # Errors
    /// As [`configure`](Self::configure).
    pub fn cwd(&self, name: &str, variables: &Variables) -> Result<Option<PathBuf>, ConfigError> {
        self.cwd.as_ref().map(|cwd| variables.folder(cwd, name, "cwd")).transpose()
    }

    /// Checks the declaration, and applies its settings that do not depend on where the server comes from.
    ///
    /// # Errors
    /// An invalid field, or a contradiction between fields.
    pub fn refine(&self, mut spec: Spec, name: &str) -> Result<Spec, ConfigError> {
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
            if !matches!(self.ready.0, ReadyCheck::Health) {
                return Err(ConfigError::HealthUnused { sidecar: name.to_owned(), health: health.clone() });
            }
            spec = spec.health_path(health);
        }
        if let Some(timeout) = self.ready_timeout() {
            spec = spec.ready_timeout(timeout);
        }
        spec = spec.ready_timeout_max(self.ready_timeout_max());
        if let Some(grace) = self.grace_ms {
            spec = spec.grace(Duration::from_millis(grace));
        }
        if let Some(restart) = self.restart {
            spec = spec.restart(restart);
        }
        if let Some(after) = self.idle_stop_ms {
            spec = spec.idle_stop(Duration::from_millis(after.get()));
        }
        if let Some(expects) = &self.expects {
            spec = spec.expects(expects);
        }
        let spec = spec
            .on_demand(self.on_demand)
            .ready_check(self.ready.0.clone())
            .restart_limit(self.restart_limit.into())
            .liveness(self.liveness())
            .watchdog(self.watchdog())
            .max_memory(self.max_memory.map(|MemorySize(bytes)| bytes))
            .depends_on(&self.depends_on)
            .restart_with(&self.restart_with)
            .optional(self.optional);
        match spec.validate() {
            Ok(()) => Ok(spec),
            Err(invalid) => Err(ConfigError::Invalid { sidecar: name.to_owned(), invalid }),
        }
    }
}
