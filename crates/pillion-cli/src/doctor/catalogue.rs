//! All findings, by area. docs/doctor.md lists them, and is generated from here.

use serde::Serialize;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Severity {
    /// The app, its bundle or its sidecar does not work on some machine.
    Error,
    /// It works, with a risk or a loss.
    Warning,
}

impl Severity {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Area {
    /// The section `plugins.pillion` and the files of the project.
    Project,
    /// The page's rights: capabilities and the content security policy.
    Page,
    /// The files that `bundle.externalBin` names.
    Binaries,
    /// What `tauri build` has made.
    Bundle,
    /// The machine that runs the command.
    Machine,
}

#[cfg(test)]
impl Area {
    fn name(self) -> &'static str {
        match self {
            Self::Project => "project",
            Self::Page => "page",
            Self::Binaries => "binaries",
            Self::Bundle => "bundle",
            Self::Machine => "machine",
        }
    }
}

/// A kind of finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    /// The name, as `--ignore` takes it. It never changes.
    pub(super) id: &'static str,
    pub(super) level: Severity,
    pub(super) area: Area,
    /// What was found.
    pub(super) what: &'static str,
    /// What goes wrong because of it.
    pub(super) why: &'static str,
    /// What to do.
    pub(super) cure: &'static str,
    /// What to do about a program that `pillion package` does not build; only where `cure` names that command.
    pub(super) by_hand: Option<&'static str>,
    /// Whether `--fix` does it.
    pub(super) fixable: bool,
}

/// Defines a constant for each kind, and the list of all.
macro_rules! catalogue {
    ($($name:ident = $area:ident $level:ident $id:literal $(($fix:ident))? $what:literal $why:literal $cure:literal $((by hand: $by_hand:literal))?)*) => {
        $(pub(super) const $name: Kind = Kind {
            id: $id,
            level: Severity::$level,
            area: Area::$area,
            what: $what,
            why: $why,
            cure: $cure,
            by_hand: catalogue!(@by_hand $($by_hand)?),
            fixable: catalogue!(@fixable $($fix)?),
        };)*

        /// All kinds of findings, in the order of the documentation.
        pub(super) const KINDS: &[Kind] = &[$($name),*];
    };
    (@fixable fix) => { true };
    (@fixable) => { false };
    (@by_hand $text:literal) => { Some($text) };
    (@by_hand) => { None };
}

catalogue! {
    // The project.
    DECLARATION = Project Error "declaration"
        "The section `plugins.pillion` is missing or invalid: an unknown field, a wrong value, or fields that contradict each other."
        "The app stops with this error at its start."
        "Correct the field that the finding names; docs/configuration.md lists all fields."
    PACKAGE_SOURCE = Project Error "package-source"
        "A file or a folder that `package` of a declaration names does not exist."
        "`pillion package` cannot build the program."
        "Correct the path: it is relative to the folder that contains src-tauri."
    PROGRAM_NOT_BUNDLED = Project Error "program-not-bundled"
        "A declaration runs a program or a resource that the bundle does not contain."
        "The installed app does not find the program, and the sidecar fails."
        "Add it to `bundle.externalBin` (a program) or `bundle.resources` (a resource), or correct the name in the declaration."
    EXTERNAL_BIN_NAME = Project Error "external-bin-name"
        "An entry of `bundle.externalBin` ends with a target triple or with `.exe`."
        "Tauri appends both itself, so it looks for a file with the suffix twice."
        "Write the path without triple and suffix: \"binaries/NAME\"."
    NAME_OF_APP = Project Error "name-of-app"
        "A sidecar has the name of the app's own program."
        "Both would be the same file beside the app: tauri-build refuses it, and on Windows one overwrites the other."
        "Give the sidecar another name, such as NAME-backend, in `bundle.externalBin` and in the declaration's `program`."
    GENERIC_NAME = Project Warning "generic-name"
        "A Linux package installs the sidecar in /usr/bin under a name that other packages may use too."
        "A .deb or .rpm whose file belongs to another package cannot be installed, and the sidecar is a command in the user's PATH."
        "Name it after the app, such as \"binaries/APP-backend\" with `\"program\": \"APP-backend\"`; to do so only for Linux, write it in tauri.linux.conf.json."
    MOBILE_PROGRAMS = Project Error "mobile-programs"
        "The app has a project for Android or iOS, and `bundle.externalBin` holds for that system too."
        "tauri-build looks for the program under the name of each mobile target, and the build fails. No sidecar runs there."
        "Call `pillion_build::allow_missing_sidecars()` in build.rs, as `pillion init` does, or write `{ \"bundle\": { \"externalBin\": [] } }` into tauri.android.conf.json or tauri.ios.conf.json."
    BLOCKED_PORT = Project Error "blocked-port"
        "Browsers and webviews refuse to call the declared port."
        "Each request of the page fails (https://fetch.spec.whatwg.org/#bad-port)."
        "Choose another port, or leave `port` out, so that the sidecar takes a free one."
    PORT_CONFLICT = Project Error "port-conflict"
        "Two sidecars, or a sidecar and the development server, have the same fixed port."
        "The second one to start cannot bind the port, and fails."
        "Give each its own port, or use `\"port\": \"assigned\"`."
    PLUGIN_MISSING = Project Error "plugin-missing"
        "The configuration has the section `plugins.pillion`, but the app's crate does not depend on tauri-plugin-pillion."
        "No sidecar starts."
        "Run `pillion init`, or add the dependency and the line `.plugin(tauri_plugin_pillion::init())`."
    PLUGIN_NOT_REGISTERED = Project Error "plugin-not-registered"
        "No source file of the app adds the plugin to the builder."
        "No sidecar starts, and the page's calls fail."
        "Add `.plugin(tauri_plugin_pillion::init())` to the builder, or run `pillion init`."
    NO_OWN_GUARD = Project Warning "no-own-guard"
        "No source file of the app calls `guard::run_if_asked`."
        "On Windows, the sidecars of an app that is killed or crashes end at once, without their grace period."
        "Make `tauri_plugin_pillion::guard::run_if_asked();` the first line of `run`, or of `main` if that does more than call `run`. An async `main` is too late: start the runtime after this line."
    PLUGIN_VERSIONS = Project Error "plugin-versions"
        "The crate tauri-plugin-pillion and the npm package tauri-plugin-pillion-api have different versions."
        "The page may use commands that the app does not have; `tauri build` refuses versions that differ in the minor."
        "Install the same version of both."
    SINGLE_INSTANCE_ORDER = Project Error "single-instance-order"
        "tauri-plugin-single-instance is registered after tauri-plugin-pillion."
        "A second launch starts all sidecars, and then stops them again; they may take the port or the files of the first."
        "Register tauri_plugin_single_instance first."
    GITIGNORE = Project Warning "gitignore" (fix)
        "git does not ignore the folder of the built sidecars."
        "Binaries of many megabytes get into the repository, and old ones are bundled after a checkout."
        "Add the folder to .gitignore."
    TAURIGNORE = Project Warning "taurignore" (fix)
        "`tauri dev` watches the folder of the built sidecars."
        "Each build of a sidecar restarts the whole app instead of only the sidecar."
        "Add the folder to .taurignore beside the Tauri configuration."
    DEV_COMMAND = Project Warning "dev-command"
        "Something that `dev` names does not exist: its program (a path, or a name in the PATH of this terminal), its folder, or files to watch."
        "The sidecar fails in `tauri dev`, or does not start again after a change."
        "Install the program, or correct `dev`."

    // The page.
    PERMISSION = Page Error "permission" (fix)
        "No capability grants the page what it needs to call a sidecar of this transport."
        "`sidecar(…).fetch` rejects; in a debug build the error names the permission."
        "Grant `pillion:default` and `pillion:allow-connect`; for `\"transport\": \"local\"` `pillion:allow-fetch` (docs/page.md)."
    SCOPE = Page Error "scope"
        "The scope of a permission names a sidecar that is not declared."
        "The permission does not apply to the sidecar that was meant."
        "Correct the name in the capability."
    CSP_CONNECT = Page Error "csp-connect"
        "The content security policy does not allow the page to call the sidecar's port."
        "The webview blocks each request, without a message from the app."
        "Add `http://127.0.0.1:*` to `connect-src` in `app.security.csp` (and `ws://127.0.0.1:*` for WebSockets). `localhost` is another host."
    CSP_IPC = Page Warning "csp-ipc"
        "The content security policy does not allow Tauri's IPC by request."
        "Each call to the app logs an error, and then uses messages, which are slower."
        "Add `ipc: http://ipc.localhost` to `connect-src` in `app.security.csp`."

    // The binaries.
    MISSING_BINARY = Binaries Error "missing-binary"
        "The file of a sidecar for a target does not exist."
        "`tauri build` stops: \"resource path doesn't exist\"."
        "Build it: `pillion package`, for another machine with `--target TRIPLE`. Before the first build, ignore this finding: `--ignore missing-binary`."
        (by hand: "Build it, or ignore this finding before the first build: `--ignore missing-binary`.")
    BINARY_NAME = Binaries Error "binary-name"
        "A file beside the built sidecars has the name of a sidecar without a target triple, with an unknown one, or with the wrong suffix."
        "Tauri looks for NAME-TRIPLE, with `.exe` only on Windows, and does not find this file."
        "Rename it, for example to NAME-x86_64-pc-windows-msvc.exe; `rustc --print host-tuple` prints the triple of this machine."
    EMPTY_BINARY = Binaries Error "empty-binary"
        "The file of a sidecar is empty."
        "A build was interrupted, or made a placeholder: the app is bundled with a sidecar that cannot start."
        "Build it: `pillion package`."
        (by hand: "Build it.")
    NOT_A_PROGRAM = Binaries Error "not-a-program"
        "The file of a sidecar is neither a program nor a script: a placeholder, a download page, a pointer of Git LFS."
        "The app is bundled with a sidecar that cannot start."
        "Build it: `pillion package`."
        (by hand: "Build it.")
    SCRIPT = Binaries Warning "script"
        "The file of a sidecar is a script."
        "It works where its interpreter is installed: rarely on the user's machine, and never on Windows."
        "For a release, build a program: `pillion package`."
        (by hand: "For a release, build a program.")
    ARCHITECTURE = Binaries Error "architecture"
        "The file of a sidecar is built for another system or processor, not for the one in its name."
        "The bundled sidecar does not start, or only by emulation."
        "Build it for its target: `pillion package --target TRIPLE`."
        (by hand: "Build it for its target.")
    EXEC_BIT = Binaries Error "exec-bit" (fix)
        "The file of a sidecar may not be executed."
        "The bundle keeps the mode, and the system refuses to start the sidecar."
        "Set the bit: `chmod +x FILE`. Archives and artifacts of CI drop it."
    READ_ONLY = Binaries Error "read-only" (fix)
        "The file of a sidecar for macOS is read-only."
        "codesign cannot write into the copy in the bundle, so the sidecar stays unsigned, and notarisation fails later."
        "Allow its owner to write: `chmod u+w FILE`."
    UNIVERSAL = Binaries Error "universal"
        "The files for `universal-apple-darwin` are incomplete: one of the three is missing, or the universal one lacks a processor."
        "Tauri builds each half of the app with its own file, and bundles the universal one, which lipo joins from both."
        "Make all three: `pillion package --target universal-apple-darwin`."
        (by hand: "Make all three.")
    UNSIGNED = Binaries Error "unsigned"
        "A program for Apple processors has no code signature."
        "macOS kills it at its start. Without a `signingIdentity`, Tauri does not sign it."
        "Sign it at least ad hoc: `pillion package` does, or `codesign --sign - FILE`."
        (by hand: "Sign it at least ad hoc: `codesign --sign - FILE`.")
    JIT_ENTITLEMENT = Binaries Error "jit-entitlement"
        "A sidecar for macOS compiles code while it runs (Node, Bun, Deno), and the app's entitlements do not allow it."
        "With a signing identity, Tauri signs sidecars with the app's entitlements and the hardened runtime, which kills the program at its first compiled function. Without one, this is a warning."
        "Set `com.apple.security.cs.allow-jit` and `com.apple.security.cs.allow-unsigned-executable-memory` in the file that `bundle.macOS.entitlements` names."
    LIBRARY_ENTITLEMENT = Binaries Error "library-entitlement"
        "A sidecar for macOS unpacks its libraries (PyInstaller), and the app's entitlements do not allow libraries of another signature."
        "With a signing identity, Tauri signs sidecars with the app's entitlements and the hardened runtime, under which the program cannot load Python. Without one, this is a warning."
        "Set `com.apple.security.cs.disable-library-validation` in the file that `bundle.macOS.entitlements` names."
    STALE = Binaries Warning "stale"
        "The file of a sidecar is older than its sources."
        "The bundle contains an old version of the sidecar."
        "Build it again: `pillion package`."
        (by hand: "Build it again.")
    APPIMAGE_STRIP = Binaries Error "appimage-strip"
        "AppImage is a target of the bundle, and the sidecar keeps data in its file that strip(1) removes or moves (Node, Bun, Deno, pkg, Nuitka)."
        "linuxdeploy strips each program in an AppImage; the sidecar loses its data, or crashes at its start."
        "Leave AppImage out of `bundle.targets`, for example by `\"targets\": [\"deb\", \"rpm\"]` in tauri.linux.conf.json. Or set `NO_STRIP=true` in the environment of `tauri build` and of this command, and try the AppImage."
    TEMP_EXECUTION = Binaries Warning "temp-execution"
        "A sidecar for Windows is a one-file program of PyInstaller, which unpacks itself into the temporary folder and runs there."
        "Virus scanners delay or delete what it unpacks, and each start unpacks everything again."
        "Use PyInstaller's folder (`--onedir`) as a resource, with `resource` in the declaration."

    // The bundle.
    NOT_IN_BUNDLE = Bundle Error "not-in-bundle"
        "A built bundle does not contain a sidecar, or contains one that may not be executed."
        "The installed app does not find or cannot start its sidecar."
        "Build the bundle again: `tauri build`."
    OTHER_IN_BUNDLE = Bundle Warning "other-in-bundle"
        "A built bundle contains a different file from the one beside the Tauri configuration."
        "The bundle has an old sidecar, or a step after the copy (strip, a signature) has changed it."
        "Build the bundle again: `tauri build`. Only a .deb is checked: linuxdeploy changes the files of an AppImage, and a signature those of macOS."

    // The machine.
    WEBVIEW = Machine Error "webview"
        "The library of the webview is not installed."
        "The app does not start on this machine."
        "Install WebKitGTK 4.1 (`apt-get install libwebkit2gtk-4.1-0`), or on Windows the WebView2 runtime."
    DISPLAY = Machine Warning "display"
        "This session has no display."
        "The app cannot open a window here; a test needs Xvfb."
        "Run it in a desktop session, or below `xvfb-run`."
    DBUS = Machine Warning "dbus"
        "This session has no D-Bus, and the app uses tauri-plugin-single-instance."
        "Without D-Bus the plugin does nothing on Linux: a second launch starts its own sidecars."
        "Run the app in a desktop session, or below `dbus-run-session`."
    GUARD_PLACE = Machine Error "guard-place"
        "This machine executes no programs from memory (`vm.memfd_noexec`), from XDG_RUNTIME_DIR or from the temporary folder."
        "The guard inside the program cannot start. Without `guard::run_if_asked`, the sidecars run without a guard, and can survive a killed app."
        "Set TMPDIR to a folder of a file system that is not mounted with noexec, or allow executable memory: `sysctl vm.memfd_noexec=1`."
    LOGIN_SHELL = Machine Warning "login-shell"
        "A declaration has `loginShellEnv`, but the login shell of this user cannot be executed."
        "The sidecar gets the environment of the desktop, without what the user's profile sets."
        "Set SHELL, or the shell in the user database (chsh(1)), to one that exists."
}

/// The same for an app that Tauri does not sign, so that the program keeps its own signature.
pub(super) const JIT_ENTITLEMENT_UNSIGNED: Kind = Kind { level: Severity::Warning, ..JIT_ENTITLEMENT };
pub(super) const LIBRARY_ENTITLEMENT_UNSIGNED: Kind =
    Kind { level: Severity::Warning, ..LIBRARY_ENTITLEMENT };

/// The kind with this id.
pub(super) fn find(id: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.id == id)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, env, fmt::Write as _, fs, path::Path};

    use super::*;

    const BEGIN: &str =
        "<!-- generated from crates/pillion-cli/src/doctor/catalogue.rs: run `cargo xtask codegen` -->\n";
    const END: &str = "<!-- end -->";

    #[test]
    fn generated_list_of_findings_is_up_to_date() {
        let mut list = String::new();
        for kind in KINDS {
            let fix = if kind.fixable { ", `--fix`" } else { "" };
            writeln!(
                list,
                "### `{}`\n\n{}, {}{fix}. {}\n",
                kind.id,
                kind.level.name(),
                kind.area.name(),
                kind.what
            )
            .unwrap();
            writeln!(list, "- Why: {}\n- Do: {}\n", kind.why, kind.cure).unwrap();
        }
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/doctor.md");
        let text = fs::read_to_string(&file).unwrap();
        let (before, rest) = text.split_once(BEGIN).unwrap();
        let (_, after) = rest.split_once(END).unwrap();
        let wanted = format!("{before}{BEGIN}\n{list}{END}{after}");
        if env::var_os("PILLION_CODEGEN").is_some() {
            fs::write(&file, &wanted).unwrap();
        } else {
            assert!(text == wanted, "docs/doctor.md is out of date: run `cargo xtask codegen`");
        }
    }

    #[test]
    fn each_kind_has_its_own_id_and_the_areas_come_in_order() {
        let ids: BTreeSet<_> = KINDS.iter().map(|kind| kind.id).collect();
        assert_eq!(ids.len(), KINDS.len());
        assert!(KINDS.is_sorted_by_key(|kind| kind.area));
        for kind in KINDS {
            assert!(kind.id.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{}", kind.id);
            for text in [kind.what, kind.why, kind.cure] {
                assert!(text.ends_with(['.', '`', ')']), "{}: {text}", kind.id);
            }
            assert_eq!(kind.by_hand.is_some(), kind.cure.contains("`pillion package"), "{}", kind.id);
            assert!(kind.by_hand.is_none_or(|text| text.ends_with('.')), "{}", kind.id);
        }
    }
}
