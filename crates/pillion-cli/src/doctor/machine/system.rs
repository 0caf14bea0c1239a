//! Reads the facts about this machine. Each function returns why a part is missing.

#[cfg(target_os = "linux")]
pub(super) use linux::{no_dbus, no_display, no_guard_place, no_webview};
#[cfg(not(target_os = "linux"))]
pub(super) use other::{no_dbus, no_display, no_guard_place, no_webview};

/// Why the login shell cannot be executed. `SHELL` decides; without it, the user database, which only the app reads.
#[cfg(unix)]
pub(super) fn no_login_shell() -> Option<String> {
    let shell = std::path::PathBuf::from(std::env::var_os("SHELL")?);
    let missing = shell.is_absolute() && !super::is_program(&shell);
    missing.then(|| format!("SHELL is {}, which is not a program", shell.display()))
}

#[cfg(not(unix))]
pub(super) fn no_login_shell() -> Option<String> {
    None
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{env, fs, path::PathBuf};

    use rustix::fs::{StatVfsMountFlags, statvfs};

    /// The library of Tauri 2 (<https://v2.tauri.app/start/prerequisites/#linux>).
    const LIBRARY: &str = "libwebkit2gtk-4.1.so.0";

    /// Looks for the library where ld.so(8) does, without its cache.
    pub(in super::super) fn no_webview() -> Option<String> {
        let mut folders: Vec<PathBuf> =
            env::var_os("LD_LIBRARY_PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default();
        for base in ["/usr/lib", "/usr/local/lib", "/lib", "/usr/lib64", "/lib64", "/usr/local/lib64"] {
            folders.push(base.into());
            // Debian has a folder for each architecture.
            folders.push(PathBuf::from(base).join(format!("{}-linux-gnu", env::consts::ARCH)));
        }
        // NixOS and Guix have no such folders.
        let unusual = !PathBuf::from("/usr/lib").is_dir() || PathBuf::from("/nix/store").is_dir();
        let found = unusual || folders.iter().any(|folder| folder.join(LIBRARY).exists());
        (!found).then(|| format!("{LIBRARY} is in none of the library folders"))
    }

    pub(in super::super) fn no_display() -> Option<String> {
        let set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        (!set("DISPLAY") && !set("WAYLAND_DISPLAY"))
            .then(|| "neither DISPLAY nor WAYLAND_DISPLAY is set".to_owned())
    }

    pub(in super::super) fn no_dbus() -> Option<String> {
        let set = env::var_os("DBUS_SESSION_BUS_ADDRESS").is_some_and(|value| !value.is_empty());
        // The address without the variable: sd_bus_open_user(3).
        let bus = env::var_os("XDG_RUNTIME_DIR").map(|folder| PathBuf::from(folder).join("bus"));
        let exists = bus.is_some_and(|bus| bus.exists());
        (!set && !exists).then(|| {
            "DBUS_SESSION_BUS_ADDRESS is not set, and XDG_RUNTIME_DIR has no socket `bus`".to_owned()
        })
    }

    /// The guard's program is in memory, or in a file of one of two folders.
    pub(in super::super) fn no_guard_place() -> Option<String> {
        // 2 forbids it for every process; 0 and 1 allow it to a process that asks for it (sysctl vm.memfd_noexec).
        let setting = fs::read_to_string("/proc/sys/vm/memfd_noexec").unwrap_or_default();
        if setting.trim() != "2" {
            return None;
        }
        let folders = [env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from), Some(env::temp_dir())];
        let noexec = |folder: &PathBuf| {
            statvfs(folder).is_ok_and(|found| found.f_flag.contains(StatVfsMountFlags::NOEXEC))
        };
        let folders: Vec<_> = folders.into_iter().flatten().collect();
        folders.iter().all(noexec).then(|| {
            let shown: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
            format!("vm.memfd_noexec is 2, and noexec is the mount of {}", shown.join(" and of "))
        })
    }
}

#[cfg(not(target_os = "linux"))]
mod other {
    /// macOS has a webview. The folder of the `WebView2` runtime is that of its installer
    /// (<https://learn.microsoft.com/microsoft-edge/webview2/concepts/distribution>); its absence proves nothing, so that the registry decides
    /// when the app starts.
    pub(in super::super) fn no_webview() -> Option<String> {
        if !cfg!(windows) {
            return None;
        }
        let folders = ["ProgramFiles(x86)", "ProgramFiles", "LOCALAPPDATA"];
        let folders: Vec<_> = folders.iter().filter_map(std::env::var_os).collect();
        let runtime = |folder: &std::ffi::OsString| {
            std::path::Path::new(folder).join("Microsoft/EdgeWebView/Application").is_dir()
        };
        (!folders.iter().any(runtime))
            .then(|| "Microsoft/EdgeWebView is in none of the program folders".to_owned())
    }

    pub(in super::super) fn no_display() -> Option<String> {
        None
    }

    pub(in super::super) fn no_dbus() -> Option<String> {
        None
    }

    pub(in super::super) fn no_guard_place() -> Option<String> {
        None
    }
}
