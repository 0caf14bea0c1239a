//! Checks a whole section, without starting anything.

use std::path::Path;

use pillion::{Fleet, Program, Spec};

use crate::{Config, ConfigError, ProgramSource, SidecarConfig, Variables};

/// Every error for which an app with these declarations would not start: at most one for each sidecar, and then at most one about the
/// dependencies between them. Reads and creates no file.
#[must_use]
pub fn validate(config: &Config) -> Vec<ConfigError> {
    let variables = Variables::names_only();
    let (mut specs, mut errors) = (Vec::new(), Vec::new());
    for (name, sidecar) in &config.sidecars {
        match spec(name, sidecar, &variables) {
            Ok(spec) => specs.push(spec),
            Err(error) => errors.push(error),
        }
    }
    // A sidecar with an error would look like an undeclared dependency.
    if errors.is_empty()
        && let Err(error) = Fleet::validate(&specs)
    {
        errors.push(ConfigError::Fleet(error));
    }
    errors
}

/// The specification of a release and of development, without the files that it needs.
fn spec(name: &str, declared: &SidecarConfig, variables: &Variables) -> Result<Spec, ConfigError> {
    let path = match declared.source(name, variables)? {
        ProgramSource::Beside(file) | ProgramSource::Resource(file) => Path::new("/").join(file),
        ProgramSource::System(path) => path,
    };
    if let Some(dev) = &declared.dev {
        let field = "dev.command";
        if dev.command.is_empty() {
            return Err(ConfigError::EmptyCommand { sidecar: name.to_owned(), field });
        }
        variables.expand_all(&dev.command, name, field)?;
        dev.cwd.as_ref().map(|cwd| variables.path(cwd, name, "dev.cwd")).transpose()?;
        for (variable, value) in &dev.env {
            variables.expand(value, name, &format!("dev.env.{variable}"))?;
        }
        dev.watch_patterns(name)?;
    }
    let mut program = Program::new(path).args(declared.args(name, variables)?);
    declared.cwd(name, variables)?;
    if let Some(digest) = declared.sha256() {
        program = program.sha256(digest);
    }
    declared.exec_check(name, variables)?;
    declared.refine(Spec::run(name, declared.configure(program, name, variables)?), name)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn errors(sidecars: &Value) -> Vec<String> {
        let config: Config = serde_json::from_value(json!({ "sidecars": sidecars })).unwrap();
        validate(&config).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_valid_section_has_no_error() {
        let sidecars = json!({
            "api": { "args": ["--data", "$APPDATA/db"], "dependsOn": ["db"], "env": { "DB": "${sidecar.db.url}" } },
            "db": { "command": "postgres", "port": "assigned", "portEnv": "PGPORT", "private": false, "ready": "tcp" },
            "worker": { "resource": "worker/main", "ready": "started", "dev": { "command": ["npx", "tsx", "a.ts"] } }
        });
        assert_eq!(errors(&sidecars), Vec::<String>::new());
    }

    #[test]
    fn each_sidecar_with_an_error_is_reported() {
        let found = errors(&json!({
            "a": { "port": 1, "handover": true },
            "b": { "program": "binaries/b" },
            "c": { "args": ["$NOWHERE"] },
            "d": { "program": "d", "command": "d" },
            "e": { "dev": { "command": [] } },
            "f": { "sha256": "0" },
            "g": { "dev": { "command": ["a", "$NOWHERE"] } },
            "h": { "dev": { "command": ["a"], "watch": ["***"] } },
        }));
        let hints = [
            "`handover`",
            "only the file name",
            "$NOWHERE",
            "\"program\" and \"command\"",
            "dev.command",
            "sha256",
            "dev.command",
            "dev.watch",
        ];
        assert_eq!(found.len(), hints.len(), "{found:?}");
        for ((error, hint), name) in found.iter().zip(hints).zip("abcdefgh".chars()) {
            assert!(
                error.starts_with(&format!("plugins.pillion.sidecars.{name}")) && error.contains(hint),
                "{error}"
            );
        }
    }

    #[test]
    fn wrong_dependencies_are_reported_when_all_sidecars_are_valid() {
        let cycle = errors(&json!({ "a": { "dependsOn": ["b"] }, "b": { "restartWith": ["a"] } }));
        assert!(cycle.len() == 1 && cycle[0].contains("a -> b -> a"), "{cycle:?}");
        let unknown = errors(&json!({ "a": { "dependsOn": ["bd"] }, "db": {} }));
        assert!(unknown.len() == 1 && unknown[0].contains("\"a\" depends on \"bd\""), "{unknown:?}");
    }
}
