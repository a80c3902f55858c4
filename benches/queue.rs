//! What does an item cost that goes through a queue, against a bare pair of corosensei switches in the same run?
//!
//! `cargo bench --bench queue`. Rounds are interleaved, because machines are shared and their speed drifts; each row
//! shows the median of the rounds, the minimum, and the median ratio to the bare pair of the same round. A round trip
//! of two tasks has two items and two switches.

#[path = "common/bare.rs"]
mod bare;
mod common;

use common::{per_item, table, Bench};
use multitask::sync::Queue;
use multitask::Scheduler;
use std::hint::black_box;
use std::sync::{mpsc, Arc};
use std::thread;
use std::time::{Duration, Instant};

const BENCHES: &[Bench] = &[
    ("bare resume + suspend", bare::pair),
    ("put + get, nobody waits", put_get),
    ("the same, std's mpsc", put_get_std),
    ("round trip, 2 tasks, bounded(1)", |s| round_trips(s, 1)),
    ("round trip, 2 tasks, rendezvous", |s| round_trips(s, 0)),
    ("stream to a task, bounded(1)", |s| stream(s, 1)),
    ("stream to a task, bounded(1024)", |s| stream(s, 1024)),
    ("stream to a task, rendezvous", |s| stream(s, 0)),
    ("get_timeout, each waits", timed_round_trips),
    ("get_matching past 100 items", matching),
    ("stream between 2 threads", |_| threads(1, 1)),
    ("the same, std's sync_channel", |_| threads_std()),
    ("2 threads put, 2 get", |_| threads(2, 2)),
    ("round trip, 2 threads", |_| round_trips_of_threads()),
];

fn main() {
    let scheduler = Scheduler::new().expect("a few descriptors");
    table(&scheduler, &[BENCHES], "to bare");
}

// ---- tasks ----

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

fn put_get_std(_: &Scheduler) -> f64 {
    const ITEMS: u64 = 2_000_000;
    let (to, from) = mpsc::sync_channel(1);
    let start = Instant::now();
    for i in 0..ITEMS {
        to.send(i).expect("there is room");
        black_box(from.recv().expect("there is one"));
    }
    per_item(start, ITEMS)
}

fn round_trips(scheduler: &Scheduler, capacity: usize) -> f64 {
    const TRIPS: u64 = 500_000;
    let ping = Arc::new(Queue::bounded(capacity));
    let pong = Arc::new(Queue::bounded(capacity));
    scheduler.spawn({
        let (ping, pong) = (ping.clone(), pong.clone());
        move || {
            for ball in &*ping {
                pong.put(ball).expect("it is open");
            }
        }
    });
    scheduler.block_on(|| {
        let start = Instant::now();
        for i in 0..TRIPS {
            ping.put(i).expect("it is open");
            black_box(pong.get().expect("it is open"));
        }
        let figure = per_item(start, TRIPS);
        ping.close();
        figure
    })
}

fn timed_round_trips(scheduler: &Scheduler) -> f64 {
    const TRIPS: u64 = 200_000;
    let ping = Arc::new(Queue::bounded(1));
    let pong = Arc::new(Queue::bounded(1));
    scheduler.spawn({
        let (ping, pong) = (ping.clone(), pong.clone());
        move || {
            for ball in &*ping {
                pong.put(ball).expect("it is open");
            }
        }
    });
    scheduler.block_on(|| {
        let start = Instant::now();
        for i in 0..TRIPS {
            ping.put(i).expect("it is open");
            let ball = pong.get_timeout(Duration::from_secs(5));
            black_box(ball.expect("in time"));
        }
        let figure = per_item(start, TRIPS);
        ping.close();
        figure
    })
}

fn stream(scheduler: &Scheduler, capacity: usize) -> f64 {
    const ITEMS: u64 = 1_000_000;
    let queue = Arc::new(Queue::bounded(capacity));
    let consumer = scheduler.spawn({
        let queue = queue.clone();
        move || queue.iter().fold(0, |sum: u64, item| sum ^ black_box(item))
    });
    scheduler.block_on(|| {
        let start = Instant::now();
        for i in 0..ITEMS {
            queue.put(i).expect("it is open");
        }
        queue.close();
        consumer.join().expect("no panic");
        per_item(start, ITEMS)
    })
}

fn matching(scheduler: &Scheduler) -> f64 {
    const ITEMS: u64 = 100_000;
    scheduler.block_on(|| {
        let queue = Queue::from_iter(0..100);
        let start = Instant::now();
        for i in 0..ITEMS {
            queue.put(1_000 + i).expect("it is unbounded");
            black_box(queue.get_matching(|&item| item >= 1_000)).expect("there is one");
        }
        per_item(start, ITEMS)
    })
}

// ---- threads ----

fn threads(producers: u64, consumers: usize) -> f64 {
    const ITEMS: u64 = 200_000;
    let queue = Queue::bounded(1024);
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..consumers {
            scope.spawn(|| queue.iter().fold(0, |sum: u64, item| sum ^ black_box(item)));
        }
        let putting = [(); 8].map(|()| ()).into_iter().take(producers as usize);
        let putting = putting.map(|()| {
            scope.spawn(|| (0..ITEMS / producers).for_each(|i| queue.put(i).expect("it is open")))
        });
        for producer in putting.collect::<Vec<_>>() {
            producer.join().expect("no panic");
        }
        queue.close();
    });
    per_item(start, ITEMS)
}

fn threads_std() -> f64 {
    const ITEMS: u64 = 200_000;
    let (to, from) = mpsc::sync_channel(1024);
    let start = Instant::now();
    thread::scope(|scope| {
        scope.spawn(move || from.iter().fold(0, |sum: u64, item| sum ^ black_box(item)));
        for i in 0..ITEMS {
            to.send(i).expect("it is open");
        }
        drop(to);
    });
    per_item(start, ITEMS)
}

fn round_trips_of_threads() -> f64 {
    const TRIPS: u64 = 5_000;
    let (ping, pong) = (Queue::bounded(1), Queue::bounded(1));
    thread::scope(|scope| {
        scope.spawn(|| {
            for ball in &ping {
                pong.put(ball).expect("it is open");
            }
        });
        let start = Instant::now();
        for i in 0..TRIPS {
            ping.put(i).expect("it is open");
            black_box(pong.get().expect("it is open"));
        }
        let figure = per_item(start, TRIPS);
        ping.close();
        figure
    })
}
