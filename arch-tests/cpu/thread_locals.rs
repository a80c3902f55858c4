//! A task stays on its thread, so what the compiler remembers of a thread-local's address across a call stays true.

use crate::in_task;
use multitask::{sleep, spawn, yield_now};
use std::cell::{Cell, RefCell};
use std::hint::black_box;
use std::thread;
use std::time::Duration;

thread_local! {
    static CONSTANT: Cell<u64> = const { Cell::new(0) };
    static LAZY: RefCell<String> = RefCell::new(String::from("lazy"));
}

#[test]
fn a_thread_local_has_one_address_for_all_of_a_tasks_life() {
    in_task(|| {
        let tasks: Vec<_> = (0..20)
            .map(|number| {
                spawn(move || {
                    let first = addresses();
                    for round in 0..20 {
                        if (round + number) % 5 == 0 {
                            sleep(Duration::from_micros(100));
                        } else {
                            yield_now();
                        }
                        assert_eq!(addresses(), first);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.join().unwrap();
        }
    });
}

#[inline(never)]
fn addresses() -> (thread::ThreadId, usize, usize) {
    let constant = CONSTANT.with(|place| black_box(place.as_ptr()).addr());
    let lazy = LAZY.with(|place| black_box(place.as_ptr()).addr());
    (thread::current().id(), constant, lazy)
}
