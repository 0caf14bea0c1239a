//! Names the cause of a failed start, from the system's error and the first bytes of the file. Pure, with the system as a
//! parameter: the same number means different errors on different systems.

use super::format::{Format, System, dynamic_loader, interpreter, is_universal};

/// A program that exists, and whose start failed.
#[derive(Debug, Clone, Copy)]
pub(super) struct FailedStart<'a> {
    /// The machine that should run it.
    pub(super) machine: Format,
    /// Its path, for people.
    pub(super) shown: &'a str,
    /// The number of the system's error, if it has one.
    pub(super) code: Option<i32>,
    /// Whether std refused the arguments before it asked the system.
    pub(super) invalid_input: bool,
    /// The error in words.
    pub(super) message: &'a str,
    /// The first bytes of the file.
    pub(super) head: &'a [u8],
    /// The permissions of the file on Unix.
    pub(super) mode: Option<u32>,
    /// Whether its file system is mounted without the right to execute programs (mount(8)).
    pub(super) noexec: bool,
    /// Whether the permissions let this user execute it.
    pub(super) may_execute: bool,
    /// The path of a batch file with the same name beside it.
    pub(super) batch_file: Option<&'a str>,
}

/// What the number of an error means for the start of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Missing,
    Denied,
    NoMemory,
    /// A program has the file open to write to it.
    Busy,
    /// The system does not know the format of the file, or has no means to run programs of its architecture.
    Format,
    /// The format is right, and the content is not.
    Damaged,
    NeedsElevation,
    MissingRuntime,
    Virus,
    Policy,
    /// Another program has opened the file, and shares it with none.
    InUse,
    TooLong,
    Other,
}

/// execve(2), `<sys/errno.h>` of each system, and Windows' System Error Codes.
fn meaning(system: System, code: Option<i32>) -> Meaning {
    match (system, code) {
        (System::Linux | System::MacOs | System::Windows, Some(2)) | (System::Windows, Some(3)) => {
            Meaning::Missing
        }
        (System::Linux | System::MacOs, Some(13)) | (System::Windows, Some(5)) => Meaning::Denied,
        (System::Linux | System::MacOs, Some(12)) | (System::Windows, Some(8 | 14 | 1450 | 1455)) => {
            Meaning::NoMemory
        }
        // ETXTBSY.
        (System::Linux | System::MacOs, Some(26)) => Meaning::Busy,
        // ENOEXEC; EBADARCH; ERROR_BAD_EXE_FORMAT, ERROR_EXE_MACHINE_TYPE_MISMATCH.
        (System::Linux, Some(8)) | (System::MacOs, Some(8 | 86)) | (System::Windows, Some(193 | 216)) => {
            Meaning::Format
        }
        // EBADEXEC, EBADMACHO.
        (System::MacOs, Some(85 | 88)) => Meaning::Damaged,
        (System::Windows, Some(32)) => Meaning::InUse,
        // ERROR_FILENAME_EXCED_RANGE, for a command line of more than 32,767 characters as well.
        (System::Windows, Some(206)) => Meaning::TooLong,
        (System::Windows, Some(740)) => Meaning::NeedsElevation,
        // ERROR_SXS_CANT_GEN_ACTCTX.
        (System::Windows, Some(14001)) => Meaning::MissingRuntime,
        (System::Windows, Some(225 | 226)) => Meaning::Virus,
        // ERROR_ACCESS_DISABLED_BY_POLICY, ERROR_SYSTEM_INTEGRITY_POLICY_VIOLATION.
        (System::Windows, Some(1260 | 4551)) => Meaning::Policy,
        _ => Meaning::Other,
    }
}

/// Whether the process or the system has no file descriptor left (EMFILE, ENFILE), so that the file cannot be examined.
pub(super) fn no_descriptor(system: System, code: Option<i32>) -> bool {
    system != System::Windows && matches!(code, Some(23 | 24))
}

/// Says in a sentence why the start failed.
pub(super) fn diagnose(it: &FailedStart<'_>) -> String {
    let (shown, message, system) = (it.shown, it.message, it.machine.system);
    if let Some(mode) = it.mode
        && mode & 0o111 == 0
    {
        return format!("{shown} is not executable (mode {mode:04o}); run: chmod +x {shown}");
    }
    match meaning(system, it.code) {
        Meaning::Missing => missing(it),
        Meaning::Denied if it.noexec => format!(
            "{shown} is executable, but its file system is mounted noexec: move the program to another file system, or \
             mount this one without noexec"
        ),
        Meaning::Denied if !it.may_execute => {
            let mode = it.mode.map(|mode| format!(" (mode {mode:04o})")).unwrap_or_default();
            format!(
                "{shown} may not be executed by this user{mode}: give it the right, or declare another program"
            )
        }
        Meaning::Denied
            if system != System::Windows && interpreter(it.head).is_some_and(|name| !name.is_empty()) =>
        {
            let interpreter = interpreter(it.head).unwrap_or_default();
            format!(
                "{shown} may be executed, but not its interpreter {interpreter}, named in its first line: make it executable, or name another one"
            )
        }
        Meaning::Busy => format!(
            "{shown} is still being written: start it when its build, copy or download has finished ({message})"
        ),
        Meaning::NoMemory => format!("the system has no memory to start {shown}: {message}"),
        Meaning::Format => wrong_format(it),
        Meaning::Damaged => format!("{shown} is damaged or incomplete: build or copy it again ({message})"),
        Meaning::NeedsElevation => format!(
            "{shown} demands the rights of an administrator in its manifest: a sidecar has those of its app, so build it without \
             that demand"
        ),
        Meaning::MissingRuntime => {
            format!(
                "{shown} needs a runtime library that is not installed, such as that of Visual C++: {message}"
            )
        }
        Meaning::Virus => format!("the virus scanner refused {shown}: {message}"),
        Meaning::Policy => {
            format!(
                "a policy of this machine, such as AppLocker or Smart App Control, forbids {shown}: {message}"
            )
        }
        Meaning::InUse => format!(
            "another program, such as a build or a virus scanner, has locked {shown}: start it again when that is done ({message})"
        ),
        Meaning::TooLong => format!(
            "the path of {shown} or its arguments are too long for Windows: declare shorter ones, or let it read them from a file ({message})"
        ),
        Meaning::Other if system == System::Windows && it.invalid_input && is_batch_file(shown) => format!(
            "{shown} is a batch file, which cannot get these arguments safely: declare the program that it starts ({message})"
        ),
        Meaning::Denied | Meaning::Other => format!("{shown}: {message}"),
    }
}

/// The file exists, and the system says that a file does not.
fn missing(it: &FailedStart<'_>) -> String {
    let (shown, message) = (it.shown, it.message);
    if it.machine.system == System::Windows {
        return format!("{shown}: {message}");
    }
    if let Some(interpreter) = interpreter(it.head) {
        return format!(
            "{shown} exists, but its interpreter {interpreter}, named in its first line, does not"
        );
    }
    if it.machine.system == System::Linux && it.head.starts_with(b"\x7fELF") {
        let named = dynamic_loader(it.head).map(|loader| format!(" {loader}")).unwrap_or_default();
        let other = Format::read(it.head).filter(|format| *format != it.machine);
        let other = other.map(|format| format!(", for {format}")).unwrap_or_default();
        return format!(
            "{shown} exists, but its dynamic loader{named}{other} does not: it was built for another system or C library; build it \
             for this one, or link it statically"
        );
    }
    format!("{shown}: {message}")
}

/// The system does not run files of this format.
fn wrong_format(it: &FailedStart<'_>) -> String {
    let (shown, machine) = (it.shown, it.machine);
    if let Some(built_for) = Format::read(it.head)
        && built_for != machine
    {
        let rosetta = built_for == Format { system: System::MacOs, arch: "x86_64" }
            && machine == Format { system: System::MacOs, arch: "aarch64" };
        let advice = if rosetta { "; add a build for it, or install Rosetta" } else { "" };
        return format!("{shown} is built for {built_for}, and this machine runs {machine}{advice}");
    }
    if is_universal(it.head) {
        return format!("{shown} contains no program for {machine}");
    }
    if machine.system != System::Windows {
        return format!("{shown} is neither a program for this machine nor a script that starts with #!");
    }
    if let Some(batch_file) = it.batch_file {
        return format!("{shown} is not a program for Windows: declare {batch_file}, which is beside it");
    }
    if let Some(interpreter) = interpreter(it.head) {
        return format!(
            "{shown} is a script, and Windows does not read its first line: declare {interpreter} as the program, and the script as \
             its first argument"
        );
    }
    format!("{shown} is not a program for this machine: {}", it.message)
}

fn is_batch_file(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    [".cmd", ".bat"].iter().any(|suffix| path.ends_with(suffix))
}

#[cfg(test)]
mod tests {
    use super::{super::format::tests as files, *};

    const LINUX: Format = Format { system: System::Linux, arch: "x86_64" };
    const INTEL_MAC: Format = Format { system: System::MacOs, arch: "x86_64" };
    const MAC: Format = Format { system: System::MacOs, arch: "aarch64" };
    const WINDOWS: Format = Format { system: System::Windows, arch: "x86_64" };

    fn of(machine: Format, code: i32, head: &[u8]) -> String {
        diagnose(&failed(machine, code, head))
    }

    fn failed(machine: Format, code: i32, head: &[u8]) -> FailedStart<'_> {
        FailedStart {
            machine,
            shown: "api",
            code: Some(code),
            invalid_input: false,
            message: "MESSAGE",
            head,
            mode: None,
            noexec: false,
            may_execute: true,
            batch_file: None,
        }
    }

    #[test]
    fn a_number_means_what_it_means_on_that_system() {
        let script = b"plain text";
        assert_eq!(
            of(LINUX, 8, script),
            "api is neither a program for this machine nor a script that starts with #!"
        );
        assert_eq!(of(WINDOWS, 8, script), "the system has no memory to start api: MESSAGE");
        assert_eq!(of(LINUX, 5, script), "api: MESSAGE");
        assert!(no_descriptor(System::Linux, Some(24)));
        assert!(no_descriptor(System::MacOs, Some(23)));
        assert!(!no_descriptor(System::Windows, Some(24)));
    }

    #[test]
    fn an_architecture_is_named_only_if_the_system_blames_the_format() {
        let intel = files::mach(0x07);
        assert_eq!(
            of(MAC, 86, &intel),
            "api is built for macOS x86_64, and this machine runs macOS aarch64; add a build for it, or install Rosetta"
        );
        // Rosetta runs it, and so does Windows on Arm its own counterpart: another error has another cause.
        assert_eq!(of(MAC, 1, &intel), "api: MESSAGE");
        let arm = Format { arch: "aarch64", ..WINDOWS };
        assert_eq!(of(arm, 5, &files::pe(0x8664)), "api: MESSAGE");
        assert_eq!(
            of(WINDOWS, 216, &files::pe(0xaa64)),
            "api is built for Windows aarch64, and this machine runs Windows x86_64"
        );
        assert_eq!(
            of(INTEL_MAC, 86, &files::mach(0x0c)),
            "api is built for macOS aarch64, and this machine runs macOS x86_64"
        );
        assert_eq!(
            of(LINUX, 8, &files::pe(0x8664)),
            "api is built for Windows x86_64, and this machine runs Linux x86_64"
        );
        assert_eq!(of(MAC, 86, &0xcafe_babe_u32.to_be_bytes()), "api contains no program for macOS aarch64");
    }

    #[test]
    fn a_missing_loader_is_named_on_linux_alone() {
        let said = of(LINUX, 2, &files::elf(62, "/lib/ld-musl-x86_64.so.1"));
        assert!(
            said.starts_with("api exists, but its dynamic loader /lib/ld-musl-x86_64.so.1 does not"),
            "{said}"
        );
        let said = of(LINUX, 2, &files::elf(3, ""));
        assert!(said.contains(", for Linux x86 does not"), "{said}");
        assert_eq!(of(LINUX, 2, b"MZ"), "api: MESSAGE");
        assert_eq!(of(WINDOWS, 2, &files::pe(0x8664)), "api: MESSAGE");
        assert_eq!(of(MAC, 2, &files::mach(0x0c)), "api: MESSAGE");
        assert_eq!(
            of(MAC, 2, b"#!/no/such/sh\n"),
            "api exists, but its interpreter /no/such/sh, named in its first line, does not"
        );
    }

    #[test]
    fn scripts_on_windows_get_the_advice_that_helps() {
        let npm = b"#!/usr/bin/env node\n";
        assert_eq!(
            of(WINDOWS, 193, npm),
            "api is a script, and Windows does not read its first line: declare /usr/bin/env as the program, and the script as its \
             first argument"
        );
        let beside = FailedStart { batch_file: Some("api.cmd"), ..failed(WINDOWS, 193, npm) };
        assert_eq!(
            diagnose(&beside),
            "api is not a program for Windows: declare api.cmd, which is beside it"
        );
        let batch = FailedStart {
            shown: "api.CMD",
            code: None,
            invalid_input: true,
            ..failed(WINDOWS, 0, b"@echo off")
        };
        assert_eq!(
            diagnose(&batch),
            "api.CMD is a batch file, which cannot get these arguments safely: declare the program that it starts (MESSAGE)"
        );
        let other = FailedStart { invalid_input: false, ..batch };
        assert_eq!(diagnose(&other), "api.CMD: MESSAGE");
        assert_eq!(of(WINDOWS, 193, b"?"), "api is not a program for this machine: MESSAGE");
    }

    #[test]
    fn the_refusals_of_each_system_are_named() {
        for (machine, code, part) in [
            (WINDOWS, 740, "an administrator"),
            (WINDOWS, 14001, "a runtime library"),
            (WINDOWS, 32, "has locked api"),
            (WINDOWS, 206, "too long"),
            (LINUX, 32, "api: MESSAGE"),
            (WINDOWS, 225, "virus scanner"),
            (WINDOWS, 1260, "a policy"),
            (WINDOWS, 4551, "a policy"),
            (MAC, 88, "damaged"),
            (MAC, 12, "no memory"),
            (LINUX, 26, "still being written"),
        ] {
            let said = of(machine, code, b"");
            assert!(said.contains(part), "{machine} {code}: {said}");
        }
        let noexec = FailedStart { noexec: true, ..failed(LINUX, 13, b"") };
        assert!(diagnose(&noexec).contains("mounted noexec"));
        let user = FailedStart { mode: Some(0o700), may_execute: false, ..failed(LINUX, 13, b"#!/bin/sh") };
        assert!(diagnose(&user).starts_with("api may not be executed by this user (mode 0700)"));
        let mode = FailedStart { mode: Some(0o644), ..failed(LINUX, 13, b"") };
        assert_eq!(diagnose(&mode), "api is not executable (mode 0644); run: chmod +x api");
    }
}
