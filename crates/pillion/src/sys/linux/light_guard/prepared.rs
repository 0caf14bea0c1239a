//! What a launch needs, made before a process is started: the processes themselves cannot allocate.

use std::{
    ffi::{OsStr, c_int},
    io, mem,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    ptr,
    sync::atomic::{AtomicBool, Ordering},
};

use pillion_guard::{
    guard_state::{GuardFds, GuardState, RESUME},
    limits,
    names::GUARD,
};
use rustix::{io::fcntl_dupfd_cloexec, process::Pid};

use super::{
    ASIDE, Ends, LightGuard, Programs,
    children::{Descriptors, GuardLaunch, Launch, Results, SidecarLaunch, become_guard, place},
    path,
    strings::{Pointers, Strings},
    vfork::{BlockedSignals, Stack},
};
use crate::sys::{
    Known, SpawnRequest,
    linux::sweep,
    unix::{PID_PLACEHOLDER, own_variables, reap},
};

/// Variables that only the sidecar gets: they would change the guard itself (ld.so(8)), or are secret. The guard needs none of the others,
/// but is marked by them as part of the run.
const NOT_FOR_THE_GUARD: [&[u8]; 3] = [b"LD_", b"GLIBC_TUNABLES=", b"PILLION_TOKEN="];
/// Where programs are looked for if the environment does not say it.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// A launch, and all that its pointers point to.
pub(super) struct Prepared {
    launch: Box<Launch>,
    /// That of the guard's process, and that of the sidecar's.
    stacks: [Box<Stack>; 2],
    _strings: [Strings; 6],
    _pointers: [Pointers; 7],
    descriptors: Vec<OwnedFd>,
}

/// The descriptors that the processes of a launch share with this one.
#[derive(Default)]
struct Shared {
    /// Those that this process has only for the start.
    own: Vec<OwnedFd>,
    highest: c_int,
}

impl Shared {
    /// Its number, or that of a copy: it must be none of the standard streams, which are replaced, nor a high one.
    fn number(&mut self, fd: BorrowedFd<'_>) -> io::Result<c_int> {
        let first = libc::STDERR_FILENO + 1;
        let number = fd.as_raw_fd();
        if !(first..ASIDE).contains(&number) {
            return Ok(self.keep(fcntl_dupfd_cloexec(fd, first)?));
        }
        self.highest = self.highest.max(number);
        Ok(number)
    }

    fn keep(&mut self, fd: OwnedFd) -> c_int {
        let number = fd.as_raw_fd();
        self.highest = self.highest.max(number);
        self.own.push(fd);
        number
    }
}

impl Prepared {
    /// An error of the kind `InvalidInput` is that of a text in the request.
    pub(super) fn new(
        request: &SpawnRequest,
        stop: &OsStr,
        ends: &Ends<'_>,
        programs: &Programs,
    ) -> io::Result<Self> {
        let mut shared = Shared::default();
        let (numbers, streams) = descriptors(request, ends, programs, &mut shared)?;
        let descriptors = Descriptors { numbers, first: shared.highest + 1 };
        let command = &request.command;
        let words = [command.get_program()].into_iter().chain(command.get_args());
        let directory = command.get_current_dir().map(|directory| directory.as_os_str().as_bytes());
        let (mut environment, pids) = environment(request)?;
        let mut arguments = Strings::new(words.map(OsStr::as_bytes))?;
        let mut files = files(request)?;
        let mut directory = Strings::new(directory)?;
        let (mut guard_arguments, leader) = guard_arguments(request, stop, &descriptors)?;
        let guard_file = path(descriptors.number(place::LIGHT).unwrap_or(-1));
        let mut guard_file = Strings::new([guard_file.as_slice()])?;
        let mut stacks = [Stack::new(), Stack::new()];

        let all = |_: &[u8]| true;
        let is_of_guard = |entry: &[u8]| !NOT_FOR_THE_GUARD.iter().any(|name| entry.starts_with(name));
        let pointers = [
            files.pointers(all),
            arguments.pointers(all),
            environment.pointers(all),
            directory.pointers(all),
            guard_file.pointers(all),
            guard_arguments.pointers(all),
            environment.pointers(is_of_guard),
        ];
        let [
            of_files,
            of_arguments,
            of_environment,
            of_directory,
            of_guard_file,
            of_guard_arguments,
            of_guard_environment,
        ] = pointers.each_ref().map(Vec::as_ptr);
        let launch = Box::new(Launch {
            vfork: programs.vfork,
            descriptors,
            sidecar: SidecarLaunch {
                files: of_files,
                arguments: of_arguments,
                environment: of_environment,
                directory: of_directory,
                streams,
                pid_places: pids.map(|pid| pid.map_or(ptr::null_mut(), |pid| pid.within(&pointers[2]))),
                stack: &raw mut *stacks[1],
            },
            guard: GuardLaunch {
                file: of_guard_file,
                arguments: of_guard_arguments,
                environment: of_guard_environment,
                leader_place: leader.within(&pointers[5]),
            },
            results: Results::default(),
        });
        let strings = [files, arguments, environment, directory, guard_file, guard_arguments];
        Ok(Self { launch, stacks, _strings: strings, _pointers: pointers, descriptors: shared.own })
    }

    /// Starts both processes. The outer error is that of the sidecar's program; after the inner one, neither runs.
    /// Sets `failed` if the sidecar had been started in vain.
    pub(super) fn start(
        mut self,
        request: &SpawnRequest,
        failed: &AtomicBool,
    ) -> io::Result<io::Result<LightGuard>> {
        let started = {
            let _blocked = BlockedSignals::all();
            let stack = &raw mut *self.stacks[0];
            // SAFETY: what the pointers of the launch point to lives until both children have executed their programs, or ended: this call
            // waits for the first one, and the first one for the second; see below for the death of the first one.
            unsafe { self.launch.vfork.start(true, stack, become_guard, &raw const *self.launch) }
        };
        let guard = match started {
            Ok(guard) => guard,
            Err(error) => return Ok(Err(io::Error::from_raw_os_error(error))),
        };
        let results = &self.launch.results;
        let leader = Pid::from_raw(results.leader.load(Ordering::Relaxed));
        let [program_error, guard_error] =
            [&results.program_error, &results.guard_error].map(|error| error.load(Ordering::Relaxed));
        match leader {
            // The guard's process was killed, and did not wait for the sidecar's, which ends, but may still use the memory, also to tell an
            // error: that of the program, or that its parent is gone. It has descriptors of its own.
            _ if results.in_use.load(Ordering::Relaxed) => {
                self.descriptors.clear();
                mem::forget(self);
            }
            _ if program_error != 0 => {
                reap(guard, true);
                return Err(io::Error::from_raw_os_error(program_error));
            }
            Some(leader) if guard_error == 0 => {
                let (start_time, limited) = (results.start_time(), results.limited());
                return Ok(Ok(LightGuard { guard, leader, start_time, limited }));
            }
            // The next one would be no better.
            Some(_) => failed.store(true, Ordering::Relaxed),
            None if guard_error != 0 => {
                reap(guard, true);
                return Ok(Err(io::Error::from_raw_os_error(guard_error)));
            }
            None => {}
        }
        // The guard's process is not reaped yet, so that no other session has this number.
        let known = Known { marker: request.marker.clone(), session: Some(guard), remembered: Vec::new() };
        sweep(&known);
        reap(guard, true);
        Ok(Err(match guard_error {
            0 => io::Error::other("it was killed at its start"),
            error => io::Error::from_raw_os_error(error),
        }))
    }
}

impl Results {
    /// When the sidecar's process was started, in clock ticks since the boot; `None` if a tick has just passed.
    fn start_time(&self) -> Option<u64> {
        let [before, after] = self.started.each_ref().map(|ticks| ticks.load(Ordering::Relaxed));
        (before == after).then_some(before)
    }

    /// What the system has refused to the guard.
    fn limited(&self) -> Option<&'static str> {
        match (self.adopts.load(Ordering::Relaxed), self.wakes.load(Ordering::Relaxed)) {
            (true, true) => None,
            (true, false) => Some(limits::NO_DEATH_SIGNAL),
            (false, _) => Some(limits::NO_SUBREAPER),
        }
    }
}

/// The numbers of the descriptors for the guard, and those of the sidecar's standard streams.
fn descriptors(
    request: &SpawnRequest,
    ends: &Ends<'_>,
    programs: &Programs,
    shared: &mut Shared,
) -> io::Result<([Option<c_int>; place::COUNT], [c_int; 3])> {
    let mut numbers = [None; place::COUNT];
    let stdin = match &request.stdin {
        Some(stdin) => shared.number(stdin.as_fd())?,
        None => {
            let (read, write) = io::pipe()?;
            numbers[place::LIFELINE] = Some(shared.keep(write.into()));
            shared.keep(read.into())
        }
    };
    for (at, fd) in [
        (place::RUN_FILE, request.run_file.as_ref().map(AsFd::as_fd)),
        (place::JOURNAL, request.journal.as_ref().map(|(memory, _)| memory.as_fd())),
        (place::OUTPUTS[0], Some(ends.outputs[0])),
        (place::OUTPUTS[1], Some(ends.outputs[1])),
        (place::FULL, Some(programs.full)),
        (place::CONTROL, Some(ends.control)),
        (place::LISTENER, request.listener.as_ref().map(AsFd::as_fd)),
        (place::LIGHT, Some(programs.light)),
    ] {
        numbers[at] = fd.map(|fd| shared.number(fd)).transpose()?;
    }
    let [stdout, stderr] = ends.streams;
    Ok((numbers, [stdin, shared.number(stdout)?, shared.number(stderr)?]))
}

/// Where a process id belongs: in which text, and from which byte on.
#[derive(Clone, Copy)]
struct PidPlace {
    text: usize,
    offset: usize,
}

impl PidPlace {
    fn within(self, pointers: &Pointers) -> *mut u8 {
        pointers[self.text].cast::<u8>().wrapping_add(self.offset)
    }
}

/// The arguments of the guard, and where the process id of the sidecar belongs.
fn guard_arguments(
    request: &SpawnRequest,
    stop: &OsStr,
    descriptors: &Descriptors,
) -> io::Result<(Strings, PidPlace)> {
    let number = |at| descriptors.number(at).unwrap_or(-1);
    let fds = GuardFds {
        lifeline: descriptors.number(place::LIFELINE),
        run_file: descriptors.number(place::RUN_FILE),
        journal: descriptors.number(place::JOURNAL),
        outputs: place::OUTPUTS.map(number),
        app: None,
    };
    let place = request.journal.as_ref().and_then(|(_, place)| c_int::try_from(*place).ok());
    let state = GuardState { leader: 0, ended: None, asked: false, app_gone: false, place, fds };
    let mut words = String::new();
    let [before @ .., _leader] = state.numbers();
    for number in before {
        words += &number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        words += ",";
    }
    let grace = u64::try_from(request.grace.as_millis()).unwrap_or(u64::MAX).to_string();
    let full = number(place::FULL).to_string();
    let mut arguments = Strings::new([GUARD.to_bytes(), RESUME])?;
    let leader = PidPlace { text: arguments.len(), offset: words.len() };
    arguments.push(&[words.as_bytes(), PID_PLACEHOLDER.as_bytes()])?;
    for argument in [grace.as_bytes(), stop.as_bytes(), full.as_bytes()] {
        arguments.push(&[argument])?;
    }
    Ok((arguments, leader))
}

/// The sidecar's environment, and where its process id belongs.
fn environment(request: &SpawnRequest) -> io::Result<(Strings, [Option<PidPlace>; 2])> {
    let own = own_variables(request);
    let (mut entries, mut pids) = (Strings::default(), [None; 2]);
    for (name, value) in request.command.get_envs() {
        if let Some(value) = value
            && own.iter().all(|(own, _)| *own != name)
        {
            entries.push(&[name.as_bytes(), b"=", value.as_bytes()])?;
        }
    }
    for (name, value) in own {
        if value == PID_PLACEHOLDER
            && let Some(pid) = pids.iter_mut().find(|pid| pid.is_none())
        {
            *pid = Some(PidPlace { text: entries.len(), offset: name.len() + 1 });
        }
        entries.push(&[name.as_bytes(), b"=", value.as_bytes()])?;
    }
    Ok((entries, pids))
}

/// The files that can be the program: the path itself, or the name in each folder of the sidecar's `PATH`.
fn files(request: &SpawnRequest) -> io::Result<Strings> {
    let program = request.command.get_program();
    if program.as_bytes().contains(&b'/') {
        return Strings::new([program.as_bytes()]);
    }
    let path = request.command.get_envs().find(|(name, _)| *name == "PATH").and_then(|(_, path)| path);
    let folders = std::env::split_paths(path.unwrap_or(OsStr::new(DEFAULT_PATH)));
    let files: Vec<_> = folders.map(|folder| folder.join(program)).collect();
    Strings::new(files.iter().map(|file| file.as_os_str().as_bytes()))
}
