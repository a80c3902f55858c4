//! `AsyncRead` and `AsyncWrite` of the crate `futures-io` for the streams of this one (feature `futures-io`).
//!
//! The traits are those of the `futures` and `smol` families. They take the same non-blocking system calls as `Read` and `Write` do, and
//! leave a waker where those would wait:
//!
//! 1. A call comes first. If it would block, the waker is left for the next event after it: if one came in between, the call is
//!    made again.
//! 2. There is one waker for each direction of a stream: who polls last is woken. Who was there before is woken as well, at
//!    once, and may poll again: two that read from one stream at the same time wake each other for ever.
//! 3. Polling never suspends. An operation takes a unit of the task's budget, as any; when that is used up the future wakes
//!    itself, and others run first.
//! 4. Time limits of a stream are not heeded, nor is its `set_nonblocking`: futures are bounded from outside.

use super::waker::calls_a_task_of_this_worker;
use crate::io::source::Source;
use crate::io::{PipeReader, PipeWriter};
use crate::net::TcpStream;
use crate::os::unix::net::UnixStream;
use crate::process::{ChildStderr, ChildStdin, ChildStdout};
use crate::rt::park::try_charge;
use crate::rt::reactor::Interest;
use crate::sys::file;
use futures_io::{AsyncRead, AsyncWrite};
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Calls `op`, again and again if need be, until it has an answer, or its waker is where it is called.
fn attempt<T: AsFd, R>(
    source: &Source<T>,
    interest: Interest,
    cx: &mut Context<'_>,
    mut op: impl FnMut(&T) -> io::Result<R>,
) -> Poll<io::Result<R>> {
    if !try_charge() {
        cx.waker().wake_by_ref();
        return Poll::Pending;
    }
    loop {
        let tick = source.tick(interest.into());
        match op(source.get()) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            done => return Poll::Ready(done),
        }
        let here = calls_a_task_of_this_worker(cx.waker());
        match source.wake_by_event(interest, tick, cx.waker(), here) {
            Ok(true) => return Poll::Pending,
            Ok(false) => {}
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
}

/// Reading, by what `$read` does with the inner stream and buffers.
macro_rules! reads {
    ($($stream:ident)*, $read:expr) => {$(
        /// With the feature `futures-io`. Never suspends: see [`future`](crate::future).
        impl AsyncRead for &$stream {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                self.poll_read_vectored(cx, &mut [IoSliceMut::new(buf)])
            }

            fn poll_read_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &mut [IoSliceMut<'_>],
            ) -> Poll<io::Result<usize>> {
                attempt(&self.source, Interest::Read, cx, |inner| $read(inner, bufs))
            }
        }

        /// With the feature `futures-io`. Never suspends: see [`future`](crate::future).
        impl AsyncRead for $stream {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut &*self).poll_read(cx, buf)
            }

            fn poll_read_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &mut [IoSliceMut<'_>],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut &*self).poll_read_vectored(cx, bufs)
            }
        }
    )*};
}

/// Writing, as `reads`; `$close` is what closing does, which is told by `$closing`.
macro_rules! writes {
    ($($stream:ident)*, $write:expr, $this:ident => $close:expr, $closing:literal) => {$(
        /// With the feature `futures-io`. Never suspends: see [`future`](crate::future).
        #[doc = $closing]
        impl AsyncWrite for &$stream {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.poll_write_vectored(cx, &[IoSlice::new(buf)])
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                attempt(&self.source, Interest::Write, cx, |inner| $write(inner, bufs))
            }

            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                let $this: &$stream = &self;
                Poll::Ready($close)
            }
        }

        /// With the feature `futures-io`. Never suspends: see [`future`](crate::future).
        #[doc = $closing]
        impl AsyncWrite for $stream {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut &*self).poll_write(cx, buf)
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut &*self).poll_write_vectored(cx, bufs)
            }

            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut &*self).poll_close(cx)
            }
        }
    )*};
}

reads! { TcpStream UnixStream, |mut socket, bufs: &mut [IoSliceMut<'_>]| Read::read_vectored(&mut socket, bufs) }
reads! { PipeReader ChildStdout ChildStderr, |pipe, bufs: &mut [IoSliceMut<'_>]| file::read(AsFd::as_fd(pipe), bufs) }
writes! {
    TcpStream UnixStream,
    |mut socket, bufs: &[IoSlice<'_>]| Write::write_vectored(&mut socket, bufs),
    stream => stream.shutdown(Shutdown::Write),
    "Closing shuts the writing direction down, for all handles of the stream."
}
writes! {
    PipeWriter ChildStdin,
    |pipe, bufs: &[IoSlice<'_>]| file::write(AsFd::as_fd(pipe), bufs),
    _end => Ok(()),
    "Closing does nothing: who reads is told when the last handle is dropped."
}
