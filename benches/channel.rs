//! What does a message cost that goes through a channel, against std's channels and `sync::Queue` in the same run?
//!
//! `cargo bench --bench channel`. Rounds are interleaved, because machines are shared and their speed drifts; each row
//! shows the median of the rounds, the minimum, and the median ratio to std's `mpsc` between a thread and itself. A round trip
//! of two tasks has two messages and two switches.

mod common;

use common::{per_item, table, Bench};
use multitask::sync::{mpsc as ours, Queue};
use multitask::Scheduler;
use std::hint::black_box;
use std::sync::{mpsc as stds, Arc};
use std::thread;
use std::time::{Duration, Instant};

/// The same code over std's channels and ours: one thread, or one task, sends and receives in turn.
macro_rules! in_turn {
    ($mpsc:ident) => {{
        const MESSAGES: u64 = 2_000_000;
        let (to, from) = $mpsc::sync_channel(1);
        let start = Instant::now();
        for i in 0..MESSAGES {
            to.send(i).expect("there is room");
            black_box(from.recv().expect("there is one"));
        }
        per_item(start, MESSAGES)
    }};
}

/// The same code over std's channels and ours: from one thread to another.
macro_rules! between_threads {
    ($mpsc:ident) => {{
        const MESSAGES: u64 = 200_000;
        let (to, from) = $mpsc::sync_channel(1024);
        let start = Instant::now();
        thread::scope(|scope| {
            scope.spawn(move || {
                from.iter()
                    .fold(0, |sum: u64, message| sum ^ black_box(message))
            });
            for i in 0..MESSAGES {
                to.send(i).expect("somebody listens");
            }
            drop(to);
        });
        per_item(start, MESSAGES)
    }};
}

const STREAM: u64 = 1_000_000;

/// The same code for both kinds of sender.
macro_rules! stream {
    ($scheduler:expr, $channel:expr) => {{
        let (to, from) = $channel;
        let fold = move || {
            from.iter()
                .fold(0, |sum: u64, message| sum ^ black_box(message))
        };
        let consumer = $scheduler.spawn(fold);
        $scheduler.block_on(move || {
            let start = Instant::now();
            for i in 0..STREAM {
                to.send(i).expect("somebody listens");
            }
            drop(to);
            consumer.join().expect("no panic");
            per_item(start, STREAM)
        })
    }};
}

const BENCHES: &[Bench] = &[
    ("send + recv in turn, std's mpsc", |_| in_turn!(stds)),
    ("send + recv in turn", |s| s.block_on(|| in_turn!(ours))),
    ("put + get in turn, Queue", put_get),
    ("round trip, 2 tasks, bounded(1)", |s| round_trips(s, 1)),
    ("the same, Queue", queue_round_trips),
    ("round trip, 2 tasks, rendezvous", |s| round_trips(s, 0)),
    ("recv_timeout, each waits", timed_round_trips),
    ("stream to a task, unbounded", |s| {
        stream!(s, ours::channel())
    }),
    ("stream to a task, bounded(1)", |s| {
        stream!(s, ours::sync_channel(1))
    }),
    ("stream to a task, bounded(1024)", |s| {
        stream!(s, ours::sync_channel(1024))
    }),
    ("the same, 4 senders", fan_in),
    ("stream between 2 threads", |_| between_threads!(ours)),
    ("the same, std's mpsc", |_| between_threads!(stds)),
];

fn main() {
    let scheduler = Scheduler::new().expect("a few descriptors");
    table(&scheduler, &[BENCHES], "to std");
}

fn put_get(scheduler: &Scheduler) -> f64 {
    const ITEMS: u64 = 2_000_000;
    scheduler.block_on(|| {
        let queue = Queue::bounded(1);
        let start = Instant::now();
        for i in 0..ITEMS {
            queue.put(i).expect("there is room");
            black_box(queue.get().expect("there is one"));
        }
        per_item(start, ITEMS)
    })
}

/// A task that sends back what it receives.
fn echo(scheduler: &Scheduler, capacity: usize) -> (ours::SyncSender<u64>, ours::Receiver<u64>) {
    let (ping, balls) = ours::sync_channel(capacity);
    let (pong, back) = ours::sync_channel(capacity);
    scheduler.spawn(move || {
        for ball in balls {
            pong.send(ball).expect("somebody listens");
        }
    });
    (ping, back)
}

fn round_trips(scheduler: &Scheduler, capacity: usize) -> f64 {
    const TRIPS: u64 = 500_000;
    let (ping, back) = echo(scheduler, capacity);
    scheduler.block_on(move || {
        let start = Instant::now();
        for i in 0..TRIPS {
            ping.send(i).expect("somebody listens");
            black_box(back.recv().expect("it comes back"));
        }
        per_item(start, TRIPS)
    })
}

fn timed_round_trips(scheduler: &Scheduler) -> f64 {
    const TRIPS: u64 = 200_000;
    let (ping, back) = echo(scheduler, 1);
    scheduler.block_on(move || {
        let start = Instant::now();
        for i in 0..TRIPS {
            ping.send(i).expect("somebody listens");
            black_box(back.recv_timeout(Duration::from_secs(5)).expect("in time"));
        }
        per_item(start, TRIPS)
    })
}

fn queue_round_trips(scheduler: &Scheduler) -> f64 {
    const TRIPS: u64 = 500_000;
    let (ping, pong) = (Arc::new(Queue::bounded(1)), Arc::new(Queue::bounded(1)));
    let (balls, back) = (ping.clone(), pong.clone());
    scheduler.spawn(move || {
        balls
            .iter()
            .for_each(|ball| pong.put(ball).expect("it is open"))
    });
    scheduler.block_on(move || {
        let start = Instant::now();
        for i in 0..TRIPS {
            ping.put(i).expect("it is open");
            black_box(back.get().expect("it comes back"));
        }
        let figure = per_item(start, TRIPS);
        ping.close();
        figure
    })
}

fn fan_in(scheduler: &Scheduler) -> f64 {
    let (to, from) = ours::sync_channel(1024);
    for _ in 0..4 {
        let to = to.clone();
        scheduler
            .spawn(move || (0..STREAM / 4).for_each(|i| to.send(i).expect("somebody listens")));
    }
    drop(to);
    scheduler.block_on(move || {
        let start = Instant::now();
        black_box(
            from.iter()
                .fold(0, |sum: u64, message| sum ^ black_box(message)),
        );
        per_item(start, STREAM)
    })
}
