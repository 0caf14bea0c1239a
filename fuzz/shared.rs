//! Functions that the fuzz targets of every crate share. Each crate includes this file.

/// Replaces each `placeholder` in `bytes` by `value`, which a fuzzer cannot guess.
pub(crate) fn fill(mut bytes: &[u8], placeholder: &[u8], value: &[u8]) -> Vec<u8> {
    let mut filled = Vec::new();
    while let Some(at) = bytes.windows(placeholder.len()).position(|window| window == placeholder) {
        filled.extend_from_slice(&bytes[..at]);
        filled.extend_from_slice(value);
        bytes = &bytes[at + placeholder.len()..];
    }
    filled.extend_from_slice(bytes);
    filled
}

/// Calls `target` with each file of its committed corpus. Panics with the name of a file that fails.
#[cfg(test)]
pub(crate) fn replay(name: &str, target: fn(&[u8])) {
    use std::{fs, path::Path};

    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
    let files = fs::read_dir(&corpus).unwrap_or_else(|error| panic!("{}: {error}", corpus.display()));
    let mut replayed = 0;
    for file in files {
        let file = file.unwrap().path();
        let bytes = fs::read(&file).unwrap();
        if let Err(panic) = std::panic::catch_unwind(|| target(&bytes)) {
            panic!("{} fails: {panic:?}", file.display());
        }
        replayed += 1;
    }
    assert!(replayed > 0, "{} is empty", corpus.display());
}
