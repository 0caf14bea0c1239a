//! Universal files: several programs in one file, one for each processor.

use super::{UNIVERSAL_MAGIC, Wrong, u32_le};

/// The start of each program is a multiple of the page size of Apple's processors, as `lipo` does it: 2 to this power.
const ALIGNMENT: u32 = 14;
/// The length of `fat_header`, and of one `fat_arch`.
const HEADER: usize = 8;
const ENTRY: usize = 20;

/// Joins programs for different processors to a universal file, as `lipo -create` does. Their signatures stay valid.
///
/// # Errors
///
/// Fails if a part is no 64-bit Mach-O program, if two are for one processor, or if the file would have 4 GiB or more.
pub(crate) fn join(programs: &[Vec<u8>]) -> Result<Vec<u8>, Wrong> {
    let too_large = || "the universal file would have 4 GiB or more".to_owned();
    let number = |size: usize| u32::try_from(size).map_err(|_| too_large());
    let mut universal = Vec::new();
    universal.extend(UNIVERSAL_MAGIC.to_be_bytes());
    universal.extend(number(programs.len())?.to_be_bytes());
    let mut start = HEADER + ENTRY * programs.len();
    let mut starts = Vec::new();
    let mut seen = Vec::new();
    for program in programs {
        if u32_le(program, 0)? != super::MAGIC {
            return Err("a part is no 64-bit Mach-O program".to_owned());
        }
        let (cpu_type, cpu_subtype) = (u32_le(program, 4)?, u32_le(program, 8)?);
        if seen.contains(&cpu_type) {
            return Err("two parts are for the same processor".to_owned());
        }
        seen.push(cpu_type);
        start = start.next_multiple_of(1 << ALIGNMENT);
        for field in [cpu_type, cpu_subtype, number(start)?, number(program.len())?, ALIGNMENT] {
            universal.extend(field.to_be_bytes());
        }
        starts.push(start);
        start += program.len();
    }
    for (start, program) in starts.into_iter().zip(programs) {
        universal.resize(start, 0);
        universal.extend(program);
    }
    number(universal.len())?;
    Ok(universal)
}
