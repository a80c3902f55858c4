//! Sockets: what `net` needs of `socket2`, and the calls that it does not have.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

pub(crate) use socket2::{Domain, SockAddr, SockAddrStorage, SockRef, Socket, Type};

/// Accepts one connection; the new descriptor is non-blocking and closed on `exec`.
///
/// `socket2::Socket::accept` would take a second call to make it non-blocking.
///
/// # Errors
///
/// Those of `accept4(2)`: `WouldBlock` when nobody is waiting on a non-blocking listener, `Interrupted` as it is.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
pub(crate) fn accept_nonblocking(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, SockAddr)> {
    use std::os::fd::{AsRawFd, FromRawFd};

    let accept = |storage: *mut socket2::SockAddrStorage, length: *mut socket2::socklen_t| {
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: `try_init` gives storage of `*length` bytes, which outlives the call.
        let fd = unsafe { libc::accept4(listener.as_raw_fd(), storage.cast(), length, flags) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: accept4 returned a fresh descriptor.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    };
    // SAFETY: accept4 wrote an address of the listener's family and set its length.
    unsafe { SockAddr::try_init(accept) }
}

/// Accepts one connection; the new descriptor is non-blocking and closed on `exec`.
///
/// # Errors
///
/// Those of `accept(2)`: `WouldBlock` when nobody is waiting on a non-blocking listener, `Interrupted` as it is.
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
pub(crate) fn accept_nonblocking(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, SockAddr)> {
    let (socket, peer) = SockRef::from(&listener).accept()?;
    socket.set_nonblocking(true)?;
    Ok((OwnedFd::from(socket), peer))
}

/// What an error of `accept` means for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AcceptFailure {
    /// It was about a connection that has gone: the next one may do.
    Connection,
    /// Something has run out, or it is an error that we know nothing of: not before something has changed.
    NotNow,
    /// It is no listener.
    Listener,
}

/// What this error of `accept(2)` means.
///
/// Linux hands on what has happened to a connection before it was accepted.
pub(crate) fn accept_failure(error: &io::Error) -> AcceptFailure {
    match error.raw_os_error() {
        Some(
            libc::ECONNABORTED
            | libc::ECONNRESET
            | libc::EPROTO
            | libc::ENOPROTOOPT
            | libc::ENETDOWN
            | libc::ENETUNREACH
            | libc::EHOSTDOWN
            | libc::EHOSTUNREACH
            | libc::ETIMEDOUT,
        ) => AcceptFailure::Connection,
        #[cfg(any(target_os = "linux", target_os = "android"))]
        Some(libc::ENONET) => AcceptFailure::Connection,
        Some(libc::EBADF | libc::EINVAL | libc::ENOTSOCK) => AcceptFailure::Listener,
        _ => AcceptFailure::NotNow,
    }
}

/// Lets the socket have its port together with others of this kind, each of which gets a part of what comes.
///
/// # Errors
///
/// Those of `setsockopt(2)`: `SO_REUSEPORT`.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn share_port(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

/// Lets the socket have its port together with others of this kind, each of which gets a part of what comes.
///
/// # Errors
///
/// Those of `setsockopt(2)`: `SO_REUSEPORT_LB`.
#[cfg(target_os = "freebsd")]
pub(crate) fn share_port(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port_lb(true)
}

/// Where `SO_REUSEPORT` exists as well, one of the sockets gets all that comes.
///
/// # Errors
///
/// `Unsupported`.
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
pub(crate) fn share_port(_: &Socket) -> io::Result<()> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "this system does not spread what comes to a port over several sockets",
    ))
}

/// Whether a non-blocking `connect` is under way.
pub(crate) fn in_progress(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EINPROGRESS)
}

/// One datagram that has been received.
#[derive(Debug)]
pub(crate) struct Received {
    /// Bytes in its piece.
    pub(crate) len: usize,
    pub(crate) from: SockAddr,
    /// It was longer than its piece.
    pub(crate) truncated: bool,
}

/// Receives the datagrams that are there into the pieces of `data`, `size` bytes each, without waiting; tells `each`, in order.
/// `senders` is scratch room: one per piece, or only so many are received.
///
/// # Errors
///
/// Those of `recvmmsg(2)` for the first datagram: `WouldBlock` when there is none, `Interrupted` as it is. Of a later one the next call
/// reports it.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
pub(crate) fn recv_many(
    socket: BorrowedFd<'_>,
    data: &mut [u8],
    size: usize,
    senders: &mut [SockAddrStorage],
    mut each: impl FnMut(Received),
) -> io::Result<()> {
    use std::os::fd::AsRawFd;

    let mut pieces: Vec<_> = data.chunks_exact_mut(size).map(piece).collect();
    let mut headers: Vec<_> = pieces
        .iter_mut()
        .zip(&mut *senders)
        .map(|(piece, sender)| header(piece, std::ptr::from_mut(sender).cast(), sender.size_of()))
        .collect();
    // SAFETY: each header points to a piece and a sender of its own, which outlive the call; null is no time limit.
    let count = unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            headers.len() as _,
            libc::MSG_DONTWAIT as _,
            std::ptr::null_mut(),
        )
    };
    let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
    for (header, sender) in headers.iter().zip(senders).take(count) {
        let storage = std::mem::replace(sender, SockAddrStorage::zeroed());
        each(Received {
            len: header.msg_len as usize,
            // SAFETY: recvmmsg wrote an address, or nothing over the zeros there, and said how long it is.
            from: unsafe { SockAddr::new(storage, header.msg_hdr.msg_namelen) },
            truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
        });
    }
    Ok(())
}

/// As `recvmmsg` does it, with one call for each datagram; an error after the first one is lost.
///
/// # Errors
///
/// Those of `recvmsg(2)` for the first datagram: `WouldBlock` when there is none, `Interrupted` as it is.
#[cfg(any(
    test,
    not(any(target_os = "linux", target_os = "android", target_os = "freebsd"))
))]
pub(crate) fn recv_each(
    socket: BorrowedFd<'_>,
    data: &mut [u8],
    size: usize,
    mut each: impl FnMut(Received),
) -> io::Result<()> {
    let socket = SockRef::from(&socket);
    for (n, piece) in data.chunks_exact_mut(size).enumerate() {
        let piece = std::ptr::from_mut(piece) as *mut [std::mem::MaybeUninit<u8>];
        // SAFETY: it is `piece` by another type; a system call writes nothing but bytes.
        let mut piece = [socket2::MaybeUninitSlice::new(unsafe { &mut *piece })];
        match socket.recv_from_vectored_with_flags(&mut piece, libc::MSG_DONTWAIT) {
            Ok((len, flags, from)) => each(Received {
                len,
                from,
                truncated: flags.is_truncated(),
            }),
            Err(error) if n == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(())
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
pub(crate) fn recv_many(
    socket: BorrowedFd<'_>,
    data: &mut [u8],
    size: usize,
    _senders: &mut [SockAddrStorage],
    each: impl FnMut(Received),
) -> io::Result<()> {
    recv_each(socket, data, size, each)
}

/// Sends datagrams, to their address or else to the connected peer, without waiting; answers how many, from the front, were sent.
///
/// # Errors
///
/// Those of `sendmmsg(2)` for the first datagram: `WouldBlock` when there is no room, `Interrupted` as it is.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
pub(crate) fn send_many(
    socket: BorrowedFd<'_>,
    datagrams: &[(&[u8], Option<SockAddr>)],
) -> io::Result<usize> {
    use std::os::fd::AsRawFd;

    /// Linux takes no more at a time (`UIO_MAXIOV`).
    const MOST: usize = 1024;
    let datagrams = &datagrams[..datagrams.len().min(MOST)];
    let mut pieces: Vec<_> = datagrams
        .iter()
        .map(|(data, _)| libc::iovec {
            iov_base: data.as_ptr().cast_mut().cast(),
            iov_len: data.len(),
        })
        .collect();
    let mut headers: Vec<_> = pieces
        .iter_mut()
        .zip(datagrams)
        .map(|(piece, (_, to))| match to {
            Some(to) => header(piece, to.as_ptr().cast_mut().cast(), to.len()),
            None => header(piece, std::ptr::null_mut(), 0),
        })
        .collect();
    // SAFETY: each header points to data and an address, which outlive the call, and sendmmsg writes to neither.
    let count = unsafe {
        libc::sendmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            headers.len() as _,
            (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _,
        )
    };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// As `sendmmsg` does it, with one call for each datagram.
///
/// # Errors
///
/// Those of `sendto(2)` for the first datagram: `WouldBlock` when there is no room, `Interrupted` as it is.
#[cfg(any(
    test,
    not(any(target_os = "linux", target_os = "android", target_os = "freebsd"))
))]
pub(crate) fn send_each(
    socket: BorrowedFd<'_>,
    datagrams: &[(&[u8], Option<SockAddr>)],
) -> io::Result<usize> {
    let socket = SockRef::from(&socket);
    for (n, (data, to)) in datagrams.iter().enumerate() {
        let sent = match to {
            Some(to) => socket.send_to_with_flags(data, to, libc::MSG_DONTWAIT),
            None => socket.send_with_flags(data, libc::MSG_DONTWAIT),
        };
        match sent {
            Ok(_) => {}
            Err(error) if n == 0 => return Err(error),
            Err(_) => return Ok(n),
        }
    }
    Ok(datagrams.len())
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
pub(crate) use send_each as send_many;

#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
fn piece(bytes: &mut [u8]) -> libc::iovec {
    libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    }
}

/// One datagram for `recvmmsg` or `sendmmsg`, in one piece.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
fn header(
    piece: &mut libc::iovec,
    name: *mut libc::c_void,
    name_len: libc::socklen_t,
) -> libc::mmsghdr {
    // All zero first: some targets have padding fields.
    // SAFETY: plain integers and pointers.
    let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
    header.msg_hdr.msg_name = name;
    header.msg_hdr.msg_namelen = name_len;
    header.msg_hdr.msg_iov = piece;
    header.msg_hdr.msg_iovlen = 1;
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fd;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixListener;

    #[test]
    fn an_accepted_socket_is_non_blocking_though_its_listener_blocks() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
        let (accepted, peer) = accept_nonblocking(listener.as_fd()).expect("a client is there");
        assert!(fd::is_nonblocking(accepted.as_fd()).expect("an open descriptor"));
        assert_eq!(
            peer.as_socket(),
            Some(client.local_addr().expect("connected"))
        );
    }

    #[test]
    fn accepting_from_nobody_would_block() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("an open descriptor");
        let error = accept_nonblocking(listener.as_fd()).expect_err("nobody connects");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_limit_that_is_reached_is_neither_a_connection_s_fault_nor_the_listener_s() {
        use AcceptFailure::*;
        let means = |errno| accept_failure(&io::Error::from_raw_os_error(errno));
        for errno in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM] {
            assert_eq!(means(errno), NotNow);
        }
        // A firewall, but also a filter of system calls, which will always say so.
        assert_eq!(means(libc::EPERM), NotNow);
        assert_eq!(means(libc::ECONNABORTED), Connection);
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let error = accept_nonblocking(socket.as_fd()).expect_err("it is no listener");
        assert_eq!(
            accept_failure(&error),
            NotNow,
            "EOPNOTSUPP is a network's, too"
        );
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a descriptor");
        let error = accept_nonblocking(socket.as_fd()).expect_err("it does not listen");
        assert_eq!(accept_failure(&error), Listener);
    }

    #[test]
    fn the_peer_of_an_unnamed_unix_socket_is_unnamed() {
        let path = std::env::temp_dir().join(format!("accept-{}.sock", std::process::id()));
        let listener = UnixListener::bind(&path).expect("a free path");
        let client = std::os::unix::net::UnixStream::connect(&path).expect("it listens");
        let (_accepted, peer) = accept_nonblocking(listener.as_fd()).expect("a client is there");
        std::fs::remove_file(&path).expect("ours");
        assert!(peer.is_unnamed());
        drop(client);
    }

    /// The two ways to receive and to send, by name; each test holds for both.
    const WAYS: [(&str, RecvMany, SendMany); 2] = [
        ("together", recv_together, send_many),
        ("each", recv_each_boxed, send_each),
    ];

    type Each<'a> = &'a mut dyn FnMut(Received);
    type RecvMany = fn(BorrowedFd<'_>, &mut [u8], usize, Each<'_>) -> io::Result<()>;
    type SendMany = fn(BorrowedFd<'_>, &[(&[u8], Option<SockAddr>)]) -> io::Result<usize>;

    fn recv_together(
        socket: BorrowedFd<'_>,
        data: &mut [u8],
        size: usize,
        each: Each<'_>,
    ) -> io::Result<()> {
        let places = data.len() / size;
        let mut senders: Vec<_> = (0..places).map(|_| SockAddrStorage::zeroed()).collect();
        recv_many(socket, data, size, &mut senders, each)
    }

    fn recv_each_boxed(
        socket: BorrowedFd<'_>,
        data: &mut [u8],
        size: usize,
        each: Each<'_>,
    ) -> io::Result<()> {
        recv_each(socket, data, size, each)
    }

    fn bound() -> (UdpSocket, SockAddr) {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let addr = socket.local_addr().expect("bound");
        (socket, addr.into())
    }

    #[test]
    fn datagrams_arrive_in_order_with_their_sender_and_cut_ones_say_so() {
        for (way, recv_many, send_many) in WAYS {
            let ((sender, from), (receiver, to)) = (bound(), bound());
            let datagrams: [&[u8]; 4] = [b"four", b"", b"more than four", b"5th"];
            let addressed = datagrams.map(|data| (data, Some(to.clone())));
            let sent = send_many(sender.as_fd(), &addressed).expect("room");
            assert_eq!(sent, 4, "{way}");

            let (mut data, mut seen) = ([b'-'; 13], Vec::new());
            let mut each = |received: Received| {
                assert_eq!(received.from.as_socket(), from.as_socket());
                seen.push((received.len.min(4), received.truncated));
            };
            recv_many(receiver.as_fd(), &mut data, 4, &mut each).expect("loopback loses nothing");
            assert_eq!(seen, [(4, false), (0, false), (4, true)], "{way}");
            assert_eq!(&data, b"four----more-", "{way}");
            recv_many(receiver.as_fd(), &mut data, 4, &mut |_| {}).expect("the fourth");
        }
    }

    #[test]
    fn neither_way_of_receiving_waits_though_the_socket_blocks() {
        for (way, recv_many, _) in WAYS {
            let (receiver, _) = bound();
            let error = recv_many(receiver.as_fd(), &mut [0; 8], 4, &mut |_| {}).expect_err(way);
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{way}");
        }
    }

    #[test]
    fn what_stands_before_a_datagram_that_cannot_be_sent_is_sent() {
        let too_large = vec![0; 70_000];
        for (way, _, send_many) in WAYS {
            let ((sender, _), (receiver, to)) = (bound(), bound());
            sender
                .connect(to.as_socket().expect("UDP"))
                .expect("loopback");
            let datagrams = [(&b"good"[..], None), (&too_large[..], None)];
            assert_eq!(send_many(sender.as_fd(), &datagrams).expect(way), 1);
            assert_eq!(receiver.recv(&mut [0; 8]).expect("sent"), 4);
            let error = send_many(sender.as_fd(), &datagrams[1..]).expect_err(way);
            assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE), "{way}");
        }
    }
}
