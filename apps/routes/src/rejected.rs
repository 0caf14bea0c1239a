//! Two designs of a proxy that tauri-plugin-pillion does not use. They exist only to be measured: they open a connection for each
//! request, do not wait for the reader, and cannot be cancelled.

use std::error::Error;

use http_body_util::{BodyExt as _, Empty};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    client::conn::http1,
    header,
};
use hyper_util::rt::TokioIo;
use tauri::{
    AppHandle, UriSchemeContext, UriSchemeResponder, Wry, async_runtime,
    ipc::{Channel, InvokeResponseBody},
};
use tauri_plugin_pillion::{PillionExt as _, pillion::protocol::Token};
use tokio::task;

/// The size of the chunks of tauri-plugin-pillion.
const CHUNK: usize = 1024 * 1024;

type BoxedResult<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Sends the body of a response to a channel as it arrives; an empty message is its end.
#[tauri::command]
pub(crate) async fn push(
    app: AppHandle,
    path: String,
    channel: Channel<InvokeResponseBody>,
) -> Result<(), String> {
    push_all(&app, &path, &channel).await.map_err(|error| error.to_string())
}

async fn push_all(app: &AppHandle, path: &str, channel: &Channel<InvokeResponseBody>) -> BoxedResult<()> {
    let mut body = send(app, path).await?.into_body();
    while let Some(frame) = body.frame().await {
        let mut chunk = frame?.into_data().map(Vec::from).unwrap_or_default();
        // Bytes that arrive together are sent together, as in tauri-plugin-pillion.
        while chunk.len() < CHUNK {
            let more = tokio::select! {
                biased;
                more = body.frame() => more,
                () = task::yield_now() => None,
            };
            let Some(more) = more else { break };
            chunk.extend_from_slice(&more?.into_data().unwrap_or_default());
        }
        channel.send(InvokeResponseBody::Raw(chunk))?;
    }
    Ok(channel.send(InvokeResponseBody::Raw(Vec::new()))?)
}

/// Responds to `whole://localhost/…` with the sidecar's response, once that is complete: a responder takes all bytes at once.
pub(crate) fn whole(
    context: UriSchemeContext<'_, Wry>,
    request: Request<Vec<u8>>,
    responder: UriSchemeResponder,
) {
    let app = context.app_handle().clone();
    async_runtime::spawn(async move {
        let (status, body) = match collect(&app, request.uri().path()).await {
            Ok(body) => (200, body.into()),
            Err(error) => (502, error.to_string().into_bytes()),
        };
        let response =
            Response::builder().status(status).header(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*").body(body);
        responder.respond(response.unwrap_or_default());
    });
}

async fn collect(app: &AppHandle, path: &str) -> BoxedResult<Bytes> {
    Ok(send(app, path).await?.into_body().collect().await?.to_bytes())
}

async fn send(app: &AppHandle, path: &str) -> BoxedResult<Response<Incoming>> {
    let sidecar = app.pillion().sidecar("socket").map_err(|failure| failure.message)?;
    let access = sidecar.access().await.map_err(|failure| failure.message)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(access.connect().await?)).await?;
    async_runtime::spawn(connection);
    let token = access.token.as_ref().map(Token::reveal).unwrap_or_default();
    let request = Request::get(path)
        .header(header::HOST, access.listen_addr().authority())
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .body(Empty::<Bytes>::new())?;
    Ok(sender.send_request(request).await?)
}
