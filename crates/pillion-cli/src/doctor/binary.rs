//! What kind of program a file is: read from its bytes, without running it.

use std::{fmt, fs, io, path::Path};

use memchr::memmem;
use object::{
    FileKind, LittleEndian,
    elf::{self, FileHeader32, FileHeader64},
    endian::Endianness,
    macho::{self, MachHeader64},
    pe,
    read::{
        elf::FileHeader as _,
        macho::{FatArch, MachHeader as _, MachOFatFile32, MachOFatFile64},
    },
};

use crate::project::Platform;

/// The bytes of a file, as far as they say what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binary {
    pub(super) content: Content,
    /// The language runtime that the program carries.
    pub(super) runtime: Option<Runtime>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    Empty,
    /// A text that begins with `#!`.
    Script,
    /// A program for a system.
    Native(Native),
    /// Anything else.
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Native {
    pub(super) system: Platform,
    /// One for each slice. `None` for an architecture that Tauri does not build for.
    pub(super) archs: Vec<Option<Arch>>,
    /// Whether the file is a universal one, with a table of its slices.
    pub(super) universal: bool,
    /// Whether each slice has the load command of a code signature (macOS).
    pub(super) signed: bool,
}

/// A processor that Tauri builds for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arch {
    X86_64,
    Aarch64,
    I686,
    Arm,
    Riscv64,
}

impl Arch {
    /// The processor of a target triple, by its first part.
    pub(super) fn of_triple(name: &str) -> Option<Self> {
        Some(match name {
            "x86_64" => Self::X86_64,
            "aarch64" | "arm64ec" => Self::Aarch64,
            "i586" | "i686" => Self::I686,
            name if name.starts_with("arm") || name.starts_with("thumb") => Self::Arm,
            name if name.starts_with("riscv64") => Self::Riscv64,
            _ => return None,
        })
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
            Self::I686 => "i686",
            Self::Arm => "arm",
            Self::Riscv64 => "riscv64",
        }
    }
}

/// The name of a system in sentences.
pub(super) fn system_name(system: Platform) -> &'static str {
    match system {
        Platform::Linux => "Linux",
        Platform::MacOs => "macOS",
        Platform::Windows => "Windows",
    }
}

/// A runtime that needs special treatment when a program is bundled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Runtime {
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
    /// Whether the runtime compiles code while it runs, which macOS forbids without an entitlement.
    pub(super) fn needs_jit(self) -> bool {
        matches!(self, Self::Bun | Self::Deno | Self::Node | Self::Pkg)
    }

    /// Whether strip(1) breaks the program: it finds its own data at the end of its file, or in a part that was added to it (Node),
    /// which strip removes or moves.
    pub(super) fn breaks_when_stripped(self) -> bool {
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

impl fmt::Display for Native {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let archs: Vec<_> = self.archs.iter().map(|arch| arch.map_or("unknown", Arch::name)).collect();
        write!(f, "{} {}", system_name(self.system), archs.join(" and "))
    }
}

/// Reads a file.
pub(super) fn read(path: &Path) -> io::Result<Binary> {
    Ok(inspect(&fs::read(path)?))
}

fn inspect(data: &[u8]) -> Binary {
    let content = if data.is_empty() {
        Content::Empty
    } else if data.starts_with(b"#!") {
        Content::Script
    } else {
        native(data).map_or(Content::Other, Content::Native)
    };
    let runtime = matches!(content, Content::Native(_)).then(|| runtime(data)).flatten();
    Binary { content, runtime }
}

/// The header of a program. Later parts of the file may be cut off.
fn native(data: &[u8]) -> Option<Native> {
    let one = |system, arch, signed| Native { system, archs: vec![arch], universal: false, signed };
    match FileKind::parse(data).ok()? {
        FileKind::Elf32 => {
            let header = FileHeader32::<Endianness>::parse(data).ok()?;
            Some(one(Platform::Linux, elf_arch(header.e_machine(header.endian().ok()?)), true))
        }
        FileKind::Elf64 => {
            let header = FileHeader64::<Endianness>::parse(data).ok()?;
            Some(one(Platform::Linux, elf_arch(header.e_machine(header.endian().ok()?)), true))
        }
        FileKind::Pe32 | FileKind::Pe64 => {
            let dos = pe::ImageDosHeader::parse(data).ok()?;
            let (header, _) =
                object::from_bytes::<pe::ImageNtHeaders32>(data.get(dos.nt_headers_offset() as usize..)?)
                    .ok()?;
            Some(one(Platform::Windows, pe_arch(header.file_header.machine.get(LittleEndian)), true))
        }
        FileKind::MachO64 => {
            let (arch, signed) = macho_slice(data)?;
            Some(one(Platform::MacOs, arch, signed))
        }
        FileKind::MachOFat32 => universal(MachOFatFile32::parse(data).ok()?.arches(), data),
        FileKind::MachOFat64 => universal(MachOFatFile64::parse(data).ok()?.arches(), data),
        _ => None,
    }
}

fn universal<F: FatArch>(slices: &[F], data: &[u8]) -> Option<Native> {
    let slices =
        slices.iter().map(|slice| macho_slice(slice.data(data).ok()?)).collect::<Option<Vec<_>>>()?;
    let signed = slices.iter().all(|(_, signed)| *signed);
    let archs = slices.into_iter().map(|(arch, _)| arch).collect();
    Some(Native { system: Platform::MacOs, archs, universal: true, signed })
}

/// The architecture of one slice, and whether it has a code signature.
fn macho_slice(data: &[u8]) -> Option<(Option<Arch>, bool)> {
    let header = MachHeader64::<Endianness>::parse(data, 0).ok()?;
    let endian = header.endian().ok()?;
    let arch = match header.cputype(endian) {
        macho::CPU_TYPE_X86_64 => Some(Arch::X86_64),
        macho::CPU_TYPE_ARM64 => Some(Arch::Aarch64),
        _ => None,
    };
    let mut commands = header.load_commands(endian, data, 0).ok()?;
    let mut signed = false;
    while let Ok(Some(command)) = commands.next() {
        signed |= command.cmd() == macho::LC_CODE_SIGNATURE;
    }
    Some((arch, signed))
}

fn elf_arch(machine: elf::Machine) -> Option<Arch> {
    Some(match machine {
        elf::EM_X86_64 => Arch::X86_64,
        elf::EM_AARCH64 => Arch::Aarch64,
        elf::EM_386 => Arch::I686,
        elf::EM_ARM => Arch::Arm,
        elf::EM_RISCV => Arch::Riscv64,
        _ => return None,
    })
}

fn pe_arch(machine: pe::Machine) -> Option<Arch> {
    Some(match machine {
        pe::IMAGE_FILE_MACHINE_AMD64 => Arch::X86_64,
        pe::IMAGE_FILE_MACHINE_ARM64 => Arch::Aarch64,
        pe::IMAGE_FILE_MACHINE_I386 => Arch::I686,
        _ => return None,
    })
}

/// The bytes by which each runtime is known, the more specific first: `pkg` contains Node.
const MARKS: [(&[u8], Runtime); 6] = [
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

fn runtime(data: &[u8]) -> Option<Runtime> {
    pyinstaller(data).or_else(|| {
        MARKS.iter().find(|(mark, _)| memmem::find(data, mark).is_some()).map(|(_, runtime)| *runtime)
    })
}

/// The start of the cookie at the end of PyInstaller's archive (PyInstaller/archive/writers.py, `CArchiveWriter`): magic, length of
/// the archive, offset and length of its table of contents, each of 4 bytes in network order.
const PYINSTALLER: &[u8] = b"MEI\x0c\x0b\x0a\x0b\x0e";
/// The length of the whole cookie, with the version and the name of the library.
const COOKIE: usize = 88;
/// The bytes of an entry of the table before its name: its length, position, two sizes, the flag of compression, and its type.
const ENTRY: usize = 18;

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
pub(super) mod samples;

#[cfg(test)]
mod tests {
    use super::{samples, *};

    #[test]
    fn this_test_program_is_one_for_this_machine() {
        let own = read(&std::env::current_exe().unwrap()).unwrap();
        let Content::Native(native) = own.content else { panic!("{own:?}") };
        assert_eq!(native.system, Platform::host());
        assert_eq!(native.archs, [Arch::of_triple(std::env::consts::ARCH)]);
    }

    #[test]
    fn each_system_and_architecture_is_recognised() {
        for (system, arch) in [
            (Platform::Linux, Arch::X86_64),
            (Platform::Linux, Arch::Aarch64),
            (Platform::Linux, Arch::Riscv64),
            (Platform::Windows, Arch::X86_64),
            (Platform::Windows, Arch::Aarch64),
            (Platform::MacOs, Arch::X86_64),
            (Platform::MacOs, Arch::Aarch64),
        ] {
            for signed in [true, false] {
                let Binary { content: Content::Native(native), .. } =
                    inspect(&samples::program(system, arch, signed))
                else {
                    panic!("{system:?} {arch:?}")
                };
                assert_eq!(
                    (native.system, native.archs, native.universal),
                    (system, vec![Some(arch)], false)
                );
                assert_eq!(native.signed, signed || system != Platform::MacOs);
            }
        }
    }

    #[test]
    fn a_universal_program_has_all_of_its_slices() {
        let Content::Native(native) = inspect(&samples::universal(&[Arch::X86_64, Arch::Aarch64])).content
        else {
            panic!()
        };
        assert!(native.universal && native.signed);
        assert_eq!(native.to_string(), "macOS x86_64 and aarch64");
    }

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

    #[test]
    fn a_damaged_file_is_no_program() {
        for data in [&b"hello"[..], b"\x7fELF", b"MZ", &[0; 100]] {
            assert_eq!(inspect(data).content, Content::Other, "{data:?}");
        }
        assert_eq!(inspect(b"").content, Content::Empty);
        assert_eq!(inspect(b"#!/bin/sh\n").content, Content::Script);
        // A cookie that points outside of the file.
        let mut program = samples::program(Platform::Linux, Arch::X86_64, true);
        program.extend_from_slice(PYINSTALLER);
        program.extend_from_slice(&[0xff; 12]);
        assert_eq!(inspect(&program).runtime, None);
    }
}
