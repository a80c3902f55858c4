//! `ring`: 503 tasks in a ring hand a number on, through channels of capacity 1.

use crate::measure::{each, leak};
use crate::model::{Bench, Case, Job, Outcome, Peer, Work};
use crate::peer::bare::{take_turns, Fiber, Stacks};
use crate::peer::{dispatch, AsyncChannel, Channel, Stackful, Stackless};
use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

pub const BENCH: Bench = Bench {
    name: "ring",
    about: "503 tasks hand a number round; per hop",
    cases: &[Case {
        param: "",
        n: 503,
        workers: 1,
        size: [5_000_000, 200_000, 1_050],
    }],
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
    let mut job = job.clone();
    if peer == Peer::Threads {
        job.size = job.size.div_ceil(20);
    }
    dispatch!(peer, &job, stackful, stackless, floor(&job))
}

fn stackful<P: Stackful>(job: &Job) -> Outcome {
    let (peer, n) = (leak(P::start(job.workers)?), job.n);
    each(job.size, |size| {
        peer.run(move || {
            let (first, mut receiver) = P::Relay::open(1).expect("all have it");
            let mut tasks = Vec::with_capacity(n);
            for _ in 1..n {
                let (sender, next) = P::Relay::open(1).expect("all have it");
                let previous = std::mem::replace(&mut receiver, next);
                tasks.push(P::spawn(move || {
                    while let Some(hops) = P::Relay::receive(&previous) {
                        P::Relay::send(&sender, hops + 1);
                    }
                }));
            }
            let last = P::spawn(move || {
                let start = Instant::now();
                let mut hops = 0;
                while hops < size {
                    P::Relay::send(&first, hops + 1);
                    hops = P::Relay::receive(&receiver).expect("it comes round");
                    assert_eq!(hops % n as u64, 0);
                }
                (start.elapsed(), hops)
            });
            let (elapsed, hops) = P::join(last);
            tasks.into_iter().for_each(P::join);
            elapsed.mul_f64(size as f64 / hops as f64)
        })
    })
}

fn stackless<P: Stackless>(peer: Peer, job: &Job) -> Outcome {
    let (peer, n) = (leak(P::start(peer, job.workers)?), job.n);
    each(job.size, |size| {
        peer.run(async move {
            let (first, mut receiver) = P::Bounded::open(1).expect("all have it");
            let mut tasks = Vec::with_capacity(n);
            for _ in 1..n {
                let (sender, next) = P::Bounded::open(1).expect("all have it");
                let mut previous = std::mem::replace(&mut receiver, next);
                tasks.push(P::spawn(async move {
                    while let Some(hops) = P::Bounded::receive(&mut previous).await {
                        P::Bounded::send(&sender, hops + 1).await;
                    }
                }));
            }
            let last = P::spawn(async move {
                let start = Instant::now();
                let mut hops = 0;
                while hops < size {
                    P::Bounded::send(&first, hops + 1).await;
                    let round = P::Bounded::receive(&mut receiver).await;
                    hops = round.expect("it comes round");
                    assert_eq!(hops % n as u64, 0);
                }
                (start.elapsed(), hops)
            });
            let (elapsed, hops) = P::join(last).await;
            for task in tasks {
                P::join(task).await;
            }
            elapsed.mul_f64(size as f64 / hops as f64)
        })
    })
}

/// A bare switch to the next in the ring.
fn floor(job: &Job) -> Outcome {
    each(job.size, |size| bare(size, job.n))
}

fn bare(size: u64, n: usize) -> Duration {
    let hops = Rc::new(Cell::new(0));
    let mut stacks = Stacks::new(n);
    let fiber = |_| {
        let hops = hops.clone();
        Fiber::new(stacks.slot(), move |yields| {
            while hops.get() < size {
                hops.set(hops.get() + 1);
                yields.suspend(());
            }
        })
    };
    let mut fibers: Vec<Fiber> = (0..n).map(fiber).collect();
    let start = Instant::now();
    'rounds: loop {
        for fiber in &mut fibers {
            if !fiber.resume() {
                break 'rounds;
            }
        }
    }
    let elapsed = start.elapsed();
    take_turns(&mut fibers); // to their ends, which some have reached
    assert!(hops.get() >= size);
    elapsed
}
