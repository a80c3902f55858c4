//! Descriptors of any kind: what lies behind one, and reading and writing it.

use super::beyond;
pub(crate) use super::beyond::{read_nowait, write_nowait};
use super::transfer::{count, vectors};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd};

/// What lies behind a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nature {
    /// A file, a folder or a disk: always ready as `poll(2)` has it, and a call may still take its time.
    Storage,
    /// A pipe, a socket, a terminal, another device: it says when it is ready.
    Stream,
}

/// Asks no server and no disk where the kernel can be told so; elsewhere it may.
///
/// # Errors
///
/// Those of `fstat(2)`.
pub(crate) fn nature(fd: BorrowedFd<'_>) -> io::Result<Nature> {
    Ok(match kind(fd)? {
        libc::S_IFREG | libc::S_IFDIR | libc::S_IFBLK => Nature::Storage,
        _ => Nature::Stream,
    })
}

fn kind(fd: BorrowedFd<'_>) -> io::Result<libc::mode_t> {
    beyond::kind(fd).map_or_else(|| kind_by_fstat(fd), Ok)
}

fn kind_by_fstat(fd: BorrowedFd<'_>) -> io::Result<libc::mode_t> {
    // SAFETY: plain integers.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `stat` outlives the call.
    if unsafe { libc::fstat(fd.as_raw_fd(), &mut stat) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(stat.st_mode & libc::S_IFMT)
}

/// Reads once; waits for data unless the open file is non-blocking.
///
/// # Errors
///
/// Those of `readv(2)`.
pub(crate) fn read(fd: BorrowedFd<'_>, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    // SAFETY: `IoSliceMut` is an `iovec` by its own promise; there are as many as are counted.
    count(unsafe { libc::readv(fd.as_raw_fd(), bufs.as_ptr().cast(), vectors(bufs.len())) })
}

/// Writes once; waits for room unless the open file is non-blocking.
///
/// # Errors
///
/// Those of `writev(2)`.
pub(crate) fn write(fd: BorrowedFd<'_>, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
    // SAFETY: `IoSlice` is an `iovec` by its own promise; there are as many as are counted.
    count(unsafe { libc::writev(fd.as_raw_fd(), bufs.as_ptr().cast(), vectors(bufs.len())) })
}

/// Whether the kernel has no call that does not wait for this kind of file: terminals, and most kinds before Linux 6.4.
pub(crate) fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOSYS))
}

/// Whether the descriptor is not open, or not for this direction.
pub(crate) fn is_closed(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EBADF)
}

/// So many bytes can be written at once to a pipe that is ready without waiting.
pub(crate) const PIPE_BUF: usize = libc::PIPE_BUF;

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::ErrorKind::WouldBlock;
    use std::os::fd::AsFd;

    #[test]
    fn files_and_folders_are_storage_and_the_rest_is_not() {
        let (pipe, _other) = std::io::pipe().expect("descriptors");
        let natures = [
            (std::env::current_exe().expect("a path"), Nature::Storage),
            ("/".into(), Nature::Storage),
            ("/dev/null".into(), Nature::Stream),
        ];
        for (path, expected) in natures {
            let file = File::open(&path).expect("it is there");
            assert_eq!(nature(file.as_fd()).expect("open"), expected, "{path:?}");
        }
        assert_eq!(nature(pipe.as_fd()).expect("open"), Nature::Stream);
    }

    #[test]
    fn a_blocking_pipe_is_read_and_written_without_waiting_or_says_that_it_cannot_be() {
        let (reader, writer) = std::io::pipe().expect("descriptors");
        let mut buf = [0; 4];
        let mut bufs = [IoSliceMut::new(&mut buf)];
        match read_nowait(reader.as_fd(), &mut bufs, None) {
            Err(error) if is_unsupported(&error) => return,
            nothing => assert_eq!(nothing.expect_err("it is empty").kind(), WouldBlock),
        }
        let written = write_nowait(
            writer.as_fd(),
            &[IoSlice::new(b"ab"), IoSlice::new(b"c")],
            None,
        );
        assert_eq!(written.expect("room"), 3);
        assert_eq!(
            read_nowait(reader.as_fd(), &mut bufs, None).expect("data"),
            3
        );
        assert_eq!(&buf[..3], b"abc");
        let full = loop {
            if let Err(full) = write_nowait(writer.as_fd(), &[IoSlice::new(&[0; 1000])], None) {
                break full;
            }
        };
        assert_eq!(full.kind(), WouldBlock);
    }
}
