//! An amount of memory in a declaration, such as `"512 MiB"`.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, de};

/// A number of bytes, of at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MemorySize(pub(super) u64);

/// The units with their bytes. Longer names come first, because a shorter one ends some of them.
const UNITS: [(&str, u64); 7] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

impl MemorySize {
    fn parse(text: &str) -> Option<Self> {
        let (number, unit) =
            UNITS.iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, *bytes)))?;
        let (whole, fraction) = number.trim_end().split_once('.').unwrap_or((number.trim_end(), "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // Nine digits are more precise than a byte in a gibibyte.
        if !digits(whole) || !digits(fraction) || fraction.len() > 9 {
            return None;
        }
        let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
        let scaled = whole.parse::<u128>().ok()?.checked_mul(scale)?.checked_add(fraction.parse().ok()?)?;
        let bytes = scaled.checked_mul(unit.into())? / scale;
        u64::try_from(bytes).ok().filter(|bytes| *bytes > 0).map(Self)
    }
}

impl<'de> Deserialize<'de> for MemorySize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'_, str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            de::Error::custom(format!(
                "{text:?} is not an amount of memory: write a number and a unit, such as \"512 MiB\" or \"1.5 GiB\" (B, kB, MB, GB, KiB, MiB, GiB)"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_and_a_unit_are_an_amount() {
        for (text, bytes) in [
            ("512 MiB", 512 << 20),
            ("512MiB", 512 << 20),
            ("1.5 GiB", 3 << 29),
            ("2GB", 2_000_000_000),
            ("100 kB", 100_000),
            ("7B", 7),
            ("0.5 KiB", 512),
        ] {
            assert_eq!(MemorySize::parse(text), Some(MemorySize(bytes)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_no_amount() {
        for text in [
            "",
            "MiB",
            "512",
            "512 mib",
            "-1 MiB",
            "0 GiB",
            "0.1 B",
            "1e3 B",
            "1. MiB",
            ".5 MiB",
            "1.2.3 MiB",
            "1 2 MiB",
            "99999999999999999999 GiB",
            "1.0000000001 GiB",
            "NaN B",
            " 1 B",
        ] {
            assert_eq!(MemorySize::parse(text), None, "{text}");
        }
    }
}
