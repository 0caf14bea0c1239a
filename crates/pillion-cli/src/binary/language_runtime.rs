//! The language runtime that a program carries.

use std::fmt;

use memchr::memmem;

/// A runtime that needs special treatment when a program is bundled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Runtime {
    Bun,
    Deno,
    Node,
    /// `pkg`, which appends the program to Node.
    Pkg,
    Nuitka,
    /// All files in one, unpacked at each start.
    PyInstallerOnefile,
    PyInstallerFolder,
}

impl Runtime {
    /// The runtime that a program carries, by the marks in its bytes.
    pub(super) fn of(data: &[u8]) -> Option<Self> {
        let marked = || MARKS.iter().find(|(mark, _)| memmem::find(data, mark).is_some());
        pyinstaller(data).or_else(|| marked().map(|(_, runtime)| *runtime))
    }

    /// Whether the runtime compiles code while it runs, which macOS forbids without an entitlement.
    pub(crate) fn needs_jit(self) -> bool {
        matches!(self, Self::Bun | Self::Deno | Self::Node | Self::Pkg)
    }

    /// Whether strip(1) breaks the program: it finds its own data at the end of its file, or in a part that was added to it (Node),
    /// which strip removes or moves.
    pub(crate) fn breaks_when_stripped(self) -> bool {
        matches!(self, Self::Bun | Self::Deno | Self::Node | Self::Pkg | Self::Nuitka)
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bun => "Bun",
            Self::Deno => "Deno",
            Self::Node => "Node",
            Self::Pkg => "pkg",
            Self::Nuitka => "Nuitka",
            Self::PyInstallerOnefile => "PyInstaller (one file)",
            Self::PyInstallerFolder => "PyInstaller (a folder)",
        })
    }
}

/// The bytes by which each runtime is known, the more specific first: `pkg` contains Node.
pub(super) const MARKS: [(&[u8], Runtime); 6] = [
    // The trailer of `bun build --compile`: StandaloneModuleGraph.zig.
    (b"\n---- Bun! ----\n", Runtime::Bun),
    // The trailer of `deno compile`: cli/lib/standalone/binary.rs.
    (b"d3n0l4nd", Runtime::Deno),
    // The placeholder that `pkg` replaces: lib/producer.ts.
    (b"PAYLOAD_POSITION", Runtime::Pkg),
    // The variable of the bootstrap of `--onefile`: OnefileBootstrap.c.
    (b"NUITKA_ONEFILE_PARENT", Runtime::Nuitka),
    // The program of `--standalone`.
    (b"NUITKA_PACKAGE_HOME", Runtime::Nuitka),
    // The fuse of a single executable application: https://nodejs.org/api/single-executable-applications.html
    (b"NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2", Runtime::Node),
];

/// The start of the cookie at the end of PyInstaller's archive (PyInstaller/archive/writers.py, `CArchiveWriter`): magic, length of
/// the archive, offset and length of its table of contents, each of 4 bytes in network order.
pub(super) const PYINSTALLER: &[u8] = b"MEI\x0c\x0b\x0a\x0b\x0e";
/// The length of the whole cookie, with the version and the name of the library.
pub(super) const COOKIE: usize = 88;
/// The bytes of an entry of the table before its name: its length, position, two sizes, the flag of compression, and its type.
pub(super) const ENTRY: usize = 18;

/// Whether PyInstaller made the program. The archive of one file contains the libraries (type `b`); that of a folder does not.
fn pyinstaller(data: &[u8]) -> Option<Runtime> {
    let cookie = memmem::rfind(data, PYINSTALLER)?;
    let number = |at: usize| {
        let bytes = data.get(at..at.checked_add(4)?)?;
        usize::try_from(u32::from_be_bytes(bytes.try_into().ok()?)).ok()
    };
    let archive = (cookie + COOKIE).checked_sub(number(cookie + 8)?)?;
    let mut at = archive + number(cookie + 12)?;
    let end = at + number(cookie + 16)?;
    while at + ENTRY <= end.min(data.len()) {
        if data[at + ENTRY - 1] == b'b' {
            return Some(Runtime::PyInstallerOnefile);
        }
        at += number(at)?.max(ENTRY);
    }
    Some(Runtime::PyInstallerFolder)
}

#[cfg(test)]
mod tests {
    use super::{super::*, *};

    #[test]
    fn each_runtime_is_recognised() {
        for runtime in [
            Runtime::Bun,
            Runtime::Deno,
            Runtime::Node,
            Runtime::Pkg,
            Runtime::Nuitka,
            Runtime::PyInstallerOnefile,
            Runtime::PyInstallerFolder,
        ] {
            let program = samples::program(Platform::Linux, Arch::X86_64, true);
            assert_eq!(inspect(&samples::with_runtime(program, runtime)).runtime, Some(runtime));
        }
        assert_eq!(inspect(&samples::program(Platform::Linux, Arch::X86_64, true)).runtime, None);
    }
}
