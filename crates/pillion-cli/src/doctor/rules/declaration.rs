//! The section `plugins.pillion`, and what the bundle contains of it.

use std::{collections::BTreeMap, num::NonZeroU16};

use pillion::{Listen, Transport, protocol::is_blocked_by_browsers};
use pillion_config::Config;
use serde_json::Value;

use super::{
    super::{
        catalogue::{
            BLOCKED_PORT, DECLARATION, EXTERNAL_BIN_NAME, GENERIC_NAME, MOBILE_PROGRAMS, NAME_OF_APP,
            PACKAGE_SOURCE, PORT_CONFLICT, PROGRAM_NOT_BUNDLED,
        },
        names,
        report::Finding,
    },
    files,
};
use crate::project::{MOBILE, MergedConfig, Platform, Project, SidecarProgram, last_part};

const SECTION: [&str; 2] = ["plugins", "pillion"];

/// Checks the section. Returns the declarations if they are valid.
pub(in super::super) fn check(
    project: &Project,
    config: &MergedConfig<'_>,
    found: &mut Vec<Finding>,
) -> Option<Config> {
    names_of_programs(project, config, found);
    let section = config.get(&SECTION)?;
    let declared: Config = match serde_json::from_value(section.clone()) {
        Ok(declared) => declared,
        Err(error) => {
            found.push(Finding::new(&DECLARATION, place(config, &SECTION), error.to_string()));
            return None;
        }
    };
    let errors = pillion_config::validate(&declared);
    if !errors.is_empty() {
        let place = place(config, &SECTION);
        found.extend(errors.iter().map(|error| Finding::new(&DECLARATION, &place, error.to_string())));
        return None;
    }
    not_bundled(config, found);
    ports(config, &declared, found);
    package_sources(project, config, found);
    Some(declared)
}

/// Programs that a build for a mobile system looks for. `pillion_build::allow_missing_sidecars` leaves them out.
pub(in super::super) fn mobile(project: &Project, found: &mut Vec<Finding>) {
    if files::code(&project.tauri.join("build.rs")).contains("allow_missing_sidecars") {
        return;
    }
    for (system, folder) in MOBILE {
        if project.tauri.join(folder).is_dir() && project.config.has_programs_on_mobile(system) {
            let place = Project::shown(&project.config.base.path);
            let detail = format!(
                "{folder} is the project for {system}, and tauri.{system}.conf.json does not empty the list"
            );
            found.push(Finding::new(&MOBILE_PROGRAMS, place, detail));
        }
    }
}

/// The plugin in an app without declarations. Code may add sidecars to the section, and cannot replace it.
pub(in super::super) fn missing(config: &MergedConfig<'_>) -> Finding {
    let others = config.get(&["plugins"]).and_then(Value::as_object).into_iter().flatten();
    let others: Vec<_> = others.map(|(name, _)| name.as_str()).collect();
    let others = if others.is_empty() { "nothing".to_owned() } else { others.join(", ") };
    Finding::new(
        &DECLARATION,
        Project::shown(&config.file_of(&["plugins"]).path),
        format!("the app registers the plugin, but `plugins` has no \"pillion\"; it has {others}"),
    )
}

/// What `package` names and does not exist.
fn package_sources(project: &Project, config: &MergedConfig<'_>, found: &mut Vec<Finding>) {
    let Ok(Some(sidecars)) = config.sidecars() else { return };
    for sidecar in sidecars {
        let keys = ["plugins", "pillion", "sidecars", &sidecar.name, "package"];
        let package = sidecar.fields.get("package").and_then(Value::as_object).into_iter().flatten();
        for (field, value) in package {
            let path = || Some(project.root.join(value.as_str()?));
            let exists = match field.as_str() {
                "node" | "bun" | "python" => path().is_none_or(|path| path.is_file()),
                "go" | "rust" | "cwd" => path().is_none_or(|path| path.is_dir()),
                _ => true,
            };
            if !exists {
                let detail = format!("the sidecar {:?}: `package.{field}` is {value}", sidecar.name);
                found.push(Finding::new(&PACKAGE_SOURCE, place(config, &keys), detail));
            }
        }
    }
}

/// The file and the line of a value.
pub(in super::super) fn place(config: &MergedConfig<'_>, keys: &[&str]) -> String {
    let file = config.file_of(keys);
    let path = Project::shown(&file.path);
    match file.position(keys) {
        Some(position) => format!("{path}:{position}"),
        None => path,
    }
}

/// Declared programs that no entry of the bundle installs.
fn not_bundled(config: &MergedConfig<'_>, found: &mut Vec<Finding>) {
    let Ok(Some(sidecars)) = config.sidecars() else { return };
    for sidecar in sidecars {
        let place = || place(config, &["plugins", "pillion", "sidecars", &sidecar.name]);
        match &sidecar.program {
            SidecarProgram::External { file, entry: None } => {
                let entries = config.external_bin().unwrap_or_default();
                let listed = if entries.is_empty() { "nothing".to_owned() } else { entries.join(", ") };
                found.push(Finding::new(
                    &PROGRAM_NOT_BUNDLED,
                    place(),
                    format!(
                        "the sidecar {:?} runs the program {file:?}, but bundle.externalBin lists {listed}",
                        sidecar.name
                    ),
                ));
            }
            SidecarProgram::Resource(path)
                if !config.resources().unwrap_or_default().iter().any(|entry| entry.contains(path)) =>
            {
                found.push(Finding::new(
                    &PROGRAM_NOT_BUNDLED,
                    place(),
                    format!("the sidecar {:?} runs the resource {path:?}, which bundle.resources does not contain", sidecar.name),
                ));
            }
            SidecarProgram::External { .. } | SidecarProgram::Resource(_) | SidecarProgram::System(_) => {}
        }
    }
}

fn ports(config: &MergedConfig<'_>, declared: &Config, found: &mut Vec<Finding>) {
    let mut used = BTreeMap::<NonZeroU16, Vec<String>>::new();
    let dev_port = config.get(&["build", "devUrl"]).and_then(Value::as_str).and_then(port_of_url);
    if let Some(port) = dev_port {
        used.entry(port).or_default().push("build.devUrl".to_owned());
    }
    for (name, sidecar) in &declared.sidecars {
        let Listen::Fixed(port) = sidecar.listen() else { continue };
        used.entry(port).or_default().push(format!("the sidecar {name:?}"));
        if sidecar.transport() == Transport::Tcp && is_blocked_by_browsers(port) {
            let place = place(config, &["plugins", "pillion", "sidecars", name, "port"]);
            found.push(Finding::new(
                &BLOCKED_PORT,
                place,
                format!("the sidecar {name:?} has the port {port}"),
            ));
        }
    }
    for (port, users) in used.into_iter().filter(|(_, users)| users.len() > 1) {
        let place = place(config, &["plugins", "pillion", "sidecars"]);
        found.push(Finding::new(&PORT_CONFLICT, place, format!("port {port}: {}", users.join(" and "))));
    }
}

/// The port of a URL such as `http://localhost:1420/app`.
fn port_of_url(url: &str) -> Option<NonZeroU16> {
    let authority = url.split_once("://")?.1.split(['/', '?', '#']).next()?;
    authority.rsplit_once(':')?.1.parse().ok()
}

/// The entries of `bundle.externalBin`.
fn names_of_programs(project: &Project, config: &MergedConfig<'_>, found: &mut Vec<Finding>) {
    let keys = ["bundle", "externalBin"];
    let package = project.manifest.package_name();
    let main = config.get(&["mainBinaryName"]).and_then(Value::as_str);
    for entry in config.external_bin().unwrap_or_default() {
        let name = last_part(&entry);
        if let Some(suffix) = names::suffix(name) {
            found.push(Finding::new(
                &EXTERNAL_BIN_NAME,
                place(config, &keys),
                format!("{entry:?} ends with {suffix:?}"),
            ));
        } else if Some(name) == package || Some(name) == main {
            found.push(Finding::new(
                &NAME_OF_APP,
                place(config, &keys),
                format!("{entry:?} and the app's program are both called {name:?}"),
            ));
        } else if config.platform == Platform::Linux
            && ["deb", "rpm"].iter().any(|target| config.bundles(target))
            && names::is_generic(name)
        {
            found.push(Finding::new(
                &GENERIC_NAME,
                place(config, &keys),
                format!("{entry:?} is installed as /usr/bin/{name}"),
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_of_a_url_is_found() {
        assert_eq!(port_of_url("http://localhost:1420/app"), NonZeroU16::new(1420));
        assert_eq!(port_of_url("http://[::1]:5173"), NonZeroU16::new(5173));
        assert_eq!(port_of_url("http://localhost"), None);
    }
}
