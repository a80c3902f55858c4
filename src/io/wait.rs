//! Waiting for a descriptor that belongs to others.
//!
//! 1. Readiness is a state, asked of `poll(2)` before the wait and after each event: what somebody else has taken meanwhile is
//!    not reported.
//! 2. But an event of priority data alone is believed: of some files (`/proc/mounts`) asking takes it away.
//! 3. The descriptor is left as it was found, mode and registrations.

use super::source::Source;
use crate::error::Timeout;
use crate::rt::clock::deadline_in;
use crate::rt::header::Why;
use crate::rt::park::charge;
use crate::rt::reactor::Interests;
use crate::sys::fd::{poll_now, Poll};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// Suspends the task until there is something to read from `fd`, for at most `timeout`; `None` is for ever.
///
/// ```
/// use multitask::{io, spawn};
/// use std::io::{Read, Write};
/// use std::os::{fd::AsFd, unix::net::UnixStream};
///
/// let (mut ours, mut theirs) = UnixStream::pair()?; // std's, and blocking
/// let reader = spawn(move || -> std::io::Result<u8> {
///     io::wait_readable(ours.as_fd(), None)?;
///     let mut byte = [0];
///     ours.read_exact(&mut byte)?; // does not wait
///     Ok(byte[0])
/// });
/// theirs.write_all(b"x")?;
/// assert_eq!(reader.join().unwrap()?, b'x');
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// As [`wait`].
pub fn wait_readable(fd: BorrowedFd<'_>, timeout: Option<Duration>) -> io::Result<()> {
    wait(fd, Interests::READABLE, timeout).map(drop)
}

/// Suspends the task until there is room to write to `fd`, for at most `timeout`; `None` is for ever.
///
/// # Errors
/// As [`wait`].
pub fn wait_writable(fd: BorrowedFd<'_>, timeout: Option<Duration>) -> io::Result<()> {
    wait(fd, Interests::WRITABLE, timeout).map(drop)
}

/// Suspends the task until `fd` is ready for any of `interest`, for at most `timeout` (`None` is for ever); says for which
/// of them it is.
///
/// As `poll(2)` has it: a descriptor that is ready at once is, whatever happened before; the end of a stream is readable; an
/// error or a hang-up is all that was asked for, and the next call reports it; files, folders and other descriptors that cannot be
/// waited for are always ready to be read and written. A `timeout` of zero looks once.
///
/// `fd` may be blocking or not, a socket of ours, of std's or of another library's, and any number of tasks may wait for it
/// at once. Others may be quicker to use what it is ready for: a call on a blocking descriptor that is shared can still block
/// the worker.
///
/// # Errors
/// `TimedOut` carrying [`Timeout`](crate::Timeout); `Unsupported` for priority data where there never is any, as in a file; the
/// process is out of descriptors, for a wait uses one.
///
/// ```
/// use multitask::io::{wait, Interest};
/// use std::os::fd::AsFd;
/// use std::time::Duration;
///
/// let (_reader, writer) = std::io::pipe()?;
/// let ready = wait(writer.as_fd(), Interest::READABLE | Interest::WRITABLE, None)?;
/// assert_eq!(ready, Interest::WRITABLE);
///
/// let error = wait(writer.as_fd(), Interest::PRIORITY, Some(Duration::ZERO)).unwrap_err();
/// assert!(error.get_ref().unwrap().is::<multitask::Timeout>());
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn wait(
    fd: BorrowedFd<'_>,
    interest: Interests,
    timeout: Option<Duration>,
) -> io::Result<Interests> {
    charge();
    let mut waited = false;
    let mut look = |fd: BorrowedFd<'_>| {
        let ready = ready(fd, interest)?;
        let believed = (waited && interest == Interests::PRIORITY).then_some(interest);
        waited = true;
        ready
            .or(believed)
            .ok_or_else(|| ErrorKind::WouldBlock.into())
    };
    if let Some(ready) = ready(fd, interest)? {
        return Ok(ready);
    }
    if timeout == Some(Duration::ZERO) {
        return Err(Timeout.into());
    }
    if interest.is_priority() && !cfg!(any(target_os = "linux", target_os = "android")) {
        return Err(unsupported());
    }
    let deadline = timeout.and_then(deadline_in);
    Source::watch(fd)?
        .retry_until(interest, Why::Ready, deadline, |fd| look(fd.as_fd()))
        .map_err(|error| match error.kind() {
            // What epoll cannot watch is always ready otherwise, so this is about priority data.
            ErrorKind::PermissionDenied => unsupported(),
            _ => error,
        })
}

/// What of `interest` holds now.
pub(super) fn ready(fd: BorrowedFd<'_>, interest: Interests) -> io::Result<Option<Interests>> {
    loop {
        match poll_now(fd, Poll::from(interest)) {
            Ok(ready) => return Ok(interests(ready)),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn interests(ready: Poll) -> Option<Interests> {
    let directions = [
        ready.readable.then_some(Interests::READABLE),
        ready.writable.then_some(Interests::WRITABLE),
        ready.priority.then_some(Interests::PRIORITY),
    ];
    directions.into_iter().flatten().reduce(|a, b| a | b)
}

#[cold]
fn unsupported() -> io::Error {
    io::Error::new(
        ErrorKind::Unsupported,
        "this descriptor never has priority data: it cannot be waited for, only be read and written",
    )
}
