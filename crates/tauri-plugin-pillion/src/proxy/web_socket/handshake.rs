//! The opening handshake of a WebSocket: RFC 6455, section 4.1.

use std::future::Future;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http_body_util::Full;
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1,
    header::{
        self, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
        SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    },
    upgrade::{self, Upgraded},
};
use hyper_util::rt::TokioIo;
use pillion::{Access, Failure};
use sha1::{Digest as _, Sha1};
use tauri::async_runtime;

use crate::desktop::{
    command_error::CommandError,
    http_pool::HttpError,
    ipc_message::{self, MAX_HEADERS, RequestHead, ResponseHead},
    proxy::outgoing::{authorize, later_run, parse},
    task::task,
};

/// A handshake that is ready to be sent.
pub(in crate::desktop::proxy) struct Handshake {
    request: Request<Full<Bytes>>,
    key: String,
}

/// The IPC message that answers the page, and the connection if it is open.
pub(in crate::desktop::proxy) type Outcome = (Vec<u8>, Option<TokioIo<Upgraded>>);

impl Handshake {
    /// The page chooses the path and the subprotocols, and nothing else, as in a browser.
    pub(in crate::desktop::proxy) fn new(head: RequestHead) -> Result<Self, CommandError> {
        let mut request = parse(head, Bytes::new())?;
        if request.method() != Method::GET {
            return Err(CommandError::no_response("a WebSocket is opened with GET"));
        }
        let headers = request.headers_mut();
        if let Some(name) = headers.keys().find(|name| **name != SEC_WEBSOCKET_PROTOCOL) {
            let reason = format!("a page may not set the header {name} of a WebSocket");
            return Err(CommandError::no_response(reason));
        }
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(CommandError::no_response)?;
        let key = BASE64_STANDARD.encode(nonce);
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        let value = HeaderValue::try_from(&key).map_err(CommandError::no_response)?;
        headers.insert(SEC_WEBSOCKET_KEY, value);
        Ok(Self { request, key })
    }

    /// Performs the handshake with the current run of the sidecar, or with the next one. That the sidecar does not open the WebSocket is no
    /// error of the command: the page tries again then. `current` is [`Supervisor::access`](pillion::Supervisor::access).
    pub(in crate::desktop::proxy) async fn perform<F>(
        &self,
        current: impl Fn() -> F,
    ) -> Result<Outcome, CommandError>
    where
        F: Future<Output = Result<Access, Failure>>,
    {
        let mut access = current().await?;
        let response = loop {
            let response = match send(&access, authorize(self.request.clone(), &access)?).await {
                Ok(response) => response,
                Err(error) => return refuse(StatusCode::BAD_GATEWAY, &error.to_string()),
            };
            match later_run(&current, &access, response.status()).await? {
                Some(later) => access = later,
                None => break response,
            }
        };
        if let Err(reason) = self.check(response.status(), response.headers()) {
            return refuse(response.status(), &reason);
        }
        let mut headers = response.headers().clone();
        let upgraded = match upgrade::on(response).await {
            Ok(upgraded) => TokioIo::new(upgraded),
            Err(error) => return refuse(StatusCode::BAD_GATEWAY, &error.to_string()),
        };
        headers.remove(SEC_WEBSOCKET_ACCEPT);
        Ok((encode(StatusCode::SWITCHING_PROTOCOLS, &headers, "")?, Some(upgraded)))
    }

    /// Whether the sidecar has opened the WebSocket.
    fn check(&self, status: StatusCode, headers: &HeaderMap) -> Result<(), String> {
        if status != StatusCode::SWITCHING_PROTOCOLS {
            return Err(format!("the sidecar answered the handshake with the status {status}"));
        }
        if !has_token(headers, &header::UPGRADE, "websocket")
            || !has_token(headers, &header::CONNECTION, "upgrade")
        {
            return Err("the sidecar changed to another protocol than WebSocket".to_owned());
        }
        if headers
            .get(SEC_WEBSOCKET_ACCEPT)
            .is_none_or(|value| value.as_bytes() != accept(&self.key).as_bytes())
        {
            return Err("Sec-WebSocket-Accept of the sidecar is wrong".to_owned());
        }
        if headers.contains_key(SEC_WEBSOCKET_EXTENSIONS) {
            return Err("the sidecar chose an extension, and none was offered".to_owned());
        }
        // The sidecar may choose none. A browser rejects that, but with a port it gets `pillion` then: docs/protocol.md, rule 5.
        let offered = self.request.headers();
        let mut chosen = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
        match (chosen.next(), chosen.next()) {
            (None, _) => Ok(()),
            (Some(one), None) if offers(offered, one) => Ok(()),
            _ => Err("the sidecar chose a subprotocol that the page did not offer".to_owned()),
        }
    }
}

/// The value of `Sec-WebSocket-Accept` for this key: RFC 6455, section 4.2.2.
fn accept(key: &str) -> String {
    let digest =
        Sha1::new().chain_update(key).chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize();
    BASE64_STANDARD.encode(digest)
}

/// The elements of a header that is a list.
fn elements<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    elements(headers, name).any(|element| element.eq_ignore_ascii_case(token))
}

fn offers(offered: &HeaderMap, chosen: &HeaderValue) -> bool {
    elements(offered, &SEC_WEBSOCKET_PROTOCOL).any(|element| element.as_bytes() == chosen.as_bytes())
}

/// Sends the request on a connection of its own, which becomes that of the WebSocket.
async fn send(access: &Access, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, HttpError> {
    let stream = access.connect().await?;
    let (mut sender, connection) =
        http1::Builder::new().max_headers(MAX_HEADERS).handshake(TokioIo::new(stream)).await?;
    // This task ends with the sender or with the upgrade. The sender reports the connection's errors.
    async_runtime::spawn(task(async move { drop(connection.with_upgrades().await) }));
    Ok(sender.send_request(request).await?)
}

fn refuse(status: StatusCode, reason: &str) -> Result<Outcome, CommandError> {
    // 101 with wrong headers opens nothing.
    let status = if status == StatusCode::SWITCHING_PROTOCOLS { StatusCode::BAD_GATEWAY } else { status };
    Ok((encode(status, &HeaderMap::new(), reason)?, None))
}

fn encode(status: StatusCode, headers: &HeaderMap, reason: &str) -> Result<Vec<u8>, CommandError> {
    let head = ResponseHead::new(status, headers, false);
    ipc_message::encode(&head, reason.as_bytes()).map_err(CommandError::no_response)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn handshake(protocols: &str) -> Handshake {
        let headers =
            if protocols.is_empty() { json!([]) } else { json!([["sec-websocket-protocol", protocols]]) };
        let head = json!({ "id": 1, "sidecar": "a", "method": "GET", "path": "/", "headers": headers });
        Handshake::new(serde_json::from_value(head).unwrap()).unwrap()
    }

    #[test]
    fn accept_is_that_of_the_example_in_the_rfc() {
        assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn another_method_than_get_is_refused() {
        let head = json!({ "id": 1, "sidecar": "a", "method": "POST", "path": "/", "headers": [], "webSocket": true });
        assert!(Handshake::new(serde_json::from_value(head).unwrap()).is_err());
    }

    #[test]
    fn each_handshake_has_a_key_of_its_own() {
        assert_ne!(handshake("").key, handshake("").key);
    }

    #[test]
    fn a_response_must_fit_its_handshake() {
        let handshake = handshake("chat, notes");
        let right = [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-accept", &accept(&handshake.key)),
            ("sec-websocket-protocol", "notes"),
        ];
        let check = |status, name: &str, value: Option<&str>| {
            let fields = right.iter().copied().filter(|(other, _)| *other != name);
            let fields = fields.chain(value.map(|value| (name, value)));
            let headers =
                fields.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
            handshake.check(status, &headers)
        };
        let switching = StatusCode::SWITCHING_PROTOCOLS;
        check(switching, "", None).unwrap();
        check(switching, "sec-websocket-protocol", None).unwrap();
        check(StatusCode::OK, "", None).unwrap_err();
        for (name, wrong) in [
            ("connection", Some("close")),
            ("upgrade", Some("h2c")),
            ("sec-websocket-accept", Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")),
            ("sec-websocket-protocol", Some("other")),
            ("sec-websocket-protocol", Some("chat, notes")),
            ("sec-websocket-extensions", Some("permessage-deflate")),
            ("connection", None),
            ("upgrade", None),
            ("sec-websocket-accept", None),
        ] {
            check(switching, name, wrong).unwrap_err();
        }
    }
}
