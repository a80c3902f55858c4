//! [`WaitGroup`]: a count of handles, and a line of those who wait for it to come to nothing.
//!
//! The count never rises from zero: only a handle makes handles.

use super::wait::{Bound, Line};
use crate::base::lock::Lock;
use crate::rt::header::Why;
use crate::rt::park::charge;
use crate::rt::waiter::WaitList;
use std::fmt;
use std::sync::Arc;

/// Waits until a group of tasks and threads is done: each has a clone, and drops it when it is. As that of
/// `crossbeam-utils`.
///
/// # Examples
///
/// ```
/// use multitask::spawn;
/// use multitask::sync::WaitGroup;
///
/// let group = WaitGroup::new();
/// for _ in 0..3 {
///     let group = group.clone();
///     spawn(move || {
///         // work
///         drop(group);
///     });
/// }
/// group.wait();
/// ```
pub struct WaitGroup(Arc<Lock<State>>);

struct State {
    handles: usize,
    line: WaitList,
}

impl WaitGroup {
    /// A group of one.
    pub fn new() -> Self {
        WaitGroup(Arc::new(Lock::new(State {
            handles: 1,
            line: WaitList::new(),
        })))
    }

    /// Drops this handle, and waits until all others are dropped.
    ///
    /// Suspends the calling task while it waits (on a plain thread: blocks it).
    ///
    /// # Panics
    /// On a plain thread, if nothing can ever happen again on the thread's default scheduler: see
    /// [`Deadlock`](crate::Deadlock).
    #[inline(always)]
    pub fn wait(self) {
        charge();
        let state = self.0.clone();
        drop(self);
        let line = Line::new(&*state, |state| &state.line, Why::WaitGroup);
        // It cannot fail.
        let _woken = line.wait(Bound::Never, || (), |state| state.handles == 0);
    }
}

impl Clone for WaitGroup {
    fn clone(&self) -> Self {
        self.0.lock().handles += 1;
        WaitGroup(self.0.clone())
    }
}

impl Drop for WaitGroup {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.handles -= 1;
        if state.handles == 0 {
            // SAFETY: the lock is held.
            unsafe { state.line.wake_all() };
        }
    }
}

impl Default for WaitGroup {
    fn default() -> Self {
        WaitGroup::new()
    }
}

impl fmt::Debug for WaitGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let handles = self.0.lock().handles;
        f.debug_struct("WaitGroup")
            .field("handles", &handles)
            .finish()
    }
}
