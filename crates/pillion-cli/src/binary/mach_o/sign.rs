//! Signs a Mach-O program ad hoc: replaces its signature, or adds the load command for the first one.

use super::{
    CODE_SIGNATURE, Program, SHORT, Wrong,
    code_signature::{Contents, verify},
};

/// The length of `linkedit_data_command`.
const COMMAND: usize = 16;
/// The alignment of a signature, and of its length.
const ALIGNMENT: usize = 16;
/// The size of a segment in memory is a multiple of the largest page size of macOS.
const MEMORY_PAGE: u64 = 0x4000;

/// Signs a program for one processor ad hoc, with these entitlements (all true), and checks the result. A signature that the program
/// has is replaced. The hardened runtime is not turned on: the tool that signs for distribution does that.
///
/// # Errors
///
/// Fails if the file is no 64-bit Mach-O program, has something behind its signature, has no room for a load command, or has 4 GiB
/// or more.
pub(crate) fn sign(bytes: Vec<u8>, identifier: &str, entitlements: &[&str]) -> Result<Vec<u8>, Wrong> {
    let program = Program::read(&bytes)?;
    let mut bytes = without_signature(bytes, &program)?;
    let command = match program.signature {
        Some(signature) => signature.command,
        None => add_command(&mut bytes, &program)?,
    };
    // The signature is the last part of the file and of its last segment.
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
    let limit = bytes.len();
    let contents = Contents {
        identifier,
        entitlements,
        text: (program.text.start, program.text.size),
        executable: program.executable,
    };
    let length = contents.length(limit).next_multiple_of(ALIGNMENT);
    let number = |size: usize| u32::try_from(size).map_err(|_| "the program has 4 GiB or more".to_owned());
    number(limit + length)?;
    write(&mut bytes, command + 8, &number(limit)?.to_le_bytes())?;
    write(&mut bytes, command + 12, &number(length)?.to_le_bytes())?;
    let linkedit = program.linkedit;
    let end = u64::from(number(limit + length)?);
    let size = end.checked_sub(linkedit.start).ok_or("its segment __LINKEDIT starts behind its end")?;
    let memory_size = linkedit.memory_size.max(size.next_multiple_of(MEMORY_PAGE));
    write(&mut bytes, linkedit.command + 32, &memory_size.to_le_bytes())?;
    write(&mut bytes, linkedit.command + 48, &size.to_le_bytes())?;
    let signature = contents.sign(&bytes);
    bytes.extend(signature);
    bytes.resize(limit + length, 0);
    verify(&bytes)?;
    Ok(bytes)
}

/// Cuts the signature off.
fn without_signature(mut bytes: Vec<u8>, program: &Program) -> Result<Vec<u8>, Wrong> {
    let linkedit_end = program.linkedit.start.saturating_add(program.linkedit.size);
    let end = match program.signature {
        Some(signature) => {
            // Only padding may follow.
            let after = signature.start.saturating_add(signature.size);
            if bytes.get(after..).is_some_and(|rest| rest.iter().any(|byte| *byte != 0)) {
                return Err(format!("the file has {} bytes behind its signature", bytes.len() - after));
            }
            signature.start
        }
        None => usize::try_from(linkedit_end).unwrap_or(usize::MAX),
    };
    if end > bytes.len() {
        return Err("the file ends within its segment __LINKEDIT".to_owned());
    }
    if program.signature.is_none() && bytes[end..].iter().any(|byte| *byte != 0) {
        return Err(format!(
            "the file has {} bytes behind its last segment, which a signature cannot cover",
            bytes.len() - end
        ));
    }
    bytes.truncate(end);
    Ok(bytes)
}

/// Adds the load command of a signature behind the others, and returns its position.
fn add_command(bytes: &mut [u8], program: &Program) -> Result<usize, Wrong> {
    let at = program.commands_end;
    if at + COMMAND > program.content {
        return Err(format!(
            "the program has {} bytes between its load commands and its content, and the load command of a signature needs \
             {COMMAND}: link it with -headerpad 0x100",
            program.content.saturating_sub(at)
        ));
    }
    write(bytes, at, &[0; COMMAND])?;
    write(bytes, at, &CODE_SIGNATURE.to_le_bytes())?;
    write(bytes, at + 4, &u32::try_from(COMMAND).unwrap_or_default().to_le_bytes())?;
    write(bytes, 16, &(program.commands + 1).to_le_bytes())?;
    let length = u32::try_from(at + COMMAND - super::HEADER).map_err(|_| SHORT)?;
    write(bytes, 20, &length.to_le_bytes())?;
    Ok(at)
}

fn write(bytes: &mut [u8], at: usize, content: &[u8]) -> Result<(), Wrong> {
    bytes.get_mut(at..at + content.len()).ok_or(SHORT)?.copy_from_slice(content);
    Ok(())
}
