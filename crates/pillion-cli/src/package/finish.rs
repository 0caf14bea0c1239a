//! What every program gets after its tool has built it: a look at its format, its signature, its permissions, and its place.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use super::{SUMS, build::Artifact, onedir, process::Failure};
use crate::{
    binary::{self, Content, Native, mach_o, pe_signature},
    project::{Platform, TargetTriple},
};

/// Makes a built program ready for the bundler. Returns notes for people.
///
/// # Errors
///
/// Fails if the file is for another system or processor than the target.
pub(super) fn finish(
    program: &Path,
    name: &str,
    target: &TargetTriple,
    embeds_runtime: bool,
) -> Result<Vec<&'static str>, Failure> {
    let bytes = fs::read(program).map_err(Failure::file("read", program))?;
    let mut notes = Vec::new();
    let native = fits(&bytes, target).map_err(|found| {
        Failure::failed(format!("{} is {found}, not a program for {target}", program.display()))
    })?;
    let wrong = |wrong: String| Failure::failed(format!("cannot sign {}: {wrong}", program.display()));
    match native.map(|native| native.system) {
        // A valid signature stays, also one of the tool itself. A universal program consists of signed ones.
        Some(Platform::MacOs) if target.is_universal() => {}
        Some(Platform::MacOs) if embeds_runtime || mach_o::code_signature::verify(&bytes).is_err() => {
            let entitlements = if embeds_runtime { mach_o::entitlements::JIT.as_slice() } else { &[] };
            let signed = mach_o::sign(bytes, name, entitlements).map_err(wrong)?;
            fs::write(program, signed).map_err(Failure::file("write", program))?;
            notes.push(if embeds_runtime { "signed ad hoc with JIT entitlements" } else { "signed ad hoc" });
        }
        Some(Platform::Windows) if embeds_runtime => {
            let mut bytes = bytes;
            if pe_signature::remove(&mut bytes).map_err(|text| wrong(text.to_owned()))? {
                fs::write(program, bytes).map_err(Failure::file("write", program))?;
                notes.push("the runtime's stale signature removed");
            }
        }
        _ => {}
    }
    make_executable(program).map_err(Failure::file("make executable", program))?;
    Ok(notes)
}

/// A note about a folder whose programs nothing signs for distribution.
pub(super) fn unsigned_folder(artifact: &Artifact, target: &TargetTriple) -> Option<&'static str> {
    let is_folder = matches!(artifact, Artifact::Folder { .. });
    (is_folder && target.platform() == Some(Platform::MacOs)).then_some(
        "Tauri's bundler does not sign programs in a folder: before a release, sign them in build.beforeBundleCommand (docs/package.md)",
    )
}

/// The program of a file, if it is one for the target; `None` for a script, which can run on any processor. Otherwise what the file
/// is.
fn fits(bytes: &[u8], target: &TargetTriple) -> Result<Option<Native>, String> {
    match binary::content(bytes) {
        Content::Script if target.platform() != Some(Platform::Windows) => Ok(None),
        // Only the bundler's file for both processors may be universal.
        Content::Native(native) if native.fits(target) && native.universal == target.is_universal() => {
            Ok(Some(native))
        }
        Content::Native(native) if native.universal => Err(format!("a universal program for {native}")),
        Content::Native(native) => Err(format!("a program for {native}")),
        Content::Script | Content::Empty | Content::Other => Err("no program".to_owned()),
    }
}

/// Puts the program, or the folder with it, where the bundler expects it. A file with the same content is left alone, so that its
/// date does not make Cargo build the app again.
pub(super) fn place(artifact: &Artifact, destination: &Path, sidecar: &str) -> Result<(), Failure> {
    match artifact {
        Artifact::File(program) => place_file(program, destination),
        Artifact::Folder { folder, .. } => onedir::place(folder, destination, sidecar),
    }
}

fn place_file(program: &Path, destination: &Path) -> Result<(), Failure> {
    let bytes = fs::read(program).map_err(Failure::file("read", program))?;
    if fs::read(destination).is_ok_and(|old| old == bytes) {
        return make_executable(destination).map_err(Failure::file("make executable", destination));
    }
    let folder = destination.parent().unwrap_or(destination);
    fs::create_dir_all(folder).map_err(Failure::file("make the folder", folder))?;
    // Complete, or not at all: a bundler may run at the same time.
    let write = || -> std::io::Result<()> {
        let mut unfinished = tempfile::NamedTempFile::new_in(folder)?;
        unfinished.write_all(&bytes)?;
        make_executable(unfinished.path())?;
        unfinished.persist(destination)?;
        Ok(())
    };
    write().map_err(Failure::file("write", destination))
}

/// Sets the execute permission for all users. Without effect on Windows.
fn make_executable(program: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(program, fs::Permissions::from_mode(0o755))?;
    }
    #[cfg(not(unix))]
    let _ = program;
    Ok(())
}

/// Writes the digests of these files into `SHA256SUMS` beside them. Lines of other files that exist stay.
pub(super) fn write_sums(files: &[(PathBuf, String)]) -> Result<(), Failure> {
    let mut folders: Vec<_> = files.iter().filter_map(|(path, _)| path.parent()).collect();
    folders.sort_unstable();
    folders.dedup();
    for folder in folders {
        let path = folder.join(SUMS);
        let new =
            files.iter().filter(|(path, _)| path.parent() == Some(folder)).filter_map(|(path, digest)| {
                Some((path.file_name()?.to_string_lossy().into_owned(), digest.clone()))
            });
        let new: Vec<(String, String)> = new.collect();
        let old = fs::read_to_string(&path).unwrap_or_default();
        let kept = old
            .lines()
            .filter_map(|line| line.split_once("  "))
            .map(|(digest, name)| (name.to_owned(), digest.to_owned()))
            .filter(|(name, _)| !new.iter().any(|(other, _)| other == name) && folder.join(name).is_file());
        let mut lines: Vec<(String, String)> = kept.chain(new.iter().cloned()).collect();
        lines.sort();
        let text: String = lines.iter().map(|(name, digest)| format!("{digest}  {name}\n")).collect();
        if text != old {
            fs::write(&path, text).map_err(Failure::file("write", &path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binary::mach_o::fixture::{ARM64, program};

    fn fits_target(bytes: &[u8], target: &str) -> Result<Option<Platform>, String> {
        fits(bytes, &target.parse().unwrap()).map(|native| native.map(|native| native.system))
    }

    #[test]
    fn a_program_for_another_target_is_named() {
        let bytes = program(ARM64, 16, None);
        assert_eq!(fits_target(&bytes, "aarch64-apple-darwin"), Ok(Some(Platform::MacOs)));
        for target in ["x86_64-apple-darwin", "aarch64-unknown-linux-gnu", "universal-apple-darwin"] {
            assert_eq!(
                fits_target(&bytes, target),
                Err("a program for macOS aarch64".to_owned()),
                "{target}"
            );
        }
        assert_eq!(fits_target(b"", "aarch64-apple-darwin"), Err("no program".to_owned()));
    }

    #[test]
    fn a_script_is_a_program_except_on_windows() {
        assert_eq!(fits_target(b"#!/bin/sh\n", "x86_64-unknown-linux-gnu"), Ok(None));
        assert!(fits_target(b"#!/bin/sh\n", "x86_64-pc-windows-msvc").is_err());
    }

    #[test]
    fn a_macos_program_is_signed_and_a_valid_signature_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (file, target) = (folder.path().join("backend"), "aarch64-apple-darwin".parse().unwrap());
        fs::write(&file, program(ARM64, 16, None)).unwrap();
        assert_eq!(finish(&file, "backend", &target, false), Ok(vec!["signed ad hoc"]));
        let signed = fs::read(&file).unwrap();
        assert_eq!(finish(&file, "other", &target, false), Ok(vec![]));
        assert_eq!(fs::read(&file).unwrap(), signed);
        assert_eq!(finish(&file, "backend", &target, true), Ok(vec!["signed ad hoc with JIT entitlements"]));
        let entitlements = mach_o::code_signature::verify(&fs::read(&file).unwrap()).unwrap().entitlements;
        assert!(entitlements.unwrap().contains("allow-jit"));
    }

    #[test]
    fn a_folder_for_macos_has_a_note_that_nothing_signs_it() {
        let note = |artifact: &Artifact, target: &str| unsigned_folder(artifact, &target.parse().unwrap());
        let folder = Artifact::Folder { folder: PathBuf::from("dist"), program: PathBuf::from("dist/api") };
        assert!(note(&folder, "aarch64-apple-darwin").unwrap().contains("beforeBundleCommand"));
        assert_eq!(note(&folder, "x86_64-unknown-linux-gnu"), None);
        assert_eq!(note(&Artifact::File(PathBuf::from("api")), "aarch64-apple-darwin"), None);
    }

    #[test]
    fn the_same_content_keeps_its_date() {
        let folder = tempfile::tempdir().unwrap();
        let (built, placed) = (folder.path().join("built"), folder.path().join("binaries/placed"));
        fs::write(&built, "program").unwrap();
        place(&Artifact::File(built.clone()), &placed, "backend").unwrap();
        let old = fs::File::options().write(true).open(&placed).unwrap();
        let date = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1);
        old.set_modified(date).unwrap();
        place(&Artifact::File(built), &placed, "backend").unwrap();
        assert_eq!(fs::metadata(&placed).unwrap().modified().unwrap(), date);
    }

    #[test]
    fn sums_keep_the_lines_of_other_files_that_exist() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("a"), "").unwrap();
        fs::write(path(SUMS), "11  a\n22  gone\n33  b\n").unwrap();
        write_sums(&[(path("b"), "44".to_owned())]).unwrap();
        assert_eq!(fs::read_to_string(path(SUMS)).unwrap(), "11  a\n44  b\n");
    }
}
