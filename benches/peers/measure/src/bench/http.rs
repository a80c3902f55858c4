//! `http`: a page of plain text, 64 connections. All read requests by `httparse`; but Go by lines of its own, and `hyper` by itself.

use crate::model::{Bench, Case, Job, Peer, Work};
use crate::net::{Load, Protocol, Service};
use std::time::Duration;

pub const BENCH: Bench = Bench {
    name: "http",
    about: "a page of plain text, 64 connections; server and client have a processor each",
    cases: &[
        Case {
            param: "one by one",
            n: 1,
            workers: 1,
            size: [2_000, 200, 200],
        },
        Case {
            param: "pipelined, 16 deep",
            n: 16,
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
        Peer::Hyper,
        Peer::Floor,
    ],
    shown: None,
    work: Work::Served(Service {
        protocol: Protocol::Http,
        busy: false,
        load,
    }),
};

fn load(job: &Job) -> Load {
    Load {
        connections: 64,
        depth: job.n,
        per_connection: None,
        time: Duration::from_millis(job.size),
    }
}
