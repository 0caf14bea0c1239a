//! What the page may do: capabilities and the content security policy.

use std::{
    fs,
    path::{Path, PathBuf},
};

use pillion::{Listen, Transport};
use pillion_config::{Config, SidecarConfig};
use serde_json::Value;
use walkdir::WalkDir;

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
    Capability, MergedConfig, PermissionEntry, Project, denied, first_window_label, grants, narrowed, usual,
};

/// The endings of files with the code of a page.
const CODE: [&str; 8] = ["ts", "tsx", "js", "jsx", "mjs", "mts", "vue", "svelte"];
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
    policies(project, config, &rights, declared, found);
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
        let denied = identifiers
            .iter()
            .find_map(|identifier| denied(rights, if *identifier == DEFAULT { WATCH } else { identifier }));
        let scoped = identifiers.iter().find_map(|identifier| narrowed(rights, identifier, name));
        found.push(match (denied, scoped) {
            (Some((capability, entry)), _) => Finding::new(
                &PERMISSION,
                Project::shown(&capability.origin.path),
                format!(
                    "{lack}; the capability {} has {}, which takes precedence, so --fix adds nothing: remove it",
                    capability.identifier, entry.identifier
                ),
            ),
            (None, Some((capability, entry))) => narrowed_permission(lack, name, capability, entry),
            (None, None) => absent_permission(lack, project, rights, identifiers),
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

/// The content security policies of releases and of development, and that of the page's own file.
fn policies(
    project: &Project,
    config: &MergedConfig<'_>,
    rights: &[&Capability],
    declared: &Config,
    found: &mut Vec<Finding>,
) {
    let keys = ["csp", "devCsp"].map(|field| ["app", "security", field]);
    let of_config = keys.iter().filter_map(|keys| {
        let allowed = connect_sources(config.get(keys)?)?;
        Some((keys.join("."), place(config, keys), allowed))
    });
    let of_page = pages(project).into_iter().filter_map(|page| {
        let allowed = connect_sources(&Value::String(policy_of_html(&fs::read_to_string(&page).ok()?)?))?;
        Some(("its policy".to_owned(), Project::shown(&page), allowed))
    });
    for (name, place, allowed) in of_config.chain(of_page).collect::<Vec<_>>() {
        let seen = format!("{name} allows connections to {}", shown(&allowed));
        found.extend(policy(project, &seen, &place, &allowed, rights, declared));
    }
}

/// What one policy lacks.
fn policy(
    project: &Project,
    seen: &str,
    place: &str,
    allowed: &[String],
    rights: &[&Capability],
    declared: &Config,
) -> Vec<Finding> {
    let mut found = Vec::new();
    let on_ports = || {
        declared
            .sidecars
            .iter()
            .filter(|(_, sidecar)| sidecar.transport() == Transport::Tcp && !sidecar.has_no_address())
    };
    let calls_port = on_ports()
        .find(|(name, sidecar)| may_call(rights, name, sidecar) && !allows_port(allowed, sidecar.listen()));
    let web_sockets = on_ports().find(|(name, sidecar)| {
        grants(rights, &[CONNECT], name) && !allows_web_sockets(allowed, sidecar.listen())
    });
    if let Some((name, _)) = calls_port {
        let detail = format!("{seen}, and the page calls the sidecar {name:?} at 127.0.0.1");
        found.push(Finding::new(&CSP_CONNECT, place, detail));
    } else if let (Some((name, _)), Some(file)) = (web_sockets, opens_web_sockets(project)) {
        let detail = format!(
            "{seen}, and {} opens WebSockets of the sidecar {name:?} at ws://127.0.0.1: add ws://127.0.0.1:*",
            Project::shown(&file)
        );
        found.push(Finding::new(&CSP_CONNECT, place, detail));
    }
    let allows = |source: &str| allowed.iter().any(|it| it == source || it == "*");
    if !(allows("ipc:") && allows("http://ipc.localhost")) {
        found.push(Finding::new(&CSP_IPC, place, seen));
    }
    found
}

/// The files that usually are the page.
fn pages(project: &Project) -> Vec<PathBuf> {
    let page = project.front_end.as_ref().map_or(project.root.as_path(), |front_end| front_end.folder());
    let files = ["index.html", "src/index.html", "src/app.html"].map(|name| page.join(name));
    files.into_iter().filter(|file| file.is_file()).collect()
}

/// The policy in a `meta` element, which holds beside that of the configuration.
fn policy_of_html(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let elements = lower.match_indices("<meta").filter_map(|(at, _)| Some((at, at + lower[at..].find('>')?)));
    let mut policies = elements.filter(|(at, end)| lower[*at..*end].contains("content-security-policy"));
    let (at, end) = policies.next()?;
    let value = at + lower[at..end].find("content=")? + "content=".len();
    let quote = text[value..].chars().next().filter(|quote| ['"', '\''].contains(quote))?;
    text[value + 1..].split(quote).next().map(str::to_owned)
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

/// A file of the page that opens a WebSocket of a sidecar by the client.
fn opens_web_sockets(project: &Project) -> Option<PathBuf> {
    let page = project.front_end.as_ref().map_or(project.root.as_path(), |front_end| front_end.folder());
    let is_code = |path: &Path| path.extension().is_some_and(|it| CODE.iter().any(|code| it == *code));
    let files = WalkDir::new(page.join("src")).sort_by_file_name().into_iter().flatten();
    let mut files = files.map(walkdir::DirEntry::into_path).filter(|path| is_code(path));
    files.find(|path| fs::read_to_string(path).is_ok_and(|text| text.contains(".webSocket(")))
}

/// Whether one of the sources matches a WebSocket of this port. A source for `http:` does not
/// (<https://www.w3.org/TR/CSP3/#match-schemes>).
fn allows_web_sockets(sources: &[String], listen: Listen) -> bool {
    sources.iter().any(|source| match source.strip_prefix("ws://127.0.0.1:") {
        Some(port) => {
            let port = port.trim_end_matches('/');
            port == "*" || matches!(listen, Listen::Fixed(fixed) if port == fixed.to_string())
        }
        None => matches!(source.as_str(), "*" | "ws:"),
    })
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
    fn the_policy_of_a_page_is_found() {
        let page = "<html><head><META charset=\"utf-8\" />\n<meta http-equiv='Content-Security-Policy'\n  content=\"default-src 'self' ipc:\">";
        assert_eq!(policy_of_html(page).as_deref(), Some("default-src 'self' ipc:"));
        for page in ["<meta name=\"a\" content=\"b\">", "", "<meta content-security-policy"] {
            assert_eq!(policy_of_html(page), None, "{page}");
        }
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
