//! Does arming and cancelling a timer cost more beside a million others than beside a thousand?
//!
//! `cargo bench --bench timers`. Each step of the loop is a wait with a time limit that ends before its time: two
//! switches, one timer armed, one cancelled. The others are those of tasks that sleep for hours.

use multitask::{sleep, spawn, task, yield_now, Scheduler};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(3600);

fn main() {
    // `cargo test --benches` only wants to know that it runs.
    let testing = !std::env::args().any(|arg| arg == "--bench");
    let sizes: &[u32] = if testing {
        &[100]
    } else {
        &[1_000, 100_000, 1_000_000]
    };
    println!("{:>12} {:>10} {:>12}", "timers", "ns each", "to the first");
    let mut first = None;
    for &size in sizes {
        let nanoseconds = beside(size, if testing { 1_000 } else { 300_000 });
        let ratio = nanoseconds / *first.get_or_insert(nanoseconds);
        println!("{size:>12} {nanoseconds:>10.1} {ratio:>12.2}");
    }
}

/// The fastest of several rounds, beside `count` sleepers.
fn beside(count: u32, steps: u32) -> f64 {
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
    let round = |_| round(&scheduler, steps);
    (0..5).map(round).fold(f64::INFINITY, f64::min)
}

fn round(scheduler: &Scheduler, steps: u32) -> f64 {
    let start = Instant::now();
    scheduler.block_on(|| {
        let waiter = spawn(move || {
            for _ in 0..steps {
                task::park_timeout(LONG);
            }
        });
        while !waiter.is_finished() {
            waiter.task().unpark();
            yield_now();
        }
    });
    start.elapsed().as_nanos() as f64 / f64::from(steps)
}
