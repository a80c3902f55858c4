//! What does a time limit add to a wait that ends before it, and does it add more beside a million others than beside a
//! thousand?
//!
//! `cargo bench --bench timers`. Each step is a wait that another task ends: two switches, and with a time limit one timer
//! armed, one cancelled. The first table has interleaved rounds, and the median ratio to the wait without a limit. The others of the
//! second are those of tasks that sleep for hours.

mod common;

use common::{median, per_item, table, Bench};
use multitask::sync::Arc;
use multitask::time::Timer;
use multitask::{sleep, sleep_until, spawn, task, timeout, yield_now, Scheduler};
use std::hint::black_box;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(3600);
const STEPS: u64 = 300_000;

const BENCHES: &[Bench] = &[
    ("park", |s| waits(s, STEPS, task::park)),
    ("park_timeout", |s| {
        waits(s, STEPS, || task::park_timeout(LONG))
    }),
    ("timeout round park", |s| {
        waits(s, STEPS, || timeout(LONG, task::park).expect("it is woken"))
    }),
    ("Timer: wait, and another's cancel", timer_wait),
    ("Timer: reset, nobody waits", |_| timer_reset()),
];

fn main() {
    // `cargo test --benches` only wants to know that it runs.
    let testing = !std::env::args().any(|arg| arg == "--bench");
    let scheduler = Scheduler::new().expect("a few descriptors");
    table(&scheduler, &[BENCHES], "to park");
    let late = lateness(&scheduler) / 1e3;
    println!("sleep of 100 us: {late:.1} us late (median)\n");

    let sizes: &[u32] = if testing {
        &[100]
    } else {
        &[1_000, 100_000, 1_000_000]
    };
    println!("{:>12} {:>10} {:>12}", "timers", "ns each", "to the first");
    let mut first = None;
    for &size in sizes {
        let nanoseconds = beside(size, if testing { 1_000 } else { STEPS });
        let ratio = nanoseconds / *first.get_or_insert(nanoseconds);
        println!("{size:>12} {nanoseconds:>10.1} {ratio:>12.2}");
    }
}

/// Of `steps` waits, each of which another task ends.
fn waits(scheduler: &Scheduler, steps: u64, wait: impl Fn() + Send + 'static) -> f64 {
    scheduler.block_on(|| {
        let start = Instant::now();
        let waiter = spawn(move || (0..steps).for_each(|_| wait()));
        while !waiter.is_finished() {
            waiter.task().unpark();
            yield_now();
        }
        per_item(start, steps)
    })
}

fn timer_wait(scheduler: &Scheduler) -> f64 {
    scheduler.block_on(|| {
        let timer = Arc::new(Timer::new(LONG));
        let waiter = spawn({
            let timer = timer.clone();
            move || (0..STEPS).for_each(|_| _ = timer.wait().expect_err("it is cancelled"))
        });
        let start = Instant::now();
        while !waiter.is_finished() {
            timer.reset(LONG);
            yield_now();
            timer.cancel();
        }
        per_item(start, STEPS)
    })
}

fn timer_reset() -> f64 {
    let timer = Timer::new(LONG);
    let start = Instant::now();
    (0..STEPS).for_each(|_| _ = black_box(timer.reset(LONG)));
    per_item(start, STEPS)
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

/// The fastest of several rounds, beside `count` sleepers.
fn beside(count: u32, steps: u64) -> f64 {
    let scheduler = Scheduler::builder()
        .stack_size(16 << 10)
        .build()
        .expect("a few descriptors");
    for n in 0..count {
        // All over the wheel.
        let spread = Duration::from_millis(u64::from(n.wrapping_mul(2_654_435_761)));
        scheduler.spawn(move || sleep(LONG + spread));
    }
    scheduler
        .turn(Some(Duration::ZERO))
        .expect("tasks are ready");
    assert_eq!(scheduler.stats().timers, count as usize);
    let round = |_| waits(&scheduler, steps, || task::park_timeout(LONG));
    (0..5).map(round).fold(f64::INFINITY, f64::min)
}
