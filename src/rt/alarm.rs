//! Ends a poll to the nanosecond: `epoll` counts in milliseconds, and mio rounds up to the next one, but a `timerfd`
//! among its descriptors does better.

use crate::sys::beyond::TimerFd;
use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

pub(super) struct Alarm {
    timer: TimerFd,
    /// What the timer is set to.
    at: Cell<Option<Instant>>,
}

impl Alarm {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Alarm {
            timer: TimerFd::new()?,
            at: Cell::new(None),
        })
    }

    /// To be polled, edge-triggered: each expiry is one event, and the timer is never read.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.timer.as_fd())
    }

    /// The timeout to give to a poll that is to end at `deadline`: none, if the timer will end it.
    pub(super) fn set(&self, deadline: Instant) -> Option<Duration> {
        if self.at.get() == Some(deadline) {
            return None;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || self.timer.arm(left).is_err() {
            return Some(left);
        }
        self.at.set(Some(deadline));
        None
    }

    /// The timer's event came. It may be that of an earlier setting; then the next poll sets it anew.
    pub(super) fn has_rung(&self) {
        self.at.set(None);
    }
}
