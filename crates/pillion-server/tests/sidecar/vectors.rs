//! The vectors of docs/protocol, against a real sidecar: on a port, and on a Unix domain socket.

use std::env;

use libtest_mimic::{Failed, Trial};
use pillion_vectors::{AddressKind, Requests, Subject, environments, load, requests};

use crate::test_sidecar::{ARGUMENT, VECTORS};

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![Trial::test("vectors::environment", || {
        report(&environments(&subject(), &load("environment.json")?, true))
    })];
    for file in ["admission", "websocket", "proof"] {
        for (transport, name) in [(AddressKind::Tcp, "a_port"), (AddressKind::Socket, "a_socket")] {
            trials.push(Trial::test(format!("vectors::{file}_on_{name}"), move || {
                let file: Requests = load(&format!("{file}.json"))?;
                report(&requests(&subject(), &file, transport, true)?)
            }));
        }
    }
    trials
}

fn subject() -> Subject {
    Subject::new(env::current_exe().unwrap()).arg(ARGUMENT).env(VECTORS, "1").env("RUST_LOG", "error")
}

fn report(failures: &[String]) -> Result<(), Failed> {
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n\n").into()) }
}
