//! Small files with the headers of programs, for tests. No system runs them.

use super::{
    language_runtime::{COOKIE, ENTRY, MARKS, PYINSTALLER},
    *,
};

/// An executable file for this system and architecture. A macOS one has a signature if `signed`.
pub(crate) fn program(system: Platform, arch: Arch, signed: bool) -> Vec<u8> {
    match system {
        Platform::Linux => elf(arch),
        Platform::Windows => pe(arch),
        Platform::MacOs => macho(arch, signed),
    }
}

fn elf(arch: Arch) -> Vec<u8> {
    let machine = match arch {
        Arch::X86_64 => elf::EM_X86_64,
        Arch::Aarch64 => elf::EM_AARCH64,
        Arch::I686 => elf::EM_386,
        Arch::Arm => elf::EM_ARM,
        Arch::Riscv64 => elf::EM_RISCV,
    };
    let mut data = vec![0; 64];
    data[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    data[16..18].copy_from_slice(&elf::ET_EXEC.0.to_le_bytes());
    data[18..20].copy_from_slice(&machine.0.to_le_bytes());
    data[20] = 1;
    data[52..54].copy_from_slice(&64_u16.to_le_bytes());
    data
}

fn pe(arch: Arch) -> Vec<u8> {
    let machine = match arch {
        Arch::Aarch64 => pe::IMAGE_FILE_MACHINE_ARM64,
        Arch::I686 => pe::IMAGE_FILE_MACHINE_I386,
        Arch::X86_64 | Arch::Arm | Arch::Riscv64 => pe::IMAGE_FILE_MACHINE_AMD64,
    };
    let mut data = vec![0; 64 + 264];
    data[..2].copy_from_slice(b"MZ");
    data[60] = 64;
    data[64..68].copy_from_slice(b"PE\0\0");
    data[68..70].copy_from_slice(&machine.0.to_le_bytes());
    // The magic of the optional header of 64 bits.
    data[88..90].copy_from_slice(&0x20b_u16.to_le_bytes());
    data
}

fn macho(arch: Arch, signed: bool) -> Vec<u8> {
    let cpu = if arch == Arch::Aarch64 { macho::CPU_TYPE_ARM64 } else { macho::CPU_TYPE_X86_64 };
    let commands = u32::from(signed);
    let mut data = Vec::new();
    for word in [macho::MH_MAGIC_64, cpu.0, 0, macho::MH_EXECUTE.0, commands, commands * 16, 0, 0] {
        data.extend_from_slice(&word.to_le_bytes());
    }
    if signed {
        for word in [macho::LC_CODE_SIGNATURE.0, 16, 0, 0] {
            data.extend_from_slice(&word.to_le_bytes());
        }
    }
    data
}

/// A universal program of these slices.
pub(crate) fn universal(archs: &[Arch]) -> Vec<u8> {
    let slices: Vec<_> = archs.iter().map(|arch| macho(*arch, true)).collect();
    let mut data = Vec::new();
    data.extend_from_slice(&macho::FAT_MAGIC.to_be_bytes());
    data.extend_from_slice(&u32::try_from(archs.len()).unwrap().to_be_bytes());
    let mut offset = 8 + 20 * archs.len();
    for (arch, slice) in archs.iter().zip(&slices) {
        let cpu = if *arch == Arch::Aarch64 { macho::CPU_TYPE_ARM64 } else { macho::CPU_TYPE_X86_64 };
        for word in [cpu.0, 0, u32::try_from(offset).unwrap(), u32::try_from(slice.len()).unwrap(), 0] {
            data.extend_from_slice(&word.to_be_bytes());
        }
        offset += slice.len();
    }
    data.extend(slices.concat());
    data
}

/// A program that carries this runtime.
pub(crate) fn with_runtime(mut program: Vec<u8>, runtime: Runtime) -> Vec<u8> {
    match runtime {
        Runtime::PyInstallerOnefile => pyinstaller(program, b'b'),
        Runtime::PyInstallerFolder => pyinstaller(program, b'm'),
        runtime => {
            let (mark, _) = MARKS.iter().find(|(_, known)| *known == runtime).unwrap();
            program.extend_from_slice(mark);
            program
        }
    }
}

/// Appends an archive with an entry of type `m` and one of this type.
fn pyinstaller(mut program: Vec<u8>, kind: u8) -> Vec<u8> {
    let mut table = Vec::new();
    for kind in [b'm', kind] {
        let name = b"libpython3.so\0";
        for number in [ENTRY + name.len(), 0, 0, 0] {
            table.extend_from_slice(&u32::try_from(number).unwrap().to_be_bytes());
        }
        table.extend_from_slice(&[1, kind]);
        table.extend_from_slice(name);
    }
    let mut cookie = PYINSTALLER.to_vec();
    for number in [table.len() + COOKIE, 0, table.len(), 311] {
        cookie.extend_from_slice(&u32::try_from(number).unwrap().to_be_bytes());
    }
    cookie.resize(COOKIE, 0);
    program.extend(table);
    program.extend(cookie);
    program
}
