//! A tiny Mach-O program, for tests. Its code does nothing.

use super::{CODE_SIGNATURE, EXECUTE, MAGIC, SEGMENT_64};

pub(crate) const X86_64: u32 = 0x0100_0007;
pub(crate) const ARM64: u32 = 0x0100_000c;

/// The length of `__TEXT` in the file, and of what `__LINKEDIT` contains.
const TEXT: u32 = 0x4000;
const SYMBOLS: &[u8] = b"symbols of the program";

/// A program with `room` bytes between its load commands and its first section. With a `signature`, it ends with that.
pub(crate) fn program(cpu_type: u32, room: u32, signature: Option<&[u8]>) -> Vec<u8> {
    let content_end = usize::try_from(TEXT).unwrap() + SYMBOLS.len();
    let signature_start = u32::try_from(content_end.next_multiple_of(16)).unwrap();
    let mut linkedit_size = u32::try_from(SYMBOLS.len()).unwrap();
    let commands_length = 72 + 80 + 72 + signature.map_or(0, |_| 16);
    let mut bytes = Vec::new();
    let mut words = |words: &[u32]| words.iter().for_each(|word| bytes.extend(word.to_le_bytes()));
    words(&[MAGIC, cpu_type, 0, EXECUTE, if signature.is_some() { 3 } else { 2 }, commands_length, 0, 0]);
    if let Some(signature) = signature {
        linkedit_size = signature_start - TEXT + u32::try_from(signature.len()).unwrap();
    }
    let name = |name: &str| {
        let mut padded = [0; 16];
        padded[..name.len()].copy_from_slice(name.as_bytes());
        let word = |index: usize| u32::from_le_bytes(padded[4 * index..4 * index + 4].try_into().unwrap());
        [word(0), word(1), word(2), word(3)]
    };
    // `segment_command_64`: addresses and sizes in two words each.
    let segment = |title: &str, length: u32, address: u32, start: u32, size: u32, sections: u32| {
        let mut words = vec![SEGMENT_64, length];
        words.extend(name(title));
        words.extend([address, 1, 0x4000, 0, start, 0, size, 0, 5, 5, sections, 0]);
        words
    };
    words(&segment("__TEXT", 72 + 80, 0, 0, TEXT, 1));
    words(&name("__text"));
    words(&name("__TEXT"));
    let section = 32 + commands_length + room;
    words(&[section, 1, 4, 0, section, 2, 0, 0, 0x8000_0400, 0, 0, 0]);
    words(&segment("__LINKEDIT", 72, TEXT, TEXT, linkedit_size, 0));
    if let Some(signature) = signature {
        words(&[CODE_SIGNATURE, 16, signature_start, u32::try_from(signature.len()).unwrap()]);
    }
    bytes.resize(usize::try_from(section).unwrap(), 0);
    // `ret` of the arm64 instruction set.
    bytes.extend([0xc0, 0x03, 0x5f, 0xd6]);
    bytes.resize(usize::try_from(TEXT).unwrap(), 0x90);
    bytes.extend(SYMBOLS);
    if let Some(signature) = signature {
        bytes.resize(usize::try_from(signature_start).unwrap(), 0);
        bytes.extend(signature);
    }
    bytes
}
