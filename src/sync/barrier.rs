//! [`Barrier`]: those who have arrived are counted, and stand in line until enough are there.
//!
//! 1. `arrived` is the number of nodes in the line. Who leaves it without having been woken takes himself off the count.
//! 2. Nobody is let through but all at once, by the last to arrive, who has no node.

use super::wait::{Bound, Line};
use crate::base::lock::Lock;
use crate::rt::header::Why;
use crate::rt::park::charge;
use crate::rt::waiter::WaitList;
use std::fmt;

/// Lets tasks and threads wait for each other, until a number of them has come. As [`std::sync::Barrier`].
///
/// It can be used again and again, by another group each time. A waiter that is [cancelled](crate::JoinHandle::cancel), or
/// runs out of a [`timeout`](crate::timeout), has not come: another has to come for it. If that happens in the very moment
/// in which the last one comes, it may count as come, and the others go on.
///
/// # Examples
///
/// ```
/// use multitask::spawn;
/// use multitask::sync::{Arc, Barrier};
///
/// let barrier = Arc::new(Barrier::new(3));
/// let tasks: Vec<_> = (0..3)
///     .map(|_| {
///         let barrier = barrier.clone();
///         spawn(move || barrier.wait().is_leader())
///     })
///     .collect();
/// let leaders = tasks.into_iter().filter_map(|task| task.join().ok()).filter(|leader| *leader);
/// assert_eq!(leaders.count(), 1);
/// ```
pub struct Barrier {
    enough: usize,
    state: Lock<State>,
}

struct State {
    arrived: usize,
    line: WaitList,
}

impl Barrier {
    /// One that lets `n` through at a time. With 0, as with 1, nobody waits.
    #[inline]
    pub const fn new(n: usize) -> Self {
        Barrier {
            enough: n,
            state: Lock::new(State {
                arrived: 0,
                line: WaitList::new(),
            }),
        }
    }

    /// Waits until enough have come. One of them is told that it is the leader.
    ///
    /// Suspends the calling task while it waits (on a plain thread: blocks it).
    ///
    /// # Panics
    /// On a plain thread, if nothing can ever happen again on the thread's default scheduler: see
    /// [`Deadlock`](crate::Deadlock).
    #[inline(always)]
    pub fn wait(&self) -> BarrierWaitResult {
        charge();
        let line = Line::new(&self.state, |state| &state.line, Why::Barrier)
            .when_one_left(|state| state.arrived -= 1);
        let woken = line.wait(Bound::Never, || (), |state| state.arrive(self.enough));
        BarrierWaitResult(woken == Ok(None))
    }
}

impl State {
    /// Whether the caller is the last to come: then it lets all through. Else it has to wait.
    fn arrive(&mut self, enough: usize) -> bool {
        self.arrived += 1;
        if self.arrived >= enough {
            // Who was interrupted and has not had the time to leave does not count. One who is interrupted by his own
            // thread from here on does: some have been let through by then, and cannot be called back.
            // SAFETY: the lock is held.
            self.arrived -= unsafe { self.line.remove_over() };
        }
        let last = self.arrived >= enough;
        if last {
            self.arrived = 0;
            // SAFETY: the lock is held.
            unsafe { self.line.wake_all() };
        }
        last
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier").finish_non_exhaustive()
    }
}

/// Whether one was the leader of those who a [`Barrier`] let through. As [`std::sync::BarrierWaitResult`].
pub struct BarrierWaitResult(bool);

impl BarrierWaitResult {
    /// True for one of them.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.0
    }
}

impl fmt::Debug for BarrierWaitResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BarrierWaitResult")
            .field("is_leader", &self.is_leader())
            .finish()
    }
}
