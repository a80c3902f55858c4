//! What threads use together, as the model checker `loom` knows it; in every build but that of the models it is
//! `shared.rs`.
//!
//! [`explore`] runs a model on every schedule, and with every value that a load may see, within its bound.
//!
//! 1. A value becomes loom's when it is first used, so that `new` is constant as std's is. That must come before all
//!    uses by other threads; loom says so if it does not. [`make`](AtomicBool::make) is a use that does nothing else.
//! 2. Each `UnsafeCell::get` counts as a write of that moment, each [`look`] as a read: two of which one is a write must be ordered by
//!    something else. The code takes the pointer where it uses it, and keeps it for no longer.
//! 3. An atomic whose memory went to somebody else by [`end`](AtomicBool::end) is not used any more, and all uses
//!    come before that.
//!
//! A model may call what waits, through the real `park`, on the threads of a `Cast` (see the models of `rt/header.rs`): they
//! wait as plain threads do. A task differs in who makes it ready, of which waiter and home have models. What is locked
//! meanwhile is locked by `lock_loom.rs`. A time limit is a deadline that lies behind: it is up at any moment, for the others run
//! at any moment.
//!
//! The bounds of the models: loom takes SeqCst for acquire and release, but in fences, so it sees more than can happen;
//! `SegQueue` takes effect at one moment, with no more order between threads than from a push to its pop; and threads
//! are interrupted, where they could go on, no more often than each model says.

use std::collections::VecDeque;
use std::ops::Deref;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::atomic::AtomicUsize as Count;
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::Instant;

pub(crate) use loom::sync::atomic::{fence, Ordering};
pub(crate) use loom::sync::{Mutex, MutexGuard};
pub(crate) use loom::thread::yield_now;

/// However long a thread looks on, the others move.
pub(crate) fn spin(_times: u32) {
    yield_now();
}

/// The barrier of the others is then a fence of theirs.
pub(crate) fn fence_if_others_do() {
    fence(Ordering::SeqCst);
}

/// As [`AtomicBool::store`], where that is known to weaken nothing.
pub(crate) fn store_in_turn(atomic: &AtomicU32, value: u32) {
    atomic.swap(value, Ordering::Relaxed);
}

/// Made where they would be, and not at their first use.
pub(crate) fn null_pointers<T>(count: usize) -> Box<[AtomicPtr<T>]> {
    let null = || AtomicPtr::new(std::ptr::null_mut());
    let pointers: Box<[_]> = std::iter::repeat_with(null).take(count).collect();
    pointers.iter().for_each(AtomicPtr::make);
    pointers
}

/// Threads as the models know them. Those that a model waits with are made known by its `Actor`s.
pub(crate) mod thread {
    pub(crate) use loom::thread::{current, park, yield_now, Thread};
    use std::time::Duration;

    /// Time passes when a model says so, by deadlines that lie behind: until then this ends early, as it may.
    pub(crate) fn park_timeout(_: Duration) {
        yield_now();
    }
}

/// Something that each thread has for itself.
macro_rules! per_thread {
    ($visible:vis static $name:ident: $type:ty = $first:expr;) => {
        loom::thread_local! {
            $visible static $name: $type = $first;
        }
    };
}
pub(crate) use per_thread;

/// Checks `model` on every schedule that interrupts threads which could go on at most `preemptions` times.
pub(crate) fn explore(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let schedules = Arc::new(Count::new(0));
    let counted = schedules.clone();
    let start = Instant::now();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        model();
    });
    println!("{schedules:?} schedules in {:.1?}", start.elapsed());
}

/// How many of the values that were made are gone.
#[derive(Clone, Default)]
pub(crate) struct Drops(Arc<Count>);

impl Drops {
    pub(crate) fn one(&self) -> Counted {
        Counted(self.0.clone())
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// The last of `made` values was sent: it was received, or is in the error, or is gone if it `may` be so; in the end
    /// each was dropped once.
    pub(crate) fn settle<E>(
        &self,
        made: usize,
        received: Option<Counted>,
        sent: Result<(), E>,
        may: bool,
    ) {
        assert!(received.is_none() || sent.is_ok());
        let gone = received.is_none() && sent.is_ok();
        assert!(!gone || may);
        assert_eq!(self.count(), made - usize::from(!gone));
        drop((received, sent));
        assert_eq!(self.count(), made);
    }
}

/// A value that counts its drops.
pub(crate) struct Counted(Arc<Count>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

// ---- atomics ----

macro_rules! atomics {
    ($($name:ident: $value:ty,)*) => {$(
        pub(crate) struct $name {
            first: $value,
            made: OnceLock<loom::sync::atomic::$name>,
            memory: Memory,
        }

        impl UnwindSafe for $name {}
        impl RefUnwindSafe for $name {}

        impl $name {
            pub(crate) const fn new(first: $value) -> Self {
                $name {
                    first,
                    made: OnceLock::new(),
                    memory: Memory::new(),
                }
            }

            #[allow(dead_code)]
            pub(crate) fn make(&self) {
                let _made: &loom::sync::atomic::$name = self;
            }

            #[allow(dead_code)]
            pub(crate) fn end(&self) {
                self.memory.end();
            }
        }

        impl Deref for $name {
            type Target = loom::sync::atomic::$name;

            fn deref(&self) -> &Self::Target {
                self.memory.check();
                self.made.get_or_init(|| Self::Target::new(self.first))
            }
        }
    )*};
}

atomics! {
    AtomicBool: bool,
    AtomicU32: u32,
    AtomicU64: u64,
    AtomicUsize: usize,
}

impl AtomicBool {
    /// Loom would let a store that comes after a read-modify-write of another thread be overtaken by it, which then could
    /// not have read what it did. A swap has its place in the order.
    pub(crate) fn store(&self, value: bool, order: Ordering) {
        self.swap(value, order);
    }
}

pub(crate) struct AtomicPtr<T: 'static> {
    first: *mut T,
    made: OnceLock<loom::sync::atomic::AtomicPtr<T>>,
    memory: Memory,
}

// SAFETY: as std's, a pointer is only a value.
unsafe impl<T> Send for AtomicPtr<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for AtomicPtr<T> {}

impl<T> UnwindSafe for AtomicPtr<T> {}
impl<T> RefUnwindSafe for AtomicPtr<T> {}

impl<T> AtomicPtr<T> {
    pub(crate) const fn new(first: *mut T) -> Self {
        AtomicPtr {
            first,
            made: OnceLock::new(),
            memory: Memory::new(),
        }
    }

    pub(crate) fn make(&self) {
        let _made: &loom::sync::atomic::AtomicPtr<T> = self;
    }
}

impl<T> Deref for AtomicPtr<T> {
    type Target = loom::sync::atomic::AtomicPtr<T>;

    fn deref(&self) -> &Self::Target {
        self.memory.check();
        self.made.get_or_init(|| Self::Target::new(self.first))
    }
}

/// Rule 3.
struct Memory {
    uses: OnceLock<loom::cell::UnsafeCell<()>>,
    ended: OnceLock<()>,
}

// SAFETY: loom runs one thread at a time.
unsafe impl Sync for Memory {}

impl Memory {
    const fn new() -> Self {
        Memory {
            uses: OnceLock::new(),
            ended: OnceLock::new(),
        }
    }

    fn check(&self) {
        self.uses().with(|_| ());
        assert!(self.ended.get().is_none(), "used after its end");
    }

    fn end(&self) {
        self.uses().with_mut(|_| ());
        assert!(self.ended.set(()).is_ok(), "ended twice");
    }

    fn uses(&self) -> &loom::cell::UnsafeCell<()> {
        self.uses.get_or_init(|| loom::cell::UnsafeCell::new(()))
    }
}

// ---- cells ----

/// The value comes first: it is as well aligned as the whole.
#[repr(C)]
pub(crate) struct UnsafeCell<T> {
    value: std::cell::UnsafeCell<T>,
    uses: OnceLock<loom::cell::UnsafeCell<()>>,
}

impl<T> UnsafeCell<T> {
    pub(crate) const fn new(value: T) -> Self {
        UnsafeCell {
            value: std::cell::UnsafeCell::new(value),
            uses: OnceLock::new(),
        }
    }

    pub(crate) fn make(&self) {
        let _made = self.get();
    }

    pub(crate) fn get(&self) -> *mut T {
        let uses = self.uses.get_or_init(|| loom::cell::UnsafeCell::new(()));
        uses.with_mut(|_| ());
        self.value.get()
    }

    pub(crate) fn into_inner(self) -> T {
        self.make();
        self.value.into_inner()
    }
}

/// To read what is in the cell.
pub(crate) fn look<T>(cell: &UnsafeCell<T>) -> *const T {
    let uses = cell.uses.get_or_init(|| loom::cell::UnsafeCell::new(()));
    uses.with(|_| ());
    cell.value.get()
}

// ---- the queue ----

/// As crossbeam's, but that each operation takes effect at one moment. A push comes before the pop of its item; no other
/// order between threads is to be had from it.
pub(crate) struct SegQueue<M> {
    items: std::sync::Mutex<VecDeque<M>>,
    pushed: AtomicUsize,
    popped: AtomicUsize,
}

impl<M> SegQueue<M> {
    pub(crate) const fn new() -> Self {
        SegQueue {
            items: std::sync::Mutex::new(VecDeque::new()),
            pushed: AtomicUsize::new(0),
            popped: AtomicUsize::new(0),
        }
    }

    pub(crate) fn make(&self) {
        self.pushed.make();
        self.popped.make();
    }

    pub(crate) fn push(&self, item: M) {
        self.pushed.fetch_add(1, Ordering::Release);
        // At the same moment: loom switches threads before an operation, not after it.
        self.items().push_back(item);
    }

    pub(crate) fn pop(&self) -> Option<M> {
        let mut popped = self.popped.load(Ordering::Relaxed);
        while popped < self.pushed.load(Ordering::Acquire) {
            let (next, relaxed) = (popped + 1, Ordering::Relaxed);
            match self.popped.compare_exchange(popped, next, relaxed, relaxed) {
                Ok(_) => return self.items().pop_front(),
                Err(now) => popped = now,
            }
        }
        None
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.popped.load(Ordering::Relaxed) >= self.pushed.load(Ordering::Acquire)
    }

    fn items(&self) -> std::sync::MutexGuard<'_, VecDeque<M>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
