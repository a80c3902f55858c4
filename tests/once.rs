//! `Once`, `OnceLock`, `LazyLock`: one initializer runs, whoever comes first, and what becomes of it is known to all.

mod common;

use common::{ends, scheduler, settle, Drops, Remote, LONG};
use multitask::sync::{Arc, LazyLock, Once, OnceLock};
use multitask::{sleep, spawn, task, timeout, yield_now, Scheduler, Timeout};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(5);

#[track_caller]
fn panics<T>(f: impl FnOnce() -> T) -> String {
    let panic = catch_unwind(AssertUnwindSafe(|| drop(f()))).unwrap_err();
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic.downcast::<&str>().unwrap().to_string(),
    }
}

// ---- Once ----

#[test]
fn one_initializer_runs_and_all_wait_until_it_has_returned() {
    let scheduler = Scheduler::new().unwrap();
    let (once, runs) = (Arc::new(Once::new()), Arc::new(AtomicUsize::new(0)));
    let handles = [(); 4].map(|()| {
        let (once, runs) = (once.clone(), runs.clone());
        scheduler.spawn(move || {
            once.call_once(|| {
                task::park();
                runs.fetch_add(1, SeqCst);
            });
            assert_eq!(runs.load(SeqCst), 1);
        })
    });
    let waiting = once.clone();
    let waits = scheduler.spawn(move || waiting.wait());
    settle(&scheduler);
    assert!(!once.is_completed() && !waits.is_finished());
    assert!(handles.iter().all(|handle| !handle.is_finished()));
    handles[0].task().unpark();
    settle(&scheduler);
    assert!(once.is_completed() && waits.is_finished());
    handles
        .into_iter()
        .for_each(|handle| handle.join().unwrap());
    once.call_once(|| unreachable!("once"));
    once.call_once_force(|_| unreachable!("once"));
    once.wait_force();
}

#[test]
fn a_panic_poisons_until_somebody_forces_it() {
    let once = Once::new();
    panics(|| once.call_once(|| panic!("first")));
    assert!(!once.is_completed());
    let previously = "Once instance has previously been poisoned";
    assert_eq!(panics(|| once.call_once(|| ())), previously);
    assert_eq!(panics(|| once.wait()), previously);
    panics(|| once.call_once_force(|state| assert!(!state.is_poisoned())));
    once.call_once_force(|state| assert!(state.is_poisoned()));
    assert!(once.is_completed());
    once.wait();
    let once = Once::new();
    once.call_once_force(|state| assert!(!state.is_poisoned()));
}

#[test]
fn a_panic_reaches_those_who_wait_and_not_those_who_wait_by_force() {
    let scheduler = Scheduler::new().unwrap();
    let once = Arc::new(Once::new());
    let with = |f: fn(&Once)| {
        let once = once.clone();
        let handle = scheduler.spawn(move || f(&once));
        settle(&scheduler);
        handle
    };
    let fails = with(|once| {
        once.call_once(|| {
            task::park();
            panic!("late");
        });
    });
    let [calls, waits, forces] = [
        with(|once| once.call_once(|| ())),
        with(Once::wait),
        with(Once::wait_force),
    ];
    fails.task().unpark();
    settle(&scheduler);
    for handle in [fails, calls, waits] {
        assert!(handle.join().unwrap_err().is_panic());
    }
    assert!(!forces.is_finished());
    once.call_once_force(|_| ());
    settle(&scheduler);
    forces.join().unwrap();
}

#[test]
fn a_task_that_is_cancelled_in_the_initializer_leaves_it_to_the_next_as_it_was() {
    let scheduler = Scheduler::new().unwrap();
    for poisoned in [false, true] {
        let once = Arc::new(Once::new());
        if poisoned {
            panics(|| once.call_once(|| panic!()));
        }
        let parks = |before: bool| {
            let once = once.clone();
            scheduler.spawn(move || {
                once.call_once_force(|state| {
                    assert_eq!(state.is_poisoned(), before);
                    task::park();
                });
            })
        };
        let (first, second) = (parks(poisoned), parks(poisoned));
        settle(&scheduler);
        first.cancel();
        settle(&scheduler);
        assert!(first.join().unwrap_err().is_cancelled());
        assert!(!once.is_completed() && !second.is_finished());
        second.task().unpark();
        settle(&scheduler);
        second.join().unwrap();
        assert!(once.is_completed());
    }
}

#[test]
fn an_initializer_that_runs_out_of_a_scope_is_followed_by_another() {
    let once = Once::new();
    let expires = || timeout(SHORT, || once.call_once(|| sleep(LONG)));
    assert_eq!(expires(), Err(Timeout));
    assert_eq!(scheduler().block_on(expires), Err(Timeout));
    once.call_once(|| ());
    assert!(once.is_completed());
}

#[test]
fn an_initializer_that_calls_its_own_once_panics_instead_of_waiting() {
    static ONCE: Once = Once::new();
    let calls = || ONCE.call_once(|| ONCE.call_once(|| ()));
    assert_eq!(panics(calls), "an initializer waits for itself");
    let scheduler = scheduler();
    let calls = || ONCE.call_once_force(|_| ONCE.call_once(|| ()));
    let error = scheduler.block_on(|| spawn(calls).join()).unwrap_err();
    assert_eq!(error.message(), Some("an initializer waits for itself"));
    let cell = OnceLock::new();
    panics(|| *cell.get_or_init(|| *cell.get_or_init(|| 1)));
    assert_eq!(cell.get(), None);
    assert_eq!(*cell.get_or_init(|| 2), 2);
}

#[test]
fn tasks_of_two_schedulers_and_threads_run_one_initializer() {
    ends(|| {
        let remotes = [Remote::start(), Remote::start()];
        for _ in 0..200 {
            let (cell, runs) = (Arc::new(OnceLock::new()), Arc::new(AtomicUsize::new(0)));
            let work = |pause: fn()| {
                let (cell, runs) = (cell.clone(), runs.clone());
                move || {
                    *cell.get_or_init(|| {
                        pause();
                        runs.fetch_add(1, SeqCst)
                    })
                }
            };
            let tasks: Vec<_> = (0..4)
                .map(|n| remotes[n % 2].handle.spawn(work(yield_now)))
                .collect();
            let thread = thread::spawn(work(thread::yield_now));
            assert_eq!(work(|| ())(), 0);
            assert_eq!(thread.join().unwrap(), 0);
            assert!(tasks.into_iter().all(|task| task.join().unwrap() == 0));
            assert_eq!(runs.load(SeqCst), 1);
        }
        remotes.into_iter().for_each(Remote::stop);
    });
}

// ---- OnceLock ----

#[test]
fn a_value_is_written_once_and_dropped_once() {
    let drops = Drops::default();
    let mut cell = OnceLock::new();
    assert!(cell.get().is_none() && cell.get_mut().is_none());
    assert!(cell.take().is_none());
    assert!(cell.set(drops.one()).is_ok());
    assert!(cell.set(drops.one()).is_err());
    assert_eq!(drops.count(), 1);
    cell.get_or_init(|| unreachable!("it is there"));
    assert!(cell.wait().eq_address(cell.get().unwrap()));
    drop(cell.take());
    assert_eq!(drops.count(), 2);
    cell.get_or_init(|| drops.one());
    assert!(cell.get_mut().is_some());
    drop(cell.into_inner());
    assert_eq!(drops.count(), 3);
    drop(OnceLock::from(drops.one()));
    assert_eq!(drops.count(), 4);
    drop(OnceLock::<common::Dropped>::new());
}

trait EqAddress {
    fn eq_address(&self, other: &Self) -> bool;
}

impl<T> EqAddress for T {
    fn eq_address(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

#[test]
fn an_initializer_that_panics_or_is_cancelled_leaves_the_cell_empty_for_the_next() {
    let scheduler = Scheduler::new().unwrap();
    let cell = Arc::new(OnceLock::new());
    panics(|| *cell.get_or_init(|| panic!()));
    let shared = cell.clone();
    let cancelled = scheduler.spawn(move || {
        shared.get_or_init(|| {
            task::park();
            1
        });
    });
    settle(&scheduler);
    let shared = cell.clone();
    let waits = scheduler.spawn(move || *shared.wait());
    let shared = cell.clone();
    let sets = scheduler.spawn(move || shared.set(2));
    settle(&scheduler);
    assert!(!waits.is_finished() && !sets.is_finished());
    cancelled.cancel();
    settle(&scheduler);
    assert_eq!((sets.join().unwrap(), waits.join().unwrap()), (Ok(()), 2));
    assert_eq!(cell.get(), Some(&2));
}

// ---- LazyLock ----

#[test]
fn a_lazy_value_is_computed_at_its_first_use_by_one() {
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    static LAZY: LazyLock<usize> = LazyLock::new(|| {
        yield_now();
        10 + RUNS.fetch_add(1, SeqCst)
    });
    assert_eq!((RUNS.load(SeqCst), LazyLock::get(&LAZY)), (0, None));
    let scheduler = scheduler();
    let tasks = [(); 3].map(|()| scheduler.spawn(|| *LAZY));
    scheduler.run().unwrap();
    assert_eq!(tasks.map(|task| task.join().unwrap()), [10; 3]);
    assert_eq!(LazyLock::get(&LAZY), Some(&10));
    let mut lazy = LazyLock::new(|| vec![1]);
    assert_eq!(LazyLock::get_mut(&mut lazy), None);
    lazy.push(2);
    LazyLock::force_mut(&mut lazy).push(3);
    assert_eq!(*lazy, [1, 2, 3]);
}

#[test]
fn a_lazy_initializer_that_panics_poisons() {
    let lazy = LazyLock::new(|| -> i32 { panic!("first") });
    assert_eq!(panics(|| *lazy), "first");
    let previously = "LazyLock instance has previously been poisoned";
    assert_eq!(panics(|| *lazy), previously);
    assert_eq!(panics(|| *LazyLock::force(&lazy)), previously);
    assert_eq!(LazyLock::get(&lazy), None);
}

#[test]
fn a_lazy_initializer_is_not_interrupted_and_its_task_is_afterwards() {
    let scheduler = Scheduler::new().unwrap();
    static LAZY: LazyLock<i32> = LazyLock::new(|| {
        task::park();
        5
    });
    let handle = scheduler.spawn(|| {
        assert_eq!(*LAZY, 5);
        yield_now();
        unreachable!("it is cancelled");
    });
    settle(&scheduler);
    handle.cancel();
    settle(&scheduler);
    assert!(!handle.is_finished());
    handle.task().unpark();
    settle(&scheduler);
    assert!(handle.join().unwrap_err().is_cancelled());
    assert_eq!(*LAZY, 5);
    let mut computed = false;
    let late = timeout(SHORT, || {
        let lazy = LazyLock::new(|| {
            sleep(2 * SHORT);
            computed = true;
        });
        LazyLock::force(&lazy);
        yield_now();
    });
    assert_eq!((late, computed), (Err(Timeout), true));
}
