//! Health, instance and proof (docs/protocol.md, sections 2 and 5).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pillion_vectors::hmac_proof;

use crate::{Server, admission::Request, connection::Answer};

/// Longer than a check takes to ask after the announcement.
const WARM_UP: Duration = Duration::from_millis(500);
const OTHER: &str = "ffffffffffffffffffffffffffffffff";

/// Health for a client with the token, or of a server without one.
pub(crate) fn whole(server: &Server) -> Answer {
    let mutation = &server.mutation;
    let private = server.host.token.is_some();
    if mutation.is("health-404") && private {
        return Answer::text(404, "no such path");
    }
    let warms_up = mutation.is("health-503-at-first") && server.started.elapsed() < WARM_UP;
    if (mutation.is("health-503") || warms_up) && private {
        return Answer::text(503, "not yet");
    }
    if mutation.is("health-in-plain-text") && private {
        return Answer::text(200, "OK");
    }
    #[expect(clippy::disallowed_methods, reason = "for display only")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let now = if mutation.is("timestamp-in-seconds") { now / 1000 } else { now };
    let uptime = server.started.elapsed().as_secs_f64();
    // Never below the time that a check allows, however soon it asks.
    let uptime = if mutation.is("uptime-in-milliseconds") { 5000.0 + uptime * 1000.0 } else { uptime };
    let status = if mutation.is("status-is-healthy") { "healthy" } else { "ok" };
    let app = if mutation.is("no-app") { "" } else { r#""app":"Mutant","# };
    let instance = match &server.host.instance {
        _ if mutation.is("no-instance") => None,
        Some(_) if mutation.is("instance-of-its-own") => Some(OTHER),
        Some(instance) => Some(instance.as_str()),
        None if mutation.is("instance-invented") => Some(OTHER),
        None => None,
    };
    let instance = instance.map(|instance| format!(r#","instance":"{instance}""#)).unwrap_or_default();
    let version = if mutation.is("protocol-2") { "2" } else { "1" };
    let padding = if mutation.is("health-of-64-kib") { "x".repeat(64 * 1024) } else { String::new() };
    Answer::json(format!(
        r#"{{"status":"{status}",{app}"timestamp":{now},"uptime":{uptime}{instance},"pillion_protocol":"{version}","padding":"{padding}"}}"#
    ))
}

/// Health for a client without the token: alive, and the proof of a challenge.
pub(crate) fn alive(server: &Server, request: &Request) -> Answer {
    let mutation = &server.mutation;
    let token = server.host.token.as_deref().unwrap_or_default();
    let mut answer = if mutation.is("alive-tells-all") {
        whole(server)
    } else {
        Answer::json(r#"{"status":"ok"}"#.to_owned())
    };
    let challenge = request.only("pillion-challenge").filter(|challenge| {
        let hexadecimal = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let valid = challenge.len() == 32 && challenge.bytes().all(hexadecimal);
        valid || mutation.is("proof-of-any-challenge") && !challenge.is_empty()
    });
    let Some(challenge) = challenge.filter(|_| !mutation.is("no-proof")) else { return answer };
    let address = match server.authority.as_str() {
        "localhost" if mutation.is("socket-proof-of-loopback") => "127.0.0.1",
        address if mutation.is("proof-of-localhost") => &address.replace("127.0.0.1", "localhost"),
        address => address,
    };
    let key = if mutation.is("proof-of-another-key") { "token" } else { token };
    let mut proof = hmac_proof(key, address, challenge);
    if mutation.is("proof-in-upper-case") {
        proof.make_ascii_uppercase();
    }
    answer.headers.push(("Pillion-Proof".to_owned(), proof));
    if mutation.is("closes-after-proof") {
        answer.close = true;
    }
    answer
}
