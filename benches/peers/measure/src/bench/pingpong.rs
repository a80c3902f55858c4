//! `pingpong`: two tasks send a number to and fro through two channels of capacity 1.

use crate::measure::{each, leak};
use crate::model::{Bench, Case, Job, Outcome, Peer, Work};
use crate::peer::bare::{Fiber, Stacks};
use crate::peer::{dispatch, AsyncChannel, Channel, Stackful, Stackless};
use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

pub const BENCH: Bench = Bench {
    name: "pingpong",
    about: "two tasks, two channels of capacity 1; per message",
    cases: &[Case {
        param: "",
        n: 2,
        workers: 1,
        size: [4_000_000, 200_000, 1_000],
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
    let peer = leak(P::start(job.workers)?);
    let (ping, pinged) = P::Relay::open(1)?;
    drop((ping, pinged)); // there are such channels
    each(job.size, |size| {
        peer.run(move || {
            let (ping, pinged) = P::Relay::open(1).expect("as before");
            let (pong, ponged) = P::Relay::open(1).expect("as before");
            let echo = P::spawn(move || {
                while let Some(i) = P::Relay::receive(&pinged) {
                    P::Relay::send(&pong, i + 1);
                }
            });
            let caller = P::spawn(move || {
                let start = Instant::now();
                for i in 0..size.div_ceil(2) {
                    P::Relay::send(&ping, i);
                    assert_eq!(P::Relay::receive(&ponged), Some(i + 1));
                }
                start.elapsed()
            });
            let elapsed = P::join(caller);
            P::join(echo);
            elapsed
        })
    })
}

fn stackless<P: Stackless>(peer: Peer, job: &Job) -> Outcome {
    let peer = leak(P::start(peer, job.workers)?);
    each(job.size, |size| {
        peer.run(async move {
            let (ping, mut pinged) = P::Bounded::open(1).expect("all have it");
            let (pong, mut ponged) = P::Bounded::open(1).expect("all have it");
            let echo = P::spawn(async move {
                while let Some(i) = P::Bounded::receive(&mut pinged).await {
                    P::Bounded::send(&pong, i + 1).await;
                }
            });
            let caller = P::spawn(async move {
                let start = Instant::now();
                for i in 0..size.div_ceil(2) {
                    P::Bounded::send(&ping, i).await;
                    assert_eq!(P::Bounded::receive(&mut ponged).await, Some(i + 1));
                }
                start.elapsed()
            });
            let elapsed = P::join(caller).await;
            P::join(echo).await;
            elapsed
        })
    })
}

/// A place for the number, and a bare switch to the other.
fn floor(job: &Job) -> Outcome {
    each(job.size, bare)
}

fn bare(size: u64) -> Duration {
    let place = Rc::new(Cell::new(0));
    let theirs = place.clone();
    let mut stacks = Stacks::new(2);
    let mut echo = Fiber::new(stacks.slot(), move |yields| loop {
        match theirs.get() {
            u64::MAX => break,
            i => theirs.set(i + 1),
        }
        yields.suspend(());
    });
    let ours = place.clone();
    let mut caller = Fiber::new(stacks.slot(), move |yields| {
        for i in 0..size.div_ceil(2) {
            ours.set(i);
            yields.suspend(());
            assert_eq!(ours.get(), i + 1);
        }
        ours.set(u64::MAX);
    });
    let start = Instant::now();
    while caller.resume() {
        echo.resume();
    }
    let elapsed = start.elapsed();
    assert!(!echo.resume(), "it has ended");
    elapsed
}
