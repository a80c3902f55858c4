//! The time and the order of a scheduler that is made for tests, with the feature `testing`. In all other builds its place is taken by
//! `simulation_off.rs`, of which no instruction is left.
//!
//! 1. Time stands still while tasks run. The worker moves it, forwards, when they all wait.
//! 2. Tasks see it, and what is told of them: it is that of the thread from when one begins to run, or its worker looks at what
//!    they do, until what `begin_run` or `here` has given is dropped.
//! 3. What is drawn depends on the seed and on how much was drawn before.
//! 4. Who holds time does so from before it is looked at until after all that he does for tasks can be seen.
//! 5. It knows numbers only: neither tasks nor waiters.

use crate::base::rng::Rng;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Instant;

/// A scheduler may be simulated in this build.
pub(super) const POSSIBLE: bool = true;

thread_local! {
    /// What time it is for the task that runs here; `None` is that of the system.
    static NOW: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// What time it is for the task that runs on this thread, if it is simulated.
#[inline]
pub(super) fn now_here() -> Option<Instant> {
    NOW.get()
}

/// The time of this thread is what the system says until what is returned is dropped.
#[must_use]
pub(super) fn real_here() -> Here {
    Here(NOW.replace(None))
}

/// What time it was on this thread before.
pub(super) struct Here(Option<Instant>);

impl Drop for Here {
    fn drop(&mut self) {
        NOW.set(self.0);
    }
}

/// What the builder of a scheduler says: whether it is simulated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seed(pub(super) Option<u64>);

impl Seed {
    pub(super) const NONE: Seed = Seed(None);

    pub(super) fn is_some(self) -> bool {
        self.0.is_some()
    }
}

/// A worker's part in all that: nothing, unless it is simulated.
pub(crate) struct Simulation(Option<Box<State>>);

struct State {
    now: Cell<Instant>,
    rng: Rng,
    holds: Arc<Holds>,
    /// Time was held when that was last asked.
    was_held: Cell<bool>,
    /// To be called when all tasks wait.
    settled: RefCell<Vec<Box<dyn FnOnce()>>>,
    /// Whose runs are counted.
    watched: RefCell<Vec<Watch>>,
    /// The key of the next of these.
    next_key: Cell<u64>,
}

/// What is done for tasks elsewhere.
struct Holds {
    /// It takes time: until it is done none passes.
    timely: AtomicUsize,
    /// It may last for ever.
    endless: AtomicUsize,
    /// Makes the worker look round.
    ring: Box<dyn Fn() + Send + Sync>,
}

struct Watch {
    key: u64,
    task: u64,
    runs: usize,
}

impl Simulation {
    /// Time begins at `start`; `ring` has the worker look round.
    pub(super) fn new(seed: Seed, start: Instant, ring: impl Fn() + Send + Sync + 'static) -> Self {
        Simulation(seed.0.map(|seed| {
            Box::new(State {
                now: Cell::new(start),
                rng: Rng::new(seed),
                holds: Arc::new(Holds {
                    timely: AtomicUsize::new(0),
                    endless: AtomicUsize::new(0),
                    ring: Box::new(ring),
                }),
                was_held: Cell::new(false),
                settled: RefCell::new(Vec::new()),
                watched: RefCell::new(Vec::new()),
                next_key: Cell::new(0),
            })
        }))
    }

    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    // ---- time ----

    #[inline]
    pub(crate) fn now(&self) -> Option<Instant> {
        self.0.as_ref().map(|state| state.now.get())
    }

    /// It is the time of this thread until what is returned is dropped.
    #[must_use]
    pub(super) fn here(&self) -> Here {
        Here(match self.now() {
            Some(now) => NOW.replace(Some(now)),
            None => NOW.get(),
        })
    }

    pub(super) fn leap_to(&self, moment: Instant) {
        if let Some(state) = &self.0 {
            state.now.set(state.now.get().max(moment));
        }
    }

    // ---- what happens elsewhere ----

    /// Time is held until what is returned is dropped; if that may take for ever, `endless`, it is not, but who waits does not wait
    /// in vain.
    pub(crate) fn hold(&self, endless: bool) -> Option<Hold> {
        let state = self.0.as_ref()?;
        let holds = state.holds.clone();
        holds.counter(endless).fetch_add(1, Ordering::Relaxed);
        Some(Hold { holds, endless })
    }

    /// Whether something is under way that takes time.
    pub(super) fn is_held(&self) -> bool {
        self.0.as_ref().is_some_and(|state| {
            // Acquire: what was done for tasks until then is seen.
            let held = state.holds.timely.load(Ordering::Acquire) > 0;
            state.was_held.set(held);
            held
        })
    }

    /// Whether it was when that was last asked, and is no more.
    pub(super) fn was_let_go(&self) -> bool {
        self.0.as_ref().is_some_and(|state| {
            state.was_held.get() && state.holds.timely.load(Ordering::Acquire) == 0
        })
    }

    /// Whether anything is under way.
    pub(super) fn awaits_others(&self) -> bool {
        self.0.as_ref().is_some_and(|state| {
            let counters = [&state.holds.timely, &state.holds.endless];
            counters
                .iter()
                .any(|counter| counter.load(Ordering::Acquire) > 0)
        })
    }

    /// Has `tell` called when all tasks wait; false if nothing is simulated.
    pub(crate) fn when_settled(&self, tell: Box<dyn FnOnce()>) -> bool {
        let state = self.0.as_ref();
        state.is_some_and(|state| {
            state.settled.borrow_mut().push(tell);
            true
        })
    }

    /// All tasks wait: tells who waits for that. False if there is nobody.
    pub(super) fn tell_settled(&self) -> bool {
        let told = self.0.as_ref().map(|state| state.settled.take());
        told.is_some_and(|told| {
            let any = !told.is_empty();
            told.into_iter().for_each(|tell| tell());
            any
        })
    }

    // ---- order ----

    /// A number below `end`, or zero.
    #[inline]
    pub(crate) fn draw(&self, end: usize) -> Option<usize> {
        self.0.as_ref().map(|state| state.rng.below(end))
    }

    /// A task of this number runs until what is returned is dropped.
    #[must_use]
    pub(super) fn begin_run(&self, task: u64) -> Here {
        if let Some(state) = &self.0 {
            for watch in state.watched.borrow_mut().iter_mut() {
                watch.runs += usize::from(watch.task == task);
            }
        }
        self.here()
    }

    /// Counts from now on how often the task of this number begins to run; by the key that is returned.
    pub(crate) fn watch(&self, task: u64) -> Option<u64> {
        let state = self.0.as_ref()?;
        let key = state.next_key.get();
        state.next_key.set(key + 1);
        let runs = 0;
        state.watched.borrow_mut().push(Watch { key, task, runs });
        Some(key)
    }

    /// How often it was until now; it is counted no more.
    pub(crate) fn unwatch(&self, key: u64) -> usize {
        let Some(state) = &self.0 else { return 0 };
        let mut watched = state.watched.borrow_mut();
        let at = watched.iter().position(|watch| watch.key == key);
        at.map_or(0, |at| watched.swap_remove(at).runs)
    }
}

impl Holds {
    fn counter(&self, endless: bool) -> &AtomicUsize {
        if endless {
            &self.endless
        } else {
            &self.timely
        }
    }
}

/// Something is done for tasks elsewhere, until this is dropped.
pub(crate) struct Hold {
    holds: Arc<Holds>,
    endless: bool,
}

impl Drop for Hold {
    fn drop(&mut self) {
        // Release: by 4.
        let before = self
            .holds
            .counter(self.endless)
            .fetch_sub(1, Ordering::Release);
        // Who lies down with time held looks once more, or is rung.
        if before == 1 {
            (self.holds.ring)();
        }
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold").finish_non_exhaustive()
    }
}
