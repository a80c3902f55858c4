//! What does a switch cost, and a time limit round it, against a bare pair of corosensei switches in the same run?
//!
//! `cargo bench --bench switch`. Rounds are interleaved, because machines are shared and their speed drifts; each row
//! shows the median of the rounds, the minimum, and the median ratio to the bare pair of the same round.

#[path = "common/bare.rs"]
mod bare;
mod common;

use common::{per_item, table, Bench};
use multitask::{timeout, yield_now, Scheduler};
use std::hint::black_box;
use std::time::{Duration, Instant};

const BENCHES: &[Bench] = &[
    ("bare resume + suspend", bare::pair),
    ("yield, 2 tasks", |s| yields(s, 2)),
    ("yield, 1,000 tasks", |s| yields(s, 1_000)),
    ("yield, 100,000 tasks", |s| yields(s, 100_000)),
    ("timeout round what is ready", timeout_ready),
    ("timeout round a yield", timeout_yield),
];

fn main() {
    let scheduler = Scheduler::new().expect("a few descriptors");
    table(&scheduler, &[BENCHES], "to bare");
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
