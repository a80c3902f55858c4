//! `yield`: tasks that take turns. Each goes behind all others that are ready.

use crate::measure::{each, leak, Gate};
use crate::model::{Bench, Case, Job, Outcome, Peer, Work};
use crate::peer::bare::{take_turns, Fiber, Stacks};
use crate::peer::{dispatch, Stackful, Stackless};
use std::time::{Duration, Instant};

pub const BENCH: Bench = Bench {
    name: "yield",
    about: "N tasks yield in turn; per yield",
    cases: &[
        Case {
            param: "2 tasks",
            n: 2,
            workers: 1,
            size: [10_000_000, 500_000, 1_000],
        },
        Case {
            param: "1,000 tasks",
            n: 1_000,
            workers: 1,
            size: [10_000_000, 500_000, 1_000],
        },
        Case {
            param: "100,000 tasks",
            n: 100_000,
            workers: 1,
            size: [10_000_000, 3_000_000, 1_000],
        },
    ],
    peers: &[
        Peer::Multitask,
        Peer::Tokio,
        Peer::TokioMulti,
        Peer::May,
        Peer::Smol,
        Peer::Go,
        Peer::Threads,
        Peer::Floor,
    ],
    shown: None,
    work: Work::Here(run),
};

fn run(peer: Peer, job: &Job) -> Outcome {
    if peer == Peer::Threads && job.n > 1_000 {
        return Err("too many threads".into());
    }
    dispatch!(peer, job, stackful, stackless, floor(job))
}

/// How often each of the tasks yields.
fn times(size: u64, n: usize) -> u64 {
    size.div_ceil(n as u64)
}

fn stackful<P: Stackful>(job: &Job) -> Outcome {
    let (peer, n) = (leak(P::start(job.workers)?), job.n);
    each(job.size, |size| {
        peer.run(move || {
            let (gate, times) = (Gate::new(n), times(size, n));
            let task = move || {
                gate.arrive();
                while !gate.is_open() {
                    P::yield_now();
                }
                for _ in 0..times {
                    P::yield_now();
                }
                gate.finish();
            };
            let tasks: Vec<_> = (0..n).map(|_| P::spawn(task)).collect();
            tasks.into_iter().for_each(P::join);
            gate.elapsed()
        })
    })
}

fn stackless<P: Stackless>(peer: Peer, job: &Job) -> Outcome {
    let (peer, n) = (leak(P::start(peer, job.workers)?), job.n);
    each(job.size, |size| {
        peer.run(async move {
            let (gate, times) = (Gate::new(n), times(size, n));
            let task = move || async move {
                gate.arrive();
                while !gate.is_open() {
                    P::yield_now().await;
                }
                for _ in 0..times {
                    P::yield_now().await;
                }
                gate.finish();
            };
            let tasks: Vec<_> = (0..n).map(|_| P::spawn(task())).collect();
            for task in tasks {
                P::join(task).await;
            }
            gate.elapsed()
        })
    })
}

fn floor(job: &Job) -> Outcome {
    each(job.size, |size| bare(job.n, times(size, job.n)))
}

fn bare(n: usize, times: u64) -> Duration {
    let mut stacks = Stacks::new(n);
    let fiber = |_| {
        Fiber::new(stacks.slot(), move |yields| {
            for _ in 0..=times {
                yields.suspend(());
            }
        })
    };
    let mut fibers: Vec<Fiber> = (0..n).map(fiber).collect();
    for fiber in &mut fibers {
        assert!(fiber.resume(), "it has started");
    }
    let start = Instant::now();
    take_turns(&mut fibers);
    start.elapsed()
}
