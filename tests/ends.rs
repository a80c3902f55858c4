//! Ends of tasks that have waited: whoever does what is left to do then, and on whichever stack, is nobody's business.

mod common;

use common::futures::{poll, Calls};
use common::{ends, scheduler, Drops, OnDrop, Random};
use multitask::task::{self, scope};
use multitask::{spawn, task_local, yield_now, Scheduler};
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::hint::{black_box, spin_loop};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::Arc;
use std::thread;

const ROUNDS: usize = if cfg!(multitask_valgrind) { 100 } else { 5_000 };

/// Calls `f` with a scheduler that runs on another thread meanwhile.
fn beside<R>(f: impl FnOnce(&multitask::Handle) -> R) -> R {
    let over = Arc::new(AtomicBool::new(false));
    let (tell, told) = std::sync::mpsc::channel();
    let runs = {
        let over = over.clone();
        thread::spawn(move || {
            let scheduler = scheduler();
            tell.send(scheduler.handle()).unwrap();
            scheduler.block_on(|| {
                while !over.load(SeqCst) {
                    yield_now();
                }
            });
            scheduler.run().unwrap();
            assert_eq!(scheduler.metrics().suspended, 0);
        })
    };
    let result = f(&told.recv().unwrap());
    over.store(true, SeqCst);
    runs.join().unwrap();
    result
}

#[test]
fn a_result_is_had_or_dropped_once_whatever_becomes_of_its_handle_elsewhere_as_the_task_ends() {
    ends(|| {
        let (drops, mut random) = (Drops::default(), Random::new(1));
        beside(|handle| {
            for _ in 0..ROUNDS {
                let (begun, drops) = (Arc::new(AtomicBool::new(false)), drops.clone());
                let mut task = {
                    let begun = begun.clone();
                    handle.spawn(move || {
                        yield_now();
                        begun.store(true, SeqCst);
                        drops.one()
                    })
                };
                while !begun.load(SeqCst) {
                    thread::yield_now();
                }
                (0..random.below(60)).for_each(|_| spin_loop());
                match random.below(4) {
                    0 => drop(task),
                    1 => drop(task.join().unwrap()),
                    2 => {
                        let (calls, waker) = Calls::new();
                        if poll(Pin::new(&mut task), &waker).is_pending() {
                            drop(task.join().unwrap());
                            assert!(calls.count() <= 1);
                        }
                    }
                    _ => {
                        task.cancel();
                        drop(task.join().unwrap());
                    }
                }
            }
        });
        assert_eq!(drops.count(), ROUNDS);
    });
}

#[test]
fn a_destructor_of_a_result_that_nobody_has_may_wait_though_its_task_was_about_to_be_left() {
    ends(|| {
        let waited = Arc::new(AtomicUsize::new(0));
        let mut random = Random::new(2);
        beside(|handle| {
            for _ in 0..ROUNDS {
                let (begun, waited) = (Arc::new(AtomicBool::new(false)), waited.clone());
                let task = {
                    let begun = begun.clone();
                    handle.spawn(move || {
                        yield_now();
                        begun.store(true, SeqCst);
                        OnDrop(move || {
                            yield_now();
                            waited.fetch_add(1, SeqCst);
                        })
                    })
                };
                while !begun.load(SeqCst) {
                    thread::yield_now();
                }
                (0..random.below(60)).for_each(|_| spin_loop());
                drop(task);
            }
        });
        assert_eq!(waited.load(SeqCst), ROUNDS);
    });
}

#[test]
fn the_stack_of_one_that_has_waited_is_the_next_ones() {
    let place = || {
        let on_the_stack = black_box(1);
        yield_now();
        std::ptr::from_ref(&on_the_stack).addr()
    };
    Scheduler::new().unwrap().block_on(|| {
        let places: HashSet<_> = (0..1_000).map(|_| spawn(place).join().unwrap()).collect();
        assert!(places.len() <= 3, "{} stacks", places.len());
        let large = task::Builder::new().stack_size(1 << 20);
        let at = |builder: &task::Builder| builder.clone().spawn(place).unwrap().join().unwrap();
        let places: HashSet<_> = (0..1_000).map(|_| at(&large)).collect();
        assert!(places.len() <= 3, "{} large stacks", places.len());
    });
}

#[test]
fn however_one_ends_that_has_waited_its_joiner_its_values_and_its_group_hear_of_it() {
    type Value = OnDrop<Box<dyn FnMut()>>;
    task_local! {
        static VALUE: RefCell<Option<Value>> = const { RefCell::new(None) };
    }
    scheduler().block_on(|| {
        // Joined by one that waits, and by one that comes later.
        for yields in [1, 3] {
            let early = spawn(move || (0..yields).for_each(|_| yield_now()));
            early.join().unwrap();
            let late = spawn(yield_now);
            while !late.is_finished() {
                yield_now(); // it may be another worker's
            }
            late.join().unwrap();
        }
        let panics = spawn(|| {
            yield_now();
            panic!("on purpose");
        });
        assert!(panics.join().unwrap_err().is_panic());
        let cancelled = spawn(|| loop {
            yield_now();
        });
        yield_now();
        cancelled.cancel();
        assert!(cancelled.join().unwrap_err().is_cancelled());

        let dropped_in = Rc::new(Cell::new(None));
        let says = dropped_in.clone();
        let task = multitask::spawn_local(move || {
            let says = move || says.set(Some(task::current().id()));
            VALUE.with(|value| value.borrow_mut().replace(OnDrop(Box::new(says))));
            yield_now();
            task::current().id()
        });
        assert_eq!(Some(task.join().unwrap()), dropped_in.get());

        let mut ended = 0;
        scope(|scope| {
            let kept = scope.spawn(|| {
                yield_now();
                ended = 1;
            });
            std::mem::forget(kept);
        });
        assert_eq!(ended, 1);
    });
}

#[test]
fn one_that_is_refused_does_not_end_the_one_that_has_waited_and_spawned_it() {
    let gone = Scheduler::new().unwrap().handle();
    let spawns = scheduler().block_on(|| {
        let spawns = spawn(move || {
            yield_now();
            let refused = gone.spawn(|| ());
            assert!(refused.join().unwrap_err().is_cancelled());
            yield_now();
            1
        });
        spawns.join()
    });
    assert_eq!(spawns.unwrap(), 1);
}
