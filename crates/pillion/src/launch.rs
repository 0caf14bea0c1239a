//! Starting the process that a specification describes.

use std::{net::TcpListener, process::Command, time::Duration};

use pillion_protocol::{Instance, environment};

use crate::{
    diagnosis,
    spec::Run,
    sys::{Group, Order, Spawned},
};

/// Starts the program with a fresh nonce, or says in words why it could not be started. `grace` is what it has to end by
/// itself when this program is killed.
pub(crate) fn launch(
    run: &Run,
    grace: Duration,
    listener: Option<TcpListener>,
) -> Result<(Instance, Spawned), String> {
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce).map_err(|error| format!("the system gave no random bytes: {error}"))?;
    let instance = Instance::from_bytes(nonce);
    let mark = format!("{}={instance}", environment::INSTANCE);
    Group::spawn(Order { command: command(run, instance), grace, mark, listener })
        .map(|spawned| (instance, spawned))
        .map_err(|error| diagnosis::explain(&run.program, run.current_dir.as_deref(), &error))
}

fn command(run: &Run, instance: Instance) -> Command {
    let mut command = Command::new(&run.program);
    command
        .args(&run.args)
        // A PORT, an origin list or a listener that was meant for this program is not meant for its sidecar.
        .env_remove(environment::PORT)
        .env_remove(environment::ALLOWED_ORIGINS)
        .env_remove("LISTEN_FDS")
        .env_remove("LISTEN_PID")
        .env_remove("LISTEN_FDNAMES")
        .env(environment::PROTOCOL, environment::PROTOCOL_VERSION)
        .env(environment::INSTANCE, instance.to_string());
    if !run.allowed_origins.is_empty() {
        command.env(environment::ALLOWED_ORIGINS, run.allowed_origins.join(","));
    }
    if let Some(dir) = &run.current_dir {
        command.current_dir(dir);
    }
    command.envs(&run.env);
    command
}
