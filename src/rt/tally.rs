//! What is counted of a worker besides its tasks: things that are rare, or take long anyway.
//!
//! 1. It says how often, and nothing else is seen by it: relaxed.
//! 2. How a task ends is counted for the worker whose loop runs on that thread. What is refused there for another scheduler is
//!    counted nowhere.

use crate::error::JoinError;
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Default)]
pub(super) struct Tally {
    panicked: AtomicU64,
    cancelled: AtomicU64,
    stolen: AtomicU64,
    rings: AtomicU64,
}

thread_local! {
    static HERE: Cell<Option<&'static Tally>> = const { Cell::new(None) };
}

/// From now on ends are counted in `tally`; returns where they were.
pub(super) fn count_in(tally: Option<&'static Tally>) -> Option<&'static Tally> {
    HERE.replace(tally)
}

/// A task has ended without a value.
#[cold]
#[inline(never)]
pub(super) fn count_end(error: &JoinError) {
    if let Some(tally) = HERE.get() {
        tally.count_end(error);
    }
}

impl Tally {
    /// The worker begins anew.
    pub(super) fn reset(&self) {
        for counter in [&self.panicked, &self.cancelled, &self.stolen, &self.rings] {
            counter.store(0, Ordering::Relaxed);
        }
    }

    pub(super) fn count_end(&self, error: &JoinError) {
        let counter = match error {
            JoinError::Panic(_) => &self.panicked,
            JoinError::Cancelled => &self.cancelled,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// The worker has taken so many tasks from another.
    pub(super) fn count_stolen(&self, tasks: usize) {
        self.stolen.fetch_add(tasks as u64, Ordering::Relaxed);
    }

    /// Another thread has woken the worker's.
    pub(super) fn count_ring(&self) {
        self.rings.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn panicked(&self) -> u64 {
        self.panicked.load(Ordering::Relaxed)
    }

    pub(super) fn cancelled(&self) -> u64 {
        self.cancelled.load(Ordering::Relaxed)
    }

    pub(super) fn stolen(&self) -> u64 {
        self.stolen.load(Ordering::Relaxed)
    }

    pub(super) fn rings(&self) -> u64 {
        self.rings.load(Ordering::Relaxed)
    }
}
