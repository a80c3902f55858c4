//! `echo`: 64 bytes to and fro, on connections that stay.

use crate::model::{Bench, Case, Job, Peer, Work};
use crate::net::{Load, Protocol, Service};
use std::time::Duration;

pub const BENCH: Bench = Bench {
    name: "echo",
    about: "64 bytes to and fro over loopback TCP; server and client have a processor each",
    cases: &[
        Case {
            param: "1 connection",
            n: 1,
            workers: 1,
            size: [2_000, 200, 200],
        },
        Case {
            param: "8 connections",
            n: 8,
            workers: 1,
            size: [2_000, 200, 200],
        },
        Case {
            param: "64 connections",
            n: 64,
            workers: 1,
            size: [2_000, 200, 200],
        },
        Case {
            param: "1,000 connections",
            n: 1_000,
            workers: 1,
            size: [2_000, 200, 200],
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
        per_connection: None,
        time: Duration::from_millis(job.size),
    }
}
