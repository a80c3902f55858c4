//! Owns [`TcpStream`]: connecting, reading, writing and the options of a connection.
//!
//! 1. Waiting is `Source`'s: nothing here suspends by itself.
//! 2. A stream exists before its connection does, but only `open` holds it then.

use super::addr::{each_addr, invalid, ToSocketAddrs};
use super::socket::{any_socket, bytes, new_socket, receive, timeouts, Bytes};
use crate::io::source::Source;
use crate::rt::clock;
use crate::rt::{header::Why, reactor::Interest};
use crate::sys::socket::{self, SockRef, Type};
use std::net::{Shutdown, SocketAddr};
#[cfg(target_os = "android")]
use std::os::android::net as linux;
#[cfg(target_os = "linux")]
use std::os::linux::net as linux;
use std::time::{Duration, Instant};
use std::{io, net};

/// A TCP connection: [`std::net::TcpStream`], whose reads and writes suspend the task only.
///
/// ```
/// use multitask::net::{TcpListener, TcpStream};
/// use std::io::{self, BufRead, BufReader, Write};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let addr = listener.local_addr()?;
/// let server = multitask::spawn(move || -> io::Result<()> {
///     let (stream, _peer) = listener.accept()?;
///     for line in BufReader::new(&stream).lines() {
///         writeln!(&stream, "you said {}", line?)?; // reading and writing through `&`, as in std
///     }
///     Ok(())
/// });
///
/// let mut stream = TcpStream::connect(addr)?;
/// stream.write_all(b"hello\n")?;
/// let mut answer = String::new();
/// BufReader::new(&stream).read_line(&mut answer)?;
/// assert_eq!(answer, "you said hello\n");
///
/// drop(stream); // the connection is closed when its last handle is dropped
/// server.join().unwrap()?;
/// # Ok::<(), io::Error>(())
/// ```
pub struct TcpStream {
    /// Non-blocking inside, whatever the user asked for: see `Settings::nonblocking`.
    pub(crate) source: Source<net::TcpStream>,
}

impl TcpStream {
    /// Connects to `addr`, suspending the task until the peer has answered; several addresses are tried in turn.
    ///
    /// The system gives up after its own time, about two minutes on Linux: see [`connect_timeout`](TcpStream::connect_timeout).
    ///
    /// # Errors
    ///
    /// That of the last address tried (`ConnectionRefused`, `TimedOut`, `HostUnreachable`), or `InvalidInput` if there was none.
    pub fn connect<A: ToSocketAddrs>(addr: A) -> io::Result<TcpStream> {
        each_addr(addr, |addr| open(addr, None))
    }

    /// Connects to one address, suspending the task for at most `timeout`.
    ///
    /// # Errors
    ///
    /// Those of [`connect`](TcpStream::connect); `TimedOut` carrying [`Timeout`](crate::Timeout) when the time is over; `InvalidInput` if it is zero.
    pub fn connect_timeout(addr: &SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        if timeout.is_zero() {
            return Err(invalid("cannot set a 0 duration timeout"));
        }
        open(addr, clock::now().checked_add(timeout))
    }

    /// The address of the other end; never suspends.
    ///
    /// # Errors
    ///
    /// Those of `getpeername`: `NotConnected` once the connection is gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.source.get().peer_addr()
    }

    /// The address of this end; never suspends.
    ///
    /// # Errors
    ///
    /// Those of `getsockname`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.source.get().local_addr()
    }

    /// Ends one or both directions of the connection, for all its handles; never suspends.
    ///
    /// Tasks waiting in a direction that ends are woken: a read answers 0, a write fails.
    ///
    /// # Errors
    ///
    /// Those of `shutdown`: `NotConnected` once the connection is gone.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.source.get().shutdown(how)
    }

    /// Reads without taking what is read out of the socket; suspends the task until there is something.
    ///
    /// # Errors
    ///
    /// Those of `read`.
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        receive(&self.source, |socket| socket.peek(buf))
    }

    /// Sets what closing does with data not yet sent (`SO_LINGER`); never suspends. **Unstable in std.**
    ///
    /// `Some(Duration::ZERO)` throws it away and resets the connection. `None`, as a new stream has it, sends it in the background. With any other
    /// time, which is taken in whole seconds, dropping the last handle **blocks the thread**, and every task on it, until all is sent or the time is over.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt`.
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        SockRef::from(self.source.get()).set_linger(linger)
    }

    /// What closing does with data not yet sent: see [`set_linger`](TcpStream::set_linger). Never suspends. **Unstable in std.**
    ///
    /// # Errors
    ///
    /// Those of `getsockopt`.
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        SockRef::from(self.source.get()).linger()
    }

    /// Sends small pieces at once instead of gathering them (`TCP_NODELAY`); never suspends.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt`.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.source.get().set_nodelay(nodelay)
    }

    /// Whether small pieces are sent at once; never suspends.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt`.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.source.get().nodelay()
    }

    /// Sets the time to live of the packets sent; never suspends.
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
}

/// The methods of std's `os::linux::net::TcpStreamExt`, a trait that std alone can implement.
#[cfg(any(target_os = "linux", target_os = "android"))]
impl TcpStream {
    /// Sends acknowledgements at once instead of delaying them (`TCP_QUICKACK`), until the kernel thinks otherwise; never suspends.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt`.
    pub fn set_quickack(&self, quickack: bool) -> io::Result<()> {
        linux::TcpStreamExt::set_quickack(self.source.get(), quickack)
    }

    /// Whether acknowledgements are sent at once; never suspends.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt`.
    pub fn quickack(&self) -> io::Result<bool> {
        linux::TcpStreamExt::quickack(self.source.get())
    }
}

any_socket! { TcpStream }
timeouts! {
    TcpStream,
    reads: "`read`, `read_vectored` and `peek`",
    writes: "`write` and `write_vectored`",
    "It bounds the single system call, as in std: `write_all` makes several, [`timeout`](crate::timeout()) bounds them together."
}
bytes! { TcpStream }

impl Bytes for net::TcpStream {
    const SHORT_READ_EMPTIES: bool = true;
}

/// Connects to one address.
fn open(addr: &SocketAddr, deadline: Option<Instant>) -> io::Result<TcpStream> {
    let source = Source::<net::TcpStream>::new(new_socket(addr, Type::STREAM)?.into())?;
    match SockRef::from(source.get()).connect(&(*addr).into()) {
        Ok(()) => {}
        Err(error) if socket::in_progress(&error) => {
            source.retry_until(Interest::Write, Why::Connect, deadline, established)?;
        }
        Err(error) => return Err(error),
    }
    Ok(TcpStream { source })
}

/// Whether a connection under way has come about: yes, not yet (`WouldBlock`), or why not.
fn established(socket: &net::TcpStream) -> io::Result<()> {
    // An answer that comes between the two calls leaves NotConnected here and rings the waiter, who looks again.
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    match socket.peer_addr() {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => {
            Err(io::ErrorKind::WouldBlock.into())
        }
        Err(error) => Err(error),
    }
}
