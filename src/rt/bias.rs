//! Lets what the tasks of a worker share among themselves be locked without an atomic read-modify-write: see `base::lock`,
//! which does it, and needs a fence that one thread makes all others execute.
//!
//! 1. Where the system has no such fence, or refuses it, no lock is biased, and nothing else changes.

use crate::base::barrier;
use crate::base::lock::bias_towards_this_thread;
use crate::sys::thread::{self as system, prepare_barrier, thread_count};
use std::sync::Once;
use std::thread;

/// For a thread that is to be a worker.
pub(super) fn prepare() {
    static PREPARED: Once = Once::new();

    PREPARED.call_once(|| {
        if thread_count() == Some(1) {
            return prepare_process();
        }
        // It takes long here, and nobody needs to wait for it. Without the thread locks stay as they are.
        let name = "multitask-barrier".to_string();
        let _detached = thread::Builder::new().name(name).spawn(prepare_process);
    });
    bias_towards_this_thread();
}

fn prepare_process() {
    if prepare_barrier().is_ok() {
        // SAFETY: `fence_all` returns after all threads have executed a fence, or not at all.
        unsafe { barrier::provide(fence_all) };
    }
}

fn fence_all() {
    if let Err(error) = system::barrier() {
        // Whoever owns the lock may be inside, and cannot be asked.
        eprintln!("multitask: membarrier(2), which worked before, is refused now: {error}");
        std::process::abort();
    }
}

#[cfg(all(test, target_os = "linux", not(any(loom, multitask_portable))))]
mod tests {
    use super::*;
    use crate::base::lock::Lock;
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

    /// As workers do, but that it is ready when it returns.
    fn become_worker() {
        prepare_process();
        prepare();
    }

    fn make_own<T>(lock: &Lock<T>) {
        become_worker();
        for _ in 0..10_000 {
            drop(lock.lock());
        }
        assert!(lock.is_own());
    }

    #[test]
    fn who_takes_a_lock_again_and_again_owns_it_until_another_thread_comes() {
        let lock = Lock::new(0);
        make_own(&lock);
        thread::scope(|threads| threads.spawn(|| *lock.lock() += 1).join()).unwrap();
        assert!(!lock.is_own());
        assert_eq!(*lock.lock(), 1);
    }

    #[test]
    fn a_thread_that_is_no_worker_owns_no_lock() {
        become_worker();
        let lock = Lock::new(());
        let other = || {
            (0..10_000).for_each(|_| drop(lock.lock()));
            assert!(!lock.is_own());
        };
        thread::scope(|threads| threads.spawn(other).join()).unwrap();
    }

    #[test]
    fn who_comes_while_the_owner_is_inside_waits_until_it_is_out() {
        let lock = Lock::new(Vec::new());
        make_own(&lock);
        let mut held = lock.lock();
        thread::scope(|threads| {
            let other = threads.spawn(|| lock.lock().push("other"));
            // It has taken the bias back, and waits.
            while lock.is_own() {
                thread::yield_now();
            }
            (0..100).for_each(|_| thread::yield_now());
            assert!(!other.is_finished());
            held.push("owner");
            drop(held);
        });
        assert_eq!(*lock.lock(), ["owner", "other"]);
    }

    #[test]
    fn a_lock_that_goes_to_and_fro_is_nobodys_own_after_a_while() {
        let lock = Lock::new(());
        for _ in 0..4 {
            make_own(&lock);
            thread::scope(|threads| threads.spawn(|| drop(lock.lock())).join()).unwrap();
        }
        (0..10_000).for_each(|_| drop(lock.lock()));
        assert!(!lock.is_own());
    }

    #[test]
    fn increments_of_owners_that_take_turns_all_count() {
        const ROUNDS: usize = if cfg!(debug_assertions) { 100 } else { 1_000 };
        let run = |lock: &Lock<(u64, u64)>, turns: u64| {
            prepare();
            for _ in 0..turns {
                let mut both = lock.lock();
                assert_eq!(both.0, both.1);
                both.0 += 1;
                both.1 += 1;
            }
        };
        become_worker();
        for _ in 0..ROUNDS {
            let lock = Lock::new((0, 0));
            thread::scope(|threads| {
                threads.spawn(|| run(&lock, 5_000));
                threads.spawn(|| run(&lock, 5_000));
                run(&lock, 500);
            });
            assert_eq!(*lock.lock(), (10_500, 10_500));
        }
    }

    /// Store, fence, load: not both see the other's variable as it was. One thread has no fence of its own.
    #[test]
    fn the_fence_of_one_thread_is_one_of_all_threads() {
        const ROUNDS: u64 = 20_000;
        prepare_process();
        let (light, heavy) = (AtomicU64::new(0), AtomicU64::new(0));
        let arrived = AtomicUsize::new(0);
        let meet = |round: u64| {
            let all = 2 * (round as usize + 1);
            arrived.fetch_add(1, Relaxed);
            while arrived.load(Relaxed) < all {
                std::hint::spin_loop();
            }
        };
        let seen = thread::scope(|threads| {
            let other = threads.spawn(|| {
                (1..=ROUNDS)
                    .map(|round| {
                        meet(round - 1);
                        light.store(round, Relaxed);
                        crate::base::shared::fence_if_others_do();
                        heavy.load(Relaxed)
                    })
                    .collect::<Vec<_>>()
            });
            let seen = (1..=ROUNDS).map(|round| {
                meet(round - 1);
                heavy.store(round, Relaxed);
                fence_all();
                light.load(Relaxed)
            });
            let seen: Vec<_> = seen.collect();
            seen.into_iter().zip(other.join().unwrap())
        });
        for (round, seen) in (1..).zip(seen) {
            assert!(seen.0 == round || seen.1 == round, "{round}: {seen:?}");
        }
    }
}
