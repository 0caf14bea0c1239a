//! A directory that is not safe for the control socket: it is refused, and the program runs without it.

use std::{
    fs::{self, DirBuilder},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, chown, symlink},
};

use integration_tests::run;

use crate::{control::User, support::words};

/// The program runs to its end, says on stderr why it has no socket, and `ps` says the same.
async fn is_refused(user: &User, because: &str) {
    let ended = user.start(words("", "listen ok announce out served\\n exit 3")).end().await;
    assert!(ended.status == 3 || ended.status == 125, "the exit of the program: {}", ended.status);
    assert_eq!(String::from_utf8(ended.stdout).unwrap().lines().last(), Some("served"));
    let socket = user.sockets().display().to_string();
    assert!(
        ended.stderr.contains("other programs cannot look at this one: ")
            && ended.stderr.contains(because)
            && ended.stderr.contains(&socket),
        "{}",
        ended.stderr
    );
    let ps = user.pillion("ps").await;
    assert!(ps.status == 0 && ps.stderr.contains(because), "{}", ps.stderr);
    let quiet = user.start(words("--no-control", "out served\\n exit 3")).end().await;
    assert!(!quiet.stderr.contains("other programs"), "{}", quiet.stderr);
}

#[test]
fn a_symbolic_link_is_refused() {
    run(async {
        let user = User::new();
        let elsewhere = tempfile::tempdir().unwrap();
        symlink(elsewhere.path(), user.sockets()).unwrap();
        is_refused(&user, "is a symbolic link").await;
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    });
}

#[test]
fn a_directory_that_others_can_open_is_refused() {
    run(async {
        let user = User::new();
        DirBuilder::new().mode(0o700).create(user.sockets()).unwrap();
        fs::set_permissions(user.sockets(), fs::Permissions::from_mode(0o755)).unwrap();
        is_refused(&user, "(mode 0755): run `chmod 700").await;
    });
}

#[test]
fn a_directory_of_another_user_is_refused() {
    run(async {
        if !rustix::process::geteuid().is_root() {
            // Only root can give a directory to another user. The unit tests of pillion-control show the same without it.
            return;
        }
        let user = User::new();
        DirBuilder::new().mode(0o700).create(user.sockets()).unwrap();
        chown(user.sockets(), Some(54_321), None).unwrap();
        is_refused(&user, "belongs to the user with the id 54321").await;
    });
}
