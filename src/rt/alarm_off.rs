//! Where there is no `timerfd` the poll's own timeout does, as fine as the system makes it (`kqueue` takes
//! nanoseconds).

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

pub(super) struct Alarm;

impl Alarm {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Alarm)
    }

    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    pub(super) fn set(&self, deadline: Instant) -> Option<Duration> {
        Some(deadline.saturating_duration_since(Instant::now()))
    }

    pub(super) fn has_rung(&self) {}
}
