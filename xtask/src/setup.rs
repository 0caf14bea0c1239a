//! Checks for the system packages that the builds and tests need. Installs missing ones on Debian and its derivatives;
//! elsewhere prints the command that does.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Result, bail};
use xshell::{Shell, cmd};

use crate::workspace::on_path;

/// A program or library that the machine must have.
pub(crate) struct Requirement {
    pub(crate) why: &'static str,
    pub(crate) presence: Presence,
    /// The package names for apt, dnf and pacman. Where the name differs between releases, dnf gets a file or a
    /// capability instead.
    pub(crate) apt: &'static str,
    pub(crate) dnf: &'static str,
    pub(crate) pacman: &'static str,
}

pub(crate) enum Presence {
    /// A program on the `PATH`.
    Program(&'static str),
    /// A library that pkg-config finds.
    Library(&'static str),
    /// A file at this exact path. The `PATH` may name another program of the same name.
    File(&'static str),
    /// What this function finds.
    Check(fn() -> bool),
}

/// What the caller will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Build,
    /// Build, and show a window; on a virtual display if this session has none.
    Run,
    /// Build, and run the end-to-end tests: a webview on a virtual display, and a browser that attacks the sidecar.
    EndToEnd,
    /// Build for Windows, and run the tests under Wine. Tried with Debian's packages only.
    Wine,
}

const COMPILER: Requirement = Requirement {
    why: "links Rust programs",
    presence: Presence::Program("cc"),
    apt: "build-essential",
    dnf: "gcc",
    pacman: "base-devel",
};
const PKG_CONFIG: Requirement = Requirement {
    why: "finds the libraries of the webview",
    presence: Presence::Program("pkg-config"),
    apt: "pkg-config",
    dnf: "/usr/bin/pkg-config",
    pacman: "pkgconf",
};
const WEBVIEW: Requirement = Requirement {
    why: "the webview of the app's window",
    presence: Presence::Library("webkit2gtk-4.1"),
    apt: "libwebkit2gtk-4.1-dev",
    dnf: "pkgconfig(webkit2gtk-4.1)",
    pacman: "webkit2gtk-4.1",
};
const XVFB: Requirement = Requirement {
    why: "the virtual display for the app's window",
    presence: Presence::Program("Xvfb"),
    apt: "xvfb",
    dnf: "/usr/bin/Xvfb",
    pacman: "xorg-server-xvfb",
};
const DRIVER: Requirement = Requirement {
    why: "controls the webview in tests (WebDriver)",
    presence: Presence::Program("WebKitWebDriver"),
    apt: "webkit2gtk-driver",
    dnf: "/usr/bin/WebKitWebDriver",
    pacman: "webkitgtk-6.0",
};
// Looks for the driver only: it finds Chrome as well, and Chromium's program has several names.
const CHROMIUM: Requirement = Requirement {
    why: "controls the browser that shows an attacker's pages",
    presence: Presence::Program("chromedriver"),
    apt: "chromium-driver",
    dnf: "chromedriver chromium",
    pacman: "chromium",
};
const BUS: Requirement = Requirement {
    why: "the session bus through which a second launch finds the first",
    presence: Presence::Program("dbus-daemon"),
    apt: "dbus",
    dnf: "/usr/bin/dbus-daemon",
    pacman: "dbus",
};
const TINI: Requirement = Requirement {
    why: "a launcher of sidecars, which the tests try",
    presence: Presence::Program("tini"),
    apt: "tini",
    dnf: "tini",
    pacman: "tini",
};

pub(crate) const GO: Requirement = Requirement {
    why: "builds the example in Go",
    presence: Presence::Program("go"),
    apt: "golang-go",
    dnf: "golang",
    pacman: "go",
};

const WINE: Requirement = Requirement {
    why: "runs Windows programs",
    presence: Presence::Program("wine"),
    apt: "wine64 wine",
    dnf: "wine-core",
    pacman: "wine",
};
const MINGW: Requirement = Requirement {
    why: "links Windows programs",
    presence: Presence::Program("x86_64-w64-mingw32-gcc"),
    apt: "mingw-w64",
    dnf: "mingw64-gcc",
    pacman: "mingw-w64-gcc",
};
const DEBIAN_RUSTC: Requirement = Requirement {
    why: "a Rust compiler whose library source is also packaged",
    presence: Presence::File("/usr/bin/rustc"),
    apt: "rustc-web",
    dnf: "rust",
    pacman: "rust",
};
const DEBIAN_CARGO: Requirement = Requirement {
    why: "the Cargo of that compiler",
    presence: Presence::File("/usr/bin/cargo"),
    apt: "cargo-web",
    dnf: "cargo",
    pacman: "rust",
};
const LIBRARY_SOURCE: Requirement = Requirement {
    why: "the source of the standard library, to build it for Windows",
    presence: Presence::File("/usr/lib/rustlib/src/rust/library/Cargo.lock"),
    apt: "rust-web-src",
    dnf: "rust-src",
    pacman: "rust-src",
};

/// Makes sure that the machine has everything for `purpose`. If it does, changes nothing and uses no network.
///
/// # Errors
///
/// Fails with the command to run if a requirement is missing and xtask cannot install it.
pub(crate) fn ensure(purpose: Purpose) -> Result<()> {
    if purpose != Purpose::Wine {
        node()?;
    }
    install(requirements(purpose))
}

/// Makes sure that the machine has this program or library, which few tasks need.
///
/// # Errors
///
/// As [`ensure`].
pub(crate) fn ensure_only(requirement: Requirement) -> Result<()> {
    install(vec![requirement])
}

/// Installs tini, if it is missing. A machine without it only skips some tests.
///
/// # Errors
///
/// As [`ensure`].
pub(crate) fn ensure_tini() -> Result<()> {
    install(vec![TINI])
}

/// Installs Debian's compiler with the source of the standard library, for a target that rustup has not installed.
///
/// # Errors
///
/// As [`ensure`].
pub(crate) fn ensure_debian_rust() -> Result<()> {
    install(vec![DEBIAN_RUSTC, DEBIAN_CARGO, LIBRARY_SOURCE])
}

fn install(requirements: Vec<Requirement>) -> Result<()> {
    let missing: Vec<Requirement> =
        requirements.into_iter().filter(|requirement| !requirement.is_met()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("This machine lacks:");
    for requirement in &missing {
        println!("  {:<24} {}", requirement.apt, requirement.why);
    }
    let system = System::this();
    let commands = system.commands(&missing);
    let Some(privilege) = privilege().filter(|_| system == System::Debian) else {
        bail!("install the missing packages, then run xtask again:\n{}", commands.join("\n"));
    };
    let sh = Shell::new()?;
    sh.set_var("DEBIAN_FRONTEND", "noninteractive");
    for command in commands {
        let words: Vec<&str> = privilege.iter().copied().chain(command.split_whitespace()).collect();
        let (program, arguments) = (words[0], &words[1..]);
        cmd!(sh, "{program} {arguments...}").run()?;
    }
    Ok(())
}

fn requirements(purpose: Purpose) -> Vec<Requirement> {
    if !cfg!(target_os = "linux") {
        return if cfg!(windows) { vec![] } else { vec![COMPILER] };
    }
    if purpose == Purpose::Wine {
        return vec![COMPILER, WINE, MINGW];
    }
    let mut requirements = vec![COMPILER, PKG_CONFIG, WEBVIEW];
    if purpose == Purpose::EndToEnd || (purpose == Purpose::Run && !crate::display::is_available()) {
        requirements.push(XVFB);
    }
    if purpose == Purpose::EndToEnd {
        requirements.extend([DRIVER, BUS, CHROMIUM]);
    }
    requirements
}

impl Requirement {
    fn is_met(&self) -> bool {
        match self.presence {
            Presence::Program(name) => on_path(name).is_some(),
            Presence::File(path) => Path::new(path).is_file(),
            Presence::Check(found) => found(),
            Presence::Library(name) => Shell::new()
                .is_ok_and(|sh| cmd!(sh, "pkg-config --exists {name}").quiet().ignore_stderr().run().is_ok()),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum System {
    Debian,
    Fedora,
    Arch,
    MacOs,
    Other,
}

impl System {
    fn this() -> Self {
        if cfg!(target_os = "macos") {
            return Self::MacOs;
        }
        Self::of(&fs::read_to_string("/etc/os-release").unwrap_or_default())
    }

    /// Reads `/etc/os-release`: <https://www.freedesktop.org/software/systemd/man/latest/os-release.html>.
    fn of(os_release: &str) -> Self {
        let families: BTreeSet<&str> = os_release
            .lines()
            .filter_map(|line| line.strip_prefix("ID=").or_else(|| line.strip_prefix("ID_LIKE=")))
            .flat_map(|names| names.trim_matches('"').split_whitespace())
            .collect();
        let named = |names: &[&str]| names.iter().any(|name| families.contains(name));
        match () {
            () if named(&["debian", "ubuntu"]) => Self::Debian,
            () if named(&["fedora", "rhel"]) => Self::Fedora,
            () if named(&["arch"]) => Self::Arch,
            () => Self::Other,
        }
    }

    /// Returns the commands that install the missing packages. On Debian, [`ensure`] runs them itself, with `sudo` if
    /// necessary.
    fn commands(self, missing: &[Requirement]) -> Vec<String> {
        let names = |name: fn(&Requirement) -> &str| missing.iter().map(name).collect::<Vec<_>>().join(" ");
        match self {
            Self::Debian => vec![
                "apt-get update".to_owned(),
                format!("apt-get install -y --no-install-recommends {}", names(|it| it.apt)),
            ],
            Self::Fedora => {
                let packages = missing.iter().flat_map(|it| it.dnf.split(' '));
                let quoted: Vec<_> = packages.map(|package| format!("'{package}'")).collect();
                vec![format!("sudo dnf install {}", quoted.join(" "))]
            }
            Self::Arch => vec![format!("sudo pacman -S --needed {}", names(|it| it.pacman))],
            Self::MacOs => vec!["xcode-select --install".to_owned()],
            Self::Other => {
                vec![format!("the packages of your system that Debian calls {}", names(|it| it.apt))]
            }
        }
    }
}

/// Returns the words to put before a command that installs packages: none for root, else `sudo`. `None` without `sudo`.
fn privilege() -> Option<&'static [&'static str]> {
    #[cfg(unix)]
    if rustix::process::geteuid().is_root() {
        return Some(&[]);
    }
    on_path("sudo").map(|_| ["sudo", "--preserve-env=DEBIAN_FRONTEND"].as_slice())
}

/// The oldest Node.js that the front end's tools support: `engines` of package.json.
const NODE: (u32, u32) = (20, 19);

/// Checks the version of Node.js. Does not install it, because many distributions package a version that is too old.
fn node() -> Result<()> {
    let sh = Shell::new()?;
    let found = cmd!(sh, "node --version").quiet().ignore_stderr().read().unwrap_or_default();
    if version(&found).is_some_and(|found| found >= NODE) {
        return Ok(());
    }
    let found = if found.is_empty() { "no `node` on the PATH".to_owned() } else { format!("found {found}") };
    bail!(
        "Node.js {}.{} or newer with npm is required, {found}: see https://nodejs.org/download",
        NODE.0,
        NODE.1
    )
}

fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim().strip_prefix('v')?.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systems_are_identified_by_id_and_id_like() {
        assert_eq!(System::of("NAME=\"Debian GNU/Linux\"\nID=debian\n"), System::Debian);
        assert_eq!(System::of("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n"), System::Debian);
        assert_eq!(System::of("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n"), System::Fedora);
        assert_eq!(System::of("ID=manjaro\nID_LIKE=arch\n"), System::Arch);
        assert_eq!(System::of("ID=nixos\n"), System::Other);
        assert_eq!(System::of(""), System::Other);
    }

    #[test]
    fn each_system_gets_the_command_of_its_package_manager() {
        let missing = [WEBVIEW, DRIVER, CHROMIUM];
        assert_eq!(
            System::Fedora.commands(&missing),
            [
                "sudo dnf install 'pkgconfig(webkit2gtk-4.1)' '/usr/bin/WebKitWebDriver' 'chromedriver' 'chromium'"
            ]
        );
        assert_eq!(
            System::Debian.commands(&missing)[1],
            "apt-get install -y --no-install-recommends libwebkit2gtk-4.1-dev webkit2gtk-driver chromium-driver"
        );
    }

    #[test]
    fn node_versions_compare_as_numbers() {
        assert_eq!(version("v20.19.5\n"), Some((20, 19)));
        assert!(version("v9.11.2").is_some_and(|found| found < NODE));
        assert!(version("v22.3.0").is_some_and(|found| found > NODE));
        assert_eq!(version("nonsense"), None);
    }
}
