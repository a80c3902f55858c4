//! Owns [`pipe()`] and the two types of its ends.
//!
//! 1. An end is non-blocking while it is one of ours (`Source`), and as std's when it is handed out.

use super::source::Source;
use crate::rt::header::Why;
use crate::rt::reactor::Interest;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::process::Stdio;
use std::sync::Arc;

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
/// A read answers 0 when all writers are gone. Handing it out (to a child's [`Stdio`], to std, as an [`OwnedFd`]) makes it
/// blocking again, unless clones of it are still in use here; taking in makes it non-blocking, for all that share it. For a
/// descriptor that is shared with others there is [`Fd`](super::Fd), which leaves it as it is.
pub struct PipeReader {
    source: Source<io::PipeReader>,
}

/// The writing end of a [`pipe()`]: [`std::io::PipeWriter`], whose writes suspend the task only.
///
/// A write fails with `BrokenPipe` when all readers are gone. For handing out and taking in see [`PipeReader`].
pub struct PipeWriter {
    source: Source<io::PipeWriter>,
}

impl PipeReader {
    fn receive<R>(&self, op: impl FnMut(&io::PipeReader) -> io::Result<R>) -> io::Result<R> {
        self.source.retry(Interest::Read, Why::Read, None, op)
    }
}

impl PipeWriter {
    fn send<R>(&self, op: impl FnMut(&io::PipeWriter) -> io::Result<R>) -> io::Result<R> {
        self.source.retry(Interest::Write, Why::Write, None, op)
    }
}

/// Suspends the task until there is something to read or all writers are gone.
impl Read for PipeReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(bufs)
    }
}

impl Read for &PipeReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.receive(|mut pipe| pipe.read(buf))
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.receive(|mut pipe| pipe.read_vectored(bufs))
    }
}

/// Suspends the task until there is room to write; `flush` never does.
impl Write for PipeWriter {
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

impl Write for &PipeWriter {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.send(|mut pipe| pipe.write(buf))
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.send(|mut pipe| pipe.write_vectored(bufs))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

macro_rules! ends {
    ($($end:ident)*) => {$(
        impl $end {
            /// Makes another handle to the same end; never suspends.
            ///
            /// # Errors
            /// The process is out of descriptors.
            pub fn try_clone(&self) -> io::Result<$end> {
                let settings = Arc::clone(self.source.settings());
                let source = Source::with_settings(self.source.get().try_clone()?, settings)?;
                Ok($end { source })
            }
        }

        /// Takes std's end in; never suspends.
        ///
        /// # Panics
        /// If the descriptor is not open, which safe code cannot bring about, or was opened with `O_PATH`.
        impl From<io::$end> for $end {
            fn from(inner: io::$end) -> Self {
                let source = Source::new(inner).unwrap_or_else(|error| {
                    panic!("the descriptor cannot be made non-blocking: {error}")
                });
                $end { source }
            }
        }

        /// Hands std's end out; never suspends. It is blocking.
        impl From<$end> for io::$end {
            fn from(end: $end) -> Self {
                end.source.into_inner().unwrap_or_else(|error| {
                    panic!("the descriptor cannot be made blocking again: {error}")
                })
            }
        }

        impl From<OwnedFd> for $end {
            fn from(fd: OwnedFd) -> Self {
                io::$end::from(fd).into()
            }
        }

        impl From<$end> for OwnedFd {
            fn from(end: $end) -> Self {
                io::$end::from(end).into()
            }
        }

        impl From<$end> for Stdio {
            fn from(end: $end) -> Self {
                io::$end::from(end).into()
            }
        }

        impl FromRawFd for $end {
            unsafe fn from_raw_fd(fd: RawFd) -> Self {
                // SAFETY: the caller promises that `fd` is open and now ours alone, which is what std asks for.
                unsafe { io::$end::from_raw_fd(fd) }.into()
            }
        }

        impl IntoRawFd for $end {
            fn into_raw_fd(self) -> RawFd {
                io::$end::from(self).into_raw_fd()
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
    )*};
}

ends! { PipeReader PipeWriter }
