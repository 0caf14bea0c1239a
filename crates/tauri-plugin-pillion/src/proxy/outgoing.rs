//! What the proxy sends to a run of a sidecar: which requests of a page, and with which headers.

use std::{future::Future, sync::Arc};

use http_body_util::Full;
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode, Uri,
    body::Bytes,
    header::{self, HeaderName, HeaderValue},
};
use pillion::{Access, Failure, Supervisor};

use super::upload::{self, UploadBody};
use crate::desktop::{
    command_error::CommandError,
    http_pool::{HttpPool, ResponseBody},
    ipc_message::RequestHead,
};

/// Headers that a page must not set: the HTTP client sets them, or they are about the connection and not the request (RFC 9110,
/// section 7.6.1). `fetch` forbids them too: <https://fetch.spec.whatwg.org/#forbidden-request-header>.
pub(super) const FORBIDDEN_HEADERS: [HeaderName; 11] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::HOST,
    header::ORIGIN,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

/// The methods of which a request usually has a body.
const EXPECTS_BODY: [Method; 3] = [Method::POST, Method::PUT, Method::PATCH];

/// The response of the current run, or of the next one.
pub(super) async fn send_to_run(
    pool: &Arc<HttpPool>,
    supervisor: &Supervisor,
    request: Request<Full<Bytes>>,
) -> Result<Response<ResponseBody>, CommandError> {
    let mut access = supervisor.access().await?;
    loop {
        let authorized = authorize(request.clone(), &access)?;
        let response = pool.send(&access, &authorized).await.map_err(CommandError::no_response)?;
        match later_run(|| supervisor.access(), &access, response.status()).await? {
            Some(later) => access = later,
            None => return Ok(response),
        }
    }
}

/// The current run, if it is a later one than `access`, and has rejected the token of that: on a listener that survives a restart, the later
/// run may answer. The request then had no effect, and may be sent again. `current` is [`Supervisor::access`].
pub(super) async fn later_run<F>(
    current: impl Fn() -> F,
    access: &Access,
    status: StatusCode,
) -> Result<Option<Access>, CommandError>
where
    F: Future<Output = Result<Access, Failure>>,
{
    if status != StatusCode::UNAUTHORIZED {
        return Ok(None);
    }
    let current = current().await?;
    Ok((current.token != access.token).then_some(current))
}

/// As [`send_to_run`], for a body that can be sent only once: `None` if the next run rejected the token of the last one. The page sends it
/// again if it can.
pub(super) async fn send_upload(
    supervisor: &Supervisor,
    request: Request<UploadBody>,
) -> Result<Option<Response<ResponseBody>>, CommandError> {
    let access = supervisor.access().await?;
    let response = upload::send(&access, authorize(request, &access)?).await;
    let response = response.map_err(CommandError::no_response)?;
    let later = later_run(|| supervisor.access(), &access, response.status()).await?;
    Ok(later.is_none().then_some(response))
}

pub(super) fn parse(head: RequestHead, body: Bytes) -> Result<Request<Full<Bytes>>, CommandError> {
    let RequestHead { method, path, headers, upload, .. } = head;
    let method = Method::try_from(method.as_str()).map_err(CommandError::no_response)?;
    // CONNECT would redirect the connection, and TRACE and TRACK would echo the token (RFC 9110, sections 9.3.6 and 9.3.8).
    // Some servers ignore the case. `fetch` forbids them too: <https://fetch.spec.whatwg.org/#forbidden-method>.
    if ["CONNECT", "TRACE", "TRACK"].iter().any(|name| method.as_str().eq_ignore_ascii_case(name)) {
        return Err(CommandError::no_response(format!("a page may not send {method}")));
    }
    if !path.starts_with('/') {
        return Err(CommandError::no_response(format!("a path begins with a slash, and {path:?} does not")));
    }
    let mut headers = headers.parse().map_err(CommandError::no_response)?;
    if let Some(name) = FORBIDDEN_HEADERS.iter().find(|name| headers.contains_key(*name)) {
        return Err(CommandError::no_response(format!("a page may not set the header {name}")));
    }
    if body.is_empty() && EXPECTS_BODY.contains(&method) && !upload {
        // hyper sends no length of an empty body. Some servers then answer with 411 (RFC 9110, section 8.6); `fetch` sends it too:
        // <https://fetch.spec.whatwg.org/#http-network-or-cache-fetch>, step 8.5.
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = Uri::try_from(path).map_err(CommandError::no_response)?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// Adds the `Host` and the token of this run.
pub(super) fn authorize<B>(mut request: Request<B>, access: &Access) -> Result<Request<B>, CommandError> {
    let headers: &mut HeaderMap = request.headers_mut();
    let host = HeaderValue::try_from(access.listen_addr().authority()).map_err(CommandError::no_response)?;
    headers.insert(header::HOST, host);
    if let Some(token) = &access.token {
        let bearer = HeaderValue::try_from(format!("Bearer {}", token.reveal()));
        let mut bearer = bearer.map_err(CommandError::no_response)?;
        bearer.set_sensitive(true);
        if headers.insert(header::AUTHORIZATION, bearer).is_some() {
            return Err(CommandError::no_response(
                "Authorization carries the sidecar's token: send your own credentials in another header",
            ));
        }
    }
    Ok(request)
}
