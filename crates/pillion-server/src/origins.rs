//! Which pages may call, by the list of their origins, and CORS for them.

use axum::{
    http::{
        HeaderMap, HeaderName, HeaderValue, Uri,
        header::{
            ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
            ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, VARY,
        },
    },
    response::Response,
};
use pillion_protocol::{announcement::parse_port, environment::TAURI_ORIGINS};

use crate::Error;

/// How many seconds a page may remember a preflight's answer. Browsers cap it: Chromium at two hours, Safari at ten minutes.
const PREFLIGHT_AGE: &str = "7200";

/// The origins whose pages may call: those that the host named, or Tauri's own where it named none.
pub(crate) fn allowed(named: Option<&[String]>) -> Result<Vec<String>, Error> {
    let Some(named) = named else { return Ok(TAURI_ORIGINS.map(str::to_owned).into()) };
    named
        .iter()
        .filter(|origin| !origin.is_empty())
        .map(|origin| parse(origin).map(|()| origin.clone()))
        .collect()
}

/// Lets the page of `origin`, which is one of the app's, read the answer. Everybody else did not come as far as this, and is
/// only told that other pages get other answers.
pub(crate) fn readable(origin: Option<HeaderValue>, mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.append(VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
    response
}

/// The answer to a preflight of the app (<https://fetch.spec.whatwg.org/#cors-preflight-fetch>): yes. Methods and headers are
/// mirrored, because what a page of the app may send is the router's business.
///
/// Chromium asked servers whether public pages may reach private networks by a header of their preflights, until it asked
/// the user instead (<https://developer.chrome.com/blog/local-network-access>). WebView2 comes in many versions, so it is
/// answered.
pub(crate) fn preflight(asked: &HeaderMap) -> Response {
    const PRIVATE_NETWORK: &str = "access-control-request-private-network";
    let mut response = Response::default();
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

/// An origin as browsers write it (RFC 6454, section 6.1): no path, no wildcard, and not the `null` that every
/// sandboxed page shares.
fn parse(origin: &str) -> Result<(), Error> {
    let refused = || Error::Origin(origin.to_owned());
    let uri: Uri = origin.parse().map_err(|_| refused())?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return Err(refused()) };
    let canonical = format!("{scheme}://{authority}").to_ascii_lowercase();
    let host = authority.host();
    // With user information in front, nothing is left.
    let port = authority.as_str().strip_prefix(host);
    let is_port =
        |port: &str| port.strip_prefix(':').is_some_and(|digits| parse_port(digits.as_bytes()).is_some());
    if canonical != origin
        || !scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        || host.is_empty()
        || host.contains('*')
        || !port.is_some_and(|port| port.is_empty() || is_port(port))
    {
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
            "://localhost:1420",
            "1http://localhost",
            "http://:1420",
            "http://localhost:",
            "http://localhost:080",
            "http://localhost:99999",
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
