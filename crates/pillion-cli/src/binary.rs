//! The files of executable programs. This module reads what a file is, without running it; `mach_o` and `pe_signature` change a program as
//! its system demands of a packager. Bytes in, bytes or facts out.

mod language_runtime;
pub(crate) mod mach_o;
pub(crate) mod pe_signature;

use std::{fmt, fs, io, path::Path};

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

pub(crate) use self::language_runtime::Runtime;
use crate::project::{Platform, TargetTriple};

/// The bytes of a file, as far as they say what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Binary {
    pub(crate) content: Content,
    /// The language runtime that the program carries.
    pub(crate) runtime: Option<Runtime>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    Empty,
    /// A text that begins with `#!`.
    Script,
    /// A program for a system.
    Native(Native),
    /// Anything else.
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Native {
    pub(crate) system: Platform,
    /// One for each slice. `None` for an architecture that Tauri does not build for.
    pub(crate) archs: Vec<Option<Arch>>,
    /// Whether the file is a universal one, with a table of its slices.
    pub(crate) universal: bool,
    /// Whether each slice has the load command of a code signature (macOS).
    pub(crate) signed: bool,
}

/// A processor that Tauri builds for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arch {
    X86_64,
    Aarch64,
    I686,
    Arm,
    Riscv64,
}

impl Arch {
    /// The processor of a target triple, by its first part.
    pub(crate) fn of_triple(name: &str) -> Option<Self> {
        Some(match name {
            "x86_64" => Self::X86_64,
            "aarch64" | "arm64ec" => Self::Aarch64,
            "i586" | "i686" => Self::I686,
            name if name.starts_with("arm") || name.starts_with("thumb") => Self::Arm,
            name if name.starts_with("riscv64") => Self::Riscv64,
            _ => return None,
        })
    }

    pub(crate) fn name(self) -> &'static str {
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
pub(crate) fn system_name(system: Platform) -> &'static str {
    match system {
        Platform::Linux => "Linux",
        Platform::MacOs => "macOS",
        Platform::Windows => "Windows",
    }
}

impl fmt::Display for Native {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let archs: Vec<_> = self.archs.iter().map(|arch| arch.map_or("unknown", Arch::name)).collect();
        write!(f, "{} {}", system_name(self.system), archs.join(" and "))
    }
}

impl Native {
    /// Whether it is a program for this target. A system or a processor that Tauri does not build for is not compared.
    pub(crate) fn fits(&self, target: &TargetTriple) -> bool {
        let Some(system) = target.platform() else { return true };
        let wanted = if target.is_universal() {
            vec![Arch::X86_64, Arch::Aarch64]
        } else {
            match Arch::of_triple(target.arch()) {
                Some(arch) => vec![arch],
                None => return self.system == system,
            }
        };
        self.system == system
            && (self.universal || !target.is_universal())
            && wanted.iter().all(|arch| self.archs.contains(&Some(*arch)))
    }
}

/// Reads a whole file, also for the runtime that it carries.
pub(crate) fn read(path: &Path) -> io::Result<Binary> {
    Ok(inspect(&fs::read(path)?))
}

/// What the head of a file says. The rest may be cut off.
pub(crate) fn content(data: &[u8]) -> Content {
    if data.is_empty() {
        Content::Empty
    } else if data.starts_with(b"#!") {
        Content::Script
    } else {
        native(data).map_or(Content::Other, Content::Native)
    }
}

fn inspect(data: &[u8]) -> Binary {
    let content = content(data);
    let runtime = matches!(content, Content::Native(_)).then(|| Runtime::of(data)).flatten();
    Binary { content, runtime }
}

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

#[cfg(test)]
pub(crate) mod samples;

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
    fn a_program_fits_the_targets_of_its_system_and_processor() {
        let native = |data: &[u8]| match content(data) {
            Content::Native(native) => native,
            content => panic!("{content:?}"),
        };
        let linux = native(&samples::program(Platform::Linux, Arch::Aarch64, true));
        let mac = native(&samples::program(Platform::MacOs, Arch::Aarch64, true));
        let both = native(&samples::universal(&[Arch::X86_64, Arch::Aarch64]));
        let one = native(&samples::universal(&[Arch::Aarch64]));
        for (program, target, fits) in [
            (&linux, "aarch64-unknown-linux-gnu", true),
            (&linux, "aarch64-unknown-linux-musl", true),
            (&linux, "x86_64-unknown-linux-gnu", false),
            (&linux, "aarch64-apple-darwin", false),
            (&linux, "s390x-unknown-linux-gnu", true),
            (&linux, "s390x-pc-windows-msvc", false),
            (&linux, "x86_64-unknown-freebsd", true),
            (&mac, "aarch64-apple-darwin", true),
            (&mac, "x86_64-apple-darwin", false),
            (&mac, "universal-apple-darwin", false),
            (&both, "universal-apple-darwin", true),
            (&both, "x86_64-apple-darwin", true),
            (&one, "universal-apple-darwin", false),
        ] {
            assert_eq!(program.fits(&target.parse().unwrap()), fits, "{program} for {target}");
        }
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
        program.extend_from_slice(language_runtime::PYINSTALLER);
        program.extend_from_slice(&[0xff; 12]);
        assert_eq!(inspect(&program).runtime, None);
    }
}
