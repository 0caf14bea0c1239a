//! The name of a sidecar as the name of a folder.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// How many bytes of the encoded name are in the name of the folder: most file systems allow 255, and Windows 260 for a whole path.
const LONGEST_NAME: usize = 64;

/// The name of a sidecar as the name of a folder. No two sidecars have the same: bytes other than small letters, digits, `_` and `-` become
/// `%` and two digits, because macOS and Windows do not distinguish capital letters. So does the first letter of a name that Windows
/// reserves. A long name is cut, and ends with `%-` and a hash of it. An empty one is `%`.
pub(crate) fn folder_name(sidecar: &str) -> String {
    let mut name = String::new();
    for (index, byte) in sidecar.bytes().enumerate() {
        let plain = byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-';
        if plain && (index > 0 || !is_reserved(sidecar)) {
            name.push(char::from(byte));
        } else {
            let _ = write!(name, "%{byte:02x}");
        }
    }
    if name.is_empty() {
        name.push('%');
    }
    if name.len() > LONGEST_NAME {
        name.truncate(LONGEST_NAME);
        name += "%-";
        for byte in &Sha256::digest(sidecar)[..8] {
            let _ = write!(name, "{byte:02x}");
        }
    }
    name
}

/// Whether Windows takes it for a device ([Naming Files]).
///
/// [Naming Files]: https://learn.microsoft.com/windows/win32/fileio/naming-a-file
fn is_reserved(name: &str) -> bool {
    let numbered = |prefix| {
        let rest = name.strip_prefix(prefix).map(str::as_bytes);
        matches!(rest, Some([digit]) if digit.is_ascii_digit())
    };
    matches!(name, "con" | "prn" | "aux" | "nul" | "conin$" | "conout$") || numbered("com") || numbered("lpt")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_name_of_a_sidecar_names_a_folder_and_no_other_place() {
        assert_eq!(folder_name("my_back-end2"), "my_back-end2");
        assert_eq!(folder_name("../a/b:c"), "%2e%2e%2fa%2fb%3ac");
    }

    #[test]
    fn no_two_sidecars_have_one_folder_on_any_system() {
        let long = "backend".repeat(40);
        let names = [
            "",
            "%",
            "%00",
            "\0",
            "con",
            "CON",
            "Con",
            "%63on",
            "com1",
            "lpt9",
            "com10",
            "cone",
            "nul",
            "aux",
            "prn",
            "conin$",
            "backend",
            "Backend",
            "é",
            "É",
            "%-",
            &long,
            &format!("{long}2"),
            &long[..64],
            &long[..65],
        ];
        let folders: HashSet<_> = names.iter().map(|name| folder_name(name).to_lowercase()).collect();
        assert_eq!(folders.len(), names.len());
        for folder in &folders {
            assert!(!folder.is_empty() && folder.len() <= 82 && !is_reserved(folder), "{folder}");
        }
        assert_eq!((folder_name("Api").as_str(), folder_name("con").as_str()), ("%41pi", "%63on"));
        assert_eq!(folder_name(&long), format!("{}%-{}", &long[..64], "f96d87e740e0e872"));
    }
}
