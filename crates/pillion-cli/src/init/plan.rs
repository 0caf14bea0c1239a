//! What `pillion init` changes in a project. Reads the project, and writes nothing.

mod app;
mod packages;
mod present;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{
    backend::Backend,
    configuration::Wanted,
    csp,
    edits::Edits,
    source::{CLIENT, Source, relative_path},
};
use crate::project::{Document, PackageManager, Platform, Project, SidecarProgram, last_part, workspace_of};

/// The choices of a run.
#[derive(Debug, Clone)]
pub(super) struct Choices {
    /// The name of the sidecar.
    pub(super) name: String,
    pub(super) source: Source,
    pub(super) backend: Option<Backend>,
}

/// The changes, and what is left to the developer.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) edits: Edits,
    /// What this tool cannot change.
    pub(super) by_hand: Vec<ByHand>,
    /// Commands to run afterwards.
    pub(super) next: Vec<String>,
    /// Whether the declaration is new.
    declares_program: bool,
}

/// A change for the developer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ByHand {
    pub(super) path: PathBuf,
    /// What to do, and why this tool does not.
    pub(super) what: String,
    /// The lines to add.
    pub(super) lines: String,
    pub(super) kind: ByHandKind,
}

/// Why a change is the developer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ByHandKind {
    /// This tool cannot make it.
    Refused,
    /// It is the page's own code, which calls the sidecar.
    Call,
}

impl Plan {
    fn by_hand(&mut self, path: &Path, what: impl Into<String>, lines: impl Into<String>) {
        self.by_hand.push(ByHand {
            path: path.to_owned(),
            what: what.into(),
            lines: lines.into(),
            kind: ByHandKind::Refused,
        });
    }

    /// Changes a file. If that is not possible, it is left to the developer, with the lines to add.
    fn change(
        &mut self,
        path: &Path,
        adds: &str,
        lines: &str,
        change: impl FnOnce(&str) -> Result<String, String>,
    ) {
        if let Err(reason) = self.edits.change(path, adds, change) {
            self.by_hand(path, format!("add {adds}: the file cannot be changed ({reason})"), lines);
        }
    }
}

/// Computes all changes.
///
/// # Errors
///
/// Fails if a file of the project is wrong, with its path and position.
pub(super) fn plan(project: &Project, choices: &Choices) -> Result<Plan, String> {
    let mut plan = Plan::default();
    app::membership(&mut plan, project);
    app::dependencies(&mut plan, project, &choices.source);
    app::build_script(&mut plan, project);
    app::builder_line(&mut plan, project);
    declaration(&mut plan, project, choices)?;
    app::capability(&mut plan, project, &choices.name)?;
    app::ignored_files(&mut plan, project);
    app::linux_bundles(&mut plan, project, choices)?;
    packages::client(&mut plan, project, choices);
    if let Some(backend) = &choices.backend {
        packages::sdk(&mut plan, backend, &choices.source);
    }
    present::started_by_shell(&mut plan, project, &choices.name)?;
    if plan.declares_program {
        present::started_for_development(&mut plan, project, &choices.name);
    }
    present::called_by_port(&mut plan, project, &choices.name);
    if choices.backend.is_none() && plan.declares_program {
        plan.by_hand(&project.config.base.path, how_it_runs(&choices.name), OTHER_SERVER);
    }
    next_steps(&mut plan, project, choices);
    Ok(plan)
}

/// The section `plugins.pillion`, `bundle.externalBin`, the schema and the content security policy.
fn declaration(plan: &mut Plan, project: &Project, choices: &Choices) -> Result<(), String> {
    let name = &choices.name;
    let config = project.config.on(Platform::host());
    let declared = config.sidecars().map_err(|error| error.to_string())?.unwrap_or_default();
    let existing = declared.iter().find(|sidecar| sidecar.name == *name);
    let (program, installed) = match existing.map(|sidecar| &sidecar.program) {
        None => (Some(program_name(project, name)), false),
        Some(SidecarProgram::External { file, entry }) => (Some(file.clone()), entry.is_some()),
        Some(SidecarProgram::Resource(_) | SidecarProgram::System(_)) => (None, true),
    };
    let local = existing.is_some_and(crate::project::DeclaredSidecar::local);
    for document in project.config.files() {
        let base = document.path == project.config.base.path;
        let mut wanted = Wanted::default();
        // A list in the file of a platform replaces that of the base.
        let has_list = document.get(&["bundle", "externalBin"]).is_some();
        if let Some(program) = &program
            && !installed
            && (base || has_list)
            && !installs(document, program)
        {
            wanted.external_bin = Some(format!("binaries/{program}"));
        }
        if base && existing.is_none() {
            let mut fields = Vec::new();
            fields.extend(program.as_ref().map(|program| ("program".to_owned(), program.clone().into())));
            if let Some(backend) = &choices.backend {
                fields.extend(backend.dev(&project.root).map(|dev| ("dev".to_owned(), dev)));
                fields.extend(backend.package(&project.root).map(|package| ("package".to_owned(), package)));
                if let Some(framework) = backend.own_server() {
                    let own = json!({ "private": false, "port": "assigned", "portEnv": framework.port, "ready": "tcp" });
                    fields.extend(
                        own.as_object()
                            .into_iter()
                            .flatten()
                            .map(|(name, value)| (name.clone(), value.clone())),
                    );
                }
            }
            plan.declares_program = true;
            wanted.sidecar = Some((name.clone(), fields));
        }
        if base {
            wanted.schema = schema(plan, project, document);
        }
        if !local {
            let policy = |policy| Some((policy, csp::change(document.get(&["app", "security", policy])?)?));
            wanted.policies = ["csp", "devCsp"].into_iter().filter_map(policy).collect();
        }
        let adds = adds(&wanted, name);
        if adds.is_empty() {
            continue;
        }
        let lines = lines(&wanted);
        plan.change(&document.path, &adds, &lines, |text| wanted.apply(document.format, text));
    }
    Ok(())
}

/// The file name of the program. Linux packages install it to `/usr/bin`, so a name such as `backend` would be taken.
fn program_name(project: &Project, sidecar: &str) -> String {
    format!("{}-{sidecar}", project.manifest.package_name().unwrap_or("app"))
}

fn installs(document: &Document, program: &str) -> bool {
    let entries = document.get(&["bundle", "externalBin"]).and_then(|list| list.as_array());
    entries.into_iter().flatten().filter_map(|entry| entry.as_str()).any(|entry| last_part(entry) == program)
}

/// Whether the page's files are served as they are: then it cannot import an npm package.
fn without_bundler(project: &Project) -> bool {
    let config = project.config.on(Platform::host());
    let global = config.get(&["app", "withGlobalTauri"]).and_then(Value::as_bool).unwrap_or(false);
    global && config.build_command("beforeBuildCommand").is_none_or(runs_pillion_only)
}

/// Whether a command of the shell runs no other program than `pillion`, which builds sidecars and not the page.
fn runs_pillion_only(command: &str) -> bool {
    let commands = command.split(['&', '|', ';', '\n']).map(str::trim).filter(|command| !command.is_empty());
    let programs = commands.map(|command| command.split_whitespace().next().map(last_part));
    programs.into_iter().all(|program| matches!(program, Some("pillion" | "pillion.exe")))
}

/// The schema for the editor: the one of the npm package, in place of Tauri's own or of none.
fn schema(plan: &mut Plan, project: &Project, document: &Document) -> Option<String> {
    const OURS: &str = "tauri-plugin-pillion-api/schemas/tauri.conf.schema.json";
    let front_end = project.front_end.as_ref().filter(|_| !without_bundler(project))?;
    if document.format == crate::project::Format::Toml {
        return None;
    }
    let present = document.get(&["$schema"]).and_then(|schema| schema.as_str());
    // A workspace installs packages beside the lock file, where Tauri's command line lies as well.
    let modules = front_end
        .folders_of_workspace(&project.root)
        .into_iter()
        .map(|folder| folder.join("node_modules"))
        .find(|folder| folder.join("@tauri-apps/cli").exists())
        .unwrap_or_else(|| front_end.folder().join("node_modules"));
    let wanted = format!("{}/{OURS}", relative_path(&project.tauri, &modules));
    match present {
        Some(schema) if schema.contains(OURS) => None,
        Some(schema) if !schema.contains("schema.tauri.app") && !schema.contains("@tauri-apps/cli") => {
            plan.by_hand(
                &document.path,
                format!(
                    "if you like: set `$schema`, so that your editor completes plugins.pillion (it is {schema:?}, and stays so)"
                ),
                format!("\"$schema\": {wanted:?}\n"),
            );
            None
        }
        _ => Some(wanted),
    }
}

/// The fields of a server that this command does not know, as in docs/servers.md.
const OTHER_SERVER: &str = "\
\"dev\": { \"command\": [\"java\", \"src/Server.java\"], \"cwd\": \"server\", \"watch\": [\"src/**/*.java\"] },
\"package\": { \"command\": [\"sh\", \"build.sh\", \"${output}\"], \"cwd\": \"server\" },
\"private\": false, \"port\": \"assigned\", \"portEnv\": \"PORT\", \"ready\": { \"http\": \"/\" }
";

/// What the developer says about a server that this command does not know.
fn how_it_runs(name: &str) -> String {
    format!(
        "say how {name} runs, for example by these fields: from its source (`dev`), how its program is built (`package`), and where it \
         listens; for a program of the system or of the resources, write `command` or `resource` instead of `program`, and remove its \
         entry of `bundle.externalBin` (docs/servers.md)"
    )
}

/// What an edit of the configuration adds, for people.
fn adds(wanted: &Wanted, name: &str) -> String {
    let policies =
        wanted.policies.iter().map(|(policy, _)| format!("the addresses of sidecar and app in `{policy}`"));
    let parts: Vec<_> = [
        wanted.sidecar.as_ref().map(|_| format!("the declaration of the sidecar {name}")),
        wanted.external_bin.as_ref().map(|entry| format!("{entry} in `bundle.externalBin`")),
        wanted.schema.as_ref().map(|_| "the schema for your editor".to_owned()),
    ]
    .into_iter()
    .flatten()
    .chain(policies)
    .collect();
    parts.join(", ")
}

/// The same as lines, for a file that cannot be changed.
fn lines(wanted: &Wanted) -> String {
    use std::fmt::Write as _;
    let mut lines = String::new();
    let mut line = |text: String| {
        let _ = writeln!(lines, "{text}");
    };
    if let Some(entry) = &wanted.external_bin {
        line(format!("\"bundle\": {{ \"externalBin\": [{entry:?}] }}"));
    }
    if let Some((name, fields)) = &wanted.sidecar {
        let fields: serde_json::Map<_, _> = fields.iter().cloned().collect();
        let fields = Value::Object(fields);
        line(format!("\"plugins\": {{ \"pillion\": {{ \"sidecars\": {{ {name:?}: {fields} }} }} }}"));
    }
    for (policy, change) in &wanted.policies {
        line(format!("app.security.{policy}: connect-src {}", change.connect.join(" ")));
    }
    lines
}

fn next_steps(plan: &mut Plan, project: &Project, choices: &Choices) {
    let page = project.front_end.as_ref().filter(|front_end| front_end.brings_tauri(&project.root));
    let mut installed = None;
    if let Some(front_end) = &project.front_end
        && front_end.dependency(CLIENT.name).is_none()
    {
        // npm configures a workspace in its root alone, and installs what one package needs there.
        let root = workspace_of(front_end.folder(), &project.root).unwrap_or(front_end.folder());
        installed = Some(root);
        let folder = Project::shown(root);
        // npm alone makes a link to a folder, also in each later `npm install`.
        if front_end.manager == PackageManager::Npm
            && matches!(choices.source, Source::Folder(_))
            && !without_bundler(project)
        {
            plan.next.push(format!(
                "npm config set --location project install-links true   (in {folder}): npm then copies the client; Vite warns \
                 about each file of a linked one"
            ));
        }
        plan.next.push(format!("{} install   (in {folder})", front_end.manager));
    }
    if let Some(backend) = &choices.backend {
        plan.next.extend(packages::install_steps(backend, project, installed));
    }
    // npm needs `--` before options; without options none does.
    let run = match page {
        Some(page) => format!("{} tauri", page.manager.run()),
        None => "cargo tauri".to_owned(),
    };
    // The step before may be for the backend's folder.
    let app = project.front_end.as_ref().map_or(project.root.as_path(), |front_end| front_end.folder());
    let app = Project::shown(app);
    if choices.backend.is_none() {
        plan.next.push(format!("{run} dev   (in {app}): starts the app"));
        plan.next.push(format!("pillion doctor   (in {app}): shows what the declaration lacks"));
        return;
    }
    plan.next.push(format!("{run} dev   (in {app}): starts the app; the backend runs from its source"));
    let bundles = if choices.backend.as_ref().is_some_and(Backend::loads_by_name) {
        "bundles it, once `package` is declared"
    } else {
        "builds the backend's program, and bundles it"
    };
    plan.next.push(format!("pillion package && {run} build   (in {app}): {bundles}"));
}
