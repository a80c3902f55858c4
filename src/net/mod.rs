//! Sockets with the names, signatures and errors of [`std::net`], whose waits suspend the task instead of the thread.
//!
//! A program moves over by its `use` lines: `std::net` becomes `multitask::net`, and the rest compiles as it stands.
//!
//! ```
//! use multitask::net::{TcpListener, TcpStream};
//! use std::io::{self, Read, Write};
//!
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let addr = listener.local_addr()?;
//!
//! let server = multitask::spawn(move || -> io::Result<()> {
//!     let (mut stream, _peer) = listener.accept()?; // suspends this task only
//!     io::copy(&mut stream.try_clone()?, &mut stream)?;
//!     Ok(())
//! });
//! let client = multitask::spawn(move || -> io::Result<String> {
//!     let mut stream = TcpStream::connect(addr)?;
//!     stream.write_all(b"hello")?;
//!     stream.shutdown(std::net::Shutdown::Write)?;
//!     io::read_to_string(stream)
//! });
//!
//! assert_eq!(client.join().unwrap()?, "hello");
//! server.join().unwrap()?;
//! # Ok::<(), io::Error>(())
//! ```
//!
//! # What holds for every socket here
//!
//! 1. An operation tries its system call first and waits only when that has nothing to say. Inside a task the wait suspends the
//!    task; on a plain thread it blocks the thread.
//! 2. A wait ends early by the socket's own timeout (an error of kind [`TimedOut`](std::io::ErrorKind::TimedOut) that carries
//!    [`Timeout`](crate::Timeout); std reports `WouldBlock` or `TimedOut`, by platform), by a [`timeout`](crate::timeout())
//!    scope, or because the task is cancelled. The socket stays usable after each.
//! 3. Any number of tasks and threads may wait on one socket, in either direction, through `&`, an `Arc` or a clone.
//! 4. Names are looked up by the blocking pool, never on the thread that runs the tasks: see [`ToSocketAddrs`].
//!
//! Unix sockets are in [`multitask::os::unix::net`](crate::os::unix::net).
//!
//! # Beyond std
//!
//! [`TcpListener::accept_timeout`] and [`accept_deadline`](TcpListener::accept_deadline), since std has no timeout for `accept`; many datagrams with
//! one system call: [`UdpSocket::recv_many`], [`send_many`](UdpSocket::send_many), [`send_many_to`](UdpSocket::send_many_to), [`RecvBatch`];
//! ports that several sockets share: [`TcpListener::bind_shared`], [`UdpSocket::bind_shared`]; and options to be set before a listener is bound:
//! [`TcpListener::builder`].
//!
//! # The descriptor inside
//!
//! It is non-blocking for as long as a socket of this module owns it. Code that makes its own system calls on what
//! [`as_raw_fd`](std::os::fd::AsRawFd) or [`as_fd`](std::os::fd::AsFd) answers meets `EAGAIN`; that is the one difference from std to be
//! seen through a descriptor. `set_nonblocking(true)` therefore sets a flag of ours: operations then answer `WouldBlock` where they
//! would have waited. Clones share it, as they share std's.
//!
//! **Handing out** (`std::net::TcpStream::from(ours)`, `OwnedFd::from(ours)`, `into_raw_fd`) makes the descriptor blocking again, unless
//! `set_nonblocking(true)` was asked for, and it keeps its timeouts. The kernel holds that mode once for all duplicates of
//! a descriptor: one that is handed out while clones of it are still in use here stays non-blocking, for otherwise they would
//! block the thread that runs the tasks.
//!
//! **Taking in** (`TcpStream::from(std's)`, `from(OwnedFd)`, `from_raw_fd`) accepts a blocking or a non-blocking descriptor, reads its
//! timeouts, and starts with `set_nonblocking(false)`: as every descriptor of ours is non-blocking, its mode does not tell what was wished for.
//! As in std, what is taken in need not be a socket of the right kind, and its operations then fail.
//!
//! Both are infallible, as std's are. The mode of an open descriptor can always be set; for one that is not open, or was opened with `O_PATH`,
//! the conversion **panics**, where std's fails at the first use: such a descriptor may never be left blocking in a task's hands.

pub(crate) mod addr;
#[allow(unsafe_code)] // FromRawFd's methods are unsafe by their trait
pub(crate) mod fd;
pub(crate) mod listen;
pub(crate) mod listener;
mod server;
pub(crate) mod socket;
mod stream;
mod udp;

pub use addr::ToSocketAddrs;
pub use listen::Listener;
pub use listener::{Incoming, ListenerBuilder, TcpListener};
pub use server::{Handled, Incident, Server, ServerHandle, ServerReport};
pub use std::net::{
    AddrParseError, IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, SocketAddrV4, SocketAddrV6,
};
pub use stream::TcpStream;
pub use udp::{Datagram, Datagrams, RecvBatch, UdpSocket};
