//! What calls that move data take and answer.

use socket2::SockAddr;
use std::io;

/// One datagram that has been received.
#[derive(Debug)]
pub(crate) struct Received {
    /// Bytes in its piece.
    pub(crate) len: usize,
    pub(crate) from: SockAddr,
    /// It was longer than its piece.
    pub(crate) truncated: bool,
}

/// POSIX's `IOV_MAX` as every system of today has it; more vectors are left to the next call.
pub(super) fn vectors(count: usize) -> libc::c_int {
    count.min(1024) as libc::c_int
}

pub(super) fn count(answer: libc::ssize_t) -> io::Result<usize> {
    usize::try_from(answer).map_err(|_| io::Error::last_os_error())
}
