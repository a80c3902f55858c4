//! `spawn_burst`: 10,000 tasks are spawned, then all joined; again and again.

use crate::measure::{each, leak};
use crate::model::{Bench, Case, Job, Outcome, Peer, Work};
use crate::peer::bare::{take_turns, Fiber, Stacks};
use crate::peer::{dispatch, Stackful, Stackless};
use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Of the empty one.
const EMPTY: &str = "empty";

pub const BENCH: Bench = Bench {
    name: "spawn_burst",
    about: "spawn 10,000 tasks, join all; per task",
    cases: &[
        Case {
            param: EMPTY,
            n: 10_000,
            workers: 1,
            size: [1_000_000, 100_000, 100],
        },
        Case {
            param: "each yields once",
            n: 10_000,
            workers: 1,
            size: [1_000_000, 100_000, 100],
        },
    ],
    peers: &[
        Peer::Multitask,
        Peer::Tokio,
        Peer::TokioMulti,
        Peer::May,
        Peer::Smol,
        Peer::Go,
        Peer::Floor,
    ],
    shown: None,
    work: Work::Here(run),
};

fn run(peer: Peer, job: &Job) -> Outcome {
    dispatch!(peer, job, stackful, stackless, floor(job))
}

fn sum(n: usize) -> u64 {
    let n = n as u64;
    n * (n - 1) / 2
}

/// How many bursts, and how many tasks to each.
fn bursts(size: u64, n: usize) -> u64 {
    size.div_ceil(n as u64)
}

fn stackful<P: Stackful>(job: &Job) -> Outcome {
    let (peer, n, yields) = (leak(P::start(job.workers)?), job.n, job.param != EMPTY);
    each(job.size, |size| {
        peer.run(move || {
            let work = move |i| {
                if yields {
                    P::yield_now();
                }
                i
            };
            let bursts = bursts(size, n);
            let start = Instant::now();
            for _ in 0..bursts {
                let tasks: Vec<_> = (0..n as u64).map(|i| P::spawn(move || work(i))).collect();
                let total: u64 = tasks.into_iter().map(P::join).sum();
                assert_eq!(total, sum(n));
            }
            scaled(start.elapsed(), size, bursts * n as u64)
        })
    })
}

fn stackless<P: Stackless>(peer: Peer, job: &Job) -> Outcome {
    let (peer, n) = (leak(P::start(peer, job.workers)?), job.n);
    let yields = job.param != EMPTY;
    each(job.size, |size| {
        peer.run(async move {
            let work = move |i| async move {
                if yields {
                    P::yield_now().await;
                }
                i
            };
            let bursts = bursts(size, n);
            let start = Instant::now();
            for _ in 0..bursts {
                let tasks: Vec<_> = (0..n as u64).map(|i| P::spawn(work(i))).collect();
                let mut total = 0;
                for task in tasks {
                    total += P::join(task).await;
                }
                assert_eq!(total, sum(n));
            }
            scaled(start.elapsed(), size, bursts * n as u64)
        })
    })
}

/// Bursts are whole, so a little more than `size` may have been done.
fn scaled(elapsed: Duration, size: u64, done: u64) -> Duration {
    elapsed.mul_f64(size as f64 / done as f64)
}

/// Coroutines on stacks that are used again; those that end at once on the same one.
fn floor(job: &Job) -> Outcome {
    let bare = if job.param == EMPTY {
        one_by_one
    } else {
        in_turn
    };
    each(job.size, |size| {
        let bursts = bursts(size, job.n);
        scaled(bare(bursts, job.n), size, bursts * job.n as u64)
    })
}

fn one_by_one(bursts: u64, n: usize) -> Duration {
    let mut slot = Stacks::new(1).slot();
    let total = Rc::new(Cell::new(0));
    let start = Instant::now();
    for _ in 0..bursts {
        for i in 0..n as u64 {
            let total = total.clone();
            let mut fiber = Fiber::new(slot, move |_| total.set(total.get() + i));
            assert!(!fiber.resume(), "it has ended");
            slot = fiber.into_slot();
        }
        assert_eq!(total.take(), sum(n));
    }
    start.elapsed()
}

fn in_turn(bursts: u64, n: usize) -> Duration {
    let mut stacks = Stacks::new(n);
    let mut slots: Vec<_> = (0..n).map(|_| stacks.slot()).collect();
    let total = Rc::new(Cell::new(0));
    let start = Instant::now();
    for _ in 0..bursts {
        let fiber = |(i, slot)| {
            let total = total.clone();
            Fiber::new(slot, move |yields| {
                yields.suspend(());
                total.set(total.get() + i as u64);
            })
        };
        let mut fibers: Vec<_> = slots.drain(..).enumerate().map(fiber).collect();
        take_turns(&mut fibers);
        slots.extend(fibers.into_iter().map(Fiber::into_slot));
        assert_eq!(total.take(), sum(n));
    }
    start.elapsed()
}
