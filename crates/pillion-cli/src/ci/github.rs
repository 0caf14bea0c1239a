//! The text of the workflow for GitHub Actions.

use std::fmt;

use serde_json::Value;

use super::{
    targets::Runner,
    workflow::{AppImage, Check, Pnpm, Toolchain, Workflow},
};
use crate::project::PackageManager;

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
        f.write_str("    steps:\n      - uses: actions/checkout@v6\n")?;
        f.write_str(STEPS_OF_LINUX)?;
        self.setup(f)?;
        self.app_image(f)?;
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
            f.write_str("      - uses: pnpm/action-setup@v6\n")?;
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
                Toolchain::Go => "      - uses: actions/setup-go@v6\n        with:\n          go-version: stable\n",
                Toolchain::Node => "      - uses: actions/setup-node@v6\n        with:\n          node-version: lts/*\n",
                Toolchain::Deno => "      - run: npm install --global deno@2\n",
                Toolchain::Python => "      - uses: actions/setup-python@v6\n        with:\n          python-version: \"3.x\"\n",
            })?;
        }
        if let Some(manager) = self.manager {
            let install = match manager {
                PackageManager::Npm => "npm ci",
                PackageManager::Pnpm => "pnpm install --frozen-lockfile",
                PackageManager::Yarn => "yarn install",
                PackageManager::Bun => "bun install --frozen-lockfile",
                PackageManager::Deno => "deno install --frozen",
            };
            f.write_str("      - name: Install the dependencies of the page\n")?;
            self.working_directory(f, &self.page)?;
            writeln!(f, "        run: {install}")?;
        }
        if !self.brings_tauri {
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
        let ignored = match self.app_image {
            AppImage::LeftOut(_) => " --ignore appimage-strip",
            // The command reads NO_STRIP, too.
            AppImage::Usual | AppImage::Unstripped => "",
        };
        format!("pillion doctor --no-machine{ignored} --target '${{{{ matrix.target }}}}'")
    }

    /// The step that sets how Linux is bundled, for the steps after it.
    fn app_image(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, variable) = match &self.app_image {
            AppImage::Usual => return Ok(()),
            AppImage::LeftOut(bundles) => (
                "Leave out AppImage, which breaks programs of Node, Bun and Deno",
                format!("BUNDLES=--bundles {bundles}"),
            ),
            AppImage::Unstripped => (
                "Do not strip the programs of an AppImage, which breaks those of Node, Bun and Deno",
                "NO_STRIP=true".to_owned(),
            ),
        };
        writeln!(f, "      - name: {name}\n        if: runner.os == 'Linux'")?;
        writeln!(f, "        run: echo '{variable}' >> \"$GITHUB_ENV\"")
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
            _ if !self.brings_tauri => "cargo tauri",
            Some(_) if !self.page.is_empty() => &in_page,
            None => "cargo tauri",
            Some(PackageManager::Npm) => "npx tauri",
            Some(PackageManager::Pnpm) => "pnpm exec tauri",
            Some(PackageManager::Yarn) => "yarn tauri",
            Some(PackageManager::Bun) => "bunx tauri",
            Some(PackageManager::Deno) => "deno task tauri",
        };
        let key = "          TAURI_SIGNING_PRIVATE_KEY: ${{ secrets.TAURI_SIGNING_PRIVATE_KEY }}\n          TAURI_SIGNING_PRIVATE_KEY_PASSWORD: ${{ secrets.TAURI_SIGNING_PRIVATE_KEY_PASSWORD }}\n";
        if self.updater {
            f.write_str("      - name: Leave out the updates, which cannot be signed\n        if: env.SIGN_UPDATES != 'true'\n        run: |\n          echo '{\"bundle\":{\"createUpdaterArtifacts\":false}}' > no-updates.json\n          echo 'UPDATES=--config no-updates.json' >> \"$GITHUB_ENV\"\n")?;
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
        let bundles = if matches!(self.app_image, AppImage::LeftOut(_)) { " ${BUNDLES:-}" } else { "" };
        let updates = if self.updater { " ${UPDATES:-}" } else { "" };
        writeln!(f, "        run: {}", quoted(&command(updates)))?;
        f.write_str("      - name: Bundle\n        if: runner.os != 'macOS' || env.SIGN_MACOS != 'true'\n")?;
        if self.updater {
            write!(f, "        env:\n{key}")?;
        }
        writeln!(f, "        run: {}", quoted(&command(&format!(" ${{SIGNING:-}}{bundles}{updates}"))))?;
        writeln!(f, "      - name: Check the bundle\n        run: {}", self.doctor())?;
        let target = &self.target;
        f.write_str("      - uses: actions/upload-artifact@v6\n        with:\n          name: bundle-${{ matrix.target }}\n          if-no-files-found: error\n")?;
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
