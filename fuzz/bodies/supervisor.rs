//! The functions that the fuzz targets in `fuzz/` call with arbitrary bytes. They panic if an invariant does not hold.

#[path = "../shared.rs"]
mod shared;

use std::{num::NonZeroU16, sync::LazyLock};

use pillion_protocol::{Challenge, ListenAddr, Token};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    runtime::{Builder, Runtime},
};

use crate::{
    health::{
        not_ready::NotReady,
        probe::{Probe, ProbeKind},
    },
    transport::connector::Connector,
};
use shared::fill;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_current_thread().enable_all().build().expect("the system has the resources for a runtime")
});

/// Sends `bytes` to a probe as the answer of a server. `{proof}` stands for the correct proof, which only the sidecar can give.
///
/// # Panics
/// If the probe accepts a server without the proof, or sends it the token.
pub fn answer(bytes: &[u8]) {
    let token = Token::from_bytes(&[0xa5; 32]);
    let port = NonZeroU16::new(4242).expect("it is not 0");
    let path = "/health".to_owned();
    let probe = Probe {
        sidecar: "fuzzed".to_owned(),
        connector: Connector::Tcp(port),
        kind: ProbeKind::Health { path },
        instance: None,
        token: Some(token.clone()),
        run: None,
        needs_report: false,
    };
    let (report, proved, received) = RUNTIME.block_on(async {
        let (client, mut server) = duplex(1 << 20);
        let stranger = async {
            let mut received = Vec::new();
            while !received.ends_with(b"\r\n\r\n") {
                received.push(server.read_u8().await.expect("the probe asks first"));
            }
            let proof = proof(&token, ListenAddr::Tcp(port), &received);
            let answer = fill(bytes, b"{proof}", proof.as_bytes());
            // The probe may have hung up.
            let _ = server.write_all(&answer).await;
            let _ = server.shutdown().await;
            server.read_to_end(&mut received).await.expect("the other end is dropped");
            (answer != bytes, received)
        };
        let (report, (proved, received)) = tokio::join!(probe.ask_on(client), stranger);
        (report, proved, received)
    });
    let leaked = received.windows(Token::DIGITS).any(|part| part == token.reveal().as_bytes());
    assert!(proved || !leaked, "a stranger received the token");
    assert!(proved || report.is_err(), "a stranger was believed");
    assert!(!matches!(report, Err(NotReady::Unreachable(_) | NotReady::Unable(_))), "{report:?}");
}

fn proof(token: &Token, addr: ListenAddr, head: &[u8]) -> String {
    let head = String::from_utf8_lossy(head);
    let challenge = head.lines().find_map(|line| line.strip_prefix("pillion-challenge: "));
    let challenge = challenge.and_then(|digits| Challenge::read(digits.as_bytes()));
    token.prove(addr, challenge.expect("the probe sends a challenge"))
}

#[cfg(test)]
mod tests {
    use super::{shared::replay, *};

    #[test]
    fn the_corpus_holds() {
        replay("answer", answer);
    }
}
