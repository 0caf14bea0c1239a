//! The files that the name of a program may mean.

use core::ffi::c_int;

use crate::text::Text;

const EPERM: c_int = 1;
const ENOENT: c_int = 2;
const EACCES: c_int = 13;
const ENOTDIR: c_int = 20;
const ENAMETOOLONG: c_int = 36;

/// Calls `execute` with the file `name` in each folder of `PATH`, until that returns another error number than those of a file that is
/// missing or may not be executed. Returns the number, or the one that says most.
pub(crate) fn first_executable(path: &[u8], name: &[u8], execute: impl Fn(*const u8) -> c_int) -> c_int {
    let mut error = ENOENT;
    for folder in path.split(|byte| *byte == b':') {
        let mut file = Text::<4096>::new();
        file.text(folder);
        if folder.last().is_some_and(|last| *last != b'/') {
            file.text(b"/");
        }
        match file.text(name).terminated().map_or(ENAMETOOLONG, &execute) {
            ENOENT | ENOTDIR => {}
            refused @ (EACCES | EPERM) => error = refused,
            last => return last,
        }
    }
    error
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, ffi::CStr};

    use super::*;

    /// The files that are tried, each with the number that `execute` returns.
    fn tried(path: &str, results: &[c_int]) -> (Vec<String>, c_int) {
        let files = RefCell::new(Vec::new());
        let error = first_executable(path.as_bytes(), b"program", |file| {
            // SAFETY: the file is a text that ends with a zero.
            let file = unsafe { CStr::from_ptr(file.cast()) };
            files.borrow_mut().push(file.to_str().unwrap().to_owned());
            results[files.borrow().len() - 1]
        });
        (files.into_inner(), error)
    }

    #[test]
    fn a_file_that_is_missing_or_refused_does_not_end_the_search() {
        let all = ["/a/program", "/b/program", "program", "c/program"].map(str::to_owned);
        for (results, error) in [
            ([ENOENT, ENOTDIR, ENOENT, ENOENT], ENOENT),
            ([ENOENT, EACCES, ENOENT, ENOENT], EACCES),
            ([EPERM, ENOENT, ENOENT, ENOTDIR], EPERM),
        ] {
            assert_eq!(tried("/a:/b/::c", &results), (all.to_vec(), error), "{results:?}");
        }
    }

    #[test]
    fn any_other_error_ends_the_search() {
        const ENOEXEC: c_int = 8;
        assert_eq!(
            tried("/a:/b", &[EACCES, ENOEXEC]),
            (vec!["/a/program".into(), "/b/program".into()], ENOEXEC)
        );
        assert_eq!(tried(&"x".repeat(4096), &[]), (vec![], ENAMETOOLONG));
    }
}
