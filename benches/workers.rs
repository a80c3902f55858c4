//! What do several workers cost, and what do they bring?
//!
//! `cargo bench --bench workers`. Rounds are interleaved, because machines are shared and their speed drifts; each row
//! shows the median of the rounds, the minimum, and the median ratio to the round trip between two threads of the same
//! round. A round trip has two messages; awake, who waits for one spins, and asleep it is woken by the bell. A leaf of the tree
//! has 1.1 tasks, a request of echo a read and a write on each side. Several workers need as many processors, and one more
//! where a thread beside them asks; two that are not pinned may be put on one, and then neither ever spins for long.

mod common;

use common::{median, per_item, table, Bench};
use multitask::net::{TcpListener, TcpStream};
use multitask::sync::{mpsc as ours, oneshot, Barrier};
use multitask::{spawn, JoinHandle, Scheduler};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::{mpsc as stds, Arc};
use std::thread;
use std::time::{Duration, Instant};

const BENCHES: &[Bench] = &[
    ("round trip, 2 threads, std's mpsc", |_| between_threads()),
    ("round trip, 1 worker", |_| round_trips(&workers(1))),
    ("round trip, 2 workers, awake", |_| pinned_round_trips(SPIN)),
    ("the same, asleep", |_| pinned_round_trips(Duration::ZERO)),
    ("the same, not pinned, awake", |_| round_trips(&workers(2))),
    ("the same, not pinned, asleep", |_| round_trips(&sleepy(2))),
    ("spawn from a thread, 1 worker", |_| from_thread(1, false)),
    ("spawn from a thread, 2 workers", |_| from_thread(2, false)),
    ("until all have ended, 1 worker", |_| from_thread(1, true)),
    ("until all have ended, 2 workers", |_| from_thread(2, true)),
    ("leaf of a tree, 1 worker", |_| skynet(1)),
    ("leaf of a tree, 2 workers", |_| skynet(2)),
    ("echo, 64 clients, 1 worker", |_| echo(1)),
    ("echo, 64 clients, 2 workers", |_| echo(2)),
];

fn main() {
    let scheduler = Scheduler::new().expect("a few descriptors");
    table(&scheduler, &[BENCHES], "to std");
}

fn workers(workers: usize) -> Scheduler {
    let builder = Scheduler::builder().workers(workers);
    builder.build().expect("a few descriptors and threads")
}

/// Its workers sleep as soon as they have nothing to do.
fn sleepy(workers: usize) -> Scheduler {
    let builder = Scheduler::builder().workers(workers).spin(Duration::ZERO);
    builder.build().expect("a few descriptors and threads")
}

// ---- a channel there and one back ----

/// The figure is that of the batch in the middle: what others take of the processors meanwhile does not count.
const BATCHES: u64 = 50;
const TRIPS: u64 = 100;

/// The same code over std's channels and ours, for who answers,
macro_rules! answer {
    ($balls:expr, $pong:expr) => {
        for ball in $balls {
            $pong.send(ball).expect("somebody listens");
        }
    };
}

/// and for who asks.
macro_rules! ask {
    ($ping:expr, $back:expr) => {{
        let batch = |number| {
            let start = Instant::now();
            for i in number * TRIPS..(number + 1) * TRIPS {
                $ping.send(i).expect("somebody listens");
                assert_eq!($back.recv().expect("it comes back"), i);
            }
            per_item(start, TRIPS)
        };
        let mut figures: Vec<_> = (0..BATCHES).map(batch).collect();
        median(&mut figures)
    }};
}

fn between_threads() -> f64 {
    let (ping, balls) = stds::sync_channel(1);
    let (pong, back) = stds::sync_channel(1);
    thread::scope(|scope| {
        scope.spawn(move || answer!(balls, pong));
        let asker = scope.spawn(move || ask!(ping, back));
        asker.join().expect("no panic")
    })
}

/// What a builder says unless it is told otherwise.
const SPIN: Duration = Duration::from_micros(30);

/// On two processors. On a thread of its own, for the first worker's stays pinned.
fn pinned_round_trips(spin: Duration) -> f64 {
    let run = move || {
        let builder = Scheduler::builder().workers(2).pin_workers(true).spin(spin);
        round_trips(&builder.build().expect("a few descriptors and threads"))
    };
    thread::spawn(run).join().expect("no panic")
}

/// Between the first worker and the last.
fn round_trips(scheduler: &Scheduler) -> f64 {
    let (ping, balls) = ours::sync_channel(1);
    let (pong, back) = ours::sync_channel(1);
    let last = scheduler.workers() - 1;
    let answerer = scheduler.spawn_on(last, move || answer!(balls, pong));
    let asker = scheduler.spawn_on(0, move || ask!(ping, back));
    scheduler.block_on(|| {
        answerer.join().expect("no panic");
        asker.join().expect("no panic")
    })
}

// ---- tasks that a thread sends ----

fn from_thread(count: usize, to_the_end: bool) -> f64 {
    const SPAWNS: u64 = 10_000;
    let scheduler = workers(count);
    let handle = scheduler.handle();
    let (tell, told) = oneshot::channel();
    let thread = thread::spawn(move || {
        let batch = || (0..SPAWNS).map(|i| handle.spawn(move || i));
        // The first makes what is used again.
        let mut sum = joined(batch().collect());
        let start = Instant::now();
        let tasks: Vec<_> = batch().collect();
        let spawned = per_item(start, SPAWNS);
        sum += joined(tasks);
        let ended = per_item(start, SPAWNS);
        assert_eq!(sum, SPAWNS * (SPAWNS - 1));
        tell.send(()).expect("somebody waits");
        if to_the_end {
            ended
        } else {
            spawned
        }
    });
    scheduler.block_on(|| told.recv().expect("no panic"));
    thread.join().expect("no panic")
}

fn joined(tasks: Vec<JoinHandle<u64>>) -> u64 {
    let results = tasks.into_iter().map(JoinHandle::join);
    results.map(|result| result.expect("no panic")).sum()
}

// ---- a tree of tasks ----

/// The sum of a million leaves, each the number of its place, by ten branches at each fork (skynet, by Alexander
/// Temerev).
fn skynet(count: usize) -> f64 {
    const LEAVES: u64 = 1_000_000;
    fn branch(first: u64, leaves: u64) -> u64 {
        if leaves == 1 {
            return first;
        }
        let tenth = leaves / 10;
        let branches = (0..10).map(|i| spawn(move || branch(first + i * tenth, tenth)));
        joined(branches.collect())
    }
    let scheduler = workers(count);
    let start = Instant::now();
    let sum = scheduler.block_on(|| branch(0, LEAVES));
    let figure = per_item(start, LEAVES);
    assert_eq!(sum, LEAVES * (LEAVES - 1) / 2);
    figure
}

// ---- echo ----

/// Per request, of clients that are tasks of another thread.
fn echo(count: usize) -> f64 {
    const CLIENTS: u64 = 64;
    const REQUESTS: u64 = 200;
    let scheduler = workers(count);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it is bound");
    let clients = thread::spawn(move || {
        workers(1).block_on(|| {
            // All are connected before the first asks.
            let barrier = Arc::new(Barrier::new(CLIENTS as usize + 1));
            let client = |_| {
                let barrier = barrier.clone();
                spawn(move || client(address, REQUESTS, &barrier))
            };
            let clients: Vec<_> = (0..CLIENTS).map(client).collect();
            barrier.wait();
            let start = Instant::now();
            assert_eq!(joined(clients), CLIENTS * REQUESTS);
            per_item(start, CLIENTS * REQUESTS)
        })
    });
    scheduler.block_on(move || {
        let accepted = (0..CLIENTS).map(|_| listener.accept().expect("a client").0);
        let handlers = accepted.map(|stream| spawn(move || answer_requests(stream)));
        assert_eq!(joined(handlers.collect()), CLIENTS * (REQUESTS + 1));
    });
    clients.join().expect("no panic")
}

/// How many it has answered.
fn answer_requests(mut stream: TcpStream) -> u64 {
    let mut request = [0; 64];
    let mut requests = 0;
    while stream.read_exact(&mut request).is_ok() {
        stream.write_all(&request).expect("it is open");
        requests += 1;
    }
    requests
}

/// Asks once before all are ready, and then so many times, which it returns.
fn client(address: SocketAddr, requests: u64, ready: &Barrier) -> u64 {
    let mut stream = TcpStream::connect(address).expect("somebody listens");
    stream.set_nodelay(true).expect("it is open");
    let mut ask = |request: u64| {
        let sent = [request as u8; 64];
        let mut answer = [0; 64];
        stream.write_all(&sent).expect("it is open");
        stream.read_exact(&mut answer).expect("it answers");
        assert_eq!(answer, sent);
    };
    ask(0);
    ready.wait();
    (0..requests).for_each(ask);
    requests
}
