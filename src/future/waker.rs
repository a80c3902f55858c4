//! The wakers that [`block_on`](super::block_on()) gives to futures: each leads to a *summons*, of which every call has one.
//!
//! 1. Summonses live in an immortal slab, and a waker is an index and a generation: it is copied freely, counts nothing, and one
//!    that is kept beyond its call finds another generation, and does nothing.
//! 2. A summons that comes while nobody waits for it is kept: there is none between a poll and the wait after it that is lost.
//! 3. Its lock is held for a few instructions, and nobody is woken meanwhile.

use crate::base::lock::{Lock, Locked};
#[cfg(not(all(test, loom)))]
use crate::base::slab::Slab;
use crate::rt::clock;
use crate::rt::header::{Header, Why, CX};
use crate::rt::home::Home;
use crate::rt::park::{park, yield_now, Mode, Outcome};
use crate::rt::waiter::Waiter;
use std::ptr;
use std::task::{RawWaker, RawWakerVTable, Waker};
use std::time::Instant;

/// What the wakers of one call lead to; see the head of this file.
pub(super) struct Summons {
    index: u32,
    generation: u32,
}

struct Slot(Lock<State>);

struct State {
    generation: u32,
    /// Somebody has called since the future was last polled.
    called: bool,
    /// Who waits for that.
    waiter: Option<Waiter>,
    /// The worker on which the task of this call runs, if it is a task's.
    home: Option<&'static Home<Header>>,
    /// The future waits for descriptors of that worker's reactor.
    ready: bool,
}

static SLOTS: Slots = Slots::new();

impl Summons {
    pub(super) fn new() -> Self {
        let (task, home) = CX.with(|cx| (cx.task.get(), cx.home.get()));
        let index = SLOTS.alloc();
        let mut state = SLOTS.get(index).0.lock();
        state.called = false;
        state.ready = false;
        state.home = task.and(home);
        Summons {
            index,
            generation: state.generation,
        }
    }

    pub(super) fn waker(&self) -> Waker {
        // SAFETY: the functions of the table do what is asked of a waker's, on any thread: what it leads to is immortal, and locked
        // while it is used.
        unsafe { Waker::from_raw(raw(pack(self.index, self.generation))) }
    }

    /// Waits until somebody calls, or until `deadline`: true if that has passed. It may unwind.
    ///
    /// Who was called already lets others run first: that is what a future asks for that wakes itself.
    // Inlined, as all that suspends: see `Switch::suspend`.
    #[inline(always)]
    pub(super) fn wait(&self, deadline: Option<Instant>) -> bool {
        match self.begin() {
            Some((waiter, why)) => {
                // Who is deaf to an interruption polls once more, and waits on.
                let outcome = park(waiter, deadline, why, Mode::Infallible);
                self.lock().called = false;
                outcome == Outcome::TimedOut && deadline.is_some()
            }
            None => {
                yield_now();
                deadline.is_some_and(|deadline| deadline <= clock::now())
            }
        }
    }

    /// A wait for the next call; `None` if there was one.
    fn begin(&self) -> Option<(Waiter, Why)> {
        let mut state = self.lock();
        if state.called {
            state.called = false;
            return None;
        }
        let waiter = Waiter::here();
        // A waker may call from here on: it is won by it, though this has not parked yet.
        state.waiter = Some(waiter);
        let why = if state.ready {
            Why::FutureReady
        } else {
            Why::Future
        };
        Some((waiter, why))
    }

    fn lock(&self) -> Locked<'static, State> {
        SLOTS.get(self.index).0.lock()
    }
}

impl Drop for Summons {
    fn drop(&mut self) {
        let mut state = self.lock();
        state.generation = state.generation.wrapping_add(1);
        state.waiter = None;
        drop(state);
        SLOTS.free(self.index);
    }
}

/// Whether `waker` calls a task of the worker that runs here, which polls for descriptors while the task waits. It is noted that it
/// does wait for some.
pub(super) fn calls_a_task_of_this_worker(waker: &Waker) -> bool {
    if !ptr::eq(waker.vtable(), &TABLE) {
        return false;
    }
    let here = CX.with(|cx| cx.task.get().and(cx.home.get()));
    with(waker.data(), |state| match (state.home, here) {
        (Some(home), Some(here)) if ptr::eq(home, here) => {
            state.ready = true;
            true
        }
        _ => false,
    })
    .unwrap_or(false)
}

// ---- what a waker is made of ----

static TABLE: RawWakerVTable = RawWakerVTable::new(raw, call, call, |_| ());

fn raw(data: *const ()) -> RawWaker {
    RawWaker::new(data, &TABLE)
}

fn call(data: *const ()) {
    let call = |state: &mut State| {
        state.called = true;
        state.waiter.take()
    };
    // By 3, and a stale one can only fail.
    if let Some(waiter) = with(data, call).flatten() {
        waiter.wake();
    }
}

/// Changes the state that a waker's data leads to; `None` if its call is over.
fn with<R>(data: *const (), change: impl FnOnce(&mut State) -> R) -> Option<R> {
    let (index, generation) = unpack(data);
    let mut state = SLOTS.get(index).0.lock();
    (state.generation & GENERATIONS == generation & GENERATIONS).then(|| change(&mut state))
}

/// Bits of a waker's data for the index; the rest is for the generation.
const INDEX_BITS: u32 = if usize::BITS == 64 { 32 } else { 20 };
/// The generation is kept to this many bits. If it comes round, a waker of the past makes a future be polled once for nothing.
const GENERATIONS: u32 = ((1u64 << (usize::BITS - INDEX_BITS)) - 1) as u32;

fn pack(index: u32, generation: u32) -> *const () {
    let index = index as usize;
    assert!(
        usize::BITS == 64 || index >> INDEX_BITS == 0,
        "fewer calls at a time than a waker can number"
    );
    ptr::without_provenance(index | ((generation & GENERATIONS) as usize) << INDEX_BITS)
}

fn unpack(data: *const ()) -> (u32, u32) {
    let index = data.addr() & ((1 << INDEX_BITS) - 1);
    (index as u32, (data.addr() >> INDEX_BITS) as u32)
}

// ---- where the slots are ----

impl Default for Slot {
    fn default() -> Self {
        Slot(Lock::new(State {
            generation: 0,
            called: false,
            waiter: None,
            home: None,
            ready: false,
        }))
    }
}

#[cfg(not(all(test, loom)))]
type Slots = Slab<Slot>;
#[cfg(all(test, loom))]
use models::Slots;

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::base::shared::explore;
    use crate::rt::header::models::Cast;
    use loom::thread;
    use std::sync::{Mutex, PoisonError};
    use std::time::Instant;

    /// One of its own for each call: what loom knows lives for one schedule.
    pub(super) struct Slots(Mutex<Vec<&'static Slot>>);

    impl Slots {
        pub(super) const fn new() -> Self {
            Slots(Mutex::new(Vec::new()))
        }

        pub(super) fn alloc(&self) -> u32 {
            let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            slots.push(Box::leak(Box::default()));
            (slots.len() - 1) as u32
        }

        pub(super) fn get(&self, index: u32) -> &'static Slot {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)[index as usize]
        }

        pub(super) fn free(&self, _: u32) {}
    }

    #[test]
    fn of_two_calls_none_is_lost_whether_they_come_before_the_wait_or_in_it() {
        explore(3, || {
            let _cast = Cast::here();
            let summons = Summons::new();
            let called = std::sync::Arc::new(loom::sync::atomic::AtomicUsize::new(0));
            let callers = [(); 2].map(|()| {
                let (waker, called) = (summons.waker(), called.clone());
                thread::spawn(move || {
                    called.fetch_add(1, loom::sync::atomic::Ordering::Relaxed);
                    waker.wake();
                })
            });
            // As a future is polled that is ready when both have called.
            while called.load(loom::sync::atomic::Ordering::Relaxed) < 2 {
                assert!(!summons.wait(None));
            }
            callers
                .into_iter()
                .for_each(|caller| caller.join().unwrap());
        });
    }

    #[test]
    fn a_call_that_comes_as_the_time_is_up_and_after_the_end_is_harmless() {
        explore(3, || {
            let _cast = Cast::here();
            let summons = Summons::new();
            let waker = summons.waker();
            let caller = thread::spawn(move || {
                waker.wake_by_ref();
                waker.wake();
            });
            let _late = summons.wait(Some(Instant::now()));
            drop(summons);
            caller.join().unwrap();
        });
    }
}
