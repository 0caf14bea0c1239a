//! Starts a program that was built, and checks whether it follows the protocol, before it counts as done.

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
    let command = match command(program, sidecar) {
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

/// The command that starts the program as the declaration says, or why the check cannot know it.
#[cfg(unix)]
fn command(program: &Path, sidecar: &DeclaredSidecar) -> Result<Vec<std::ffi::OsString>, String> {
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
                "it declares another `{field}` than {value:?}, and the check knows that alone; try it with `pillion run`"
            ));
        }
    }
    let strings = |value: &Value| value.as_str().map(str::to_owned);
    let arguments = sidecar.fields.get("args").and_then(Value::as_array).into_iter().flatten();
    let variables = sidecar.fields.get("env").and_then(Value::as_object).into_iter().flatten();
    let arguments: Vec<_> = arguments.filter_map(strings).collect();
    let variables: Vec<_> =
        variables.filter_map(|(name, value)| Some(format!("{name}={}", value.as_str()?))).collect();
    if arguments.iter().chain(&variables).any(|text| text.contains('$')) {
        return Err(
            "its `args` or `env` contain placeholders, which an app replaces; try it with `pillion run`"
                .to_owned(),
        );
    }
    // env(1) replaces itself with the program.
    let env = if variables.is_empty() { Vec::new() } else { vec!["env".to_owned()] };
    let before = env.into_iter().chain(variables).map(Into::into);
    Ok(before.chain([program.as_os_str().to_owned()]).chain(arguments.into_iter().map(Into::into)).collect())
}

#[cfg(all(test, unix))]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::project::SidecarProgram;

    fn command_of(fields: Value) -> Result<Vec<std::ffi::OsString>, String> {
        let Value::Object(fields) = fields else { panic!("not an object") };
        let program = SidecarProgram::External { file: "backend".to_owned(), entry: None };
        command(Path::new("/backend"), &DeclaredSidecar { name: "backend".to_owned(), program, fields })
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
            json!({ "args": ["--data", "$APPDATA"] }),
        ] {
            assert!(command_of(fields.clone()).is_err(), "{fields}");
        }
    }
}
