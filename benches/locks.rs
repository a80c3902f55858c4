//! What does a lock cost that is free, beside std's, and one that has to be waited for, beside the switches alone?
//!
//! `cargo bench --bench locks`. Rounds are interleaved, because machines are shared and their speed drifts; each row
//! shows the median of the rounds, the minimum, and the median ratio to the first row of its group.

mod common;

use common::{per_item, table, Bench};
use multitask::sync::{Arc, Barrier, Condvar, Mutex, OnceLock, RwLock, Semaphore};
use multitask::{yield_now, Scheduler};
use std::hint::black_box;
use std::thread;
use std::time::Instant;

/// With nobody else in the way; beside std's.
const FREE: &[&[Bench]] = &[
    &[
        ("Mutex of std: lock + unlock", std_free),
        ("Mutex: lock + unlock, in a task", |s| s.block_on(free)),
        ("Mutex: lock + unlock, on a thread", |_| free()),
    ],
    &[
        ("RwLock of std: read + unlock", std_read),
        ("RwLock: read + unlock", read),
    ],
    &[
        ("RwLock of std: write + unlock", std_write),
        ("RwLock: write + unlock", write),
        ("Semaphore: acquire + drop", acquire),
    ],
    &[
        ("OnceLock of std: get_or_init", std_once),
        ("OnceLock: get_or_init", once),
    ],
];

/// Each operation of a task has to wait for the other; beside as many switches.
const CONTENDED: &[Bench] = &[
    ("2 yields, 2 tasks", yields),
    ("Mutex held over a yield, 2 tasks", contended),
    ("RwLock, written, the same", write_contended),
    ("Semaphore of 1, the same", acquire_contended),
    ("Condvar: there and back, 2 tasks", condvar),
    ("Barrier of 2, twice", barrier),
];

const THREADS: &[Bench] = &[
    ("Mutex of std: 2 threads", |_| std_threads()),
    ("Mutex: 2 threads", |_| threads()),
    ("Mutex: tasks on 2 threads", |_| schedulers()),
];

fn main() {
    let scheduler = Scheduler::new().expect("a few descriptors");
    let groups = [FREE, &[CONTENDED, THREADS]].concat();
    table(&scheduler, &groups, "ratio");
}

fn each(times: u64, f: impl FnOnce()) -> f64 {
    let start = Instant::now();
    f();
    per_item(start, times)
}

const MANY: u64 = 2_000_000;
const FEW: u64 = 200_000;

fn std_free(_: &Scheduler) -> f64 {
    let mutex = black_box(std::sync::Mutex::new(0));
    each(MANY, || {
        (0..MANY).for_each(|_| *mutex.lock().expect("no panic") += 1)
    })
}

fn free() -> f64 {
    let mutex = black_box(Mutex::new(0));
    each(MANY, || {
        (0..MANY).for_each(|_| *mutex.lock().expect("no panic") += 1)
    })
}

fn yields(scheduler: &Scheduler) -> f64 {
    two_tasks(scheduler, || {
        yield_now();
        yield_now();
    })
}

/// Each task finds the mutex locked, and unlocks it while the other waits.
fn contended(scheduler: &Scheduler) -> f64 {
    let mutex = Arc::new(Mutex::new(0));
    two_tasks(scheduler, move || {
        let mut guard = mutex.lock().expect("no panic");
        yield_now();
        *guard += 1;
    })
}

fn write_contended(scheduler: &Scheduler) -> f64 {
    let lock = Arc::new(RwLock::new(0));
    two_tasks(scheduler, move || {
        let mut guard = lock.write().expect("no panic");
        yield_now();
        *guard += 1;
    })
}

fn acquire_contended(scheduler: &Scheduler) -> f64 {
    let semaphore = Arc::new(Semaphore::new(1));
    two_tasks(scheduler, move || {
        let _permit = semaphore.acquire().expect("it is open");
        yield_now();
    })
}

/// Twice, as two yields are two switches of each.
fn barrier(scheduler: &Scheduler) -> f64 {
    let barrier = Arc::new(Barrier::new(2));
    two_tasks(scheduler, move || {
        barrier.wait();
        barrier.wait();
    })
}

fn two_tasks(scheduler: &Scheduler, work: impl Fn() + Clone + Send + 'static) -> f64 {
    each(2 * FEW, || {
        for _ in 0..2 {
            let work = work.clone();
            scheduler.spawn(move || (0..FEW).for_each(|_| work()));
        }
        scheduler.run().expect("no deadlock");
    })
}

fn std_read(_: &Scheduler) -> f64 {
    let lock = black_box(std::sync::RwLock::new(0));
    each(MANY, || {
        (0..MANY).for_each(|_| _ = black_box(*lock.read().expect("no panic")))
    })
}

fn read(_: &Scheduler) -> f64 {
    let lock = black_box(RwLock::new(0));
    each(MANY, || {
        (0..MANY).for_each(|_| _ = black_box(*lock.read().expect("no panic")))
    })
}

fn std_write(_: &Scheduler) -> f64 {
    let lock = black_box(std::sync::RwLock::new(0));
    each(MANY, || {
        (0..MANY).for_each(|_| *lock.write().expect("no panic") += 1)
    })
}

fn write(_: &Scheduler) -> f64 {
    let lock = black_box(RwLock::new(0));
    each(MANY, || {
        (0..MANY).for_each(|_| *lock.write().expect("no panic") += 1)
    })
}

fn std_once(_: &Scheduler) -> f64 {
    let cell = black_box(std::sync::OnceLock::new());
    each(MANY, || {
        (0..MANY).for_each(|n| _ = black_box(cell.get_or_init(|| n)))
    })
}

fn once(_: &Scheduler) -> f64 {
    let cell = black_box(OnceLock::new());
    each(MANY, || {
        (0..MANY).for_each(|n| _ = black_box(cell.get_or_init(|| n)))
    })
}

fn acquire(_: &Scheduler) -> f64 {
    let semaphore = black_box(Semaphore::new(1));
    each(MANY, || {
        (0..MANY).for_each(|_| drop(semaphore.acquire().expect("it is open")))
    })
}

/// Two tasks that hand a turn to each other.
fn condvar(scheduler: &Scheduler) -> f64 {
    let shared = Arc::new((Mutex::new(0_u64), Condvar::new()));
    each(FEW, || {
        for me in 0..2 {
            let shared = shared.clone();
            scheduler.spawn(move || {
                for _ in 0..FEW {
                    let turn = shared.0.lock().expect("no panic");
                    let others = |turn: &mut u64| *turn % 2 != me;
                    *shared.1.wait_while(turn, others).expect("no panic") += 1;
                    shared.1.notify_one();
                }
            });
        }
        scheduler.run().expect("no deadlock");
    })
}

fn std_threads() -> f64 {
    let mutex = std::sync::Mutex::new(0);
    two_threads(|| (0..FEW).for_each(|_| *mutex.lock().expect("no panic") += 1))
}

fn threads() -> f64 {
    let mutex = Mutex::new(0);
    two_threads(|| (0..FEW).for_each(|_| *mutex.lock().expect("no panic") += 1))
}

fn schedulers() -> f64 {
    let mutex = Mutex::new(0);
    two_threads(|| {
        let scheduler = Scheduler::new().expect("a few descriptors");
        scheduler.block_on(|| (0..FEW).for_each(|_| *mutex.lock().expect("no panic") += 1));
    })
}

fn two_threads(work: impl Fn() + Sync) -> f64 {
    each(2 * FEW, || {
        thread::scope(|threads| {
            threads.spawn(&work);
            threads.spawn(&work);
        });
    })
}
