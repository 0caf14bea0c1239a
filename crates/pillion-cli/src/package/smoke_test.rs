//! Starts a program that was built, and checks whether it follows the protocol, before it counts as done.

#[cfg(unix)]
use std::ffi::OsString;
use std::path::Path;

use super::process::Failure;
use crate::project::DeclaredSidecar;

/// Checks a program that this machine can run. Returns the result in words.
///
/// # Errors
///
/// Fails if the program cannot be started, or breaks a *must* of the protocol.
#[cfg(unix)]
pub(super) fn check(program: &Path, sidecar: &DeclaredSidecar) -> Result<String, Failure> {
    let folder = tempfile::Builder::new().prefix("pillion-package").tempdir();
    let folder = folder.map_err(|error| {
        Failure::failed(format!("cannot make a temporary folder for the check: {error}; set TMPDIR"))
    })?;
    let command = match command(program, sidecar, folder.path()) {
        Ok(command) => command,
        Err(reason) => return Ok(format!("not started: {reason}")),
    };
    let found = crate::check::musts(command, sidecar.private())
        .map_err(|reason| Failure::failed(format!("the built program does not run: {reason}")))?;
    if found.broken.is_empty() {
        return Ok(format!("started and checked: it keeps {} rules of the protocol", found.kept));
    }
    Err(Failure::failed(format!(
        "the built program breaks {} rules of the protocol, and is not put into place (it is at {}; `pillion check -- PROGRAM` \
         repeats the check, --no-check leaves it out):\n{}",
        found.broken.len(),
        program.display(),
        found.broken.join("\n")
    )))
}

/// `pillion check` does not run on this system.
#[cfg(not(unix))]
pub(super) fn check(_program: &Path, _sidecar: &DeclaredSidecar) -> Result<String, Failure> {
    Ok("not started: `pillion check` runs on Linux and macOS only".to_owned())
}

/// The command that starts the program as the declaration says, or why the check cannot know it. `folder` has the folders of the
/// app meanwhile, so that the check leaves those of the user alone.
#[cfg(unix)]
fn command(program: &Path, sidecar: &DeclaredSidecar, folder: &Path) -> Result<Vec<OsString>, String> {
    use pillion_config::Variables;
    use serde_json::Value;

    let default = |field: &str, value: &str| {
        let declared = sidecar.fields.get(field).unwrap_or(&Value::Null);
        declared.is_null() || declared == value
    };
    for (field, value) in
        [("port", "announced"), ("ready", "health"), ("health", "/health"), ("transport", "tcp")]
    {
        if !default(field, value) {
            return Err(format!(
                "its `{field}` is not {value:?}, the only one that the check knows; try it with `pillion run`"
            ));
        }
    }
    let names = ["APPDATA", "APPLOCALDATA", "APPCONFIG", "APPCACHE", "APPLOG", "TEMP", "HOME"];
    let variables = Variables::new(names.map(|name| (name, folder.join(name))), []);
    let expanded = |field: &str, value: &Value| {
        let text = variables.expand(value.as_str()?, &sidecar.name, field).ok();
        Some(text.filter(|text| !text.contains('$')))
    };
    let arguments = sidecar.fields.get("args").and_then(Value::as_array).into_iter().flatten();
    let environment = sidecar.fields.get("env").and_then(Value::as_object).into_iter().flatten();
    let arguments: Option<Vec<_>> = arguments.filter_map(|value| expanded("args", value)).collect();
    let environment: Option<Vec<_>> = environment
        .filter_map(|(name, value)| Some(expanded("env", value)?.map(|text| format!("{name}={text}"))))
        .collect();
    let (Some(arguments), Some(environment)) = (arguments, environment) else {
        return Err(
            "its `args` or `env` contain `$RESOURCE`, `$$` or `${…}`, which only an app replaces; try it with `pillion run`"
                .to_owned(),
        );
    };
    // env(1) replaces itself with the program.
    let env = if environment.is_empty() { Vec::new() } else { vec!["env".to_owned()] };
    let before = env.into_iter().chain(environment).map(Into::into);
    Ok(before.chain([program.as_os_str().to_owned()]).chain(arguments.into_iter().map(Into::into)).collect())
}

#[cfg(all(test, unix))]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::project::SidecarProgram;

    fn command_of(fields: Value) -> Result<Vec<OsString>, String> {
        command_in(Path::new("/nowhere"), fields)
    }

    fn command_in(folder: &Path, fields: Value) -> Result<Vec<OsString>, String> {
        let Value::Object(fields) = fields else { panic!("not an object") };
        let program = SidecarProgram::External { file: "backend".to_owned(), entry: None };
        let sidecar = DeclaredSidecar { name: "backend".to_owned(), program, fields };
        command(Path::new("/backend"), &sidecar, folder)
    }

    #[test]
    fn the_folders_of_the_app_are_empty_ones() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("APPDATA");
        let fields = json!({ "args": ["--data=$APPDATA/db"], "env": { "DATA": "$APPDATA" } });
        let expected = [
            "env".to_owned(),
            format!("DATA={}", data.display()),
            "/backend".to_owned(),
            format!("--data={}/db", data.display()),
        ];
        assert_eq!(command_in(folder.path(), fields).unwrap(), expected.map(OsString::from));
        assert_eq!(std::fs::read_dir(&data).unwrap().count(), 0);
    }

    #[test]
    fn the_check_starts_the_program_as_declared() {
        let fields = json!({ "port": "announced", "args": ["--fast"], "env": { "MODE": "quiet" } });
        assert_eq!(command_of(fields).unwrap(), ["env", "MODE=quiet", "/backend", "--fast"]);
        assert_eq!(command_of(json!({})).unwrap(), ["/backend"]);
    }

    #[test]
    fn what_the_check_cannot_know_is_a_reason_not_to_start() {
        for fields in [
            json!({ "port": "assigned" }),
            json!({ "port": 8080 }),
            json!({ "ready": { "http": { "path": "/" } } }),
            json!({ "health": "/ping" }),
            json!({ "transport": "local" }),
            json!({ "args": ["--data", "$RESOURCE/data"] }),
            json!({ "args": ["${sidecar.db.port}"] }),
            json!({ "env": { "PRICE": "$$5" } }),
        ] {
            assert!(command_of(fields.clone()).is_err(), "{fields}");
        }
    }
}
