//! Applies [`Inherit`]: which environment variables of this process a sidecar inherits. Only [`ParentEnvironment::this`] reads them.

use std::{
    env,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use pillion_protocol::environment;

use crate::spec::Inherit;

/// Variables that mean another process, or that would make a server listen elsewhere. They are never inherited.
const NEVER_INHERITED: &[&str] = &[
    environment::PORT,
    // Some tools give it another meaning: Conda sets it to a target triple.
    "HOST",
    // The name of the machine, which many shells export. Servers such as that of Next.js bind to it.
    "HOSTNAME",
    // The addresses and ports of other servers, under the names of their frameworks: Nitro and Nuxt, uvicorn, Flask, Streamlit,
    // Gradio, Rocket, Spring Boot, ASP.NET Core, Bun, Deno.
    "NITRO_HOST",
    "NITRO_PORT",
    "NUXT_HOST",
    "NUXT_PORT",
    "UVICORN_HOST",
    "UVICORN_PORT",
    "UVICORN_FD",
    "UVICORN_UDS",
    "FLASK_RUN_HOST",
    "FLASK_RUN_PORT",
    "STREAMLIT_SERVER_ADDRESS",
    "STREAMLIT_SERVER_PORT",
    "GRADIO_SERVER_NAME",
    "GRADIO_SERVER_PORT",
    "ROCKET_ADDRESS",
    "ROCKET_PORT",
    "SERVER_ADDRESS",
    "SERVER_PORT",
    "ASPNETCORE_URLS",
    "ASPNETCORE_HTTP_PORTS",
    "ASPNETCORE_HTTPS_PORTS",
    "DOTNET_URLS",
    "BUN_PORT",
    "DENO_SERVE_ADDRESS",
    // The listener and the role of a process that Werkzeug's reloader started.
    "WERKZEUG_SERVER_FD",
    "WERKZEUG_RUN_MAIN",
    environment::TOKEN,
    environment::PIPE,
    environment::INSTANCE,
    environment::PROTOCOL,
    environment::ALLOWED_ORIGINS,
    // sd_listen_fds(3). systemfd(1) adds the last one, and the listenfd crate reads it.
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_PIDFDID",
    "LISTEN_FDNAMES",
    "LISTEN_FDS_FIRST_FD",
    // sd_notify(3), sd_watchdog_enabled(3).
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    // launchd sets them for one app on macOS: its bundle, by which frameworks find their settings, and its service.
    "__CFBundleIdentifier",
    "XPC_SERVICE_NAME",
    "XPC_FLAGS",
    // The number of a descriptor. Node exits at once if the descriptor is missing. nodejs.org/api/child_process.html
    "NODE_CHANNEL_FD",
    "NODE_CHANNEL_SERIALIZATION_MODE",
];

/// Variables that are inherited only on request. A proxy would receive even requests to loopback, and `NODE_OPTIONS` of a
/// developer's shell can open the port of a debugger.
const INHERITED_ON_REQUEST: &[&str] =
    &["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY", "NODE_OPTIONS"];

/// The variable with the folder of an AppImage.
const APP_IMAGE_FOLDER: &str = "APPDIR";

/// Variables that the launcher of an AppImage sets to values outside of the image: those of its runtime
/// (<https://docs.appimage.org/packaging-guide/environment-variables.html>), that of `AppRun` for Python, and those of the GTK
/// plugin of linuxdeploy, which Tauri uses.
const SET_BY_APP_IMAGE: &[&str] =
    &[APP_IMAGE_FOLDER, "APPIMAGE", "ARGV0", "OWD", "PYTHONDONTWRITEBYTECODE", "GDK_BACKEND", "GTK_THEME"];

/// Variables that snapd and the launchers of snaps set.
const SET_BY_SNAP: &[&str] = &["SNAP", "SNAP_*", "BAMF_DESKTOP_FILE_HINT"];
/// The folders of a confined snap, which alone it may use.
const KEPT_IN_SNAP: &[&str] = &[
    "HOME",
    "PWD",
    "OLDPWD",
    "TMPDIR",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_CACHE_HOME",
    "XDG_RUNTIME_DIR",
];
/// Variables that flatpak-run(1) sets.
const SET_BY_FLATPAK: &[&str] = &["FLATPAK_ID", "FLATPAK_SANDBOX_DIR"];
/// The programs in `/app` are the only ones besides those of the runtime, so `PATH` stays.
const KEPT_IN_FLATPAK: &[&str] = &["PATH", "PWD", "OLDPWD"];

/// What the launcher of a package did to the environment.
#[derive(Debug)]
struct Package {
    /// The folders of the package. Entries of path lists within them are removed.
    folders: Vec<PathBuf>,
    /// The variables that the launcher sets, which are removed.
    sets: &'static [&'static str],
    /// The variables that stay as they are.
    keeps: &'static [&'static str],
}

/// The process whose environment a sidecar inherits.
#[derive(Debug, Clone, Default)]
pub(crate) struct ParentEnvironment {
    variables: Vec<(OsString, OsString)>,
    /// The executable of this process, where it matters.
    program: Option<PathBuf>,
    /// Whether names ignore case.
    windows: bool,
}

impl ParentEnvironment {
    /// This process, with its present environment.
    pub(crate) fn this() -> Self {
        Self::with(env::vars_os().collect())
    }

    /// This process, as if its environment were that of the login shell.
    pub(crate) fn of_login_shell(variables: Vec<(OsString, OsString)>) -> Self {
        Self::with(variables)
    }

    fn with(variables: Vec<(OsString, OsString)>) -> Self {
        let mut this = Self { variables, program: None, windows: cfg!(windows) };
        if this.get(APP_IMAGE_FOLDER).is_some() {
            this.program = env::current_exe().ok();
        }
        this
    }

    /// The variables that a sidecar inherits under this policy.
    pub(crate) fn inherited_by(self, policy: &Inherit) -> Vec<(OsString, OsString)> {
        let package = self.package();
        let is = |name: &str, pattern: &str| matches(name, pattern, self.windows);
        let among = |name: &str, list: &[&str]| list.iter().any(|pattern| is(name, pattern));
        // Names without patterns, which are compared in a third of the time: a launch waits for each.
        let never = |name: &str| NEVER_INHERITED.iter().any(|never| same(name, never, self.windows));
        let named = |name: &str, list: &[String]| list.iter().any(|pattern| is(name, pattern));
        let inherited = |name: &str| {
            let allowed = match &policy.allow {
                None => !INHERITED_ON_REQUEST.iter().any(|rare| matches(name, rare, true)),
                Some(allow) => named(name, allow) || (self.windows && is(name, "SystemRoot")),
            };
            allowed && !named(name, &policy.deny) && !never(name)
        };
        let left = |name: &OsStr, value: OsString| {
            // Once for all patterns: a program may start a thousand sidecars.
            let name = name.to_string_lossy();
            match &package {
                _ if !inherited(&name) => None,
                None => Some(value),
                Some(package) if among(&name, package.sets) => None,
                Some(package) if among(&name, package.keeps) => Some(value),
                Some(package) => outside(value, &package.folders),
            }
        };
        let variables = self.variables.into_iter();
        variables.filter_map(|(name, value)| left(&name, value).map(|value| (name, value))).collect()
    }

    /// The package that this program runs from, if its launcher changed the environment for it.
    fn package(&self) -> Option<Package> {
        let app_image = self.app_image().map(|folder| Package {
            folders: vec![folder],
            sets: SET_BY_APP_IMAGE,
            keeps: &[],
        });
        app_image.or_else(|| self.snap()).or_else(|| self.flatpak())
    }

    /// A snap, also one whose program started this one, as the terminal of an editor does
    /// (<https://snapcraft.io/docs/environment-variables>).
    fn snap(&self) -> Option<Package> {
        self.get("SNAP_NAME")?;
        let folder = PathBuf::from(self.get("SNAP")?);
        let is = folder.is_absolute() && folder.parent().is_some();
        // Caches of GTK for the libraries within the snap.
        let caches = ["SNAP_COMMON", "SNAP_USER_COMMON", "SNAP_USER_DATA"];
        let caches = caches.iter().filter_map(|name| Some(PathBuf::from(self.get(name)?).join(".cache")));
        is.then(|| Package {
            folders: [folder].into_iter().chain(caches).collect(),
            sets: SET_BY_SNAP,
            keeps: KEPT_IN_SNAP,
        })
    }

    /// A Flatpak, whose programs and libraries are in `/app` (flatpak-run(1)).
    fn flatpak(&self) -> Option<Package> {
        self.get("FLATPAK_ID")?;
        Some(Package { folders: vec!["/app".into()], sets: SET_BY_FLATPAK, keeps: KEPT_IN_FLATPAK })
    }

    fn get(&self, wanted: &str) -> Option<&OsString> {
        (!self.windows).then_some(())?;
        Some(&self.variables.iter().find(|(name, _)| name == wanted)?.1)
    }

    /// The folder where the AppImage of this app is mounted or unpacked, if the app runs from one.
    fn app_image(&self) -> Option<PathBuf> {
        let folder = PathBuf::from(self.get(APP_IMAGE_FOLDER)?);
        let within = self.program.as_ref().is_some_and(|program| program.starts_with(&folder));
        // Another program may use this name for something else. Every path lies within /, so / is not an image.
        let is = folder.is_absolute() && folder.parent().is_some();
        (is && (within || self.get("APPIMAGE").is_some())).then_some(folder)
    }
}

/// Whether `pattern`, which may end with `*`, matches `name`.
fn matches(name: &str, pattern: &str, ignore_case: bool) -> bool {
    match pattern.strip_suffix('*') {
        Some(stem) => name.get(..stem.len()).is_some_and(|start| same(start, stem, ignore_case)),
        None => same(name, pattern, ignore_case),
    }
}

fn same(a: &str, b: &str, ignore_case: bool) -> bool {
    if ignore_case { a.eq_ignore_ascii_case(b) } else { a == b }
}

/// The value of a path list without the entries within `folders`; `None` if no entry is left. A launcher adds its own entries
/// before those of the user.
fn outside(value: OsString, folders: &[PathBuf]) -> Option<OsString> {
    let inside = |entry: &Path| folders.iter().any(|folder| entry.starts_with(folder));
    if !env::split_paths(&value).any(|entry| inside(&entry)) {
        return Some(value);
    }
    // An empty entry means the current folder. It comes from appending to an unset variable.
    let keep = |entry: &PathBuf| !inside(entry) && !entry.as_os_str().is_empty();
    let left: Vec<_> = env::split_paths(&value).filter(keep).collect();
    env::join_paths(left).ok().filter(|left| !left.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a sidecar inherits from `parent`, a list of `NAME=value`.
    fn left(parent: &[&str], policy: &Inherit) -> Vec<String> {
        show(of(parent).inherited_by(policy))
    }

    fn of(variables: &[&str]) -> ParentEnvironment {
        let pair =
            |variable: &&str| variable.split_once('=').map(|(name, value)| (name.into(), value.into()));
        ParentEnvironment {
            variables: variables.iter().filter_map(pair).collect(),
            ..ParentEnvironment::default()
        }
    }

    fn show(variables: Vec<(OsString, OsString)>) -> Vec<String> {
        let show = |(name, value): (OsString, OsString)| format!("{}={}", name.display(), value.display());
        variables.into_iter().map(show).collect()
    }

    #[test]
    fn the_default_leaves_out_proxies_and_node_options() {
        let parent =
            ["A=1", "PATH=/bin", "HTTP_PROXY=x", "https_proxy=x", "No_Proxy=x", "NODE_OPTIONS=--inspect"];
        assert_eq!(left(&parent, &Inherit::default()), ["A=1", "PATH=/bin"]);
        assert_eq!(left(&parent, &Inherit::all()).len(), parent.len());
    }

    #[test]
    fn deny_wins_over_allow() {
        let parent = ["LANG=C", "LC_ALL=C", "LC_TIME=C", "LCD=1", "AWS_KEY=k", "HTTP_PROXY=x"];
        for (policy, expected) in [
            (Inherit::only(["LANG"]), &["LANG=C"][..]),
            (Inherit::only(["LC_*"]), &["LC_ALL=C", "LC_TIME=C"]),
            (Inherit::only(["LC_*"]).except(["LC_ALL"]), &["LC_TIME=C"]),
            (Inherit::only(["lang", "LC", "L*G"]), &[]),
            (Inherit::only(["HTTP_PROXY"]), &["HTTP_PROXY=x"]),
            (Inherit::default().except(["AWS_*", "L*"]), &[]),
            (Inherit::all().except(["*"]), &[]),
        ] {
            assert_eq!(left(&parent, &policy), expected, "{policy:?}");
        }
    }

    #[test]
    fn what_is_ours_alone_is_inherited_under_no_policy() {
        let parent: Vec<_> = NEVER_INHERITED.iter().map(|name| format!("{name}=1")).collect();
        let parent: Vec<_> = parent.iter().map(String::as_str).collect();
        for policy in [Inherit::default(), Inherit::all(), Inherit::only(["PORT", "LISTEN_*", "PILLION_*"])] {
            assert!(left(&parent, &policy).is_empty());
        }
        assert_eq!(left(&["PORTAL=1", "PILLION_OTHER=1"], &Inherit::default()).len(), 2);
    }

    #[test]
    fn windows_ignores_case_and_keeps_systemroot() {
        let windows = |parent: &[&str], policy| {
            show(ParentEnvironment { windows: true, ..of(parent) }.inherited_by(&policy))
        };
        let parent = ["Path=p", "systemroot=C:", "Port=1", "Aws_Key=k"];
        assert_eq!(windows(&parent, Inherit::only(["PATH"])), ["Path=p", "systemroot=C:"]);
        assert_eq!(windows(&parent, Inherit::default().except(["AWS_*"])), ["Path=p", "systemroot=C:"]);
    }

    // Windows has no AppImages, and there such paths are not absolute.
    #[cfg(unix)]
    #[test]
    fn the_variables_of_an_app_image_are_undone() {
        let image = ["APPDIR=/tmp/.mount_a", "APPIMAGE=/home/u/a.AppImage", "ARGV0=a", "OWD=/home/u"];
        for (set, undone) in [
            (
                "LD_LIBRARY_PATH=/tmp/.mount_a/usr/lib/:/tmp/.mount_a/lib/:/opt/lib",
                Some("LD_LIBRARY_PATH=/opt/lib"),
            ),
            ("LD_LIBRARY_PATH=/tmp/.mount_a/usr/lib:", None),
            ("PATH=/tmp/.mount_a/usr/bin:/usr/bin:/bin", Some("PATH=/usr/bin:/bin")),
            ("XDG_DATA_DIRS=/tmp/.mount_a/usr/share:/usr/share:", Some("XDG_DATA_DIRS=/usr/share")),
            ("GSETTINGS_SCHEMA_DIR=/tmp/.mount_a//usr/share/glib-2.0/schemas", None),
            ("GIO_EXTRA_MODULES=/tmp/.mount_a/usr/lib/gio/modules", None),
            ("PYTHONHOME=/tmp/.mount_a/usr/", None),
            ("PYTHONDONTWRITEBYTECODE=1", None),
            ("GDK_BACKEND=x11", None),
            ("GTK_THEME=Adwaita:light", None),
            // Not within the image: unchanged.
            ("PATH=/tmp/.mount_ab/bin::/bin", Some("PATH=/tmp/.mount_ab/bin::/bin")),
            ("NOTE=see /tmp/.mount_a", Some("NOTE=see /tmp/.mount_a")),
        ] {
            let parent: Vec<_> = image.iter().copied().chain([set]).collect();
            assert_eq!(left(&parent, &Inherit::all()), undone.as_slice(), "{set}");
        }
    }

    // Windows has no AppImages, and there such paths are not absolute.
    #[cfg(unix)]
    #[test]
    fn without_an_app_image_nothing_is_undone() {
        let kept = |parent: ParentEnvironment| parent.inherited_by(&Inherit::default()).len();
        let own = ["APPDIR=/home/u/app", "PATH=/home/u/app/bin:/bin", "GTK_THEME=dark"];
        assert_eq!(kept(of(&own)), 3, "a variable of that name without an AppImage");
        let program = Some("/home/u/app/usr/bin/aios".into());
        assert_eq!(
            kept(ParentEnvironment { program, ..of(&own) }),
            1,
            "an unpacked AppImage sets APPDIR alone"
        );
        for folder in ["APPDIR=/", "APPDIR=", "APPDIR=usr"] {
            assert_eq!(kept(of(&[folder, "APPIMAGE=a", "PATH=/bin"])), 3, "{folder}");
        }
    }

    // Windows has neither, and there such paths are not absolute.
    #[cfg(unix)]
    #[test]
    fn the_variables_of_snaps_and_flatpaks_are_undone() {
        let snap = ["SNAP=/snap/code/1", "SNAP_NAME=code", "SNAP_USER_COMMON=/home/u/snap/code/common"];
        let flatpak = ["FLATPAK_ID=org.example.App"];
        for (package, set, undone) in [
            (&snap[..], "LD_LIBRARY_PATH=/snap/code/1/usr/lib:/opt/lib", Some("LD_LIBRARY_PATH=/opt/lib")),
            (&snap, "GTK_PATH=/snap/code/1/usr/lib/gtk-3.0", None),
            (&snap, "GTK_IM_MODULE_FILE=/home/u/snap/code/common/.cache/immodules/immodules.cache", None),
            (&snap, "XDG_DATA_DIRS=/snap/code/1/usr/share:/usr/share", Some("XDG_DATA_DIRS=/usr/share")),
            (&snap, "HOME=/home/u/snap/code/common", Some("HOME=/home/u/snap/code/common")),
            (&snap, "PATH=/snap/bin:/usr/bin", Some("PATH=/snap/bin:/usr/bin")),
            (&flatpak, "LD_LIBRARY_PATH=/app/lib", None),
            (&flatpak, "XDG_DATA_DIRS=/app/share:/usr/share", Some("XDG_DATA_DIRS=/usr/share")),
            (&flatpak, "PATH=/app/bin:/usr/bin", Some("PATH=/app/bin:/usr/bin")),
            (&flatpak, "NOTE=/application", Some("NOTE=/application")),
        ] {
            let parent: Vec<_> = package.iter().copied().chain([set]).collect();
            assert_eq!(left(&parent, &Inherit::all()), undone.as_slice(), "{set}");
        }
        // Another program's variables of these names.
        for parent in [["SNAP=/snap/code/1", "A=/snap/code/1/x"], ["SNAP_NAME=code", "A=/app/x"]] {
            assert_eq!(left(&parent, &Inherit::all()).len(), 2, "{parent:?}");
        }
    }
}
