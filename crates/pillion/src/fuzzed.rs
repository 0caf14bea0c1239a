//! What the fuzz targets in `fuzz/` call, each with any bytes, and what must hold whatever the bytes are.

#[path = "../../../fuzz/shared.rs"]
mod shared;

use std::{num::NonZeroU16, sync::LazyLock};

use pillion_protocol::{Challenge, ListenAddr, Token};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    runtime::{Builder, Runtime},
};

use crate::{
    health::probe::{NotReady, Probe},
    transport::connector::Connector,
};
use shared::fill;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_current_thread().enable_all().build().expect("the system has the resources for a runtime")
});

/// All that a server says on the connection of a probe. `{proof}` stands for the right proof, which only the sidecar can give.
///
/// # Panics
/// When a server without the proof is taken for the sidecar, or hears the token.
pub fn answer(bytes: &[u8]) {
    let token = Token::from_bytes(&[0xa5; 32]);
    let port = NonZeroU16::new(4242).expect("it is not 0");
    let path = "/health".to_owned();
    let probe = Probe {
        connector: Connector::Tcp(port),
        path,
        instance: None,
        token: Some(token.clone()),
        run: None,
    };
    let (report, proved, heard) = RUNTIME.block_on(async {
        let (client, mut server) = duplex(1 << 20);
        let stranger = async {
            let mut heard = Vec::new();
            while !heard.ends_with(b"\r\n\r\n") {
                heard.push(server.read_u8().await.expect("the probe asks first"));
            }
            let proof = proof(&token, ListenAddr::Tcp(port), &heard);
            let said = fill(bytes, b"{proof}", proof.as_bytes());
            // Whoever asked may have heard enough.
            let _ = server.write_all(&said).await;
            let _ = server.shutdown().await;
            server.read_to_end(&mut heard).await.expect("the other end is dropped");
            (said != bytes, heard)
        };
        let (report, (proved, heard)) = tokio::join!(probe.ask_on(client), stranger);
        (report, proved, heard)
    });
    let told = heard.windows(Token::DIGITS).any(|part| part == token.reveal().as_bytes());
    assert!(proved || !told, "a stranger heard the token");
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
