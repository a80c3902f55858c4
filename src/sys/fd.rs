//! Descriptors: their blocking mode, and waiting for one of them without a reactor.

use super::beyond::poll;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

/// Whether `O_NONBLOCK` is set on the open file behind `fd`.
///
/// # Errors
///
/// Those of `fcntl(F_GETFL)`.
#[cfg(test)]
pub(crate) fn is_nonblocking(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(flags(fd)? & libc::O_NONBLOCK != 0)
}

/// Whether flags to open a file with say so.
pub(crate) fn asks_nonblocking(flags: i32) -> bool {
    flags & libc::O_NONBLOCK != 0
}

/// Sets or clears `O_NONBLOCK` on the open file behind `fd`; leaves it alone when it is so already.
///
/// The flag belongs to the open file, not to the descriptor: whoever shares it (a duplicate, a child process) sees
/// the change.
///
/// # Errors
///
/// Those of `fcntl(F_GETFL)` and `fcntl(F_SETFL)`.
pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>, nonblocking: bool) -> io::Result<()> {
    let old = flags(fd)?;
    let new = if nonblocking {
        old | libc::O_NONBLOCK
    } else {
        old & !libc::O_NONBLOCK
    };
    if new == old {
        return Ok(());
    }
    // SAFETY: F_SETFL takes an int and touches no memory of ours.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, new) }).map(drop)
}

/// What [`poll_any`] waits for: any of these. With none of them it still ends on an error or a hang-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Poll {
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// Out-of-band data, or what else the descriptor calls exceptional.
    pub(crate) priority: bool,
}

impl Poll {
    fn among(self, revents: libc::c_short) -> Poll {
        // An error or a hang-up ends every wait: the next call reports it.
        let ended = revents & (libc::POLLERR | libc::POLLHUP) != 0;
        Poll {
            readable: self.readable && (ended || revents & libc::POLLIN != 0),
            writable: self.writable && (ended || revents & libc::POLLOUT != 0),
            priority: self.priority && (ended || revents & libc::POLLPRI != 0),
        }
    }

    fn events(self) -> libc::c_short {
        let mut events = 0;
        if self.readable {
            events |= libc::POLLIN;
        }
        if self.writable {
            events |= libc::POLLOUT;
        }
        if self.priority {
            events |= libc::POLLPRI;
        }
        events
    }
}

/// Blocks this thread until one of `fds` is ready, has failed or hung up: `true`; or until `timeout` has passed: `false`.
/// `None` is for ever.
///
/// To the nanosecond on Linux; elsewhere rounded up to the next millisecond, and `false` also after 24
/// days of a longer timeout: look at the clock before believing it.
///
/// # Errors
///
/// Those of `poll(2)`; `Interrupted` as it is; `EBADF` when one is not open.
pub(crate) fn poll_any<const N: usize>(
    fds: [(BorrowedFd<'_>, Poll); N],
    timeout: Option<Duration>,
) -> io::Result<bool> {
    let mut entries = fds.map(|(fd, interest)| entry(fd, interest.events()));
    poll_open(&mut entries, timeout)
}

/// [`poll_any`] of one.
#[cfg(test)]
pub(crate) fn poll_one(
    fd: BorrowedFd<'_>,
    interest: Poll,
    timeout: Option<Duration>,
) -> io::Result<bool> {
    poll_any([(fd, interest)], timeout)
}

/// What of `interest` is ready now; all of it when `fd` has failed or hung up.
///
/// # Errors
///
/// As [`poll_any`].
pub(crate) fn poll_now(fd: BorrowedFd<'_>, interest: Poll) -> io::Result<Poll> {
    let mut entries = [entry(fd, interest.events())];
    poll_open(&mut entries, Some(Duration::ZERO))?;
    Ok(interest.among(entries[0].revents))
}

fn poll_open(entries: &mut [libc::pollfd], timeout: Option<Duration>) -> io::Result<bool> {
    let ready = check(poll(entries, timeout))?;
    if entries
        .iter()
        .any(|entry| entry.revents & libc::POLLNVAL != 0)
    {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    Ok(ready > 0)
}

fn entry(fd: BorrowedFd<'_>, events: libc::c_short) -> libc::pollfd {
    libc::pollfd {
        fd: fd.as_raw_fd(),
        events,
        revents: 0,
    }
}

/// Whether somebody has ended the reading direction of a socket with `shutdown`, as far as the system tells (Linux does).
///
/// # Errors
///
/// Those of `poll(2)`.
pub(crate) fn is_read_ended(socket: BorrowedFd<'_>) -> io::Result<bool> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const ENDED: libc::c_short = libc::POLLRDHUP;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const ENDED: libc::c_short = libc::POLLHUP;
    let mut entries = [entry(socket, ENDED)];
    check(poll(&mut entries, Some(Duration::ZERO)))?;
    Ok(entries[0].revents & ENDED != 0)
}

fn flags(fd: BorrowedFd<'_>) -> io::Result<libc::c_int> {
    // SAFETY: F_GETFL touches no memory of ours.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })
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
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::time::Instant;

    const READABLE: Poll = Poll {
        readable: true,
        writable: false,
        priority: false,
    };

    #[test]
    fn the_blocking_mode_is_what_was_set_last() {
        let (ours, _theirs) = UnixStream::pair().expect("descriptors");
        assert!(!is_nonblocking(ours.as_fd()).expect("open"));
        for mode in [true, true, false, false, true] {
            set_nonblocking(ours.as_fd(), mode).expect("open");
            assert_eq!(is_nonblocking(ours.as_fd()).expect("open"), mode);
        }
    }

    #[test]
    fn a_socket_is_readable_only_once_something_was_written() {
        let (ours, mut theirs) = UnixStream::pair().expect("descriptors");
        assert!(!poll_one(ours.as_fd(), READABLE, Some(Duration::ZERO)).expect("open"));
        theirs.write_all(b"x").expect("room");
        assert!(poll_one(ours.as_fd(), READABLE, None).expect("open"));
    }

    #[test]
    fn the_second_of_two_that_is_ready_ends_a_wait_for_both() {
        let (ours, _theirs) = UnixStream::pair().expect("descriptors");
        let (other, mut peer) = UnixStream::pair().expect("descriptors");
        let both = [(ours.as_fd(), READABLE), (other.as_fd(), READABLE)];
        assert!(!poll_any(both, Some(Duration::ZERO)).expect("open"));
        peer.write_all(b"x").expect("room");
        assert!(poll_any(both, None).expect("open"));
    }

    #[test]
    fn a_hang_up_ends_a_wait_for_nothing() {
        let (ours, theirs) = UnixStream::pair().expect("descriptors");
        drop(theirs);
        assert!(poll_one(ours.as_fd(), Poll::default(), None).expect("open"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn reading_has_ended_after_a_shutdown_and_not_before() {
        let (ours, _theirs) = std::os::unix::net::UnixDatagram::pair().expect("descriptors");
        assert!(!is_read_ended(ours.as_fd()).expect("open"));
        ours.shutdown(std::net::Shutdown::Read).expect("connected");
        assert!(is_read_ended(ours.as_fd()).expect("open"));
    }

    #[test]
    fn only_what_was_asked_for_is_ready_and_a_hang_up_is_all_of_it() {
        let (reader, mut writer) = std::io::pipe().expect("descriptors");
        let all = Poll {
            readable: true,
            writable: true,
            priority: true,
        };
        let now = |interest| poll_now(reader.as_fd(), interest).expect("open");
        assert_eq!(now(all), Poll::default());
        writer.write_all(b"x").expect("room");
        assert_eq!(now(all), READABLE);
        assert_eq!(now(Poll::default()), Poll::default());
        drop(writer);
        assert_eq!(now(all), all);
        assert_eq!(now(READABLE), READABLE);
    }

    #[test]
    fn a_wait_never_ends_before_its_timeout() {
        let (ours, _theirs) = UnixStream::pair().expect("descriptors");
        for timeout in [
            Duration::from_nanos(1),
            Duration::from_micros(300),
            Duration::from_micros(1_500),
        ] {
            let start = Instant::now();
            assert!(!poll_one(ours.as_fd(), READABLE, Some(timeout)).expect("open"));
            assert!(start.elapsed() >= timeout);
        }
    }

    #[test]
    fn the_longest_timeout_is_accepted() {
        let (ours, _theirs) = UnixStream::pair().expect("descriptors");
        let writable = Poll {
            writable: true,
            ..Poll::default()
        };
        assert!(poll_one(ours.as_fd(), writable, Some(Duration::MAX)).expect("open"));
    }
}
