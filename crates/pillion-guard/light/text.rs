//! Text and numbers without an allocation.

use core::ffi::c_int;

use crate::decimal::for_each_digit;

/// At most `SIZE` bytes of text; what does not fit is dropped.
pub(crate) struct Text<const SIZE: usize> {
    bytes: [u8; SIZE],
    length: usize,
}

impl<const SIZE: usize> Text<SIZE> {
    pub(crate) fn new() -> Self {
        Self { bytes: [0; SIZE], length: 0 }
    }

    /// Appends the bytes.
    pub(crate) fn text(&mut self, text: &[u8]) -> &mut Self {
        for byte in text {
            self.byte(*byte);
        }
        self
    }

    /// Appends the number in decimal digits.
    pub(crate) fn number(&mut self, number: u64) -> &mut Self {
        for_each_digit(number, |digit| self.byte(digit));
        self
    }

    fn byte(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// Ends the text with a zero, as the kernel reads it. `None` if it did not fit.
    pub(crate) fn terminated(&mut self) -> Option<*const u8> {
        self.byte(0);
        (self.bytes().last() == Some(&0)).then_some(self.bytes.as_ptr())
    }
}

/// The number that these bytes are, up to their end or a zero. `None` for anything else.
pub(crate) fn number(name: &[u8]) -> Option<c_int> {
    let mut number: c_int = 0;
    let mut digits = 0;
    for byte in name {
        match byte {
            0 => break,
            b'0'..=b'9' => number = number.checked_mul(10)?.checked_add(c_int::from(byte - b'0'))?,
            _ => return None,
        }
        digits += 1;
    }
    (digits > 0).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_digits_up_to_the_end_or_a_zero() {
        for (text, expected) in [(&b"0"[..], Some(0)), (b"4711", Some(4711)), (b"12\0x", Some(12))] {
            assert_eq!(number(text), expected, "{text:?}");
        }
        for text in [&b""[..], b"\0", b"-1", b"+1", b"1 ", b"self", b"99999999999"] {
            assert_eq!(number(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_text_that_does_not_fit_has_no_end() {
        assert!(Text::<3>::new().text(b"ab").terminated().is_some());
        assert!(Text::<3>::new().text(b"abc").terminated().is_none());
        assert_eq!(Text::<8>::new().number(0).text(b",").number(4711).bytes(), b"0,4711");
    }
}
