//! The bodies of the fuzz targets in `fuzz/`. Each one feeds arbitrary bytes to a parser and asserts its invariants.

#[path = "../shared.rs"]
mod shared;

use std::{
    num::NonZeroU16,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    extract::Request,
    http::{HeaderMap, header},
};
use pillion_protocol::{
    Admission, ListenAddr, Token,
    announcement::parse_port,
    environment::{ALLOWED_ORIGINS, HostEnvironment},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    runtime::{Builder, Runtime},
};

use crate::{Limits, Shutdown, admission::AdmissionLayer, connections::Server, origins, pool::Pool};
use shared::fill;

const PAGE: &str = "tauri://localhost";
const NAMES: [&str; 2] = ["127.0.0.1:4242", "localhost:4242"];

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_current_thread().enable_all().build().expect("the system has the resources for a runtime")
});

/// The bytes of one client connection, read by hyper's own parser. `{token}` stands for the right token.
///
/// # Panics
/// Panics if a request that rule 5 of the protocol refuses reaches a handler, or if a handler sees the token.
pub fn request(bytes: &[u8]) {
    let token = Token::from_bytes(&[0xa5; 32]);
    let sent = fill(bytes, b"{token}", token.reveal().as_bytes());
    let seen = Arc::new(AtomicUsize::new(0));
    let (seen_by_handler, hidden) = (Arc::clone(&seen), token.clone());
    let router = Router::new().fallback(async move |request: Request| {
        seen_by_handler.fetch_add(1, Ordering::Relaxed);
        check(&request, &hidden);
    });
    let addr = ListenAddr::Tcp(NonZeroU16::new(4242).expect("it is not 0"));
    let (_stop, shutdown) = Shutdown::channel();
    let limits = Limits::default().body_bytes(64);
    let admission = Admission::new(addr, vec![PAGE.to_owned()], Some(token));
    let admission = Arc::new(AdmissionLayer::new(admission, addr, limits, shutdown.clone(), router));
    let server = Server { admission, limits, shutdown, half_close: true };
    let (slot, eviction) = Pool::new(1).take().expect("the pool has a slot");
    let answers = RUNTIME.block_on(async {
        let (mut client, stream) = duplex(1 << 20);
        // The pipe has room for all bytes. The client then closes its side, so that no time-out has to expire.
        client.write_all(&sent).await.expect("the other end is there");
        client.shutdown().await.expect("the other end is there");
        server.serve(stream, slot, eviction).await;
        let mut answers = Vec::new();
        client.read_to_end(&mut answers).await.expect("the other end was closed");
        answers
    });
    assert!(answers.is_empty() || answers.starts_with(b"HTTP/1."), "{}", answers.escape_ascii());
    assert!(
        seen.load(Ordering::Relaxed) == 0 || sent != bytes,
        "a request without the token reached a handler"
    );
}

fn check(request: &Request, token: &Token) {
    let values = |headers: &HeaderMap, name| {
        headers.get_all(name).iter().map(|value| value.as_bytes().to_vec()).collect::<Vec<_>>()
    };
    let is_ours = |host: &[u8]| NAMES.iter().any(|name| name.as_bytes().eq_ignore_ascii_case(host));
    let headers = request.headers();
    let hosts = values(headers, header::HOST);
    assert!(hosts.len() == 1 && is_ours(&hosts[0]), "{headers:?}");
    let authority = request.uri().authority();
    assert!(authority.is_none_or(|authority| is_ours(authority.as_str().as_bytes())), "{authority:?}");
    let origins = values(headers, header::ORIGIN);
    assert!(origins.is_empty() || origins == [PAGE.as_bytes()], "{headers:?}");
    assert!(!headers.contains_key(header::AUTHORIZATION), "{headers:?}");
    let offered = values(headers, header::SEC_WEBSOCKET_PROTOCOL).concat();
    let bearer = format!("pillion.bearer.{}", token.reveal());
    assert!(!offered.windows(bearer.len()).any(|part| part == bearer.as_bytes()), "{headers:?}");
}

/// The value of `PILLION_ALLOWED_ORIGINS`.
///
/// # Panics
/// Panics if an allowed entry is not the origin of exactly one site.
pub fn origins(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let environment = HostEnvironment::read(|name| (name == ALLOWED_ORIGINS).then(|| (&*text).into()));
    let named = environment.expect("a list of origins always reads").allowed_origins;
    let Ok(allowed) = origins::allowed(named.as_deref()) else { return };
    for origin in allowed {
        let (scheme, rest) = origin.split_once("://").expect("it has a scheme");
        assert!(scheme.starts_with(|first: char| first.is_ascii_alphabetic()), "{origin:?}");
        let (host, port) = rest.rsplit_once(':').filter(|_| !rest.ends_with(']')).unwrap_or((rest, "1"));
        assert!(!host.is_empty() && parse_port(port.as_bytes()).is_some(), "{origin:?}");
        assert!(!rest.contains(['/', '?', '#', '*', '@', ' ', ',', '\\']), "{origin:?}");
        assert_eq!(origin, origin.to_ascii_lowercase());
    }
}

#[cfg(test)]
mod tests {
    use super::{shared::replay, *};

    #[test]
    fn the_committed_corpus_passes() {
        replay("request", request);
        replay("origins", origins);
    }
}
