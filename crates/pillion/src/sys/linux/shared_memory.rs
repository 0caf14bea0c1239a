//! Memory that this program shares with its guards: it survives this program.

use std::{
    fs::File,
    io,
    os::fd::{AsRawFd as _, OwnedFd},
    ptr::{self, NonNull},
    slice,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::{
    fs::{MemfdFlags, ftruncate, memfd_create},
    process::{Resource, getrlimit},
};

/// A part of the memory, which belongs to its holder alone within this program.
#[derive(Debug)]
pub(crate) struct Region {
    mapping: Arc<Mapping>,
    start: usize,
    length: usize,
}

#[derive(Debug)]
struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the mapping is only memory, and each part of it has one holder.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

/// Creates memory, which is zero, and cuts it into parts of these sizes. What is not touched takes no memory. The file is the memory, for
/// another process.
pub(crate) fn shared_memory(sizes: &[usize]) -> io::Result<(File, Vec<Region>)> {
    let length = sizes.iter().sum();
    // Beyond this limit, the system would kill this program (SIGXFSZ, setrlimit(2)).
    if getrlimit(Resource::Fsize).current.is_some_and(|limit| limit < length as u64) {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let file: OwnedFd = memfd_create("pillion-log", MemfdFlags::CLOEXEC)?;
    ftruncate(&file, length as u64)?;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping, at an address that the kernel chooses. The file has this length, and only its holders, this program and its
    // guards, could shorten it: they do not.
    let start =
        unsafe { libc::mmap(ptr::null_mut(), length, protection, libc::MAP_SHARED, file.as_raw_fd(), 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
    let mapping = Arc::new(Mapping { start, length });
    let mut next = 0;
    let regions = sizes.iter().map(|length| {
        let start = next;
        next += length;
        Region { mapping: Arc::clone(&mapping), start, length: *length }
    });
    Ok((File::from(file), regions.collect()))
}

impl Region {
    /// Its bytes.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the part lies in the mapping, which lives as long as `self`, and has no other holder in this program. A guard reads it
        // only after this program's death.
        unsafe { slice::from_raw_parts_mut(self.mapping.start.as_ptr().add(self.start), self.length) }
    }

    /// Writes a number at a multiple of 8, after all that was written to this part before.
    pub(crate) fn publish(&mut self, at: usize, value: u64) {
        let place: *mut u64 = self.bytes()[at..at + 8].as_mut_ptr().cast();
        assert!(place.is_aligned(), "numbers are at multiples of 8");
        // SAFETY: aligned, within the part, and borrowed mutably.
        unsafe { AtomicU64::from_ptr(place) }.store(value, Ordering::Release);
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the last part of the mapping is gone. An error is impossible: the arguments are those of the mapping.
        let _ = unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::*;

    #[test]
    fn the_parts_are_one_file() {
        let (file, mut parts) = shared_memory(&[8, 4096, 16]).unwrap();
        parts[0].bytes().copy_from_slice(b"12345678");
        parts[2].publish(8, 7);
        parts.remove(0);
        let mut bytes = [0xff; 8];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(&bytes, b"12345678");
        file.read_exact_at(&mut bytes, 8 + 4096 + 8).unwrap();
        assert_eq!(bytes, 7_u64.to_ne_bytes());
        drop(parts);
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(&bytes, b"12345678", "it outlives the mapping");
    }
}
