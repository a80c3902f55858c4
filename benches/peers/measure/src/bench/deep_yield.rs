//! `deep_yield`: yielding some calls down. Those without a stack have a boxed future for each call, and go down through all at each turn.

use crate::measure::{each, leak, Gate};
use crate::model::{Bench, Case, Job, Outcome, Peer, Work};
use crate::peer::bare::{take_turns, Fiber, Stacks, Yields};
use crate::peer::{dispatch, Stackful, Stackless};
use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::time::{Duration, Instant};

const TASKS: usize = 100;

pub const BENCH: Bench = Bench {
    name: "deep_yield",
    about: "100 tasks yield some calls down; per yield",
    cases: &[
        Case {
            param: "depth 1",
            n: 1,
            workers: 1,
            size: [10_000_000, 500_000, 1_000],
        },
        Case {
            param: "depth 8",
            n: 8,
            workers: 1,
            size: [10_000_000, 500_000, 1_000],
        },
        Case {
            param: "depth 32",
            n: 32,
            workers: 1,
            size: [10_000_000, 500_000, 1_000],
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

fn times(size: u64) -> u64 {
    size.div_ceil(TASKS as u64)
}

fn stackful<P: Stackful>(job: &Job) -> Outcome {
    let (peer, depth) = (leak(P::start(job.workers)?), job.n);
    each(job.size, |size| {
        peer.run(move || {
            let gate = Gate::new(TASKS);
            let task = move || {
                down::<P>(depth, times(size), gate);
                gate.finish();
            };
            let tasks: Vec<_> = (0..TASKS).map(|_| P::spawn(task)).collect();
            tasks.into_iter().for_each(P::join);
            gate.elapsed()
        })
    })
}

#[inline(never)]
fn down<P: Stackful>(depth: usize, times: u64, gate: &'static Gate) {
    if depth > 1 {
        down::<P>(depth - 1, times, gate);
        return black_box(()); // not a tail call
    }
    gate.arrive();
    while !gate.is_open() {
        P::yield_now();
    }
    for _ in 0..times {
        P::yield_now();
    }
}

fn stackless<P: Stackless>(peer: Peer, job: &Job) -> Outcome {
    let (peer, depth) = (leak(P::start(peer, job.workers)?), job.n);
    each(job.size, |size| {
        peer.run(async move {
            let gate = Gate::new(TASKS);
            let task = move || async move {
                boxed_down::<P>(depth, times(size), gate).await;
                gate.finish();
            };
            let tasks: Vec<_> = (0..TASKS).map(|_| P::spawn(task())).collect();
            for task in tasks {
                P::join(task).await;
            }
            gate.elapsed()
        })
    })
}

fn boxed_down<P: Stackless>(
    depth: usize,
    times: u64,
    gate: &'static Gate,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        if depth > 1 {
            return boxed_down::<P>(depth - 1, times, gate).await;
        }
        gate.arrive();
        while !gate.is_open() {
            P::yield_now().await;
        }
        for _ in 0..times {
            P::yield_now().await;
        }
    })
}

fn floor(job: &Job) -> Outcome {
    each(job.size, |size| bare(job.n, times(size)))
}

fn bare(depth: usize, times: u64) -> Duration {
    let mut stacks = Stacks::new(TASKS);
    let fiber = |_| Fiber::new(stacks.slot(), move |yields| bare_down(yields, depth, times));
    let mut fibers: Vec<Fiber> = (0..TASKS).map(fiber).collect();
    for fiber in &mut fibers {
        assert!(fiber.resume(), "it has started");
    }
    let start = Instant::now();
    take_turns(&mut fibers);
    start.elapsed()
}

#[inline(never)]
fn bare_down(yields: &Yields, depth: usize, times: u64) {
    if depth > 1 {
        bare_down(yields, depth - 1, times);
        return black_box(());
    }
    for _ in 0..=times {
        yields.suspend(());
    }
}
