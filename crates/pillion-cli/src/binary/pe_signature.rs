//! The signature in a program of Windows (PE): <https://learn.microsoft.com/windows/win32/debug/pe-format>.

/// The signature "PE\0\0", before the COFF header.
const SIGNATURE: &[u8] = b"PE\0\0";
/// The sizes of the COFF header, and of the optional header of 32-bit and 64-bit programs up to the data directories.
const COFF_HEADER: usize = 20;
const OPTIONAL_HEADER_32: usize = 96;
const OPTIONAL_HEADER_64: usize = 112;
/// The index of the certificate table among the data directories. Unlike the others it holds a position in the file.
const CERTIFICATE_TABLE: usize = 4;
/// Where the optional header has the checksum, which only drivers need.
const CHECKSUM: usize = 64;

/// A problem with the file, in words.
pub(crate) type Wrong = &'static str;

/// Takes the signature out of a program that was changed after it was signed: the entry of the certificate table is zeroed, and a
/// table at the end of the file is cut off. Returns whether the program had a signature.
///
/// Windows and its virus scanners report a changed program with its old signature as tampered with. One without a signature is
/// ordinary, and `signtool` can sign it.
///
/// # Errors
///
/// Fails if the file is no PE program, or its table lies outside the file.
pub(crate) fn remove(bytes: &mut Vec<u8>) -> Result<bool, Wrong> {
    let optional = coff_header(bytes)? + COFF_HEADER;
    let directories = match u16_at(bytes, optional)? {
        0x10b => optional + OPTIONAL_HEADER_32,
        0x20b => optional + OPTIONAL_HEADER_64,
        _ => return Err("its optional header is neither PE32 nor PE32+"),
    };
    let count = u32_at(bytes, directories - 4)? as usize;
    if count <= CERTIFICATE_TABLE {
        return Ok(false);
    }
    let entry = directories + 8 * CERTIFICATE_TABLE;
    let (start, size) = (u32_at(bytes, entry)? as usize, u32_at(bytes, entry + 4)? as usize);
    if (start, size) == (0, 0) {
        return Ok(false);
    }
    let end = start.checked_add(size).ok_or("its certificate table is too large")?;
    bytes[entry..entry + 8].fill(0);
    bytes[optional + CHECKSUM..optional + CHECKSUM + 4].fill(0);
    // A tool that appended its data after the table needs what follows: the table then stays as bytes without a meaning.
    if end == bytes.len() {
        bytes.truncate(start);
    }
    Ok(true)
}

fn coff_header(bytes: &[u8]) -> Result<usize, Wrong> {
    // The DOS header ends with the position of the PE signature.
    let start = u32_at(bytes, 0x3c)? as usize;
    let end = start.checked_add(SIGNATURE.len()).ok_or(SHORT)?;
    if bytes.get(..2) != Some(b"MZ") || bytes.get(start..end) != Some(SIGNATURE) {
        return Err("it has no PE signature");
    }
    Ok(end)
}

const SHORT: Wrong = "the file ends within its headers";

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, Wrong> {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk()).ok_or(SHORT)?;
    Ok(u16::from_le_bytes(*found))
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, Wrong> {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk()).ok_or(SHORT)?;
    Ok(u32::from_le_bytes(*found))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program with headers and 64 bytes of content, and with this table of certificates.
    fn program(certificates: &[u8], after: &[u8]) -> Vec<u8> {
        const HEADERS: usize = 0x80;
        let mut bytes = vec![0; 0x1c0];
        bytes[..2].copy_from_slice(b"MZ");
        bytes[0x3c] = 0x80;
        bytes[HEADERS..HEADERS + 4].copy_from_slice(SIGNATURE);
        bytes[HEADERS + 4..HEADERS + 6].copy_from_slice(&0x8664_u16.to_le_bytes());
        let optional = HEADERS + 4 + COFF_HEADER;
        bytes[optional..optional + 2].copy_from_slice(&0x20b_u16.to_le_bytes());
        bytes[optional + CHECKSUM..optional + CHECKSUM + 4].copy_from_slice(&[7; 4]);
        let directories = optional + OPTIONAL_HEADER_64;
        bytes[directories - 4] = 16;
        let entry = directories + 8 * CERTIFICATE_TABLE;
        let start = u32::try_from(bytes.len()).unwrap();
        if !certificates.is_empty() {
            bytes[entry..entry + 4].copy_from_slice(&start.to_le_bytes());
            bytes[entry + 4] = u8::try_from(certificates.len()).unwrap();
        }
        bytes.extend_from_slice(certificates);
        bytes.extend_from_slice(after);
        bytes
    }

    #[test]
    fn a_signature_at_the_end_of_the_file_is_cut_off() {
        let mut signed = program(&[1; 24], b"");
        assert_eq!(remove(&mut signed), Ok(true));
        let mut without = program(b"", b"");
        let checksum = 0x84 + COFF_HEADER + CHECKSUM;
        without[checksum..checksum + 4].fill(0);
        assert_eq!(signed, without);
        assert_eq!(remove(&mut signed), Ok(false));
    }

    #[test]
    fn data_after_a_signature_stays_where_it_is() {
        let mut signed = program(&[1; 24], b"blob");
        let length = signed.len();
        assert_eq!(remove(&mut signed), Ok(true));
        assert_eq!((signed.len(), &signed[length - 4..]), (length, b"blob".as_slice()));
        assert_eq!(remove(&mut signed), Ok(false));
    }

    #[test]
    fn a_file_that_is_cut_off_is_an_error_at_every_length() {
        let whole = program(&[1; 24], b"");
        for length in 0..0x1c0 {
            let mut part = whole[..length].to_vec();
            // The table of the whole program lies behind the end of its part, which does not matter.
            let _ = remove(&mut part);
        }
        assert_eq!(remove(&mut b"MZ".to_vec()), Err(SHORT));
    }
}
