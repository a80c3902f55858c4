//! Owns [`TcpListener`], its iterator, and the options it is made with.
//!
//! 1. Waiting is `Source`'s: nothing here suspends by itself.
//! 2. An accepted descriptor is non-blocking and close-on-exec from the system call on (`accept_nonblocking`).
//! 3. A failed `accept` concerns its caller alone; the listener stays as it was.

use super::addr::{each_addr, invalid, ToSocketAddrs};
use super::socket::{accept, accept_if, accept_until, any_socket, bind_sharing, new_socket};
use super::stream::TcpStream;
use crate::io::source::Source;
use crate::rt::clock;
use crate::sys::socket::{share_port, SockAddr, SockRef, Type};
use std::iter::FusedIterator;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use std::{io, net};

/// How many connections the kernel may hold ready for `accept`: more than std's 128, the kernel lowers it to its own limit
/// (`net.core.somaxconn`, 4096 on today's Linux).
///
/// A blocking server has a thread waiting in `accept`; here the acceptor is one of many tasks and takes its turn among them, so
/// a burst has to sit in the kernel for a turn. Beyond the backlog Linux drops the SYN, and the client tries again a whole second later.
const BACKLOG: u32 = 4096;

/// A TCP socket that accepts connections: [`std::net::TcpListener`], whose `accept` suspends the task only.
///
/// ```
/// use multitask::net::{TcpListener, TcpStream};
/// use std::io::{self, Read, Write};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let addr = listener.local_addr()?;
/// let server = multitask::spawn(move || -> io::Result<()> {
///     for stream in listener.incoming().take(2) {
///         let mut stream = stream?;
///         multitask::spawn(move || stream.write_all(b"welcome")); // each connection is a task of its own
///     }
///     Ok(())
/// });
///
/// for _ in 0..2 {
///     let mut greeting = String::new();
///     TcpStream::connect(addr)?.read_to_string(&mut greeting)?;
///     assert_eq!(greeting, "welcome");
/// }
/// server.join().unwrap()?;
/// # Ok::<(), io::Error>(())
/// ```
pub struct TcpListener {
    /// Non-blocking inside, whatever the user asked for: see `Settings::nonblocking`.
    pub(super) source: Source<net::TcpListener>,
}

/// An endless iterator of connections, made by [`TcpListener::incoming`].
///
/// `next` is [`accept`](TcpListener::accept) without the peer's address, and may suspend. It never answers `None`.
#[must_use = "iterators are lazy and do nothing unless consumed"]
#[derive(Debug)]
pub struct Incoming<'a> {
    listener: &'a TcpListener,
}

impl TcpListener {
    /// Makes a socket that listens on `addr`; with several addresses, on the first that can be bound. Port 0 asks for a free one.
    ///
    /// Suspends only to look a name up. As std's it sets `SO_REUSEADDR`; its backlog is 4096 where std's is 128, because a task that accepts takes
    /// its turn among other tasks while a burst of connections waits.
    ///
    /// # Errors
    ///
    /// That of the last address tried (`AddrInUse`, `PermissionDenied`, `AddrNotAvailable`), or `InvalidInput` if there was none.
    pub fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<TcpListener> {
        TcpListener::builder().bind(addr)
    }

    /// [`bind`](TcpListener::bind) to a port that several listeners have together, be they of one process or of several: each new connection goes
    /// to one of them, by the kernel's choice (`SO_REUSEPORT`). **Beyond std.**
    ///
    /// All of them have to be bound so, and by the same user. Port 0 asks for a port that nobody has yet. Connections that wait for their `accept`
    /// are reset when their listener is closed; others of the port do not get them.
    ///
    /// ```
    /// use multitask::net::{TcpListener, TcpStream};
    /// # fn main() -> std::io::Result<()> {
    ///
    /// let first = TcpListener::bind_shared("127.0.0.1:0")?;
    /// let addr = first.local_addr()?;
    /// let second = TcpListener::bind_shared(addr)?; // most often another process
    ///
    /// drop(first);
    /// let _client = TcpStream::connect(addr)?;
    /// second.accept()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`bind`](TcpListener::bind): `AddrInUse` also if somebody has the port for himself. `Unsupported` where the kernel does not spread
    /// connections: it does on Linux and FreeBSD.
    pub fn bind_shared<A: ToSocketAddrs>(addr: A) -> io::Result<TcpListener> {
        TcpListener::builder().reuse_port(true).bind(addr)
    }

    /// To make a listener that differs from what [`bind`](TcpListener::bind) makes. **Beyond std.**
    ///
    /// ```
    /// use multitask::net::TcpListener;
    ///
    /// let listener = TcpListener::builder().backlog(16).ttl(64).bind("127.0.0.1:0")?;
    /// assert_eq!(listener.ttl()?, 64);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn builder() -> ListenerBuilder {
        ListenerBuilder {
            backlog: BACKLOG,
            reuse_address: true,
            reuse_port: false,
            only_v6: None,
            ttl: None,
        }
    }

    /// The address this socket is bound to; never suspends.
    ///
    /// # Errors
    ///
    /// Those of `getsockname`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.source.get().local_addr()
    }

    /// Takes the next connection, suspending the task until there is one.
    ///
    /// Several tasks and threads may wait in `accept` at once; each connection goes to one of them.
    ///
    /// # Errors
    ///
    /// Those of the system call, to this caller alone, and the listener stays usable: `ConnectionAborted` for a peer that has gone again, the
    /// process's or the system's limit of open files (`EMFILE`, `ENFILE`; the connection then waits in the kernel for a later `accept`).
    /// A loop round `accept` that passes over errors should pause a little after those of the limit, for they stay until a descriptor is closed.
    /// `WouldBlock` after [`set_nonblocking(true)`](TcpListener::set_nonblocking).
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (source, peer) = accept(&self.source, tcp_addr)?;
        Ok((TcpStream { source }, peer))
    }

    /// [`accept`](TcpListener::accept) for at most `timeout`; zero looks once. **Beyond std.**
    ///
    /// # Errors
    ///
    /// Those of `accept`, and `TimedOut` carrying [`Timeout`](crate::Timeout) when no connection came in time.
    pub fn accept_timeout(&self, timeout: Duration) -> io::Result<(TcpStream, SocketAddr)> {
        self.accept_until(clock::now().checked_add(timeout))
    }

    /// [`accept`](TcpListener::accept) until `deadline`; one that has passed looks once. **Beyond std.**
    ///
    /// # Errors
    ///
    /// Those of `accept`, and `TimedOut` carrying [`Timeout`](crate::Timeout) when no connection came in time.
    pub fn accept_deadline(&self, deadline: Instant) -> io::Result<(TcpStream, SocketAddr)> {
        self.accept_until(Some(deadline))
    }

    /// Iterates over the connections as they come; its `next` may suspend, and never answers `None`.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self }
    }

    /// Sets the time to live of the packets sent, which accepted connections inherit; never suspends.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt`.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.source.get().set_ttl(ttl)
    }

    /// The time to live of the packets sent; never suspends.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt`.
    pub fn ttl(&self) -> io::Result<u32> {
        self.source.get().ttl()
    }

    /// Sets `IPV6_V6ONLY`, which the system refuses for a socket that is bound, as every listener is; never suspends.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt`: practically always `InvalidInput`.
    #[deprecated(
        since = "0.1.0",
        note = "this option can only be set before the socket is bound"
    )]
    pub fn set_only_v6(&self, only_v6: bool) -> io::Result<()> {
        #[allow(deprecated)] // std's own, deprecated for the same reason
        self.source.get().set_only_v6(only_v6)
    }

    /// Whether an IPv6 listener leaves IPv4 alone (`IPV6_V6ONLY`); never suspends.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt`, among them that of a listener that is not IPv6.
    #[deprecated(
        since = "0.1.0",
        note = "this option can only be set before the socket is bound"
    )]
    pub fn only_v6(&self) -> io::Result<bool> {
        #[allow(deprecated)] // std's own, deprecated for the same reason
        self.source.get().only_v6()
    }

    /// See [`accept_if`].
    pub(super) fn accept_if<R>(
        &self,
        admit: impl FnMut() -> io::Result<R>,
    ) -> io::Result<(R, TcpStream, SocketAddr)> {
        let (room, source, peer) = accept_if(&self.source, tcp_addr, admit)?;
        Ok((room, TcpStream { source }, peer))
    }

    /// Lets listeners that are bound so from now on have the port together with this one.
    pub(super) fn share_port(&self) -> io::Result<()> {
        share_port(&SockRef::from(self.source.get()))
    }

    fn accept_until(&self, deadline: Option<Instant>) -> io::Result<(TcpStream, SocketAddr)> {
        let (source, peer) = accept_until(&self.source, deadline, tcp_addr)?;
        Ok((TcpStream { source }, peer))
    }
}

any_socket! { TcpListener }

/// Makes a [`TcpListener`]: see [`TcpListener::builder`]. **Beyond std**, which knows these options only for sockets that are bound already,
/// where most of them come too late.
///
/// ```
/// use multitask::net::TcpListener;
///
/// let options = TcpListener::builder().only_v6(true);
/// # if TcpListener::bind("[::1]:0").is_err() { return Ok(()) } // no IPv6 here
/// let v6 = options.bind("[::]:0")?;
/// let v4 = TcpListener::bind(("0.0.0.0", v6.local_addr()?.port()))?; // the same port of the other family
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder makes nothing until `bind` is called"]
pub struct ListenerBuilder {
    backlog: u32,
    reuse_address: bool,
    reuse_port: bool,
    /// `None` leaves it to the system.
    only_v6: Option<bool>,
    /// `None` leaves it to the system.
    ttl: Option<u32>,
}

impl ListenerBuilder {
    /// Sets how many connections may wait for their `accept`: 4096 unless told otherwise. The system lowers it to its own limit, on Linux
    /// `net.core.somaxconn`.
    pub fn backlog(mut self, connections: u32) -> Self {
        self.backlog = connections;
        self
    }

    /// Sets whether the address may be bound although connections of an earlier listener linger there (`SO_REUSEADDR`): yes unless told
    /// otherwise, as in std.
    pub fn reuse_address(mut self, reuse: bool) -> Self {
        self.reuse_address = reuse;
        self
    }

    /// Sets whether other listeners may have the port too: see [`TcpListener::bind_shared`]. No unless told otherwise.
    pub fn reuse_port(mut self, reuse: bool) -> Self {
        self.reuse_port = reuse;
        self
    }

    /// Sets whether a listener on an IPv6 address leaves IPv4 alone (`IPV6_V6ONLY`). Unless told otherwise the system decides, which on Linux lets
    /// `[::]` stand for both. It means nothing to a listener on an IPv4 address.
    pub fn only_v6(mut self, only_v6: bool) -> Self {
        self.only_v6 = Some(only_v6);
        self
    }

    /// Sets the time to live of the packets sent, which accepted connections inherit: see [`TcpListener::set_ttl`]. Unless told otherwise the
    /// system decides.
    pub fn ttl(mut self, ttl: u32) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Makes the listener: see [`TcpListener::bind`]. Suspends only to look a name up.
    ///
    /// # Errors
    ///
    /// Those of [`TcpListener::bind`]; those of `setsockopt` for an option that was set: `InvalidInput` for a time to live of 0 or above 255;
    /// with [`reuse_port`](ListenerBuilder::reuse_port) also those of [`TcpListener::bind_shared`].
    pub fn bind<A: ToSocketAddrs>(&self, addr: A) -> io::Result<TcpListener> {
        each_addr(addr, |addr| self.listen(addr))
    }

    /// A listener on one address.
    fn listen(&self, addr: &SocketAddr) -> io::Result<TcpListener> {
        let socket = new_socket(addr, Type::STREAM)?;
        socket.set_reuse_address(self.reuse_address)?;
        if let (Some(only_v6), true) = (self.only_v6, addr.is_ipv6()) {
            socket.set_only_v6(only_v6)?;
        }
        if self.reuse_port {
            bind_sharing(&socket, addr)?;
        } else {
            socket.bind(&(*addr).into())?;
        }
        socket.listen(i32::try_from(self.backlog).unwrap_or(i32::MAX))?;
        let listener = TcpListener {
            source: Source::new(socket.into())?,
        };
        if let Some(ttl) = self.ttl {
            listener.set_ttl(ttl)?;
        }
        Ok(listener)
    }
}

impl Iterator for Incoming<'_> {
    type Item = io::Result<TcpStream>;

    fn next(&mut self) -> Option<io::Result<TcpStream>> {
        Some(self.listener.accept().map(|(stream, _peer)| stream))
    }
}

impl FusedIterator for Incoming<'_> {}

/// The address of a peer; a listener taken in may be of another family altogether, and std's word for that is this.
fn tcp_addr(peer: &SockAddr) -> io::Result<SocketAddr> {
    peer.as_socket().ok_or_else(|| invalid("invalid argument"))
}
