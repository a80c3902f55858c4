//! Tasks whose end somebody waits for together: the children of a `task::scope`.
//!
//! 1. `state` counts the members that have not ended. A member that has ended uses nothing that it borrowed any more: its
//!    result is its handle's, or was dropped.
//! 2. A group lies in the frame of its owner, who does not leave before the count is zero. Members are added by members,
//!    and by the owner while it does not wait: a count of zero that the waiting owner has seen stays.
//! 3. WAITING is set and cleared by the owner. The member that takes the count to zero and finds WAITING is the one that
//!    reads `waiter` and wakes the owner; it sets TOLD when it will not use the group any more, and the owner waits for
//!    that. Any other member does not use the group after it has taken itself out of the count.

use super::job::{drop_quietly, Panic};
use super::waiter::Waiter;
use crate::base::lock::Lock;
use crate::base::shared::{spin, AtomicUsize, Ordering, UnsafeCell};

const WAITING: usize = 1;
const TOLD: usize = 2;
/// One member.
const ONE: usize = 4;

/// See the head of this file.
pub(crate) struct Group {
    state: AtomicUsize,
    /// Whom to wake; by 3.
    waiter: UnsafeCell<Option<Waiter>>,
    /// What the first member has panicked with that nobody joined.
    panic: Lock<Option<Panic>>,
}

// SAFETY: by 3 for the waiter; the rest is locked or atomic.
unsafe impl Sync for Group {}

impl Group {
    pub(crate) const fn new() -> Self {
        Group {
            state: AtomicUsize::new(0),
            waiter: UnsafeCell::new(None),
            panic: Lock::new(None),
        }
    }

    /// Counts a task that is about to be spawned. The caller is the owner or a member.
    pub(crate) fn join(&self) {
        self.state.fetch_add(ONE, Ordering::Relaxed);
    }

    /// Takes a member out of the count that has ended, or was not spawned after all.
    ///
    /// # Safety
    /// The member was in the count: so the group is still there.
    pub(crate) unsafe fn leave(this: *const Self) {
        // Release: what the member did comes before its end.
        // SAFETY: the caller's promise.
        let before = unsafe { &(*this).state }.fetch_sub(ONE, Ordering::AcqRel);
        if before == ONE | WAITING {
            // SAFETY: by 3 the owner waits for us.
            unsafe { (*this).tell() }
        }
    }

    #[cold]
    fn tell(&self) {
        // SAFETY: by 3 the owner does not write it now.
        let waiter = unsafe { *self.waiter.get() };
        // Release: the owner may go on from here, and the group with it.
        self.state.fetch_or(TOLD, Ordering::Release);
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }

    /// A member has panicked, and nobody will join it. The first such panic is kept.
    pub(crate) fn panicked(&self, panic: Panic) {
        let mut first = self.panic.lock();
        let surplus = match *first {
            None => first.replace(panic),
            Some(_) => Some(panic),
        };
        drop(first);
        drop_quietly(|| drop(surplus));
    }

    // ---- for the owner ----

    /// What the first member has panicked with that nobody joined.
    pub(crate) fn take_panic(&self) -> Option<Panic> {
        self.panic.lock().take()
    }

    /// Whether there is no member.
    pub(crate) fn is_empty(&self) -> bool {
        // Acquire: what members did before they ended is seen.
        self.state.load(Ordering::Acquire) < ONE
    }

    /// Asks for `waiter`, a wait of the owner, to be woken when there is no member any more; false if that is so. To be
    /// undone by `stop_waiting`, however the wait ends.
    pub(crate) fn set_waiter(&self, waiter: Waiter) -> bool {
        // SAFETY: by 3 it is the owner's.
        unsafe { *self.waiter.get() = Some(waiter) };
        // The last member may end here: it sees WAITING, or we see that it is gone.
        if self.state.fetch_or(WAITING, Ordering::AcqRel) >= ONE {
            return true;
        }
        self.state.store(0, Ordering::Relaxed);
        false
    }

    pub(crate) fn stop_waiting(&self) {
        if self.state.fetch_and(!WAITING, Ordering::AcqRel) >= ONE {
            return;
        }
        // By 3 the last member is on its way out. It needs a few instructions; on this thread it has had them.
        while self.state.load(Ordering::Acquire) & TOLD == 0 {
            spin(1);
        }
        self.state.store(0, Ordering::Relaxed);
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::super::header::models::Actor;
    use super::*;
    use crate::base::shared::explore;
    use loom::thread;
    use std::sync::Arc;

    struct Frame {
        group: Group,
        /// What the members borrow.
        borrowed: [UnsafeCell<u32>; 2],
    }

    // SAFETY: loom finds out who uses `borrowed` at the wrong moment.
    unsafe impl Sync for Frame {}

    #[test]
    fn the_owner_goes_on_once_when_the_last_member_has_done_with_the_frame() {
        wait_for_two_members(false);
    }

    #[test]
    fn an_owner_whose_wait_was_interrupted_waits_again_and_for_the_last_member_to_have_told() {
        wait_for_two_members(true);
    }

    fn wait_for_two_members(interrupted: bool) {
        explore(3, move || {
            let owner = Actor::task(1);
            let frame = Arc::new(Frame {
                group: Group::new(),
                borrowed: [UnsafeCell::new(0), UnsafeCell::new(0)],
            });
            frame.group.state.make();
            frame.group.waiter.make();
            frame.borrowed.iter().for_each(UnsafeCell::make);
            let members = [0, 1].map(|n| {
                frame.group.join();
                let frame = frame.clone();
                thread::spawn(move || {
                    // SAFETY: it is this member's.
                    unsafe { *frame.borrowed[n].get() += 1 };
                    // SAFETY: it was counted.
                    unsafe { Group::leave(&frame.group) };
                })
            });
            wait(&owner, &frame.group, interrupted);
            wait(&owner, &frame.group, false);
            // The frame goes.
            frame.group.state.end();
            for borrowed in &frame.borrowed {
                // SAFETY: the members have ended.
                assert_eq!(unsafe { *borrowed.get() }, 1);
            }
            let _gone = frame.group.waiter.get();
            members
                .into_iter()
                .for_each(|member| member.join().unwrap());
            assert!(!owner.was_made_ready());
        });
    }

    /// As a scope waits.
    fn wait(owner: &Actor, group: &Group, interrupted: bool) {
        if group.is_empty() {
            return;
        }
        let waiter = Waiter::new(owner.header);
        if !group.set_waiter(waiter) {
            assert!(waiter.retract());
            return;
        }
        if !interrupted || !waiter.interrupt_self() {
            owner.stand_still();
            assert!(waiter.was_woken());
        }
        group.stop_waiting();
    }
}
