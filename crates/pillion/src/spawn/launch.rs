//! Starts the process of a [`Program`].

use std::{process::Command, time::Duration};

use pillion_protocol::{Instance, Token, environment};
use zeroize::Zeroizing;

use crate::{
    listener::Listener,
    spawn::environment::ParentEnvironment,
    spawn::spawn_error,
    spec::Program,
    sys::{Group, SpawnRequest, Spawned},
};

/// A started process, and the secrets that only it received.
pub(crate) struct Launched {
    pub(crate) instance: Instance,
    pub(crate) token: Option<Token>,
    pub(crate) spawned: Spawned,
}

/// Starts the program with a new instance, and with a new token if it is private. An error is a sentence that explains the failure.
/// `grace` is how long its processes may live after this process is killed.
pub(crate) fn launch(
    program: &Program,
    grace: Duration,
    listener: Option<Listener>,
) -> Result<Launched, String> {
    let no_random = |error| format!("the system returned no random bytes: {error}");
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(no_random)?;
    let instance = Instance::from_bytes(bytes);
    let token = program.private.then(fresh_token).transpose().map_err(no_random)?;
    let marker = format!("{}={instance}", environment::INSTANCE);
    let command = command(program, instance, token.as_ref(), listener.as_ref());
    Group::spawn(SpawnRequest { command, grace, marker, stop: program.stop.clone(), listener })
        .map(|spawned| Launched { instance, token, spawned })
        .map_err(|error| spawn_error::explain(&program.path, program.current_dir.as_deref(), &error))
}

fn command(
    program: &Program,
    instance: Instance,
    token: Option<&Token>,
    listener: Option<&Listener>,
) -> Command {
    let mut command = Command::new(&program.path);
    command
        .args(&program.args)
        .env_clear()
        .envs(ParentEnvironment::this().inherited_by(&program.inherit))
        .env(environment::PROTOCOL, environment::PROTOCOL_VERSION)
        .env(environment::INSTANCE, instance.to_string());
    if let Some(token) = token {
        command.env(environment::TOKEN, token.reveal());
    }
    command.envs(listener.and_then(Listener::variable));
    if !program.allowed_origins.is_empty() {
        command.env(environment::ALLOWED_ORIGINS, program.allowed_origins.join(","));
    }
    if let Some(dir) = &program.current_dir {
        command.current_dir(dir);
    }
    command.envs(&program.env);
    command
}

fn fresh_token() -> Result<Token, getrandom::Error> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *bytes)?;
    Ok(Token::from_bytes(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_token_is_new() {
        let tokens: Vec<_> = (0..100).map(|_| fresh_token().unwrap()).collect();
        let digits: std::collections::HashSet<_> = tokens.iter().map(Token::reveal).collect();
        assert_eq!(digits.len(), tokens.len());
    }
}
