//! Owns the passages between a socket of ours, std's socket and a bare descriptor; `os::unix::net` uses them for its own.
//!
//! 1. Every passage leads through std's socket type, so there is one way in (`take_in`) and one way out (`hand_out`).
//! 2. What is inside is non-blocking: `take_in` panics rather than let a descriptor in that cannot be made so.
//! 3. The timeouts a descriptor carries are those of its `Settings`, in both directions.

use super::listener::TcpListener;
use super::stream::TcpStream;
use super::udp::UdpSocket;
use crate::io::source::Source;
use crate::sys::socket::SockRef;
use std::os::fd::AsFd;

/// Wraps std's socket, with the timeouts it carries.
///
/// A descriptor that has no timeouts to read, not being a socket, is let in as std lets it in: its operations will say what is wrong.
pub(crate) fn take_in<T: AsFd>(inner: T) -> Source<T> {
    let socket = SockRef::from(&inner);
    let (read, write) = (socket.read_timeout(), socket.write_timeout());
    let source = Source::new(inner)
        .unwrap_or_else(|error| panic!("the descriptor cannot be made non-blocking: {error}"));
    source.settings().set_read_timeout(read.unwrap_or(None));
    source.settings().set_write_timeout(write.unwrap_or(None));
    source
}

/// Unwraps std's socket; its timeouts are on it already, since `set_read_timeout` puts them there.
pub(crate) fn hand_out<T: AsFd>(source: Source<T>) -> T {
    source
        .into_inner()
        .unwrap_or_else(|error| panic!("the descriptor cannot be made blocking again: {error}"))
}

/// The conversions of each of our sockets from and into std's and descriptors, and the traits of descriptors.
macro_rules! passages {
    ($($socket:ident: $std:ty),* $(,)?) => {$(const _: () = {
        use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

        /// Takes std's socket in; never suspends. Its timeouts stay, and it waits like a task whatever its mode was.
        ///
        /// # Panics
        ///
        /// If the descriptor is not open, which safe code cannot bring about, or was opened with `O_PATH`.
        impl From<$std> for $socket {
            fn from(inner: $std) -> Self {
                Self { source: $crate::net::fd::take_in(inner) }
            }
        }

        /// Hands std's socket out; never suspends. It is blocking, unless `set_nonblocking(true)` was asked for, and keeps its timeouts.
        impl From<$socket> for $std {
            fn from(socket: $socket) -> Self {
                $crate::net::fd::hand_out(socket.source)
            }
        }

        /// Takes a descriptor in, as the conversion from std's socket does.
        impl From<OwnedFd> for $socket {
            fn from(fd: OwnedFd) -> Self {
                <$std>::from(fd).into()
            }
        }

        /// Hands the descriptor out, as the conversion to std's socket does.
        impl From<$socket> for OwnedFd {
            fn from(socket: $socket) -> Self {
                <$std>::from(socket).into()
            }
        }

        impl FromRawFd for $socket {
            unsafe fn from_raw_fd(fd: RawFd) -> Self {
                // SAFETY: the caller promises that `fd` is open and now ours alone, which is what std asks for.
                unsafe { <$std>::from_raw_fd(fd) }.into()
            }
        }

        impl IntoRawFd for $socket {
            fn into_raw_fd(self) -> RawFd {
                <$std>::from(self).into_raw_fd()
            }
        }

        impl AsFd for $socket {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.source.get().as_fd()
            }
        }

        impl AsRawFd for $socket {
            fn as_raw_fd(&self) -> RawFd {
                self.source.get().as_raw_fd()
            }
        }
    };)*};
}
pub(crate) use passages;

passages! {
    TcpListener: std::net::TcpListener,
    TcpStream: std::net::TcpStream,
    UdpSocket: std::net::UdpSocket,
}
