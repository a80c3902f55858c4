//! Unix sockets with the names, signatures and errors of [`std::os::unix::net`], whose waits suspend the task instead of the thread.
//!
//! ```
//! use multitask::os::unix::net::UnixStream;
//! use std::io::{self, BufRead, BufReader, Write};
//!
//! let (ours, theirs) = UnixStream::pair()?;
//! let echo = multitask::spawn(move || io::copy(&mut &theirs, &mut &theirs).map(drop));
//!
//! writeln!(&ours, "hello")?;
//! let mut line = String::new();
//! BufReader::new(&ours).read_line(&mut line)?; // suspends this task only
//! assert_eq!(line, "hello\n");
//!
//! drop(ours);
//! echo.join().unwrap()?;
//! # Ok::<(), io::Error>(())
//! ```
//!
//! What [`multitask::net`](crate::net) says of its sockets, of their waits and of the descriptor inside, holds here too. [`SocketAddr`] is std's own
//! type, so std's `SocketAddrExt` makes and reads abstract addresses:
//!
//! ```
//! # #[cfg(target_os = "linux")] {
//! use multitask::os::unix::net::{SocketAddr, UnixListener, UnixStream};
//! use std::os::linux::net::SocketAddrExt;
//!
//! let addr = SocketAddr::from_abstract_name(format!("docs-{}", std::process::id()))?;
//! let listener = UnixListener::bind_addr(&addr)?;
//! let client = UnixStream::connect_addr(&addr)?;
//! let (_stream, peer) = listener.accept()?;
//! assert!(peer.is_unnamed());
//! # drop(client);
//! # }
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Two waits of which no event tells
//!
//! A `connect` to a listener whose backlog is full, and a `send_to` of a [`UnixDatagram`] to a peer whose queue is full, wait for room at the
//! *other* socket, and the kernel has no event for that. They look again after 1, 2, 4, 8, and then every 16 ms. Like any wait they suspend the task
//! only, and can be bounded and cancelled. A datagram socket that is connected is told, and waits as usual: prefer `connect` and `send` where much is
//! sent.

mod datagram;
#[allow(unsafe_code)] // FromRawFd's methods are unsafe by their trait
mod fd;
mod listener;
mod stream;

pub use datagram::UnixDatagram;
pub use listener::{Incoming, UnixListener};
pub use std::os::unix::net::SocketAddr;
pub use stream::UnixStream;
