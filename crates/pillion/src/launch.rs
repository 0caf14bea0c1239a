//! Starting the process that a specification describes.

use std::{process::Command, time::Duration};

use pillion_protocol::{Instance, Token, environment};

use crate::{
    diagnosis,
    secret::Secret,
    spec::Run,
    sys::{Group, Order, Spawned},
};

/// Starts the program with a fresh nonce, and a fresh token where it is private, or says in words why it could not be started. `grace` is what it has to end by
/// itself when this program is killed.
pub(crate) fn launch(run: &Run, grace: Duration) -> Result<(Instance, Spawned), String> {
    let no_random = |error| format!("the system gave no random bytes: {error}");
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce).map_err(no_random)?;
    let instance = Instance::from_bytes(nonce);
    let token = run.secret.as_ref().map(Secret::renew).transpose().map_err(no_random)?;
    let mark = format!("{}={instance}", environment::INSTANCE);
    Group::spawn(Order { command: command(run, instance, token.as_ref()), grace, mark })
        .map(|spawned| (instance, spawned))
        .map_err(|error| diagnosis::explain(&run.program, run.current_dir.as_deref(), &error))
}

fn command(run: &Run, instance: Instance, token: Option<&Token>) -> Command {
    let mut command = Command::new(&run.program);
    command
        .args(&run.args)
        // A PORT, a token or an origin list that was meant for this program is not meant for its sidecar.
        .env_remove(environment::PORT)
        .env_remove(environment::TOKEN)
        .env_remove(environment::ALLOWED_ORIGINS)
        .env(environment::PROTOCOL, environment::PROTOCOL_VERSION)
        .env(environment::INSTANCE, instance.to_string());
    if let Some(token) = token {
        command.env(environment::TOKEN, token.reveal());
    }
    if !run.allowed_origins.is_empty() {
        command.env(environment::ALLOWED_ORIGINS, run.allowed_origins.join(","));
    }
    if let Some(dir) = &run.current_dir {
        command.current_dir(dir);
    }
    command.envs(&run.env);
    command
}
