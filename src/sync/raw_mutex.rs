//! The mutex without what it guards: a word for when it is free, and a line for when it is not.
//!
//! 1. Who sets LOCKED has the mutex until it clears it, or hands it over with LOCKED still set.
//! 2. QUEUED and LOCKED change under the lock of the line when somebody joins or leaves it by being won; an owner that
//!    sees QUEUED, and not OFFERED, looks there for whom to let in. So nobody joins unseen: who joins sets QUEUED in the
//!    same compare-exchange that finds the mutex locked.
//! 3. OFFERED is set by an owner that clears LOCKED and wakes somebody who is to take the mutex himself. It is cleared by
//!    that one alone, when he takes it or when he has come too late; until then nobody else is woken.
//!
//! The order is that of arrival. A waiter whose turn it is and who runs on the thread that unlocks, has the mutex handed to
//! him: he is but a switch away. One on another thread may sleep, and waking takes a thousand times as long as a short
//! critical section: handed over at once, the mutex would be idle for all that time, and everybody who comes meanwhile
//! would have to queue as well, so that the line never empties again. It is offered to him: whoever runs may take
//! it until he comes. If it is taken when he comes, he is the first in line again, and next time it is handed to
//! him. So each waiter is overtaken during one awakening at most.
//!
//! Fairness in two modes is Go's (`sync.Mutex`), where time decides; the states are those of Drepper's "Futexes Are
//! Tricky".

use super::wait::{Bound, Early, Line, Place};
use crate::base::lock::{Lock, Locked};
use crate::rt::header::Why;
use crate::rt::waiter::WaitList;
use std::sync::atomic::{AtomicU8, Ordering};

const LOCKED: u8 = 1;
/// Somebody is in line, or was until he gave up.
const QUEUED: u8 = 2;
/// Somebody was woken to take it, and has not come yet.
const OFFERED: u8 = 4;

/// See the head of this file.
pub(super) struct RawMutex {
    word: AtomicU8,
    line: Lock<WaitList<Turn>>,
}

struct Turn {
    /// He has come for it once, and it was taken.
    overtaken: bool,
    /// It is his.
    handed: bool,
}

impl RawMutex {
    pub(super) const fn new() -> Self {
        RawMutex {
            word: AtomicU8::new(0),
            line: Lock::new(WaitList::new()),
        }
    }

    /// Locks; waits while another has it. It cannot fail.
    #[inline(always)]
    pub(super) fn lock(&self) {
        let line = Line::new(&self.line, |list| list, Why::Mutex);
        while self.lock_in(line, Bound::Never).is_err() {
            // It would be interrupted, but cannot.
        }
    }

    /// Locks, or says why not.
    #[inline(always)]
    pub(super) fn lock_within(&self, bound: Bound) -> Result<(), Early> {
        let line = Line::new(&self.line, |list| list, Why::Mutex);
        self.lock_in(line.fallible(), bound)
    }

    #[inline(always)]
    fn lock_in(&self, line: Line<'_, WaitList<Turn>, Turn>, mut bound: Bound) -> Result<(), Early> {
        if self.try_lock() {
            return Ok(());
        }
        let (mut offered, mut place) = (0, Place::Last);
        while let Some(list) = self.take_or_queue(offered) {
            let turn = Turn {
                overtaken: place == Place::First,
                handed: false,
            };
            let turn = line.wait_once(list, &mut bound, (turn, place), || ())?;
            if turn.handed {
                break;
            }
            (offered, place) = (OFFERED, Place::First);
        }
        Ok(())
    }

    #[inline]
    pub(super) fn try_lock(&self) -> bool {
        // Acquire: what the last owner did is seen.
        let free = self
            .word
            .compare_exchange(0, LOCKED, Ordering::Acquire, Ordering::Relaxed);
        free.is_ok() || self.overtake()
    }

    /// Takes it if it is free although somebody waits.
    #[cold]
    fn overtake(&self) -> bool {
        let take = |word| (word & LOCKED == 0).then_some(word | LOCKED);
        self.word
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, take)
            .is_ok()
    }

    /// `None` if the mutex was taken. Else there is one more in line, whom the caller has to put there. `offered` is
    /// OFFERED if it was offered to the caller.
    #[cold]
    fn take_or_queue(&self, offered: u8) -> Option<Locked<'_, WaitList<Turn>>> {
        let list = self.line.lock();
        let next = |word| {
            let rest = word & !offered;
            Some(match word & LOCKED {
                0 => rest | LOCKED,
                _ => rest | QUEUED,
            })
        };
        let before = self
            .word
            // Acquire: as in `try_lock`. Who only queues publishes nothing but QUEUED; the rest is behind the lock.
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, next);
        before.is_ok_and(|word| word & LOCKED != 0).then_some(list)
    }

    /// For the owner.
    #[inline]
    pub(super) fn unlock(&self) {
        // Release: the next owner sees what this one did.
        let alone = self
            .word
            .compare_exchange(LOCKED, 0, Ordering::Release, Ordering::Relaxed);
        if alone.is_err() {
            self.unlock_queued();
        }
    }

    #[cold]
    fn unlock_queued(&self) {
        // Somebody is on his way, or nobody waits: then that is all. In one step with looking, for he who comes too
        // late clears OFFERED and relies on us.
        let leave = |word| (word & (QUEUED | OFFERED) != QUEUED).then_some(word & !LOCKED);
        let left = self
            .word
            .fetch_update(Ordering::Release, Ordering::Relaxed, leave);
        if left.is_err() {
            self.pass_on();
        }
    }

    /// Lets in the first in line. QUEUED is set and OFFERED is not, and that stays so while the line is locked.
    fn pass_on(&self) {
        let list = self.line.lock();
        // SAFETY: the lock is held.
        let first = unsafe { list.win_front(|_| true) };
        let empty = if list.is_empty() { QUEUED } else { 0 };
        let Some(mut first) = first else {
            // All have given up.
            self.word.fetch_and(!(LOCKED | QUEUED), Ordering::Release);
            return;
        };
        if first.is_near() || first.slot().overtaken {
            first.slot().handed = true;
            // Relaxed: the end of his wait tells him what was done.
            self.word.fetch_and(!empty, Ordering::Relaxed);
        } else {
            // Release: as in `unlock`. All of these bits turn round.
            self.word
                .fetch_xor(LOCKED | OFFERED | empty, Ordering::Release);
        }
        // He goes on when the line is free: he may be on another thread and come for it.
        drop(list);
        drop(first);
    }
}
