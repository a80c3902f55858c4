//! What Linux has beyond POSIX. Its twin for all other systems is `portable.rs`, with equal signatures.

use super::transfer::{count, vectors, Received};
use socket2::{SockAddr, SockAddrStorage};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::ptr;
use std::sync::OnceLock;
use std::time::Duration;

// ---- address space ----

/// `MADV_GUARD_INSTALL` of Linux 6.13; `libc` has no name for it yet.
const MADV_GUARD_INSTALL: libc::c_int = 102;

/// Makes `len` bytes at `start` fault on every access, without a mapping of their own. Survives
/// [`discard`](super::mem::discard).
///
/// # Safety
///
/// The range is whole pages of an anonymous mapping that the caller owns; their contents are lost.
///
/// # Errors
///
/// `InvalidInput` (`EINVAL`) before Linux 6.13, on locked memory, and on other systems: use
/// [`protect_none`](super::mem::protect_none).
pub(crate) unsafe fn guard_install(start: *mut u8, len: usize) -> io::Result<()> {
    // SAFETY: the caller owns the range.
    check(unsafe { libc::madvise(start.cast(), len, MADV_GUARD_INSTALL) }).map(drop)
}

/// The advice that gives memory back.
pub(super) const DISCARD: libc::c_int = libc::MADV_DONTNEED;

// ---- descriptors ----

/// `ppoll(2)`: to the nanosecond.
pub(super) fn poll(entries: &mut [libc::pollfd], timeout: Option<Duration>) -> libc::c_int {
    let timeout = timeout.map(timespec);
    let limit = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
    let count = entries.len() as libc::nfds_t;
    // SAFETY: as many entries, and a time that outlives the call or null; a null mask leaves the signals alone.
    unsafe { libc::ppoll(entries.as_mut_ptr(), count, limit, ptr::null()) }
}

/// A one-shot timer on the monotonic clock that is readable once it has expired: `epoll` counts milliseconds, this
/// counts nanoseconds.
///
/// Non-blocking, closed on `exec`, disarmed at first. Arming again replaces the old time and clears readiness; it
/// need never be read. Elsewhere there is none, and `rt/alarm_off.rs` does without.
#[derive(Debug)]
pub(crate) struct TimerFd(OwnedFd);

impl TimerFd {
    /// Makes a disarmed timer.
    ///
    /// # Errors
    ///
    /// Those of `timerfd_create(2)`.
    pub(crate) fn new() -> io::Result<TimerFd> {
        // SAFETY: takes two ints and touches no memory of ours.
        let fd = check(unsafe {
            libc::timerfd_create(
                libc::CLOCK_MONOTONIC,
                libc::TFD_NONBLOCK | libc::TFD_CLOEXEC,
            )
        })?;
        // SAFETY: timerfd_create returned a fresh descriptor.
        Ok(TimerFd(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Expires once, `after` from now; zero is one nanosecond, because zero means "disarm" to the kernel.
    ///
    /// # Errors
    ///
    /// Those of `timerfd_settime(2)`.
    pub(crate) fn arm(&self, after: Duration) -> io::Result<()> {
        let after = after.max(Duration::from_nanos(1));
        let time = libc::itimerspec {
            it_interval: timespec(Duration::ZERO),
            it_value: timespec(after),
        };
        // SAFETY: `time` outlives the call; null asks for no old value.
        check(unsafe { libc::timerfd_settime(self.0.as_raw_fd(), 0, &time, ptr::null_mut()) })
            .map(drop)
    }
}

impl AsFd for TimerFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for TimerFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// `span` as the system writes it; more seconds than it can count are as many as it can.
fn timespec(span: Duration) -> libc::timespec {
    // All zero first: some targets have padding fields.
    // SAFETY: plain integers.
    let mut time: libc::timespec = unsafe { std::mem::zeroed() };
    time.tv_sec = libc::time_t::try_from(span.as_secs()).unwrap_or(libc::time_t::MAX);
    time.tv_nsec = span.subsec_nanos() as _;
    time
}

// ---- files ----

/// The type bits of what lies behind `fd`, without asking the server of a file that is far away, as `fstat` may. `None` where
/// that cannot be had: before Linux 4.11, and in sandboxes that forbid what they do not know.
#[cfg(any(target_os = "android", target_env = "gnu", target_env = "musl"))]
pub(super) fn kind(fd: BorrowedFd<'_>) -> Option<libc::mode_t> {
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
    (done == 0).then(|| libc::mode_t::from(stat.stx_mode) & libc::S_IFMT)
}

/// `libc` has no `statx` for this one's C library.
#[cfg(not(any(target_os = "android", target_env = "gnu", target_env = "musl")))]
pub(super) fn kind(_: BorrowedFd<'_>) -> Option<libc::mode_t> {
    None
}

/// As [`read`](super::file::read), without waiting whatever the mode of the open file is: `WouldBlock` instead. From `at` on,
/// or where the open file stands.
///
/// # Errors
///
/// Those of `preadv2(2)`; one that [`is_unsupported`](super::file::is_unsupported) where the kernel cannot do that with this
/// kind of file.
pub(crate) fn read_nowait(
    fd: BorrowedFd<'_>,
    bufs: &mut [IoSliceMut<'_>],
    at: Option<u64>,
) -> io::Result<usize> {
    let (at, vectors) = (offset(at)?, vectors(bufs.len()));
    let (fd, bufs) = (fd.as_raw_fd(), bufs.as_ptr().cast());
    // SAFETY: `IoSliceMut` is an `iovec` by its own promise; there are as many as are counted.
    count(unsafe { libc::preadv2(fd, bufs, vectors, at, libc::RWF_NOWAIT) })
}

/// As [`write`](super::file::write), without waiting whatever the mode of the open file is: `WouldBlock` instead. From `at` on,
/// or where the open file stands.
///
/// # Errors
///
/// Those of `pwritev2(2)`; one that [`is_unsupported`](super::file::is_unsupported) where the kernel cannot do that with this
/// kind of file.
pub(crate) fn write_nowait(
    fd: BorrowedFd<'_>,
    bufs: &[IoSlice<'_>],
    at: Option<u64>,
) -> io::Result<usize> {
    let (at, vectors) = (offset(at)?, vectors(bufs.len()));
    let (fd, bufs) = (fd.as_raw_fd(), bufs.as_ptr().cast());
    // SAFETY: `IoSlice` is an `iovec` by its own promise; there are as many as are counted.
    count(unsafe { libc::pwritev2(fd, bufs, vectors, at, libc::RWF_NOWAIT) })
}

/// What the two calls above take for a place: -1 is the file's own position.
fn offset(at: Option<u64>) -> io::Result<libc::off_t> {
    at.map_or(Ok(-1), libc::off_t::try_from)
        .map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

// ---- sockets ----

/// Accepts one connection; the new descriptor is non-blocking and closed on `exec`.
///
/// `socket2::Socket::accept` would take a second call to make it non-blocking.
///
/// # Errors
///
/// Those of `accept4(2)`: `WouldBlock` when nobody is waiting on a non-blocking listener, `Interrupted` as it is.
pub(crate) fn accept_nonblocking(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, SockAddr)> {
    let accept = |storage: *mut SockAddrStorage, length: *mut libc::socklen_t| {
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: `try_init` gives storage of `*length` bytes, which outlives the call.
        let fd =
            check(unsafe { libc::accept4(listener.as_raw_fd(), storage.cast(), length, flags) })?;
        // SAFETY: accept4 returned a fresh descriptor.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    };
    // SAFETY: accept4 wrote an address of the listener's family and set its length.
    unsafe { SockAddr::try_init(accept) }
}

/// Receives the datagrams that are there into the pieces of `data`, `size` bytes each, without waiting; tells `each`, in order.
/// `senders` is scratch room: one per piece, or only so many are received.
///
/// # Errors
///
/// Those of `recvmmsg(2)` for the first datagram: `WouldBlock` when there is none, `Interrupted` as it is. Of a later one the next call
/// reports it.
pub(crate) fn recv_many(
    socket: BorrowedFd<'_>,
    data: &mut [u8],
    size: usize,
    senders: &mut [SockAddrStorage],
    mut each: impl FnMut(Received),
) -> io::Result<()> {
    let mut pieces: Vec<_> = data.chunks_exact_mut(size).map(piece).collect();
    let mut headers: Vec<_> = pieces
        .iter_mut()
        .zip(&mut *senders)
        .map(|(piece, sender)| header(piece, ptr::from_mut(sender).cast(), sender.size_of()))
        .collect();
    // SAFETY: each header points to a piece and a sender of its own, which outlive the call; null is no time limit.
    let count = check(unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            headers.len() as _,
            libc::MSG_DONTWAIT as _,
            ptr::null_mut(),
        )
    })?;
    for (header, sender) in headers.iter().zip(senders).take(count as usize) {
        let storage = std::mem::replace(sender, SockAddrStorage::zeroed());
        each(Received {
            len: header.msg_len as usize,
            // SAFETY: recvmmsg wrote an address, or nothing over the zeros there, and said how long it is.
            from: unsafe { SockAddr::new(storage, header.msg_hdr.msg_namelen) },
            truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
        });
    }
    Ok(())
}

/// Sends datagrams, to their address or else to the connected peer, without waiting; answers how many, from the front, were sent.
///
/// # Errors
///
/// Those of `sendmmsg(2)` for the first datagram: `WouldBlock` when there is no room, `Interrupted` as it is.
pub(crate) fn send_many(
    socket: BorrowedFd<'_>,
    datagrams: &[(&[u8], Option<SockAddr>)],
) -> io::Result<usize> {
    /// Linux takes no more at a time (`UIO_MAXIOV`).
    const MOST: usize = 1024;
    let datagrams = &datagrams[..datagrams.len().min(MOST)];
    let mut pieces: Vec<_> = datagrams
        .iter()
        .map(|(data, _)| libc::iovec {
            iov_base: data.as_ptr().cast_mut().cast(),
            iov_len: data.len(),
        })
        .collect();
    let mut headers: Vec<_> = pieces
        .iter_mut()
        .zip(datagrams)
        .map(|(piece, (_, to))| match to {
            Some(to) => header(piece, to.as_ptr().cast_mut().cast(), to.len()),
            None => header(piece, ptr::null_mut(), 0),
        })
        .collect();
    // SAFETY: each header points to data and an address, which outlive the call, and sendmmsg writes to neither.
    let count = check(unsafe {
        libc::sendmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            headers.len() as _,
            (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _,
        )
    })?;
    Ok(count as usize)
}

fn piece(bytes: &mut [u8]) -> libc::iovec {
    libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    }
}

/// One datagram for `recvmmsg` or `sendmmsg`, in one piece.
fn header(
    piece: &mut libc::iovec,
    name: *mut libc::c_void,
    name_len: libc::socklen_t,
) -> libc::mmsghdr {
    // All zero first: some targets have padding fields.
    // SAFETY: plain integers and pointers.
    let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
    header.msg_hdr.msg_name = name;
    header.msg_hdr.msg_namelen = name_len;
    header.msg_hdr.msg_iov = piece;
    header.msg_hdr.msg_iovlen = 1;
    header
}

// ---- processes ----

/// A descriptor that is readable once the process has ended, reaped or not. Closed on `exec`.
///
/// `pid` has to be that of a child that nobody has reaped yet: it may be another process's otherwise.
///
/// # Errors
///
/// Those of `pidfd_open(2)`: `ENOSYS` before Linux 5.3.
pub(crate) fn open(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: takes two integers and touches no memory of ours.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: pidfd_open returned a fresh descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

// ---- threads ----

/// Prepares [`barrier`], once for the process: at once where it has one thread, else it takes some 10 ms.
///
/// # Errors
/// There is no such barrier here.
pub(crate) fn prepare_barrier() -> io::Result<()> {
    membarrier(libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED)
}

/// Makes every thread of this process execute a full memory fence before it returns.
///
/// # Errors
/// It was not prepared.
pub(crate) fn barrier() -> io::Result<()> {
    membarrier(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED)
}

fn membarrier(command: libc::c_int) -> io::Result<()> {
    // SAFETY: it touches no memory of ours.
    match unsafe { libc::syscall(libc::SYS_membarrier, command, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// How many threads this process has now; `None` where the system does not say.
///
/// A directory's link count is its subdirectories plus two, and `/proc/self/task` has one subdirectory for each
/// thread: one `stat` instead of reading a directory.
pub(crate) fn thread_count() -> Option<usize> {
    let links = std::fs::metadata("/proc/self/task").ok()?.nlink();
    usize::try_from(links)
        .ok()?
        .checked_sub(2)
        .filter(|&count| count > 0)
}

/// The processors that the process might use when it first asked, before any of its threads was pinned.
///
/// # Errors
/// `Unsupported` where the system has no such thing.
pub(crate) fn processors() -> io::Result<Vec<usize>> {
    let set = match ALL.get() {
        Some(set) => set,
        None => {
            let mut set = empty_set();
            // SAFETY: it writes a set of the size that it is told.
            check(unsafe { libc::sched_getaffinity(0, size_of_val(&set), &mut set) })?;
            ALL.get_or_init(|| set)
        }
    };
    let most = libc::CPU_SETSIZE as usize;
    // SAFETY: the numbers are within the set.
    Ok((0..most)
        .filter(|&at| unsafe { libc::CPU_ISSET(at, set) })
        .collect())
}

static ALL: OnceLock<libc::cpu_set_t> = OnceLock::new();

/// Keeps the calling thread on one processor.
///
/// # Errors
/// It may not run there.
pub(crate) fn pin(processor: usize) -> io::Result<()> {
    let mut set = empty_set();
    // SAFETY: the macro of C checks the number.
    unsafe { libc::CPU_SET(processor, &mut set) };
    put_on(&set)
}

/// Lets the calling thread run wherever the process might before any of its threads was pinned.
pub(crate) fn unpin() {
    if let Some(set) = ALL.get() {
        // It may be forbidden by now: then it stays where it is.
        let _stays = put_on(set);
    }
}

fn put_on(set: &libc::cpu_set_t) -> io::Result<()> {
    // SAFETY: it reads a set of the size that it is told.
    check(unsafe { libc::sched_setaffinity(0, size_of_val(set), set) }).map(drop)
}

fn empty_set() -> libc::cpu_set_t {
    // SAFETY: it is an array of bits.
    unsafe { std::mem::zeroed() }
}

fn check(answer: libc::c_int) -> io::Result<libc::c_int> {
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fd::{poll_one, Poll};
    use std::time::Instant;

    const READABLE: Poll = Poll {
        readable: true,
        writable: false,
        priority: false,
    };

    #[test]
    fn a_timer_armed_with_zero_expires_and_one_never_armed_does_not() {
        let timer = TimerFd::new().expect("a descriptor");
        assert!(!poll_one(timer.as_fd(), READABLE, Some(Duration::ZERO)).expect("open"));
        timer.arm(Duration::ZERO).expect("a good time");
        assert!(poll_one(timer.as_fd(), READABLE, Some(Duration::from_secs(10))).expect("open"));
    }

    #[test]
    fn a_timer_never_expires_early_nor_keeps_an_old_time() {
        let timer = TimerFd::new().expect("a descriptor");
        timer.arm(Duration::MAX).expect("the longest time");
        let (start, span) = (Instant::now(), Duration::from_micros(400));
        timer.arm(span).expect("a good time");
        assert!(poll_one(timer.as_fd(), READABLE, Some(Duration::from_secs(10))).expect("open"));
        assert!(start.elapsed() >= span);
    }
}
