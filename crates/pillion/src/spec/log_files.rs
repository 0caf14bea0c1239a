//! Where the output of a sidecar is kept as files.

use std::{
    num::{NonZeroU32, NonZeroU64},
    path::PathBuf,
};

/// Where the output of a sidecar is kept as files, and how much of it: at most [`max_files`](Self::max_files) files of
/// [`max_bytes`](Self::max_bytes) each, in a folder for each sidecar. `docs/logs.md` in the repository describes the files.
///
/// ```
/// use pillion::{LogFiles, Spec};
///
/// let spec = Spec::run("backend", "./backend").log_files(LogFiles::new("/var/log/example"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogFiles {
    pub(crate) folder: PathBuf,
    pub(crate) max_bytes: u64,
    pub(crate) max_files: u32,
}

impl LogFiles {
    /// The default of [`max_bytes`](Self::max_bytes): 5 MiB.
    pub const DEFAULT_MAX_BYTES: u64 = 5 * 1024 * 1024;
    /// The default of [`max_files`](Self::max_files).
    pub const DEFAULT_MAX_FILES: u32 = 10;
    /// The smallest file: a limit below counts as this, because one write is a part of it.
    pub const MIN_MAX_BYTES: u64 = 64 * 1024;

    /// Files in `FOLDER/SIDECAR`. The folders are created if they are missing, and only the user can open them (Unix).
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), max_bytes: Self::DEFAULT_MAX_BYTES, max_files: Self::DEFAULT_MAX_FILES }
    }

    /// How large a file may become before the next one begins, in bytes.
    #[must_use]
    pub fn max_bytes(mut self, bytes: NonZeroU64) -> Self {
        self.max_bytes = bytes.get().max(Self::MIN_MAX_BYTES);
        self
    }

    /// How many files of a sidecar are kept, the present one included. Each start of the program begins a file with the first line.
    #[must_use]
    pub fn max_files(mut self, files: NonZeroU32) -> Self {
        self.max_files = files.get();
        self
    }
}
