//! Text without an allocation.

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
