//! Which process listens on a port, and whether a guard is stopping it. Type-checked only; never run on a Mac.

use std::{
    ffi::{OsStr, c_int},
    io,
    mem::size_of,
    net::Ipv4Addr,
    num::NonZeroU16,
    os::unix::ffi::OsStrExt,
    path::Path,
    ptr,
    time::Duration,
};

use pillion_guard::{
    names,
    processes::{self, search::ProcessInfo},
};
use rustix::process::Pid;

use super::peer::program;

/// How often to look whether a guard has ended: no event tells of a process that is not our child.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The process that listens on this port of 127.0.0.1: its name and process id, if the system shows them. Asks about each descriptor of the
/// user's processes: call it off the runtime.
pub(crate) fn listener_on(port: NonZeroU16) -> Option<String> {
    let pid = owners(port).next()?;
    let path = Pid::from_raw(pid).and_then(|pid| program(pid).ok()).unwrap_or_default();
    let name = Path::new(OsStr::from_bytes(&path)).file_name().unwrap_or_default();
    Some(format!("{}, process {pid}", name.to_string_lossy().escape_debug()))
}

/// A guard whose app has ended, and which stops the app's sidecar.
#[derive(Debug)]
pub(crate) struct Cleanup(ProcessInfo);

impl Cleanup {
    /// Waits until nothing of the sidecar is left. Cancel-safe.
    pub(crate) async fn ended(&self) {
        while super::exists(self.0.pid, self.0.unique_id) {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

/// The guard that stops the server on this port, if the app of that server has ended. Asks as [`listener_on`] does.
pub(crate) fn cleanup_on(port: NonZeroU16) -> Option<Cleanup> {
    /// The process id of launchd, the parent of a process whose own one has ended: here, the app.
    const LAUNCHD: i32 = 1;
    let mut process = processes::find(owners(port).next()?)?;
    while process.parent > LAUNCHD {
        process = processes::find(process.parent)?;
    }
    is_guard(process.pid).then_some(Cleanup(process))
}

/// Whether a process executes the guard's file. The app's own program as the guard looks like another instance of the app, for whose end a
/// start must not wait.
fn is_guard(pid: i32) -> bool {
    let path = Pid::from_raw(pid).and_then(|pid| program(pid).ok());
    path.is_some_and(|path| path.rsplit(|byte| *byte == b'/').next() == Some(names::GUARD.to_bytes()))
}

/// The processes of this user that listen on this port of 127.0.0.1.
fn owners(port: NonZeroU16) -> impl Iterator<Item = i32> {
    let listens = move |pid: &i32| {
        sockets(*pid).into_iter().flatten().any(|socket| socket.is_some_and(|socket| socket.listens_on(port)))
    };
    processes::pids().unwrap_or_default().into_iter().filter(listens)
}

/// `struct in_sockinfo` of `<sys/proc_info.h>`.
#[repr(C)]
struct InSockInfo {
    foreign_port: c_int,
    /// In the order of the network, in the lower half.
    local_port: c_int,
    generation: u64,
    flags: u32,
    flow: u32,
    version: u8,
    ttl: u8,
    reserved: u32,
    foreign_address: [u8; 16],
    /// Of IPv4 in the last four bytes.
    local_address: [u8; 16],
    of_4: u32,
    of_6: [u32; 3],
}

/// `struct socket_fdinfo` of a TCP socket, there.
#[repr(C)]
struct SocketFdInfo {
    file: [u64; 3],
    stat: [u64; 17],
    socket: u64,
    control_block: u64,
    socket_type: c_int,
    protocol: c_int,
    family: c_int,
    options: [u16; 8],
    out_of_band_mark: u32,
    buffers: [u32; 12],
    kind: c_int,
    reserved: u32,
    internet: InSockInfo,
    state: c_int,
    /// What else belongs to TCP, and the space for the longest kind.
    rest: [u32; 111],
}

// The kernel refuses a structure of another size.
const _: () = assert!(size_of::<SocketFdInfo>() == 792 && size_of::<InSockInfo>() == 80);

impl SocketFdInfo {
    fn listens_on(&self, port: NonZeroU16) -> bool {
        const SOCKINFO_TCP: c_int = 2;
        const TSI_S_LISTEN: c_int = 1;
        const INI_IPV4: u8 = 1;
        let [.., a, b, c, d] = self.internet.local_address;
        self.kind == SOCKINFO_TCP
            && self.state == TSI_S_LISTEN
            && self.internet.version & INI_IPV4 != 0
            && (self.internet.local_port as u16).to_ne_bytes() == port.get().to_be_bytes()
            && [Ipv4Addr::LOCALHOST, Ipv4Addr::UNSPECIFIED].contains(&Ipv4Addr::new(a, b, c, d))
    }
}

/// The sockets of a process; `None` for one that was closed meanwhile.
fn sockets(pid: i32) -> io::Result<impl Iterator<Item = Option<SocketFdInfo>>> {
    const PROX_FDTYPE_SOCKET: u32 = 2;
    let sockets = descriptors(pid)?.into_iter().filter(|open| open.proc_fdtype == PROX_FDTYPE_SOCKET);
    Ok(sockets.map(move |open| socket(pid, open.proc_fd)))
}

/// What a descriptor of a process refers to (`PROC_PIDFDSOCKETINFO`, `sys/proc_info.h`).
fn socket(pid: i32, descriptor: i32) -> Option<SocketFdInfo> {
    const PROC_PIDFDSOCKETINFO: c_int = 3;
    const SIZE: c_int = size_of::<SocketFdInfo>().cast_signed() as c_int;
    // SAFETY: the structure has only numbers, for which zero is valid.
    let mut info: SocketFdInfo = unsafe { std::mem::zeroed() };
    // SAFETY: the system writes at most `SIZE` bytes to `info`, which has that size and accepts any bytes.
    let written =
        unsafe { libc::proc_pidfdinfo(pid, descriptor, PROC_PIDFDSOCKETINFO, (&raw mut info).cast(), SIZE) };
    (written == SIZE).then_some(info)
}

/// The open descriptors of a process (`PROC_PIDLISTFDS`, `sys/proc_info.h`).
pub(super) fn descriptors(pid: i32) -> io::Result<Vec<libc::proc_fdinfo>> {
    /// For descriptors that are opened between the two calls.
    const SPARE: usize = 32;
    let list = |space: *mut libc::proc_fdinfo, size: c_int| {
        // SAFETY: the system writes at most `size` bytes to the space, and nothing to a null pointer.
        let size = unsafe { libc::proc_pidinfo(pid, libc::PROC_PIDLISTFDS, 0, space.cast(), size) };
        usize::try_from(size).unwrap_or(0) / size_of::<libc::proc_fdinfo>()
    };
    // Without space, it tells how many the table of the process can hold. libproc returns 0 for an error.
    let most = list(ptr::null_mut(), 0);
    if most == 0 {
        return Err(io::Error::last_os_error());
    }
    let mut space: Vec<libc::proc_fdinfo> = Vec::with_capacity(most + SPARE);
    let size = c_int::try_from((most + SPARE) * size_of::<libc::proc_fdinfo>()).map_err(io::Error::other)?;
    let listed = list(space.as_mut_ptr(), size).min(most + SPARE);
    // SAFETY: the system has written so many.
    unsafe { space.set_len(listed) };
    Ok(space)
}
