//! A lock for what tasks and threads share and keep while they wait for a descriptor.
//!
//! 1. Whoever has it may lock it again; others come in the order in which they asked.
//! 2. It is handed over: the next one has it from the moment it is woken, so nobody who comes in between is quicker, and
//!    a waiter that was interrupted was not woken and has nothing to give back.

use crate::rt::header::Why;
use crate::rt::park::{me, park, Mode, Outcome};
use crate::rt::waiter::{Node, WaitList, Waiter};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// See the head of this file.
pub(super) struct Gate(Mutex<State>);

struct State {
    /// The number of who has it; zero on the way to the next one.
    owner: Option<u64>,
    /// How often its owner has locked it again.
    again: usize,
    waiting: WaitList,
}

/// The gate is locked until this is dropped.
pub(super) struct Held<'a>(&'a Gate);

/// Not a number of any task.
const NOBODY_YET: u64 = 0;

impl Gate {
    pub(super) const fn new() -> Self {
        Gate(Mutex::new(State {
            owner: None,
            again: 0,
            waiting: WaitList::new(),
        }))
    }

    /// Waits until nobody else has it.
    pub(super) fn lock(&self) -> Held<'_> {
        let id = me().id();
        let mut state = self.state();
        if state.owner == Some(id) {
            state.again += 1;
        } else if state.owner.is_none() {
            state.owner = Some(id);
        } else {
            drop(state);
            self.queue(id);
        }
        Held(self)
    }

    #[cold]
    fn queue(&self, id: u64) {
        // It cannot fail: who is interrupted where he cannot unwind asks again, and waits for real.
        while !self.wait(id) {}
    }

    /// Waits once; true if the caller has it.
    fn wait(&self, id: u64) -> bool {
        let waiter = Waiter::here();
        let node = Node::new(waiter);
        let mut state = self.state();
        if state.owner.is_none() {
            state.owner = Some(id);
            let retracted = waiter.retract();
            debug_assert!(retracted);
            return true;
        }
        let queued = Queued(self, &node);
        // SAFETY: the list is locked, and `queued` takes it out before it goes.
        unsafe { state.waiting.push(&node) };
        drop(state);
        let woken = park(waiter, None, Why::Stdio, Mode::Infallible) == Outcome::Woken;
        drop(queued);
        if woken {
            self.state().owner = Some(id);
        }
        woken
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        if state.again > 0 {
            state.again -= 1;
            return;
        }
        // SAFETY: the list is locked.
        let next = unsafe { state.waiting.win_first(|()| true) };
        state.owner = next.map(|_woken| NOBODY_YET);
    }
}

/// A node in the list; taken out when this is dropped, however the wait ends.
struct Queued<'a>(&'a Gate, &'a Node);

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        let state = self.0.state();
        // SAFETY: the list is locked, and the node is in no other.
        unsafe { state.waiting.remove(self.1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt::scheduler::Scheduler;
    use crate::task::{spawn, yield_now};
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    #[test]
    fn who_asked_first_comes_first_though_the_last_owner_asks_again_at_once() {
        static GATE: Gate = Gate::new();
        let scheduler = Scheduler::new().expect("descriptors");
        let order = scheduler.block_on(|| {
            let turns = (0..3).map(|n| {
                spawn(move || {
                    let mut turns = Vec::new();
                    for _ in 0..3 {
                        let _held = GATE.lock();
                        turns.push((TURN.fetch_add(1, SeqCst), n));
                        yield_now();
                    }
                    turns
                })
            });
            let turns: Vec<_> = turns.collect();
            let turns = turns.into_iter();
            let mut order: Vec<_> = turns
                .flat_map(|turn| turn.join().expect("no panic"))
                .collect();
            order.sort_unstable();
            order
        });
        let who: Vec<_> = order.into_iter().map(|(_, n)| n).collect();
        assert_eq!(who, [0, 1, 2, 0, 1, 2, 0, 1, 2]);
    }

    static TURN: AtomicUsize = AtomicUsize::new(0);

    #[test]
    fn a_cancelled_waiter_takes_nothing_along() {
        static GATE: Gate = Gate::new();
        let scheduler = Scheduler::new().expect("descriptors");
        scheduler.block_on(|| {
            let held = GATE.lock();
            let again = GATE.lock();
            let waiters = [(); 3].map(|()| spawn(|| drop(GATE.lock())));
            yield_now();
            waiters[0].cancel();
            drop(held);
            waiters[1].cancel();
            drop(again);
            let ends = waiters.map(|waiter| waiter.join().is_ok());
            assert_eq!(ends, [false, false, true]);
            drop(GATE.lock());
        });
    }

    #[test]
    fn a_waiter_that_is_cancelled_where_it_cannot_unwind_waits_until_it_is_its_turn() {
        static GATE: Gate = Gate::new();
        static LOCKED: AtomicUsize = AtomicUsize::new(0);
        struct Locks;
        impl Drop for Locks {
            fn drop(&mut self) {
                let _held = GATE.lock();
                LOCKED.fetch_add(1, SeqCst);
            }
        }
        let scheduler = Scheduler::new().expect("descriptors");
        scheduler.block_on(|| {
            let held = GATE.lock();
            let waiter = spawn(|| {
                let _locks = Locks;
                std::panic::resume_unwind(Box::new("before it waits"))
            });
            yield_now();
            waiter.cancel();
            (0..3).for_each(|_| yield_now());
            assert_eq!(LOCKED.load(SeqCst), 0, "it is somebody else's");
            drop(held);
            let ended: Result<(), _> = waiter.join();
            assert!(ended.is_err());
            assert_eq!(LOCKED.load(SeqCst), 1);
        });
    }

    #[test]
    fn it_excludes_threads_and_tasks_alike() {
        static GATE: Gate = Gate::new();
        static INSIDE: AtomicUsize = AtomicUsize::new(0);
        let work = || {
            for _ in 0..200 {
                let _held = GATE.lock();
                assert_eq!(INSIDE.fetch_add(1, SeqCst), 0);
                std::thread::yield_now();
                INSIDE.fetch_sub(1, SeqCst);
            }
        };
        std::thread::scope(|threads| {
            for _ in 0..2 {
                threads.spawn(work);
                threads.spawn(|| {
                    let scheduler = Scheduler::new().expect("descriptors");
                    let tasks = [(); 2].map(|()| scheduler.spawn(work));
                    scheduler.run().expect("no deadlock");
                    for task in tasks {
                        task.join().expect("no panic");
                    }
                });
            }
        });
    }
}
