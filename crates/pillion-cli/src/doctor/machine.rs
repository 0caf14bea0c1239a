//! What this machine has for an app with sidecars.

mod system;

use std::{
    env,
    path::{Path, PathBuf},
};

use pillion_config::{Config, DevConfig, WatchPatterns};

use super::{
    catalogue::{DBUS, DEV_COMMAND, DISPLAY, GUARD_PLACE, LOGIN_SHELL, WEBVIEW},
    report::Finding,
};
use crate::project::Project;

/// The facts about a machine. A missing fact does not matter on its system.
#[derive(Debug, Clone, Default)]
pub(super) struct Machine {
    /// Where the library of the webview was looked for, if it is missing.
    pub(super) no_webview: Option<String>,
    pub(super) no_display: Option<String>,
    pub(super) no_dbus: Option<String>,
    /// Why the guard's program can be executed from nowhere.
    pub(super) no_guard_place: Option<String>,
    /// Why the login shell cannot be executed.
    pub(super) no_login_shell: Option<String>,
    /// The folders in which a bare command is looked up.
    pub(super) path: Vec<PathBuf>,
}

impl Machine {
    /// The facts about this machine.
    pub(super) fn look() -> Self {
        Self {
            no_webview: system::no_webview(),
            no_display: system::no_display(),
            no_dbus: system::no_dbus(),
            no_guard_place: system::no_guard_place(),
            no_login_shell: system::no_login_shell(),
            path: env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default(),
        }
    }

    /// Whether a command can be started: a path, or a name in one of the folders of `PATH`.
    fn has(&self, command: &str, folder: &Path) -> bool {
        if command.contains(['/', '\\']) {
            return is_program(&folder.join(command));
        }
        self.path.iter().any(|path| is_program(&path.join(command)))
    }
}

/// Whether a file can be started. On Windows, a suffix of `PATHEXT` may be left out.
fn is_program(path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    }
    #[cfg(not(unix))]
    {
        let suffixes = env::var("PATHEXT").unwrap_or_else(|_| ".EXE;.CMD;.BAT;.COM".to_owned());
        let with = |suffix: &str| PathBuf::from(format!("{}{suffix}", path.display()));
        path.is_file() || suffixes.split(';').any(|suffix| with(suffix).is_file())
    }
}

pub(super) fn check(
    machine: &Machine,
    project: &Project,
    declared: Option<&Config>,
    found: &mut Vec<Finding>,
) {
    let here = "this machine";
    let mut push = |kind, fact: &Option<String>| {
        found.extend(fact.as_ref().map(|detail| Finding::new(kind, here, detail)));
    };
    push(&WEBVIEW, &machine.no_webview);
    push(&DISPLAY, &machine.no_display);
    if project.manifest.dependency("tauri-plugin-single-instance").is_some() {
        push(&DBUS, &machine.no_dbus);
    }
    push(&GUARD_PLACE, &machine.no_guard_place);
    let sidecars = declared.into_iter().flat_map(|declared| &declared.sidecars);
    if sidecars.clone().any(|(_, sidecar)| sidecar.uses_login_shell()) {
        push(&LOGIN_SHELL, &machine.no_login_shell);
    }
    for (name, dev) in sidecars.filter_map(|(name, sidecar)| Some((name, sidecar.dev.as_ref()?))) {
        let absent = absent_in_development(machine, project, name, dev);
        found.extend(absent.map(|detail| Finding::new(&DEV_COMMAND, here, detail)));
    }
}

/// What `dev` of a sidecar names and the machine has not.
fn absent_in_development(
    machine: &Machine,
    project: &Project,
    name: &str,
    dev: &DevConfig,
) -> Option<String> {
    let command = dev.command.first()?;
    let cwd = dev.cwd.as_deref().unwrap_or_default();
    // A variable, such as $HOME, is only known to the app.
    if command.contains('$') || cwd.contains('$') {
        return None;
    }
    let folder = project.root.join(cwd);
    if !folder.is_dir() {
        let shown = Project::shown(&folder);
        return Some(format!(
            "dev.cwd of the sidecar {name:?} is {cwd:?}, but the folder {shown} does not exist"
        ));
    }
    if !machine.has(command, &folder) {
        return Some(format!("dev.command of the sidecar {name:?} starts {command:?}, which was not found"));
    }
    let matches_none = |pattern: &&String| {
        let only = WatchPatterns::new(std::slice::from_ref(*pattern));
        !pattern.starts_with('!') && only.is_ok_and(|only| only.files(&folder).is_empty())
    };
    let pattern = dev.watch.iter().find(matches_none)?;
    let shown = Project::shown(&folder);
    Some(format!("dev.watch of the sidecar {name:?} has {pattern:?}, which matches no file in {shown}"))
}
