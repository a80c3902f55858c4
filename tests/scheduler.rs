//! Schedulers: their loop, their handles, their ends; several of them on one thread and on many.

mod common;

use common::{ends, scheduler, settle, Drops, OnDrop, Random, Remote, LONG};
use multitask::net::{TcpListener, TcpStream};
use multitask::sync::Event;
use multitask::{sleep, spawn, task, timeout, yield_now, JoinError, JoinHandle, Scheduler, Stats};
use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{mpsc, Arc};
use std::thread;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(5);
const NO_TIME: Option<Duration> = Some(Duration::ZERO);

fn pair() -> (TcpStream, std::net::TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let far = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener.accept().unwrap().0, far)
}

// ---- run, turn, stats ----

#[test]
fn run_returns_when_all_tasks_have_ended_and_can_be_called_again() {
    let scheduler = scheduler();
    scheduler.run().unwrap();
    let count = Rc::new(Cell::new(0));
    for round in 1..4 {
        let seen = count.clone();
        scheduler.spawn_local(move || {
            multitask::spawn_local(move || {
                sleep(Duration::from_micros(100));
                seen.set(seen.get() + 1);
            });
        });
        scheduler.run().unwrap();
        assert_eq!(scheduler.stats(), Stats::default());
        assert_eq!(Rc::strong_count(&count), 1);
        assert_eq!(count.get(), round);
    }
}

#[test]
fn run_called_by_an_own_task_is_an_error_and_turn_yields() {
    let scheduler = Rc::new(Scheduler::new().unwrap());
    let (own, order) = (scheduler.clone(), Rc::new(RefCell::new(Vec::new())));
    let seen = order.clone();
    scheduler.spawn_local(move || {
        let error = own.run().unwrap_err().to_string();
        assert!(error.contains("run() was called by a task"), "{error}");
        let other = seen.clone();
        own.spawn_local(move || other.borrow_mut().push("other"));
        assert_eq!(own.turn(None).unwrap(), 0);
        seen.borrow_mut().push("own");
        assert_eq!(own.block_on(|| 5), 5);
        assert_eq!(own.block_on(task::current).id(), task::current().id());
    });
    scheduler.run().unwrap();
    assert_eq!(*order.borrow(), ["other", "own"]);
    // The default scheduler's, too.
    spawn(|| assert!(multitask::run().is_err())).join().unwrap();
}

#[test]
fn a_scheduler_that_stands_below_another_one_is_not_run_again_from_there() {
    // A task of `outer` runs `inner`, and a task of that one calls back.
    let outer = Rc::new(Scheduler::new().unwrap());
    let inner = Rc::new(Scheduler::new().unwrap());
    let (below, between) = (outer.clone(), inner.clone());
    let handle = outer.spawn_local(move || {
        let below = below.clone();
        between.block_on(move || {
            let child = below.spawn(|| 5);
            assert!(below.run().is_err());
            assert_eq!(below.turn(None).unwrap(), 0);
            assert_eq!(below.block_on(|| 6), 6);
            assert!(!child.is_finished());
            child
        })
    });
    outer.run().unwrap();
    assert_eq!(handle.join().unwrap().join().unwrap(), 5);
    // The same for the thread's default scheduler.
    let called = spawn(|| {
        let inner = Scheduler::new().unwrap();
        inner.block_on(|| multitask::run().is_err())
    });
    assert!(called.join().unwrap());
    inner.run().unwrap();
}

#[test]
fn a_turn_runs_each_ready_task_once() {
    let scheduler = Scheduler::new().unwrap();
    assert_eq!(
        scheduler.turn(None).unwrap(),
        0,
        "without tasks it does not wait"
    );
    for _ in 0..200 {
        scheduler.spawn(|| {
            yield_now();
            spawn(|| ());
        });
    }
    assert_eq!(scheduler.turn(NO_TIME).unwrap(), 200);
    assert_eq!(scheduler.stats().runnable, 200);
    assert_eq!(scheduler.turn(NO_TIME).unwrap(), 200);
    assert_eq!(scheduler.turn(NO_TIME).unwrap(), 200);
    assert_eq!(scheduler.turn(NO_TIME).unwrap(), 0);
    assert_eq!(scheduler.stats().live, 0);
}

#[test]
fn a_turn_without_time_sees_timers_that_are_due() {
    let scheduler = Scheduler::new().unwrap();
    let deadline = Instant::now() + Duration::from_millis(1);
    let sleeper = scheduler.spawn(move || multitask::sleep_until(deadline));
    settle(&scheduler);
    while Instant::now() < deadline + Duration::from_millis(1) {
        std::hint::spin_loop();
    }
    assert!(sleeper.is_finished() || scheduler.turn(NO_TIME).unwrap() == 1);
    assert!(sleeper.is_finished());
}

#[test]
fn a_turn_waits_for_as_long_as_it_was_told_and_no_longer() {
    let scheduler = Scheduler::new().unwrap();
    scheduler.spawn(task::park);
    settle(&scheduler);
    let start = Instant::now();
    assert_eq!(scheduler.turn(Some(SHORT)).unwrap(), 0);
    assert!(start.elapsed() >= SHORT);
    // A timer ends it earlier. On a machine that has other things to do it may be due before the turn begins.
    let mut limits = std::iter::successors(Some(SHORT), |limit| Some(*limit * 2));
    let sleeper = limits.find_map(|limit| {
        let sleeper = scheduler.spawn(move || sleep(limit));
        settle(&scheduler);
        (!sleeper.is_finished()).then_some(sleeper)
    });
    while scheduler.turn(Some(LONG)).unwrap() == 0 {}
    assert!(sleeper.expect("they go on for ever").is_finished());
    // So does another thread.
    let handle = scheduler.handle();
    let thread = thread::spawn(move || handle.spawn(|| 5));
    while scheduler.turn(Some(LONG)).unwrap() == 0 {}
    let child = thread.join().unwrap();
    scheduler.turn(NO_TIME).unwrap();
    assert_eq!(child.join().unwrap(), 5);
}

#[test]
fn stats_count_tasks_by_what_they_wait_for() {
    let scheduler = Scheduler::new().unwrap();
    let (mut near, _far) = pair();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    scheduler.spawn(move || near.read(&mut [0; 8]).map(drop));
    scheduler.spawn(move || listener.accept().map(drop));
    scheduler.spawn(|| sleep(LONG));
    let parked = scheduler.spawn(task::park);
    scheduler.spawn(move || parked.join());
    scheduler.spawn(|| task::park_timeout(LONG));
    settle(&scheduler);
    scheduler.spawn(|| ());
    let stats = scheduler.stats();
    let seen = (
        stats.live,
        stats.runnable,
        stats.io,
        stats.timers,
        stats.tasks,
    );
    assert_eq!(seen, (7, 1, 2, 1, 3));
    assert!(format!("{scheduler:?}").contains("live: 7"));
}

// ---- fairness ----

#[test]
fn a_task_that_spins_starves_neither_scopes_nor_messages() {
    ends(|| {
        let scheduler = scheduler();
        let done = Rc::new(Cell::new(0));
        let spinners: Vec<_> = (0..3)
            .map(|_| {
                let done = done.clone();
                scheduler.spawn_local(move || {
                    while done.get() < 2 {
                        yield_now();
                    }
                })
            })
            .collect();
        let count = |done: &Rc<Cell<i32>>| done.set(done.get() + 1);
        let seen = done.clone();
        scheduler.spawn_local(move || {
            assert!(timeout(SHORT, task::park).is_err());
            count(&seen);
        });
        let parked = scheduler.spawn(task::park);
        let task = parked.task().clone();
        let seen = done.clone();
        scheduler.spawn_local(move || {
            parked.join().unwrap();
            count(&seen);
        });
        let waker = thread::spawn(move || task.unpark());
        scheduler.run().unwrap();
        assert!(spinners.into_iter().all(|spinner| spinner.join().is_ok()));
        waker.join().unwrap();
    });
}

#[test]
fn a_task_that_always_finds_data_lets_the_others_run() {
    ends(|| {
        let scheduler = scheduler();
        let enough = Rc::new(Cell::new(false));
        let stop = enough.clone();
        scheduler.spawn_local(move || {
            // Both ends are here: neither call ever waits.
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let mut far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let mut near = listener.accept().unwrap().0;
            while !stop.get() {
                far.write_all(b"hello").unwrap();
                near.read_exact(&mut [0; 5]).unwrap();
            }
        });
        scheduler.spawn_local(move || {
            for _ in 0..10 {
                yield_now();
                sleep(Duration::from_micros(10));
            }
            enough.set(true);
        });
        scheduler.run().unwrap();
    });
}

/// One turn of a task that computes for longer than the loop runs tasks between two looks, if it can help it.
fn compute() {
    let start = Instant::now();
    while start.elapsed() < SHORT {}
    yield_now();
}

/// Turns after which the loop has looked once, and knows how long they take.
const FIRST_TURNS: usize = 64;
const FEW_TURNS: usize = 2;

#[test]
fn who_waits_for_a_descriptor_beside_a_task_that_computes_waits_for_few_of_its_turns() {
    ends(|| {
        let scheduler = Scheduler::new().unwrap();
        let (mut ours, mut theirs) = pair();
        let since_asked = Rc::new(Cell::new(None));
        let turns = since_asked.clone();
        scheduler.spawn_local(move || {
            (0..FIRST_TURNS).for_each(|_| compute());
            for _ in 0..10 {
                turns.set(Some(0));
                theirs.write_all(&[1]).unwrap();
                while let Some(so_far) = turns.get() {
                    turns.set(Some(so_far + 1));
                    compute();
                }
            }
        });
        scheduler.block_on(|| {
            for _ in 0..10 {
                ours.read_exact(&mut [0]).unwrap();
                let turns = since_asked.take().expect("it was asked");
                assert!(turns <= FEW_TURNS, "{turns} turns");
            }
        });
    });
}

#[test]
fn who_sleeps_beside_a_task_that_computes_sleeps_for_few_of_its_turns_too_long() {
    ends(|| {
        let scheduler = Scheduler::new().unwrap();
        let beginnings = Rc::new(RefCell::new(Vec::new()));
        let begun = beginnings.clone();
        scheduler.spawn_local(move || loop {
            begun.borrow_mut().push(Instant::now());
            compute();
        });
        scheduler.block_on(|| {
            while beginnings.borrow().len() <= FIRST_TURNS {
                yield_now();
            }
            for _ in 0..10 {
                let due = Instant::now() + SHORT;
                sleep(SHORT);
                let late = |begun: &&Instant| **begun > due;
                let turns = beginnings.borrow().iter().filter(late).count();
                assert!(turns <= FEW_TURNS, "{turns} turns");
            }
        });
    });
}

#[test]
fn threads_that_wake_and_cancel_without_end_do_not_starve_the_tasks() {
    ends(|| {
        let scheduler = scheduler();
        let enough = Arc::new(AtomicBool::new(false));
        let stop = enough.clone();
        let deaf = Arc::new(scheduler.spawn(move || {
            task::shield(|| {
                while !stop.load(SeqCst) {
                    task::park();
                }
            });
        }));
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let deaf = deaf.clone();
                thread::spawn(move || {
                    while !deaf.is_finished() {
                        deaf.task().unpark();
                        deaf.cancel();
                    }
                })
            })
            .collect();
        scheduler.block_on(|| {
            for _ in 0..50 {
                yield_now();
                sleep(Duration::from_micros(10));
            }
        });
        enough.store(true, SeqCst);
        scheduler.run().unwrap();
        for thread in threads {
            thread.join().unwrap();
        }
        let deaf = Arc::into_inner(deaf).unwrap();
        assert!(deaf.join().unwrap_err().is_cancelled());
    });
}

// ---- block_on ----

#[test]
fn block_on_borrows_and_returns_what_need_not_be_static() {
    let scheduler = scheduler();
    let mut numbers = vec![1, 2, 3];
    let last: &mut i32 = scheduler.block_on(|| {
        sleep(Duration::from_micros(100));
        numbers.push(4);
        yield_now();
        numbers.last_mut().unwrap()
    });
    *last += 1;
    assert_eq!(numbers, [1, 2, 3, 5]);
}

#[test]
fn block_on_leaves_the_other_tasks_where_they_are() {
    let scheduler = scheduler();
    let steps = Rc::new(Cell::new(0));
    let count = steps.clone();
    scheduler.spawn_local(move || {
        for _ in 0..3 {
            count.set(count.get() + 1);
            yield_now();
        }
    });
    assert_eq!(scheduler.block_on(|| 5), 5);
    assert_eq!(steps.get(), 1);
    scheduler.run().unwrap();
    assert_eq!(steps.get(), 3);
}

#[test]
fn a_panic_in_block_on_comes_out_of_it() {
    let scheduler = scheduler();
    for wait in [false, true] {
        let panic = catch_unwind(AssertUnwindSafe(|| {
            scheduler.block_on(|| {
                if wait {
                    yield_now();
                }
                panic!("inside")
            })
        }));
        assert_eq!(panic.unwrap_err().downcast_ref::<&str>(), Some(&"inside"));
    }
    assert_eq!(scheduler.block_on(|| 5), 5);
}

#[test]
fn block_on_in_a_task_of_another_scheduler_runs_to_its_end() {
    let outer = scheduler();
    let steps = Rc::new(Cell::new(0));
    let count = steps.clone();
    outer.spawn_local(move || loop {
        count.set(count.get() + 1);
        yield_now();
    });
    let seen = steps.clone();
    let nested = outer.spawn_local(move || {
        let me = task::current().id();
        let inner = scheduler();
        let before = seen.get();
        let local = 5;
        let value = inner.block_on(|| {
            assert_ne!(task::current().id(), me);
            sleep(Duration::from_micros(100));
            let children: Vec<_> = (0..10).map(|n| spawn(move || n)).collect();
            let sum: i32 = children
                .into_iter()
                .map(|child| child.join().unwrap())
                .sum();
            sum + local
        });
        assert_eq!(seen.get(), before, "the outer one stands still");
        assert_eq!(task::current().id(), me);
        yield_now();
        value
    });
    outer.block_on(|| assert_eq!(nested.join().unwrap(), 50));
    assert!(steps.get() > 0);
}

#[test]
fn block_on_panics_if_its_scheduler_is_shut_down_and_only_after_its_task_has_unwound() {
    ends(|| {
        let scheduler = scheduler();
        let drops = Drops::default();
        let (handle, (tell, told)) = (scheduler.handle(), mpsc::channel());
        let thread = thread::spawn(move || {
            told.recv().unwrap();
            handle.cancel_all();
        });
        let panic = catch_unwind(AssertUnwindSafe(|| {
            let one = drops.one();
            scheduler.block_on(|| {
                let _borrows = &one;
                let _waits = OnDrop(|| sleep(Duration::from_micros(100)));
                tell.send(()).unwrap();
                task::park();
            });
        }));
        let panic = panic.unwrap_err();
        assert!(panic.downcast_ref::<&str>().unwrap().contains("shut down"));
        assert_eq!(drops.count(), 1);
        thread.join().unwrap();
    });
}

// ---- drop ----

#[test]
fn dropping_a_scheduler_runs_the_destructors_of_its_tasks_wherever_they_wait() {
    let drops = Drops::default();
    let scheduler = scheduler();
    let (near, _far) = pair();
    let mut stream = near.try_clone().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // Bound to this worker as all that follows: from another one the answer could come before the joiner is cancelled.
    let parked = scheduler.spawn_local(task::park);
    let waits: Vec<Box<dyn FnOnce()>> = vec![
        Box::new(task::park),
        Box::new(|| sleep(LONG)),
        Box::new(move || drop(listener.accept())),
        Box::new(move || drop(stream.read(&mut [0; 8]))),
        Box::new(move || drop(parked.join())),
        Box::new(|| timeout(LONG, task::park).unwrap()),
        Box::new(|| loop {
            yield_now();
        }),
    ];
    let count = waits.len();
    let handles: Vec<_> = waits
        .into_iter()
        .map(|wait| {
            let one = drops.one();
            scheduler.spawn_local(move || {
                let _one = one;
                wait();
            })
        })
        .collect();
    for _ in 0..3 {
        scheduler.turn(NO_TIME).unwrap();
    }
    let one = drops.one();
    let unstarted = scheduler.spawn_local(move || drop(one));
    drop(scheduler);
    assert_eq!(drops.count(), count + 1);
    for handle in handles.into_iter().chain([unstarted]) {
        assert!(handle.join().unwrap_err().is_cancelled());
    }
}

#[test]
fn dropping_a_scheduler_waits_for_destructors_that_wait() {
    let drops = Drops::default();
    let scheduler = scheduler();
    let mut one = Some(drops.one());
    let inner = drops.clone();
    scheduler.spawn(move || {
        let _slow = OnDrop(move || {
            sleep(SHORT);
            // What is spawned now never starts.
            let late = inner.one();
            let refused = spawn(move || {
                let _late = late;
                panic!("it started")
            });
            let refused: Result<(), JoinError> = refused.join();
            assert!(refused.unwrap_err().is_cancelled());
            yield_now();
            drop(one.take());
        });
        task::park();
    });
    settle(&scheduler);
    let start = Instant::now();
    drop(scheduler);
    assert!(start.elapsed() >= SHORT);
    assert_eq!(drops.count(), 2);
}

#[test]
fn a_scheduler_is_dropped_inside_of_a_task_of_another() {
    let outer = scheduler();
    let drops = Drops::default();
    for wait in [
        task::park as fn(),
        || sleep(LONG),
        yield_now,
        || loop {
            yield_now();
        },
    ] {
        let before = drops.count();
        let (mut one, two) = (Some(drops.one()), drops.one());
        let inner = outer.spawn_local(move || {
            let inner = scheduler();
            let child = inner.spawn(move || {
                let _slow = OnDrop(move || {
                    sleep(Duration::from_micros(100));
                    drop(one.take());
                });
                wait();
                drop(two);
                task::park();
            });
            inner.turn(NO_TIME).unwrap();
            yield_now();
            inner.turn(NO_TIME).unwrap();
            drop(inner);
            yield_now();
            child.join().unwrap_err().is_cancelled()
        });
        outer.run().unwrap();
        assert!(inner.join().unwrap());
        assert_eq!(drops.count(), before + 2);
    }
    // And by the cancelling of that task.
    let one = drops.one();
    let before = drops.count();
    let holder = outer.spawn_local(move || {
        let inner = scheduler();
        inner.spawn(move || {
            let _one = one;
            task::park();
        });
        settle(&inner);
        task::park();
    });
    settle(&outer);
    holder.cancel();
    outer.run().unwrap();
    assert_eq!(drops.count(), before + 1);
}

#[test]
fn wakers_may_come_while_a_scheduler_is_dropped_and_after() {
    ends(|| {
        let stop = Arc::new(AtomicBool::new(false));
        for _ in 0..300 {
            let scheduler = scheduler();
            let drops = Drops::default();
            let tasks: Vec<_> = (0..4)
                .map(|_| {
                    let one = drops.one();
                    let handle = scheduler.spawn(move || {
                        let _one = one;
                        loop {
                            task::park();
                        }
                    });
                    handle.task().clone()
                })
                .collect();
            settle(&scheduler);
            let wakes = stop.clone();
            let thread = thread::spawn(move || {
                while !wakes.load(SeqCst) {
                    tasks.iter().for_each(task::Task::unpark);
                }
            });
            for _ in 0..3 {
                scheduler.turn(NO_TIME).unwrap();
            }
            drop(scheduler);
            assert_eq!(drops.count(), 4);
            stop.store(true, SeqCst);
            thread.join().unwrap();
            stop.store(false, SeqCst);
        }
    });
}

// ---- handles ----

#[test]
fn many_threads_spawn_through_a_handle_before_and_while_it_runs() {
    ends(|| {
        const THREADS: usize = 4;
        const EACH: usize = 2_000;
        let scheduler = scheduler();
        let before: Vec<_> = {
            let handle = scheduler.handle();
            let early = thread::spawn(move || (0..10).map(|n| handle.spawn(move || n)).collect());
            early.join().unwrap()
        };
        let keeper = scheduler.spawn(task::park);
        let (keeper_task, ran) = (keeper.task().clone(), Arc::new(AtomicUsize::new(0)));
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let (handle, ran) = (scheduler.handle(), ran.clone());
                thread::spawn(move || {
                    let mut handles = Vec::new();
                    for n in 0..EACH {
                        let ran = ran.clone();
                        let child = handle.spawn(move || {
                            ran.fetch_add(1, SeqCst);
                            if n % 3 == 0 {
                                yield_now();
                            }
                            n
                        });
                        match n % 4 {
                            0 => assert_eq!(child.join().unwrap(), n),
                            1 => handles.push((n, child)),
                            _ => drop(child),
                        }
                    }
                    for (n, child) in handles {
                        assert_eq!(child.join().unwrap(), n);
                    }
                })
            })
            .collect();
        let closer = thread::spawn(move || {
            threads
                .into_iter()
                .for_each(|thread| thread.join().unwrap());
            keeper_task.unpark();
        });
        scheduler.run().unwrap();
        closer.join().unwrap();
        assert_eq!(ran.load(SeqCst), THREADS * EACH);
        let early: JoinHandle<i32> = before.into_iter().next_back().unwrap();
        assert_eq!(early.join().unwrap(), 9);
        keeper.join().unwrap();
    });
}

#[test]
fn a_task_of_a_handle_whose_scheduler_is_gone_is_cancelled_at_once() {
    let scheduler = Scheduler::builder().name("gone").build().unwrap();
    let handle = scheduler.handle();
    let drops = Drops::default();
    let one = drops.one();
    let waiting = handle.spawn(move || drop(one));
    drop(scheduler);
    assert_eq!(drops.count(), 1);
    assert!(waiting.join().unwrap_err().is_cancelled());
    for _ in 0..100 {
        let one = drops.one();
        let before = drops.count();
        let refused = handle.spawn(move || {
            let _one = one;
            panic!("it started")
        });
        assert_eq!(drops.count(), before + 1);
        assert!(refused.is_finished());
        refused.cancel();
        refused.task().unpark();
        let refused: Result<(), JoinError> = refused.join();
        assert!(refused.unwrap_err().is_cancelled());
    }
    handle.cancel_all();
    assert!(format!("{handle:?}").contains("gone"));
    // From a task, too, whose scheduler has nothing to do with it.
    Scheduler::new().unwrap().block_on(|| {
        let refused = handle.spawn(|| ());
        assert!(refused.join().unwrap_err().is_cancelled());
    });
}

#[test]
fn spawns_race_with_the_end_of_the_scheduler_and_each_gets_an_answer() {
    ends(|| {
        let mut random = Random::new(17);
        let drops = Drops::default();
        let mut spawned = 0;
        for _ in 0..200 {
            let scheduler = scheduler();
            let threads: Vec<_> = (0..2)
                .map(|_| {
                    let (handle, drops) = (scheduler.handle(), drops.clone());
                    thread::spawn(move || {
                        let children = (0..50).map(|_| {
                            let one = drops.one();
                            handle.spawn(move || {
                                let _one = one;
                                yield_now();
                            })
                        });
                        let children: Vec<_> = children.collect();
                        for child in children {
                            assert!(!matches!(child.join(), Err(JoinError::Panic(_))));
                        }
                    })
                })
                .collect();
            for _ in 0..random.below(5) {
                scheduler.turn(Some(Duration::from_micros(20))).unwrap();
            }
            if random.below(2) == 0 {
                scheduler.handle().cancel_all();
                scheduler.run().unwrap();
            }
            drop(scheduler);
            threads
                .into_iter()
                .for_each(|thread| thread.join().unwrap());
            spawned += 100;
            assert_eq!(drops.count(), spawned);
        }
    });
}

#[test]
fn a_shutdown_from_another_thread_ends_the_run() {
    ends(|| {
        let scheduler = scheduler();
        let drops = Drops::default();
        for n in 0..100 {
            let one = drops.one();
            scheduler.spawn(move || {
                let _one = one;
                let _waits = OnDrop(|| sleep(Duration::from_micros(10)));
                match n % 3 {
                    0 => task::park(),
                    1 => sleep(LONG),
                    _ => loop {
                        sleep(Duration::from_micros(50));
                    },
                }
            });
        }
        let handle = scheduler.handle();
        let thread = thread::spawn(move || {
            // Behind this one all have started.
            handle.spawn(yield_now).join().unwrap();
            handle.cancel_all();
            handle.cancel_all();
            assert!(handle.spawn(|| ()).join().unwrap_err().is_cancelled());
        });
        scheduler.run().unwrap();
        thread.join().unwrap();
        scheduler.run().unwrap();
        assert_eq!(drops.count(), 100);
        // It stays shut.
        let late = scheduler.spawn(|| ());
        scheduler.run().unwrap();
        assert!(late.join().unwrap_err().is_cancelled());
    });
}

#[test]
fn homes_are_used_again_by_later_schedulers_without_old_messages() {
    ends(|| {
        let mut kept = Vec::new();
        for round in 0..200 {
            let scheduler = scheduler();
            let ended = scheduler.spawn(move || round);
            let parked = scheduler.spawn(task::park);
            settle(&scheduler);
            if round % 2 == 0 {
                kept.push(scheduler.handle());
            }
            let (task, cancels) = (
                parked.task().clone(),
                thread::spawn(move || parked.cancel()),
            );
            drop(scheduler);
            cancels.join().unwrap();
            task.unpark();
            ended.cancel();
            assert_eq!(ended.join().unwrap(), round);
            if kept.len() > 5 {
                kept.remove(0).cancel_all();
            }
        }
    });
}

// ---- the default scheduler of a thread ----

#[test]
fn a_plain_thread_runs_its_tasks_while_it_waits_and_only_then() {
    ends(|| {
        let count = Rc::new(Cell::new(0));
        let seen = count.clone();
        let ticker = multitask::spawn_local(move || loop {
            seen.set(seen.get() + 1);
            sleep(Duration::from_micros(100));
        });
        assert_eq!(count.get(), 0);
        yield_now();
        assert_eq!(count.get(), 1);
        let runs_tasks_during = |wait: &mut dyn FnMut(Duration)| {
            let before = count.get();
            // On a machine that has other things to do the time may be up too early.
            let mut limits = std::iter::successors(Some(SHORT), |limit| Some(*limit * 2));
            while count.get() == before {
                wait(limits.next().expect("they go on for ever"));
            }
        };
        runs_tasks_during(&mut |limit| sleep(limit));
        runs_tasks_during(&mut |limit| task::park_timeout(limit));
        runs_tasks_during(&mut |limit| assert!(timeout(limit, task::park).is_err()));
        let (mut near, _far) = pair();
        runs_tasks_during(&mut |limit| {
            near.set_read_timeout(Some(limit)).unwrap();
            assert!(near.read(&mut [0]).is_err());
        });
        let remote = Remote::start();
        runs_tasks_during(&mut |limit| {
            remote.handle.spawn(move || sleep(limit)).join().unwrap();
        });
        remote.stop();
        ticker.cancel();
        multitask::run().unwrap();
        assert!(ticker.join().unwrap_err().is_cancelled());
        multitask::run().unwrap();
    });
}

#[test]
fn every_wait_works_on_a_plain_thread_with_and_without_tasks() {
    for with_tasks in [false, true] {
        ends(move || {
            if with_tasks {
                drop(spawn(|| loop {
                    task::park();
                }));
            }
            sleep(Duration::from_micros(100));
            yield_now();
            task::current().unpark();
            task::park();
            task::park_timeout(Duration::from_micros(100));
            task::shield(|| sleep(Duration::from_micros(100)));
            assert!(timeout(SHORT, task::park).is_err());
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let far = thread::spawn(move || {
                let mut far = std::net::TcpStream::connect(address).unwrap();
                far.write_all(b"hello").unwrap();
                let mut answer = String::new();
                far.read_to_string(&mut answer).unwrap();
                answer
            });
            let (mut near, _) = listener.accept().unwrap();
            let mut hello = [0; 5];
            near.read_exact(&mut hello).unwrap();
            near.write_all(&hello).unwrap();
            drop(near);
            assert_eq!(far.join().unwrap(), "hello");
            let remote = Remote::start();
            assert_eq!(remote.handle.spawn(|| 5).join().unwrap(), 5);
            assert!(remote.handle.spawn(task::park).join_timeout(SHORT).is_err());
            remote.stop();
            assert_eq!(spawn(|| 6).join().unwrap(), 6);
        });
    }
}

#[test]
fn two_plain_threads_join_each_others_default_tasks() {
    ends(|| {
        let (give, take) = mpsc::channel::<JoinHandle<i32>>();
        let joined = Arc::new(Event::new());
        let over = joined.clone();
        let other = thread::spawn(move || {
            let mine = spawn(|| {
                sleep(SHORT);
                1
            });
            give.send(mine).unwrap();
            // It runs here, while this thread waits for something else.
            over.wait();
        });
        let local = spawn(|| {
            sleep(SHORT);
            2
        });
        let theirs = take.recv().unwrap();
        assert_eq!(theirs.join().unwrap() + local.join().unwrap(), 3);
        joined.set();
        other.join().unwrap();
    });
}

#[test]
fn tasks_left_at_the_end_of_a_thread_are_cancelled_for_their_joiners() {
    ends(|| {
        for round in 0..200 {
            let (give, take) = mpsc::channel();
            let owner = thread::spawn(move || {
                let parked = spawn(task::park);
                let sleeps = spawn(|| sleep(LONG));
                let joins = spawn(move || parked.join().map_err(drop));
                let tasks = [sleeps.task().clone(), joins.task().clone()];
                for _ in 0..round % 3 {
                    yield_now();
                }
                let unstarted = spawn(|| unreachable!("it never starts"));
                give.send((sleeps, joins, unstarted, tasks)).unwrap();
            });
            let (sleeps, joins, unstarted, tasks) = take.recv().unwrap();
            // Before, at, and after the thread's end.
            let waker = thread::spawn(move || {
                for _ in 0..200 {
                    tasks.iter().for_each(task::Task::unpark);
                }
            });
            if round % 2 == 0 {
                owner.join().unwrap();
                assert!(sleeps.is_finished());
                sleeps.cancel();
            } else {
                joins.cancel();
                owner.join().unwrap();
            }
            assert!(sleeps.join().unwrap_err().is_cancelled());
            assert!(joins.join().unwrap_err().is_cancelled());
            let unstarted: Result<(), JoinError> = unstarted.join();
            assert!(unstarted.unwrap_err().is_cancelled());
            waker.join().unwrap();
        }
    });
}

#[test]
fn a_task_abandoned_at_the_end_of_its_thread_never_goes_on() {
    ends(|| {
        static WENT_ON: AtomicUsize = AtomicUsize::new(0);
        // Their stacks are never given back: not so many, nor so large, that there are none for the other tests.
        const TASKS: usize = 50;
        const STACK: usize = 16 << 10;
        for _ in 0..100 {
            let (give, take) = mpsc::channel();
            let owner = thread::spawn(move || {
                let body = || {
                    task::park();
                    WENT_ON.fetch_add(1, SeqCst);
                };
                let small = || task::Builder::new().stack_size(STACK).spawn(body).unwrap();
                let parked: Vec<_> = (0..TASKS).map(|_| small().task().clone()).collect();
                yield_now();
                give.send(parked).unwrap();
            });
            // The owner runs no loop any more. This goes on from before its end until after it.
            let parked: Vec<task::Task> = take.recv().unwrap();
            parked.iter().for_each(task::Task::unpark);
            owner.join().unwrap();
        }
        assert_eq!(WENT_ON.load(SeqCst), 0);
    });
}

// ---- sockets between schedulers ----

#[test]
fn a_socket_outlives_the_scheduler_that_used_it_first() {
    ends(|| {
        let (near, mut far) = pair();
        let near = Arc::new(near);
        for round in 0..5 {
            let scheduler = scheduler();
            let stream = near.clone();
            let reader = scheduler.spawn(move || {
                let mut byte = [0];
                (&*stream).read_exact(&mut byte).unwrap();
                byte[0]
            });
            settle(&scheduler);
            if round % 2 == 0 {
                drop(scheduler);
                assert!(reader.join().unwrap_err().is_cancelled());
            } else {
                far.write_all(&[round]).unwrap();
                scheduler.run().unwrap();
                assert_eq!(reader.join().unwrap(), round);
            }
        }
    });
}

#[test]
fn a_plain_thread_that_joins_a_task_of_its_own_scheduler_runs_it() {
    ends(|| {
        let scheduler = scheduler();
        let beside = scheduler.spawn(|| sleep(Duration::from_millis(1)));
        let other = common::scheduler();
        let handle = other.spawn(|| {
            sleep(Duration::from_millis(5));
            1
        });
        assert_eq!(handle.join().unwrap(), 1);
        assert!(
            !beside.is_finished(),
            "only the scheduler of the joined task runs"
        );
        beside.join().unwrap();
        drop(other);
        assert_eq!(scheduler.spawn(|| 2).join().unwrap(), 2);
    });
}

// ---- what is counted ----

#[test]
fn a_scheduler_counts_its_tasks_by_how_they_ended_and_no_others() {
    let scheduler = Scheduler::new().unwrap();
    let handle = scheduler.handle();
    let stopped = Scheduler::new().unwrap();
    let (late, gone) = (stopped.handle(), stopped.handle());
    drop(stopped);

    let cancelled = scheduler.spawn(task::park);
    scheduler.spawn(|| unreachable!()).cancel();
    let waits = scheduler.spawn(task::park);
    scheduler.spawn(move || {
        // They end within this task, and are not of this scheduler.
        assert!(late.spawn(|| ()).join().unwrap_err().is_cancelled());
        let fails = OnDrop(|| resume_unwind(Box::new("on purpose")));
        let refused = late.spawn(move || drop(fails)).join();
        assert!(!refused.unwrap_err().is_cancelled());
        let inner = Scheduler::new().unwrap();
        let failed = inner.spawn(|| -> () { resume_unwind(Box::new("on purpose")) });
        inner.run().unwrap();
        assert!(failed.join().is_err());
        assert_eq!(inner.metrics().panicked, 1);
    });
    // In the same pass of the loop.
    let panics = scheduler.spawn(|| -> () { resume_unwind(Box::new("on purpose")) });
    assert_eq!(scheduler.metrics().spawned, 5);
    while !panics.is_finished() {
        scheduler.turn(NO_TIME).unwrap();
    }
    cancelled.cancel();
    while !cancelled.is_finished() {
        scheduler.turn(NO_TIME).unwrap();
    }
    let now = handle.metrics();
    assert_eq!((now.workers, now.spawned, now.ended), (1, 5, 4));
    assert_eq!((now.live, now.suspended), (1, 1));
    assert_eq!((now.panicked, now.cancelled, now.stolen), (1, 2, 0));
    assert_eq!(gone.metrics().cancelled, 0);

    waits.cancel();
    drop(scheduler);
    let last = handle.metrics();
    assert_eq!((last.live, last.ended, last.cancelled), (0, 5, 3));
}

#[test]
fn a_worker_that_another_thread_wakes_and_one_that_takes_a_task_are_counted() {
    let scheduler = Scheduler::builder().workers(2).build().unwrap();
    let handle = scheduler.handle();
    scheduler.block_on(|| {
        // The other one sleeps when it has nothing to do, and is woken for each of these.
        for _ in 0..3 {
            while handle.metrics().asleep == 0 {
                thread::yield_now();
            }
            let before = handle.metrics().rings;
            handle.spawn_on(1, || ()).join().unwrap();
            assert!(handle.metrics().rings > before);
        }
        // Each keeps its worker until the other has begun: one of them goes to the other worker.
        let meeting = Arc::new(std::sync::Barrier::new(2));
        let meet = || {
            let meeting = meeting.clone();
            spawn(move || _ = meeting.wait())
        };
        for task in [meet(), meet()] {
            task.join().unwrap();
        }
    });
    assert!(handle.metrics().stolen >= 1);
}
