//! Sets the unwinding of a stack aside while it stands still, so that `std::thread::panicking` speaks for the stack
//! that runs, and not for all stacks of the thread.
//!
//! std counts the panics of a thread that have begun and not been caught. A task that waits in a destructor stands
//! still with one of them; for as long as it does so, every other task of the thread would seem to be unwinding: none
//! could be interrupted by a deadline or by cancelling, and locks that they let go would be poisoned.
//!
//! The count can be changed by nothing but beginning a panic and catching one; but it does not matter *which* one.
//! A *spare* is a small fiber that stands still in the middle of a panic of its own. Letting it go on to its
//! `catch_unwind` takes one from the count of the thread on which that is done; letting it panic anew, up to a
//! destructor in which it stops, adds one.
//!
//! 1. A spare is *loaded* (its panic has begun) or *empty* (it was caught, or none has begun yet). `unload` and `load` are its only steps.
//! 2. The first loaded spare is loaded by a thread that is made for it and ends: the count of that thread is nobody's.
//!    From then on setting aside unloads one, and taking up loads it again.
//! 3. A spare is used by one thread after the other, so its stack moves between threads, which a task's must not. Its
//!    only frames are those of `body` and of std and the unwinder, which reach thread-locals in functions of their
//!    own that are entered anew after each stop; no address of a thread-local is kept over one.

use super::fiber::{Fiber, Switch};
use super::stack::StackPool;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Room for unwinding through a few frames.
const STACK: usize = 64 << 10;

struct Spare(Fiber);

// SAFETY: by 3.
unsafe impl Send for Spare {}

struct Store {
    loaded: Vec<Spare>,
    empty: Vec<Spare>,
    /// Those for which there was no thread to load them: their body has not begun.
    fresh: Vec<Spare>,
    pool: Option<StackPool>,
}

static STORE: Mutex<Store> = Mutex::new(Store {
    loaded: Vec::new(),
    empty: Vec::new(),
    fresh: Vec::new(),
    pool: None,
});

/// Makes the calling thread one that does not panic; returns what `take_up` needs to undo that.
///
/// If there is no memory for it, nothing is set aside: then it is as if all stacks of the thread were unwinding. Where
/// nothing unwinds there is but a panic hook that waits; the process ends after it.
#[inline]
pub(super) fn set_aside() -> u16 {
    if cfg!(panic = "unwind") && thread::panicking() {
        set_aside_all()
    } else {
        0
    }
}

#[cold]
#[inline(never)]
fn set_aside_all() -> u16 {
    let mut count = 0;
    while thread::panicking() {
        let Some(spare) = loaded() else {
            break;
        };
        let spare = spare.step();
        store().empty.push(spare);
        count += 1;
    }
    count
}

/// Undoes a `set_aside`.
#[cold]
#[inline(never)]
pub(super) fn take_up(count: u16) {
    for _ in 0..count {
        let spare = store().empty.pop().expect("`set_aside` left one");
        let spare = spare.step();
        store().loaded.push(spare);
    }
}

fn loaded() -> Option<Spare> {
    if let Some(spare) = store().loaded.pop() {
        return Some(spare);
    }
    let spare = Arc::new(Mutex::new(Some(fresh()?)));
    let take = |spare: &Mutex<Option<Spare>>| spare.lock().ok()?.take();
    let theirs = spare.clone();
    match thread::Builder::new().spawn(move || take(&theirs).map(Spare::step)) {
        Ok(thread) => thread.join().ok()?,
        Err(_) => {
            store().fresh.extend(take(&spare));
            None
        }
    }
}

fn fresh() -> Option<Spare> {
    let mut store = store();
    store.fresh.pop().or_else(|| {
        let pool = store.pool.get_or_insert_with(|| StackPool::new(STACK));
        Some(Spare(Fiber::new(pool.take().ok()?, body)))
    })
}

fn store() -> MutexGuard<'static, Store> {
    STORE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Spare {
    /// Loads it if it is empty, unloads it if it is loaded.
    fn step(mut self) -> Self {
        self.0.resume();
        self
    }
}

fn body(switch: Switch) {
    struct Pause(Switch);
    impl Drop for Pause {
        fn drop(&mut self) {
            // SAFETY: this is the fiber that the switch was given to.
            unsafe { self.0.suspend() };
        }
    }
    /// Its frame is where the panic begins, before the stop. It is not used after.
    #[inline(never)]
    fn panic() -> ! {
        resume_unwind(Box::new(()))
    }
    /// Its frame is where the panic ends, after the stop. It does nothing with a thread-local before.
    #[inline(never)]
    fn catch(switch: Switch) {
        let _caught = catch_unwind(AssertUnwindSafe(|| {
            let _pause = Pause(switch);
            panic()
        }));
    }
    loop {
        catch(switch);
        // SAFETY: this is the fiber that the switch was given to.
        unsafe { switch.suspend() };
    }
}
