//! What a machine must have before anything is built: looked for first, then installed (Debian and its kin) or named.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Result, bail};
use xshell::{Shell, cmd};

use crate::workspace::on_path;

/// One thing the machine must have.
struct Need {
    why: &'static str,
    probe: Probe,
    /// What to give to apt, dnf and pacman. dnf and pacman take the file or the capability instead of a package name
    /// where the package differs between versions.
    apt: &'static str,
    dnf: &'static str,
    pacman: &'static str,
}

enum Probe {
    /// A program on the `PATH`.
    Program(&'static str),
    /// A library that pkg-config knows.
    Library(&'static str),
    /// A file at its place, whatever else of that name is on the `PATH`.
    File(&'static str),
}

/// What the caller is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Build,
    /// Build and show a window, on a display of our own if there is none.
    Run,
    /// Build, show a window on a display of our own, and drive it, and attack it from a browser.
    Drive,
    /// Build for Windows, and run that. Only Debian's names of what it takes are known.
    Wine,
}

const COMPILER: Need = Need {
    why: "links Rust programs",
    probe: Probe::Program("cc"),
    apt: "build-essential",
    dnf: "gcc",
    pacman: "base-devel",
};
const PKG_CONFIG: Need = Need {
    why: "finds the webview's libraries",
    probe: Probe::Program("pkg-config"),
    apt: "pkg-config",
    dnf: "/usr/bin/pkg-config",
    pacman: "pkgconf",
};
const WEBVIEW: Need = Need {
    why: "the webview that the window consists of",
    probe: Probe::Library("webkit2gtk-4.1"),
    apt: "libwebkit2gtk-4.1-dev",
    dnf: "pkgconfig(webkit2gtk-4.1)",
    pacman: "webkit2gtk-4.1",
};
const XVFB: Need = Need {
    why: "a display in memory, since the window needs one",
    probe: Probe::Program("Xvfb"),
    apt: "xvfb",
    dnf: "/usr/bin/Xvfb",
    pacman: "xorg-server-xvfb",
};
const DRIVER: Need = Need {
    why: "drives the webview from outside",
    probe: Probe::Program("WebKitWebDriver"),
    apt: "webkit2gtk-driver",
    dnf: "/usr/bin/WebKitWebDriver",
    pacman: "webkitgtk-6.0",
};
// Whatever it drives: it finds Chrome as well, and Chromium goes by several names.
const CHROMIUM: Need = Need {
    why: "drives a browser that shows the pages of an attacker",
    probe: Probe::Program("chromedriver"),
    apt: "chromium-driver",
    dnf: "chromedriver chromium",
    pacman: "chromium",
};
const BUS: Need = Need {
    why: "the session in which instances of an app find each other",
    probe: Probe::Program("dbus-daemon"),
    apt: "dbus",
    dnf: "/usr/bin/dbus-daemon",
    pacman: "dbus",
};

const WINE: Need = Need {
    why: "runs programs for Windows",
    probe: Probe::Program("wine"),
    apt: "wine64 wine",
    dnf: "wine-core",
    pacman: "wine",
};
const MINGW: Need = Need {
    why: "links programs for Windows",
    probe: Probe::Program("x86_64-w64-mingw32-gcc"),
    apt: "mingw-w64",
    dnf: "mingw64-gcc",
    pacman: "mingw-w64-gcc",
};
const DEBIANS_RUSTC: Need = Need {
    why: "a compiler that comes with the source of its library",
    probe: Probe::File("/usr/bin/rustc"),
    apt: "rustc-web",
    dnf: "rust",
    pacman: "rust",
};
const DEBIANS_CARGO: Need = Need {
    why: "the cargo of that compiler",
    probe: Probe::File("/usr/bin/cargo"),
    apt: "cargo-web",
    dnf: "cargo",
    pacman: "rust",
};
const LIBRARY_SOURCE: Need = Need {
    why: "the standard library, to be built for Windows",
    probe: Probe::File("/usr/lib/rustlib/src/rust/library/Cargo.lock"),
    apt: "rust-web-src",
    dnf: "rust-src",
    pacman: "rust-src",
};

/// Makes sure that everything for `purpose` is there. Touches nothing, and no network, when it is.
pub(crate) fn ensure(purpose: Purpose) -> Result<()> {
    if purpose != Purpose::Wine {
        node()?;
    }
    let missing: Vec<Need> = needs(purpose).into_iter().filter(|need| !need.is_met()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("This machine lacks:");
    for need in &missing {
        println!("  {:<24} {}", need.apt, need.why);
    }
    let system = System::this();
    let commands = system.commands(&missing);
    let Some(privilege) = privilege().filter(|_| system == System::Debian) else {
        bail!("install it, then run this again:\n{}", commands.join("\n"));
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

fn needs(purpose: Purpose) -> Vec<Need> {
    if !cfg!(target_os = "linux") {
        return if cfg!(windows) { vec![] } else { vec![COMPILER] };
    }
    if purpose == Purpose::Wine {
        return vec![COMPILER, WINE, MINGW, DEBIANS_RUSTC, DEBIANS_CARGO, LIBRARY_SOURCE];
    }
    let mut needs = vec![COMPILER, PKG_CONFIG, WEBVIEW];
    if purpose == Purpose::Drive || (purpose == Purpose::Run && !crate::display::is_there()) {
        needs.push(XVFB);
    }
    if purpose == Purpose::Drive {
        needs.extend([DRIVER, BUS, CHROMIUM]);
    }
    needs
}

impl Need {
    fn is_met(&self) -> bool {
        match self.probe {
            Probe::Program(name) => on_path(name).is_some(),
            Probe::File(path) => Path::new(path).is_file(),
            Probe::Library(name) => Shell::new()
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

    /// What a person, or we, must run, without the `sudo`.
    fn commands(self, missing: &[Need]) -> Vec<String> {
        let names = |name: fn(&Need) -> &str| missing.iter().map(name).collect::<Vec<_>>().join(" ");
        match self {
            Self::Debian => vec![
                "apt-get update".to_owned(),
                format!("apt-get install -y --no-install-recommends {}", names(|need| need.apt)),
            ],
            Self::Fedora => {
                let packages = missing.iter().flat_map(|need| need.dnf.split(' '));
                let quoted: Vec<_> = packages.map(|package| format!("'{package}'")).collect();
                vec![format!("sudo dnf install {}", quoted.join(" "))]
            }
            Self::Arch => vec![format!("sudo pacman -S --needed {}", names(|need| need.pacman))],
            Self::MacOs => vec!["xcode-select --install".to_owned()],
            Self::Other => {
                vec![format!("your system's packages of what Debian calls {}", names(|need| need.apt))]
            }
        }
    }
}

/// What to put before a command so that it may install packages: nothing for root, `sudo` for who has it.
fn privilege() -> Option<&'static [&'static str]> {
    #[cfg(unix)]
    if rustix::process::geteuid().is_root() {
        return Some(&[]);
    }
    on_path("sudo").map(|_| ["sudo", "--preserve-env=DEBIAN_FRONTEND"].as_slice())
}

/// The oldest Node.js that the front end's tools run on, as package.json says under `engines`.
const NODE: (u32, u32) = (20, 19);

/// Distributions ship Node.js too old as often as not, so it is asked for rather than installed.
fn node() -> Result<()> {
    let sh = Shell::new()?;
    let found = cmd!(sh, "node --version").quiet().ignore_stderr().read().unwrap_or_default();
    if version(&found).is_some_and(|found| found >= NODE) {
        return Ok(());
    }
    let found = if found.is_empty() { "none was found".to_owned() } else { format!("this is {found}") };
    bail!(
        "Node.js {}.{} or newer is needed with its npm, and {found}: see https://nodejs.org/download",
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
    fn systems_are_told_by_their_family() {
        assert_eq!(System::of("NAME=\"Debian GNU/Linux\"\nID=debian\n"), System::Debian);
        assert_eq!(System::of("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n"), System::Debian);
        assert_eq!(System::of("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n"), System::Fedora);
        assert_eq!(System::of("ID=manjaro\nID_LIKE=arch\n"), System::Arch);
        assert_eq!(System::of("ID=nixos\n"), System::Other);
        assert_eq!(System::of(""), System::Other);
    }

    #[test]
    fn each_system_gets_its_own_command() {
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
