//! What the first bytes of a program say: its system, its architecture, and the program that runs it.

use std::{env, fmt};

/// An operating system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum System {
    /// Also every other supported Unix with ELF files, which do not reliably name their system.
    Linux,
    MacOs,
    Windows,
}

impl System {
    /// The system of this process.
    pub(super) const THIS: Self = if cfg!(windows) {
        Self::Windows
    } else if cfg!(target_os = "macos") {
        Self::MacOs
    } else {
        Self::Linux
    };
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Linux => "Linux",
            Self::MacOs => "macOS",
            Self::Windows => "Windows",
        })
    }
}

/// The system and architecture of an executable file, or of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Format {
    pub(super) system: System,
    pub(super) arch: &'static str,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.system, self.arch)
    }
}

impl Format {
    pub(super) const THIS: Self = Self { system: System::THIS, arch: env::consts::ARCH };

    /// Reads the start of a file. `None` if it is not an executable, or one for several architectures.
    pub(super) fn read(head: &[u8]) -> Option<Self> {
        if head.starts_with(b"\x7fELF") {
            // e_machine, elf(5).
            let arch = match u16_at(head, 18)? {
                3 => "x86",
                40 => "arm",
                62 => "x86_64",
                183 => "aarch64",
                243 => "riscv64",
                _ => "another architecture",
            };
            return Some(Self { system: System::Linux, arch });
        }
        if head.starts_with(&0xfeed_facf_u32.to_le_bytes()) {
            // cputype, <mach-o/loader.h>.
            let arch = match u32_at(head, 4)? {
                0x0100_0007 => "x86_64",
                0x0100_000c => "aarch64",
                _ => "another architecture",
            };
            return Some(Self { system: System::MacOs, arch });
        }
        if head.starts_with(b"MZ") {
            // e_lfanew, then IMAGE_FILE_HEADER.Machine behind the signature "PE\0\0" (PE Format).
            let pe = usize::try_from(u32_at(head, 0x3c)?).ok()?;
            let arch = match u16_at(head, pe.checked_add(4)?)? {
                0x014c => "x86",
                0x8664 => "x86_64",
                0xaa64 => "aarch64",
                _ => "another architecture",
            };
            return Some(Self { system: System::Windows, arch });
        }
        None
    }
}

/// Whether these are the first bytes of a file for several architectures of macOS (`FAT_MAGIC`, `FAT_MAGIC_64`, <mach-o/fat.h>).
pub(super) fn is_universal(head: &[u8]) -> bool {
    head.starts_with(&0xcafe_babe_u32.to_be_bytes()) || head.starts_with(&0xcafe_babf_u32.to_be_bytes())
}

/// The interpreter that a script's first line names.
pub(super) fn interpreter(head: &[u8]) -> Option<String> {
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    // A carriage return from an editor on Windows is part of the name: show it.
    Some(
        String::from_utf8_lossy(line).trim_matches([' ', '\t']).split(' ').next()?.escape_debug().to_string(),
    )
}

/// The dynamic loader that a 64-bit ELF file names (`PT_INTERP`, elf(5)), if the name is within these bytes.
pub(super) fn dynamic_loader(head: &[u8]) -> Option<String> {
    const CLASS_64: u8 = 2;
    const PT_INTERP: u32 = 3;
    if !head.starts_with(b"\x7fELF") || head.get(4) != Some(&CLASS_64) {
        return None;
    }
    let table = usize::try_from(u64_at(head, 32)?).ok()?;
    let (size, count) = (usize::from(u16_at(head, 54)?), usize::from(u16_at(head, 56)?));
    for index in 0..count {
        let header = table.checked_add(size.checked_mul(index)?)?;
        if u32_at(head, header)? == PT_INTERP {
            let offset = usize::try_from(u64_at(head, header.checked_add(8)?)?).ok()?;
            let length = usize::try_from(u64_at(head, header.checked_add(32)?)?).ok()?;
            let name = head.get(offset..offset.checked_add(length)?)?;
            let name = name.strip_suffix(b"\0").unwrap_or(name);
            return Some(String::from_utf8_lossy(name).escape_debug().to_string());
        }
    }
    None
}

fn bytes_at<const N: usize>(head: &[u8], at: usize) -> Option<[u8; N]> {
    head.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn u16_at(head: &[u8], at: usize) -> Option<u16> {
    bytes_at(head, at).map(u16::from_le_bytes)
}

fn u32_at(head: &[u8], at: usize) -> Option<u32> {
    bytes_at(head, at).map(u32::from_le_bytes)
}

fn u64_at(head: &[u8], at: usize) -> Option<u64> {
    bytes_at(head, at).map(u64::from_le_bytes)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The head of a program for Windows on x86-64.
    pub(in crate::spawn::spawn_error) fn pe(machine: u16) -> Vec<u8> {
        let mut pe = b"MZ".to_vec();
        pe.resize(0x80, 0);
        pe[0x3c] = 0x60;
        pe[0x64..0x66].copy_from_slice(&machine.to_le_bytes());
        pe
    }

    /// The head of a program for Linux, with this dynamic loader.
    pub(in crate::spawn::spawn_error) fn elf(machine: u16, loader: &str) -> Vec<u8> {
        let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
        elf.resize(64 + 2 * 56, 0);
        elf[18..20].copy_from_slice(&machine.to_le_bytes());
        elf[32] = 64;
        elf[54] = 56;
        elf[56] = 2;
        elf[64] = 1;
        let header = 64 + 56;
        elf[header] = 3;
        elf[header + 8] = u8::try_from(elf.len()).unwrap();
        elf[header + 32] = u8::try_from(loader.len() + 1).unwrap();
        elf.extend(loader.as_bytes());
        elf.push(0);
        elf
    }

    /// The head of a program for macOS.
    pub(in crate::spawn::spawn_error) fn mach(processor: u8) -> Vec<u8> {
        vec![0xcf, 0xfa, 0xed, 0xfe, processor, 0, 0, 1]
    }

    #[test]
    fn the_system_and_architecture_are_read() {
        for (head, format) in [
            (elf(62, ""), "Linux x86_64"),
            (elf(183, ""), "Linux aarch64"),
            (mach(0x0c), "macOS aarch64"),
            (mach(0x07), "macOS x86_64"),
            (pe(0x8664), "Windows x86_64"),
            (pe(0xaa64), "Windows aarch64"),
        ] {
            assert_eq!(Format::read(&head).unwrap().to_string(), format);
        }
        assert_eq!(Format::read(b"MZ"), None);
        assert_eq!(Format::read(b"#!/bin/sh\n"), None);
    }

    #[test]
    fn the_dynamic_loader_is_read() {
        let head = elf(62, "/lib/ld-musl-x86_64.so.1");
        assert_eq!(dynamic_loader(&head).unwrap(), "/lib/ld-musl-x86_64.so.1");
        for end in 0..head.len() {
            assert_eq!(dynamic_loader(&head[..end]), None, "{end}");
        }
        let mut endless = head;
        endless[32..40].fill(0xff);
        assert_eq!(dynamic_loader(&endless), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_dynamic_loader_of_this_test_exists() {
        let head = std::fs::read(env::current_exe().unwrap()).unwrap();
        let loader = dynamic_loader(&head[..4096]).unwrap();
        assert!(std::path::Path::new(&loader).exists(), "{loader}");
    }
}
