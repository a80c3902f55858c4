//! [`Pledge`]: what a future's deputy has in place of a thread. Whoever has won the deputy's wait keeps it.
//!
//! 1. A pledge is made when a wait begins, and kept once: by the winner of the wait, when he has done with it.
//! 2. Whom to wake is changed by the future and taken by the winner, both by the lock; in the same step in which he takes it,
//!    the pledge is kept. So a future that finds it not kept has left its waker in time.
//! 3. Wakers are code of others. None is cloned, woken or dropped while something of ours is locked, and a panic of one ends here.
//!
//! The winner does not use the pledge after that step: from then on the future may go on, and be dropped.

use super::header::Header;
use super::job::drop_quietly;
use crate::base::lock::Lock;
use std::mem;
use std::task::Waker;

/// See the head of this file.
pub(crate) struct Pledge(Lock<State>);

struct State {
    waker: Option<Waker>,
    kept: bool,
}

impl Default for Pledge {
    fn default() -> Self {
        Pledge(Lock::new(State {
            waker: None,
            kept: false,
        }))
    }
}

impl Pledge {
    /// That of a deputy.
    ///
    /// # Safety
    /// The header is a deputy's.
    pub(super) unsafe fn of(deputy: &'static Header) -> &'static Pledge {
        // SAFETY: the deputy has put there what begins with it, and is immortal as the header is.
        unsafe { &*deputy.group.get().cast() }
    }

    /// For the future: a wait begins.
    pub(super) fn make(&self, waker: Waker) {
        let mut state = self.0.lock();
        state.kept = false;
        let before = state.waker.replace(waker);
        drop(state);
        drop(before);
    }

    /// For the winner: lets the future go on.
    pub(super) fn keep(&self) {
        if let Some(waker) = self.take() {
            drop_quietly(|| waker.wake());
        }
    }

    fn take(&self) -> Option<Waker> {
        let mut state = self.0.lock();
        state.kept = true;
        state.waker.take()
    }

    /// For the future.
    pub(super) fn is_kept(&self) -> bool {
        self.0.lock().kept
    }

    /// For the future: as `is_kept`; if not, `waker` is whom to wake.
    pub(super) fn is_kept_or_wakes(&self, waker: &Waker) -> bool {
        {
            let state = self.0.lock();
            if state.kept || state.waker.as_ref().is_some_and(|old| old.will_wake(waker)) {
                return state.kept;
            }
        }
        let mut waker = Some(waker.clone());
        let mut state = self.0.lock();
        // The winner may have come here.
        if !state.kept {
            mem::swap(&mut state.waker, &mut waker);
        }
        let kept = state.kept;
        drop(state);
        kept
    }

    /// For the future: nobody is to be woken any more.
    pub(super) fn forget(&self) {
        let waker = self.0.lock().waker.take();
        drop(waker);
    }
}

impl Header {
    /// Whether it stands in line for a future; for whoever has been shown its wait.
    pub(super) fn is_deputy(&self) -> bool {
        self.home().is_none() && !self.is_thread()
    }
}

/// Those to be woken when nothing is locked any more.
#[derive(Default)]
#[must_use]
pub(crate) struct Wakers(Vec<Waker>);

impl Wakers {
    /// Keeps a pledge, but for the waking.
    pub(super) fn take(&mut self, pledge: &Pledge) {
        self.0.extend(pledge.take());
    }

    pub(crate) fn wake(self) {
        for waker in self.0 {
            drop_quietly(|| waker.wake());
        }
    }
}
