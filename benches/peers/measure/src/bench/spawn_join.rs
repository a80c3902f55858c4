//! `spawn_join`: one task after the other is spawned, returns a number, and is joined. A panic would come out of `join`.

use crate::measure::{each, leak};
use crate::model::{Bench, Case, Job, Outcome, Peer, Work};
use crate::peer::bare::{Fiber, Stacks};
use crate::peer::{dispatch, Stackful, Stackless};
use std::cell::Cell;
use std::panic::catch_unwind;
use std::rc::Rc;
use std::time::{Duration, Instant};

pub const BENCH: Bench = Bench {
    name: "spawn_join",
    about: "spawn a task that returns a number, join it; per task",
    cases: &[Case {
        param: "",
        n: 1,
        workers: 1,
        size: [1_000_000, 50_000, 100],
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
        job.size = job.size.div_ceil(20); // a tenth of a second is enough
    }
    dispatch!(peer, &job, stackful, stackless, floor(&job))
}

fn stackful<P: Stackful>(job: &Job) -> Outcome {
    let peer = leak(P::start(job.workers)?);
    each(job.size, |size| {
        peer.run(move || {
            let start = Instant::now();
            for i in 0..size {
                assert_eq!(P::join(P::spawn(move || i)), i);
            }
            start.elapsed()
        })
    })
}

fn stackless<P: Stackless>(peer: Peer, job: &Job) -> Outcome {
    let peer = leak(P::start(peer, job.workers)?);
    each(job.size, |size| {
        peer.run(async move {
            let start = Instant::now();
            for i in 0..size {
                assert_eq!(P::join(P::spawn(async move { i })).await, i);
            }
            start.elapsed()
        })
    })
}

/// A coroutine on a stack that is used again, whose body catches panics and leaves its result.
fn floor(job: &Job) -> Outcome {
    each(job.size, bare)
}

fn bare(size: u64) -> Duration {
    let mut slot = Stacks::new(1).slot();
    let result = Rc::new(Cell::new(None));
    let start = Instant::now();
    for i in 0..size {
        let place = result.clone();
        let mut fiber = Fiber::new(slot, move |_| place.set(catch_unwind(|| i).ok()));
        assert!(!fiber.resume(), "it has ended");
        assert_eq!(result.take(), Some(i));
        slot = fiber.into_slot();
    }
    start.elapsed()
}
