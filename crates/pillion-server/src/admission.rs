//! The admission layer in front of the router: it checks each request, limits its body, and answers those that it refuses.
//!
//! It decides from the head of a request alone ([`Admission`]), before it reads any of the body.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, HttpBody},
    extract::DefaultBodyLimit,
    http::{
        HeaderName, HeaderValue, Request, StatusCode,
        header::{
            ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HOST,
            ORIGIN, PROXY_AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL, UPGRADE, WWW_AUTHENTICATE,
        },
        request::Parts,
    },
    response::{IntoResponse, Response},
};
use http_body_util::Limited;
use hyper::{body::Incoming, service::Service};
use hyper_util::service::TowerToHyperService;
use pillion_protocol::{
    Admission, Challenge, Decision, ListenAddr,
    admission::{Field, Head, SUBPROTOCOL, without_bearer},
    token::{CHALLENGE_HEADER, PROOF_HEADER},
};
use tokio::time::timeout;

use crate::{
    Limits, Shutdown,
    client_stream::{ExchangeState, TrackedRequestBody},
    origins,
    pool::Slot,
};

/// The health body for a client without the token.
const ALIVE: &str = r#"{"status":"ok"}"#;

/// A router behind admission: only requests from the app reach it.
#[derive(Debug)]
pub(crate) struct AdmissionLayer {
    admission: Admission,
    addr: ListenAddr,
    limits: Limits,
    shutdown: Shutdown,
    router: TowerToHyperService<Router>,
}

impl AdmissionLayer {
    pub(crate) fn new(
        admission: Admission,
        addr: ListenAddr,
        limits: Limits,
        shutdown: Shutdown,
        router: Router,
    ) -> Self {
        Self { admission, addr, limits, shutdown, router: TowerToHyperService::new(router) }
    }

    /// Answers one request. The connection owns the future: when the connection ends, the handler is dropped.
    ///
    /// A refusal closes a connection that has not shown the token, so that further refused requests cannot hold it.
    pub(crate) async fn answer(
        &self,
        request: Request<Incoming>,
        exchange: &Arc<ExchangeState>,
        slot: &Slot,
    ) -> Response {
        let (parts, body) = request.into_parts();
        let origin = parts.headers.get(ORIGIN).cloned();
        let response = match self.admission.decide(&head(&parts)) {
            Decision::Serve => {
                slot.authorize();
                if self.admission.token().is_some() {
                    exchange.show_token();
                }
                self.serve(parts, body, exchange).await
            }
            Decision::Preflight => origins::preflight(&parts.headers),
            Decision::Alive => self.alive(&parts),
            Decision::Unauthorized => {
                let text = "this server needs the token of its run as a bearer token\n";
                let refused = (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")], text);
                close_unauthorized(refused.into_response(), exchange, slot)
            }
            Decision::Refuse(refusal) => {
                tracing::debug!(%refusal, "refused a request");
                let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::FORBIDDEN);
                let refused = (status, format!("{refusal}\n")).into_response();
                return close_unauthorized(refused, exchange, slot);
            }
            // `Decision` may gain variants: an unknown one must not reach a handler.
            _ => return close_unauthorized(StatusCode::FORBIDDEN.into_response(), exchange, slot),
        };
        // Admission has accepted the origin, if the request has one.
        origins::allow_reading(origin, response)
    }

    async fn serve(&self, mut parts: Parts, body: Incoming, exchange: &Arc<ExchangeState>) -> Response {
        let Limits { body_bytes, response_timeout, .. } = self.limits;
        if body.size_hint().lower() > body_bytes as u64 {
            let text = format!("the body exceeds this server's limit of {body_bytes} bytes\n");
            return (StatusCode::PAYLOAD_TOO_LARGE, text).into_response();
        }
        let choose = hide_token(&mut parts, self.admission.token().is_some());
        parts.extensions.insert(self.shutdown.clone());
        let body = TrackedRequestBody::new(body, Arc::clone(exchange));
        let mut request = Request::from_parts(parts, Body::new(Limited::new(body, body_bytes)));
        // axum limits extractors to 2 MB by default. Here one limit holds for extractors and streams.
        DefaultBodyLimit::max(body_bytes).apply(&mut request);
        let answer = self.router.call(request);
        let answered = match response_timeout {
            None => answer.await,
            Some(longest) => match timeout(longest, answer).await {
                Ok(answered) => answered,
                Err(_) => {
                    let text = format!("the handler did not respond within {longest:?}\n");
                    return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
                }
            },
        };
        let Ok(mut response) = answered;
        if choose && response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let chosen = response.headers_mut().entry(SEC_WEBSOCKET_PROTOCOL);
            chosen.or_insert(HeaderValue::from_static(SUBPROTOCOL));
        }
        response
    }

    fn alive(&self, parts: &Parts) -> Response {
        let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")];
        let mut response = (headers, ALIVE).into_response();
        // Two are invalid, as two tokens are: the host sends one.
        let mut challenges = parts.headers.get_all(CHALLENGE_HEADER).iter();
        let only = challenges.next().filter(|_| challenges.next().is_none());
        let challenge = only.and_then(|value| Challenge::read(value.as_bytes()));
        if let (Some(token), Some(challenge)) = (self.admission.token(), challenge) {
            let proof = HeaderValue::try_from(token.prove(self.addr, challenge));
            response
                .headers_mut()
                .extend(proof.ok().map(|proof| (HeaderName::from_static(PROOF_HEADER), proof)));
        }
        response
    }
}

/// Lets a refusal end its connection, unless the connection has shown the token before.
fn close_unauthorized(mut response: Response, exchange: &ExchangeState, slot: &Slot) -> Response {
    if !slot.is_authorized() {
        exchange.close();
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn head(parts: &Parts) -> Head<'_> {
    let field = |name| parts.headers.get_all(name).iter().map(HeaderValue::as_bytes).collect::<Field<'_>>();
    let mut head = Head::new(parts.method.as_str(), parts.uri.path());
    head.scheme = parts.uri.scheme_str();
    head.authority = parts.uri.authority().map(axum::http::uri::Authority::as_str);
    head.host = field(HOST);
    head.origin = field(ORIGIN);
    head.authorization = field(AUTHORIZATION);
    head.requested_method = field(ACCESS_CONTROL_REQUEST_METHOD);
    head.upgrade = field(UPGRADE);
    head.subprotocols = field(SEC_WEBSOCKET_PROTOCOL);
    head
}

/// Removes the token from a request, so that no handler and no middleware can log it. Returns whether the response has to
/// choose [`SUBPROTOCOL`] if the handler chooses none.
fn hide_token(parts: &mut Parts, has_token: bool) -> bool {
    // Credentials for a proxy (RFC 9110, section 11.7.2), which no handler needs.
    parts.headers.remove(PROXY_AUTHORIZATION);
    if has_token {
        parts.headers.remove(AUTHORIZATION);
    }
    if !parts.headers.contains_key(SEC_WEBSOCKET_PROTOCOL) {
        return false;
    }
    let lines: Vec<_> =
        parts.headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().map(HeaderValue::as_bytes).collect();
    let (own, choose) = without_bearer(&lines.join(b",".as_slice()));
    parts.headers.remove(SEC_WEBSOCKET_PROTOCOL);
    // Parts of header values are a valid header value.
    if let Some(own) = HeaderValue::from_bytes(&own).ok().filter(|own| !own.is_empty()) {
        parts.headers.insert(SEC_WEBSOCKET_PROTOCOL, own);
    }
    choose
}
