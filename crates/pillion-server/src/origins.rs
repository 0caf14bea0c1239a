//! The origins whose pages may call the sidecar, and CORS for them.

use axum::{
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode, Uri,
        header::{
            ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
            ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, VARY,
        },
    },
    response::{IntoResponse, Response},
};
use pillion_protocol::{announcement::parse_port, environment::TAURI_ORIGINS};

use crate::Error;

/// How many seconds a browser may cache the answer to a preflight. Chromium caps it at two hours, Safari at ten minutes.
const PREFLIGHT_AGE: &str = "7200";

/// The origins whose pages may call: those that the host named, or Tauri's own if the host named none.
pub(crate) fn allowed(named: Option<&[String]>) -> Result<Vec<String>, Error> {
    let Some(named) = named else { return Ok(TAURI_ORIGINS.map(str::to_owned).into()) };
    named
        .iter()
        .filter(|origin| !origin.is_empty())
        .map(|origin| check(origin).map(|()| origin.clone()))
        .collect()
}

/// Lets the page of `origin` read the response. The caller has checked that the origin is allowed. `Vary` tells caches that the
/// response depends on the origin.
pub(crate) fn allow_reading(origin: Option<HeaderValue>, mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.append(VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
    response
}

/// The positive answer to a preflight of the app (<https://fetch.spec.whatwg.org/#cors-preflight-fetch>). It allows every
/// requested method and header, because the router decides which requests of the app it accepts.
///
/// Older Chromium versions ask with a header of the preflight whether a public page may reach a private network; newer ones
/// ask the user instead (<https://developer.chrome.com/blog/local-network-access>). WebView2 exists in many versions, so this
/// function answers that header too.
pub(crate) fn preflight(asked: &HeaderMap) -> Response {
    const PRIVATE_NETWORK: &str = "access-control-request-private-network";
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(PREFLIGHT_AGE));
    for (question, answer) in [
        (ACCESS_CONTROL_REQUEST_METHOD, ACCESS_CONTROL_ALLOW_METHODS),
        (ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_ALLOW_HEADERS),
    ] {
        headers.extend(asked.get(question).map(|value| (answer, value.clone())));
    }
    if asked.get(PRIVATE_NETWORK).is_some_and(|value| value == "true") {
        let answer = HeaderName::from_static("access-control-allow-private-network");
        headers.insert(answer, HeaderValue::from_static("true"));
    }
    response
}

/// Checks that `origin` is an origin as browsers write it (RFC 6454, section 6.1): no path, no wildcard, and not `null`, which
/// all sandboxed pages share.
fn check(origin: &str) -> Result<(), Error> {
    let invalid = || Error::Origin(origin.to_owned());
    let uri: Uri = origin.parse().map_err(|_| invalid())?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return Err(invalid()) };
    let canonical = format!("{scheme}://{authority}").to_ascii_lowercase();
    let host = authority.host();
    // `None` if user information precedes the host.
    let port = authority.as_str().strip_prefix(host);
    let is_port =
        |port: &str| port.strip_prefix(':').is_some_and(|digits| parse_port(digits.as_bytes()).is_some());
    if canonical != origin
        || !scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        || host.is_empty()
        || host.contains('*')
        || !port.is_some_and(|port| port.is_empty() || is_port(port))
    {
        return Err(invalid());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_of_scheme_host_and_port_is_valid() {
        for origin in TAURI_ORIGINS.into_iter().chain(["http://localhost:1420", "http://[::1]:1420"]) {
            assert!(check(origin).is_ok(), "{origin}");
        }
    }

    #[test]
    fn an_entry_that_is_not_the_origin_of_one_site_is_invalid() {
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
            "://localhost:1420",
            "1http://localhost",
            "http://:1420",
            "http://localhost:",
            "http://localhost:080",
            "http://localhost:99999",
        ] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn empty_entries_of_the_list_are_skipped() {
        let list = |entries: &[&str]| {
            allowed(Some(&entries.iter().map(|&entry| entry.to_owned()).collect::<Vec<_>>()))
        };
        assert_eq!(list(&["", "tauri://localhost"]).unwrap(), ["tauri://localhost"]);
        assert_eq!(list(&[""]).unwrap(), [""; 0]);
        assert!(list(&["tauri://localhost", "*"]).is_err());
    }
}
