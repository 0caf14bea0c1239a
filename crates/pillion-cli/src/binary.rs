//! The files of executable programs: for which system and processor they are, and what their formats demand of a packager. Pure:
//! bytes in, bytes or facts out.

pub(crate) mod mach_o;
pub(crate) mod pe;

use std::fmt;

/// A format of executable programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BinaryFormat {
    /// Linux.
    Elf,
    /// macOS, for one processor.
    MachO,
    /// macOS, for several processors.
    UniversalMachO,
    /// Windows.
    Pe,
}

/// What the head of a program's file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BinaryKind {
    pub(crate) format: BinaryFormat,
    /// The processors, as in target triples; several for a universal Mach-O file, and empty for one that this table lacks.
    pub(crate) architectures: Vec<&'static str>,
}

impl BinaryKind {
    /// Reads the head of a file. `None` for a script, and for everything else that is no program of these formats.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        let kind = |format, architecture: Option<&'static str>| {
            Some(Self { format, architectures: architecture.into_iter().collect() })
        };
        match bytes.get(..4)? {
            b"\x7fELF" => {
                let machine: [u8; 2] = bytes.get(18..20)?.try_into().ok()?;
                // The sixth byte names the byte order: 2 is big endian.
                let machine =
                    if bytes[5] == 2 { u16::from_be_bytes(machine) } else { u16::from_le_bytes(machine) };
                kind(BinaryFormat::Elf, elf_architecture(machine))
            }
            // A PE file begins with a program for DOS.
            [b'M', b'Z', ..] => kind(BinaryFormat::Pe, pe_architecture(pe::machine(bytes)?)),
            magic if magic == mach_o::MAGIC.to_le_bytes() => {
                kind(BinaryFormat::MachO, mach_o::architecture(mach_o::u32_le(bytes, 4).ok()?))
            }
            magic if magic == mach_o::UNIVERSAL_MAGIC.to_be_bytes() => {
                let slices = mach_o::universal_slices(bytes).ok()?;
                let architectures =
                    slices.iter().filter_map(|slice| mach_o::architecture(slice.cpu_type)).collect();
                Some(Self { format: BinaryFormat::UniversalMachO, architectures })
            }
            _ => None,
        }
    }
}

impl fmt::Display for BinaryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let system = match self.format {
            BinaryFormat::Elf => "a Linux program (ELF)",
            BinaryFormat::MachO => "a macOS program (Mach-O)",
            BinaryFormat::UniversalMachO => "a universal macOS program (Mach-O)",
            BinaryFormat::Pe => "a Windows program (PE)",
        };
        let architectures = self.architectures.join(" and ");
        let architectures = if architectures.is_empty() { "another processor" } else { &architectures };
        write!(f, "{system} for {architectures}")
    }
}

/// `e_machine` of the ELF header: <https://www.sco.com/developers/gabi/latest/ch4.eheader.html>.
fn elf_architecture(machine: u16) -> Option<&'static str> {
    match machine {
        3 => Some("i686"),
        40 => Some("arm"),
        62 => Some("x86_64"),
        183 => Some("aarch64"),
        243 => Some("riscv64gc"),
        _ => None,
    }
}

/// `Machine` of the COFF header: <https://learn.microsoft.com/windows/win32/debug/pe-format#machine-types>.
fn pe_architecture(machine: u16) -> Option<&'static str> {
    match machine {
        0x014c => Some("i686"),
        0x8664 => Some("x86_64"),
        0xaa64 => Some("aarch64"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_test_is_a_program_for_this_machine() {
        let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let kind = BinaryKind::of(&bytes).unwrap();
        let format = if cfg!(windows) {
            BinaryFormat::Pe
        } else if cfg!(target_os = "macos") {
            BinaryFormat::MachO
        } else {
            BinaryFormat::Elf
        };
        assert_eq!((kind.format, kind.architectures), (format, vec![std::env::consts::ARCH]));
    }

    #[test]
    fn a_script_and_a_short_file_are_no_programs() {
        assert_eq!(BinaryKind::of(b"#!/bin/sh\necho\n"), None);
        assert_eq!(BinaryKind::of(b"\x7fELF"), None);
        assert_eq!(BinaryKind::of(b"MZ"), None);
        assert_eq!(BinaryKind::of(b""), None);
    }
}
