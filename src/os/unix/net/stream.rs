//! Owns [`UnixStream`]: connecting, and what a connection has beside reading and writing.
//!
//! 1. Waiting is `Source`'s: nothing here suspends by itself.
//! 2. A stream exists before its connection does, but only `open` holds it then.

use crate::io::source::Source;
use crate::net::socket::{any_socket, bytes, timeouts, Bytes};
use crate::rt::header::Why;
use crate::sys::socket::{Domain, SockAddr, SockRef, Socket, Type};
use std::ffi::OsStr;
use std::io;
use std::net::Shutdown;
#[cfg(target_os = "android")]
use std::os::android::net::SocketAddrExt;
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt;
#[cfg(any(target_os = "linux", target_os = "android"))]
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;

/// A connection between two processes of one host: [`std::os::unix::net::UnixStream`], whose reads and writes suspend the task only.
///
/// ```
/// use multitask::os::unix::net::{UnixListener, UnixStream};
/// use std::io::{self, Read, Write};
///
/// let path = std::env::temp_dir().join(format!("docs-stream-{}", std::process::id()));
/// let listener = UnixListener::bind(&path)?;
/// let server = multitask::spawn(move || -> io::Result<String> {
///     let (stream, _peer) = listener.accept()?;
///     io::read_to_string(stream)
/// });
///
/// let mut stream = UnixStream::connect(&path)?;
/// stream.write_all(b"hello")?;
/// drop(stream); // the connection is closed when its last handle is dropped
/// assert_eq!(server.join().unwrap()?, "hello");
/// std::fs::remove_file(path)?;
/// # Ok::<(), io::Error>(())
/// ```
pub struct UnixStream {
    /// Non-blocking inside, whatever the user asked for: see `Settings::nonblocking`.
    pub(crate) source: Source<net::UnixStream>,
}

impl UnixStream {
    /// Connects to the socket of that path; suspends the task while the listener's backlog is full.
    ///
    /// For the latter there is no event: see the [module](super#two-waits-of-which-no-event-tells).
    ///
    /// # Errors
    ///
    /// Those of the system call: `NotFound`, `ConnectionRefused` if the path is there and nobody listens, `PermissionDenied`;
    /// `InvalidInput` for a path that is too long or has a zero byte.
    pub fn connect<P: AsRef<Path>>(path: P) -> io::Result<UnixStream> {
        open(&SocketAddr::from_pathname(path)?)
    }

    /// [`connect`](UnixStream::connect) to an address, which may be an abstract one.
    ///
    /// # Errors
    ///
    /// Those of `connect`.
    pub fn connect_addr(socket_addr: &SocketAddr) -> io::Result<UnixStream> {
        open(socket_addr)
    }

    /// Makes two streams connected to each other; never suspends.
    ///
    /// # Errors
    ///
    /// Those of `socketpair`: the process may have run out of descriptors.
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let (one, other) = net::UnixStream::pair()?;
        let one = Source::new(one)?;
        let other = Source::new(other)?;
        Ok((UnixStream { source: one }, UnixStream { source: other }))
    }

    /// The address of this end; never suspends.
    ///
    /// # Errors
    ///
    /// Those of `getsockname`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.source.get().local_addr()
    }

    /// The address of the other end; never suspends.
    ///
    /// # Errors
    ///
    /// Those of `getpeername`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.source.get().peer_addr()
    }

    /// Ends one or both directions of the connection, for all its handles; never suspends.
    ///
    /// Tasks waiting in a direction that ends are woken: a read answers 0, a write fails.
    ///
    /// # Errors
    ///
    /// Those of `shutdown`.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.source.get().shutdown(how)
    }
}

any_socket! { UnixStream }
timeouts! {
    UnixStream,
    reads: "`read` and `read_vectored`",
    writes: "`write` and `write_vectored`",
    "It bounds the single system call, as in std: `write_all` makes several, [`timeout`](crate::timeout()) bounds them together."
}
bytes! { UnixStream }

impl Bytes for net::UnixStream {
    // It stops at a descriptor that was sent along.
    const SHORT_READ_EMPTIES: bool = false;
}

/// Connects to one address. The kernel does so at once, or not at all: `WouldBlock` is a full backlog.
fn open(addr: &SocketAddr) -> io::Result<UnixStream> {
    let addr = sock_addr(addr)?;
    let kind = Type::STREAM;
    #[cfg(not(target_vendor = "apple"))]
    let kind = kind.nonblocking();
    let socket = Socket::new(Domain::UNIX, kind, None)?;
    let source = Source::<net::UnixStream>::new(socket.into())?;
    source.retry_unannounced(Why::Connect, None, |inner| {
        SockRef::from(inner).connect(&addr)
    })?;
    Ok(UnixStream { source })
}

/// std's address in the system's form, which std keeps to itself.
fn sock_addr(addr: &SocketAddr) -> io::Result<SockAddr> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Some(name) = addr.as_abstract_name() {
        return SockAddr::unix(OsStr::from_bytes(&[&[0], name].concat()));
    }
    // An unnamed address is the empty path; connecting to it is the system's to refuse.
    SockAddr::unix(addr.as_pathname().unwrap_or(OsStr::new("").as_ref()))
}
