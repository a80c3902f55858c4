//! What threads use together, imported from one place: a model checker can take the place of all of it.
//!
//! The other side is `shared_loom.rs`, for the models: `RUSTFLAGS="--cfg loom" cargo test --lib models::`. A file that
//! has models, or that the models run through, takes from here what it shares between threads.

pub(crate) use crossbeam_queue::SegQueue;
pub(crate) use std::cell::UnsafeCell;
pub(crate) use std::sync::atomic::{
    fence, AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};
pub(crate) use std::sync::{Mutex, MutexGuard};
pub(crate) use std::thread::{self, yield_now};

/// To read what is in the cell, as somebody else may at the same time.
#[inline(always)]
pub(crate) fn look<T>(cell: &UnsafeCell<T>) -> *const T {
    cell.get()
}

/// Where another thread, by a barrier, makes all threads execute a fence: ours may be here.
#[inline]
pub(crate) fn fence_if_others_do() {
    // What comes before stays before it.
    std::sync::atomic::compiler_fence(Ordering::SeqCst);
}

/// A plain store, by one thread that others hand the value to by read-modify-writes: the models order it among those.
#[inline]
pub(crate) fn store_in_turn(atomic: &AtomicU32, value: u32) {
    atomic.store(value, Ordering::Relaxed);
}

/// So many of them, for others to see with what tells of them.
pub(crate) fn null_pointers<T>(count: usize) -> Box<[AtomicPtr<T>]> {
    let null = || AtomicPtr::new(std::ptr::null_mut());
    std::iter::repeat_with(null).take(count).collect()
}

/// Lets `times` short moments pass.
#[inline]
pub(crate) fn spin(times: u32) {
    (0..times).for_each(|_| std::hint::spin_loop());
}

/// Something that each thread has for itself: constant and without a destructor.
macro_rules! per_thread {
    ($visible:vis static $name:ident: $type:ty = $first:expr;) => {
        thread_local! {
            $visible static $name: $type = const { $first };
        }
    };
}
pub(crate) use per_thread;
