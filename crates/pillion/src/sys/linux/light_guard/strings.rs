//! Texts as a program gets them.

use std::{ffi::c_char, io, ptr};

/// Texts that end with a zero, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Strings {
    bytes: Vec<u8>,
    starts: Vec<usize>,
}

/// Pointers to texts, and a null pointer behind the last one. Valid for as long as the texts exist.
pub(super) type Pointers = Vec<*mut c_char>;

impl Strings {
    /// An error of the kind `InvalidInput` if a text contains a zero.
    pub(super) fn new<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> io::Result<Self> {
        let mut strings = Self::default();
        texts.into_iter().try_for_each(|text| strings.push(&[text]))?;
        Ok(strings)
    }

    /// Adds a text that consists of these parts.
    pub(super) fn push(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        if parts.iter().any(|part| part.contains(&0)) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a text contains a zero"));
        }
        self.starts.push(self.bytes.len());
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
        self.bytes.push(0);
        Ok(())
    }

    /// The number of texts.
    pub(super) fn len(&self) -> usize {
        self.starts.len()
    }

    /// Pointers to the texts that are to be kept. No text is added from here on.
    pub(super) fn pointers(&mut self, keep: impl Fn(&[u8]) -> bool) -> Pointers {
        let starts = self.starts.iter().filter(|start| keep(&self.bytes[**start..])).copied();
        let starts: Vec<_> = starts.collect();
        let first = self.bytes.as_mut_ptr();
        // They have one origin, so that all may be changed.
        starts.into_iter().map(|start| first.wrapping_add(start).cast()).chain([ptr::null_mut()]).collect()
    }
}
