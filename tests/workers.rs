//! Several workers: where tasks run, who takes what, and how it ends.

mod common;

use common::ends;
use multitask::{spawn, yield_now, Scheduler};
use std::collections::HashMap;
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
