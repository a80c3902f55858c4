//! Owns [`pipe()`], the two types of its ends, and what they share with the ends of a child's pipes (`process`).
//!
//! 1. An end is non-blocking while it is one of ours (`Source`), and as std's when it is handed out.

use super::source::Source;
use crate::rt::header::Why;
use crate::rt::reactor::Interest;
use crate::sys::file;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, FromRawFd, RawFd};
use std::time::Duration;

/// Makes a pipe, the way of bytes from one task, thread or process to another. As [`std::io::pipe`].
///
/// # Errors
/// The process is out of descriptors.
///
/// ```
/// use multitask::{io::pipe, spawn};
/// use std::io::{Read, Write};
///
/// let (mut reader, mut writer) = pipe()?;
/// let echo = spawn(move || {
///     let mut text = String::new();
///     reader.read_to_string(&mut text).map(|_| text) // suspends until the writer is gone
/// });
/// writer.write_all(b"through the pipe")?;
/// drop(writer);
/// assert_eq!(echo.join().unwrap()?, "through the pipe");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = io::pipe()?;
    let (reader, writer) = (Source::new(reader)?, Source::new(writer)?);
    Ok((PipeReader { source: reader }, PipeWriter { source: writer }))
}

/// The reading end of a [`pipe()`]: [`std::io::PipeReader`], whose reads suspend the task only.
///
/// A read answers 0 when all writers are gone. Handing it out (to a child's [`Stdio`](std::process::Stdio), to std, as an [`OwnedFd`](std::os::fd::OwnedFd)) makes it
/// blocking again, unless clones of it are still in use here; taking in makes it non-blocking, for all that share it. For a
/// descriptor that is shared with others there is [`Fd`](super::Fd), which leaves it as it is.
pub struct PipeReader {
    pub(crate) source: Source<io::PipeReader>,
}

/// The writing end of a [`pipe()`]: [`std::io::PipeWriter`], whose writes suspend the task only.
///
/// A write fails with `BrokenPipe` when all readers are gone. For handing out and taking in see [`PipeReader`].
pub struct PipeWriter {
    pub(crate) source: Source<io::PipeWriter>,
}

/// What is at the reading end of a pipe, ours or a child's.
pub(crate) fn receive<T: AsFd>(
    source: &Source<T>,
    bufs: &mut [IoSliceMut<'_>],
) -> io::Result<usize> {
    let limit = source.settings().read_timeout();
    source.retry(Interest::Read, Why::Read, limit, |pipe| {
        file::read(pipe.as_fd(), bufs)
    })
}

/// What is at the writing end of a pipe, ours or a child's.
pub(crate) fn send<T: AsFd>(source: &Source<T>, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
    let limit = source.settings().write_timeout();
    source.retry(Interest::Write, Why::Write, limit, |pipe| {
        file::write(pipe.as_fd(), bufs)
    })
}

/// What a type with a `source` has that reads from a pipe.
macro_rules! reading_ends {
    ($($end:ident)*) => {$(const _: () = {
        use std::io::{self, IoSliceMut, Read};

        impl $end {
            /// Bounds the wait of each later read by `timeout`; `None` lets it last for ever. As that of std's sockets.
            ///
            /// A read that exceeds it fails with `TimedOut`, carrying [`Timeout`](crate::Timeout), and has taken nothing.
            ///
            /// # Errors
            /// `InvalidInput` if it is zero.
            pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
                let timeout = $crate::io::fd::checked(timeout)?;
                self.source.settings().set_read_timeout(timeout);
                Ok(())
            }

            /// The bound of each read.
            pub fn read_timeout(&self) -> Option<Duration> {
                self.source.settings().read_timeout()
            }
        }

        /// Suspends the task until there is something to read or all writers are gone.
        impl Read for $end {
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                (&*self).read(buf)
            }

            fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                (&*self).read_vectored(bufs)
            }
        }

        impl Read for &$end {
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                $crate::io::pipe::receive(&self.source, &mut [IoSliceMut::new(buf)])
            }

            fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                $crate::io::pipe::receive(&self.source, bufs)
            }
        }
    };)*};
}
pub(crate) use reading_ends;

/// What a type with a `source` has that writes to a pipe.
macro_rules! writing_ends {
    ($($end:ident)*) => {$(const _: () = {
        use std::io::{self, IoSlice, Write};

        impl $end {
            /// Bounds the wait of each later write by `timeout`; `None` lets it last for ever. As that of std's sockets.
            ///
            /// A write that exceeds it fails with `TimedOut`, carrying [`Timeout`](crate::Timeout), and has written nothing.
            ///
            /// # Errors
            /// `InvalidInput` if it is zero.
            pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
                let timeout = $crate::io::fd::checked(timeout)?;
                self.source.settings().set_write_timeout(timeout);
                Ok(())
            }

            /// The bound of each write.
            pub fn write_timeout(&self) -> Option<Duration> {
                self.source.settings().write_timeout()
            }
        }

        /// Suspends the task until there is room to write; `flush` never does.
        impl Write for $end {
            fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                (&*self).write(buf)
            }

            fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                (&*self).write_vectored(bufs)
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        impl Write for &$end {
            fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                $crate::io::pipe::send(&self.source, &[IoSlice::new(buf)])
            }

            fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                $crate::io::pipe::send(&self.source, bufs)
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
    };)*};
}
pub(crate) use writing_ends;

/// The conversions of each end from and into std's and descriptors, and the traits of descriptors.
macro_rules! passages {
    ($($end:ident: $std:ty),* $(,)?) => {$(const _: () = {
        use std::fmt;
        use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
        use std::process::Stdio;

        /// Takes std's end in; never suspends.
        ///
        /// # Panics
        /// If the descriptor is not open, which safe code cannot bring about, or was opened with `O_PATH`.
        impl From<$std> for $end {
            fn from(inner: $std) -> Self {
                let source = $crate::io::source::Source::new(inner).unwrap_or_else(|error| {
                    panic!("the descriptor cannot be made non-blocking: {error}")
                });
                $end { source }
            }
        }

        /// Hands std's end out; never suspends. It is blocking.
        impl From<$end> for $std {
            fn from(end: $end) -> Self {
                end.source.into_inner().unwrap_or_else(|error| {
                    panic!("the descriptor cannot be made blocking again: {error}")
                })
            }
        }

        impl From<OwnedFd> for $end {
            fn from(fd: OwnedFd) -> Self {
                <$std>::from(fd).into()
            }
        }

        impl From<$end> for OwnedFd {
            fn from(end: $end) -> Self {
                <$std>::from(end).into()
            }
        }

        impl From<$end> for Stdio {
            fn from(end: $end) -> Self {
                <$std>::from(end).into()
            }
        }

        impl IntoRawFd for $end {
            fn into_raw_fd(self) -> RawFd {
                <$std>::from(self).into_raw_fd()
            }
        }

        impl AsFd for $end {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.source.get().as_fd()
            }
        }

        impl AsRawFd for $end {
            fn as_raw_fd(&self) -> RawFd {
                self.source.get().as_raw_fd()
            }
        }

        impl fmt::Debug for $end {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.source.get().fmt(f)
            }
        }
    };)*};
}
pub(crate) use passages;

/// What std's pipes have and those of its children have not.
macro_rules! ends {
    ($($end:ident)*) => {$(
        impl $end {
            /// Makes another handle to the same end; never suspends.
            ///
            /// # Errors
            /// The process is out of descriptors.
            pub fn try_clone(&self) -> io::Result<$end> {
                let settings = self.source.settings().share();
                let source = Source::with_settings(self.source.get().try_clone()?, settings)?;
                Ok($end { source })
            }
        }

        impl FromRawFd for $end {
            unsafe fn from_raw_fd(fd: RawFd) -> Self {
                // SAFETY: the caller promises that `fd` is open and now ours alone, which is what std asks for.
                unsafe { io::$end::from_raw_fd(fd) }.into()
            }
        }
    )*};
}

reading_ends! { PipeReader }
writing_ends! { PipeWriter }
passages! { PipeReader: io::PipeReader, PipeWriter: io::PipeWriter }
ends! { PipeReader PipeWriter }
