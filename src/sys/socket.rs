//! Sockets: what `net` needs of `socket2`, and the one call that it does not have.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

pub(crate) use socket2::{Domain, SockAddr, SockRef, Socket, Type};

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

/// Whether a non-blocking `connect` is under way.
pub(crate) fn in_progress(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EINPROGRESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fd;
    use std::net::{TcpListener, TcpStream};
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
    fn the_peer_of_an_unnamed_unix_socket_is_unnamed() {
        let path = std::env::temp_dir().join(format!("accept-{}.sock", std::process::id()));
        let listener = UnixListener::bind(&path).expect("a free path");
        let client = std::os::unix::net::UnixStream::connect(&path).expect("it listens");
        let (_accepted, peer) = accept_nonblocking(listener.as_fd()).expect("a client is there");
        std::fs::remove_file(&path).expect("ours");
        assert!(peer.is_unnamed());
        drop(client);
    }
}
