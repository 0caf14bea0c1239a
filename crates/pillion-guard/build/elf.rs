//! Looks into a program (elf(5)).

/// Whether the program of 64 bits for x86-64 starts without a loader: it names none, it needs no library, and every relocation is one
/// that the light guard makes itself (`light/sys/entry.rs`).
pub(crate) fn is_self_contained(program: &[u8]) -> bool {
    check(program) == Some(true)
}

const PT_LOAD: u64 = 1;
const PT_DYNAMIC: u64 = 2;
const PT_INTERP: u64 = 3;
const DT_NULL: u64 = 0;
const DT_NEEDED: u64 = 1;
const DT_RELA: u64 = 7;
const DT_RELASZ: u64 = 8;
const DT_REL: u64 = 17;
const DT_JMPREL: u64 = 23;
const DT_RELR: u64 = 36;
const R_X86_64_RELATIVE: u64 = 8;

/// A part of the program that is in memory when it runs, or the list that is meant for a loader.
struct Segment {
    kind: u64,
    offset: u64,
    address: u64,
    size: u64,
}

/// `None` if the program is cut.
fn check(program: &[u8]) -> Option<bool> {
    // 64 bits, the lowest byte first.
    if program.get(..6)? != b"\x7fELF\x02\x01" || number::<2>(program, 18)? != 62 {
        return Some(false);
    }
    let (table, size, count) =
        (number::<8>(program, 32)?, number::<2>(program, 54)?, number::<2>(program, 56)?);
    let segments: Vec<Segment> = (0..count)
        .map(|at| {
            let start = table.checked_add(at * size)?;
            Some(Segment {
                kind: number::<4>(program, start)?,
                offset: number::<8>(program, start + 8)?,
                address: number::<8>(program, start + 16)?,
                size: number::<8>(program, start + 32)?,
            })
        })
        .collect::<Option<_>>()?;
    // The program reads its own list.
    let Some(dynamic) = segments.iter().find(|segment| segment.kind == PT_DYNAMIC) else {
        return Some(false);
    };
    if segments.iter().any(|segment| segment.kind == PT_INTERP) {
        return Some(false);
    }
    let (mut table, mut size) = (0, 0);
    for at in (0..dynamic.size / 16).map(|at| dynamic.offset + at * 16) {
        match (number::<8>(program, at)?, number::<8>(program, at + 8)?) {
            (DT_NULL, _) => break,
            (DT_NEEDED | DT_REL | DT_JMPREL | DT_RELR, _) => return Some(false),
            (DT_RELA, value) => table = value,
            (DT_RELASZ, value) => size = value,
            _ => {}
        }
    }
    for at in (0..size / 24).map(|at| table + at * 24) {
        let holds = |it: &&Segment| it.kind == PT_LOAD && (it.address..it.address + it.size).contains(&at);
        let segment = segments.iter().find(holds)?;
        // The type is the lower half of the second word.
        if number::<4>(program, at - segment.address + segment.offset + 8)? != R_X86_64_RELATIVE {
            return Some(false);
        }
    }
    Some(true)
}

/// The number of `SIZE` bytes, at most 8, at this place.
fn number<const SIZE: usize>(program: &[u8], at: u64) -> Option<u64> {
    let at = usize::try_from(at).ok()?;
    let bytes = program.get(at..at.checked_add(SIZE)?)?;
    Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_light_guard_needs_no_loader() {
        assert!(crate::LIGHT_PROGRAM.is_empty() || is_self_contained(crate::LIGHT_PROGRAM));
    }

    #[test]
    #[cfg_attr(target_env = "musl", ignore = "the test itself has no loader")]
    fn a_program_with_a_loader_is_not_self_contained() {
        // This test, on Linux.
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(!is_self_contained(&own) && !is_self_contained(&own[..100]) && !is_self_contained(b""));
    }

    #[test]
    fn each_fault_of_a_linker_is_seen() {
        // The tags that a loader would have to obey: DT_NEEDED, DT_RELR and another kind of relocation.
        assert!(check(&program(0, 0, R_X86_64_RELATIVE)) == Some(true));
        for (tag, relocation) in [(DT_NEEDED, 8), (DT_RELR, 8), (DT_JMPREL, 8), (0x6fff_fff0, 6)] {
            assert_eq!(check(&program(0, tag, relocation)), Some(false), "{tag} {relocation}");
        }
        assert_eq!(check(&program(PT_INTERP, 0, R_X86_64_RELATIVE)), Some(false));
    }

    /// A program with a further segment of this kind, a list with this further tag, and one relocation of this type.
    fn program(kind: u64, tag: u64, relocation: u64) -> Vec<u8> {
        const SEGMENTS: u64 = 64;
        const DYNAMIC: u64 = SEGMENTS + 3 * 56;
        const TABLE: u64 = DYNAMIC + 4 * 16;
        let mut program = b"\x7fELF\x02\x01".to_vec();
        program.resize(TABLE as usize + 24, 0);
        let mut put = |at: u64, value: u64, size: usize| {
            program[at as usize..][..size].copy_from_slice(&value.to_le_bytes()[..size]);
        };
        for (at, value, size) in [(18, 62, 2), (32, SEGMENTS, 8), (54, 56, 2), (56, 3, 2)] {
            put(at, value, size);
        }
        // The segment begins at 0x1000 in memory, and at the start of the file.
        let segments = [(PT_LOAD, 0, 0x1000, TABLE + 24), (PT_DYNAMIC, DYNAMIC, 0, 64), (kind, 0, 0, 0)];
        for (start, (kind, offset, address, size)) in (SEGMENTS..).step_by(56).zip(segments) {
            for (at, value) in [(0, kind), (8, offset), (16, address), (32, size)] {
                put(start + at, value, 8);
            }
        }
        let tags = [(DT_RELA, 0x1000 + TABLE), (DT_RELASZ, 24), (tag, 1), (DT_NULL, 0)];
        // A list ends with DT_NULL, even before its last place.
        for (at, (tag, value)) in (DYNAMIC..).step_by(16).zip(tags) {
            put(at, tag, 8);
            put(at + 8, value, 8);
        }
        put(TABLE + 8, relocation, 8);
        program
    }
}
