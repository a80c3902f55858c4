//! The benches. Each file holds one workload, with every peer's version of it; Go's are in `go/`, under the same names.

mod deep_yield;
mod echo;
mod fairness;
mod http;
mod memory;
mod pingpong;
mod precision;
mod ring;
mod short;
mod skynet;
mod spawn_burst;
mod spawn_join;
mod stream;
mod timers;
mod yields;

use crate::model::Bench;

pub const ALL: &[Bench] = &[
    yields::BENCH,
    deep_yield::BENCH,
    spawn_join::BENCH,
    spawn_burst::BENCH,
    skynet::BENCH,
    pingpong::BENCH,
    stream::BENCH,
    ring::BENCH,
    timers::BENCH,
    precision::BENCH,
    memory::BENCH,
    echo::BENCH,
    http::BENCH,
    short::BENCH,
    fairness::BENCH,
];

pub fn named(name: &str) -> Option<&'static Bench> {
    ALL.iter().find(|bench| bench.name == name)
}
