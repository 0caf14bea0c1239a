//! All that is known of sidecars, as files for the person who looks for a fault, without secrets.

mod redaction;

use std::{env, ffi::OsStr, fmt::Write as _, panic, sync::Arc, time::Duration};

use serde::Serialize;
use serde_json::{Value, json};
use tokio::task;

use crate::{
    ExitReport, Fleet, Log, LogEntry, LogQuery, Status, Supervisor,
    report::{folder_name::folder_name, log_file},
    spec::{Program, ServerSource, Spec},
    wall_clock::now_ms,
};
use redaction::Redaction;

/// How many bytes a diagnosis has of the log files of a sidecar, at most.
const LOG_BYTES: usize = 1024 * 1024;
/// How much more of them is read: a secret with several lines is recognised only as a whole.
const LOG_MARGIN: usize = 64 * 1024;

/// All that is known of some sidecars, as files: what was declared, the states over time, how runs ended, the kept output, and the end of the
/// [log files](crate::LogFiles). For a person who looks for a fault, and perhaps sends them to another one.
///
/// Secrets are redacted by value and by name: the tokens of the runs; the values of all declared environment variables and of those
/// variables of this program whose names say that they are secret; arguments, fields and assignments with such names; credentials in URLs
/// and headers. Each is replaced by a mark that says what it was. What a sidecar prints of its users' data stays: read the files before you
/// publish them. `docs/diagnostics.md` in the repository has the rules.
///
/// ```no_run
/// # async fn example(fleet: pillion::Fleet) -> std::io::Result<()> {
/// let mut diagnosis = fleet.diagnose().await;
/// diagnosis.add("notes.txt", "It began after the update.");
/// for file in diagnosis.files() {
///     println!("{}: {} bytes", file.name, file.text.len());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Diagnosis {
    files: Vec<DiagnosisFile>,
    redaction: Redaction,
}

impl Default for Diagnosis {
    fn default() -> Self {
        Self::new()
    }
}

/// A file of a [`Diagnosis`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DiagnosisFile {
    /// Its path in the diagnosis, with slashes, such as `sidecars/backend/output.log`.
    pub name: String,
    /// Its text.
    pub text: String,
}

impl Fleet {
    /// A diagnosis of all sidecars. Waits for the files of the exit reports and of the logs to be read. Cancel-safe.
    ///
    /// # Panics
    /// Outside the context of a tokio runtime.
    pub async fn diagnose(&self) -> Diagnosis {
        Diagnosis::of(self.iter()).await
    }

    /// A diagnosis of the sidecars whose names `selected` accepts. The secrets of the others are left out as well: a sidecar can print
    /// that of another one. Waits for the files of the exit reports and of the logs to be read. Cancel-safe.
    ///
    /// # Panics
    /// Outside the context of a tokio runtime.
    pub async fn diagnose_selected(&self, selected: impl Fn(&str) -> bool) -> Diagnosis {
        let selected: Vec<_> = self.iter().filter(|sidecar| selected(sidecar.name())).collect();
        Diagnosis::collect(Redaction::of(self.iter()), selected).await
    }
}

impl Diagnosis {
    /// A diagnosis without files. It knows the secrets of this program alone.
    #[must_use]
    pub fn new() -> Self {
        Self { files: Vec::new(), redaction: Redaction::of_this_program() }
    }

    /// A diagnosis of these sidecars. Waits for the files of the exit reports and of the logs to be read. Cancel-safe.
    ///
    /// # Panics
    /// Outside the context of a tokio runtime.
    pub async fn of(sidecars: impl IntoIterator<Item = &Supervisor>) -> Self {
        let sidecars: Vec<_> = sidecars.into_iter().collect();
        Self::collect(Redaction::of(sidecars.iter().copied()), sidecars).await
    }

    async fn collect(redaction: Redaction, sidecars: Vec<&Supervisor>) -> Self {
        let mut known = Vec::new();
        for sidecar in sidecars {
            known.push(Known::of(sidecar).await);
        }
        let mut diagnosis = Self { files: Vec::new(), redaction };
        // Megabytes of text are redacted, and files read.
        let written = task::spawn_blocking(move || {
            diagnosis.add("README.txt", README);
            diagnosis.add_json("program.json", &this_program());
            diagnosis.add("environment.txt", &names(env::vars_os().map(|(name, _)| name)));
            for sidecar in &known {
                diagnosis.add_sidecar(sidecar);
            }
            diagnosis
        });
        match written.await {
            Ok(diagnosis) => diagnosis,
            Err(error) if error.is_panic() => panic::resume_unwind(error.into_panic()),
            // The runtime shuts down.
            Err(_) => Self::new(),
        }
    }

    fn add_sidecar(&mut self, sidecar: &Known) {
        let folder = format!("sidecars/{}", folder_name(&sidecar.name));
        if let Some(spec) = &sidecar.spec {
            self.add_json(&format!("{folder}/declaration.json"), &declaration(spec));
        }
        self.add_lines(&format!("{folder}/states.jsonl"), &sidecar.statuses);
        self.add_lines(&format!("{folder}/exits.jsonl"), &sidecar.exits);
        self.add(&format!("{folder}/output.log"), &sidecar.output);
        let files = sidecar.spec.as_ref().and_then(|spec| spec.log_files.as_ref());
        if let Some(text) =
            files.and_then(|files| log_file::tail(files, &sidecar.name, LOG_BYTES + LOG_MARGIN))
        {
            let text = self.redaction.text(&text);
            self.put(&format!("{folder}/log-files.log"), last_lines(&text, LOG_BYTES).to_owned());
        }
    }

    /// Adds a file, whose text is redacted as the others are. Replaces one of the same name.
    pub fn add(&mut self, name: &str, text: &str) {
        let text = self.redaction.text(text);
        self.put(name, text);
    }

    /// Adds a file of JSON, whose strings are redacted as the others are, and whose fields are by their names.
    pub fn add_json(&mut self, name: &str, value: &Value) {
        let value = self.redaction.json(value.clone());
        let text = serde_json::to_string_pretty(&value).unwrap_or_default();
        self.put(name, text + "\n");
    }

    /// The files.
    #[must_use]
    pub fn files(&self) -> &[DiagnosisFile] {
        &self.files
    }

    /// The files as a zip file, in memory.
    ///
    /// # Errors
    /// Only if it would be larger than a zip file can be.
    #[cfg(feature = "zip")]
    pub fn zip(&self) -> std::io::Result<Vec<u8>> {
        use std::io::Write as _;
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        // Only the user can read what is unpacked.
        let options = zip::write::SimpleFileOptions::default().unix_permissions(0o600);
        for DiagnosisFile { name, text } in &self.files {
            zip.start_file(name.as_str(), options)?;
            zip.write_all(text.as_bytes())?;
        }
        Ok(zip.finish()?.into_inner())
    }

    /// Adds one JSON object a line.
    fn add_lines(&mut self, name: &str, values: &[impl Serialize]) {
        let mut text = String::new();
        for value in values {
            let value = self.redaction.json(serde_json::to_value(value).unwrap_or_default());
            let _ = writeln!(text, "{value}");
        }
        self.put(name, text);
    }

    fn put(&mut self, name: &str, text: String) {
        self.files.retain(|file| file.name != name);
        self.files.push(DiagnosisFile { name: name.to_owned(), text });
    }
}

/// What is known of a sidecar.
struct Known {
    name: String,
    /// The newest one: a swap can bring another one.
    spec: Option<Arc<Spec>>,
    statuses: Vec<Status>,
    exits: Vec<ExitReport>,
    output: String,
}

impl Known {
    async fn of(sidecar: &Supervisor) -> Self {
        Self {
            name: sidecar.name().to_owned(),
            spec: sidecar.record().specs().pop(),
            statuses: sidecar.record().statuses(),
            exits: sidecar.exit_reports().await,
            output: output(sidecar).await,
        }
    }
}

const README: &str = "\
What Pillion knows of the sidecars of an app, for the person who looks for a fault.

program.json      the app's process, and the versions
environment.txt   the names of the app's environment variables, without their values
sidecars/NAME/    for each sidecar:
  declaration.json  what it runs, as it was declared
  states.jsonl      its last statuses, oldest first, one JSON object a line
  exits.jsonl       how its last runs ended
  output.log        what is kept of its output: time, run, stream, text
  log-files.log     the end of its log files, also of earlier starts of the app: time, run, stream, level, text

Secrets were replaced by marks such as [token] and [value of API_KEY]. Data of users that a sidecar has printed was not: read output.log
and log-files.log before you publish them.
";

fn this_program() -> Value {
    let executable = env::current_exe().map(|path| path.display().to_string()).unwrap_or_default();
    json!({
        "pillion": env!("CARGO_PKG_VERSION"),
        "protocol": pillion_protocol::environment::PROTOCOL_VERSION,
        "system": env::consts::OS,
        "architecture": env::consts::ARCH,
        "process": std::process::id(),
        "executable": executable,
        "at": now_ms(),
    })
}

/// What a specification says, with the names of its variables alone. A new field is an error here until it is shown.
fn declaration(spec: &Spec) -> Value {
    let Spec {
        name,
        source,
        ready_check,
        health_path,
        ready_timeout,
        ready_timeout_max,
        grace,
        restart,
        restart_limit,
        liveness,
        watchdog,
        max_memory,
        depends_on,
        restart_with,
        optional,
        on_demand,
        idle_stop,
        expects,
        exit_reports,
        log_files,
    } = spec;
    let source = match source {
        ServerSource::Run(program) => program_of(program),
        ServerSource::Attach(port) => json!({ "attachedTo": port }),
    };
    let millis = |duration: &Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    json!({
        "name": name,
        "source": source,
        "ready": format!("{ready_check:?}"),
        "health": health_path,
        "readyTimeoutMs": millis(ready_timeout),
        "readyTimeoutMaxMs": ready_timeout_max.as_ref().map(millis),
        "graceMs": millis(grace),
        "restart": format!("{restart:?}"),
        "restartLimit": format!("{restart_limit:?}"),
        "liveness": format!("{liveness:?}"),
        "watchdogMs": watchdog.as_ref().map(millis),
        "maxMemory": max_memory,
        "dependsOn": depends_on,
        "restartWith": restart_with,
        "optional": optional,
        "onDemand": on_demand,
        "idleStopMs": idle_stop.as_ref().map(millis),
        "expects": expects,
        "exitReports": exit_reports.as_ref().map(|folder| folder.display().to_string()),
        "log": log_files.as_ref().map(|files| format!("{files:?}")),
    })
}

fn program_of(program: &Program) -> Value {
    let Program {
        path,
        args,
        inherit,
        login_shell_env,
        env,
        current_dir,
        allowed_origins,
        listen,
        port_env,
        placeholders,
        handover,
        transport,
        private,
        port_fallback,
        stop,
        stdin,
        sha256,
        run_copy,
    } = program;
    let text = |text: &OsStr| text.to_string_lossy().into_owned();
    json!({
        "program": path.display().to_string(),
        "args": redaction::arguments(args.iter().map(|argument| text(argument))),
        "environmentNames": env.keys().map(|name| text(name)).collect::<Vec<_>>(),
        "inherit": format!("{inherit:?}"),
        "loginShellEnv": login_shell_env,
        "cwd": current_dir.as_ref().map(|folder| folder.display().to_string()),
        "allowedOrigins": allowed_origins,
        "port": format!("{listen:?}"),
        "portEnv": port_env,
        "placeholders": placeholders,
        "handover": handover,
        "transport": format!("{transport:?}"),
        "private": private,
        "portFallback": port_fallback,
        "stop": format!("{stop:?}"),
        "stdin": format!("{stdin:?}"),
        "sha256": sha256,
        "runCopy": run_copy,
    })
}

/// One name a line, sorted.
fn names(names: impl Iterator<Item = impl AsRef<OsStr>>) -> String {
    let mut names: Vec<_> = names.map(|name| name.as_ref().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names.join("\n") + "\n"
}

/// The kept lines.
async fn output(sidecar: &Supervisor) -> String {
    let mut text = String::new();
    let mut logs = sidecar.logs(LogQuery::default().follow(false).ansi(false));
    while let Some(log) = logs.next().await {
        match log {
            Log::Lines { entries } => {
                for LogEntry { at, run, stream, text: line, .. } in entries {
                    let _ = writeln!(text, "{at} {run} {} {line}", format!("{stream:?}").to_lowercase());
                }
            }
            Log::Missed { lines } => {
                let _ = writeln!(text, "({lines} lines are missing here)");
            }
            Log::Unfinished { .. } => {}
        }
    }
    text
}

/// The last whole lines that have so many bytes at most.
fn last_lines(text: &str, limit: usize) -> &str {
    let Some(cut) = text.len().checked_sub(limit + 1) else { return text };
    // The first line may have lost its beginning.
    let bytes = &text.as_bytes()[cut..];
    let start = bytes.iter().position(|byte| *byte == b'\n').map_or(text.len(), |end| cut + end + 1);
    text.get(start..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_lines_are_left_of_the_end_of_a_text() {
        for (text, limit, rest) in [
            ("one\ntwo\n", 8, "one\ntwo\n"),
            ("one\ntwo\n", 7, "two\n"),
            ("one\ntwo\n", 4, "two\n"),
            ("one\ntwo\n", 3, ""),
            ("\u{e9}\u{e9}\u{e9}", 3, ""),
            ("", 0, ""),
        ] {
            assert_eq!(last_lines(text, limit), rest, "{text:?}, {limit}");
        }
    }
}
