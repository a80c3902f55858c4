//! `memory`: what tasks cost that do nothing but sleep, or have not even started.

use crate::measure::{leak, Gate, WHILE};
use crate::model::{Bench, Case, Figure, Job, Outcome, Peer, Work};
use crate::peer::bare::{Fiber, Stacks};
use crate::peer::{dispatch, Stackful, Stackless};
use crate::process::Memory;
use std::hint::black_box;
use std::time::{Duration, Instant};

const UNSTARTED: &str = "not yet started";

// The size is the time in milliseconds after which all wake; it begins when the first is spawned, and is enough for all to begin.
pub const BENCH: Bench = Bench {
    name: "memory",
    about: "tasks asleep until all wake at once: bytes each (resident, page tables), times",
    cases: &[
        Case {
            param: "10,000 asleep",
            n: 10_000,
            workers: 1,
            size: [2_000, 500, 100],
        },
        Case {
            param: "100,000 asleep",
            n: 100_000,
            workers: 1,
            size: [4_000, 1_200, 100],
        },
        Case {
            param: "1,000,000 asleep",
            n: 1_000_000,
            workers: 1,
            size: [15_000, 0, 0],
        },
        Case {
            param: UNSTARTED,
            n: 100_000,
            workers: 1,
            size: [1, 1, 1],
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
    if peer == Peer::Threads && job.n > 10_000 && job.param != UNSTARTED {
        return Err("too many threads".into());
    }
    if job.param == UNSTARTED {
        let floor = Err("a coroutine has its stack from the beginning".into());
        dispatch!(peer, job, unstarted, async_unstarted, floor)
    } else {
        dispatch!(peer, job, asleep, async_asleep, floor(job))
    }
}

fn each_task(before: Memory, now: Memory, n: usize) -> Figure {
    let bytes = now
        .resident_and_tables()
        .saturating_sub(before.resident_and_tables());
    Figure::new("per task", "bytes", bytes as f64 / n as f64)
}

/// Waking takes as long as the last is late.
fn figures(
    n: usize,
    before: Memory,
    asleep: Memory,
    spawning: Duration,
    waking: Duration,
) -> Outcome {
    Ok(vec![
        each_task(before, asleep, n),
        Figure::new("mappings", "mappings", asleep.mappings as f64),
        Figure::new("to spawn", "s", spawning.as_secs_f64()),
        Figure::new("to wake", "s", waking.as_secs_f64()),
    ])
}

fn asleep<P: Stackful>(job: &Job) -> Outcome {
    let (peer, n) = (leak(P::start_for_many(job.workers)?), job.n);
    let wake = Duration::from_millis(job.size);
    peer.run(move || {
        let gate = Gate::new(n);
        let mut tasks = Vec::with_capacity(n);
        let before = Memory::now();
        let start = Instant::now();
        for _ in 0..n {
            tasks.push(P::spawn(move || {
                gate.arrive();
                P::sleep_until(start + wake);
            }));
        }
        while !gate.is_open() {
            P::sleep_until(Instant::now() + WHILE);
        }
        let spawning = gate.opened() - start;
        let asleep = Memory::now();
        tasks.into_iter().for_each(P::join);
        let waking = start.elapsed().saturating_sub(wake.max(spawning));
        figures(n, before, asleep, spawning, waking)
    })
}

fn async_asleep<P: Stackless>(peer: Peer, job: &Job) -> Outcome {
    let (peer, n) = (leak(P::start(peer, job.workers)?), job.n);
    let wake = Duration::from_millis(job.size);
    peer.run(async move {
        let gate = Gate::new(n);
        let mut tasks = Vec::with_capacity(n);
        let before = Memory::now();
        let start = Instant::now();
        for _ in 0..n {
            tasks.push(P::spawn(async move {
                gate.arrive();
                P::sleep_until(start + wake).await;
            }));
        }
        while !gate.is_open() {
            P::sleep_until(Instant::now() + WHILE).await;
        }
        let spawning = gate.opened() - start;
        let asleep = Memory::now();
        for task in tasks {
            P::join(task).await;
        }
        let waking = start.elapsed().saturating_sub(wake.max(spawning));
        figures(n, before, asleep, spawning, waking)
    })
}

/// As many suspended coroutines; they wait for no time.
fn floor(job: &Job) -> Outcome {
    let before = Memory::now();
    let start = Instant::now();
    let mut stacks = Stacks::new(job.n);
    let fiber = |_| Fiber::new(stacks.slot(), |yields| yields.suspend(()));
    let mut fibers: Vec<_> = (0..job.n).map(fiber).collect();
    assert!(fibers.iter_mut().all(Fiber::resume));
    let spawning = start.elapsed();
    let asleep = Memory::now();
    let wake = Instant::now();
    assert!(fibers.iter_mut().all(|fiber| !fiber.resume()));
    figures(job.n, before, asleep, spawning, wake.elapsed())
}

fn unstarted<P: Stackful>(job: &Job) -> Outcome {
    let peer = leak(P::start(job.workers)?);
    let before = Memory::now();
    for i in 0..job.n {
        peer.queue(move || {
            black_box(i);
        })?;
    }
    Ok(vec![each_task(before, Memory::now(), job.n)])
}

fn async_unstarted<P: Stackless>(peer: Peer, job: &Job) -> Outcome {
    let peer = leak(P::start(peer, job.workers)?);
    let before = Memory::now();
    for i in 0..job.n {
        peer.queue(async move {
            black_box(i);
        })?;
    }
    Ok(vec![each_task(before, Memory::now(), job.n)])
}
