//! Owns what a server asks of a listener.

use super::listener::{ListenerBuilder, TcpListener};
use super::stream::TcpStream;
use std::net::SocketAddr;
use std::{fmt, io};

/// What a [`Server`](super::Server) accepts connections from: [`TcpListener`], or
/// [`UnixListener`](crate::os::unix::net::UnixListener).
///
/// It cannot be implemented for other types.
pub trait Listener: sealed::Sealed + Send + Sync + Sized + 'static {
    /// One end of a connection.
    type Stream: Send + 'static;
    /// Where the other end is.
    type Addr: Clone + fmt::Debug + Send + 'static;

    /// See `accept_if` of `socket`.
    #[doc(hidden)]
    fn accept_if<R>(
        &self,
        admit: impl FnMut() -> io::Result<R>,
    ) -> io::Result<(R, Self::Stream, Self::Addr)>;

    /// Whether `accept_if` answers `WouldBlock` instead of waiting.
    #[doc(hidden)]
    fn never_wait(&self, never: bool);

    #[doc(hidden)]
    fn address(&self) -> io::Result<Self::Addr>;

    /// Another listener for the same port, which gets a part of the connections.
    #[doc(hidden)]
    fn sibling(&self, options: &ListenerBuilder) -> io::Result<Self>;
}

/// The bound that nobody else can meet.
pub mod sealed {
    /// See the module.
    pub trait Sealed {}
}

impl sealed::Sealed for TcpListener {}

impl Listener for TcpListener {
    type Stream = TcpStream;
    type Addr = SocketAddr;

    fn accept_if<R>(
        &self,
        admit: impl FnMut() -> io::Result<R>,
    ) -> io::Result<(R, TcpStream, SocketAddr)> {
        TcpListener::accept_if(self, admit)
    }

    fn never_wait(&self, never: bool) {
        self.source.settings().set_nonblocking(never);
    }

    fn address(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }

    fn sibling(&self, options: &ListenerBuilder) -> io::Result<Self> {
        // Not before it is needed: until then the port is ours alone, and somebody else's server finds it taken.
        self.share_port()?;
        options.clone().reuse_port(true).bind(self.local_addr()?)
    }
}
