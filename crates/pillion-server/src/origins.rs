//! Which pages may call: those of the app, by the list of their origins.

use std::time::Duration;

use axum::http::{HeaderValue, Uri};
use pillion_protocol::environment::TAURI_ORIGINS;
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer};

use crate::Error;

/// How long a page may remember a preflight's answer. Browsers cap it: Chromium at two hours, Safari at ten minutes.
const PREFLIGHT_AGE: Duration = Duration::from_secs(2 * 60 * 60);

/// The origins whose pages may call: those that the host named, or Tauri's own where it named none.
pub(crate) fn allowed(named: Option<&[String]>) -> Result<Vec<String>, Error> {
    let Some(named) = named else { return Ok(TAURI_ORIGINS.map(str::to_owned).into()) };
    named
        .iter()
        .filter(|origin| !origin.is_empty())
        .map(|origin| parse(origin).map(|()| origin.clone()))
        .collect()
}

/// CORS for these origins; pages of others do not come as far as this. Methods and headers are mirrored: what a page of
/// the app may send is the router's business.
///
/// Chromium asked servers whether public pages may reach private networks by a header of their preflights, until it asked
/// the user instead (<https://developer.chrome.com/blog/local-network-access>). WebView2 comes in many versions, so it is
/// answered.
pub(crate) fn layer(allowed: &[String]) -> CorsLayer {
    let origins = allowed.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods(AllowMethods::mirror_request())
        .allow_headers(AllowHeaders::mirror_request())
        .allow_private_network(true)
        .max_age(PREFLIGHT_AGE)
}

/// An origin as browsers write it (RFC 6454, section 6.1): no path, no wildcard, and not the `null` that every
/// sandboxed page shares.
fn parse(origin: &str) -> Result<(), Error> {
    let refused = || Error::Origin(origin.to_owned());
    let uri: Uri = origin.parse().map_err(|_| refused())?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return Err(refused()) };
    let canonical = format!("{scheme}://{authority}").to_ascii_lowercase();
    if canonical != origin || authority.as_str().contains(['*', '@']) {
        return Err(refused());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        for origin in TAURI_ORIGINS.into_iter().chain(["http://localhost:1420", "http://[::1]:1420"]) {
            assert!(parse(origin).is_ok(), "{origin}");
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
        let list = |entries: &[&str]| {
            allowed(Some(&entries.iter().map(|&entry| entry.to_owned()).collect::<Vec<_>>()))
        };
        assert_eq!(list(&["", "tauri://localhost"]).unwrap(), ["tauri://localhost"]);
        assert_eq!(list(&[""]).unwrap(), [""; 0]);
        assert!(list(&["tauri://localhost", "*"]).is_err());
    }
}
