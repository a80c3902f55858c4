//! Lets the owner of many things take one of them without an atomic read-modify-write, until somebody else comes for some.
//!
//! Each thing has a mark, and is whose compare-exchange takes the mark away: the owner's, or that of one of those who come
//! for some. The owner takes most of them, one by one; the others come rarely, and take many. So:
//! 1. Who is not the owner takes things only during a [`Raid`].
//! 2. The owner takes one *plainly*, by a load and a store, only after it has set `busy` and seen then that it is ALONE,
//!    and until it resets `busy`. Otherwise it makes the compare-exchange.
//! 3. ALONE means that there is no raid. It is set by the owner only. A raid takes it away before it does anything: it counts
//!    itself, makes everybody execute a fence, and waits until the owner is not busy. A raid that begins meanwhile waits
//!    for that.
//! 4. The owner says that it is alone when it has taken so many things since the last raid that the compare-exchanges
//!    have cost what the raid's fence will cost. So all this costs at most about twice what it would without.
//!
//! The fence, and the argument of 4, are those of `lock`.

use super::barrier::barrier;
use super::lock::{wait_until, Lock};
use super::shared::{fence_if_others_do, AtomicBool, AtomicU32, Ordering};
use std::cell::Cell;

/// So many things the owner takes in the other way before it says that it is alone.
const STREAK: u16 = if cfg!(loom) { 0 } else { 1000 };

/// In `state`: see 3. The rest counts the raids.
const ALONE: u32 = 1 << 31;

/// See the head of this file. The owner is one thread at a time.
pub(crate) struct Claims {
    state: AtomicU32,
    /// The owner takes something plainly.
    busy: AtomicBool,
    /// The owner's: how many it has taken since it was last alone.
    streak: Cell<u16>,
    /// Held by the raid that takes ALONE away.
    disturbs: Lock<()>,
}

impl Claims {
    pub(crate) const fn new() -> Self {
        Claims {
            state: AtomicU32::new(0),
            busy: AtomicBool::new(false),
            streak: Cell::new(0),
            disturbs: Lock::new(()),
        }
    }

    /// For the owner: takes one thing, `plainly` if that is allowed, or else by an `exchange`. Neither panics.
    #[inline]
    pub(crate) fn claim<R>(&self, plainly: impl FnOnce() -> R, exchange: impl FnOnce() -> R) -> R {
        // Relaxed, here and below: what was done during raids was seen as ALONE was set.
        if self.state.load(Ordering::Relaxed) == ALONE {
            self.busy.store(true, Ordering::Relaxed);
            // A raid sees that we are busy, or we see that it has begun.
            fence_if_others_do();
            if self.state.load(Ordering::Relaxed) == ALONE {
                let taken = plainly();
                // Release: a raid that comes now sees what was taken.
                self.busy.store(false, Ordering::Release);
                return taken;
            }
            self.busy.store(false, Ordering::Release);
        }
        self.consider();
        exchange()
    }

    /// Says that the owner is alone, if it is and has been for long.
    fn consider(&self) {
        let streak = self.streak.get();
        if streak < STREAK {
            return self.streak.set(streak + 1);
        }
        if barrier().is_some() {
            // Acquire: what was taken in raids is seen.
            let (acquire, relaxed) = (Ordering::Acquire, Ordering::Relaxed);
            let _unless_raided = self.state.compare_exchange(0, ALONE, acquire, relaxed);
        }
        self.streak.set(0);
    }

    /// For who is not the owner: things may be taken, each by a compare-exchange, until what is returned is dropped.
    pub(crate) fn raid(&self) -> Raid<'_> {
        // Acquire: who took ALONE away had seen all that the owner took plainly.
        let before = self.state.fetch_add(1, Ordering::Acquire);
        if before & ALONE != 0 {
            self.disturb();
        }
        Raid(self)
    }

    #[cold]
    fn disturb(&self) {
        let _one_at_a_time = self.disturbs.lock();
        if self.state.load(Ordering::Relaxed) & ALONE == 0 {
            return;
        }
        let barrier = barrier().expect("the owner was alone");
        barrier();
        // Acquire: what the owner took is seen.
        wait_until(|| !self.busy.load(Ordering::Acquire));
        // Release: and by the raids that find it gone.
        self.state.fetch_and(!ALONE, Ordering::Release);
    }
}

/// See [`Claims::raid`].
#[must_use]
pub(crate) struct Raid<'a>(&'a Claims);

impl Drop for Raid<'_> {
    fn drop(&mut self) {
        // Release: what was taken is seen by the owner when it is alone again.
        self.0.state.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::base::barrier::provide_for_models;
    use crate::base::shared::{explore, UnsafeCell};
    use loom::thread;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed as Counted};
    use std::sync::Arc;

    const FREE: u32 = 0;
    const TAKEN: u32 = 1;

    impl Claims {
        pub(crate) fn make(&self) {
            self.state.make();
            self.busy.make();
        }
    }

    /// Two things to be taken, each of which can be put back by who has it.
    struct Heap {
        claims: Claims,
        marks: [AtomicU32; 2],
        /// What belongs to them.
        inside: [UnsafeCell<u32>; 2],
        taken: AtomicUsize,
    }

    // SAFETY: loom finds out who uses it at the wrong moment.
    unsafe impl Sync for Heap {}
    // SAFETY: as above.
    unsafe impl Send for Heap {}

    impl Heap {
        fn made() -> Arc<Self> {
            provide_for_models();
            let heap = Heap {
                claims: Claims::new(),
                marks: [const { AtomicU32::new(FREE) }; 2],
                inside: [const { UnsafeCell::new(0) }; 2],
                taken: AtomicUsize::new(0),
            };
            heap.claims.make();
            heap.marks.iter().for_each(AtomicU32::make);
            heap.inside.iter().for_each(UnsafeCell::make);
            Arc::new(heap)
        }

        fn exchange(&self, which: usize) -> bool {
            let (acq_rel, relaxed) = (Ordering::AcqRel, Ordering::Relaxed);
            self.marks[which]
                .compare_exchange(FREE, TAKEN, acq_rel, relaxed)
                .is_ok()
        }

        /// As the owner does it.
        fn claim(&self, which: usize) {
            let mark = &self.marks[which];
            let plainly = || {
                let taken = mark.load(Ordering::Relaxed) == FREE;
                if taken {
                    mark.store(TAKEN, Ordering::Release);
                }
                taken
            };
            let taken = self.claims.claim(plainly, || self.exchange(which));
            self.has(which, taken);
        }

        fn put_back(&self, which: usize) {
            self.marks[which].store(FREE, Ordering::Release);
        }

        fn rob(&self) {
            let _raid = self.claims.raid();
            for which in 0..2 {
                let taken = self.exchange(which);
                self.has(which, taken);
            }
        }

        fn has(&self, which: usize, taken: bool) {
            if taken {
                // SAFETY: who has taken it has it for himself.
                unsafe { *self.inside[which].get() += 1 };
                self.taken.fetch_add(1, Counted);
            }
        }
    }

    #[test]
    fn of_owner_and_raider_one_gets_each_thing() {
        explore(3, || {
            let heap = Heap::made();
            let other = heap.clone();
            // Now it is alone.
            heap.claim(0);
            heap.put_back(0);
            let other = thread::spawn(move || other.rob());
            heap.claim(0);
            heap.claim(1);
            other.join().unwrap();
            assert_eq!(heap.taken.load(Counted), 3);
        });
    }

    #[test]
    fn nor_do_two_raiders_get_what_the_owner_has_and_it_is_alone_again_after_them() {
        explore(2, || {
            let heap = Heap::made();
            heap.claim(0);
            heap.put_back(0);
            let others = [(); 2].map(|()| {
                let other = heap.clone();
                thread::spawn(move || other.rob())
            });
            heap.claim(0);
            heap.claim(1);
            others.into_iter().for_each(|other| other.join().unwrap());
            assert_eq!(heap.taken.load(Counted), 3);
            heap.claim(0);
            assert_eq!(heap.claims.state.load(Ordering::Relaxed), ALONE);
        });
    }

    #[test]
    fn what_a_raider_took_and_left_is_seen_by_an_owner_that_is_alone_again() {
        explore(3, || {
            let heap = Heap::made();
            heap.claim(0);
            heap.put_back(0);
            let other = heap.clone();
            let other = thread::spawn(move || other.rob());
            for _ in 0..3 {
                heap.claim(1);
                heap.claim(0);
            }
            other.join().unwrap();
            assert_eq!(heap.taken.load(Counted), 3);
        });
    }
}
