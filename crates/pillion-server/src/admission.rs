//! The gate in front of the router: who is let in, with how much, and what everybody else is told.
//!
//! It decides by the head of a request alone ([`Admission`]), before anything of the body is read.

use axum::{
    Router,
    body::{Body, HttpBody},
    extract::DefaultBodyLimit,
    http::{
        HeaderName, HeaderValue, Request, StatusCode,
        header::{
            ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, ORIGIN,
            SEC_WEBSOCKET_PROTOCOL, UPGRADE, WWW_AUTHENTICATE,
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

use crate::{Limits, Shutdown, origins};

/// All that a stranger learns of health.
const ALIVE: &str = r#"{"status":"ok"}"#;

/// A router that answers the app alone.
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

    /// Answers a request. Dropped with its connection, it drops the handler, too.
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Response {
        let (parts, body) = request.into_parts();
        let origin = parts.headers.get(ORIGIN).cloned();
        let response = match self.admission.decide(&head(&parts)) {
            Decision::Serve => self.serve(parts, body).await,
            Decision::Preflight => origins::preflight(&parts.headers),
            Decision::Alive => self.alive(&parts),
            Decision::Unauthorized => {
                let says = "this server answers requests with the token of its run\n";
                (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")], says).into_response()
            }
            Decision::Refuse(refusal) => {
                tracing::debug!(%refusal, "refused a request");
                let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::FORBIDDEN);
                return (status, format!("{refusal}\n")).into_response();
            }
        };
        // By now it is a page of the app, if it is a page.
        origins::readable(origin, response)
    }

    async fn serve(&self, mut parts: Parts, body: Incoming) -> Response {
        let Limits { body: most, answer: patience, .. } = self.limits;
        if body.size_hint().lower() > most as u64 {
            let says = format!("this server takes bodies of up to {most} bytes\n");
            return (StatusCode::PAYLOAD_TOO_LARGE, says).into_response();
        }
        let choose = hide_token(&mut parts, self.admission.token().is_some());
        parts.extensions.insert(self.shutdown.clone());
        let mut request = Request::from_parts(parts, Body::new(Limited::new(body, most)));
        // What extractors read is limited by axum as well, to 2 MB: here one limit is enough.
        DefaultBodyLimit::max(most).apply(&mut request);
        let answer = self.router.call(request);
        let answered = match patience {
            None => answer.await,
            Some(patience) => match timeout(patience, answer).await {
                Ok(answered) => answered,
                Err(_) => {
                    let says = format!("this server found no answer within {patience:?}\n");
                    return (StatusCode::SERVICE_UNAVAILABLE, says).into_response();
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
        let challenge = parts.headers.get(CHALLENGE_HEADER).map(|value| Challenge::read(value.as_bytes()));
        if let (Some(token), Some(Some(challenge))) = (self.admission.token(), challenge) {
            let proof = HeaderValue::try_from(token.prove(self.addr, challenge));
            response
                .headers_mut()
                .extend(proof.ok().map(|proof| (HeaderName::from_static(PROOF_HEADER), proof)));
        }
        response
    }
}

fn head(parts: &Parts) -> Head<'_> {
    let field = |name| parts.headers.get_all(name).iter().map(HeaderValue::as_bytes).collect::<Field<'_>>();
    Head {
        method: parts.method.as_str(),
        scheme: parts.uri.scheme_str(),
        authority: parts.uri.authority().map(axum::http::uri::Authority::as_str),
        path: parts.uri.path(),
        host: field(HOST),
        origin: field(ORIGIN),
        authorization: field(AUTHORIZATION),
        requested_method: field(ACCESS_CONTROL_REQUEST_METHOD),
        upgrade: field(UPGRADE),
        subprotocols: field(SEC_WEBSOCKET_PROTOCOL),
    }
}

/// Takes the token out of a request, so that no handler and no middleware can log it. Returns whether [`SUBPROTOCOL`] is
/// to be chosen unless the handler chooses another.
fn hide_token(parts: &mut Parts, given: bool) -> bool {
    if given {
        parts.headers.remove(AUTHORIZATION);
    }
    if !parts.headers.contains_key(SEC_WEBSOCKET_PROTOCOL) {
        return false;
    }
    let lines: Vec<_> =
        parts.headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().map(HeaderValue::as_bytes).collect();
    let (own, choose) = without_bearer(&lines.join(b",".as_slice()));
    parts.headers.remove(SEC_WEBSOCKET_PROTOCOL);
    // Made of pieces of header values, it is one.
    if let Some(own) = HeaderValue::from_bytes(&own).ok().filter(|own| !own.is_empty()) {
        parts.headers.insert(SEC_WEBSOCKET_PROTOCOL, own);
    }
    choose
}
