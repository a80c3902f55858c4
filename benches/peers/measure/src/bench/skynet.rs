//! `skynet`: a tree of tasks, ten children to each, whose leaves are summed up by joining.

use crate::measure::leak;
use crate::model::{Bench, Case, Figure, Job, Outcome, Peer, Work};
use crate::peer::bare::{Fiber, Slot, Stacks};
use crate::peer::{dispatch, Stackful, Stackless};
use crate::process::Memory;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

pub const BENCH: Bench = Bench {
    name: "skynet",
    about: "a tree of tasks with a million leaves (--quick: 100,000), summed by joining",
    cases: &[
        Case {
            param: "1 worker",
            n: 1,
            workers: 1,
            size: [1_000_000, 100_000, 1_000],
        },
        Case {
            param: "2 workers",
            n: 1,
            workers: 2,
            size: [1_000_000, 100_000, 1_000],
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

fn figures(leaves: u64, total: u64, elapsed: Duration) -> Outcome {
    assert_eq!(total, leaves * (leaves - 1) / 2);
    Ok(vec![
        Figure::new("", "ms", elapsed.as_secs_f64() * 1e3),
        Figure::new("peak memory", "MB", Memory::now().peak as f64 / 1e6),
    ])
}

fn stackful<P: Stackful>(job: &Job) -> Outcome {
    let (peer, leaves) = (leak(P::start_to_compute(job.workers)?), job.size);
    let start = Instant::now();
    let total = peer.run(move || tree::<P>(0, leaves));
    figures(leaves, total, start.elapsed())
}

fn tree<P: Stackful>(first: u64, leaves: u64) -> u64 {
    if leaves == 1 {
        return first;
    }
    let each = leaves / 10;
    let child = |i| P::spawn(move || tree::<P>(first + i * each, each));
    let children: [_; 10] = std::array::from_fn(|i| child(i as u64));
    children.into_iter().map(P::join).sum()
}

fn stackless<P: Stackless>(peer: Peer, job: &Job) -> Outcome {
    let (peer, leaves) = (leak(P::start_to_compute(peer, job.workers)?), job.size);
    let start = Instant::now();
    let total = peer.run(async_tree::<P>(0, leaves));
    figures(leaves, total, start.elapsed())
}

fn async_tree<P: Stackless>(first: u64, leaves: u64) -> Pin<Box<dyn Future<Output = u64> + Send>> {
    // A task that calls itself has to be boxed.
    Box::pin(async move {
        if leaves == 1 {
            return first;
        }
        let each = leaves / 10;
        let child = |i| P::spawn(async_tree::<P>(first + i * each, each));
        let children: [_; 10] = std::array::from_fn(|i| child(i as u64));
        let mut total = 0;
        for child in children {
            total += P::join(child).await;
        }
        total
    })
}

/// Each node a coroutine that its parent runs to its end.
fn floor(job: &Job) -> Outcome {
    if job.workers > 1 {
        return Err("it has one worker".into());
    }
    let mut stacks = Stacks::new(16);
    let spare = Rc::new(RefCell::new((0..16).map(|_| stacks.slot()).collect()));
    let start = Instant::now();
    let total = bare_tree(0, job.size, &spare);
    figures(job.size, total, start.elapsed())
}

fn bare_tree(first: u64, leaves: u64, spare: &Rc<RefCell<Vec<Slot>>>) -> u64 {
    if leaves == 1 {
        return first;
    }
    let each = leaves / 10;
    let mut total = 0;
    for i in 0..10 {
        let result = Rc::new(Cell::new(0));
        let (place, stacks) = (result.clone(), spare.clone());
        let slot = spare.borrow_mut().pop().expect("one for each level");
        let mut fiber = Fiber::new(slot, move |_| {
            place.set(bare_tree(first + i * each, each, &stacks));
        });
        assert!(!fiber.resume(), "it has ended");
        spare.borrow_mut().push(fiber.into_slot());
        total += result.get();
    }
    total
}
