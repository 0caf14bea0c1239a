//! `cargo xtask alpine ROOT`: the command line and the backend of AIOS, built for musl, in a root of Alpine Linux. `cargo xtask test` does not
//! include it; run it by hand, as root (chroot(2)).
//!
//! `ROOT` is the folder of an installed Alpine, or of any system with a shell at `/bin/sh` and the usual commands. It sees neither the
//! processes nor the mounts of this machine. The programs are static, so that the root needs no library.

use std::{fs, path::Path, process::ExitCode};

use anyhow::Result;
use xshell::cmd;

use crate::{steps::Steps, workspace::Workspace};

const TARGET: &str = "x86_64-unknown-linux-musl";
/// Below the root.
const FOLDER: &str = "pillion-test";
/// The packages of the programs, with their names.
const PROGRAMS: [(&str, &str); 3] =
    [("pillion-cli", "pillion"), ("aios-backend", "backend"), ("integration-tests", "fake-sidecar")];

/// Runs in the root. Each loop waits for an event, and timeout(1) ends a script that hangs.
const SCRIPT: &str = r#"set -eu
mount -t proc none /proc
mount -t devtmpfs none /dev
cd /pillion-test
mkdir -p run logs
chmod 700 run
export XDG_RUNTIME_DIR="$PWD/run"

# Starts a sidecar, waits until it is ready, kills pillion, and waits until nothing is left.
survive() {
    name=$1
    shift
    : > "$name.out"
    ./pillion run --name "$name" --log-dir logs --grace 1h "$@" > "$name.out" 2>&1 &
    app=$!
    until grep -q "is ready at" "$name.out"; do
        kill -0 "$app" || { cat "$name.out"; exit 1; }
        sleep 0.1
    done
    ./pillion ps | grep -q "$name"
    # The light guard needs glibc.
    guard=$(ls -l /proc/[0-9]*/exe 2> /dev/null | grep -c "memfd:pillion-guard" || true)
    test "$guard" = 1 || { echo "$guard guards"; exit 1; }
    kill -9 "$app"
    while ls -l /proc/[0-9]*/exe 2> /dev/null | grep -q -e pillion -e backend -e fake-sidecar; do sleep 0.1; done
    grep -q "is stopped by its guard, because the app has died" logs/"$name"/*.log
    grep "exited with code" logs/"$name"/*.log
}

survive backend --private -- ./backend
# A child that ends by the signal alone, and a state that takes a while to save.
survive saves -- ./fake-sidecar listen ok fork park \; announce term cpu 500 out saved\\n exit 7
grep -q "stdout .* saved" logs/saves/*.log
grep -q "exited with code 7" logs/saves/*.log

status=0
./pillion run -- ./fake-sidecar listen ok announce exit 3 || status=$?
test "$status" = 125 -o "$status" = 3
"#;

pub(crate) fn run(workspace: &Workspace, root: &Path) -> Result<ExitCode> {
    let sh = workspace.shell()?;
    let mut done = false;
    let code = Steps::run_all(workspace.target.join("xtask-alpine"), |steps| {
        let packages = PROGRAMS.iter().flat_map(|(package, _)| ["--package", package]);
        steps.run("build for musl", cmd!(sh, "cargo build --target {TARGET} --bins {packages...}"))?;
        let folder = root.join(FOLDER);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        sh.create_dir(&folder)?;
        for (_, program) in PROGRAMS {
            sh.copy_file(workspace.target.join(TARGET).join("debug").join(program), &folder)?;
        }
        // The namespace of process ids ends all that is left.
        let sandbox = cmd!(
            sh,
            "unshare --pid --mount --fork --kill-child timeout 120 chroot {root} /bin/sh -c {SCRIPT}"
        );
        steps.run("in the root", sandbox)?;
        done = true;
        Ok(())
    })?;
    // No step counts tests.
    Ok(if done { ExitCode::SUCCESS } else { code })
}
