//! Mutexes: order, poison, time limits, and exclusion among tasks and threads.

mod common;

use common::{ends, scheduler, settle, OnDrop, Remote, LONG};
use multitask::sync::{Arc, LockTimeoutError, Mutex, MutexGuard, PoisonError, TryLockError};
use multitask::task::{self, JoinHandle};
use multitask::{sleep, spawn, timeout, yield_now, Scheduler, Timeout};
use std::cell::Cell;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(5);

type Log = Arc<std::sync::Mutex<Vec<&'static str>>>;

/// A task that locks, notes its name, and keeps the lock while the others run once.
fn locker(
    scheduler: &Scheduler,
    mutex: &Arc<Mutex<()>>,
    log: &Log,
    name: &'static str,
) -> JoinHandle<()> {
    let (mutex, log) = (mutex.clone(), log.clone());
    scheduler.spawn(move || {
        let _guard = mutex.lock().unwrap();
        log.lock().unwrap().push(name);
        yield_now();
    })
}

fn is_locked<T: ?Sized>(mutex: &Mutex<T>) -> bool {
    matches!(mutex.try_lock(), Err(TryLockError::WouldBlock))
}

// ---- order ----

#[test]
fn those_who_wait_get_the_mutex_in_the_order_in_which_they_came() {
    let scheduler = Scheduler::new().unwrap();
    let (mutex, log) = (Arc::new(Mutex::new(())), Log::default());
    for name in ["a", "b", "c", "d", "e"] {
        locker(&scheduler, &mutex, &log, name);
    }
    settle(&scheduler);
    assert_eq!(*log.lock().unwrap(), ["a", "b", "c", "d", "e"]);
    assert!(!is_locked(&mutex));
}

#[test]
fn nobody_comes_between_two_tasks_of_a_thread_not_even_the_one_that_unlocks() {
    let scheduler = scheduler();
    let mutex = Rc::new(Mutex::new(Vec::new()));
    for name in ["a", "b"] {
        let mutex = mutex.clone();
        scheduler.spawn_local(move || {
            for _ in 0..3 {
                let mut guard = mutex.lock().unwrap();
                guard.push(name);
                yield_now();
                drop(guard);
                // The other one waits: it is his by now, though he has not run yet.
                let last = Rc::strong_count(&mutex) == 2;
                assert!(last || is_locked(&mutex));
            }
        });
    }
    scheduler.run().unwrap();
    assert_eq!(*mutex.lock().unwrap(), ["a", "b", "a", "b", "a", "b"]);
}

#[test]
fn a_waiter_of_another_thread_is_overtaken_once_and_not_twice() {
    // Not another thread, but as good as one: it is run by hand.
    let far = Scheduler::new().unwrap();
    let (mutex, log) = (Arc::new(Mutex::new(())), Log::default());
    let guard = mutex.lock().unwrap();
    let first = locker(&far, &mutex, &log, "first");
    let second = locker(&far, &mutex, &log, "second");
    settle(&far);
    drop(guard);
    // It is offered to the first, and until he comes anybody may have it, as often as he likes.
    for _ in 0..3 {
        drop(mutex.try_lock().unwrap());
        drop(mutex.lock().unwrap());
    }
    let guard = mutex.lock().unwrap();
    settle(&far);
    assert!(log.lock().unwrap().is_empty());
    drop(guard);
    // He came too late, and is the first again: now it is his.
    assert!(is_locked(&mutex));
    assert!(log.lock().unwrap().is_empty());
    settle(&far);
    assert_eq!(*log.lock().unwrap(), ["first", "second"]);
    assert!(first.is_finished() && second.is_finished());
    drop(mutex.try_lock().unwrap());
}

#[test]
fn a_waiter_that_comes_too_late_and_gives_up_leaves_the_mutex_to_the_next() {
    for own in [false, true] {
        let far = Scheduler::new().unwrap();
        let (mutex, log) = (Arc::new(Mutex::new(())), Log::default());
        let guard = mutex.lock().unwrap();
        let shared = mutex.clone();
        let first = far.spawn(move || {
            let limit = if own { SHORT } else { LONG };
            matches!(shared.lock_timeout(limit), Err(LockTimeoutError::Timeout))
        });
        locker(&far, &mutex, &log, "second");
        settle(&far);
        drop(guard);
        let guard = mutex.lock().unwrap();
        if own {
            // That it waits for a second time does not give it more of it.
            thread::sleep(SHORT);
        } else {
            first.cancel();
        }
        settle(&far);
        assert!(first.is_finished(), "own limit: {own}");
        drop(guard);
        settle(&far);
        drop(mutex.try_lock().unwrap());
        assert_eq!(*log.lock().unwrap(), ["second"]);
        assert_eq!(first.join().ok(), own.then_some(true));
    }
}

// ---- poison ----

fn panics<T>(f: impl FnOnce() -> T) {
    assert!(catch_unwind(AssertUnwindSafe(f)).is_err());
}

#[test]
fn a_panic_while_it_is_held_poisons_and_the_value_is_still_there() {
    let scheduler = scheduler();
    let mutex = Arc::new(Mutex::new(1));
    for in_a_task in [false, true] {
        let shared = mutex.clone();
        let spoil = move || {
            *shared.lock().unwrap() += 1;
            let _guard = shared.lock().unwrap();
            panic!("while it is held");
        };
        if in_a_task {
            assert!(scheduler.block_on(|| spawn(spoil).join()).is_err());
        } else {
            panics(spoil);
        }
        assert!(mutex.is_poisoned() && !is_locked(&mutex));
        let value = |guard: MutexGuard<'_, i32>| *guard;
        let expected = 2 + i32::from(in_a_task);
        assert_eq!(
            mutex.lock().map_err(|e| value(e.into_inner())).unwrap_err(),
            expected
        );
        match mutex.try_lock() {
            Err(TryLockError::Poisoned(poisoned)) => assert_eq!(**poisoned.get_ref(), expected),
            _ => panic!("not poisoned"),
        }
        match mutex.lock_timeout(LONG) {
            Err(LockTimeoutError::Poisoned(poisoned)) => assert_eq!(**poisoned.get_ref(), expected),
            _ => panic!("not poisoned"),
        }
        mutex.clear_poison();
        assert!(mutex.lock().is_ok());
    }
}

#[test]
fn a_task_that_is_cancelled_or_runs_out_of_time_unlocks_and_does_not_poison() {
    let scheduler = Scheduler::new().unwrap();
    let mutex = Arc::new(Mutex::new(()));
    let shared = mutex.clone();
    let cancelled = scheduler.spawn(move || {
        let _guard = shared.lock().unwrap();
        task::park();
    });
    settle(&scheduler);
    assert!(is_locked(&mutex));
    cancelled.cancel();
    settle(&scheduler);
    assert!(cancelled.join().unwrap_err().is_cancelled());
    assert!(mutex.try_lock().is_ok());
    let expires = || {
        timeout(SHORT, || {
            let _guard = mutex.lock().unwrap();
            sleep(LONG);
        })
    };
    assert_eq!(scheduler.block_on(expires), Err(Timeout));
    assert!(mutex.try_lock().is_ok());
    // On a plain thread as well.
    assert_eq!(expires(), Err(Timeout));
    assert!(mutex.try_lock().is_ok());
}

#[test]
fn a_panic_after_an_interruption_that_was_caught_poisons() {
    let scheduler = scheduler();
    // Caught by the scope, caught and dropped, and caught and raised again.
    for way in 0..3 {
        let mutex = Arc::new(Mutex::new(()));
        let shared = mutex.clone();
        let handle = scheduler.spawn(move || {
            let expires = || {
                timeout(Duration::ZERO, || {
                    let caught = catch_unwind(|| sleep(LONG));
                    match way {
                        0 => resume_unwind(caught.unwrap_err()),
                        1 => drop(caught),
                        _ => {
                            let _unpoisoned = shared.lock().unwrap();
                            resume_unwind(caught.unwrap_err());
                        }
                    }
                })
            };
            assert_eq!(expires().is_err(), way != 1);
            assert!(!shared.is_poisoned());
            let _guard = shared.lock().unwrap();
            panic!("for real");
        });
        scheduler.run().unwrap();
        assert!(handle.join().unwrap_err().is_panic());
        assert!(mutex.is_poisoned(), "way {way}");
    }
}

#[test]
fn a_guard_that_was_taken_while_unwinding_does_not_poison() {
    let mutex = Mutex::new(0);
    panics(|| {
        let _last = OnDrop(|| *mutex.lock().unwrap() += 1);
        panic!("before it is locked");
    });
    assert_eq!(*mutex.lock().unwrap(), 1);
}

// ---- time limits ----

#[test]
fn a_bounded_lock_ends_when_its_time_is_up_and_not_before() {
    let body = || {
        let mutex = Mutex::new(());
        // A free one is locked, however short the time.
        drop(mutex.lock_timeout(Duration::ZERO).unwrap());
        drop(mutex.lock_deadline(Instant::now()).unwrap());
        let guard = mutex.lock_timeout(Duration::MAX).unwrap();
        let start = Instant::now();
        let late = mutex.lock_timeout(SHORT).unwrap_err();
        assert!(matches!(late, LockTimeoutError::Timeout));
        assert!(start.elapsed() >= SHORT);
        let deadline = Instant::now() + SHORT;
        let late = mutex.lock_deadline(deadline).unwrap_err();
        assert!(Instant::now() >= deadline);
        let error = std::io::Error::from(late);
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        // Those who wanted it have given up.
        drop(guard);
        drop(mutex.try_lock().unwrap());
    };
    body();
    scheduler().block_on(body);
}

#[test]
fn in_a_destructor_that_unwinds_lock_waits_and_a_bounded_lock_says_cancelled() {
    let scheduler = Scheduler::new().unwrap();
    let mutex = Arc::new(Mutex::new(()));
    let said = Rc::new(Cell::new(None));
    let (shared, answer) = (mutex.clone(), said.clone());
    let guard = mutex.lock().unwrap();
    let handle = scheduler.spawn_local(move || {
        let _last = OnDrop(|| {
            let bounded = shared.lock_timeout(LONG);
            answer.set(Some(matches!(bounded, Err(LockTimeoutError::Cancelled))));
            drop(shared.lock().unwrap_or_else(PoisonError::into_inner));
        });
        task::park();
    });
    settle(&scheduler);
    handle.cancel();
    settle(&scheduler);
    assert_eq!(said.get(), Some(true));
    assert!(!handle.is_finished());
    drop(guard);
    settle(&scheduler);
    assert!(handle.join().unwrap_err().is_cancelled());
    assert!(!is_locked(&mutex));
}

#[test]
fn a_lock_in_a_destructor_that_panics_waits_though_its_task_is_cancelled_meanwhile() {
    let scheduler = Scheduler::new().unwrap();
    let mutex = Arc::new(Mutex::new(()));
    let guard = mutex.lock().unwrap();
    let shared = mutex.clone();
    let handle = scheduler.spawn(move || {
        let _last = OnDrop(|| {
            let _locked = shared.lock();
            assert!(is_locked(&shared));
        });
        resume_unwind(Box::new("a panic"));
    });
    settle(&scheduler);
    handle.cancel();
    settle(&scheduler);
    assert!(!handle.is_finished());
    drop(guard);
    settle(&scheduler);
    assert!(handle.join().unwrap_err().is_panic());
    assert!(!is_locked(&mutex));
}

// ---- tasks and threads ----

#[test]
fn a_plain_thread_that_locks_runs_its_tasks_until_they_unlock() {
    let mutex = Arc::new(Mutex::new(0));
    let shared = mutex.clone();
    let holder = spawn(move || {
        let mut guard = shared.lock().unwrap();
        sleep(SHORT);
        *guard += 1;
    });
    yield_now();
    assert!(is_locked(&mutex));
    assert_eq!(*mutex.lock().unwrap(), 1);
    holder.join().unwrap();
}

#[test]
fn tasks_of_two_schedulers_and_threads_exclude_each_other() {
    const EACH: usize = 2_000;
    ends(|| {
        let mutex = Arc::new(Mutex::new(0));
        let inside = Arc::new(AtomicUsize::new(0));
        let work = |pause: fn()| {
            let (mutex, inside) = (mutex.clone(), inside.clone());
            move || {
                for n in 0..EACH {
                    let mut count = mutex.lock().unwrap();
                    assert_eq!(inside.fetch_add(1, SeqCst), 0);
                    let seen = *count;
                    if n % 64 == 0 {
                        pause();
                    }
                    *count = seen + 1;
                    inside.fetch_sub(1, SeqCst);
                }
            }
        };
        let remotes = [Remote::start(), Remote::start()];
        let tasks: Vec<_> = (0..8)
            .map(|n| remotes[n % 2].handle.spawn(work(yield_now)))
            .collect();
        let threads = [(); 3].map(|()| thread::spawn(work(thread::yield_now)));
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        for task in tasks {
            task.join().unwrap();
        }
        assert_eq!(*mutex.lock().unwrap(), 11 * EACH);
        remotes.into_iter().for_each(Remote::stop);
    });
}

#[test]
fn cancelling_under_contention_loses_neither_the_mutex_nor_a_waiter() {
    ends(|| {
        let mutex = Arc::new(Mutex::new(0_usize));
        let remotes = [Remote::start(), Remote::start()];
        let mut done = 0;
        for round in 0..300 {
            let tasks: Vec<_> = (0..6)
                .map(|n| {
                    let mutex = mutex.clone();
                    remotes[n % 2].handle.spawn(move || {
                        let mut count = mutex.lock().unwrap();
                        if n == 0 {
                            yield_now();
                        }
                        *count += 1;
                    })
                })
                .collect();
            tasks[round % 6].cancel();
            tasks[(round + 3) % 6].cancel();
            done += tasks
                .into_iter()
                .filter_map(|task| task.join().ok())
                .count();
            assert_eq!(*mutex.lock().unwrap(), done);
        }
        remotes.into_iter().for_each(Remote::stop);
    });
}

#[test]
fn a_task_that_only_locks_and_unlocks_starves_nobody() {
    let spins: [fn(&Mutex<()>); 3] = [
        |mutex| drop(mutex.lock().unwrap()),
        |mutex| drop(mutex.try_lock().unwrap()),
        |mutex| drop(mutex.lock_timeout(LONG).unwrap()),
    ];
    for spin in spins {
        ends(move || {
            let scheduler = scheduler();
            let spinner = scheduler.spawn(move || {
                let mutex = Mutex::new(());
                loop {
                    spin(&mutex);
                }
            });
            scheduler.block_on(|| (0..10).for_each(|_| yield_now()));
            spinner.cancel();
            scheduler.run().unwrap();
        });
    }
}

#[test]
fn it_serves_in_a_static_and_guards_what_has_no_size() {
    static NAMES: Mutex<Vec<&str>> = Mutex::new(Vec::new());
    NAMES.lock().unwrap().push("Ada");
    assert_eq!(*NAMES.lock().unwrap(), ["Ada"]);
    let slice: Box<Mutex<[u8]>> = Box::new(Mutex::new([1, 2, 3]));
    slice.lock().unwrap()[0] = 4;
    assert_eq!(&*slice.lock().unwrap(), &[4, 2, 3]);
    fn both<T: Send + Sync + std::panic::UnwindSafe + std::panic::RefUnwindSafe>() {}
    both::<Mutex<Cell<i32>>>();
    fn sync<T: Sync>() {}
    sync::<MutexGuard<'_, i32>>();
}
