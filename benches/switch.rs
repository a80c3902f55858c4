//! What do a switch, a spawn and a wake-up cost, against a bare pair of corosensei switches in the same run?
//!
//! `cargo bench --bench switch`. Rounds are interleaved, because machines are shared and their speed drifts; each row
//! shows the median of the rounds, the minimum, and the median ratio to the bare pair of the same round.

mod common;

use common::{median, per_item, table, Bench};
use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};
use multitask::{sleep_until, spawn, timeout, yield_now, Scheduler};
use std::hint::black_box;
use std::time::{Duration, Instant};

const BENCHES: &[Bench] = &[
    ("bare resume + suspend", bare_pair),
    ("yield, 2 tasks", |s| yields(s, 2)),
    ("yield, 1,000 tasks", |s| yields(s, 1_000)),
    ("yield, 100,000 tasks", |s| yields(s, 100_000)),
    ("spawn + join", spawn_join),
    ("spawn 10,000, then join all", |s| burst(s, false)),
    ("the same, each yields once", |s| burst(s, true)),
    ("timeout round what is ready", timeout_ready),
    ("timeout round a yield", timeout_yield),
];

fn main() {
    let scheduler = Scheduler::new().expect("a few descriptors");
    table(&scheduler, BENCHES, "to bare");
    println!(
        "sleep of 100 us: {:.1} us late (median)",
        lateness(&scheduler) / 1e3
    );
}

fn bare_pair(_: &Scheduler) -> f64 {
    const PAIRS: u64 = 2_000_000;
    let stack = DefaultStack::default();
    let mut coroutine = Coroutine::with_stack(stack, |yielder: &Yielder<(), ()>, ()| loop {
        yielder.suspend(());
        if black_box(false) {
            break;
        }
    });
    let start = Instant::now();
    for _ in 0..PAIRS {
        assert!(matches!(coroutine.resume(()), CoroutineResult::Yield(())));
    }
    let figure = per_item(start, PAIRS);
    // SAFETY: nothing on its stack needs dropping, and nothing points to it.
    unsafe { coroutine.force_reset() };
    figure
}

fn yields(scheduler: &Scheduler, tasks: u64) -> f64 {
    const YIELDS: u64 = 2_000_000;
    for _ in 0..tasks {
        scheduler.spawn(move || {
            for _ in 0..YIELDS / tasks {
                yield_now();
            }
        });
    }
    // Everybody gets a stack first.
    scheduler
        .turn(Some(Duration::ZERO))
        .expect("tasks are ready");
    let start = Instant::now();
    scheduler.run().expect("no deadlock");
    per_item(start, YIELDS)
}

fn spawn_join(scheduler: &Scheduler) -> f64 {
    const SPAWNS: u64 = 300_000;
    scheduler.block_on(|| {
        let start = Instant::now();
        for i in 0..SPAWNS {
            assert_eq!(spawn(move || i).join().expect("no panic"), i);
        }
        per_item(start, SPAWNS)
    })
}

fn burst(scheduler: &Scheduler, yielding: bool) -> f64 {
    const BURSTS: u64 = 20;
    const TASKS: u64 = 10_000;
    scheduler.block_on(|| {
        let start = Instant::now();
        for _ in 0..BURSTS {
            let work = move |i| {
                if yielding {
                    yield_now();
                }
                i
            };
            let handles: Vec<_> = (0..TASKS).map(|i| spawn(move || work(i))).collect();
            for handle in handles {
                black_box(handle.join().expect("no panic"));
            }
        }
        per_item(start, BURSTS * TASKS)
    })
}

fn timeout_ready(scheduler: &Scheduler) -> f64 {
    const TIMES: u64 = 1_000_000;
    scheduler.block_on(|| {
        let start = Instant::now();
        for i in 0..TIMES {
            black_box(timeout(Duration::from_secs(5), || black_box(i)).expect("in time"));
        }
        per_item(start, TIMES)
    })
}

fn timeout_yield(scheduler: &Scheduler) -> f64 {
    const TIMES: u64 = 500_000;
    scheduler.block_on(|| {
        let start = Instant::now();
        for _ in 0..TIMES {
            timeout(Duration::from_secs(5), yield_now).expect("in time");
        }
        per_item(start, TIMES)
    })
}

fn lateness(scheduler: &Scheduler) -> f64 {
    let mut late: Vec<f64> = scheduler.block_on(|| {
        let once = |_| {
            let deadline = Instant::now() + Duration::from_micros(100);
            sleep_until(deadline);
            deadline.elapsed().as_nanos() as f64
        };
        (0..2_000).map(once).collect()
    });
    median(&mut late)
}
