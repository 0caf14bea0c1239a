//! `pillion report`: all that is known of the sidecars of running apps, in one zip file without secrets.

use std::{
    fs::OpenOptions,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::SystemTime,
};

use clap::Args as ClapArgs;
use pillion::Diagnosis;
use pillion_control::{ClientError, ControlAnswer, ControlRequest, DiscoveredApp};

use super::{
    Stopped, plain, run,
    select::{Overview, failed, named},
};
use crate::doctor;

/// Write all that is known of the sidecars of running apps into a zip file, for the person who looks for a fault.
///
/// It has what each sidecar runs, its last states, how its last runs ended, and what the app keeps of its output; and, in the folder
/// of a Tauri project, what `pillion doctor` finds. Each app leaves out its secrets before it answers: tokens, values of environment
/// variables, and what has the name of a secret. What a sidecar prints of its users' data stays: read it before you publish it.
///
/// Exit status: 0, 1 if nothing is known or the file cannot be written. An existing file is not replaced.
#[derive(Debug, ClapArgs)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// Only this app, by its name, its identifier or its process id.
    #[arg(long, value_name = "APP")]
    app: Option<String>,
    /// The file to write; by default pillion-report-TIME.zip in this folder.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// A folder of the Tauri project.
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    project: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  Of all running apps:
    pillion report
  Of one app, into this file:
    pillion report --app com.example.notes --output notes.zip";

pub(crate) fn main(args: &Args) -> ExitCode {
    run(async {
        let overview = Overview::take().await;
        overview.warn();
        let overview = match &args.app {
            Some(app) => overview.of_app(app)?,
            None => overview,
        };
        let mut diagnosis = Diagnosis::new();
        for running in &overview.running {
            let app = &running.app;
            // An app that ends meanwhile, or does not answer, does not prevent a report about the others.
            if let Err(error) = add_app(app, &mut diagnosis).await {
                let why = match error {
                    ClientError::Ended => format!("{} has ended", named(app.info())),
                    error => failed(app.info(), &error),
                };
                anstream::eprintln!("pillion: {why}");
                diagnosis.add(&format!("{}/problem.txt", folder(app)), &why);
            }
        }
        match doctor::findings(args.project.clone()) {
            Ok(findings) => diagnosis.add("doctor.json", &findings),
            Err(why) if diagnosis.files().is_empty() => {
                return Err(Stopped::Because(format!("{}; and {why}", overview.why_none())));
            }
            Err(_) => {}
        }
        // Those that do not even tell which sidecars they have.
        if args.app.is_none() && !overview.problems.is_empty() {
            diagnosis.add("problems.txt", &(overview.problems.join("\n") + "\n"));
        }
        let path = args.output.clone().unwrap_or_else(default_name);
        let write = |bytes: &[u8]| {
            let mut options = OpenOptions::new();
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            options.write(true).create_new(true).open(&path)?.write_all(bytes)
        };
        diagnosis
            .zip()
            .and_then(|bytes| write(&bytes))
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        let files = diagnosis.files().len();
        writeln!(
            io::stdout(),
            "{}: {files} files, without the secrets that Pillion knows; read them before you publish them",
            path.display()
        )?;
        Ok(())
    })
}

/// Adds the files of an app, in a folder of its own. They are redacted once more, by the secrets of this program.
async fn add_app(app: &DiscoveredApp, diagnosis: &mut Diagnosis) -> Result<(), ClientError> {
    let mut answers = app.request(&ControlRequest::Diagnose { sidecar: None }).await?;
    let folder = folder(app);
    while let Some(answer) = answers.next().await? {
        if let ControlAnswer::File { name, text } = answer {
            let name: Vec<_> = name.split('/').map(file_name).collect();
            diagnosis.add(&format!("{folder}/{}", name.join("/")), &text);
        }
    }
    Ok(())
}

/// The folder of an app in the report.
fn folder(app: &DiscoveredApp) -> String {
    format!("{}-{}", file_name(&app.info().name), app.info().pid)
}

/// A name that another program has chosen, as the name of a file: it leads to no other folder.
fn file_name(name: &str) -> String {
    let kept = |letter: char| if letter.is_alphanumeric() || "-_.".contains(letter) { letter } else { '_' };
    let name: String = plain(name).chars().map(kept).collect();
    if name.chars().all(|letter| letter == '.') { "_".to_owned() } else { name }
}

#[expect(clippy::disallowed_methods, reason = "it is only a name")]
fn default_name() -> PathBuf {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    format!("pillion-report-{}.zip", now.replace(':', "-")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_an_app_leads_to_no_other_folder() {
        for (name, file) in
            [("Notes", "Notes"), ("..", "_"), ("../../x", ".._.._x"), ("a\u{1b}[2J", "a__2J"), ("", "_")]
        {
            assert_eq!(file_name(name), file);
        }
        assert!(!default_name().display().to_string().contains(':'));
    }
}
