//! A WebSocket that echoes its messages.

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use sha1::{Digest as _, Sha1};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        protocol::{CloseFrame, Role},
    },
};

pub(crate) type WebSocket = WebSocketStream<TokioIo<Upgraded>>;

/// Answers the opening handshake (RFC 6455, section 4.2.2), and serves the WebSocket once it is open.
pub(crate) fn accept<F>(request: Request, serve: impl FnOnce(WebSocket) -> F + Send + 'static) -> Response
where
    F: Future<Output = ()> + Send,
{
    let Some(key) = request.headers().get(header::SEC_WEBSOCKET_KEY) else {
        return StatusCode::UPGRADE_REQUIRED.into_response();
    };
    let digest =
        Sha1::new().chain_update(key).chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize();
    let accept = BASE64_STANDARD.encode(digest);
    tokio::spawn(async move {
        let Ok(upgraded) = hyper::upgrade::on(request).await else { return };
        serve(WebSocket::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await).await;
    });
    let mut headers = HeaderMap::new();
    for (name, value) in [
        (header::CONNECTION, "Upgrade"),
        (header::UPGRADE, "websocket"),
        (header::SEC_WEBSOCKET_ACCEPT, accept.as_str()),
    ] {
        headers.insert(name, value.parse().expect("base64 is a header value"));
    }
    (StatusCode::SWITCHING_PROTOCOLS, headers, Body::empty()).into_response()
}

/// Serves until the client has closed the WebSocket, or the connection has ended.
pub(crate) async fn echo(mut socket: WebSocket) {
    let _ = try_echo(&mut socket).await;
}

async fn try_echo(socket: &mut WebSocket) -> Result<(), Error> {
    socket.send(Message::text("open")).await?;
    while let Some(message) = socket.next().await.transpose()? {
        match &message {
            Message::Text(text) if text.as_str() == "close" => {
                socket.close(Some(CloseFrame { code: 4001.into(), reason: "as you wish".into() })).await?;
            }
            Message::Text(_) | Message::Binary(_) => socket.send(message).await?,
            _ => {}
        }
    }
    Ok(())
}
