//! What `linux.rs` does by calls of Linux, done without, or refused: whoever asks knows another way.
//!
//! A system that has some of those calls under the same names (FreeBSD has `accept4`, `ppoll`, `recvmmsg`) does without all the
//! same: so what runs there is what the tests of this crate run on Linux with `--cfg multitask_portable`.

use super::transfer::Received;
use socket2::{MaybeUninitSlice, SockAddr, SockAddrStorage, SockRef};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

// ---- address space ----

/// Not on this system: use [`protect_none`](super::mem::protect_none).
///
/// # Safety
///
/// None needed: it touches nothing.
///
/// # Errors
///
/// Always `InvalidInput` (`EINVAL`).
pub(crate) unsafe fn guard_install(_start: *mut u8, _len: usize) -> io::Result<()> {
    Err(io::Error::from_raw_os_error(libc::EINVAL))
}

/// The advice that gives memory back: `MADV_DONTNEED` only says "not soon" here.
pub(super) const DISCARD: libc::c_int = libc::MADV_FREE;

// ---- descriptors ----

/// `poll(2)`: to the next millisecond, and no longer than its `int` can count.
pub(super) fn poll(entries: &mut [libc::pollfd], timeout: Option<Duration>) -> libc::c_int {
    let milliseconds = timeout.map_or(-1, |limit| {
        let rounded_up = limit.as_nanos().div_ceil(1_000_000);
        libc::c_int::try_from(rounded_up).unwrap_or(libc::c_int::MAX)
    });
    let count = entries.len() as libc::nfds_t;
    // SAFETY: as many entries, which outlive the call.
    unsafe { libc::poll(entries.as_mut_ptr(), count, milliseconds) }
}

// ---- files ----

/// Only `fstat` tells here.
pub(super) fn kind(_: BorrowedFd<'_>) -> Option<libc::mode_t> {
    None
}

/// There is no such call here.
///
/// # Errors
///
/// Always one that [`is_unsupported`](super::file::is_unsupported).
pub(crate) fn read_nowait(
    _: BorrowedFd<'_>,
    _: &mut [IoSliceMut<'_>],
    _: Option<u64>,
) -> io::Result<usize> {
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
}

/// There is no such call here.
///
/// # Errors
///
/// Always one that [`is_unsupported`](super::file::is_unsupported).
pub(crate) fn write_nowait(
    _: BorrowedFd<'_>,
    _: &[IoSlice<'_>],
    _: Option<u64>,
) -> io::Result<usize> {
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
}

// ---- sockets ----

/// Accepts one connection; the new descriptor is non-blocking and closed on `exec`.
///
/// # Errors
///
/// Those of `accept(2)`: `WouldBlock` when nobody is waiting on a non-blocking listener, `Interrupted` as it is.
pub(crate) fn accept_nonblocking(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, SockAddr)> {
    let (socket, peer) = SockRef::from(&listener).accept()?;
    socket.set_nonblocking(true)?;
    Ok((OwnedFd::from(socket), peer))
}

/// As `recvmmsg` does it, with one call for each datagram; an error after the first one is lost. `senders` is for those who have
/// that call.
///
/// # Errors
///
/// Those of `recvmsg(2)` for the first datagram: `WouldBlock` when there is none, `Interrupted` as it is.
pub(crate) fn recv_many(
    socket: BorrowedFd<'_>,
    data: &mut [u8],
    size: usize,
    _senders: &mut [SockAddrStorage],
    mut each: impl FnMut(Received),
) -> io::Result<()> {
    let socket = SockRef::from(&socket);
    for (n, piece) in data.chunks_exact_mut(size).enumerate() {
        let piece = std::ptr::from_mut(piece) as *mut [MaybeUninit<u8>];
        // SAFETY: it is `piece` by another type; a system call writes nothing but bytes.
        let mut piece = [MaybeUninitSlice::new(unsafe { &mut *piece })];
        match socket.recv_from_vectored_with_flags(&mut piece, libc::MSG_DONTWAIT) {
            Ok((len, flags, from)) => each(Received {
                len,
                from,
                truncated: flags.is_truncated(),
            }),
            Err(error) if n == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(())
}

/// As `sendmmsg` does it, with one call for each datagram.
///
/// # Errors
///
/// Those of `sendto(2)` for the first datagram: `WouldBlock` when there is no room, `Interrupted` as it is.
pub(crate) fn send_many(
    socket: BorrowedFd<'_>,
    datagrams: &[(&[u8], Option<SockAddr>)],
) -> io::Result<usize> {
    let socket = SockRef::from(&socket);
    for (n, (data, to)) in datagrams.iter().enumerate() {
        let sent = match to {
            Some(to) => socket.send_to_with_flags(data, to, libc::MSG_DONTWAIT),
            None => socket.send_with_flags(data, libc::MSG_DONTWAIT),
        };
        match sent {
            Ok(_) => {}
            Err(error) if n == 0 => return Err(error),
            Err(_) => return Ok(n),
        }
    }
    Ok(datagrams.len())
}

// ---- processes ----

/// There is no such call here.
///
/// # Errors
///
/// Always `ENOSYS`.
pub(crate) fn open(_pid: u32) -> io::Result<OwnedFd> {
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
}

// ---- threads ----

/// There is no such call here.
///
/// # Errors
/// Always `Unsupported`.
pub(crate) fn prepare_barrier() -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// There is no such call here.
///
/// # Errors
/// Always `Unsupported`.
pub(crate) fn barrier() -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// How many threads this process has now: this system does not say.
pub(crate) fn thread_count() -> Option<usize> {
    None
}

/// There is no such call here.
///
/// # Errors
/// Always `Unsupported`.
pub(crate) fn processors() -> io::Result<Vec<usize>> {
    Err(io::ErrorKind::Unsupported.into())
}

/// There is no such call here.
///
/// # Errors
/// Always `Unsupported`.
pub(crate) fn pin(_processor: usize) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Nothing was pinned.
pub(crate) fn unpin() {}
