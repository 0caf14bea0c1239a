//! Code signatures of Mach-O programs, as `kern/cs_blobs.h` of the [XNU sources] defines them: how to make an ad-hoc one, and
//! whether one fits its program.
//!
//! An ad-hoc signature has no certificate: it says that the program is unchanged since its build, and which entitlements it has.
//! macOS kills a program for Apple's processors that has no valid signature. Its numbers are big endian.
//!
//! [XNU sources]: https://github.com/apple-oss-distributions/xnu/blob/main/osfmk/kern/cs_blobs.h

use sha2::{Digest as _, Sha256};

use super::{Program, Wrong, der, entitlements, to_usize, u32_be};

const EMBEDDED_SIGNATURE: u32 = 0xfade_0cc0;
const CODE_DIRECTORY: u32 = 0xfade_0c02;
const REQUIREMENTS: u32 = 0xfade_0c01;
const ENTITLEMENTS: u32 = 0xfade_7171;
const DER_ENTITLEMENTS: u32 = 0xfade_7172;
const CMS: u32 = 0xfade_0b01;

/// The slots of the parts of a signature. Those up to 7 are hashed in the code directory.
const DIRECTORY_SLOT: u32 = 0;
const REQUIREMENTS_SLOT: u32 = 2;
const ENTITLEMENTS_SLOT: u32 = 5;
const DER_SLOT: u32 = 7;
/// The slots of `Info.plist` and of the bundle's resources, which are not in the signature.
const OUTSIDE: [u32; 2] = [1, 3];
/// Further code directories, with other hash functions.
const ALTERNATIVE_DIRECTORIES: std::ops::Range<u32> = 0x1000..0x1005;
const CMS_SLOT: u32 = 0x1_0000;

/// The version of the code directory that has the fields about the executable segment.
const VERSION: u32 = 0x2_0400;
/// The length of the code directory's fields in that version.
const DIRECTORY_FIELDS: usize = 88;
const ADHOC: u32 = 0x2;
const HARDENED_RUNTIME: u32 = 0x1_0000;
const MAIN_BINARY: u64 = 0x1;
const HASH: usize = 32;
const SHA256: u8 = 2;
/// Pages have 2 to this power bytes, as in the signatures of Apple's tools, also for processors with larger pages.
const PAGE_POWER: u8 = 12;
const PAGE: usize = 1 << PAGE_POWER;

/// What to write into a signature besides the hashes of the pages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Contents<'a> {
    pub(super) identifier: &'a str,
    pub(super) entitlements: &'a [&'a str],
    /// The start and the length of the segment `__TEXT`.
    pub(super) text: (u64, u64),
    /// Whether the file is a program, not a library.
    pub(super) executable: bool,
}

impl Contents<'_> {
    /// The parts of the signature that the code directory hashes, by their slots.
    fn parts(&self) -> Vec<(u32, Vec<u8>)> {
        let mut parts = vec![(REQUIREMENTS_SLOT, blob(REQUIREMENTS, &0_u32.to_be_bytes()))];
        if !self.entitlements.is_empty() {
            let list = entitlements::property_list(self.entitlements);
            parts.push((ENTITLEMENTS_SLOT, blob(ENTITLEMENTS, list.as_bytes())));
            parts.push((DER_SLOT, blob(DER_ENTITLEMENTS, &der::entitlements(self.entitlements))));
        }
        parts
    }

    /// The length of the signature for a program of this length.
    pub(super) fn length(&self, program: usize) -> usize {
        self.assemble(&self.directory(program, &[])).len() + HASH * program.div_ceil(PAGE)
    }

    /// The signature of this program, which ends where its signature will start.
    pub(super) fn sign(&self, program: &[u8]) -> Vec<u8> {
        let hashes: Vec<u8> = program.chunks(PAGE).flat_map(Sha256::digest).collect();
        self.assemble(&self.directory(program.len(), &hashes))
    }

    fn directory(&self, limit: usize, page_hashes: &[u8]) -> Vec<u8> {
        let parts = self.parts();
        let special_slots = parts.iter().map(|(slot, _)| *slot).max().unwrap_or(0);
        let identifier = [self.identifier.as_bytes(), b"\0"].concat();
        let hashes_at = DIRECTORY_FIELDS + identifier.len() + HASH * to_usize(special_slots);
        let mut body = Vec::new();
        for field in [
            VERSION,
            ADHOC,
            number(hashes_at),
            number(DIRECTORY_FIELDS),
            special_slots,
            number(limit.div_ceil(PAGE)),
            // A program of 4 GiB or more has its length in a later field. `sign` refuses it.
            number(limit),
        ] {
            body.extend(field.to_be_bytes());
        }
        body.extend([u8::try_from(HASH).unwrap_or_default(), SHA256, 0, PAGE_POWER]);
        // Unused: a spare field, the scatter vector, the team, another spare field, and the long form of the limit.
        body.extend([0; 4 * 4 + 8]);
        body.extend(self.text.0.to_be_bytes());
        body.extend(self.text.1.to_be_bytes());
        body.extend(if self.executable { MAIN_BINARY } else { 0 }.to_be_bytes());
        body.extend(&identifier);
        // The special slots count backwards from the hashes of the pages. An unused one is zero.
        for slot in (1..=special_slots).rev() {
            match parts.iter().find(|(used, _)| *used == slot) {
                Some((_, part)) => body.extend(Sha256::digest(part)),
                None => body.extend([0; HASH]),
            }
        }
        body.extend(page_hashes);
        blob(CODE_DIRECTORY, &body)
    }

    fn assemble(&self, directory: &[u8]) -> Vec<u8> {
        let mut parts = vec![(DIRECTORY_SLOT, directory.to_vec())];
        parts.extend(self.parts());
        // Without a certificate, the message that it would sign is empty.
        parts.push((CMS_SLOT, blob(CMS, b"")));
        let mut index = number(parts.len()).to_be_bytes().to_vec();
        // After the magic number and the length, which `blob` adds.
        let mut at = 8 + index.len() + 8 * parts.len();
        for (slot, part) in &parts {
            index.extend(slot.to_be_bytes());
            index.extend(number(at).to_be_bytes());
            at += part.len();
        }
        index.extend(parts.iter().flat_map(|(_, part)| part));
        blob(EMBEDDED_SIGNATURE, &index)
    }
}

/// What a valid signature says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CodeSignature {
    pub(crate) identifier: String,
    /// Whether it has no certificate.
    pub(crate) ad_hoc: bool,
    /// Whether the hardened runtime applies.
    pub(crate) hardened: bool,
    /// The entitlements as a property list.
    pub(crate) entitlements: Option<String>,
    /// The entitlements in DER.
    pub(crate) der_entitlements: Option<Vec<u8>>,
    /// How many pages of the program have the right hash: all.
    pub(crate) pages: usize,
}

/// Checks the signature of a program for one processor: the hash of each page, and those of the signature's other parts.
///
/// # Errors
///
/// Fails if the program has no signature, or with the first page or part that does not match.
pub(crate) fn verify(bytes: &[u8]) -> Result<CodeSignature, Wrong> {
    let program = Program::read(bytes)?;
    let command = program.signature.ok_or("the program has no signature")?;
    let signature = command
        .start
        .checked_add(command.size)
        .and_then(|end| bytes.get(command.start..end))
        .ok_or("its signature lies outside the file")?;
    let parts = parts(signature)?;
    let directory = CodeDirectory::find(&parts)?;
    let pages = directory.check_pages(&bytes[..command.start])?;
    directory.check_parts(&parts)?;
    // The content of a part follows its magic number and its length.
    let content = |slot| find(&parts, slot).and_then(|part| part.get(8..));
    let flags = directory.field(FLAGS)?;
    Ok(CodeSignature {
        identifier: directory.identifier()?,
        ad_hoc: flags & ADHOC != 0,
        hardened: flags & HARDENED_RUNTIME != 0,
        entitlements: content(ENTITLEMENTS_SLOT).map(|list| String::from_utf8_lossy(list).into_owned()),
        der_entitlements: content(DER_SLOT).map(<[u8]>::to_vec),
        pages,
    })
}

/// A part of a signature, with its slot.
type Part<'a> = (u32, &'a [u8]);

fn find<'a>(parts: &[Part<'a>], slot: u32) -> Option<&'a [u8]> {
    parts.iter().find(|(found, _)| *found == slot).map(|(_, part)| *part)
}

// The fields of a code directory, each of four bytes: their places.
const FLAGS: usize = 3;
const HASHES_AT: usize = 4;
const IDENTIFIER_AT: usize = 5;
const SPECIAL_SLOTS: usize = 6;
const PAGES: usize = 7;
const LIMIT: usize = 8;

/// The part of a signature with the hashes.
struct CodeDirectory<'a>(&'a [u8]);

impl<'a> CodeDirectory<'a> {
    /// The one with SHA-256.
    fn find(parts: &[Part<'a>]) -> Result<Self, Wrong> {
        let directory = parts
            .iter()
            .filter(|(slot, _)| *slot == DIRECTORY_SLOT || ALTERNATIVE_DIRECTORIES.contains(slot))
            .find(|(_, part)| part.get(37) == Some(&SHA256));
        let (_, directory) = directory.ok_or("its signature has no code directory with SHA-256")?;
        if u32_be(directory, 0)? != CODE_DIRECTORY {
            return Err("its code directory has a wrong magic number".to_owned());
        }
        Ok(Self(directory))
    }

    fn field(&self, place: usize) -> Result<u32, Wrong> {
        u32_be(self.0, 4 * place)
    }

    fn identifier(&self) -> Result<String, Wrong> {
        let rest = self.0.get(to_usize(self.field(IDENTIFIER_AT)?)..).unwrap_or_default();
        let identifier = rest.split(|byte| *byte == 0).next().unwrap_or_default();
        Ok(String::from_utf8_lossy(identifier).into_owned())
    }

    fn hash(&self, at: Option<usize>) -> Result<&'a [u8], Wrong> {
        let hash = at.and_then(|at| self.0.get(at..)?.get(..HASH));
        hash.ok_or_else(|| "its code directory is cut off".to_owned())
    }

    /// Checks the hashes of the signed bytes, and returns how many pages these have.
    fn check_pages(&self, signed: &[u8]) -> Result<usize, Wrong> {
        let (hashes_at, limit) = (to_usize(self.field(HASHES_AT)?), to_usize(self.field(LIMIT)?));
        if limit != signed.len() {
            return Err(format!(
                "the signature covers {limit} bytes of the program, which has {}",
                signed.len()
            ));
        }
        // Signatures for Apple's processors may have pages of 16 KiB.
        let page_size = match self.0.get(36..40) {
            Some([32, _, _, power @ 12..=16]) => 1_usize << power,
            _ => return Err("its signature has unknown lengths of hashes or pages".to_owned()),
        };
        let (pages, needed) = (to_usize(self.field(PAGES)?), limit.div_ceil(page_size));
        if pages != needed {
            return Err(format!("the signature has {pages} pages, and the program {needed}"));
        }
        for (index, page) in signed.chunks(page_size).enumerate() {
            if self.hash(Some(hashes_at + HASH * index))? != Sha256::digest(page).as_slice() {
                return Err(format!(
                    "page {index} (from byte {}) was changed after the signature: its hash differs",
                    index * page_size
                ));
            }
        }
        Ok(pages)
    }

    /// Checks the hashes of the other parts.
    fn check_parts(&self, parts: &[Part<'_>]) -> Result<(), Wrong> {
        let (hashes_at, special_slots) = (to_usize(self.field(HASHES_AT)?), self.field(SPECIAL_SLOTS)?);
        for slot in 1..=special_slots {
            let expected = self.hash(hashes_at.checked_sub(HASH * to_usize(slot)))?;
            let fits = match find(parts, slot) {
                Some(part) => Sha256::digest(part).as_slice() == expected,
                None => OUTSIDE.contains(&slot) || expected.iter().all(|byte| *byte == 0),
            };
            if !fits {
                return Err(format!(
                    "part {slot} of its signature does not have the hash in the code directory"
                ));
            }
        }
        match parts.iter().find(|(slot, _)| (special_slots + 1..=DER_SLOT).contains(slot)) {
            Some((slot, _)) => Err(format!("part {slot} of its signature has no hash in the code directory")),
            None => Ok(()),
        }
    }
}

/// The parts of an embedded signature, by their slots.
fn parts(signature: &[u8]) -> Result<Vec<Part<'_>>, Wrong> {
    if u32_be(signature, 0)? != EMBEDDED_SIGNATURE {
        return Err("its signature has a wrong magic number".to_owned());
    }
    (0..to_usize(u32_be(signature, 8)?))
        .map(|index| {
            let entry = 12 + 8 * index;
            let (slot, start) = (u32_be(signature, entry)?, to_usize(u32_be(signature, entry + 4)?));
            let length = to_usize(u32_be(signature, start + 4)?);
            let part = signature.get(start..).and_then(|rest| rest.get(..length));
            Ok((slot, part.ok_or_else(|| format!("part {slot} of its signature is cut off"))?))
        })
        .collect()
}

fn blob(magic: u32, content: &[u8]) -> Vec<u8> {
    [&magic.to_be_bytes(), &number(8 + content.len()).to_be_bytes(), content].concat()
}

/// A length that `sign` has checked to be below 4 GiB.
fn number(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
