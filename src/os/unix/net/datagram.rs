//! Owns [`UnixDatagram`].
//!
//! 1. Waiting is `Source`'s: nothing here suspends by itself.
//! 2. A receive ends by a datagram or by `shutdown`; the latter has to be asked for.
//! 3. A send to the connected peer waits for an event, a send to any other looks again and again: of room in the queue of a
//!    socket that is not the peer the kernel tells nobody. (It tells of room in our own buffer, after each failed try: who waited for that would
//!    spin. To connect a second socket to the receiver, and wait for that one, would be a wrong wait when it is our own buffer that is full.)

use crate::io::source::Source;
use crate::net::socket::{any_socket, receive, send, timeouts};
use crate::rt::header::Why;
use crate::sys::fd::is_read_ended;
use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;

/// A Unix socket for datagrams: [`std::os::unix::net::UnixDatagram`], whose receiving and sending suspend the task only.
///
/// Unlike those of UDP they are not lost: a send waits while the receiver's queue is full.
///
/// ```
/// use multitask::os::unix::net::UnixDatagram;
///
/// let (ours, theirs) = UnixDatagram::pair()?;
/// let answer = multitask::spawn(move || -> std::io::Result<usize> {
///     let mut buf = [0; 100];
///     let n = theirs.recv(&mut buf)?; // suspends this task only
///     theirs.send(&buf[..n])
/// });
/// ours.send(b"hello")?;
/// let mut buf = [0; 100];
/// assert_eq!(ours.recv(&mut buf)?, 5);
/// assert_eq!(&buf[..5], b"hello");
/// answer.join().unwrap()?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct UnixDatagram {
    /// Non-blocking inside, whatever the user asked for: see `Settings::nonblocking`.
    pub(super) source: Source<net::UnixDatagram>,
}

impl UnixDatagram {
    /// Makes a socket bound to that path, and the path with it; never suspends.
    ///
    /// # Errors
    ///
    /// Those of the system calls: `AddrInUse` if the path is there already; `InvalidInput` for one that is too long or has a zero byte.
    pub fn bind<P: AsRef<Path>>(path: P) -> io::Result<UnixDatagram> {
        wrap(net::UnixDatagram::bind(path)?)
    }

    /// [`bind`](UnixDatagram::bind) to an address, which may be an abstract one.
    ///
    /// # Errors
    ///
    /// Those of `bind`.
    pub fn bind_addr(socket_addr: &SocketAddr) -> io::Result<UnixDatagram> {
        wrap(net::UnixDatagram::bind_addr(socket_addr)?)
    }

    /// Makes a socket without an address; never suspends.
    ///
    /// # Errors
    ///
    /// Those of `socket`: the process may have run out of descriptors.
    pub fn unbound() -> io::Result<UnixDatagram> {
        wrap(net::UnixDatagram::unbound()?)
    }

    /// Makes two sockets connected to each other; never suspends.
    ///
    /// # Errors
    ///
    /// Those of `socketpair`: the process may have run out of descriptors.
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let (one, other) = net::UnixDatagram::pair()?;
        Ok((wrap(one)?, wrap(other)?))
    }

    /// Chooses the peer: `send` goes to it, and datagrams of others are not received. Never suspends.
    ///
    /// # Errors
    ///
    /// Those of the system call: `NotFound`, `ConnectionRefused` if the path is there and its socket is gone; `InvalidInput` for a path that is
    /// too long or has a zero byte.
    pub fn connect<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        self.source.get().connect(path)
    }

    /// [`connect`](UnixDatagram::connect) to an address, which may be an abstract one.
    ///
    /// # Errors
    ///
    /// Those of `connect`.
    pub fn connect_addr(&self, socket_addr: &SocketAddr) -> io::Result<()> {
        self.source.get().connect_addr(socket_addr)
    }

    /// The address of this socket; never suspends.
    ///
    /// # Errors
    ///
    /// Those of `getsockname`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.source.get().local_addr()
    }

    /// The address of the connected peer; never suspends.
    ///
    /// # Errors
    ///
    /// Those of `getpeername`: `NotConnected` before [`connect`](UnixDatagram::connect).
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.source.get().peer_addr()
    }

    /// Receives one datagram and tells where it came from; suspends the task until there is one.
    ///
    /// What does not fit into `buf` is lost: the answer is then `buf.len()`. An empty datagram answers 0.
    ///
    /// # Errors
    ///
    /// Those of the system call. `TimedOut` and `WouldBlock` if that was asked for.
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let unnamed = || SocketAddr::from_pathname("").map(|unnamed| (0, unnamed));
        self.receive(|socket| socket.recv_from(buf), unnamed)
    }

    /// Receives one datagram; suspends the task until there is one.
    ///
    /// What does not fit into `buf` is lost: the answer is then `buf.len()`. An empty datagram answers 0.
    ///
    /// # Errors
    ///
    /// Those of [`recv_from`](UnixDatagram::recv_from).
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.receive(|socket| socket.recv(buf), || Ok(0))
    }

    /// Sends `buf` as one datagram to the socket of that path; suspends the task while its queue is full.
    ///
    /// For the latter there is no event: see the [module](super#two-waits-of-which-no-event-tells).
    ///
    /// # Errors
    ///
    /// Those of the system call: `NotFound`, `ConnectionRefused` if the path is there and its socket is gone, a datagram that is too large;
    /// `InvalidInput` for a path that is too long or has a zero byte. `TimedOut` and `WouldBlock` if that was asked for.
    pub fn send_to<P: AsRef<Path>>(&self, buf: &[u8], path: P) -> io::Result<usize> {
        self.send_to_addr(buf, &SocketAddr::from_pathname(path)?)
    }

    /// [`send_to`](UnixDatagram::send_to) an address, which may be an abstract one.
    ///
    /// # Errors
    ///
    /// Those of `send_to`.
    pub fn send_to_addr(&self, buf: &[u8], socket_addr: &SocketAddr) -> io::Result<usize> {
        let limit = self.source.settings().write_timeout();
        self.source.retry_unannounced(Why::Write, limit, |socket| {
            socket.send_to_addr(buf, socket_addr)
        })
    }

    /// Sends `buf` as one datagram to the connected peer; suspends the task while its queue is full.
    ///
    /// # Errors
    ///
    /// Those of the system call: `NotConnected` before [`connect`](UnixDatagram::connect), `ConnectionRefused` once the peer is gone,
    /// a datagram that is too large. `TimedOut` and `WouldBlock` if that was asked for.
    pub fn send(&self, buf: &[u8]) -> io::Result<usize> {
        send(&self.source, |socket| socket.send(buf))
    }

    /// Ends one or both directions; never suspends. Tasks waiting to receive are woken, and answer 0.
    ///
    /// # Errors
    ///
    /// Those of `shutdown`: `NotConnected` before [`connect`](UnixDatagram::connect).
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.source.get().shutdown(how)
    }

    /// Repeats `op` until it has received something or receiving has been ended, which answers `nothing`.
    ///
    /// Linux tells a call that waits of the end, and one that does not that it would block, for ever.
    fn receive<R>(
        &self,
        mut op: impl FnMut(&net::UnixDatagram) -> io::Result<R>,
        nothing: impl Fn() -> io::Result<R>,
    ) -> io::Result<R> {
        let waits = |error: &io::Error| {
            error.kind() == io::ErrorKind::WouldBlock && !self.source.settings().nonblocking()
        };
        receive(&self.source, |socket| match op(socket) {
            // What came before the end is received first: hence another look after it.
            Err(error) if waits(&error) && is_read_ended(socket.as_fd())? => match op(socket) {
                Err(error) if waits(&error) => nothing(),
                done => done,
            },
            done => done,
        })
    }
}

any_socket! { UnixDatagram }
timeouts! {
    UnixDatagram,
    reads: "`recv` and `recv_from`",
    writes: "`send`, `send_to` and `send_to_addr`"
}

fn wrap(inner: net::UnixDatagram) -> io::Result<UnixDatagram> {
    let source = Source::new(inner)?;
    Ok(UnixDatagram { source })
}
