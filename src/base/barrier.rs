//! A fence that one thread makes all others execute, where the system has one: see [`fence_if_others_do`].
//!
//! 1. Of two threads the one that comes often makes its store, and then its load, with nothing but
//!    [`fence_if_others_do`] in between; the one that comes rarely makes its own store, then the barrier, then its load.
//!    Either the barrier comes before the first one's load, which sees the store of the other; or that one's store came
//!    before the barrier, and the other sees it.
//! 2. What must be so without a barrier as well asks [`barrier`] first, and does without all this if there is none.
//!
//! The asymmetric fence is that of liburcu and folly; what it rests on is Linux's `membarrier`.
//!
//! [`fence_if_others_do`]: super::shared::fence_if_others_do

use std::sync::OnceLock;

static BARRIER: OnceLock<fn()> = OnceLock::new();

/// There is a barrier from now on.
///
/// # Safety
/// `barrier` makes every thread of the process execute a full fence before it returns.
pub(crate) unsafe fn provide(barrier: fn()) {
    let _the_same = BARRIER.set(barrier);
}

/// Makes all threads execute a fence; `None` if that is not to be had here, or not yet.
#[inline]
pub(crate) fn barrier() -> Option<fn()> {
    BARRIER.get().copied()
}

/// The barrier of models: a fence of everybody is one of each thread where the threads meet.
#[cfg(all(test, loom))]
pub(crate) fn provide_for_models() {
    use super::shared::{fence, Ordering};

    // SAFETY: `fence_if_others_do` is a fence of loom's.
    unsafe { provide(|| fence(Ordering::SeqCst)) };
}
