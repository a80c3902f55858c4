//! `precision`: how much too long a task sleeps that sleeps alone.

use crate::measure::leak;
use crate::model::{Bench, Case, Figure, Job, Outcome, Peer, Work};
use crate::peer::{dispatch, Stackful, Stackless};
use crate::process::TimerFd;
use hdrhistogram::Histogram;
use std::time::{Duration, Instant};

pub const BENCH: Bench = Bench {
    name: "precision",
    about: "how much too long a lone task sleeps",
    cases: &[
        Case {
            param: "100 µs",
            n: 100,
            workers: 1,
            size: [2_000, 200, 5],
        },
        Case {
            param: "1 ms",
            n: 1_000,
            workers: 1,
            size: [500, 50, 5],
        },
        Case {
            param: "10 ms",
            n: 10_000,
            workers: 1,
            size: [100, 15, 5],
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
    dispatch!(peer, job, stackful, stackless, floor(job))
}

fn stackful<P: Stackful>(job: &Job) -> Outcome {
    let (peer, times, nap) = (leak(P::start(job.workers)?), job.size, nap(job));
    figures(peer.run(move || {
        let once = |_| {
            let due = Instant::now() + nap;
            P::sleep_until(due);
            overshoot(due)
        };
        (0..times).map(once).collect()
    }))
}

fn stackless<P: Stackless>(peer: Peer, job: &Job) -> Outcome {
    let (peer, times, nap) = (leak(P::start(peer, job.workers)?), job.size, nap(job));
    figures(peer.run(async move {
        let mut late = Vec::new();
        for _ in 0..times {
            let due = Instant::now() + nap;
            P::sleep_until(due).await;
            late.push(overshoot(due));
        }
        late
    }))
}

/// A bare `timerfd`, read by a thread that blocks.
fn floor(job: &Job) -> Outcome {
    let timer = TimerFd::new().map_err(|error| error.to_string())?;
    let once = |_| {
        let due = Instant::now() + nap(job);
        timer.wait(due.saturating_duration_since(Instant::now()));
        overshoot(due)
    };
    figures((0..job.size).map(once).collect())
}

fn nap(job: &Job) -> Duration {
    Duration::from_micros(job.n as u64)
}

fn overshoot(due: Instant) -> Duration {
    let late = Instant::now().checked_duration_since(due);
    late.expect("nobody wakes early")
}

fn figures(late: Vec<Duration>) -> Outcome {
    let mut histogram = Histogram::<u64>::new(3).expect("three digits");
    for late in late {
        histogram.record(late.as_nanos() as u64).expect("it grows");
    }
    let microseconds = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
    Ok(vec![
        Figure::new("median", "µs", microseconds(0.5)),
        Figure::new("99 %", "µs", microseconds(0.99)),
    ])
}
