//! Which pages may read the answers: CORS for the app's own origins, and for no others.

use std::time::Duration;

use axum::http::{HeaderValue, Uri};
use pillion_protocol::environment::TAURI_ORIGINS;
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer};

use crate::Error;

/// How long a page may remember a preflight's answer. Browsers cap it: Chromium at two hours, Safari at ten minutes.
const PREFLIGHT_AGE: Duration = Duration::from_secs(2 * 60 * 60);

/// CORS for `allowed`, or for Tauri's own origins where the host named none.
///
/// A page of another origin gets its answer without the headers that would let it read it. Methods and headers are
/// mirrored: what a page of the app may send is the router's business.
pub(crate) fn layer(allowed: Option<&[String]>) -> Result<CorsLayer, Error> {
    let origins = match allowed {
        Some(list) => list
            .iter()
            .filter(|origin| !origin.is_empty())
            .map(|o| parse(o))
            .collect::<Result<Vec<_>, _>>()?,
        None => TAURI_ORIGINS.map(HeaderValue::from_static).into(),
    };
    Ok(CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods(AllowMethods::mirror_request())
        .allow_headers(AllowHeaders::mirror_request())
        .max_age(PREFLIGHT_AGE))
}

/// An origin as browsers write it (RFC 6454, section 6.1): no path, no wildcard, and not the `null` that every
/// sandboxed page shares.
fn parse(origin: &str) -> Result<HeaderValue, Error> {
    let refused = || Error::Origin(origin.to_owned());
    let uri: Uri = origin.parse().map_err(|_| refused())?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return Err(refused()) };
    let canonical = format!("{scheme}://{authority}").to_ascii_lowercase();
    if canonical != origin || authority.as_str().contains(['*', '@']) {
        return Err(refused());
    }
    HeaderValue::from_str(origin).map_err(|_| refused())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        for origin in TAURI_ORIGINS.into_iter().chain(["http://localhost:1420", "http://[::1]:1420"]) {
            assert_eq!(parse(origin).unwrap(), origin);
        }
    }

    #[test]
    fn what_no_page_sends_or_every_page_may_send_is_refused() {
        for wrong in [
            "*",
            "null",
            "localhost:1420",
            "http://localhost:1420/",
            "http://localhost/path",
            "http://*.example.org",
            "http://user@localhost",
            "HTTP://LOCALHOST",
            "tauri://",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn gaps_in_the_list_are_no_origins() {
        assert!(layer(Some(&["".into(), "tauri://localhost".into()])).is_ok());
        assert!(layer(Some(&["tauri://localhost".into(), "*".into()])).is_err());
    }
}
