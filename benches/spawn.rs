//! What does a task cost from its spawn until it is joined, against a bare pair of corosensei switches in the same run?
//!
//! `cargo bench --bench spawn`. Rounds are interleaved, because machines are shared and their speed drifts; each row
//! shows the median of the rounds, the minimum, and the median ratio to the bare pair of the same round.

#[path = "common/bare.rs"]
mod bare;
mod common;

use common::{per_item, table, Bench};
use multitask::task::{self, JoinSet};
use multitask::{spawn, yield_now, Scheduler};
use std::hint::black_box;
use std::thread;
use std::time::Instant;

const BENCHES: &[Bench] = &[
    ("bare resume + suspend", bare::pair),
    ("spawn + join", spawn_join),
    ("the same, spawn_local", spawn_local_join),
    ("the same, of a scope", scope_spawn_join),
    ("the same, dropped instead of joined", spawn_drop),
    ("the same, std's threads", threads),
    ("spawn 10,000, then join all", |s| burst(s, false)),
    ("the same, each yields once", |s| burst(s, true)),
    ("the same, by a JoinSet", join_set),
    ("scope with nothing in it", empty_scope),
];

fn main() {
    let scheduler = Scheduler::new().expect("a few descriptors");
    table(&scheduler, &[BENCHES], "to bare");
}

const SPAWNS: u64 = 300_000;

fn spawn_join(scheduler: &Scheduler) -> f64 {
    scheduler.block_on(|| {
        let start = Instant::now();
        for i in 0..SPAWNS {
            assert_eq!(spawn(move || i).join().expect("no panic"), i);
        }
        per_item(start, SPAWNS)
    })
}

fn spawn_local_join(scheduler: &Scheduler) -> f64 {
    scheduler.block_on(|| {
        let start = Instant::now();
        for i in 0..SPAWNS {
            let task = task::spawn_local(move || i);
            assert_eq!(task.join().expect("no panic"), i);
        }
        per_item(start, SPAWNS)
    })
}

fn scope_spawn_join(scheduler: &Scheduler) -> f64 {
    scheduler.block_on(|| {
        task::scope(|scope| {
            let start = Instant::now();
            for i in 0..SPAWNS {
                assert_eq!(scope.spawn(move || i).join().expect("no panic"), i);
            }
            per_item(start, SPAWNS)
        })
    })
}

/// The handle goes at once; the task runs when the spawner yields.
fn spawn_drop(scheduler: &Scheduler) -> f64 {
    scheduler.block_on(|| {
        let start = Instant::now();
        for i in 0..SPAWNS {
            drop(spawn(move || black_box(i)));
            yield_now();
        }
        per_item(start, SPAWNS)
    })
}

fn threads(_: &Scheduler) -> f64 {
    const SPAWNS: u64 = 1_000;
    let start = Instant::now();
    for i in 0..SPAWNS {
        assert_eq!(thread::spawn(move || i).join().expect("no panic"), i);
    }
    per_item(start, SPAWNS)
}

const BURSTS: u64 = 20;
const TASKS: u64 = 10_000;

fn burst(scheduler: &Scheduler, yielding: bool) -> f64 {
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

fn join_set(scheduler: &Scheduler) -> f64 {
    scheduler.block_on(|| {
        let start = Instant::now();
        for _ in 0..BURSTS {
            let mut set = JoinSet::new();
            (0..TASKS).for_each(|i| _ = set.spawn(move || i));
            while let Some(result) = set.join_next() {
                black_box(result.expect("no panic"));
            }
        }
        per_item(start, BURSTS * TASKS)
    })
}

fn empty_scope(scheduler: &Scheduler) -> f64 {
    const SCOPES: u64 = 1_000_000;
    scheduler.block_on(|| {
        let start = Instant::now();
        for i in 0..SCOPES {
            black_box(task::scope(|_| black_box(i)));
        }
        per_item(start, SCOPES)
    })
}
