//! Starting the process that a specification describes.

use std::{process::Command, time::Duration};

use pillion_protocol::{Instance, Token, environment};
use zeroize::Zeroizing;

use crate::{
    listener::Listener,
    spawn::environment::Host,
    spawn::spawn_error,
    spec::Program,
    sys::{Group, SpawnRequest, Spawned},
};

/// A process that was started, and what nobody else was given.
pub(crate) struct Launched {
    pub(crate) instance: Instance,
    pub(crate) token: Option<Token>,
    pub(crate) spawned: Spawned,
}

/// Starts the program with a fresh nonce, and with a fresh token where it is private, or says in words why it could not be
/// started. `grace` is what it has to end by itself when this program is killed.
pub(crate) fn launch(
    program: &Program,
    grace: Duration,
    listener: Option<Listener>,
) -> Result<Launched, String> {
    let no_random = |error| format!("the system gave no random bytes: {error}");
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce).map_err(no_random)?;
    let instance = Instance::from_bytes(nonce);
    let token = program.private.then(fresh_token).transpose().map_err(no_random)?;
    let marker = format!("{}={instance}", environment::INSTANCE);
    let command = command(program, instance, token.as_ref(), listener.as_ref());
    Group::spawn(SpawnRequest { command, grace, marker, listener })
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
        .envs(Host::this().hand_on(&program.inherit))
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
    fn each_start_has_a_token_of_its_own() {
        let tokens: Vec<_> = (0..100).map(|_| fresh_token().unwrap()).collect();
        let digits: std::collections::HashSet<_> = tokens.iter().map(Token::reveal).collect();
        assert_eq!(digits.len(), tokens.len());
    }
}
