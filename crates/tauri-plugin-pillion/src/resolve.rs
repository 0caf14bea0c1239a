//! Decides which program a sidecar runs, or which server of the developer is used instead.

use std::{
    env::consts::EXE_SUFFIX,
    io,
    num::NonZeroU16,
    path::{Path, PathBuf},
    time::Duration,
};

use pillion::{Liveness, Program, Spec};
use pillion_config::{ConfigError, DevConfig, OnChange, ProgramSource, SidecarConfig, Variables};
use tauri::{Config, Runtime, path::PathResolver};

use crate::desktop::{dev_reload::WatchedFiles, development::Development};

/// How long a command of `dev` may take to become ready: it may have to compile.
const DEV_READY_TIMEOUT: Duration = Duration::from_secs(600);

/// What the declarations are resolved with.
#[derive(Debug)]
pub(crate) struct DeclarationResolver {
    /// The folder of the app's own executable, where Tauri puts sidecars.
    pub(crate) folder: PathBuf,
    pub(crate) variables: Variables,
    pub(crate) development: Development,
    /// The origins of the app's pages.
    pub(crate) origins: Vec<String>,
}

/// A sidecar as it is started.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) spec: Spec,
    /// The files whose change starts it again.
    pub(crate) watched: Option<WatchedFiles>,
}

impl DeclarationResolver {
    /// The sidecar called `name`. The file of its program may be absent: the supervisor then says what is wrong with it.
    pub(crate) fn resolve(&self, name: &str, declared: &SidecarConfig) -> Result<Resolved, ConfigError> {
        // Checked in every build, so that a developer sees the error before a user does.
        let path = self.program(name, declared)?;
        if let Some(port) = self.development.attached(name, &self.origins) {
            return self.attached(name, port, declared);
        }
        if let (Some(project), Some(dev)) = (&self.development.project, &declared.dev) {
            return self.dev(name, project, dev, declared);
        }
        let mut program = Program::new(path.clone())
            .args(declared.args(name, &self.variables)?)
            // Windows locks the file of a running program, so that no build could replace it.
            .run_copy(cfg!(windows) && self.development.reload && declared.command.is_none())
            .allowed_origins(&self.origins);
        if let Some(cwd) = declared.cwd(name, &self.variables)? {
            program = program.current_dir(literal(&cwd));
        }
        // In development, each build makes another file. It is declared wrongly there, too, if it is.
        if let Some(digest) = declared.sha256() {
            let checked = program.clone().sha256(digest);
            Spec::run(name, checked.clone())
                .validate()
                .map_err(|invalid| ConfigError::Invalid { sidecar: name.to_owned(), invalid })?;
            if self.development.project.is_none() {
                program = checked;
            }
        }
        let spec = Spec::run(name, declared.configure(program, name, &self.variables)?);
        // A command of the system is not rebuilt.
        let reload = self.development.reload && declared.command.is_none();
        Ok(Resolved {
            spec: self.refine(declared, spec, name)?,
            watched: reload.then(|| WatchedFiles::program(&path, on_change(declared, OnChange::Swap))),
        })
    }

    /// A sidecar that the app's code adds.
    pub(crate) fn resolve_spec(&self, spec: Spec) -> Resolved {
        let spec = match self.development.attached(spec.name(), &self.origins) {
            Some(port) => spec.attached(port),
            None => spec.map_program(|program| program.add_allowed_origins(&self.origins)),
        };
        Resolved { spec, watched: None }
    }

    fn attached(
        &self,
        name: &str,
        port: NonZeroU16,
        declared: &SidecarConfig,
    ) -> Result<Resolved, ConfigError> {
        Ok(Resolved { spec: self.refine(declared, Spec::attach(name, port), name)?, watched: None })
    }

    /// The command that runs in development.
    fn dev(
        &self,
        name: &str,
        project: &Path,
        dev: &DevConfig,
        declared: &SidecarConfig,
    ) -> Result<Resolved, ConfigError> {
        let field = "dev.command";
        let [program_name, args @ ..] = dev.command.as_slice() else {
            return Err(ConfigError::EmptyCommand { sidecar: name.to_owned(), field });
        };
        let variables = &self.variables;
        let cwd = match &dev.cwd {
            Some(cwd) => project.join(variables.folder(cwd, name, "dev.cwd")?),
            None => project.to_owned(),
        };
        let mut program = Program::new(found(variables.path(program_name, name, field)?, &cwd))
            .args(variables.expand_all(args, name, field)?)
            .current_dir(literal(&cwd))
            .allowed_origins(&self.origins);
        program = declared.configure(program, name, variables)?;
        for (variable, value) in &dev.env {
            program = program.env(variable, variables.expand(value, name, &format!("dev.env.{variable}"))?);
        }
        let wanted =
            if locks_its_program(program_name, cfg!(windows)) { OnChange::Restart } else { dev.on_change };
        let watched = dev
            .watch_patterns(name)?
            .map(|patterns| WatchedFiles::patterns(&cwd, patterns, on_change(declared, wanted)));
        let timeout =
            declared.ready_timeout().map_or(DEV_READY_TIMEOUT, |declared| declared.max(DEV_READY_TIMEOUT));
        let max = declared.ready_timeout_max().map(|declared| declared.max(timeout));
        let spec = self.refine(declared, Spec::run(name, program), name)?;
        let spec = spec.ready_timeout(timeout).ready_timeout_max(max);
        Ok(Resolved { spec, watched })
    }

    /// Applies the settings that do not depend on where the server comes from.
    fn refine(&self, declared: &SidecarConfig, spec: Spec, name: &str) -> Result<Spec, ConfigError> {
        let spec = declared.refine(spec, name)?;
        let spec = match declared.exec_check(name, &self.variables)? {
            Some(check) => spec.ready_check(check),
            None => spec,
        };
        // A sidecar that a breakpoint holds neither answers nor sends `WATCHDOG=1`, and must not be killed. One that is watched by its
        // messages is not probed, so that the default changes nothing else.
        let may_be_debugged = self.development.project.is_some();
        let watched = || declared.watchdog().map(|_| Liveness::default());
        let liveness = declared.liveness().or_else(watched).filter(|_| may_be_debugged);
        Ok(match liveness {
            Some(liveness) => spec.liveness(liveness.with_restart(false)),
            None => spec,
        })
    }

    /// The path of the declared program.
    fn program(&self, name: &str, declared: &SidecarConfig) -> Result<PathBuf, ConfigError> {
        Ok(match declared.source(name, &self.variables)? {
            ProgramSource::Resource(resource) => self.resource(&resource),
            ProgramSource::System(command) => found(command, Path::new("")),
            // The suffix is appended, because `with_extension` would turn `a.b` into `a.exe`.
            ProgramSource::Beside(file) => self.folder.join(format!("{file}{EXE_SUFFIX}")),
        })
    }

    fn resource(&self, resource: &str) -> PathBuf {
        let folder = self.variables.get("RESOURCE").unwrap_or(&self.folder);
        let path = folder.join(resource);
        let with_suffix = folder.join(format!("{resource}{EXE_SUFFIX}"));
        if !path.is_file() && with_suffix.is_file() { with_suffix } else { path }
    }
}

/// What a change does to this sidecar.
fn on_change(declared: &SidecarConfig, wanted: OnChange) -> OnChange {
    if declared.can_be_swapped() { wanted } else { OnChange::Restart }
}

/// Whether this command of development builds a program to the same file each time, and runs that. Windows locks the file of a running
/// program, so that no other one could be built beside it.
fn locks_its_program(command: &str, windows: bool) -> bool {
    let tool = Path::new(command).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    windows && ["cargo", "dotnet"].iter().any(|name| tool.eq_ignore_ascii_case(name))
}

/// The path for a program whose placeholders are replaced: its dollar signs are not placeholders.
fn literal(path: &Path) -> PathBuf {
    match path.to_str() {
        Some(text) => text.replace('$', "$$").into(),
        // Only Unicode is searched for placeholders.
        None => path.to_owned(),
    }
}

/// The path of a command: a bare name is left for the search in `PATH`, and a relative path starts in `folder`.
fn found(command: PathBuf, folder: &Path) -> PathBuf {
    let is_bare = command.components().count() == 1;
    let path = if is_bare { command } else { folder.join(command) };
    // The system appends `.exe` alone, and many tools, such as npx and those in node_modules/.bin, are `.cmd` files. The directory of a
    // relative path is not known here.
    #[cfg(windows)]
    if (is_bare || path.is_absolute())
        && let Ok(path) = which::which(&path)
    {
        return path;
    }
    path
}

/// The folder of the app's own executable. Tauri's function resolves symbolic links: the sidecar lies beside the app, and not beside a link
/// to it.
pub(crate) fn folder_of_app() -> io::Result<PathBuf> {
    let own = tauri::utils::platform::current_exe()?;
    let folder = own.parent().ok_or_else(|| io::Error::other("the app's own executable has no folder"))?;
    // A program learns its own path as it was started, and many find their files by it; no pattern of a file matches a verbatim one.
    Ok(dunce::simplified(folder).to_owned())
}

/// The variables that a declaration may use, with the folders that the system provides.
pub(crate) fn variables<R: Runtime>(paths: &PathResolver<R>) -> Variables {
    let of_app = [
        ("APPDATA", paths.app_data_dir()),
        ("APPLOCALDATA", paths.app_local_data_dir()),
        ("APPCONFIG", paths.app_config_dir()),
        ("APPCACHE", paths.app_cache_dir()),
        ("APPLOG", paths.app_log_dir()),
    ];
    let of_others =
        [("RESOURCE", paths.resource_dir()), ("TEMP", paths.temp_dir()), ("HOME", paths.home_dir())];
    // Many programs reject the verbatim paths (`\\?\C:\…`) that Tauri returns on Windows.
    let known = |(name, path): (&'static str, tauri::Result<PathBuf>)| {
        Some((name, dunce::simplified(&path.ok()?).to_owned()))
    };
    Variables::new(of_app.into_iter().filter_map(known), of_others.into_iter().filter_map(known))
}

/// The origins of the app's own pages, which the sidecar is told to admit.
///
/// They differ by platform and configuration: `tauri://localhost` on macOS and Linux; on Windows `http://tauri.localhost`, or
/// `https://tauri.localhost` with `useHttpsScheme`; and in development the development server. No other origin is admitted: in
/// a browser `http://tauri.localhost` is any program that listens on port 80 of this machine. Windows that the app's code creates with
/// another scheme are not known here: `Builder::allowed_origins` adds their origins.
pub(crate) fn origins(config: &Config, dev: bool) -> Vec<String> {
    let mut origins = if cfg!(windows) {
        let https = config.app.windows.iter().any(|window| window.use_https_scheme);
        let http = config.app.windows.iter().any(|window| !window.use_https_scheme) || !https;
        let mut origins = Vec::new();
        origins.extend(https.then(|| "https://tauri.localhost".to_owned()));
        origins.extend(http.then(|| "http://tauri.localhost".to_owned()));
        origins
    } else {
        vec!["tauri://localhost".to_owned()]
    };
    if dev && let Some(url) = &config.build.dev_url {
        origins.push(url.origin().ascii_serialization());
    }
    origins
}

#[cfg(test)]
mod tests;
