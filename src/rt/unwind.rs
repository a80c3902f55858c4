//! How a cancelled task, or a timeout scope that has expired, leaves the code that it is in: by unwinding with a
//! private payload, through `resume_unwind`, so that no panic hook runs.

use super::scope::ScopeId;
use std::any::Any;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU32, Ordering};

/// Where an unwinding ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// At the root of the task: it was cancelled.
    Task,
    /// At the edge of this scope: its deadline passed.
    Scope(ScopeId),
}

struct Payload {
    target: Target,
    raised: &'static Raised,
    /// What `raised` was set to.
    mark: u32,
}

impl Drop for Payload {
    fn drop(&mut self) {
        self.raised.clear(self.mark);
    }
}

/// Says of a task or thread whether its last unwinding was ours, for as long as the payload of that exists: until it
/// has arrived, or whoever caught it on the way has dropped it. Without this a lock could not tell it from a panic.
///
/// A number that grows, and the bit `SET`: a payload that is dropped late, perhaps on another thread, clears its own
/// mark only.
pub(crate) struct Raised(AtomicU32);

const SET: u32 = 1;

impl Raised {
    pub(crate) const fn new() -> Self {
        Raised(AtomicU32::new(0))
    }

    /// For the owner.
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed) & SET != 0
    }

    /// Whatever was caught before is history; for the owner.
    pub(crate) fn reset(&self) {
        // Relaxed, as everywhere here: only the owner's own marks matter to it, and a late payload writes the same.
        let mark = self.0.load(Ordering::Relaxed);
        if mark & SET != 0 {
            self.0.store(mark & !SET, Ordering::Relaxed);
        }
    }

    fn set(&self) -> u32 {
        let mark = (self.0.load(Ordering::Relaxed) | SET).wrapping_add(SET + 1);
        self.0.store(mark, Ordering::Relaxed);
        mark
    }

    fn clear(&self, mark: u32) {
        let (old, relaxed) = (mark & !SET, Ordering::Relaxed);
        // A newer mark stays.
        let _whose = self.0.compare_exchange(mark, old, relaxed, relaxed);
    }
}

/// Unwinds the stack of the owner of `raised` to `target`. The caller has made sure of [`can_raise`].
#[cold]
pub(crate) fn raise(target: Target, raised: &'static Raised) -> ! {
    let mark = raised.set();
    resume_unwind(Box::new(Payload {
        target,
        raised,
        mark,
    }))
}

/// Whether the calling stack can be unwound now: it is not unwinding already, and panics unwind in this build.
///
/// `thread::panicking` speaks for the stack that runs: the unwinding of others of its thread is set aside (see `aside`).
#[inline]
pub(crate) fn can_raise() -> bool {
    cfg!(panic = "unwind") && !std::thread::panicking()
}

/// The target of a payload that was caught, if it is one of ours.
pub(crate) fn target_of(payload: &(dyn Any + Send)) -> Option<Target> {
    payload
        .downcast_ref::<Payload>()
        .map(|payload| payload.target)
}
