//! Senders of datagrams and peers of sockets, as the kernel names them (`unix(7)`, `SCM_CREDENTIALS` and `SO_PEERCRED`).

#![expect(unsafe_code, reason = "calls of libc")]

use std::{
    io::{self, IoSliceMut},
    mem::{self, MaybeUninit},
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
    ptr,
};

/// A datagram.
#[derive(Debug)]
pub(crate) struct Datagram {
    /// How many bytes of the buffer it has.
    pub(crate) length: usize,
    /// Whether it was longer than the buffer.
    pub(crate) truncated: bool,
    /// The process that sent it, as the kernel knows it. `None` for a process of a PID namespace that is not below ours.
    pub(crate) sender: Option<i32>,
    /// The descriptors that it passes. Dropping them closes them.
    pub(crate) descriptors: Vec<OwnedFd>,
}

/// Receives one datagram. The socket must have `SO_PASSCRED`.
///
/// Not by `rustix`: its credentials have no form for a process of another PID namespace, whose number is 0.
pub(crate) fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Datagram> {
    // Space for the credentials and the descriptors, aligned for `cmsghdr`. More descriptors are cut off, and the kernel closes them.
    let mut control = [MaybeUninit::<u64>::uninit(); 32];
    let mut parts = [IoSliceMut::new(buffer)];
    // SAFETY: `msghdr` has integers and pointers alone, for which zero is valid.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    // `IoSliceMut` has the layout of `iovec` on Unix, as std documents.
    header.msg_iov = ptr::from_mut(&mut parts).cast();
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of_val(&control) as _;
    // SAFETY: the header points to one buffer and to the control buffer, both live and writable, and gives their lengths.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_CMSG_CLOEXEC) };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    let mut datagram = Datagram {
        length,
        truncated: header.msg_flags & libc::MSG_TRUNC != 0,
        sender: None,
        descriptors: Vec::new(),
    };
    // SAFETY: recvmsg has filled the control buffer, and the header gives its length.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(&raw const header) };
    while !message.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR return headers that lie within the control buffer.
        let &libc::cmsghdr { cmsg_len, cmsg_level, cmsg_type, .. } = unsafe { &*message };
        // SAFETY: the data follow the header within the buffer; `cmsg_len` bounds them.
        let data = unsafe { libc::CMSG_DATA(message) };
        #[cfg_attr(
            target_env = "gnu",
            expect(clippy::unnecessary_cast, reason = "the length is a u32 with musl")
        )]
        // SAFETY: the function does arithmetic alone.
        let bytes = (cmsg_len as usize).saturating_sub(unsafe { libc::CMSG_LEN(0) } as usize);
        match (cmsg_level, cmsg_type) {
            (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) if bytes >= size_of::<libc::ucred>() => {
                // SAFETY: the kernel wrote a `ucred` there, and its length was checked.
                let sender = unsafe { data.cast::<libc::ucred>().read_unaligned() };
                datagram.sender = (sender.pid > 0).then_some(sender.pid);
            }
            (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
                for index in 0..bytes / size_of::<libc::c_int>() {
                    // SAFETY: the kernel wrote so many descriptors there, and each is ours alone.
                    datagram.descriptors.push(unsafe {
                        OwnedFd::from_raw_fd(data.cast::<libc::c_int>().add(index).read_unaligned())
                    });
                }
            }
            _ => {}
        }
        // SAFETY: `message` lies within the control buffer of the header.
        message = unsafe { libc::CMSG_NXTHDR(&raw const header, message) };
    }
    Ok(datagram)
}

/// The process that created or connected the other end of a Unix stream socket. `None` if there is none, or if it is of a PID namespace
/// that is not below ours.
///
/// Not by `rustix`, as above.
pub(in super::super) fn peer(socket: BorrowedFd<'_>) -> Option<i32> {
    let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = size_of_val(&peer) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `peer`, for which every value is valid.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut length,
        )
    };
    (result == 0 && length as usize == size_of_val(&peer) && peer.pid > 0).then_some(peer.pid)
}

#[cfg(test)]
mod tests {
    use std::os::{fd::AsFd as _, unix::net::UnixDatagram};

    use super::*;

    #[test]
    fn the_kernel_names_the_sender() {
        let (sender, receiver) = UnixDatagram::pair().unwrap();
        rustix::net::sockopt::set_socket_passcred(&receiver, true).unwrap();
        sender.send(b"READY=1").unwrap();
        let mut buffer = [0; 4];
        let datagram = receive(receiver.as_fd(), &mut buffer).unwrap();
        assert_eq!((datagram.length, &buffer, datagram.truncated), (4, b"READ", true));
        assert_eq!(datagram.sender, Some(std::process::id().cast_signed()));
        assert!(datagram.descriptors.is_empty());
    }

    #[test]
    fn the_kernel_names_the_peer() {
        use std::{net::TcpListener, os::unix::net::UnixStream};

        let (socket, _peer) = UnixStream::pair().unwrap();
        assert_eq!(peer(socket.as_fd()), Some(std::process::id().cast_signed()));
        assert_eq!(peer(TcpListener::bind("127.0.0.1:0").unwrap().as_fd()), None);
        assert_eq!(peer(io::pipe().unwrap().0.as_fd()), None);
    }

    #[test]
    fn descriptors_are_closed_with_their_datagram() {
        use std::{io::Read as _, mem::MaybeUninit};

        use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

        let (sender, receiver) = UnixDatagram::pair().unwrap();
        rustix::net::sockopt::set_socket_passcred(&receiver, true).unwrap();
        let (mut reader, writer) = io::pipe().unwrap();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let writers = [writer.as_fd()];
        assert!(control.push(SendAncillaryMessage::ScmRights(&writers)));
        let text = [io::IoSlice::new(b"BARRIER=1")];
        sendmsg(&sender, &text, &mut control, SendFlags::empty()).unwrap();
        drop(writer);
        let datagram = receive(receiver.as_fd(), &mut [0; 64]).unwrap();
        assert_eq!(datagram.descriptors.len(), 1);
        drop(datagram);
        assert_eq!(reader.read(&mut [0]).unwrap(), 0, "no descriptor of the writer is left");
    }
}
