//! Contradictions within one declaration.

use super::{Listen, ServerSource, Spec, Transport};

/// Why a specification cannot work. The messages use the names of the plugin's configuration, which those of the methods resemble.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSpec {
    /// A port is declared for a sidecar whose listener the supervisor binds.
    #[error(
        "`port` and `handover` contradict each other: with `handover` the host binds the listener, and the sidecar announces \
         its port; leave one of them out"
    )]
    PortAndHandover,
    /// A port is declared for a sidecar on a local socket.
    #[error(
        "`port` and \"transport\": \"local\" contradict each other: such a sidecar has no port; leave one of them out"
    )]
    PortAndLocalSocket,
    /// A variable for the port is declared, and the port is not known at the start.
    #[error(
        "`portEnv` is {0:?}, but the port is not known when the sidecar starts: set `port` to \"assigned\" or to a number, or \
         leave `portEnv` out"
    )]
    PortEnvWithoutPort(String),
    /// The variable for the port has no valid name.
    #[error("`portEnv` is {0:?}: give the name of an environment variable, such as \"PORT\"")]
    PortEnvName(String),
    /// The supervisor chooses the port, and nothing tells the sidecar.
    #[error(
        "`port` is \"assigned\", but nothing tells the sidecar its port: name the environment variable that receives it in \
         `portEnv`, such as \"PORT\""
    )]
    PortUntold,
}

impl Spec {
    /// Checks that the declaration does not contradict itself. [`Fleet::start`](crate::Fleet::start) does this for all sidecars before
    /// it starts the first one; [`Supervisor::start`](crate::Supervisor::start) does it at each start, which then fails.
    ///
    /// # Errors
    /// The first contradiction.
    pub fn validate(&self) -> Result<(), InvalidSpec> {
        let ServerSource::Run(program) = &self.source else { return Ok(()) };
        if program.listen != Listen::Announced {
            if program.transport == Transport::Local {
                return Err(InvalidSpec::PortAndLocalSocket);
            }
            if program.handover {
                return Err(InvalidSpec::PortAndHandover);
            }
        }
        match &program.port_env {
            Some(name) if name.is_empty() || name.contains(['=', '\0']) => {
                Err(InvalidSpec::PortEnvName(name.clone()))
            }
            Some(name) if program.listen == Listen::Announced => {
                Err(InvalidSpec::PortEnvWithoutPort(name.clone()))
            }
            None if program.listen == Listen::Assigned => Err(InvalidSpec::PortUntold),
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::*;
    use crate::Program;

    fn check(program: Program) -> Result<(), InvalidSpec> {
        Spec::run("api", program).validate()
    }

    fn program() -> Program {
        Program::new("./api")
    }

    #[test]
    fn a_declared_port_excludes_a_listener_of_the_host() {
        let fixed = Listen::Fixed(NonZeroU16::MAX);
        assert_eq!(check(program().listen(fixed)), Ok(()));
        assert_eq!(check(program().listen(fixed).handover(true)), Err(InvalidSpec::PortAndHandover));
        let local = program().listen(fixed).transport(Transport::Local);
        assert_eq!(check(local), Err(InvalidSpec::PortAndLocalSocket));
    }

    #[test]
    fn a_variable_for_the_port_needs_a_name_and_a_known_port() {
        assert_eq!(check(program().listen(Listen::Assigned).port_env("PORT")), Ok(()));
        assert_eq!(check(program().listen(Listen::Assigned)), Err(InvalidSpec::PortUntold));
        assert_eq!(check(program().port_env("PORT")), Err(InvalidSpec::PortEnvWithoutPort("PORT".into())));
        for name in ["", "A=B"] {
            let named = program().listen(Listen::Assigned).port_env(name);
            assert_eq!(check(named), Err(InvalidSpec::PortEnvName(name.into())));
        }
    }
}
