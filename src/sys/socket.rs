//! Sockets: what `net` needs of `socket2`, and the calls that it does not have.

pub(crate) use super::beyond::{accept_nonblocking, recv_many, send_many};
use std::io;

pub(crate) use socket2::{Domain, SockAddr, SockAddrStorage, SockRef, Socket, Type};

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

/// Whether a non-blocking `connect` is under way. One that a signal has interrupted is, too: it goes on without us (POSIX), and another
/// call would find it so.
pub(crate) fn in_progress(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINPROGRESS | libc::EINTR))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fd;
    use crate::sys::transfer::Received;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::{AsFd, BorrowedFd};
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
    fn a_connection_goes_on_when_its_call_is_interrupted_and_not_when_it_is_refused() {
        let goes_on = |error| in_progress(&io::Error::from_raw_os_error(error));
        assert!(goes_on(libc::EINPROGRESS) && goes_on(libc::EINTR));
        assert!(!goes_on(libc::ECONNREFUSED) && !goes_on(libc::EAGAIN));
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
        let _left_by_who_was_killed = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).expect("a free path");
        let client = std::os::unix::net::UnixStream::connect(&path).expect("it listens");
        let (_accepted, peer) = accept_nonblocking(listener.as_fd()).expect("a client is there");
        std::fs::remove_file(&path).expect("ours");
        assert!(peer.is_unnamed());
        drop(client);
    }

    /// As many at once as there are pieces of `size` bytes in `data`.
    fn recv(
        socket: BorrowedFd<'_>,
        data: &mut [u8],
        size: usize,
        each: impl FnMut(Received),
    ) -> io::Result<()> {
        let places = data.len() / size;
        let mut senders: Vec<_> = (0..places).map(|_| SockAddrStorage::zeroed()).collect();
        recv_many(socket, data, size, &mut senders, each)
    }

    fn bound() -> (UdpSocket, SockAddr) {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let addr = socket.local_addr().expect("bound");
        (socket, addr.into())
    }

    #[test]
    fn datagrams_arrive_in_order_with_their_sender_and_cut_ones_say_so() {
        let ((sender, from), (receiver, to)) = (bound(), bound());
        let datagrams: [&[u8]; 4] = [b"four", b"", b"more than four", b"5th"];
        let addressed = datagrams.map(|data| (data, Some(to.clone())));
        let sent = send_many(sender.as_fd(), &addressed).expect("room");
        assert_eq!(sent, 4);

        let (mut data, mut seen) = ([b'-'; 13], Vec::new());
        let each = |received: Received| {
            assert_eq!(received.from.as_socket(), from.as_socket());
            seen.push((received.len.min(4), received.truncated));
        };
        recv(receiver.as_fd(), &mut data, 4, each).expect("loopback loses nothing");
        assert_eq!(seen, [(4, false), (0, false), (4, true)]);
        assert_eq!(&data, b"four----more-");
        recv(receiver.as_fd(), &mut data, 4, |_| {}).expect("the fourth");
    }

    #[test]
    fn receiving_many_does_not_wait_though_the_socket_blocks() {
        let (receiver, _) = bound();
        let error = recv(receiver.as_fd(), &mut [0; 8], 4, |_| {}).expect_err("nothing there");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn what_stands_before_a_datagram_that_cannot_be_sent_is_sent() {
        let too_large = vec![0; 70_000];
        let ((sender, _), (receiver, to)) = (bound(), bound());
        sender
            .connect(to.as_socket().expect("UDP"))
            .expect("loopback");
        let datagrams = [(&b"good"[..], None), (&too_large[..], None)];
        assert_eq!(send_many(sender.as_fd(), &datagrams).expect("one"), 1);
        assert_eq!(receiver.recv(&mut [0; 8]).expect("sent"), 4);
        let error = send_many(sender.as_fd(), &datagrams[1..]).expect_err("too large");
        assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE));
    }
}
