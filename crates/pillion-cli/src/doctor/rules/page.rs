//! What the page may do: capabilities and the content security policy.

use pillion::{Listen, Transport};
use pillion_config::{Config, SidecarConfig};
use serde_json::Value;

use super::{
    super::{
        catalogue::{CSP_CONNECT, CSP_IPC, PERMISSION, SCOPE},
        report::{Finding, Fix},
    },
    declaration::place,
    dependencies::PACKAGE,
    files::{Source, names_sidecar},
};
use crate::project::{
    Capability, MergedConfig, PermissionEntry, Project, first_window_label, grants, narrowed, usual,
};

const DEFAULT: &str = "pillion:default";
const WATCH: &str = "pillion:allow-watch";
const CONNECT: &str = "pillion:allow-connect";
const FETCH: &str = "pillion:allow-fetch";

pub(in super::super) fn check(
    project: &Project,
    config: &MergedConfig<'_>,
    declared: &Config,
    sources: &[Source],
    found: &mut Vec<Finding>,
) {
    let capabilities = match project.capabilities(config.platform) {
        Ok(capabilities) => capabilities,
        Err(error) => {
            found.push(Finding::new(&SCOPE, Project::shown(&error.path), error.to_string()));
            return;
        }
    };
    scopes(&capabilities, declared, sources, found);
    let rights: Vec<_> = capabilities
        .iter()
        .filter(|it| it.active && it.local && !(it.windows.is_empty() && it.webviews.is_empty()))
        .collect();
    let uses_package = project.front_end.as_ref().is_some_and(|it| it.dependency(PACKAGE).is_some());
    if uses_package {
        let (window, rights) = of_window(config, &rights);
        permissions(project, &window, &rights, declared, found);
    }
    policies(config, &rights, declared, found);
}

/// The rights of the first window, as `pillion init` adds them: another window may have the sidecar besides. An app without a window
/// in its configuration makes its windows in Rust, perhaps under another name: there, all capabilities count.
fn of_window<'a>(config: &MergedConfig<'_>, rights: &[&'a Capability]) -> (String, Vec<&'a Capability>) {
    let label = first_window_label(config);
    let has_windows = config.get(&["app", "windows"]).is_some_and(|windows| windows.get(0).is_some());
    let covering: Vec<_> = rights.iter().copied().filter(|it| it.covers(&label)).collect();
    let rights = if !has_windows && covering.is_empty() { rights.to_vec() } else { covering };
    (label, rights)
}

/// Whether the page may call this sidecar, by one of the two commands.
fn may_call(rights: &[&Capability], name: &str, sidecar: &SidecarConfig) -> bool {
    grants(rights, &[FETCH], name)
        || sidecar.transport() != Transport::Local && grants(rights, &[CONNECT], name)
}

fn permissions(
    project: &Project,
    window: &str,
    rights: &[&Capability],
    declared: &Config,
    found: &mut Vec<Finding>,
) {
    for (name, identifiers) in missing_permissions(rights, declared) {
        let lack = format!(
            "no active capability of the window {window:?} grants {} for the sidecar {name:?}",
            identifiers.join(" and ")
        );
        let scoped = identifiers.iter().find_map(|identifier| narrowed(rights, identifier, name));
        found.push(match scoped {
            Some((capability, entry)) => narrowed_permission(lack, name, capability, entry),
            None => absent_permission(lack, project, rights, identifiers),
        });
    }
}

/// What the page needs and has not: permissions for each sidecar.
fn missing_permissions<'a>(
    rights: &[&Capability],
    declared: &'a Config,
) -> Vec<(&'a str, Vec<&'static str>)> {
    let callable: Vec<_> =
        declared.sidecars.iter().filter(|(_, sidecar)| !sidecar.has_no_address()).collect();
    let may_watch = |name: &str| grants(rights, &[DEFAULT, WATCH], name);
    let mut missing: Vec<(&str, Vec<&'static str>)> = Vec::new();
    if callable.iter().any(|(name, sidecar)| may_call(rights, name, sidecar)) {
        // The page calls some sidecars: those that it may call by their permission, which must be complete.
        for (name, sidecar) in callable {
            let may_call = may_call(rights, name, sidecar);
            let by_connect = grants(rights, &[CONNECT], name);
            let only_connect =
                by_connect && sidecar.transport() == Transport::Local && named(rights, CONNECT, name);
            if only_connect && !may_call {
                missing.push((name, vec![FETCH]));
            } else if may_call && !may_watch(name) {
                missing.push((name, vec![DEFAULT]));
            }
        }
    } else if let Some((name, sidecar)) = callable.first() {
        // It calls none: the first one stands for all.
        let call = if sidecar.transport() == Transport::Local { FETCH } else { CONNECT };
        missing.push((name, if may_watch(name) { vec![call] } else { vec![DEFAULT, call] }));
    }
    missing
}

/// A capability has the permission for other sidecars. One without a scope would be for all, and `deny` takes precedence over it.
fn narrowed_permission(
    lack: String,
    name: &str,
    capability: &Capability,
    entry: &PermissionEntry,
) -> Finding {
    let (place, identifier) = (Project::shown(&capability.origin.path), &entry.identifier);
    let capability = &capability.identifier;
    let cure = if entry.denies(name) {
        format!(
            "the capability {capability} denies {identifier} for it, so --fix adds nothing: remove it from `deny`"
        )
    } else {
        format!(
            "the capability {capability} limits {identifier} to some sidecars, so --fix adds nothing: add {{ \"sidecar\": {name:?} }} \
             to the scope, or the permission with this scope"
        )
    };
    Finding::new(&PERMISSION, place, format!("{lack}; {cure}"))
}

/// No capability has the permissions. The fix adds them to one.
fn absent_permission(
    lack: String,
    project: &Project,
    rights: &[&Capability],
    identifiers: Vec<&'static str>,
) -> Finding {
    match usual(rights) {
        None => Finding::new(&PERMISSION, Project::shown(&project.tauri.join("capabilities")), lack),
        Some(target) => {
            let (file, keys) = (target.origin.path.clone(), target.origin.keys.clone());
            Finding::new(&PERMISSION, Project::shown(&file), lack).with_fix(Fix::Permissions {
                file,
                keys,
                identifiers,
            })
        }
    }
}

/// Whether a scope names this sidecar for this permission.
fn named(rights: &[&Capability], identifier: &str, sidecar: &str) -> bool {
    let entries = rights.iter().flat_map(|capability| &capability.permissions);
    entries.into_iter().any(|entry| {
        entry.identifier == identifier && entry.allow.iter().any(|scope| scope["sidecar"] == sidecar)
    })
}

/// Names in scopes that neither the configuration nor the code declares.
fn scopes(capabilities: &[Capability], declared: &Config, sources: &[Source], found: &mut Vec<Finding>) {
    for capability in capabilities {
        let entries = capability.permissions.iter().filter(|entry| entry.identifier.starts_with("pillion:"));
        for PermissionEntry { identifier, allow, deny } in entries {
            for name in allow.iter().chain(deny).filter_map(|scope| scope["sidecar"].as_str()) {
                if !declared.sidecars.contains_key(name) && !names_sidecar(sources, name) {
                    let known: Vec<_> = declared.sidecars.keys().map(String::as_str).collect();
                    found.push(Finding::new(
                        &SCOPE,
                        Project::shown(&capability.origin.path),
                        format!("{identifier} names the sidecar {name:?}; declared: {}", known.join(", ")),
                    ));
                }
            }
        }
    }
}

/// The content security policies of releases and of development.
fn policies(config: &MergedConfig<'_>, rights: &[&Capability], declared: &Config, found: &mut Vec<Finding>) {
    for field in ["csp", "devCsp"] {
        let keys = ["app", "security", field];
        let Some(allowed) = config.get(&keys).and_then(connect_sources) else { continue };
        let place = place(config, &keys);
        let seen = format!("app.security.{field} allows connections to {}", shown(&allowed));
        let calls_port = declared.sidecars.iter().find(|(name, sidecar)| {
            sidecar.transport() == Transport::Tcp
                && !sidecar.has_no_address()
                && may_call(rights, name, sidecar)
                && !allows_port(&allowed, sidecar.listen())
        });
        if let Some((name, _)) = calls_port {
            found.push(Finding::new(
                &CSP_CONNECT,
                &place,
                format!("{seen}, and the page calls the sidecar {name:?} at 127.0.0.1"),
            ));
        }
        let allows = |source: &str| allowed.iter().any(|it| it == source || it == "*");
        if !(allows("ipc:") && allows("http://ipc.localhost")) {
            found.push(Finding::new(&CSP_IPC, place, seen));
        }
    }
}

fn shown(sources: &[String]) -> String {
    if sources.is_empty() { "nothing".to_owned() } else { sources.join(" ") }
}

/// The sources of `connect-src`, or of `default-src` without it. `None` without a policy for connections.
fn connect_sources(policy: &Value) -> Option<Vec<String>> {
    let directive = |name: &str| -> Option<Vec<String>> {
        match policy {
            Value::String(text) => text.split(';').find_map(|part| {
                let mut words = part.split_whitespace();
                (words.next()? == name).then(|| words.map(str::to_owned).collect())
            }),
            Value::Object(directives) => match directives.get(name)? {
                Value::String(text) => Some(text.split_whitespace().map(str::to_owned).collect()),
                Value::Array(list) => {
                    Some(list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
                }
                _ => None,
            },
            _ => None,
        }
    };
    directive("connect-src").or_else(|| directive("default-src"))
}

/// Whether one of the sources matches the port of a sidecar (<https://www.w3.org/TR/CSP3/#match-url-to-source-expression>).
fn allows_port(sources: &[String], listen: Listen) -> bool {
    sources.iter().any(|source| {
        let host = source.strip_prefix("http://").unwrap_or(source);
        match host.trim_end_matches('/').strip_prefix("127.0.0.1:") {
            Some("*") => true,
            Some(port) => matches!(listen, Listen::Fixed(fixed) if port == fixed.to_string()),
            None => matches!(source.as_str(), "*" | "http:"),
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_policy_is_a_text_or_an_object() {
        let sources = |policy: Value| connect_sources(&policy).map(|found| found.join(" "));
        assert_eq!(
            sources(json!("default-src 'self'; connect-src ipc: http:")),
            Some("ipc: http:".to_owned())
        );
        assert_eq!(sources(json!({ "connect-src": ["ipc:", "http:"] })), Some("ipc: http:".to_owned()));
        assert_eq!(sources(json!({ "default-src": "'self' ipc:" })), Some("'self' ipc:".to_owned()));
        assert_eq!(sources(json!("img-src *")), None);
        assert_eq!(sources(Value::Null), None);
    }

    #[test]
    fn a_source_must_match_the_address_and_the_port() {
        let allows = |source: &str, listen| allows_port(&[source.to_owned()], listen);
        let fixed = || Listen::Fixed(8080.try_into().unwrap());
        assert!(allows("http://127.0.0.1:*", Listen::Announced) && allows("127.0.0.1:*", Listen::Assigned));
        assert!(allows("http:", Listen::Announced) && allows("*", Listen::Announced));
        assert!(allows("http://127.0.0.1:8080", fixed()));
        assert!(!allows("http://127.0.0.1:8080", Listen::Announced));
        assert!(
            !allows("http://localhost:*", Listen::Announced)
                && !allows("http://127.0.0.1", Listen::Announced)
        );
        assert!(!allows("'self'", Listen::Announced));
    }
}
