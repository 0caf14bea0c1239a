//! Which process listens on a port, and whether a guard is stopping it.
#![expect(unsafe_code, reason = "calls the Windows API")]

use std::{
    ffi::{OsStr, OsString, c_void},
    io,
    num::NonZeroU16,
    os::windows::{
        ffi::{OsStrExt, OsStringExt},
        io::{AsRawHandle, OwnedHandle},
    },
    path::Path,
    ptr,
    time::Duration,
};

use windows_sys::{
    Win32::{
        Foundation::{ERROR_INSUFFICIENT_BUFFER, FALSE, NO_ERROR, TRUE},
        System::Threading::{
            CreateEventW, OpenEventW, PROCESS_NAME_WIN32, PROCESS_QUERY_LIMITED_INFORMATION,
            QueryFullProcessImageNameW, SYNCHRONIZATION_SYNCHRONIZE,
        },
    },
    core::BOOL,
};

use super::{job::done, process};

const AF_INET: u32 = 2;
const TCP_TABLE_OWNER_PID_LISTENER: i32 = 3;
/// How often to look whether a mark is still there.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// How often a table is asked for that grows meanwhile.
const ATTEMPTS: usize = 10;

#[link(name = "iphlpapi")]
unsafe extern "system" {
    /// <https://learn.microsoft.com/en-us/windows/win32/api/iphlpapi/nf-iphlpapi-getextendedtcptable>
    fn GetExtendedTcpTable(
        table: *mut c_void,
        size: *mut u32,
        order: BOOL,
        family: u32,
        class: i32,
        reserved: u32,
    ) -> u32;
}

/// The process that listens on this port of 127.0.0.1: the name of its file, if the system shows it, and its process id.
pub(crate) fn listener_on(port: NonZeroU16) -> Option<String> {
    owners(port).find(|pid| *pid != 0).map(describe)
}

/// Whether a process listens on this port of 127.0.0.1.
pub(crate) fn is_listened_on(port: NonZeroU16) -> bool {
    owners(port).next().is_some()
}

/// The fixed port of a sidecar whose app has ended, and which a guard stops.
#[derive(Debug)]
pub(crate) struct Cleanup(NonZeroU16);

impl Cleanup {
    /// Waits until the guard has stopped the sidecar, or has ended itself, which ends the sidecar as well. Cancel-safe.
    pub(crate) async fn ended(&self) {
        while is_marked(self.0) {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

/// The port, if a guard stops the sidecar that was declared with it.
pub(crate) fn cleanup_on(port: NonZeroU16) -> Option<Cleanup> {
    is_marked(port).then_some(Cleanup(port))
}

/// Says of a port, as long as this value exists, that a guard is stopping its sidecar.
#[derive(Debug)]
pub(super) struct Mark(#[expect(dead_code, reason = "the event exists as long as the handle")] OwnedHandle);

impl Mark {
    pub(super) fn new(port: NonZeroU16) -> io::Result<Self> {
        let name = mark_name(port);
        // SAFETY: the pointer to the security descriptor may be null; the name ends with a zero.
        let event = unsafe { CreateEventW(ptr::null(), TRUE, FALSE, name.as_ptr()) };
        process::owned(event).map(Self)
    }
}

/// Closes the event at once: the mark ends with the guard.
fn is_marked(port: NonZeroU16) -> bool {
    let name = mark_name(port);
    // SAFETY: the name ends with a zero.
    process::owned(unsafe { OpenEventW(SYNCHRONIZATION_SYNCHRONIZE, FALSE, name.as_ptr()) }).is_ok()
}

/// The name of an event, which other programs of the user's session find.
fn mark_name(port: NonZeroU16) -> Vec<u16> {
    OsStr::new(&format!(r"Local\pillion-cleanup-{port}")).encode_wide().chain([0]).collect()
}

/// The ids of the processes that get the connections to this port of 127.0.0.1: those that listen on this address alone come first. The
/// table of IPv4 also has the sockets of IPv6 that take connections of IPv4.
fn owners(port: NonZeroU16) -> impl Iterator<Item = u32> {
    let rank = |address: [u8; 4]| [[127, 0, 0, 1], [0; 4]].iter().position(|it| *it == address);
    let listens = |row: &Row| row.port[..2] == port.get().to_be_bytes();
    let of_port = listening().into_iter().filter(listens);
    let mut found: Vec<_> = of_port.filter_map(|row| Some((rank(row.address)?, row.pid))).collect();
    found.sort_unstable();
    found.into_iter().map(|(_, pid)| pid)
}

/// The sockets of IPv4 that listen. Empty if the system does not tell.
fn listening() -> Vec<Row> {
    /// The number of rows comes first.
    const HEADER: usize = size_of::<u32>();
    let mut table: Vec<u8> = Vec::new();
    for _ in 0..ATTEMPTS {
        let mut size = table.len() as u32;
        // SAFETY: the system writes at most `size` bytes to the table.
        let told = unsafe {
            let space = table.as_mut_ptr().cast();
            GetExtendedTcpTable(space, &raw mut size, FALSE, AF_INET, TCP_TABLE_OWNER_PID_LISTENER, 0)
        };
        match told {
            NO_ERROR => break,
            // With some space for sockets that are opened meanwhile.
            ERROR_INSUFFICIENT_BUFFER => table = vec![0; size as usize + 16 * size_of::<RawRow>()],
            _ => return Vec::new(),
        }
    }
    let Some((count, rows)) = table.split_first_chunk::<HEADER>() else { return Vec::new() };
    let rows = rows.as_chunks().0.iter().take(u32::from_ne_bytes(*count) as usize);
    rows.map(Row::read).collect()
}

/// `MIB_TCPROW_OWNER_PID`: the state, address and port of this end, address and port of the other end, and the process id.
type RawRow = [u8; 24];

struct Row {
    address: [u8; 4],
    /// Two bytes, as they are sent, and two without meaning.
    port: [u8; 4],
    pid: u32,
}

impl Row {
    fn read(row: &RawRow) -> Self {
        let field = |at: usize| [row[at], row[at + 1], row[at + 2], row[at + 3]];
        Self { address: field(4), port: field(8), pid: u32::from_ne_bytes(field(20)) }
    }
}

/// A process as a person knows it: `nginx.exe, process 4711`.
fn describe(pid: u32) -> String {
    match name(pid) {
        Ok(name) => format!("{}, process {pid}", name.to_string_lossy().escape_debug()),
        Err(_) => format!("process {pid}"),
    }
}

fn name(pid: u32) -> io::Result<OsString> {
    /// The longest path of Windows.
    const LONGEST: usize = 32 * 1024;
    let process = process::open(pid, PROCESS_QUERY_LIMITED_INFORMATION)?;
    let mut path = vec![0; LONGEST];
    let mut length = LONGEST as u32;
    // SAFETY: the handle is open, and the system writes at most `length` characters to the path.
    done(unsafe {
        QueryFullProcessImageNameW(
            process.as_raw_handle(),
            PROCESS_NAME_WIN32,
            path.as_mut_ptr(),
            &raw mut length,
        )
    })?;
    let path = OsString::from_wide(&path[..length as usize]);
    Path::new(&path).file_name().map(OsStr::to_owned).ok_or_else(|| io::Error::other("a path without a name"))
}

#[cfg(test)]
mod tests {
    use std::{env, net::TcpListener, process as std_process};

    use super::*;

    #[test]
    fn a_listener_is_found_with_its_process_until_it_is_closed() {
        for address in ["127.0.0.1:0", "0.0.0.0:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let port = NonZeroU16::new(listener.local_addr().unwrap().port()).unwrap();
            assert!(is_listened_on(port));
            let own = env::current_exe().unwrap();
            let own =
                format!("{}, process {}", own.file_name().unwrap().to_string_lossy(), std_process::id());
            // Wine does not tell which process it is.
            assert!(listener_on(port).is_none_or(|said| said == own));
            drop(listener);
            assert!(!is_listened_on(port) && listener_on(port).is_none());
            assert!(describe(std_process::id()) == own);
        }
    }

    #[test]
    fn a_port_is_waited_for_while_it_is_marked() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = NonZeroU16::new(listener.local_addr().unwrap().port()).unwrap();
        assert!(cleanup_on(port).is_none());
        let mark = Mark::new(port).unwrap();
        assert!(cleanup_on(port).is_some());
        drop(mark);
        assert!(cleanup_on(port).is_none());
    }
}
