//! Executes the sidecar's program in the process that the guard has forked.

use std::{
    env,
    ffi::{CString, OsStr},
    io,
    os::unix::{
        ffi::{OsStrExt as _, OsStringExt as _},
        process::CommandExt as _,
    },
    process::Command,
};

use super::{
    ENOENT, SIG_DFL, SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM,
    child_environment::{self, environment},
    execve, getpid, getppid, platform, signal,
};

/// Prepares the command: its process undoes what `detach` did to signals, dies with this process, and executes the program.
///
/// The process calls execve(2) itself. std would call execvp(3), which runs a file of unknown format with a shell; here such
/// a file must be an error.
pub(crate) fn bind_to_this_process(command: &mut Command, listener: bool) -> io::Result<()> {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<CString> = words.map(|word| CString::new(word.as_bytes())).collect::<Result<_, _>>()?;
    let files = candidates(command.get_program())?;
    // SAFETY: getpid(2) has no preconditions; the closure calls only async-signal-safe functions between fork and exec.
    // Pointers are not `Send`, so the closure holds the arguments' addresses as integers.
    unsafe {
        let guard = getpid();
        let mut arguments: Vec<usize> = words.iter().map(|word| word.as_ptr() as usize).collect();
        arguments.push(0);
        command.pre_exec(move || {
            let _keep = &words;
            for ignored in [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGCHLD] {
                signal(ignored, SIG_DFL);
            }
            platform::become_sidecar();
            // The guard may have died before the death signal was set.
            if getppid() != guard {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            if listener {
                child_environment::name_process(environment(), b"LISTEN_PID=", getpid());
            }
            child_environment::name_process(environment(), b"WATCHDOG_PID=", getpid());
            let mut error = io::Error::from_raw_os_error(ENOENT);
            for file in &files {
                execve(file.as_ptr(), arguments.as_ptr().cast(), environment());
                let last = io::Error::last_os_error();
                match last.kind() {
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {}
                    io::ErrorKind::PermissionDenied => error = last,
                    _ => return Err(last),
                }
            }
            Err(error)
        });
    }
    Ok(())
}

/// The files that a program name may mean: the path itself, or else one file in each folder of `PATH`.
fn candidates(program: &OsStr) -> io::Result<Vec<CString>> {
    if program.as_bytes().contains(&b'/') {
        return Ok(vec![CString::new(program.as_bytes())?]);
    }
    let path = env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    let files = env::split_paths(&path).map(|folder| folder.join(program));
    Ok(files.map(|file| CString::new(file.into_os_string().into_vec())).collect::<Result<_, _>>()?)
}
