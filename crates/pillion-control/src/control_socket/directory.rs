//! The directory of the sockets, which only its user can open.

use std::{
    env,
    fs::{self, DirBuilder, Metadata},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use rustix::process::geteuid;

use crate::ControlError;

/// The bit of a directory whose files only their owners can remove and rename, such as `/tmp` (inode(7)).
const STICKY: u32 = 0o1000;

/// A place for sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Directory {
    path: PathBuf,
    /// The user that must own it.
    user: u32,
}

impl Directory {
    /// The directory of this user's apps: in `XDG_RUNTIME_DIR` if that is a directory of this user, or else in the directory for
    /// temporary files. After `su`, the variable can name the directory of another user.
    pub(super) fn own() -> Self {
        let user = geteuid().as_raw();
        let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        match runtime.filter(|path| is_of_user(path, user)) {
            Some(runtime) => Self::in_runtime(&runtime, user),
            None => Self::in_temporary(&env::temp_dir(), user),
        }
    }

    /// All directories where apps of this user can have sockets. The environment of an app can differ from that of this process: one
    /// that is not started in the user's session may lack `XDG_RUNTIME_DIR`, and one that is may lack `TMPDIR`.
    pub(super) fn all() -> Vec<Self> {
        let user = geteuid().as_raw();
        let mut all = vec![Self::own()];
        if cfg!(target_os = "linux") {
            // Where systemd puts it (pam_systemd(8)).
            all.push(Self::in_runtime(&Path::new("/run/user").join(user.to_string()), user));
        }
        all.push(Self::in_temporary(&env::temp_dir(), user));
        all.push(Self::in_temporary(Path::new("/tmp"), user));
        let mut distinct = Vec::new();
        for directory in all {
            if !distinct.contains(&directory) {
                distinct.push(directory);
            }
        }
        distinct
    }

    fn in_runtime(runtime: &Path, user: u32) -> Self {
        Self { path: runtime.join("pillion"), user }
    }

    fn in_temporary(folder: &Path, user: u32) -> Self {
        Self { path: folder.join(format!("pillion-{user}")), user }
    }

    /// This directory, for a test.
    #[cfg(test)]
    pub(super) fn at(path: PathBuf) -> Self {
        Self { path, user: geteuid().as_raw() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Creates it if it is missing, and checks that only this user can open it.
    pub(super) fn create(&self) -> Result<(), ControlError> {
        match DirBuilder::new().mode(0o700).create(&self.path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(ControlError::io("create", &self.path)(error)),
        }
        self.check()
    }

    /// Whether it exists. If so, checks that only this user can open it.
    pub(super) fn exists(&self) -> Result<bool, ControlError> {
        match self.path.symlink_metadata() {
            Ok(_) => self.check().map(|()| true),
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    || error.kind() == io::ErrorKind::NotADirectory =>
            {
                Ok(false)
            }
            Err(error) => Err(ControlError::io("look at", &self.path)(error)),
        }
    }

    /// Once checked, it stays what it is: other users can neither open it nor replace it in its parent.
    fn check(&self) -> Result<(), ControlError> {
        let path = self.path.clone();
        let found = path.symlink_metadata().map_err(ControlError::io("look at", &path))?;
        if found.is_symlink() {
            return Err(ControlError::Link(path));
        }
        if !found.is_dir() {
            return Err(ControlError::NotDirectory(path));
        }
        if found.uid() != self.user {
            return Err(ControlError::Foreign { path, owner: found.uid() });
        }
        if permissions(&found) & 0o077 != 0 {
            return Err(ControlError::OpenToOthers { path, mode: permissions(&found) });
        }
        let parent = path.parent().unwrap_or(Path::new("/")).to_owned();
        let around = fs::metadata(&parent).map_err(ControlError::io("look at", &parent))?;
        let mode = permissions(&around);
        let replaceable = mode & 0o022 != 0 && mode & STICKY == 0;
        if replaceable || ![0, self.user].contains(&around.uid()) {
            return Err(ControlError::ParentOpenToOthers { path: parent, mode });
        }
        Ok(())
    }
}

fn permissions(of: &Metadata) -> u32 {
    of.mode() & 0o7777
}

fn is_of_user(path: &Path, user: u32) -> bool {
    path.is_absolute() && fs::metadata(path).is_ok_and(|found| found.is_dir() && found.uid() == user)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

    use super::*;

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn in_new_folder() -> (tempfile::TempDir, Directory) {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::in_runtime(folder.path(), geteuid().as_raw());
        (folder, directory)
    }

    #[test]
    fn a_missing_directory_is_created_for_its_user_alone() {
        let (_folder, directory) = in_new_folder();
        assert!(!directory.exists().unwrap());
        directory.create().unwrap();
        assert_eq!(permissions(&fs::metadata(directory.path()).unwrap()), 0o700);
        assert!(directory.exists().unwrap());
        directory.create().unwrap();
    }

    #[test]
    fn a_symbolic_link_is_refused_also_to_a_directory_of_this_user() {
        let (folder, directory) = in_new_folder();
        let target = folder.path().join("target");
        DirBuilder::new().mode(0o700).create(&target).unwrap();
        symlink(&target, directory.path()).unwrap();
        let error = directory.create().unwrap_err();
        assert!(error.to_string().contains("is a symbolic link"), "{error}");
        assert!(directory.exists().is_err());
        assert_eq!(fs::read_dir(target).unwrap().count(), 0);
    }

    #[test]
    fn a_file_and_a_directory_that_others_can_open_are_refused() {
        let (_folder, directory) = in_new_folder();
        fs::write(directory.path(), "").unwrap();
        assert!(matches!(directory.create(), Err(ControlError::NotDirectory(_))));
        fs::remove_file(directory.path()).unwrap();
        directory.create().unwrap();
        for open in [0o750, 0o701, 0o770] {
            mode(directory.path(), open);
            let error = directory.create().unwrap_err().to_string();
            assert!(error.contains("chmod 700") && error.contains(&format!("{open:04o}")), "{error}");
        }
    }

    #[test]
    fn a_directory_that_others_can_replace_is_refused() {
        let (folder, directory) = in_new_folder();
        directory.create().unwrap();
        mode(folder.path(), 0o777);
        assert!(matches!(directory.create(), Err(ControlError::ParentOpenToOthers { mode: 0o777, .. })));
        mode(folder.path(), 0o1777);
        directory.create().unwrap();
    }

    #[test]
    fn a_directory_of_another_user_is_refused() {
        let (_folder, mut directory) = in_new_folder();
        directory.create().unwrap();
        if geteuid().is_root() {
            chown(directory.path(), Some(54_321), None).unwrap();
            assert!(matches!(directory.create(), Err(ControlError::Foreign { owner: 54_321, .. })));
        }
        // The same from the other side: another user finds the directory of this one.
        chown(directory.path(), Some(geteuid().as_raw()), None).unwrap();
        directory.user += 1;
        let error = directory.create().unwrap_err().to_string();
        assert!(error.contains("belongs to the user with the id"), "{error}");
    }

    #[test]
    fn a_runtime_directory_of_another_user_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let user = geteuid().as_raw();
        assert!(is_of_user(folder.path(), user));
        assert!(!is_of_user(folder.path(), user + 1));
        assert!(!is_of_user(Path::new("relative"), user));
        assert!(!is_of_user(&folder.path().join("missing"), user));
    }
}
