//! Contradictions within one declaration.

use std::{path::PathBuf, time::Duration};

use super::{HttpCheck, InvalidPlaceholder, Listen, Program, ReadyCheck, ServerSource, Spec, Transport};

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
         `portEnv`, such as \"PORT\", or write ${{port}} in `args` or `env`"
    )]
    PortUntold,
    /// A placeholder is invalid.
    #[error("`{field}`: {invalid}")]
    #[non_exhaustive]
    Placeholder {
        /// The field that contains it.
        field: &'static str,
        /// Why it is invalid.
        invalid: InvalidPlaceholder,
    },
    /// The check cannot prove the token of a private sidecar, which has a port.
    #[error(
        "`ready` is {check:?}, which cannot prove that the server on the port of the sidecar holds the token. Set `private` to false: \
         then every program on this machine can call the sidecar. Or leave `ready` out, and let the sidecar keep rule 5 of the \
         protocol (docs/protocol.md#5-be-private)"
    )]
    #[non_exhaustive]
    TokenUnproved {
        /// The name of the check.
        check: &'static str,
    },
    /// The check does not suit a listener of the host.
    #[error(
        "`ready` is {check:?}, but with `handover` or \"transport\": \"local\" only \"health\" and \"http\" tell whether the sidecar \
         serves: the listener accepts connections before the sidecar does"
    )]
    #[non_exhaustive]
    CheckOfHandover {
        /// The name of the check.
        check: &'static str,
    },
    /// The path of an HTTP check is invalid.
    #[error(
        "the `http` check of `ready` has the path {0:?}: give a path that starts with a slash, such as \"/ready\""
    )]
    HttpPath(String),
    /// The status of an HTTP check is invalid.
    #[error("the `http` check of `ready` expects the status {0}: give one from 200 to 599")]
    HttpStatus(u16),
    /// The text is not a digest of a program.
    #[error("`sha256` is {0:?}: give the 64 hexadecimal digits that `sha256sum` prints for the program")]
    Sha256(String),
    /// The program with a digest is looked up in `PATH`.
    #[error(
        "`sha256` is set, but the program {0:?} is looked up in PATH, which may lead to another one: give its path, or leave `sha256` \
         out"
    )]
    Sha256OfBareName(PathBuf),
    /// The text is not a requirement of a version.
    #[error("`expects` is {requirement:?}: {why}; give a requirement such as \"^1.2\"")]
    #[non_exhaustive]
    Expects {
        /// The text.
        requirement: String,
        /// The error of the parser.
        why: String,
    },
    /// A version is required, and the check shows none.
    #[error(
        "`expects` needs the version in the health answer, but `ready` is {check:?}: leave one of them out"
    )]
    #[non_exhaustive]
    ExpectsWithoutHealth {
        /// The name of the check.
        check: &'static str,
    },
    /// The check by `sd_notify(3)` needs Linux.
    #[error("`ready` is \"notify\", which only Linux has: choose another check on this system")]
    NotifyNeedsLinux,
    /// A watchdog is declared, and the check does not read the messages of the program.
    #[error(
        "`watchdogMs` needs \"ready\": \"notify\", because the program sends `WATCHDOG=1` to its NOTIFY_SOCKET, but `ready` is \
         {check:?}: set it to \"notify\", or leave `watchdogMs` out"
    )]
    #[non_exhaustive]
    WatchdogWithoutNotify {
        /// The name of the check.
        check: &'static str,
    },
    /// The interval of the watchdog is shorter than the microsecond in which the program gets it.
    #[error("`watchdogMs` is 0: give the longest time without a `WATCHDOG=1`, or leave it out")]
    WatchdogZero,
    /// The limit for a start is longer than that to which progress may extend it.
    #[error(
        "`readyTimeoutMaxMs` is {}, less than `readyTimeoutMs`, which is {}: progress can only extend the time-out; raise the \
         maximum, or leave it out",
        max.as_millis(),
        timeout.as_millis()
    )]
    #[non_exhaustive]
    ReadyTimeoutMax {
        /// The longest limit.
        max: Duration,
        /// The limit without progress.
        timeout: Duration,
    },
    /// A sidecar that starts at once is to be stopped when nothing uses it.
    #[error(
        "`idleStopMs` needs \"onDemand\": true, because a use has to start the stopped sidecar again: add it, or leave `idleStopMs` \
         out"
    )]
    IdleStopWithoutDemand,
    /// The command of an exec check is empty.
    #[error(
        "the `exec` check of `ready` has no program: give the program and its arguments, such as [\"pg_isready\"]"
    )]
    EmptyCommand,
}

impl Spec {
    /// Checks that the declaration does not contradict itself. [`Fleet::start`](crate::Fleet::start) does this for all sidecars before
    /// it starts the first one; [`Supervisor::start`](crate::Supervisor::start) does it at each start, which then fails.
    ///
    /// # Errors
    /// The first contradiction.
    pub fn validate(&self) -> Result<(), InvalidSpec> {
        if self.idle_stop.is_some() && !self.on_demand {
            return Err(InvalidSpec::IdleStopWithoutDemand);
        }
        self.validate_check()?;
        if let Some(interval) = self.watchdog {
            if interval < Duration::from_micros(1) {
                return Err(InvalidSpec::WatchdogZero);
            }
            if !matches!(self.ready_check, ReadyCheck::Notify) {
                return Err(InvalidSpec::WatchdogWithoutNotify { check: self.ready_check.name() });
            }
        }
        if let Some(max) = self.ready_timeout_max
            && max < self.ready_timeout
        {
            return Err(InvalidSpec::ReadyTimeoutMax { max, timeout: self.ready_timeout });
        }
        if let Some(requirement) = &self.expects {
            if let Err(error) = semver::VersionReq::parse(requirement) {
                let (requirement, why) = (requirement.clone(), error.to_string());
                return Err(InvalidSpec::Expects { requirement, why });
            }
            if !matches!(self.ready_check, ReadyCheck::Health) {
                return Err(InvalidSpec::ExpectsWithoutHealth { check: self.ready_check.name() });
            }
        }
        match &self.source {
            ServerSource::Run(program) => self.validate_program(program),
            ServerSource::Attach(_) => Ok(()),
        }
    }

    fn validate_check(&self) -> Result<(), InvalidSpec> {
        match &self.ready_check {
            ReadyCheck::Http(HttpCheck { path, .. }) if !path.starts_with('/') => {
                Err(InvalidSpec::HttpPath(path.clone()))
            }
            ReadyCheck::Http(HttpCheck { status: Some(status), .. }) if !(200..600).contains(status) => {
                Err(InvalidSpec::HttpStatus(*status))
            }
            ReadyCheck::Exec(command) if command.program.is_empty() => Err(InvalidSpec::EmptyCommand),
            ReadyCheck::Notify if !cfg!(target_os = "linux") => Err(InvalidSpec::NotifyNeedsLinux),
            ReadyCheck::Health
            | ReadyCheck::Http(_)
            | ReadyCheck::Tcp
            | ReadyCheck::Line(_)
            | ReadyCheck::Exec(_)
            | ReadyCheck::Notify
            | ReadyCheck::Started => Ok(()),
        }
    }

    fn validate_program(&self, program: &Program) -> Result<(), InvalidSpec> {
        if let Some(digest) = &program.sha256 {
            if digest.len() != 64 || !digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(InvalidSpec::Sha256(digest.clone()));
            }
            if program.path.components().count() < 2 {
                return Err(InvalidSpec::Sha256OfBareName(program.path.clone()));
            }
        }
        Self::validate_port(program)?;
        self.validate_placeholders(program)
            .map_err(|(field, invalid)| InvalidSpec::Placeholder { field, invalid })?;
        let check = self.ready_check.name();
        let handed_over = program.handover || program.transport == Transport::Local;
        if handed_over && !matches!(self.ready_check, ReadyCheck::Health | ReadyCheck::Http(_)) {
            return Err(InvalidSpec::CheckOfHandover { check });
        }
        if program.private && !self.ready_check.proves_token() && self.has_port(program) {
            return Err(InvalidSpec::TokenUnproved { check });
        }
        Ok(())
    }

    /// Whether requests to the sidecar will go to a port.
    fn has_port(&self, program: &Program) -> bool {
        let in_line = matches!(&self.ready_check, ReadyCheck::Line(line) if line.has_port());
        program.listen != Listen::Announced || self.ready_check.needs_address() || in_line
    }

    fn validate_port(program: &Program) -> Result<(), InvalidSpec> {
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
            None if program.listen == Listen::Assigned && !program.shows_port() => {
                Err(InvalidSpec::PortUntold)
            }
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
    fn a_private_sidecar_with_a_port_needs_the_health_check() {
        let line = |expression| ReadyCheck::Line(crate::LineCheck::new(expression).unwrap());
        let exec = || ReadyCheck::Exec(crate::ExecCheck::new("true"));
        let http = || ReadyCheck::Http(HttpCheck::new("/ready"));
        let fixed = Listen::Fixed(NonZeroU16::MAX);
        for (check, announced, declared) in [
            (ReadyCheck::Health, true, true),
            (http(), false, false),
            (ReadyCheck::Tcp, false, false),
            (line("ready"), true, false),
            (line("(?<port>[0-9]+)"), false, false),
            (exec(), true, false),
            #[cfg(target_os = "linux")]
            (ReadyCheck::Notify, true, false),
            (ReadyCheck::Started, true, false),
        ] {
            for (listen, valid) in [(Listen::Announced, announced), (fixed, declared)] {
                let validate = |private| {
                    let program = program().private(private).listen(listen);
                    Spec::run("api", program).ready_check(check.clone()).validate()
                };
                assert_eq!(validate(true).is_ok(), valid, "{check:?} {listen:?}");
                assert_eq!(validate(false), Ok(()), "{check:?} {listen:?}");
                if !valid {
                    assert!(validate(true).unwrap_err().to_string().contains("Set `private` to false"));
                }
            }
        }
    }

    #[test]
    fn a_check_must_be_possible() {
        let validate = |program: Program, check| Spec::run("api", program).ready_check(check).validate();
        for (check, invalid) in [
            (HttpCheck::new("ready"), InvalidSpec::HttpPath("ready".into())),
            (HttpCheck::new("/").status(101), InvalidSpec::HttpStatus(101)),
        ] {
            assert_eq!(validate(program(), ReadyCheck::Http(check)), Err(invalid));
        }
        let empty = ReadyCheck::Exec(crate::ExecCheck::new(""));
        assert_eq!(validate(program(), empty), Err(InvalidSpec::EmptyCommand));
        let tcp = InvalidSpec::CheckOfHandover { check: "tcp" };
        assert_eq!(validate(program().handover(true), ReadyCheck::Tcp), Err(tcp));
    }

    #[test]
    fn a_digest_and_a_required_version_have_their_form() {
        let digest = |path: &str, digest: &str| check(Program::new(path).sha256(digest));
        assert_eq!(digest("./api", &"aB".repeat(32)), Ok(()));
        assert_eq!(digest("./api", "ab"), Err(InvalidSpec::Sha256("ab".into())));
        assert_eq!(digest("./api", &"xy".repeat(32)), Err(InvalidSpec::Sha256("xy".repeat(32))));
        assert_eq!(digest("api", &"ab".repeat(32)), Err(InvalidSpec::Sha256OfBareName("api".into())));
        let expects = |spec: Spec| spec.expects("^1.2").validate();
        assert_eq!(expects(Spec::run("api", "./api")), Ok(()));
        let tcp = Spec::run("api", "./api").ready_check(ReadyCheck::Tcp);
        assert_eq!(expects(tcp), Err(InvalidSpec::ExpectsWithoutHealth { check: "tcp" }));
        let error = Spec::run("api", "./api").expects("one").validate().unwrap_err().to_string();
        assert!(error.starts_with("`expects` is \"one\": "), "{error}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_watchdog_needs_the_messages_of_the_program() {
        let spec = |check| Spec::run("api", "./api").ready_check(check).watchdog(Duration::from_secs(1));
        assert_eq!(spec(ReadyCheck::Notify).validate(), Ok(()));
        let error = spec(ReadyCheck::Health).validate().unwrap_err();
        assert_eq!(error, InvalidSpec::WatchdogWithoutNotify { check: "health" });
        assert!(error.to_string().contains("but `ready` is \"health\": set it to \"notify\""), "{error}");
        let none = spec(ReadyCheck::Notify).watchdog(Duration::ZERO).validate();
        assert_eq!(none, Err(InvalidSpec::WatchdogZero));
    }

    #[test]
    fn progress_cannot_shorten_the_time_out() {
        let spec = |max| Spec::run("api", "./api").ready_timeout_max(Duration::from_secs(max));
        assert_eq!(spec(60).validate(), Ok(()));
        let error = spec(59).validate().unwrap_err().to_string();
        assert!(
            error.starts_with("`readyTimeoutMaxMs` is 59000, less than `readyTimeoutMs`, which is 60000"),
            "{error}"
        );
    }

    #[test]
    fn only_a_sidecar_on_demand_is_stopped_when_it_is_unused() {
        let spec = Spec::run("api", "./api").idle_stop(Duration::from_secs(60));
        assert_eq!(spec.validate(), Err(InvalidSpec::IdleStopWithoutDemand));
        assert_eq!(spec.on_demand(true).validate(), Ok(()));
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
