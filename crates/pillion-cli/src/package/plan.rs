//! Which programs a run makes, and where the bundler expects them. Reads the project, and nothing else.

use std::path::{Path, PathBuf};

use pillion_config::PackageConfig;

use super::onedir;
use crate::project::{DeclaredSidecar, MergedConfig, Platform, Project, SidecarProgram, TargetTriple};

/// One program to make.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    pub(super) sidecar: DeclaredSidecar,
    /// The file name of the program, without target triple and suffix.
    pub(super) program: String,
    pub(super) config: PackageConfig,
    pub(super) target: TargetTriple,
    pub(super) destination: Destination,
}

/// Where the bundler expects a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Destination {
    /// A file of `bundle.externalBin`.
    File(PathBuf),
    /// A folder of `bundle.resources`, and the program in it.
    Folder { folder: PathBuf, program: PathBuf },
}

impl Destination {
    /// What is replaced.
    pub(super) fn path(&self) -> &PathBuf {
        match self {
            Self::File(path) => path,
            Self::Folder { folder, .. } => folder,
        }
    }

    pub(super) fn program(&self) -> &PathBuf {
        match self {
            Self::File(path) => path,
            Self::Folder { program, .. } => program,
        }
    }

    /// Whether a folder is as the last run for the sidecar left it. Otherwise says what has changed.
    pub(super) fn is_whole(&self, sidecar: &str) -> Result<(), String> {
        match self {
            Self::File(_) => Ok(()),
            Self::Folder { folder, .. } => onedir::is_whole(folder, sidecar),
        }
    }
}

/// The programs for these targets, each once, a universal one after its parts. With `names`, of these sidecars only.
///
/// # Errors
///
/// Fails if the configuration is wrong, a name is unknown, or no sidecar says how it is built.
pub(super) fn plan(
    project: &Project,
    targets: &[TargetTriple],
    names: &[String],
) -> Result<Vec<Planned>, String> {
    let mut needed: Vec<TargetTriple> = Vec::new();
    for target in targets.iter().flat_map(TargetTriple::needed) {
        if !needed.contains(&target) {
            needed.push(target);
        }
    }
    needed.sort_by_key(TargetTriple::is_universal);
    let mut planned = Vec::new();
    for target in needed {
        let platform = target.platform().ok_or_else(|| {
            format!("Tauri bundles no desktop apps for the target {target}: choose a target of Linux, macOS or Windows")
        })?;
        planned.extend(for_target(project, &target, platform, names)?);
    }
    Ok(planned)
}

fn for_target(
    project: &Project,
    target: &TargetTriple,
    platform: Platform,
    names: &[String],
) -> Result<Vec<Planned>, String> {
    let config = project.config.on(platform);
    let sidecars = config.sidecars().map_err(|error| error.to_string())?.unwrap_or_default();
    let base = &project.config.base.path;
    if let Some(unknown) = names.iter().find(|name| !sidecars.iter().any(|sidecar| sidecar.name == **name)) {
        let declared: Vec<_> = sidecars.iter().map(|sidecar| sidecar.name.as_str()).collect();
        return Err(format!(
            "{} declares no sidecar {unknown:?}: it declares {}",
            base.display(),
            if declared.is_empty() { "none".to_owned() } else { declared.join(", ") }
        ));
    }
    let all = sidecars.clone();
    let wanted = sidecars.into_iter().filter(|sidecar| names.is_empty() || names.contains(&sidecar.name));
    let (with, without): (Vec<_>, Vec<_>) =
        wanted.partition(|sidecar| sidecar.fields.contains_key("package"));
    let asked = without.iter().filter(|sidecar| with.is_empty() || names.contains(&sidecar.name));
    // Those that could be built come first.
    if let Some(sidecar) = asked.min_by_key(|sidecar| matches!(sidecar.program, SidecarProgram::System(_))) {
        return Err(not_built(sidecar, base));
    }
    if with.is_empty() {
        return Err(format!(
            "{} declares no sidecar: `pillion init` adds one, or write plugins.pillion.sidecars yourself",
            base.display()
        ));
    }
    let planned: Vec<_> =
        with.into_iter().map(|sidecar| one(project, &config, sidecar, target)).collect::<Result<_, _>>()?;
    for Planned { sidecar, destination, .. } in &planned {
        let Destination::Folder { folder, .. } = destination else { continue };
        for other in all.iter().filter(|other| other.name != sidecar.name) {
            if let Some(path) =
                source(project, &config, other, target)?.filter(|path| path.starts_with(folder))
            {
                return Err(format!(
                    "`onedir` needs the folder {} for the sidecar {}, but the program of {} is {}: give each \
                     its own folder, for example \"resource\": \"{1}/{1}\" and \"bundle\": {{ \"resources\": {{ \
                     \"binaries/{1}/\": \"{1}/\" }} }}",
                    folder.display(),
                    sidecar.name,
                    other.name,
                    path.display()
                ));
            }
        }
    }
    Ok(planned)
}

/// Why a sidecar without `package` is not built, and what to do.
fn not_built(sidecar: &DeclaredSidecar, declaration: &Path) -> String {
    let (name, declaration) = (&sidecar.name, declaration.display());
    if let SidecarProgram::System(command) = &sidecar.program {
        return format!(
            "the sidecar {name} runs the program {command} of the system (`command` in {declaration}), which no bundle contains: there is nothing \
             to build for it"
        );
    }
    format!(
        "the sidecar {name} does not say how it is built: add `package` to its declaration in {declaration}, for example \
         \"package\": {{ \"node\": \"backend/src/index.ts\" }}; `pillion package --help` has the other ways"
    )
}

/// The file in the project that the bundler takes the program of a sidecar from, if it takes one.
fn source(
    project: &Project,
    config: &MergedConfig<'_>,
    sidecar: &DeclaredSidecar,
    target: &TargetTriple,
) -> Result<Option<PathBuf>, String> {
    let path = match &sidecar.program {
        SidecarProgram::External { entry, .. } => {
            entry.as_ref().map(|entry| MergedConfig::external_file(entry, target).into())
        }
        SidecarProgram::Resource(resource) => {
            let (in_resources, name) = resource.rsplit_once('/').unwrap_or(("", resource));
            resource_folder(config, in_resources)?.map(|folder| folder.join(name))
        }
        SidecarProgram::System(_) => None,
    };
    Ok(path.map(|path| project.tauri.join(path)))
}

fn one(
    project: &Project,
    config: &MergedConfig<'_>,
    sidecar: DeclaredSidecar,
    target: &TargetTriple,
) -> Result<Planned, String> {
    let keys = ["plugins", "pillion", "sidecars", sidecar.name.as_str(), "package"];
    let wrong = |message: String| {
        config
            .error(&keys, format!("plugins.pillion.sidecars.{}.package: {message}", sidecar.name))
            .to_string()
    };
    let package: PackageConfig = serde_json::from_value(sidecar.fields["package"].clone())
        .map_err(|error| wrong(error.to_string()))?;
    package.tool().map_err(|message| wrong(message.to_owned()))?;
    let suffix = target.executable_suffix();
    let (program, destination) = match &sidecar.program {
        SidecarProgram::External { file, entry: Some(entry) } if !package.onedir => {
            let path = project.tauri.join(MergedConfig::external_file(entry, target));
            (file.clone(), Destination::File(path))
        }
        SidecarProgram::External { file, entry: None } if !package.onedir => {
            return Err(wrong(format!(
                "`bundle.externalBin` has no entry for the program {file}: add \"binaries/{file}\""
            )));
        }
        SidecarProgram::External { .. } => {
            return Err(wrong(format!(
                "`onedir` makes a folder of resources: declare its program by \"resource\": \"{0}/{0}\", and add \
                 \"bundle\": {{ \"resources\": {{ \"binaries/{0}/\": \"{0}/\" }} }}",
                sidecar.name
            )));
        }
        SidecarProgram::Resource(resource) => {
            let (in_resources, name) = resource.rsplit_once('/').unwrap_or(("", resource));
            let folder = resource_folder(config, in_resources)?.ok_or_else(|| {
                wrong(format!(
                    "no entry of `bundle.resources` has the folder of {resource:?} as its target: add \"bundle\": {{ \"resources\": \
                     {{ \"binaries/{in_resources}/\": \"{in_resources}/\" }} }}"
                ))
            })?;
            let folder = project.tauri.join(folder);
            let name = name.strip_suffix(".exe").unwrap_or(name);
            let program = folder.join(format!("{name}{suffix}"));
            let destination = if package.onedir {
                Destination::Folder { folder, program }
            } else {
                Destination::File(program)
            };
            (name.to_owned(), destination)
        }
        SidecarProgram::System(command) => {
            return Err(wrong(format!(
                "the sidecar runs the program {command} of the system, which no bundle contains: leave `package` out"
            )));
        }
    };
    Ok(Planned { sidecar, program, config: package, target: target.clone(), destination })
}

/// The folder that `bundle.resources` copies to this folder of the resources.
fn resource_folder(config: &MergedConfig<'_>, in_resources: &str) -> Result<Option<PathBuf>, String> {
    let entries = config.resources().map_err(|error| error.to_string())?;
    Ok(entries.iter().find_map(|entry| entry.source_of(in_resources)))
}
