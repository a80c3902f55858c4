//! `short`: connections that live for ten requests.

use crate::model::{Bench, Case, Job, Peer, Work};
use crate::net::{Load, Protocol, Service};
use std::time::Duration;

pub const BENCH: Bench = Bench {
    name: "short",
    about: "connect, 10 requests of 64 bytes, close; 64 at a time",
    cases: &[Case {
        param: "",
        n: 64,
        workers: 1,
        size: [2_000, 250, 200],
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
    work: Work::Served(Service {
        protocol: Protocol::Echo,
        busy: false,
        load,
    }),
};

fn load(job: &Job) -> Load {
    Load {
        connections: job.n,
        depth: 1,
        per_connection: Some(10),
        time: Duration::from_millis(job.size),
    }
}
