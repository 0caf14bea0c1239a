//! What a declaration runs: one of `program`, `resource` and `command`.

use std::path::{Component, Path, PathBuf};

use super::{ConfigError, SidecarConfig};
use crate::Variables;

/// What a declaration runs outside of development.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProgramSource {
    /// The file name of a program beside the app's own, without `.exe`: an entry of `bundle.externalBin`.
    Beside(String),
    /// The path of a file in the resource folder.
    Resource(String),
    /// A program of the system: a path, or a name that is looked up in `PATH`.
    System(PathBuf),
}

impl SidecarConfig {
    /// What the declaration of the sidecar called `name` runs.
    ///
    /// # Errors
    /// Two programs, an empty or invalid name, or an unknown variable.
    pub fn source(&self, name: &str, variables: &Variables) -> Result<ProgramSource, ConfigError> {
        let given = [("program", &self.program), ("resource", &self.resource), ("command", &self.command)];
        let mut given = given.into_iter().filter_map(|(field, value)| Some((field, value.as_deref()?)));
        let (field, value) = given.next().unwrap_or(("program", name));
        if let Some((second, _)) = given.next() {
            return Err(ConfigError::TwoPrograms { sidecar: name.to_owned(), first: field, second });
        }
        match field {
            "resource" => {
                let inside = Path::new(value)
                    .components()
                    .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
                if value.is_empty() || !inside {
                    let (sidecar, resource) = (name.to_owned(), value.to_owned());
                    return Err(ConfigError::Resource { sidecar, resource });
                }
                Ok(ProgramSource::Resource(value.to_owned()))
            }
            "command" => {
                if value.is_empty() {
                    return Err(ConfigError::EmptyCommand { sidecar: name.to_owned(), field: "command" });
                }
                Ok(ProgramSource::System(variables.path(value, name, "command")?))
            }
            _ => {
                if value.is_empty() || value.contains(['/', '\\']) || value == "." || value == ".." {
                    return Err(ConfigError::Program { sidecar: name.to_owned(), program: value.to_owned() });
                }
                Ok(ProgramSource::Beside(value.to_owned()))
            }
        }
    }
}
