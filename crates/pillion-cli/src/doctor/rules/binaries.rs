//! The files that `bundle.externalBin` names.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use pillion_config::{Config, PackageConfig, SidecarConfig, WatchPatterns};

use super::super::{
    Environment,
    catalogue::{
        APPIMAGE_STRIP, ARCHITECTURE, BINARY_NAME, EMPTY_BINARY, JIT_ENTITLEMENT, JIT_ENTITLEMENT_UNSIGNED,
        Kind, LIBRARY_ENTITLEMENT, LIBRARY_ENTITLEMENT_UNSIGNED, MISSING_BINARY, NOT_A_PROGRAM, SCRIPT,
        STALE, TEMP_EXECUTION, UNIVERSAL, UNSIGNED,
    },
    names::{self, FileName},
    report::Finding,
};
use crate::{
    binary::{self, Arch, Binary, Content, Native, Runtime, system_name},
    package,
    project::{MergedConfig, Platform, Project, TargetTriple, last_part},
};

/// The files of one entry of `bundle.externalBin`.
#[derive(Debug)]
struct Programs<'a> {
    entry: &'a str,
    by_target: BTreeMap<TargetTriple, PathBuf>,
}

/// Checks the files of all targets of one platform, and that those of `targets` exist.
pub(in super::super) fn check(
    project: &Project,
    config: &MergedConfig<'_>,
    declared: Option<&Config>,
    targets: &[TargetTriple],
    environment: &Environment,
    found: &mut Vec<Finding>,
) {
    let entries = config.external_bin().unwrap_or_default();
    for entry in &entries {
        // Another finding says so.
        if names::suffix(last_part(entry)).is_some() {
            continue;
        }
        let before = found.len();
        let programs = programs(project, config.platform, entry, &entries, found);
        missing(project, config.platform, &programs, targets, found);
        for (target, file) in &programs.by_target {
            program(project, config, target, file, environment, found);
            if let Some(declared) = declared {
                stale(project, declared, entry, target, file, found);
            }
        }
        if let Some(declared) = declared {
            without_package(declared, entry, &mut found[before..]);
        }
    }
}

/// Does not advise `pillion package` for a program of which no declaration says how it is built.
fn without_package(declared: &Config, entry: &str, found: &mut [Finding]) {
    if runners(declared, entry).any(|(_, sidecar)| sidecar.package.is_some()) {
        return;
    }
    let limit = match runners(declared, entry).next() {
        Some((name, _)) => format!(
            "`pillion package` does so after plugins.pillion.sidecars.{name} says how, in `package` (docs/package.md)."
        ),
        None => {
            "No sidecar is declared with this program, so `pillion package` does not build it.".to_owned()
        }
    };
    for finding in found {
        if let Some(by_hand) = finding.kind.by_hand {
            finding.cure = format!("{by_hand} {limit}").into();
        }
    }
}

/// The sidecars whose program is this entry of `bundle.externalBin`.
fn runners<'a>(declared: &'a Config, entry: &str) -> impl Iterator<Item = (&'a String, &'a SidecarConfig)> {
    declared.sidecars.iter().filter(move |(name, sidecar)| {
        sidecar.resource.is_none()
            && sidecar.command.is_none()
            && sidecar.program.as_deref().unwrap_or(name.as_str()) == last_part(entry)
    })
}

/// Lists the files of an entry. Their names are checked on the way.
fn programs<'a>(
    project: &Project,
    platform: Platform,
    entry: &'a str,
    entries: &[String],
    found: &mut Vec<Finding>,
) -> Programs<'a> {
    let path = project.tauri.join(entry);
    let (folder, name) = (path.parent().unwrap_or(&project.tauri), last_part(entry));
    let mut files: Vec<_> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|it| it.path()).collect();
    files.sort();
    let mut by_target = BTreeMap::new();
    for path in files.into_iter().filter(|path| path.is_file()) {
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // `backend-admin-TRIPLE` belongs to the entry `backend-admin`.
        let of_other = entries
            .iter()
            .map(|other| last_part(other))
            .any(|other| other.len() > name.len() && other.starts_with(name) && file.starts_with(other));
        if of_other {
            continue;
        }
        match names::read(&file, name) {
            Some(FileName::For(target)) if target.platform() == Some(platform) => {
                by_target.insert(target, path);
            }
            Some(FileName::Wrong(why)) => {
                found.push(Finding::new(&BINARY_NAME, Project::shown(&path), why));
            }
            Some(FileName::For(_)) | None => {}
        }
    }
    Programs { entry, by_target }
}

fn missing(
    project: &Project,
    platform: Platform,
    programs: &Programs<'_>,
    targets: &[TargetTriple],
    found: &mut Vec<Finding>,
) {
    let file = |target: &TargetTriple| {
        Project::shown(&project.tauri.join(MergedConfig::external_file(programs.entry, target)))
    };
    let mut wanted: Vec<TargetTriple> =
        targets.iter().filter(|target| target.platform() == Some(platform)).cloned().collect();
    wanted.extend(programs.by_target.keys().filter(|target| target.is_universal()).cloned());
    wanted.sort();
    wanted.dedup();
    for target in wanted {
        let needed = target.needed();
        let absent: Vec<_> = needed.iter().filter(|it| !programs.by_target.contains_key(it)).collect();
        match absent.as_slice() {
            [] => {}
            absent if absent.len() < needed.len() => {
                let files: Vec<_> = absent.iter().map(|target| file(target)).collect();
                found.push(Finding::new(&UNIVERSAL, file(&target), format!("missing: {}", files.join(", "))));
            }
            _ => found.push(Finding::new(&MISSING_BINARY, file(&target), format!("needed for {target}"))),
        }
    }
}

/// Checks one file. A file that is not a program has only one finding.
fn program(
    project: &Project,
    config: &MergedConfig<'_>,
    target: &TargetTriple,
    path: &Path,
    environment: &Environment,
    found: &mut Vec<Finding>,
) {
    let shown = Project::shown(path);
    let new = |kind: &'static Kind, detail: String| Finding::new(kind, shown.clone(), detail);
    let Binary { content, runtime } = match binary::read(path) {
        Ok(binary) => binary,
        Err(error) => return found.push(new(&NOT_A_PROGRAM, format!("cannot be read: {error}"))),
    };
    match content {
        Content::Empty => return found.push(new(&EMPTY_BINARY, "0 bytes".to_owned())),
        Content::Other => {
            let size = fs::metadata(path).map_or(0, |metadata| metadata.len());
            return found
                .push(new(&NOT_A_PROGRAM, format!("{size} bytes, neither ELF, PE or Mach-O nor #!")));
        }
        Content::Script => found.push(new(&SCRIPT, "begins with #!".to_owned())),
        Content::Native(native) => {
            if let Some(why) = mismatch(&native, target) {
                return found.push(new(
                    if target.is_universal() && native.system == Platform::MacOs {
                        &UNIVERSAL
                    } else {
                        &ARCHITECTURE
                    },
                    why,
                ));
            }
            if native.system == Platform::MacOs
                && native.archs.contains(&Some(Arch::Aarch64))
                && !native.signed
            {
                found.push(new(&UNSIGNED, "has no code signature (LC_CODE_SIGNATURE)".to_owned()));
            }
        }
    }
    found.extend(mode(path, target, &new));
    let Some(runtime) = runtime else { return };
    match config.platform {
        Platform::Linux => {
            if runtime.breaks_when_stripped() && config.bundles("appimage") && !environment.no_strip {
                found.push(new(
                    &APPIMAGE_STRIP,
                    format!("made by {runtime}; bundle.targets contains appimage"),
                ));
            }
        }
        Platform::MacOs => entitlements(project, config, runtime, environment, &new, found),
        Platform::Windows => {
            if runtime == Runtime::PyInstallerOnefile {
                found.push(new(&TEMP_EXECUTION, format!("made by {runtime}")));
            }
        }
    }
}

/// Why a program does not fit its target.
fn mismatch(native: &Native, target: &TargetTriple) -> Option<String> {
    let platform = target.platform().filter(|_| !native.fits(target))?;
    if target.is_universal() {
        return Some(format!("is a program for {native}, and must contain x86_64 and aarch64"));
    }
    let arch = Arch::of_triple(target.arch()).map_or(target.arch().to_owned(), |arch| arch.name().to_owned());
    Some(format!("is a program for {native}, and its name says {} {arch}", system_name(platform)))
}

/// What the mode of a file forbids. Only Unix has modes, and programs for Windows need none.
#[cfg(unix)]
fn mode(path: &Path, target: &TargetTriple, new: &impl Fn(&'static Kind, String) -> Finding) -> Vec<Finding> {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::{
        catalogue::{EXEC_BIT, READ_ONLY},
        report::Fix,
    };
    let Ok(metadata) = fs::metadata(path) else { return Vec::new() };
    let mode = metadata.permissions().mode() & 0o7777;
    let fix = |bits| Fix::Mode { file: path.to_owned(), bits };
    let mut found = Vec::new();
    if target.platform() != Some(Platform::Windows) && mode & 0o111 == 0 {
        found.push(new(&EXEC_BIT, format!("mode {mode:04o}")).with_fix(fix(0o111)));
    }
    if target.platform() == Some(Platform::MacOs) && mode & 0o200 == 0 {
        found.push(new(&READ_ONLY, format!("mode {mode:04o}")).with_fix(fix(0o200)));
    }
    found
}

#[cfg(not(unix))]
fn mode(_: &Path, _: &TargetTriple, _: &impl Fn(&'static Kind, String) -> Finding) -> Vec<Finding> {
    Vec::new()
}

fn entitlements(
    project: &Project,
    config: &MergedConfig<'_>,
    runtime: Runtime,
    environment: &Environment,
    new: &impl Fn(&'static Kind, String) -> Finding,
    found: &mut Vec<Finding>,
) {
    let ([signed, unsigned], key) = match runtime {
        runtime if runtime.needs_jit() => {
            ([&JIT_ENTITLEMENT, &JIT_ENTITLEMENT_UNSIGNED], "com.apple.security.cs.allow-jit")
        }
        Runtime::PyInstallerOnefile | Runtime::PyInstallerFolder => (
            [&LIBRARY_ENTITLEMENT, &LIBRARY_ENTITLEMENT_UNSIGNED],
            "com.apple.security.cs.disable-library-validation",
        ),
        _ => return,
    };
    let identity = config.get(&["bundle", "macOS", "signingIdentity"]).is_some_and(|it| !it.is_null());
    let kind = if identity || environment.signs_macos { signed } else { unsigned };
    let named = config.get(&["bundle", "macOS", "entitlements"]).and_then(serde_json::Value::as_str);
    let why = match named {
        None => "bundle.macOS.entitlements names no file".to_owned(),
        Some(file) => {
            let path = project.tauri.join(file);
            match plist::Value::from_file(&path) {
                Ok(value) => {
                    let set = value.as_dictionary().and_then(|keys| keys.get(key)?.as_boolean());
                    if set == Some(true) {
                        return;
                    }
                    format!("{} does not set {key}", Project::shown(&path))
                }
                Err(error) => format!("{} cannot be read: {error}", Project::shown(&path)),
            }
        }
    };
    found.push(new(kind, format!("made by {runtime}; {why}")));
}

/// Compares the file with its sources: those that `package` of its declaration builds, and those that `dev` watches.
/// The stamp of `pillion package` knows the content, so it decides if it is there and current.
fn stale(
    project: &Project,
    declared: &Config,
    entry: &str,
    target: &TargetTriple,
    file: &Path,
    found: &mut Vec<Finding>,
) {
    let Ok(built) = fs::metadata(file).and_then(|metadata| metadata.modified()) else { return };
    for (name, sidecar) in runners(declared, entry) {
        let watched = sidecar.dev.as_ref().and_then(|dev| {
            newest_match(&project.root.join(dev.cwd.as_deref().unwrap_or_default()), &dev.watch)
        });
        let packaged = sidecar.package.as_ref().and_then(|package| newest_source(&project.root, package));
        let newest = watched.into_iter().chain(packaged).max_by_key(|(_, changed)| *changed);
        if let Some((path, _)) = newest.filter(|(_, changed)| *changed > built) {
            if package::is_up_to_date(project, name, target, file) {
                continue;
            }
            let detail = format!("{} is newer", Project::shown(&path));
            found.push(Finding::new(&STALE, Project::shown(file), detail));
            return;
        }
    }
}

/// Folders that are not sources, as `pillion package` leaves them out.
const NO_SOURCES: [&str; 9] =
    ["__pycache__", "binaries", "build", "dist", "env", "node_modules", "src-tauri", "target", "venv"];

/// The file that was changed last, of those that `pillion package` builds the program from.
fn newest_source(root: &Path, package: &PackageConfig) -> Option<(PathBuf, SystemTime)> {
    let folders = [&package.rust, &package.go].into_iter().flatten().map(|folder| root.join(folder));
    let mains = [&package.node, &package.bun, &package.python].into_iter().flatten();
    // Without a folder, the project is the folder of the main file.
    let of_mains = mains.map(|main| root.join(main).parent().unwrap_or(root).to_owned());
    let inputs = package.inputs.iter().map(|input| root.join(input));
    let files = folders.chain(of_mains).chain(inputs).flat_map(|path| {
        let is_source = |entry: &walkdir::DirEntry| {
            let name = entry.file_name().to_string_lossy();
            entry.depth() == 0 || !(name.starts_with('.') || NO_SOURCES.contains(&name.as_ref()))
        };
        walkdir::WalkDir::new(path).into_iter().filter_entry(is_source).flatten().collect::<Vec<_>>()
    });
    let changed = files
        .filter(|entry| entry.file_type().is_file())
        .filter_map(|entry| Some((entry.path().to_owned(), entry.metadata().ok()?.modified().ok()?)));
    changed.max_by_key(|(_, changed)| *changed)
}

/// The file that was changed last, of those that `dev.watch` means.
fn newest_match(folder: &Path, patterns: &[String]) -> Option<(PathBuf, SystemTime)> {
    let files = WatchPatterns::new(patterns).ok()?.files(folder).into_iter();
    let changed = files.filter_map(|path| Some((fs::metadata(&path).ok()?.modified().ok()?, path)));
    changed.max().map(|(changed, path)| (path, changed))
}
