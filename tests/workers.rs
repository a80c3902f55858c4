//! Several workers: where tasks run, who takes what, and how it ends.

mod common;

use common::ends;
use multitask::net::TcpListener;
use multitask::{spawn, yield_now, Scheduler};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;

fn scheduler(workers: usize) -> Scheduler {
    Scheduler::builder().workers(workers).build().unwrap()
}

fn tree(depth: u32) -> u64 {
    if depth == 0 {
        return 1;
    }
    let branches: Vec<_> = (0..10).map(|_| spawn(move || tree(depth - 1))).collect();
    branches
        .into_iter()
        .map(|branch| branch.join().unwrap())
        .sum()
}

#[test]
fn a_tree_of_tasks_is_counted_right_by_any_number_of_workers() {
    for workers in [1, 2, 4, 8] {
        let leaves = ends(move || scheduler(workers).block_on(|| tree(4)));
        assert_eq!(leaves, 10_000);
    }
}

#[test]
fn tasks_that_have_not_begun_are_taken_by_workers_that_have_nothing_to_do() {
    ends(|| {
        let counts = scheduler(2).block_on(|| {
            let tasks: Vec<_> = (0..1_000)
                .map(|_| {
                    spawn(|| {
                        let id = thread::current().id();
                        for _ in 0..100 {
                            yield_now();
                        }
                        assert_eq!(thread::current().id(), id);
                        id
                    })
                })
                .collect();
            let mut counts = HashMap::new();
            for task in tasks {
                *counts.entry(task.join().unwrap()).or_insert(0) += 1;
            }
            counts
        });
        assert_eq!(counts.values().sum::<i32>(), 1_000);
    });
}

/// Where the handlers of so many connections are, one accepted after the other and none closed before all are: how many
/// on the accepting worker, and how many elsewhere.
fn handlers_of(connections: usize, workers: usize) -> (usize, usize) {
    // Both ends of each are ours.
    rlimit::increase_nofile_limit(2 * connections as u64 + 256).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let client = thread::spawn(move || {
        let streams: Vec<_> = (0..connections).map(|_| connect(address)).collect();
        streams.iter().filter(|(_, here)| *here).count()
    });
    scheduler(workers).block_on(move || {
        let acceptor = thread::current().id();
        let handler = |(mut stream, _): (multitask::net::TcpStream, SocketAddr)| {
            spawn(move || {
                let here = thread::current().id() == acceptor;
                let mut byte = [0];
                while stream.read(&mut byte).unwrap() > 0 {
                    stream.write_all(&[u8::from(here)]).unwrap();
                }
            })
        };
        let handlers: Vec<_> = (0..connections)
            .map(|_| handler(listener.accept().unwrap()))
            .collect();
        for handler in handlers {
            handler.join().unwrap();
        }
    });
    let here = client.join().unwrap();
    (here, connections - here)
}

/// A connection whose handler has answered: whether that is on the accepting worker. It waits for more.
fn connect(address: SocketAddr) -> (TcpStream, bool) {
    let mut stream = TcpStream::connect(address).unwrap();
    let mut answer = [0];
    stream.write_all(&[0]).unwrap();
    stream.read_exact(&mut answer).unwrap();
    (stream, answer[0] == 1)
}

#[test]
fn a_thousand_connections_accepted_one_by_one_are_no_worse_than_60_40_over_two_workers() {
    let (here, elsewhere) = ends(|| handlers_of(1_000, 2));
    assert!(
        here.abs_diff(elsewhere) <= 200,
        "{here} where they were accepted, {elsewhere} elsewhere"
    );
}

/// Where the workers of a scheduler may run that pins them.
#[cfg(target_os = "linux")]
fn processors_of_pinned(workers: usize) -> Vec<String> {
    let builder = Scheduler::builder().workers(workers).pin_workers(true);
    let scheduler = builder.build().unwrap();
    let allowed = || {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("Cpus_allowed_list:"));
        line.unwrap().to_owned()
    };
    let asked: Vec<_> = (0..workers)
        .map(|worker| scheduler.spawn_on(worker, allowed))
        .collect();
    scheduler.run().unwrap();
    asked.into_iter().map(|task| task.join().unwrap()).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn a_thread_that_is_pinned_pins_the_workers_of_its_next_scheduler_as_those_of_the_first() {
    let (first, second) = ends(|| (processors_of_pinned(2), processors_of_pinned(2)));
    assert_eq!(first, second);
    let processors = thread::available_parallelism().unwrap().get();
    assert_eq!(first[0] == first[1], processors == 1);
}
