//! The content security policy of the page, which must allow requests to the sidecar's port.

use serde_json::Value;

/// The source of a sidecar on any port: the policy cannot name a port that is not known yet.
const SOURCE: &str = "http://127.0.0.1:*";
/// The same for WebSockets, which a source with `http:` does not cover (<https://www.w3.org/TR/CSP3/#match-schemes>).
const WEB_SOCKETS: &str = "ws://127.0.0.1:*";
/// What the page needs to call the app: <https://v2.tauri.app/security/csp/>.
const IPC: [&str; 2] = ["ipc:", "http://ipc.localhost"];
const CONNECT: &str = "connect-src";
const DEFAULT: &str = "default-src";

/// The change of a policy: `connect-src` gets this value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    /// The whole policy, if it is one string.
    pub(super) text: Option<String>,
    /// The new sources of `connect-src`.
    pub(super) connect: Vec<String>,
}

/// What a policy lacks; `None` if it allows the requests already, or restricts none.
///
/// A policy without `connect-src` uses `default-src` for connections. It then gets a `connect-src` with these sources.
pub(super) fn change(policy: &Value) -> Option<Change> {
    let directives = directives(policy)?;
    let of = |wanted: &str| directives.iter().find(|(name, _)| name == wanted).map(|(_, sources)| sources);
    let (mut connect, new) = match (of(CONNECT), of(DEFAULT)) {
        (Some(connect), _) => (connect.clone(), false),
        (None, Some(default)) => (default.clone(), true),
        (None, None) => return None,
    };
    connect.retain(|source| source != "'none'");
    let any = |allows: fn(&str) -> bool| connect.iter().any(|source| allows(source));
    let sockets = any(allows_web_sockets_here).then_some(WEB_SOCKETS);
    let port = (!any(allows)).then_some(SOURCE);
    let ipc = IPC.into_iter().filter(|_| !any(|source| source == "*"));
    let wanted: Vec<_> = ipc.chain(port).chain(sockets).map(str::to_owned).collect();
    let missing: Vec<_> = wanted.into_iter().filter(|source| !connect.contains(source)).collect();
    if missing.is_empty() {
        return None;
    }
    connect.extend(missing);
    let text = policy.as_str().map(|policy| rewrite(policy, &connect.join(" "), new));
    Some(Change { text, connect })
}

/// Whether a source covers every port of 127.0.0.1. A source without a port means port 80 alone
/// (<https://www.w3.org/TR/CSP3/#match-ports>).
fn allows(source: &str) -> bool {
    matches!(source, SOURCE | "*" | "http:" | "http://*:*")
}

/// Whether a source is for WebSockets of a port of this machine, so that the page opens such: the sidecar's port will be another one.
fn allows_web_sockets_here(source: &str) -> bool {
    ["ws://localhost:", "ws://127.0.0.1:"].iter().any(|start| source.starts_with(start))
}

/// The directives of a policy, which is a string or an object.
fn directives(policy: &Value) -> Option<Vec<(String, Vec<String>)>> {
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    match policy {
        Value::String(policy) => Some(
            policy
                .split(';')
                .filter_map(|directive| {
                    let mut words = words(directive).into_iter();
                    Some((words.next()?.to_ascii_lowercase(), words.collect()))
                })
                .collect(),
        ),
        Value::Object(directives) => Some(
            directives
                .iter()
                .map(|(name, sources)| {
                    let sources = match sources {
                        Value::String(sources) => words(sources),
                        Value::Array(list) => {
                            list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
                        }
                        _ => Vec::new(),
                    };
                    (name.clone(), sources)
                })
                .collect(),
        ),
        _ => None,
    }
}

/// Replaces or adds `connect-src` in a policy of one string, and leaves the other directives as they are.
fn rewrite(policy: &str, connect: &str, new: bool) -> String {
    if new {
        let policy = policy.trim_end().trim_end_matches(';');
        return format!("{policy}; {CONNECT} {connect}");
    }
    let replaced = policy.split(';').map(|directive| {
        let name = directive.split_whitespace().next().unwrap_or_default();
        if !name.eq_ignore_ascii_case(CONNECT) {
            return directive.to_owned();
        }
        let space = &directive[..directive.len() - directive.trim_start().len()];
        format!("{space}{name} {connect}")
    });
    replaced.collect::<Vec<_>>().join(";")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_policy_that_restricts_no_connection_stays() {
        for policy in [
            json!(null),
            json!("img-src 'self'"),
            json!("default-src 'self'; connect-src 'self' ipc: http://ipc.localhost http://127.0.0.1:*"),
            json!("default-src *"),
            json!("connect-src ipc: http://ipc.localhost http: ws:"),
            json!({ "connect-src": ["http://127.0.0.1:*", "http://ipc.localhost", "ipc:"] }),
        ] {
            assert_eq!(change(&policy), None, "{policy}");
        }
    }

    #[test]
    fn the_source_is_added_to_a_string() {
        for (policy, expected) in [
            (
                "default-src 'self'; connect-src ipc: http://ipc.localhost; img-src *",
                "default-src 'self'; connect-src ipc: http://ipc.localhost http://127.0.0.1:*; img-src *",
            ),
            ("connect-src 'none'", "connect-src ipc: http://ipc.localhost http://127.0.0.1:*"),
            ("connect-src http://127.0.0.1:*", "connect-src http://127.0.0.1:* ipc: http://ipc.localhost"),
            (
                "default-src 'self'; img-src *;",
                "default-src 'self'; img-src *; connect-src 'self' ipc: http://ipc.localhost http://127.0.0.1:*",
            ),
            (
                "connect-src http://localhost:3001 ws://localhost:3001",
                "connect-src http://localhost:3001 ws://localhost:3001 ipc: http://ipc.localhost http://127.0.0.1:* ws://127.0.0.1:*",
            ),
        ] {
            let change = change(&json!(policy)).unwrap();
            assert_eq!(change.text.as_deref(), Some(expected));
            assert_eq!(super::change(&json!(expected)), None, "a second run changes nothing");
        }
    }

    #[test]
    fn the_source_is_added_to_an_object() {
        let change = change(&json!({ "default-src": "'self' customprotocol:", "img-src": ["*"] })).unwrap();
        assert_eq!(change.text, None);
        let expected = ["'self'", "customprotocol:", "ipc:", "http://ipc.localhost", "http://127.0.0.1:*"];
        assert_eq!(change.connect, expected);
    }
}
