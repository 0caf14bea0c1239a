//! Programs of macOS (Mach-O), as `mach-o/loader.h` and `mach-o/fat.h` of the [XNU sources] define them.
//!
//! [XNU sources]: https://github.com/apple-oss-distributions/xnu/tree/main/EXTERNAL_HEADERS/mach-o

pub(crate) mod code_signature;
mod der;
pub(crate) mod entitlements;
mod sign;
mod universal;

pub(crate) use self::{sign::sign, universal::join};

/// The magic number of a 64-bit program in the byte order of Intel and Apple processors.
const MAGIC: u32 = 0xfeed_facf;
/// The magic number of a universal file, in big endian.
const UNIVERSAL_MAGIC: u32 = 0xcafe_babe;

/// The length of `mach_header_64`.
const HEADER: usize = 32;
const SEGMENT_64: u32 = 0x19;
const CODE_SIGNATURE: u32 = 0x1d;
/// The type of an executable file, in the header.
const EXECUTE: u32 = 2;
/// The length of `segment_command_64` without its sections, and that of a section.
const SEGMENT_COMMAND: usize = 72;
const SECTION: usize = 80;
/// The types of sections without bytes in the file: zero-filled ones.
const ZERO_FILLED: [u32; 3] = [0x1, 0xc, 0x12];

/// A problem with the file, in words.
pub(crate) type Wrong = String;

/// The load commands that a signature concerns. Positions are in bytes from the start of the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) cpu_type: u32,
    pub(super) executable: bool,
    /// The number of load commands, and where they end.
    pub(super) commands: u32,
    pub(super) commands_end: usize,
    /// Where the first content after the load commands starts.
    pub(super) content: usize,
    pub(super) text: Segment,
    /// The last segment, which contains the signature.
    pub(super) linkedit: Segment,
    pub(super) signature: Option<SignatureCommand>,
}

/// A part of a program that macOS maps into memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Segment {
    /// Where its load command is.
    pub(super) command: usize,
    pub(super) memory_size: u64,
    pub(super) start: u64,
    pub(super) size: u64,
}

/// The load command that says where the signature is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SignatureCommand {
    pub(super) command: usize,
    pub(super) start: usize,
    pub(super) size: usize,
}

impl Program {
    /// Reads the load commands of a 64-bit program.
    ///
    /// # Errors
    ///
    /// Fails if the file is none, or ends within them.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Wrong> {
        if u32_le(bytes, 0)? != MAGIC {
            return Err("the file is no 64-bit Mach-O program".to_owned());
        }
        let commands = u32_le(bytes, 16)?;
        let commands_end = HEADER + to_usize(u32_le(bytes, 20)?);
        let (mut text, mut linkedit, mut signature) = (None, None, None);
        let mut content = bytes.len();
        let mut at = HEADER;
        for _ in 0..commands {
            let (kind, length) = (u32_le(bytes, at)?, to_usize(u32_le(bytes, at + 4)?));
            if length < 8 || at + length > commands_end {
                return Err(format!("its load command at byte {at} has the impossible length {length}"));
            }
            match kind {
                SEGMENT_64 => {
                    let segment = Segment {
                        command: at,
                        memory_size: u64_le(bytes, at + 32)?,
                        start: u64_le(bytes, at + 40)?,
                        size: u64_le(bytes, at + 48)?,
                    };
                    match bytes.get(at + 8..at + 24).ok_or(SHORT)? {
                        b"__TEXT\0\0\0\0\0\0\0\0\0\0" => text = Some(segment),
                        b"__LINKEDIT\0\0\0\0\0\0" => linkedit = Some(segment),
                        _ => {}
                    }
                    content = content.min(first_section(bytes, at)?.unwrap_or(content));
                }
                CODE_SIGNATURE => {
                    signature = Some(SignatureCommand {
                        command: at,
                        start: to_usize(u32_le(bytes, at + 8)?),
                        size: to_usize(u32_le(bytes, at + 12)?),
                    });
                }
                _ => {}
            }
            at += length;
        }
        let missing = |name: &str| format!("it has no segment {name}");
        Ok(Self {
            cpu_type: u32_le(bytes, 4)?,
            executable: u32_le(bytes, 12)? == EXECUTE,
            commands,
            commands_end,
            content,
            text: text.ok_or_else(|| missing("__TEXT"))?,
            linkedit: linkedit.ok_or_else(|| missing("__LINKEDIT"))?,
            signature,
        })
    }
}

/// Where the first section of the segment with bytes in the file starts.
fn first_section(bytes: &[u8], segment: usize) -> Result<Option<usize>, Wrong> {
    let mut first: Option<usize> = None;
    for index in 0..to_usize(u32_le(bytes, segment + 64)?) {
        let section = segment + SEGMENT_COMMAND + SECTION * index;
        let (start, flags) = (to_usize(u32_le(bytes, section + 48)?), u32_le(bytes, section + 64)?);
        // The type is in the lowest byte.
        if start != 0 && !ZERO_FILLED.contains(&(flags & 0xff)) {
            first = Some(first.map_or(start, |first| first.min(start)));
        }
    }
    Ok(first)
}

const SHORT: &str = "the file ends within its headers";

fn u32_le(bytes: &[u8], at: usize) -> Result<u32, Wrong> {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk()).ok_or(SHORT)?;
    Ok(u32::from_le_bytes(*found))
}

fn u64_le(bytes: &[u8], at: usize) -> Result<u64, Wrong> {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk()).ok_or(SHORT)?;
    Ok(u64::from_le_bytes(*found))
}

fn u32_be(bytes: &[u8], at: usize) -> Result<u32, Wrong> {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk()).ok_or(SHORT)?;
    Ok(u32::from_be_bytes(*found))
}

fn to_usize(number: u32) -> usize {
    // Every system that Tauri supports has at least 32 bits.
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
pub(crate) mod fixture;

#[cfg(test)]
mod tests;
