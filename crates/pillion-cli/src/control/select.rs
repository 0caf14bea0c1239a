//! Which running app a command is about.

use clap::Args;
use pillion::Status;
use pillion_control::{AppInfo, ClientError, DiscoveredApp, Discovery, discover};

use super::plain;

/// A running app with the statuses of its sidecars.
#[derive(Debug, Clone)]
pub(super) struct Running {
    pub(super) app: DiscoveredApp,
    pub(super) sidecars: Vec<Status>,
}

/// What a command shows.
#[derive(Debug, Args)]
pub(super) struct Selection {
    /// Only sidecars of this name.
    #[arg(value_name = "NAME")]
    pub(super) sidecar: Option<String>,
    /// Only this app, by its name, its identifier or its process id.
    #[arg(long, value_name = "APP")]
    pub(super) app: Option<String>,
}

/// What runs now.
#[derive(Debug)]
pub(super) struct Overview {
    pub(super) running: Vec<Running>,
    /// Apps that gave no answer, and directories that cannot be used, in words.
    pub(super) problems: Vec<String>,
}

impl Overview {
    pub(super) async fn take() -> Self {
        let found = discover().await;
        let mut problems = problems(&found);
        let mut running = Vec::new();
        for app in found.apps {
            match app.statuses(None).await {
                Ok(sidecars) => running.push(Running { app, sidecars }),
                Err(ClientError::Ended) => {}
                Err(error) => problems.push(failed(app.info(), &error)),
            }
        }
        Self { running, problems }
    }

    /// Shows the problems on stderr.
    pub(super) fn warn(&self) {
        for problem in &self.problems {
            anstream::eprintln!("pillion: {problem}");
        }
    }

    /// Leaves only the selected apps and sidecars.
    ///
    /// # Errors
    /// If none is left.
    pub(super) fn select(self, selection: &Selection) -> Result<Self, String> {
        self.narrow(selection.app.as_deref(), selection.sidecar.as_deref())
    }

    /// Leaves only the apps of this name.
    ///
    /// # Errors
    /// If none is left.
    pub(super) fn of_app(self, app: &str) -> Result<Self, String> {
        self.narrow(Some(app), None)
    }

    /// Leaves only the apps and the sidecars that these names mean.
    ///
    /// # Errors
    /// If none is left.
    fn narrow(mut self, app: Option<&str>, sidecar: Option<&str>) -> Result<Self, String> {
        if self.running.is_empty() {
            return Err(self.none());
        }
        let all = self.list();
        if let Some(app) = app {
            self.running.retain(|it| means(app, it.app.info()));
            if self.running.is_empty() {
                return Err(self.with_problems(format!("no app {app:?} runs; these run:\n{all}")));
            }
        }
        if let Some(sidecar) = sidecar {
            for it in &mut self.running {
                it.sidecars.retain(|status| status.sidecar == sidecar);
            }
            self.running.retain(|it| !it.sidecars.is_empty());
            if self.running.is_empty() {
                return Err(self.with_problems(format!("no sidecar {sidecar:?} runs; these do:\n{all}")));
            }
        }
        Ok(self)
    }

    /// The one sidecar that these names mean.
    ///
    /// # Errors
    /// If they mean none, or several.
    pub(super) fn one(
        self,
        app: Option<&str>,
        sidecar: Option<&str>,
    ) -> Result<(DiscoveredApp, Status), String> {
        let mut narrowed = self.narrow(app, sidecar)?;
        let list = narrowed.list();
        if narrowed.running.len() > 1 {
            return Err(format!(
                "several running apps fit: name one with --app, by its name, its identifier or its process id:\n{list}"
            ));
        }
        let Some(Running { app, mut sidecars }) = narrowed.running.pop() else { return Err(narrowed.none()) };
        match (sidecars.pop(), sidecars.is_empty()) {
            (Some(status), true) => Ok((app, status)),
            (Some(_), false) => Err(format!("the app has several sidecars: name one:\n{list}")),
            (None, _) => Err(format!("{} has no sidecar", named(app.info()))),
        }
    }

    fn none(&self) -> String {
        self.with_problems(self.why_none().to_owned())
    }

    /// Why nothing is shown. An app that gives no answer runs all the same.
    pub(super) fn why_none(&self) -> &'static str {
        if self.problems.is_empty() { NONE_RUNS } else { "no app with sidecars has answered" }
    }

    /// What was not found can be one of those that gave no answer.
    fn with_problems(&self, message: String) -> String {
        self.problems.iter().fold(message, |message, problem| format!("{message}\n  {problem}"))
    }

    /// The apps with their sidecars, one in a line.
    fn list(&self) -> String {
        let line = |it: &Running| line(it.app.info(), &it.sidecars);
        self.running.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// Apps that gave no answer, and directories that cannot be used, in words.
pub(super) fn problems(found: &Discovery) -> Vec<String> {
    let errors = found.errors.iter().map(|error| format!("{error}; apps there are not shown"));
    let silent = found.silent.iter();
    let silent = silent.map(|(pid, error)| format!("the app with the process id {pid}: {}", words(error)));
    errors.chain(silent).collect()
}

const NONE_RUNS: &str = "no app with sidecars runs as this user. An app is shown while it runs, unless its tauri.conf.json has \
                                    \"control\": false in plugins.pillion; a program in `pillion run` is, unless it has --no-control";

/// An app in words: `Notes (com.example.notes, process 4711)`.
pub(super) fn named(app: &AppInfo) -> String {
    let identifier = app.identifier.as_ref().map(|identifier| format!("{}, ", plain(identifier)));
    format!("{} ({}process {})", plain(&app.name), identifier.unwrap_or_default(), app.pid)
}

/// An app and the names of its sidecars.
fn line(app: &AppInfo, sidecars: &[Status]) -> String {
    let names: Vec<_> = sidecars.iter().map(|status| plain(&status.sidecar)).collect();
    format!("  {}: {}", named(app), names.join(", "))
}

/// Why this app gave no answer.
pub(super) fn failed(app: &AppInfo, error: &ClientError) -> String {
    format!("{}: {}", named(app), words(error))
}

/// An error for the terminal: it can contain words of the app.
fn words(error: &ClientError) -> String {
    plain(&error.to_string())
}

/// Whether `text` means this app: its name in any case, its identifier, or its process id.
pub(super) fn means(text: &str, app: &AppInfo) -> bool {
    app.name.eq_ignore_ascii_case(text)
        || app.identifier.as_deref() == Some(text)
        || text.parse().is_ok_and(|pid: u32| pid == app.pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_is_meant_by_name_identifier_and_process() {
        let app = AppInfo::new("My Notes").identifier("com.example.notes");
        for text in ["My Notes", "my notes", "com.example.notes", &app.pid.to_string()] {
            assert!(means(text, &app), "{text}");
        }
        for text in ["Notes", "com.example", "0", ""] {
            assert!(!means(text, &app), "{text}");
        }
        assert!(!means("", &AppInfo::new("x")));
    }

    #[test]
    fn an_app_that_gives_no_answer_runs() {
        let found = |problems: &[&str]| {
            let problems = problems.iter().map(|&problem| problem.to_owned()).collect();
            Overview { running: Vec::new(), problems }.none()
        };
        assert_eq!(found(&[]), NONE_RUNS);
        assert_eq!(
            found(&["process 1 is suspended"]),
            "no app with sidecars has answered\n  process 1 is suspended"
        );
    }

    #[test]
    fn words_of_an_app_do_not_control_the_terminal() {
        let app = AppInfo::new("a\u{1b}]0;app\u{7}");
        let status =
            r#"{"sidecar":"b\u001b[2J","seq":1,"at":0,"state":"ready","readiness":"up","restarts":0}"#;
        let listed = line(&app, &[serde_json::from_str(status).unwrap()]);
        let refused = failed(&app, &ClientError::Malformed("c\u{1b}[2J".to_owned()));
        assert!(listed.contains("b\u{fffd}[2J") && refused.contains("c\u{fffd}[2J"), "{listed} {refused}");
        assert!(!listed.chars().chain(refused.chars()).any(char::is_control), "{listed:?} {refused:?}");
    }
}
