//! Explains why a program could not be started, from what is at its path and what this machine can run.

use std::{
    env, fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::spawn::executable::{self, is_bare};

/// Explains a failed spawn of `program` in the directory `dir`.
pub(crate) fn explain(program: &Path, dir: Option<&Path>, error: &io::Error) -> String {
    // EMFILE, ENFILE (pipe(2)). Without a descriptor the file cannot be examined.
    if cfg!(unix) && matches!(error.raw_os_error(), Some(23 | 24)) {
        return format!("this program or the system has no file descriptor left: {error}");
    }
    if let Some(dir) = dir
        && !dir.is_dir()
    {
        let what = if dir.exists() { "is not a directory" } else { "does not exist" };
        return format!("its working directory {} {what}", dir.display());
    }
    let Some(path) = locate(program, dir) else {
        let name = program.display();
        return if is_bare(program) {
            format!("no program {name} in PATH; give its path, or install it")
        } else {
            format!("no such file: {name}")
        };
    };
    let shown = path.display();
    let Ok(metadata) = fs::metadata(&path) else {
        return format!("{shown} cannot be examined: {error}");
    };
    if metadata.is_dir() {
        return format!("{shown} is a directory");
    }
    if metadata.len() == 0 {
        return format!("{shown} is empty: its build did not finish");
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = metadata.permissions().mode() & 0o7777;
        if mode & 0o111 == 0 {
            return format!("{shown} is not executable (mode {mode:04o}); run: chmod +x {shown}");
        }
    }
    let head = head(&path);
    if let Some(built_for) = head.as_deref().and_then(Format::read)
        && built_for != Format::of_this_machine()
    {
        return format!(
            "{shown} is built for {built_for}, and this machine runs {}",
            Format::of_this_machine()
        );
    }
    match (error.kind(), head.as_deref().and_then(interpreter)) {
        (io::ErrorKind::NotFound, Some(interpreter)) => {
            format!("{shown} exists, but its interpreter {interpreter}, named in its first line, does not")
        }
        (io::ErrorKind::NotFound, None) => {
            format!(
                "{shown} exists, but its dynamic loader does not: it was built for another C library; build it for that of this system"
            )
        }
        #[cfg(unix)]
        (io::ErrorKind::PermissionDenied, _) if is_noexec(&path) => format!(
            "{shown} is executable, but its file system is mounted noexec: move the program to another file system, or \
             mount this one without noexec"
        ),
        // ENOEXEC, execve(2).
        _ if error.raw_os_error() == Some(8) => {
            format!("{shown} is neither a program for this machine nor a script that starts with #!")
        }
        _ => format!("{shown}: {error}"),
    }
}

/// Whether the file system of this file is mounted without the right to execute programs (mount(8)).
#[cfg(all(unix, not(target_os = "linux")))]
fn is_noexec(_path: &Path) -> bool {
    // rustix has no such flag for the other systems.
    false
}

/// Whether the file system of this file is mounted without the right to execute programs (mount(8)).
#[cfg(target_os = "linux")]
fn is_noexec(path: &Path) -> bool {
    use rustix::fs::{StatVfsMountFlags, statvfs};
    statvfs(path).is_ok_and(|found| found.f_flag.contains(StatVfsMountFlags::NOEXEC))
}

/// The file that the system would execute.
fn locate(program: &Path, dir: Option<&Path>) -> Option<PathBuf> {
    if is_bare(program) {
        let path = env::var_os("PATH")?;
        return env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file());
    }
    let path = executable::file(program, dir);
    path.exists().then_some(path)
}

fn head(path: &Path) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    fs::File::open(path).ok()?.take(4096).read_to_end(&mut head).ok()?;
    Some(head)
}

/// The interpreter that a script's first line names.
fn interpreter(head: &[u8]) -> Option<String> {
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    // A carriage return from an editor on Windows is part of the name: show it.
    Some(
        String::from_utf8_lossy(line).trim_matches([' ', '\t']).split(' ').next()?.escape_debug().to_string(),
    )
}

/// The system and architecture of an executable file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Format {
    system: &'static str,
    arch: &'static str,
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.system, self.arch)
    }
}

impl Format {
    fn of_this_machine() -> Self {
        let system = match env::consts::OS {
            "macos" => "macOS",
            "windows" => "Windows",
            // Every other supported Unix runs ELF. The file does not reliably name the system.
            _ => "Linux",
        };
        Self { system, arch: env::consts::ARCH }
    }

    /// Reads the start of a file. `None` if it is not an executable, or one for several architectures.
    fn read(head: &[u8]) -> Option<Self> {
        let u16_at = |at: usize| Some(u16::from_le_bytes(head.get(at..at + 2)?.try_into().ok()?));
        let u32_at = |at: usize| Some(u32::from_le_bytes(head.get(at..at + 4)?.try_into().ok()?));
        if head.starts_with(b"\x7fELF") {
            // e_machine, elf(5).
            let arch = match u16_at(18)? {
                3 => "x86",
                40 => "arm",
                62 => "x86_64",
                183 => "aarch64",
                243 => "riscv64",
                _ => "another architecture",
            };
            return Some(Self { system: "Linux", arch });
        }
        if head.starts_with(&0xfeed_facf_u32.to_le_bytes()) {
            // cputype, <mach-o/loader.h>.
            let arch = match u32_at(4)? {
                0x0100_0007 => "x86_64",
                0x0100_000c => "aarch64",
                _ => "another architecture",
            };
            return Some(Self { system: "macOS", arch });
        }
        if head.starts_with(b"MZ") {
            // e_lfanew, then IMAGE_FILE_HEADER.Machine behind the signature "PE\0\0" (PE Format).
            let pe = usize::try_from(u32_at(0x3c)?).ok()?;
            let arch = match u16_at(pe.checked_add(4)?)? {
                0x014c => "x86",
                0x8664 => "x86_64",
                0xaa64 => "aarch64",
                _ => "another architecture",
            };
            return Some(Self { system: "Windows", arch });
        }
        None
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use std::{os::unix::fs::PermissionsExt, process::Command};

    /// Writes a program, tries to start it, and explains the error.
    fn explain_file(content: &[u8], mode: u32) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("backend");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        #[expect(clippy::disallowed_methods, reason = "it is meant to fail")]
        let error = Command::new(&path).spawn().unwrap_err();
        explain(&path, None, &error).replace(&path.display().to_string(), "FILE")
    }

    #[test]
    fn a_missing_program_is_named() {
        let missing = io::Error::from(io::ErrorKind::NotFound);
        assert_eq!(explain(Path::new("/no/such/backend"), None, &missing), "no such file: /no/such/backend");
        let bare = explain(Path::new("no-such-program-x"), None, &missing);
        assert_eq!(bare, "no program no-such-program-x in PATH; give its path, or install it");
        let dir = explain(Path::new("sh"), Some(Path::new("/no/such/dir")), &missing);
        assert_eq!(dir, "its working directory /no/such/dir does not exist");
    }

    #[test]
    fn a_file_that_cannot_run_is_described() {
        assert_eq!(explain_file(b"", 0o755), "FILE is empty: its build did not finish");
        assert_eq!(
            explain_file(b"#!/bin/sh\n", 0o644),
            "FILE is not executable (mode 0644); run: chmod +x FILE"
        );
        assert_eq!(
            explain_file(b"#!/no/such/sh -e\n", 0o755),
            "FILE exists, but its interpreter /no/such/sh, named in its first line, does not"
        );
        let carriage_return = explain_file(b"#!/bin/sh\r\necho\r\n", 0o755);
        assert!(carriage_return.contains(r"interpreter /bin/sh\r"), "{carriage_return}");
        assert_eq!(
            explain_file(b"hello\n", 0o755),
            "FILE is neither a program for this machine nor a script that starts with #!"
        );
    }

    #[test]
    fn a_program_for_another_machine_is_named() {
        let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
        elf.resize(64, 0);
        elf[18] = if cfg!(target_arch = "aarch64") { 62 } else { 183 };
        let said = explain_file(&elf, 0o755);
        assert!(said.starts_with("FILE is built for Linux "), "{said}");
        assert!(said.ends_with(&format!("and this machine runs {}", Format::of_this_machine())), "{said}");
        let mach = [0xcf, 0xfa, 0xed, 0xfe, 0x0c, 0, 0, 1];
        assert_eq!(Format::read(&mach), Some(Format { system: "macOS", arch: "aarch64" }));
        let mut pe = b"MZ".to_vec();
        pe.resize(0x80, 0);
        pe[0x3c] = 0x60;
        pe[0x64..0x66].copy_from_slice(&[0x64, 0x86]);
        assert_eq!(Format::read(&pe), Some(Format { system: "Windows", arch: "x86_64" }));
        assert_eq!(Format::read(b"MZ"), None);
    }
}
