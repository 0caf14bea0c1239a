//! Entitlements in DER, as macOS 12 and later read them: a version, and a dictionary in the order of its keys.
//!
//! Apple publishes no description. The form is that of `codesign`; the tests compare it with what Apple's tool wrote.

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const UTF8_STRING: u8 = 0x0c;
const SEQUENCE: u8 = 0x30;
/// Application 16: the entitlements. Context 16: a dictionary.
const ENTITLEMENTS: u8 = 0x70;
const DICTIONARY: u8 = 0xb0;

/// Encodes entitlements that are all true.
pub(super) fn entitlements(keys: &[&str]) -> Vec<u8> {
    let mut sorted = keys.to_vec();
    sorted.sort_unstable();
    let entry = |key: &&str| {
        element(SEQUENCE, &[element(UTF8_STRING, key.as_bytes()), element(BOOLEAN, &[0xff])].concat())
    };
    let dictionary: Vec<u8> = sorted.iter().flat_map(entry).collect();
    element(ENTITLEMENTS, &[element(INTEGER, &[1]), element(DICTIONARY, &dictionary)].concat())
}

/// A tag, the length in its shortest form, and the content.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut encoded = vec![tag];
    let length = content.len().to_be_bytes();
    let significant = &length[length.iter().take_while(|byte| **byte == 0).count()..];
    match *significant {
        [] => encoded.push(0),
        [short @ 0..0x80] => encoded.push(short),
        _ => {
            // At most eight bytes.
            encoded.push(0x80 | significant.len().to_le_bytes()[0]);
            encoded.extend(significant);
        }
    }
    encoded.extend(content);
    encoded
}
