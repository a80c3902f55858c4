//! Owns what all sockets have in common, those of `os::unix::net` included: waiting within a timeout, accepting, and the methods that are
//! the same for each.
//!
//! 1. Waiting is `Source`'s: nothing here suspends by itself.
//! 2. A timeout is in `Settings`, where our waits find it, and on the kernel's socket, where it serves whoever the socket is handed to.
//! 3. What two sockets would write alike is written once, here: as a function, or as a macro where it is a method or a trait.
//!    The macros ask for a field `source: Source<std's socket>`.

use crate::io::source::Source;
use crate::rt::{header::Why, reactor::Interest};
use crate::sys::socket::{accept_nonblocking, share_port, Domain, SockAddr, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

/// A socket of `addr`'s family, close-on-exec, and non-blocking from birth where the system can make one; `Source::new` sees to the rest.
pub(super) fn new_socket(addr: &SocketAddr, kind: Type) -> io::Result<Socket> {
    #[cfg(not(target_vendor = "apple"))]
    let kind = kind.nonblocking();
    Socket::new(Domain::for_address(*addr), kind, None)
}

/// Binds a socket to a port that others may have together with it. Port 0 asks for one that nobody has.
pub(super) fn bind_sharing(socket: &Socket, addr: &SocketAddr) -> io::Result<()> {
    if addr.port() == 0 {
        // In this order: of a UDP socket that shares, Linux takes "any port" to include those of others that share.
        socket.bind(&(*addr).into())?;
        return share_port(socket);
    }
    share_port(socket)?;
    socket.bind(&(*addr).into())
}

/// Repeats `op` until it has read something, for at most the read timeout.
#[inline]
pub(crate) fn receive<T: AsFd, R>(
    source: &Source<T>,
    op: impl FnMut(&T) -> io::Result<R>,
) -> io::Result<R> {
    let limit = source.settings().read_timeout();
    source.retry(Interest::Read, Why::Read, limit, op)
}

/// A socket that is read byte by byte.
pub(crate) trait Bytes: AsFd {
    /// Whether a read that leaves room has taken all there was, as long as no event told of more than bytes.
    const SHORT_READ_EMPTIES: bool;
}

/// As [`receive`], of `op` that reads bytes, for so many of which it has `room`.
#[inline]
pub(crate) fn receive_bytes<T: Bytes>(
    source: &Source<T>,
    room: usize,
    op: impl FnMut(&T) -> io::Result<usize>,
) -> io::Result<usize> {
    if T::SHORT_READ_EMPTIES {
        source.retry_read(room, source.settings().read_timeout(), op)
    } else {
        receive(source, op)
    }
}

/// Repeats `op` until it has written something, for at most the write timeout.
#[inline]
pub(crate) fn send<T: AsFd, R>(
    source: &Source<T>,
    op: impl FnMut(&T) -> io::Result<R>,
) -> io::Result<R> {
    let limit = source.settings().write_timeout();
    source.retry(Interest::Write, Why::Write, limit, op)
}

/// Takes the next connection of a listener; `address` reads the peer's.
pub(crate) fn accept<L: AsFd, S: AsFd + From<OwnedFd>, A>(
    listener: &Source<L>,
    address: fn(&SockAddr) -> io::Result<A>,
) -> io::Result<(Source<S>, A)> {
    // None for a listener of our own making; a descriptor taken in may carry SO_RCVTIMEO, which the kernel's accept honours.
    let limit = listener.settings().read_timeout();
    let accepted = listener.retry(Interest::Read, Why::Accept, limit, |inner| {
        accept_one(inner, address)
    })?;
    Ok(welcome(listener, accepted))
}

/// As [`accept`], when `admit` has made room for a connection, for which it may wait. The room is there for the system call only: while
/// nobody connects, others can have it.
pub(crate) fn accept_if<L: AsFd, S: AsFd + From<OwnedFd>, A, R>(
    listener: &Source<L>,
    address: fn(&SockAddr) -> io::Result<A>,
    mut admit: impl FnMut() -> io::Result<R>,
) -> io::Result<(R, Source<S>, A)> {
    let accepted = listener.retry(Interest::Read, Why::Accept, None, |inner| {
        let room = admit()?;
        Ok((room, accept_one(inner, address)?))
    });
    let (room, accepted) = accepted?;
    let (source, peer) = welcome(listener, accepted);
    Ok((room, source, peer))
}

/// As [`accept`], until `deadline`; one that has passed looks once.
pub(crate) fn accept_until<L: AsFd, S: AsFd + From<OwnedFd>, A>(
    listener: &Source<L>,
    deadline: Option<Instant>,
    address: fn(&SockAddr) -> io::Result<A>,
) -> io::Result<(Source<S>, A)> {
    let accepted = listener.retry_until(Interest::Read, Why::Accept, deadline, |inner| {
        accept_one(inner, address)
    })?;
    Ok(welcome(listener, accepted))
}

/// One try of `accept`, repeated only when a signal came in between, as std does.
fn accept_one<A>(
    listener: &impl AsFd,
    address: fn(&SockAddr) -> io::Result<A>,
) -> io::Result<(OwnedFd, A)> {
    loop {
        match accept_nonblocking(listener.as_fd()) {
            Ok((fd, peer)) => return Ok((fd, address(&peer)?)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
    }
}

/// Makes a source of an accepted socket. The kernel lets it inherit the listener's timeouts, so ours are inherited too.
fn welcome<L: AsFd, S: AsFd + From<OwnedFd>, A>(
    listener: &Source<L>,
    (fd, peer): (OwnedFd, A),
) -> (Source<S>, A) {
    let (ours, source) = (listener.settings(), Source::adopt(S::from(fd)));
    source.settings().set_read_timeout(ours.read_timeout());
    source.settings().set_write_timeout(ours.write_timeout());
    (source, peer)
}

/// What every socket has: another handle, the pending error, the non-blocking flag, and std's `Debug`.
macro_rules! any_socket {
    ($socket:ident) => {
        const _: () = {
            use std::{fmt, io};

            impl $socket {
                /// Makes another handle to the same socket, which shares its timeouts and its `set_nonblocking`; never suspends.
                ///
                /// Using it from several tasks needs none: every operation works through `&`, so an `Arc` does as well and takes no second
                /// descriptor.
                ///
                /// # Errors
                ///
                /// Those of duplicating a descriptor: the process may have run out of them.
                pub fn try_clone(&self) -> io::Result<$socket> {
                    let inner = self.source.get().try_clone()?;
                    let settings = self.source.settings().share();
                    let source = $crate::io::source::Source::with_settings(inner, settings)?;
                    Ok($socket { source })
                }

                /// Takes the error pending on the socket (`SO_ERROR`), clearing it; never suspends.
                ///
                /// # Errors
                ///
                /// Those of `getsockopt`.
                pub fn take_error(&self) -> io::Result<Option<io::Error>> {
                    self.source.get().take_error()
                }

                /// Makes operations answer `WouldBlock` where they would have waited, or wait again; never suspends.
                ///
                /// Clones share the flag. An operation already waiting is not disturbed. The descriptor itself is non-blocking always.
                ///
                /// # Errors
                ///
                /// None today; the result is std's.
                pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
                    self.source.settings().set_nonblocking(nonblocking);
                    Ok(())
                }
            }

            impl fmt::Debug for $socket {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    self.source.get().fmt(f)
                }
            }
        };
    };
}
pub(crate) use any_socket;

/// std's timeouts. The texts name the operations that each bounds, and may add a word on the second.
macro_rules! timeouts {
    ($socket:ident, reads: $reads:literal, writes: $writes:literal $(, $note:literal)?) => {
        const _: () = {
            use std::io;
            use std::time::Duration;

            impl $socket {
                #[doc = concat!("Bounds each later ", $reads, " by `dur`; `None` lets them wait for ever. Never suspends.")]
                ///
                /// One that exceeds it fails with `TimedOut`, carrying [`Timeout`](crate::Timeout), and the socket stays usable.
                ///
                /// # Errors
                ///
                /// `InvalidInput` if `dur` is zero, else those of `setsockopt`.
                pub fn set_read_timeout(&self, dur: Option<Duration>) -> io::Result<()> {
                    self.source.get().set_read_timeout(dur)?;
                    self.source.settings().set_read_timeout(dur);
                    Ok(())
                }

                #[doc = concat!("Bounds each later ", $writes, " by `dur`; `None` lets them wait for ever. Never suspends.")]
                ///
                /// One that exceeds it fails with `TimedOut`, carrying [`Timeout`](crate::Timeout), and the socket stays usable.
                $(#[doc = $note])?
                ///
                /// # Errors
                ///
                /// `InvalidInput` if `dur` is zero, else those of `setsockopt`.
                pub fn set_write_timeout(&self, dur: Option<Duration>) -> io::Result<()> {
                    self.source.get().set_write_timeout(dur)?;
                    self.source.settings().set_write_timeout(dur);
                    Ok(())
                }

                #[doc = concat!("The bound of each ", $reads, ", exactly as it was set (the system keeps it rounded); never suspends.")]
                ///
                /// # Errors
                ///
                /// None today; the result is std's.
                pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
                    Ok(self.source.settings().read_timeout())
                }

                #[doc = concat!("The bound of each ", $writes, ", exactly as it was set (the system keeps it rounded); never suspends.")]
                ///
                /// # Errors
                ///
                /// None today; the result is std's.
                pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
                    Ok(self.source.settings().write_timeout())
                }
            }
        };
    };
}
pub(crate) use timeouts;

/// `Read` and `Write` for the stream, and through `&`.
macro_rules! bytes {
    ($stream:ident) => {
        const _: () = {
            use std::io::{self, IoSlice, IoSliceMut, Read, Write};
            use $crate::net::socket::{receive_bytes, send};

            /// Suspends the task until there is something to read or the peer has finished.
            impl Read for $stream {
                #[inline]
                fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                    (&*self).read(buf)
                }

                #[inline]
                fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                    (&*self).read_vectored(bufs)
                }
            }

            /// Suspends the task until there is room to write; `flush` never does.
            impl Write for $stream {
                #[inline]
                fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                    (&*self).write(buf)
                }

                #[inline]
                fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                    (&*self).write_vectored(bufs)
                }

                #[inline]
                fn flush(&mut self) -> io::Result<()> {
                    Ok(())
                }
            }

            impl Read for &$stream {
                #[inline]
                fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                    receive_bytes(&self.source, buf.len(), |mut socket| socket.read(buf))
                }

                #[inline]
                fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                    let room = bufs.iter().map(|buf| buf.len()).sum();
                    receive_bytes(&self.source, room, |mut socket| socket.read_vectored(bufs))
                }
            }

            impl Write for &$stream {
                #[inline]
                fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                    send(&self.source, |mut socket| socket.write(buf))
                }

                #[inline]
                fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                    send(&self.source, |mut socket| socket.write_vectored(bufs))
                }

                #[inline]
                fn flush(&mut self) -> io::Result<()> {
                    Ok(())
                }
            }
        };
    };
}
pub(crate) use bytes;
