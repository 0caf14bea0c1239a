//! Why a declaration is invalid.

use pillion::{FleetError, InvalidSpec};

/// An invalid declaration. The message names the field by its path, and says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the message of each variant says what it means")]
pub enum ConfigError {
    #[error(
        "tauri.conf.json declares no sidecar: add \"plugins\": {{ \"pillion\": {{ \"sidecars\": {{ \"backend\": {{}} }} }} }}"
    )]
    Missing,
    #[error(
        "plugins.pillion.sidecars.{sidecar}.program is {program:?}: give only the file name, as Tauri installs it \
         (\"backend\" for the externalBin \"binaries/backend\"); a file of the resources is a \"resource\", a program of the \
         system a \"command\""
    )]
    Program { sidecar: String, program: String },
    #[error(
        "plugins.pillion.sidecars.{sidecar}.resource is {resource:?}: give the path of a file in the resource folder, such as \
         \"server/main\""
    )]
    Resource { sidecar: String, resource: String },
    #[error(
        "plugins.pillion.sidecars.{sidecar} has {first:?} and {second:?}: keep the one that says what to run"
    )]
    TwoPrograms { sidecar: String, first: &'static str, second: &'static str },
    #[error(
        "plugins.pillion.sidecars.{sidecar}.{field} contains ${name}, which is not a variable: the variables are {known}; write $$ \
         for a dollar sign"
    )]
    UnknownVariable { sidecar: String, field: String, name: String, known: String },
    #[error(
        "plugins.pillion.sidecars.{sidecar}.{field} is empty: give a program and its arguments, such as [\"node\", \"main.js\"]"
    )]
    EmptyCommand { sidecar: String, field: &'static str },
    #[error(
        "plugins.pillion.sidecars.{sidecar}.{field} names the folder {folder}, which cannot be created: {reason}"
    )]
    Folder { sidecar: String, field: String, folder: String, reason: String },
    #[error("plugins.pillion.sidecars.{sidecar}.dev.watch contains {pattern:?}: {reason}")]
    Watch { sidecar: String, pattern: String, reason: String },
    #[error(
        "plugins.pillion.sidecars.{sidecar}.inherit contains {name:?}: give the name of an environment variable, or a prefix \
         and a *, such as \"LC_*\""
    )]
    Inherit { sidecar: String, name: String },
    #[error(
        "plugins.pillion.sidecars.{sidecar}.health is {health:?}: give a path that starts with a slash, such as \"/health\""
    )]
    Health { sidecar: String, health: String },
    #[error(
        "plugins.pillion.sidecars.{sidecar}.health is {health:?}, but `ready` has another check: leave one of them out"
    )]
    HealthUnused { sidecar: String, health: String },
    #[error("plugins.pillion.sidecars.{sidecar}: {invalid}")]
    Invalid { sidecar: String, invalid: InvalidSpec },
    #[error("plugins.pillion.sidecars: {0}")]
    Fleet(FleetError),
}
