//! What does a lock cost, beside std's?
//!
//! `cargo bench --bench locks`. Rounds are interleaved, because machines are shared and their speed drifts; each row
//! shows the median of the rounds, the minimum, and the median ratio to the row of std's that it is beside.

use multitask::sync::{Arc, Condvar, Mutex, OnceLock, RwLock, Semaphore};
use multitask::{yield_now, Scheduler};
use std::hint::black_box;
use std::thread;
use std::time::Instant;

const ROUNDS: usize = 9;

/// A name, what is measured, and the number of the row that it is compared with.
type Bench = (&'static str, fn(&Scheduler) -> f64, usize);

const BENCHES: &[Bench] = &[
    ("Mutex of std: lock + unlock", std_free, 0),
    ("Mutex: lock + unlock, in a task", |s| s.block_on(free), 0),
    ("Mutex: lock + unlock, on a thread", |_| free(), 0),
    ("2 yields, 2 tasks", yields, 3),
    ("Mutex held over a yield, 2 tasks", contended, 3),
    ("Mutex of std: 2 threads", |_| std_threads(), 5),
    ("Mutex: 2 threads", |_| threads(), 5),
    ("Mutex: tasks on 2 threads", |_| schedulers(), 5),
    ("RwLock of std: read + unlock", std_read, 8),
    ("RwLock: read + unlock", read, 8),
    ("RwLock of std: write + unlock", std_write, 10),
    ("RwLock: write + unlock", write, 10),
    ("OnceLock of std: get_or_init", std_once, 12),
    ("OnceLock: get_or_init", once, 12),
    ("Semaphore: acquire + drop", acquire, 10),
    ("Condvar: there and back, 2 tasks", condvar, 3),
];

fn main() {
    // `cargo test --benches` only wants to know that it runs.
    let testing = !std::env::args().any(|arg| arg == "--bench");
    let rounds = if testing { 1 } else { ROUNDS };
    let scheduler = Scheduler::new().expect("a few descriptors");
    let mut figures = vec![Vec::new(); BENCHES.len()];
    for round in 0..=rounds {
        for ((_, bench, _), figures) in BENCHES.iter().zip(&mut figures) {
            let nanoseconds = bench(&scheduler);
            if round > 0 {
                figures.push(nanoseconds);
            }
        }
    }
    println!(
        "{:34} {:>10} {:>10} {:>10}",
        "ns each", "median", "minimum", "ratio"
    );
    for ((name, _, beside), ours) in BENCHES.iter().zip(&figures) {
        let ratios = ours.iter().zip(&figures[*beside]);
        let mut ratios: Vec<f64> = ratios.map(|(ours, std)| ours / std).collect();
        let mut sorted = ours.clone();
        let (ratio, middle, least) = (median(&mut ratios), median(&mut sorted), sorted[0]);
        println!("{name:34} {middle:>10.2} {least:>10.2} {ratio:>10.2}");
    }
}

/// Sorts, and returns the one in the middle.
fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn each(times: u64, f: impl FnOnce()) -> f64 {
    let start = Instant::now();
    f();
    start.elapsed().as_nanos() as f64 / times as f64
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
