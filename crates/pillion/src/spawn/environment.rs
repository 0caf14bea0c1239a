//! Which of this program's environment variables a sidecar inherits. Nothing here reads or changes the environment itself,
//! but for [`Host::this`].

use std::{
    collections::BTreeMap,
    env,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use pillion_protocol::environment;

use crate::spec::Inherit;

/// Meant for this very process, by whoever started it: never inherited.
const NEVER_INHERITED: &[&str] = &[
    environment::PORT,
    // Not only a server's address: Conda, for one, sets it to a target triple.
    "HOST",
    environment::TOKEN,
    environment::PIPE,
    environment::INSTANCE,
    environment::PROTOCOL,
    environment::ALLOWED_ORIGINS,
    // sd_listen_fds(3); the last is what systemfd(1) adds and the listenfd crate reads.
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_PIDFDID",
    "LISTEN_FDNAMES",
    "LISTEN_FDS_FIRST_FD",
    // sd_notify(3), sd_watchdog_enabled(3).
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    // A descriptor that a sidecar has not got: Node ends at once when it is not there. nodejs.org/api/child_process.html
    "NODE_CHANNEL_FD",
    "NODE_CHANNEL_SERIALIZATION_MODE",
];

/// Inherited only where asked for. Through a proxy, even requests to loopback go where the proxy is, and from a developer's
/// shell `NODE_OPTIONS` opens a debugger's port.
const RARELY_MEANT: &[&str] =
    &["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY", "NODE_OPTIONS"];

/// What an AppImage's launcher sets for the app whatever the user had, and not to a path within itself: the runtime's own
/// (<https://docs.appimage.org/packaging-guide/environment-variables.html>), what `AppRun` does to Python, and what the
/// hook of linuxdeploy's GTK plugin, which Tauri uses, does to GTK.
const APP_IMAGES: &[&str] =
    &["APPDIR", "APPIMAGE", "ARGV0", "OWD", "PYTHONDONTWRITEBYTECODE", "GDK_BACKEND", "GTK_THEME"];

/// What a sidecar inherits from.
#[derive(Debug, Clone, Default)]
pub(crate) struct Host {
    variables: Vec<(OsString, OsString)>,
    /// Its own executable.
    program: Option<PathBuf>,
    /// Whether names that differ in case are the same.
    windows: bool,
}

impl Host {
    /// This process, as it is now.
    pub(crate) fn this() -> Self {
        Self { variables: env::vars_os().collect(), program: env::current_exe().ok(), windows: cfg!(windows) }
    }

    /// The variables that are inherited under this policy.
    pub(crate) fn hand_on(self, policy: &Inherit) -> BTreeMap<OsString, OsString> {
        let image = self.app_image();
        let is = |name: &OsStr, pattern: &str| matches(&name.to_string_lossy(), pattern, self.windows);
        let among = |name: &OsStr, list: &[&str]| list.iter().any(|pattern| is(name, pattern));
        let named = |name: &OsStr, list: &[String]| list.iter().any(|pattern| is(name, pattern));
        let inherited = |name: &OsStr| {
            let allowed = match &policy.allow {
                None => !RARELY_MEANT.iter().any(|rare| matches(&name.to_string_lossy(), rare, true)),
                Some(allow) => named(name, allow) || (self.windows && is(name, "SystemRoot")),
            };
            allowed && !named(name, &policy.deny) && !among(name, NEVER_INHERITED)
        };
        let undone = |name: OsString, value: OsString| match &image {
            None => Some((name, value)),
            Some(_) if among(&name, APP_IMAGES) => None,
            Some(image) => outside(value, image).map(|value| (name, value)),
        };
        let variables = self.variables.iter().filter(|(name, _)| inherited(name)).cloned();
        variables.filter_map(|(name, value)| undone(name, value)).collect()
    }

    /// The folder that the app's AppImage is mounted at or unpacked to, if it comes in one.
    fn app_image(&self) -> Option<PathBuf> {
        let get = |wanted: &str| Some(&self.variables.iter().find(|(name, _)| name == wanted)?.1);
        let folder = PathBuf::from(get("APPDIR")?);
        let within = self.program.as_ref().is_some_and(|program| program.starts_with(&folder));
        // The name is not so rare that somebody else could not mean something else by it. Nothing lies outside of /.
        let is = !self.windows && folder.is_absolute() && folder.parent().is_some();
        (is && (within || get("APPIMAGE").is_some())).then_some(folder)
    }
}

/// Whether `pattern`, which may end with a `*`, means `name`.
fn matches(name: &str, pattern: &str, ignore_case: bool) -> bool {
    let same = |a: &str, b: &str| if ignore_case { a.eq_ignore_ascii_case(b) } else { a == b };
    match pattern.strip_suffix('*') {
        Some(stem) => name.get(..stem.len()).is_some_and(|start| same(start, stem)),
        None => same(name, pattern),
    }
}

/// What is left of a variable without the entries that lie within `image`; `None` if nothing is. An AppImage's launcher puts
/// its own before what the user had.
fn outside(value: OsString, image: &Path) -> Option<OsString> {
    if !env::split_paths(&value).any(|entry| entry.starts_with(image)) {
        return Some(value);
    }
    // An empty entry stands for the current folder, and was left by joining to what was not set.
    let own = |entry: &PathBuf| !entry.starts_with(image) && !entry.as_os_str().is_empty();
    let left: Vec<_> = env::split_paths(&value).filter(own).collect();
    env::join_paths(left).ok().filter(|left| !left.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left of `host`, a list of `NAME=value`.
    fn left(host: &[&str], policy: &Inherit) -> Vec<String> {
        show(of(host).hand_on(policy))
    }

    fn of(variables: &[&str]) -> Host {
        let pair =
            |variable: &&str| variable.split_once('=').map(|(name, value)| (name.into(), value.into()));
        Host { variables: variables.iter().filter_map(pair).collect(), ..Host::default() }
    }

    fn show(variables: BTreeMap<OsString, OsString>) -> Vec<String> {
        let show = |(name, value): (OsString, OsString)| format!("{}={}", name.display(), value.display());
        variables.into_iter().map(show).collect()
    }

    #[test]
    fn by_default_everything_but_what_is_rarely_meant() {
        let host =
            ["A=1", "PATH=/bin", "HTTP_PROXY=x", "https_proxy=x", "No_Proxy=x", "NODE_OPTIONS=--inspect"];
        assert_eq!(left(&host, &Inherit::default()), ["A=1", "PATH=/bin"]);
        assert_eq!(left(&host, &Inherit::all()).len(), host.len());
    }

    #[test]
    fn lists_choose_and_what_is_denied_is_not_allowed() {
        let host = ["LANG=C", "LC_ALL=C", "LC_TIME=C", "LCD=1", "AWS_KEY=k", "HTTP_PROXY=x"];
        for (policy, expected) in [
            (Inherit::only(["LANG"]), &["LANG=C"][..]),
            (Inherit::only(["LC_*"]), &["LC_ALL=C", "LC_TIME=C"]),
            (Inherit::only(["LC_*"]).except(["LC_ALL"]), &["LC_TIME=C"]),
            (Inherit::only(["lang", "LC", "L*G"]), &[]),
            (Inherit::only(["HTTP_PROXY"]), &["HTTP_PROXY=x"]),
            (Inherit::default().except(["AWS_*", "L*"]), &[]),
            (Inherit::all().except(["*"]), &[]),
        ] {
            assert_eq!(left(&host, &policy), expected, "{policy:?}");
        }
    }

    #[test]
    fn what_is_ours_alone_is_inherited_under_no_policy() {
        let host: Vec<_> = NEVER_INHERITED.iter().map(|name| format!("{name}=1")).collect();
        let host: Vec<_> = host.iter().map(String::as_str).collect();
        for policy in [Inherit::default(), Inherit::all(), Inherit::only(["PORT", "LISTEN_*", "PILLION_*"])] {
            assert!(left(&host, &policy).is_empty());
        }
        assert_eq!(left(&["PORTAL=1", "PILLION_OTHER=1"], &Inherit::default()).len(), 2);
    }

    #[test]
    fn windows_does_not_tell_case_and_needs_its_root() {
        let windows = |host: &[&str], policy| show(Host { windows: true, ..of(host) }.hand_on(&policy));
        let host = ["Path=p", "systemroot=C:", "Port=1", "Aws_Key=k"];
        assert_eq!(windows(&host, Inherit::only(["PATH"])), ["Path=p", "systemroot=C:"]);
        assert_eq!(windows(&host, Inherit::default().except(["AWS_*"])), ["Path=p", "systemroot=C:"]);
    }

    // There are none on Windows, where such paths are not absolute.
    #[cfg(unix)]
    #[test]
    fn an_app_image_is_undone() {
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
            // Not within it, and not changed in the least.
            ("PATH=/tmp/.mount_ab/bin::/bin", Some("PATH=/tmp/.mount_ab/bin::/bin")),
            ("NOTE=see /tmp/.mount_a", Some("NOTE=see /tmp/.mount_a")),
        ] {
            let host: Vec<_> = image.iter().copied().chain([set]).collect();
            assert_eq!(left(&host, &Inherit::all()), undone.as_slice(), "{set}");
        }
    }

    // There are none on Windows, where such paths are not absolute.
    #[cfg(unix)]
    #[test]
    fn no_app_image_is_undone_where_there_is_none() {
        let kept = |host: Host| host.hand_on(&Inherit::default()).len();
        let own = ["APPDIR=/home/u/app", "PATH=/home/u/app/bin:/bin", "GTK_THEME=dark"];
        assert_eq!(kept(of(&own)), 3, "somebody's own variable of that name");
        let program = Some("/home/u/app/usr/bin/aios".into());
        assert_eq!(kept(Host { program, ..of(&own) }), 1, "the launcher of an unpacked one says no more");
        for folder in ["APPDIR=/", "APPDIR=", "APPDIR=usr"] {
            assert_eq!(kept(of(&[folder, "APPIMAGE=a", "PATH=/bin"])), 3, "{folder}");
        }
    }
}
