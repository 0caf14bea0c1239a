//! The text of the workflow for GitHub Actions.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use pillion::Listen;
use pillion_config::Config;
use serde_json::Value;

use super::targets::Runner;
use crate::project::{
    Document, FrontEnd, MergedConfig, PackageManager, Platform, Project, SidecarProgram, last_part,
};

/// What the workflow depends on.
#[derive(Debug)]
pub(super) struct Workflow {
    runners: Vec<Runner>,
    branch: String,
    /// The folder of the project in the repository, with slashes; empty for the repository itself.
    folder: String,
    /// The folder of the Tauri configuration in the project.
    tauri: String,
    /// The folder of what Cargo builds, in the repository.
    target: String,
    /// The package manager of the page, if it has a package.
    manager: Option<PackageManager>,
    /// The folder of the page's package in the project.
    page: String,
    /// How pnpm is set up, if the page or a backend is installed by it.
    pnpm: Option<Pnpm>,
    /// The types of bundles for Linux, if AppImage is left out: it breaks programs of Node and Bun.
    linux_bundles: Option<String>,
    /// The git URL of the command `pillion`.
    source: Option<String>,
    toolchains: Vec<Toolchain>,
    /// The commands that install the packages of the backends, with their folders in the project.
    installs: Vec<(String, String)>,
    /// The options of `pillion check` and the entry of `bundle.externalBin`, for each sidecar that claims the protocol.
    checks: Vec<Check>,
    /// Whether the app is updated by tauri-plugin-updater.
    updater: bool,
}

#[derive(Debug)]
struct Check {
    name: String,
    entry: String,
    private: bool,
}

/// Where pnpm/action-setup finds the version. It refuses one besides that of `packageManager`, and needs one without it.
#[derive(Debug)]
enum Pnpm {
    /// The `package.json` with `packageManager`, in the repository.
    File(String),
    Latest,
}

/// The toolchain of a backend, which the machines of GitHub lack or have in any version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Toolchain {
    Bun,
    Go,
    Node,
    Python,
}

impl Workflow {
    /// Reads the project.
    ///
    /// # Errors
    ///
    /// The configuration is invalid.
    pub(super) fn of(
        project: &Project,
        repository: &Path,
        runners: Vec<Runner>,
        branch: String,
        source: Option<String>,
    ) -> Result<Self, String> {
        let config = project.config.on(Platform::host());
        let cargo = project.manifest.workspace.as_ref().unwrap_or(&project.manifest.document);
        let manager = project.front_end.as_ref().map(|front_end| front_end.manager);
        let mut toolchains: Vec<_> = toolchains(&config);
        match manager {
            Some(PackageManager::Bun) => toolchains.extend([Toolchain::Node, Toolchain::Bun]),
            Some(_) => toolchains.push(Toolchain::Node),
            None => {}
        }
        let installs = installs(project, &config);
        if installs.iter().any(|(_, command)| command.starts_with("bun ")) {
            toolchains.push(Toolchain::Bun);
        }
        toolchains.sort();
        toolchains.dedup();
        let page = project.front_end.as_ref().map(FrontEnd::folder);
        let with_pnpm =
            page.filter(|_| manager == Some(PackageManager::Pnpm)).map(Path::to_owned).or_else(|| {
                let backend = installs.iter().find(|(_, command)| command.starts_with("pnpm "));
                backend.map(|(folder, _)| project.root.join(folder))
            });
        Ok(Self {
            runners,
            branch,
            folder: relative(&project.root, repository),
            tauri: relative(&project.tauri, &project.root),
            target: relative(&cargo.path.with_file_name("target"), repository),
            manager,
            page: page.map(|page| relative(page, &project.root)).unwrap_or_default(),
            pnpm: with_pnpm.map(|folder| pnpm(&folder, repository)),
            linux_bundles: linux_bundles(&project.config.on(Platform::Linux)),
            source,
            toolchains,
            installs,
            checks: checks(&config)?,
            updater: config
                .get(&["bundle", "createUpdaterArtifacts"])
                .is_some_and(|value| *value != Value::Bool(false)),
        })
    }
}

/// A path below a folder, with slashes.
fn relative(path: &Path, folder: &Path) -> String {
    let inside = path.strip_prefix(folder).unwrap_or(Path::new(""));
    inside.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/")
}

/// The version of pnpm: that of the next `package.json` that names one, from this folder up to the repository.
fn pnpm(folder: &Path, repository: &Path) -> Pnpm {
    let names_version = |file: &PathBuf| {
        let package = Document::read_if_exists(file).ok().flatten();
        package.is_some_and(|it| {
            it.get(&["packageManager"]).and_then(Value::as_str).is_some_and(|it| it.starts_with("pnpm@"))
        })
    };
    let folders = folder.ancestors().take_while(|folder| folder.starts_with(repository));
    let file = folders.map(|folder| folder.join("package.json")).find(names_version);
    file.map_or(Pnpm::Latest, |file| Pnpm::File(relative(&file, repository)))
}

/// The types of bundles for Linux without AppImage, for an app with programs of Node or Bun: linuxdeploy strips them, and they break.
/// `None` if nothing has to be left out, or nothing would be left.
fn linux_bundles(config: &MergedConfig<'_>) -> Option<String> {
    let active = config.get(&["bundle", "active"]).and_then(Value::as_bool).unwrap_or(false);
    let sidecars = config.sidecars().ok().flatten().unwrap_or_default();
    let breaks = sidecars.iter().any(|sidecar| {
        matches!(sidecar.program, SidecarProgram::External { entry: Some(_), .. })
            && toolchains_of(&sidecar.fields).any(|it| matches!(it, Toolchain::Bun | Toolchain::Node))
    });
    let named: Vec<&str> = match config.get(&["bundle", "targets"]) {
        None | Some(Value::Null) => vec!["all"],
        Some(Value::String(target)) => vec![target],
        Some(targets) => targets.as_array().into_iter().flatten().filter_map(Value::as_str).collect(),
    };
    let all = named.contains(&"all");
    let left: Vec<_> = ["deb", "rpm"].into_iter().filter(|kind| all || named.contains(kind)).collect();
    let leaves_out = active && breaks && (all || named.contains(&"appimage")) && !left.is_empty();
    leaves_out.then(|| left.join(","))
}

/// The toolchains that `package` or `dev` of the declarations name.
fn toolchains(config: &MergedConfig<'_>) -> Vec<Toolchain> {
    let sidecars = config.sidecars().ok().flatten().unwrap_or_default();
    sidecars.iter().flat_map(|sidecar| toolchains_of(&sidecar.fields)).collect()
}

fn toolchains_of(fields: &serde_json::Map<String, Value>) -> impl Iterator<Item = Toolchain> {
    let package = |fields: &serde_json::Map<String, Value>, tool: &str| {
        fields.get("package").is_some_and(|package| package.get(tool).is_some())
    };
    let starts = |fields: &serde_json::Map<String, Value>, programs: &[&str]| {
        let command = fields.get("dev").and_then(|dev| dev.get("command")?.get(0)?.as_str());
        command.is_some_and(|command| programs.contains(&last_part(command)))
    };
    let known = [
        (Toolchain::Bun, "bun", &["bun", "bunx"][..]),
        (Toolchain::Go, "go", &["go"]),
        (Toolchain::Node, "node", &["node", "npx", "tsx", "npm", "pnpm", "yarn"]),
        (Toolchain::Python, "python", &["python", "python3", "uv", "uvicorn", "poetry"]),
    ];
    known
        .into_iter()
        .filter(move |(_, tool, programs)| package(fields, tool) || starts(fields, programs))
        .map(|(toolchain, ..)| toolchain)
}

/// What the backends need besides the page: the packages beside the main file that `package` names.
pub(super) fn installs(project: &Project, config: &MergedConfig<'_>) -> Vec<(String, String)> {
    let page = project.front_end.as_ref().map(FrontEnd::folder);
    let mut found = Vec::new();
    for sidecar in config.sidecars().ok().flatten().unwrap_or_default() {
        let Some(package) = sidecar.fields.get("package") else { continue };
        let main = |tool: &str| package.get(tool).and_then(Value::as_str).map(|main| project.root.join(main));
        // The nearest folder with this file, inside of the project.
        let above = |main: &Path, file: &str| -> Option<PathBuf> {
            let folders = main.ancestors().skip(1).take_while(|folder| folder.starts_with(&project.root));
            folders.map(Path::to_owned).find(|folder| folder.join(file).is_file())
        };
        let mut add = |folder: &Path, command: &str| {
            let install = (relative(folder, &project.root), command.to_owned());
            if !found.contains(&install) {
                found.push(install);
            }
        };
        if let Some(main) = main("node").or_else(|| main("bun")) {
            let folder = above(&main, "package.json").filter(|folder| Some(folder.as_path()) != page);
            let locked = |folder: &PathBuf, lock: &str| folder.join(lock).is_file();
            match folder {
                Some(folder) if locked(&folder, "package-lock.json") => add(&folder, "npm ci"),
                Some(folder) if locked(&folder, "pnpm-lock.yaml") => {
                    add(&folder, "pnpm install --frozen-lockfile");
                }
                Some(folder) if locked(&folder, "yarn.lock") => add(&folder, "yarn install"),
                Some(folder) if locked(&folder, "bun.lock") || locked(&folder, "bun.lockb") => {
                    add(&folder, "bun install --frozen-lockfile");
                }
                // A workspace installs it with the page.
                _ => {}
            }
        }
        if let Some(main) = main("python") {
            let requirements =
                above(&main, "requirements.txt").map(|folder| (folder, " -r requirements.txt"));
            let project_file = || above(&main, "pyproject.toml").map(|folder| (folder, " ."));
            let (folder, packages) = requirements.or_else(project_file).unwrap_or((project.root.clone(), ""));
            add(&folder, &format!("python3 -m pip install pyinstaller{packages}"));
        }
    }
    found
}

/// The sidecars that can be checked: those of the bundle that announce themselves and have the health of the protocol. One with `args`
/// or `env` may need them to start, and `pillion check` would not give them; `pillion package` has started it with them.
fn checks(config: &MergedConfig<'_>) -> Result<Vec<Check>, String> {
    let Some(section) = config.get(&["plugins", "pillion"]) else { return Ok(Vec::new()) };
    let declared: Config = serde_json::from_value(section.clone()).map_err(|error| {
        format!("{}: {error}", Project::shown(&config.file_of(&["plugins", "pillion"]).path))
    })?;
    let sidecars = config.sidecars().map_err(|error| error.to_string())?.unwrap_or_default();
    let checks = sidecars.into_iter().filter_map(|sidecar| {
        let known = declared.sidecars.get(&sidecar.name)?;
        let filled = |field: &str| match sidecar.fields.get(field) {
            Some(Value::Array(args)) => !args.is_empty(),
            Some(Value::Object(env)) => !env.is_empty(),
            _ => false,
        };
        let keeps_protocol = known.listen() == Listen::Announced
            && known.is_checked_by_health()
            && !filled("args")
            && !filled("env");
        match &sidecar.program {
            SidecarProgram::External { entry: Some(entry), .. } if keeps_protocol => {
                Some(Check { name: sidecar.name.clone(), entry: entry.clone(), private: sidecar.private() })
            }
            _ => None,
        }
    });
    Ok(checks.collect())
}

/// A text as a scalar of YAML: a string of JSON is one.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

const HEAD: &str = "\
# Written by `pillion ci github`; docs/ci.md of Pillion explains it. It is yours: change it.
name: Bundle

on:
  push:
    branches: [";

const STEPS_OF_LINUX: &str = "      - name: Install the libraries of the webview
        if: runner.os == 'Linux'
        run: |
          sudo apt-get update
          sudo apt-get install --yes --no-install-recommends \\
            libwebkit2gtk-4.1-dev libayatana-appindicator3-dev librsvg2-dev libxdo-dev libssl-dev patchelf rpm
";

const CERTIFICATE: &str = "      - name: Import the certificate for Windows
        if: runner.os == 'Windows' && env.SIGN_WINDOWS == 'true'
        shell: pwsh
        env:
          WINDOWS_CERTIFICATE: ${{ secrets.WINDOWS_CERTIFICATE }}
          WINDOWS_CERTIFICATE_PASSWORD: ${{ secrets.WINDOWS_CERTIFICATE_PASSWORD }}
        run: |
          $file = Join-Path $env:RUNNER_TEMP certificate.pfx
          [IO.File]::WriteAllBytes($file, [Convert]::FromBase64String($env:WINDOWS_CERTIFICATE))
          $password = ConvertTo-SecureString $env:WINDOWS_CERTIFICATE_PASSWORD -AsPlainText -Force
          $certificate = Import-PfxCertificate -FilePath $file -CertStoreLocation Cert:\\CurrentUser\\My -Password $password
          Remove-Item $file
          $signing = @{ bundle = @{ windows = @{ certificateThumbprint = $certificate.Thumbprint
            digestAlgorithm = 'sha256'; timestampUrl = 'http://timestamp.digicert.com' } } }
          $signing | ConvertTo-Json -Depth 4 | Out-File signing.json -Encoding utf8NoBOM
          'SIGNING=--config signing.json' | Out-File $env:GITHUB_ENV -Append
";

impl fmt::Display for Workflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{HEAD}{}]\n    tags: [\"v*\"]\n  pull_request:\n\npermissions:\n  contents: read\n\n",
            quoted(&self.branch)
        )?;
        self.job(f)?;
        f.write_str("    steps:\n      - uses: actions/checkout@v4\n")?;
        f.write_str(STEPS_OF_LINUX)?;
        self.setup(f)?;
        self.sidecars(f)?;
        self.bundle(f)
    }
}

impl Workflow {
    fn job(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("jobs:\n  bundle:\n    name: ${{ matrix.target }}\n    runs-on: ${{ matrix.runner }}\n")?;
        f.write_str("    strategy:\n      fail-fast: false\n      matrix:\n        include:\n")?;
        for Runner { target, label } in &self.runners {
            writeln!(f, "          - target: {target}\n            runner: {label}")?;
        }
        f.write_str("    defaults:\n      run:\n        shell: bash\n")?;
        if !self.folder.is_empty() {
            writeln!(f, "        working-directory: {}", quoted(&self.folder))?;
        }
        // A step cannot see secrets in `if`.
        f.write_str("    env:\n      # Whether the repository has these secrets. A pull request from a fork has none.\n")?;
        f.write_str("      SIGN_MACOS: ${{ secrets.APPLE_CERTIFICATE != '' }}\n")?;
        f.write_str("      SIGN_WINDOWS: ${{ secrets.WINDOWS_CERTIFICATE != '' }}\n")?;
        if self.updater {
            f.write_str("      SIGN_UPDATES: ${{ secrets.TAURI_SIGNING_PRIVATE_KEY != '' }}\n")?;
        }
        Ok(())
    }

    /// The toolchains, the dependencies of the page, and the command `pillion`.
    fn setup(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("      - name: Install Rust for the target\n        run: |\n          rustup update stable --no-self-update\n          rustup default stable\n")?;
        f.write_str("          case '${{ matrix.target }}' in\n            universal-apple-darwin) rustup target add aarch64-apple-darwin x86_64-apple-darwin ;;\n            *) rustup target add '${{ matrix.target }}' ;;\n          esac\n")?;
        if let Some(pnpm) = &self.pnpm {
            f.write_str("      - uses: pnpm/action-setup@v4\n")?;
            match pnpm {
                Pnpm::File(file) if file == "package.json" => {}
                Pnpm::File(file) => {
                    writeln!(f, "        with:\n          package_json_file: {}", quoted(file))?;
                }
                Pnpm::Latest => f.write_str("        with:\n          version: latest\n")?,
            }
        }
        for toolchain in &self.toolchains {
            f.write_str(match toolchain {
                Toolchain::Bun => "      - uses: oven-sh/setup-bun@v2\n",
                Toolchain::Go => "      - uses: actions/setup-go@v5\n        with:\n          go-version: stable\n",
                Toolchain::Node => "      - uses: actions/setup-node@v4\n        with:\n          node-version: lts/*\n",
                Toolchain::Python => "      - uses: actions/setup-python@v5\n        with:\n          python-version: \"3.x\"\n",
            })?;
        }
        if let Some(manager) = self.manager {
            let install = match manager {
                PackageManager::Npm => "npm ci",
                PackageManager::Pnpm => "pnpm install --frozen-lockfile",
                PackageManager::Yarn => "yarn install",
                PackageManager::Bun => "bun install --frozen-lockfile",
            };
            f.write_str("      - name: Install the dependencies of the page\n")?;
            self.working_directory(f, &self.page)?;
            writeln!(f, "        run: {install}")?;
        } else {
            f.write_str("      - name: Install Tauri's command\n        run: cargo install tauri-cli --locked --version ^2\n")?;
        }
        for (folder, command) in &self.installs {
            f.write_str("      - name: Install the packages of a backend\n")?;
            self.working_directory(f, folder)?;
            writeln!(f, "        run: {command}")?;
        }
        let from = self.source.as_ref().map(|url| format!(" --git '{}'", url.replace('\'', "'\\''")));
        writeln!(
            f,
            "      - name: Install pillion\n        run: {}",
            quoted(&format!("cargo install pillion-cli --locked{}", from.unwrap_or_default()))
        )
    }

    /// The folder of a step, if it is another one than that of the project.
    fn working_directory(&self, f: &mut fmt::Formatter<'_>, folder: &str) -> fmt::Result {
        match (self.folder.as_str(), folder) {
            (_, "") => Ok(()),
            ("", folder) => writeln!(f, "        working-directory: {}", quoted(folder)),
            (project, folder) => {
                writeln!(f, "        working-directory: {}", quoted(&format!("{project}/{folder}")))
            }
        }
    }

    /// The command that checks the project and its bundle.
    fn doctor(&self) -> String {
        let ignored = if self.linux_bundles.is_some() { " --ignore appimage-strip" } else { "" };
        format!("pillion doctor --no-machine{ignored} --target '${{{{ matrix.target }}}}'")
    }

    fn sidecars(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("      - name: Build the sidecars\n        run: pillion package --target '${{ matrix.target }}'\n")?;
        // The step needs no secret, but must know whether the app will be signed.
        let signs = "        env:\n          APPLE_SIGNING_IDENTITY: ${{ env.SIGN_MACOS == 'true' && 'in the step that bundles' || '' }}\n";
        writeln!(f, "      - name: Check the project\n{signs}        run: {}", self.doctor())?;
        for Check { name, entry, private } in &self.checks {
            let public = if *private { "" } else { "--public " };
            let program = format!("{}/{entry}", self.tauri);
            let program = program.trim_start_matches('/').replace('\'', "'\\''");
            writeln!(f, "      - name: {}", quoted(&format!("Check the sidecar {name}")))?;
            // The command does not exist on Windows.
            f.write_str("        if: runner.os != 'Windows'\n")?;
            let command = format!("pillion check --musts {public}-- './{program}-${{{{ matrix.target }}}}'");
            writeln!(f, "        run: {}", quoted(&command))?;
        }
        Ok(())
    }

    fn bundle(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(CERTIFICATE)?;
        // Tauri finds its configuration in the folder of the project or below, not from the folder of the page.
        let in_page = format!("'./{}/node_modules/.bin/tauri'", self.page.replace('\'', "'\\''"));
        let tauri = match self.manager {
            Some(_) if !self.page.is_empty() => &in_page,
            None => "cargo tauri",
            Some(PackageManager::Npm) => "npx tauri",
            Some(PackageManager::Pnpm) => "pnpm exec tauri",
            Some(PackageManager::Yarn) => "yarn tauri",
            Some(PackageManager::Bun) => "bunx tauri",
        };
        let key = "          TAURI_SIGNING_PRIVATE_KEY: ${{ secrets.TAURI_SIGNING_PRIVATE_KEY }}\n          TAURI_SIGNING_PRIVATE_KEY_PASSWORD: ${{ secrets.TAURI_SIGNING_PRIVATE_KEY_PASSWORD }}\n";
        if self.updater {
            f.write_str("      - name: Leave out the updates, which cannot be signed\n        if: env.SIGN_UPDATES != 'true'\n        run: |\n          echo '{\"bundle\":{\"createUpdaterArtifacts\":false}}' > no-updates.json\n          echo 'UPDATES=--config no-updates.json' >> \"$GITHUB_ENV\"\n")?;
        }
        if let Some(bundles) = &self.linux_bundles {
            f.write_str("      - name: Leave out AppImage, which breaks programs of Node and Bun\n")?;
            f.write_str("        if: runner.os == 'Linux'\n")?;
            writeln!(f, "        run: echo 'BUNDLES=--bundles {bundles}' >> \"$GITHUB_ENV\"")?;
        }
        f.write_str("      - name: Bundle, signed and notarised for macOS\n        if: runner.os == 'macOS' && env.SIGN_MACOS == 'true'\n        env:\n")?;
        for secret in [
            "APPLE_CERTIFICATE",
            "APPLE_CERTIFICATE_PASSWORD",
            "APPLE_SIGNING_IDENTITY",
            "APPLE_ID",
            "APPLE_PASSWORD",
            "APPLE_TEAM_ID",
        ] {
            writeln!(f, "          {secret}: ${{{{ secrets.{secret} }}}}")?;
        }
        if self.updater {
            f.write_str(key)?;
        }
        let command = |extra: &str| format!("{tauri} build --target '${{{{ matrix.target }}}}'{extra}");
        let bundles = if self.linux_bundles.is_some() { " ${BUNDLES:-}" } else { "" };
        let updates = if self.updater { " ${UPDATES:-}" } else { "" };
        writeln!(f, "        run: {}", quoted(&command(updates)))?;
        f.write_str("      - name: Bundle\n        if: runner.os != 'macOS' || env.SIGN_MACOS != 'true'\n")?;
        if self.updater {
            write!(f, "        env:\n{key}")?;
        }
        writeln!(f, "        run: {}", quoted(&command(&format!(" ${{SIGNING:-}}{bundles}{updates}"))))?;
        writeln!(f, "      - name: Check the bundle\n        run: {}", self.doctor())?;
        let target = &self.target;
        f.write_str("      - uses: actions/upload-artifact@v4\n        with:\n          name: bundle-${{ matrix.target }}\n          if-no-files-found: error\n")?;
        writeln!(f, "          path: |")?;
        for pattern in [
            "deb/*.deb",
            "rpm/*.rpm",
            "appimage/*.AppImage",
            "dmg/*.dmg",
            "macos/*.app.tar.gz*",
            "msi/*.msi",
            "nsis/*.exe",
        ] {
            writeln!(f, "            {target}/${{{{ matrix.target }}}}/release/bundle/{pattern}")?;
        }
        Ok(())
    }
}
