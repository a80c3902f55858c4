//! Owns [`UnixListener`] and its iterator.
//!
//! 1. Waiting is `Source`'s: nothing here suspends by itself.
//! 2. An accepted descriptor is non-blocking and close-on-exec from the system call on.
//! 3. A failed `accept` concerns its caller alone; the listener stays as it was.

use super::stream::UnixStream;
use crate::io::source::Source;
use crate::net::addr::invalid;
use crate::net::listen::{sealed, Listener};
use crate::net::listener::ListenerBuilder;
use crate::net::socket::{accept, accept_if, accept_until, any_socket};
use crate::rt::clock;
use crate::sys::socket::SockAddr;
use std::io;
#[cfg(target_os = "android")]
use std::os::android::net::SocketAddrExt;
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

/// A Unix socket that accepts connections: [`std::os::unix::net::UnixListener`], whose `accept` suspends the task only.
///
/// ```
/// use multitask::os::unix::net::{UnixListener, UnixStream};
/// use std::io::{self, Read, Write};
///
/// let path = std::env::temp_dir().join(format!("docs-listener-{}", std::process::id()));
/// let listener = UnixListener::bind(&path)?;
/// multitask::spawn(move || -> io::Result<()> {
///     for stream in &listener {
///         let mut stream = stream?;
///         multitask::spawn(move || stream.write_all(b"welcome")); // each connection is a task of its own
///     }
///     Ok(())
/// });
///
/// let mut greeting = String::new();
/// UnixStream::connect(&path)?.read_to_string(&mut greeting)?;
/// assert_eq!(greeting, "welcome");
/// std::fs::remove_file(path)?; // as with std's, the path outlives the listener
/// # Ok::<(), io::Error>(())
/// ```
pub struct UnixListener {
    /// Non-blocking inside, whatever the user asked for: see `Settings::nonblocking`.
    pub(super) source: Source<net::UnixListener>,
}

/// An endless iterator of connections, made by [`UnixListener::incoming`].
///
/// `next` is [`accept`](UnixListener::accept) without the peer's address, and may suspend. It never answers `None`.
#[must_use = "iterators are lazy and do nothing unless consumed"]
#[derive(Debug)]
pub struct Incoming<'a> {
    listener: &'a UnixListener,
}

impl UnixListener {
    /// Makes a socket that listens at that path, and the path with it; never suspends.
    ///
    /// # Errors
    ///
    /// Those of the system calls: `AddrInUse` if the path is there already, even if nobody listens any more; `InvalidInput` for a path that is
    /// too long or has a zero byte.
    pub fn bind<P: AsRef<Path>>(path: P) -> io::Result<UnixListener> {
        let source = Source::new(net::UnixListener::bind(path)?)?;
        Ok(UnixListener { source })
    }

    /// [`bind`](UnixListener::bind) to an address, which may be an abstract one.
    ///
    /// # Errors
    ///
    /// Those of `bind`.
    pub fn bind_addr(socket_addr: &SocketAddr) -> io::Result<UnixListener> {
        let source = Source::new(net::UnixListener::bind_addr(socket_addr)?)?;
        Ok(UnixListener { source })
    }

    /// Takes the next connection, suspending the task until there is one.
    ///
    /// Several tasks and threads may wait in `accept` at once; each connection goes to one of them.
    ///
    /// # Errors
    ///
    /// Those of the system call, to this caller alone, and the listener stays usable: the process's or the system's limit of open files
    /// (`EMFILE`, `ENFILE`; the connection then waits in the kernel for a later `accept`).
    /// A loop round `accept` that passes over errors should pause a little after those, for they stay until a descriptor is closed.
    /// `WouldBlock` after [`set_nonblocking(true)`](UnixListener::set_nonblocking).
    pub fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        let (source, peer) = accept(&self.source, unix_addr)?;
        Ok((UnixStream { source }, peer))
    }

    /// [`accept`](UnixListener::accept) for at most `timeout`; zero looks once. **Beyond std.**
    ///
    /// # Errors
    ///
    /// Those of `accept`, and `TimedOut` carrying [`Timeout`](crate::Timeout) when no connection came in time.
    pub fn accept_timeout(&self, timeout: Duration) -> io::Result<(UnixStream, SocketAddr)> {
        self.accept_until(clock::now().checked_add(timeout))
    }

    /// [`accept`](UnixListener::accept) until `deadline`; one that has passed looks once. **Beyond std.**
    ///
    /// # Errors
    ///
    /// Those of `accept`, and `TimedOut` carrying [`Timeout`](crate::Timeout) when no connection came in time.
    pub fn accept_deadline(&self, deadline: Instant) -> io::Result<(UnixStream, SocketAddr)> {
        self.accept_until(Some(deadline))
    }

    /// The address this socket is bound to; never suspends.
    ///
    /// # Errors
    ///
    /// Those of `getsockname`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.source.get().local_addr()
    }

    /// Iterates over the connections as they come; its `next` may suspend, and never answers `None`.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self }
    }

    fn accept_until(&self, deadline: Option<Instant>) -> io::Result<(UnixStream, SocketAddr)> {
        let (source, peer) = accept_until(&self.source, deadline, unix_addr)?;
        Ok((UnixStream { source }, peer))
    }
}

any_socket! { UnixListener }

impl sealed::Sealed for UnixListener {}

impl Listener for UnixListener {
    type Stream = UnixStream;
    type Addr = SocketAddr;

    fn accept_if<R>(
        &self,
        admit: impl FnMut() -> io::Result<R>,
    ) -> io::Result<(R, UnixStream, SocketAddr)> {
        let (room, source, peer) = accept_if(&self.source, unix_addr, admit)?;
        Ok((room, UnixStream { source }, peer))
    }

    fn never_wait(&self, never: bool) {
        self.source.settings().set_nonblocking(never);
    }

    fn address(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }

    fn sibling(&self, _: &ListenerBuilder) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into()) // a path is one socket's
    }
}

impl<'a> IntoIterator for &'a UnixListener {
    type Item = io::Result<UnixStream>;
    type IntoIter = Incoming<'a>;

    fn into_iter(self) -> Incoming<'a> {
        self.incoming()
    }
}

impl Iterator for Incoming<'_> {
    type Item = io::Result<UnixStream>;

    fn next(&mut self) -> Option<io::Result<UnixStream>> {
        Some(self.listener.accept().map(|(stream, _peer)| stream))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::MAX, None)
    }
}

/// The address of a peer, as std has it; a listener taken in may be of another family altogether, and std's word for that is this.
fn unix_addr(peer: &SockAddr) -> io::Result<SocketAddr> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Some(name) = peer.as_abstract_namespace() {
        return SocketAddr::from_abstract_name(name);
    }
    if let Some(path) = peer.as_pathname() {
        return SocketAddr::from_pathname(path);
    }
    if peer.is_unix() {
        return SocketAddr::from_pathname(""); // unnamed
    }
    Err(invalid(
        "file descriptor did not correspond to a Unix socket",
    ))
}
