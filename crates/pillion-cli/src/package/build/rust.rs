//! Builds with Cargo. For another system, it needs the standard library of the target, and a linker: Cargo's own configuration, a
//! cross-compiler of the system, or [cargo-zigbuild].
//!
//! [cargo-zigbuild]: https://github.com/rust-cross/cargo-zigbuild

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use super::{Artifact, Built, Inputs, Order, elsewhere, files_above};
use crate::{
    package::process::{Failure, find, read, run},
    project::{Platform, TargetTriple},
};

/// Variables that change what Cargo builds, by their beginnings.
const VARIABLES: [&str; 6] =
    ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_", "CARGO_PROFILE_", "CARGO_TARGET_", "SDKROOT"];

/// How Cargo builds for a target.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Toolchain {
    /// `build`, or `zigbuild`.
    subcommand: &'static str,
    /// The target, if it is not that of this machine.
    target: Option<TargetTriple>,
    /// The linker to name in the environment: the variable and the program.
    linker: Option<(String, PathBuf)>,
    /// What `rustc -vV` prints.
    version: String,
}

pub(super) fn fingerprint(order: &Order<'_>, folder: &str) -> Result<String, Failure> {
    let toolchain = Toolchain::find(order, &order.path("rust", folder)?)?;
    let variables: Vec<_> = env::vars_os()
        .filter(|(name, _)| VARIABLES.iter().any(|start| name.to_string_lossy().starts_with(start)))
        .collect();
    Ok(format!("{toolchain:?} {variables:?}"))
}

pub(super) fn build(order: &Order<'_>, folder: &str, bin: Option<&str>) -> Result<Built, Failure> {
    let folder = order.path("rust", folder)?;
    let toolchain = Toolchain::find(order, &folder)?;
    (order.progress)(&format!("cargo {} --release", toolchain.subcommand));
    let mut command = cargo();
    command
        .current_dir(&folder)
        .arg(toolchain.subcommand)
        .args(["--release", "--message-format", "json-render-diagnostics"])
        .args(bin.map(|bin| ["--bin", bin]).iter().flatten())
        .args(toolchain.target.as_ref().map(|target| ["--target", target.as_str()]).iter().flatten())
        .args(&order.config.args);
    if let Some((variable, linker)) = &toolchain.linker {
        command.env(variable, linker);
    }
    if toolchain.subcommand == ZIGBUILD && order.target.platform() == Some(Platform::MacOs) {
        // Cargo would strip with a tool for this machine's programs, and the signature is made afterwards.
        command.env("CARGO_PROFILE_RELEASE_STRIP", "none");
    }
    let built = run(&mut command)?;
    let program = executable(&String::from_utf8_lossy(&built), order)?;
    let inputs = inputs(&folder, &program)?;
    Ok(Built { artifact: Artifact::File(program), inputs, embeds_runtime: false })
}

const ZIGBUILD: &str = "zigbuild";

impl Toolchain {
    fn find(order: &Order<'_>, folder: &Path) -> Result<Self, Failure> {
        let target = order.target;
        let version = read(rustc().current_dir(folder).arg("-vV"))?;
        let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default();
        let native = Self { subcommand: "build", target: None, linker: None, version: version.clone() };
        if target.as_str() == host {
            return Ok(native);
        }
        let library = read(rustc().current_dir(folder).args([
            "--print",
            "target-libdir",
            "--target",
            target.as_str(),
        ]))?;
        if !Path::new(&library).is_dir() {
            return Err(Failure::refused(format!(
                "this Rust has no standard library for {target}: install it with `rustup target add {target}`, or {}",
                elsewhere(target)
            )));
        }
        let cross = Self { target: Some(target.clone()), ..native };
        let variable = linker_variable(target);
        let has_linker =
            env::var_os(&variable).is_some() || same_linker(host, target) || is_configured(folder, target);

        if has_linker {
            return Ok(cross);
        }
        if let Some(linker) = system_linker(target).and_then(find) {
            return Ok(Self { linker: Some((variable, linker)), ..cross });
        }
        let zig_knows = matches!(target.platform(), Some(Platform::MacOs | Platform::Linux));
        if zig_knows && find("cargo-zigbuild").is_some() {
            return Ok(Self { subcommand: ZIGBUILD, ..cross });
        }
        let zig = if zig_knows { "`pip install cargo-zigbuild`, " } else { "" };
        let package = system_linker(target)
            .map(|linker| format!("the compiler {linker} of your system, "))
            .unwrap_or_default();
        Err(Failure::refused(format!(
            "this machine has no linker for {target}: install {zig}{package}or name one in {variable}; or {}",
            elsewhere(target)
        )))
    }
}

/// Whether the linker of the host makes programs for the target: between the processors of macOS and of Windows (MSVC), and the C
/// libraries of Linux.
fn same_linker(host: &str, target: &TargetTriple) -> bool {
    let Ok(host) = host.parse::<TargetTriple>() else { return false };
    host.platform() == target.platform()
        && match target.platform() {
            Some(Platform::MacOs) => true,
            Some(Platform::Windows) => host.as_str().ends_with("msvc") && target.as_str().ends_with("msvc"),
            _ => host.arch() == target.arch(),
        }
}

/// Whether Cargo's configuration for this folder, or that of the user, has a section for the target: then it names the linker.
fn is_configured(folder: &Path, target: &TargetTriple) -> bool {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cargo")));
    let of_user = home.map(|home| home.join("config.toml"));
    let section = format!("[target.{target}]");
    files_above(folder, &[".cargo/config.toml"])
        .into_iter()
        .chain(of_user)
        .filter_map(|file| fs::read_to_string(file).ok())
        .any(|text| text.lines().any(|line| line.trim() == section))
}

/// The C compiler with which Debian and its relatives link for a target.
fn system_linker(target: &TargetTriple) -> Option<&'static str> {
    match target.as_str() {
        "x86_64-pc-windows-gnu" => Some("x86_64-w64-mingw32-gcc"),
        "i686-pc-windows-gnu" => Some("i686-w64-mingw32-gcc"),
        "aarch64-unknown-linux-gnu" => Some("aarch64-linux-gnu-gcc"),
        "x86_64-unknown-linux-gnu" => Some("x86_64-linux-gnu-gcc"),
        "armv7-unknown-linux-gnueabihf" => Some("arm-linux-gnueabihf-gcc"),
        "riscv64gc-unknown-linux-gnu" => Some("riscv64-linux-gnu-gcc"),
        _ => None,
    }
}

/// <https://doc.rust-lang.org/cargo/reference/config.html#targettriplelinker>
fn linker_variable(target: &TargetTriple) -> String {
    format!("CARGO_TARGET_{}_LINKER", target.as_str().to_uppercase().replace(['-', '.'], "_"))
}

/// The program among the messages of Cargo: <https://doc.rust-lang.org/cargo/reference/external-tools.html#json-messages>.
fn executable(messages: &str, order: &Order<'_>) -> Result<PathBuf, Failure> {
    let programs: BTreeSet<PathBuf> = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["reason"] == "compiler-artifact")
        .filter(|message| {
            message["target"]["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "bin"))
        })
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .collect();
    let mut found = programs.iter();
    match (found.next(), found.next()) {
        (Some(program), None) => Ok(program.clone()),
        (None, _) => Err(Failure::failed(format!(
            "the Cargo package of the sidecar {} has no binary: add src/main.rs, or name the folder of another package",
            order.sidecar
        ))),
        _ => {
            let names: Vec<_> = programs
                .iter()
                .map(|program| program.file_stem().unwrap_or_default().to_string_lossy().into_owned())
                .collect();
            Err(Failure::failed(format!(
                "the Cargo package has {} binaries: name one by `\"bin\"` in `package` of the sidecar {}: {}",
                names.len(),
                order.sidecar,
                names.join(", ")
            )))
        }
    }
}

/// The sources in the dependency file that Cargo writes beside the program, with the manifests and the configuration around them.
/// Packages of a registry are not among them: `Cargo.lock` has their hashes.
fn inputs(folder: &Path, program: &Path) -> Result<Inputs, Failure> {
    let list = program.with_extension("d");
    let text = fs::read_to_string(&list).map_err(Failure::file("read", &list))?;
    let sources: Vec<_> = sources(&text).into_iter().map(|source| folder.join(source)).collect();
    let mut files: BTreeSet<PathBuf> = files_above(
        folder,
        &["Cargo.toml", "Cargo.lock", "rust-toolchain.toml", "rust-toolchain", ".cargo/config.toml"],
    )
    .into_iter()
    .collect();
    for source in &sources {
        files.extend(
            source.ancestors().skip(1).map(|above| above.join("Cargo.toml")).find(|file| file.is_file()),
        );
    }
    // A folder, which a build script may name, counts with all of its files.
    let (folders, sources): (Vec<_>, Vec<_>) = sources.into_iter().partition(|source| source.is_dir());
    files.extend(sources);
    Ok(Inputs { files: files.into_iter().collect(), folders, ..Inputs::default() })
}

/// The prerequisites of a rule of a makefile, in which a space within a name has a backslash.
fn sources(rules: &str) -> Vec<String> {
    let Some((_, prerequisites)) = rules.lines().next().and_then(|rule| rule.split_once(": ")) else {
        return Vec::new();
    };
    let placeholder = "\0";
    prerequisites
        .replace("\\ ", placeholder)
        .split_whitespace()
        .map(|source| source.replace(placeholder, " "))
        .collect()
}

fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

fn rustc() -> Command {
    Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dependency_file_may_contain_spaces() {
        let rules = "/out/my\\ app: /src/main.rs /src/my\\ module.rs\n\n/src/main.rs:\n";
        assert_eq!(sources(rules), ["/src/main.rs", "/src/my module.rs"]);
        assert_eq!(sources(""), [""; 0]);
    }

    #[test]
    fn the_linker_is_named_as_cargo_expects_it() {
        let target = "aarch64-unknown-linux-gnu".parse().unwrap();
        assert_eq!(linker_variable(&target), "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER");
    }

    #[test]
    fn one_linker_serves_both_processors_of_macos() {
        let target = |name: &str| name.parse().unwrap();
        assert!(same_linker("aarch64-apple-darwin", &target("x86_64-apple-darwin")));
        assert!(same_linker("x86_64-unknown-linux-gnu", &target("x86_64-unknown-linux-musl")));
        assert!(!same_linker("x86_64-unknown-linux-gnu", &target("aarch64-unknown-linux-gnu")));
        assert!(!same_linker("x86_64-unknown-linux-gnu", &target("aarch64-apple-darwin")));
    }
}
