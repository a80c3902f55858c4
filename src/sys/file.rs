//! Descriptors of any kind: what lies behind one, and reading and writing it.

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

/// `fstat` may ask the server of a file that is far away; this one may not.
#[cfg(any(
    target_os = "android",
    all(target_os = "linux", any(target_env = "gnu", target_env = "musl"))
))]
fn kind(fd: BorrowedFd<'_>) -> io::Result<libc::mode_t> {
    let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC;
    // SAFETY: plain integers.
    let mut stat: libc::statx = unsafe { std::mem::zeroed() };
    // SAFETY: a name that is none, so it is about `fd`; `stat` outlives the call.
    let done = unsafe {
        libc::statx(
            fd.as_raw_fd(),
            c"".as_ptr(),
            flags,
            libc::STATX_TYPE,
            &mut stat,
        )
    };
    match done {
        0 => Ok(libc::mode_t::from(stat.stx_mode) & libc::S_IFMT),
        // It is not there before Linux 4.11, and some sandboxes forbid what they do not know.
        _ => kind_by_fstat(fd),
    }
}

#[cfg(not(any(
    target_os = "android",
    all(target_os = "linux", any(target_env = "gnu", target_env = "musl"))
)))]
use kind_by_fstat as kind;

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

/// As [`read`], without waiting whatever the mode of the open file is: `WouldBlock` instead. From `at` on, or where the open
/// file stands.
///
/// # Errors
///
/// Those of `preadv2(2)`; one that [`is_unsupported`] where the kernel cannot do that with this kind of file.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn read_nowait(
    fd: BorrowedFd<'_>,
    bufs: &mut [IoSliceMut<'_>],
    at: Option<u64>,
) -> io::Result<usize> {
    let at = offset(at)?;
    // SAFETY: as in `read`.
    count(unsafe {
        libc::preadv2(
            fd.as_raw_fd(),
            bufs.as_ptr().cast(),
            vectors(bufs.len()),
            at,
            libc::RWF_NOWAIT,
        )
    })
}

/// As [`write`], without waiting whatever the mode of the open file is: `WouldBlock` instead. From `at` on, or where the open
/// file stands.
///
/// # Errors
///
/// Those of `pwritev2(2)`; one that [`is_unsupported`] where the kernel cannot do that with this kind of file.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn write_nowait(
    fd: BorrowedFd<'_>,
    bufs: &[IoSlice<'_>],
    at: Option<u64>,
) -> io::Result<usize> {
    let at = offset(at)?;
    // SAFETY: as in `write`.
    count(unsafe {
        libc::pwritev2(
            fd.as_raw_fd(),
            bufs.as_ptr().cast(),
            vectors(bufs.len()),
            at,
            libc::RWF_NOWAIT,
        )
    })
}

/// What the two calls above take for a place: -1 is the file's own position.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn offset(at: Option<u64>) -> io::Result<libc::off_t> {
    at.map_or(Ok(-1), libc::off_t::try_from)
        .map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

/// There is no such call here.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn read_nowait(
    _: BorrowedFd<'_>,
    _: &mut [IoSliceMut<'_>],
    _: Option<u64>,
) -> io::Result<usize> {
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
}

/// There is no such call here.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn write_nowait(
    _: BorrowedFd<'_>,
    _: &[IoSlice<'_>],
    _: Option<u64>,
) -> io::Result<usize> {
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
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

/// POSIX's `IOV_MAX` as every system of today has it; more vectors are left to the next call.
fn vectors(count: usize) -> libc::c_int {
    count.min(1024) as libc::c_int
}

fn count(answer: libc::ssize_t) -> io::Result<usize> {
    usize::try_from(answer).map_err(|_| io::Error::last_os_error())
}

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
