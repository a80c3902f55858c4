//! `fairness`: connections beside a task that spins on yielding, and one that computes for a millisecond between yields.

use crate::model::{Bench, Case, Job, Peer, Work};
use crate::net::{Load, Protocol, Service};
use std::time::Duration;

pub const BENCH: Bench = Bench {
    name: "fairness",
    about: "100 echo connections beside a task that spins on yield and one that computes 1 ms between yields",
    cases: &[Case {
        param: "",
        n: 100,
        workers: 1,
        size: [2_000, 300, 200],
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
    shown: Some("latency, 99 %"),
    work: Work::Served(Service {
        protocol: Protocol::Echo,
        busy: true,
        load,
    }),
};

fn load(job: &Job) -> Load {
    Load {
        connections: job.n,
        depth: 1,
        per_connection: None,
        time: Duration::from_millis(job.size),
    }
}
