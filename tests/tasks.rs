//! Tasks through the public face: spawning, joining, detaching, names, order, parking, and what users may do in the
//! destructors of closures and results.

mod common;

use common::{ends, scheduler, settle, Drops, OnDrop, Random, Remote, LONG};
use multitask::task::{self, Builder, JoinTimeoutError, Task};
use multitask::{
    sleep, sleep_until, spawn, spawn_local, timeout, yield_now, JoinError, JoinHandle, Scheduler,
};
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::io::ErrorKind;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{mpsc, Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(5);

// ---- results ----

#[test]
fn a_task_returns_its_value_to_whoever_joins_it() {
    assert_eq!(spawn(|| 5).join().unwrap(), 5);
    let scheduler = scheduler();
    assert_eq!(
        scheduler.block_on(|| spawn(|| spawn(|| 5).join().unwrap()).join().unwrap()),
        5
    );
    let handle = scheduler.spawn(|| 5);
    scheduler.run().unwrap();
    assert!(handle.is_finished());
    assert_eq!(thread::spawn(|| handle.join()).join().unwrap().unwrap(), 5);
}

#[test]
fn a_panic_comes_out_at_join_with_the_payload_that_was_thrown() {
    let scheduler = scheduler();
    scheduler.block_on(|| {
        let literal = spawn(|| panic!("literal")).join().unwrap_err();
        assert_eq!(literal.message(), Some("literal"));
        assert_eq!(literal.to_string(), "the task panicked: literal");
        let formatted = spawn(|| panic!("number {}", 5)).join().unwrap_err();
        assert_eq!(formatted.message(), Some("number 5"));
        let other = spawn(|| std::panic::panic_any(vec![1, 2, 3]))
            .join()
            .unwrap_err();
        assert!(other.is_panic() && !other.is_cancelled());
        assert_eq!(other.message(), None);
        assert_eq!(
            other.into_panic().downcast_ref::<Vec<i32>>(),
            Some(&vec![1, 2, 3])
        );
        let late = spawn(|| {
            yield_now();
            panic!("late")
        });
        assert_eq!(late.join().unwrap_err().message(), Some("late"));
    });
}

#[test]
fn closures_and_results_of_every_size_and_alignment_arrive_intact() {
    #[repr(align(64))]
    #[derive(Clone, Copy)]
    struct Aligned<const N: usize>([u8; N]);
    #[repr(align(4096))]
    #[derive(Clone, Copy)]
    struct Page(u8);
    #[repr(align(32))]
    struct Half([u8; 32]);
    #[repr(align(64))]
    struct Nothing;
    fn aligned<T>(value: &T) -> bool {
        (value as *const T).addr().is_multiple_of(align_of::<T>())
    }
    fn through<const N: usize>() {
        let bytes = std::array::from_fn::<u8, N, _>(|n| n as u8 ^ N as u8);
        let plain = spawn(move || {
            yield_now();
            bytes
        });
        let over = spawn(move || {
            let value = Aligned(bytes);
            let local = &value;
            assert!(aligned(local));
            value
        });
        let captured = Aligned(bytes);
        let capture = spawn(move || {
            let inside = &captured;
            assert!(aligned(inside));
            inside.0 == bytes
        });
        assert_eq!(plain.join().unwrap(), bytes);
        let value = over.join().unwrap();
        assert!(aligned(&value) && value.0 == bytes);
        assert!(capture.join().unwrap());
    }
    let scheduler = scheduler();
    scheduler.block_on(|| {
        let half = |bytes| Half(bytes);
        let (value, other) = (half([7; 32]), half([8; 32]));
        let handle = spawn(move || {
            let inside = &value;
            assert!(aligned(inside) && inside.0 == [7; 32]);
            other
        });
        let back = handle.join().unwrap();
        assert!(aligned(&back) && back.0 == [8; 32]);
        through::<0>();
        through::<1>();
        through::<48>();
        through::<55>();
        through::<56>();
        through::<57>();
        through::<63>();
        through::<64>();
        through::<65>();
        through::<128>();
        through::<1023>();
        through::<1024>();
        through::<1025>();
        through::<4096>();
        let page = Page(7);
        let handle = spawn(move || {
            let inside = &page;
            assert!(aligned(inside));
            page
        });
        let back = handle.join().unwrap();
        assert!(aligned(&back) && back.0 == 7);
        let nothing = spawn(|| Nothing).join().unwrap();
        assert!(aligned(&nothing));
        let nothing = Nothing;
        spawn(move || assert!(aligned(&nothing))).join().unwrap();
        spawn(|| ()).join().unwrap();
    });
}

#[test]
fn a_result_is_dropped_exactly_once_however_the_handle_goes() {
    let drops = Drops::default();
    let scheduler = Scheduler::new().unwrap();
    let spawn = || {
        let dropped = drops.one();
        scheduler.spawn(move || dropped)
    };
    // Detached before the task starts.
    drop(spawn());
    scheduler.run().unwrap();
    assert_eq!(drops.count(), 1);
    // Detached after its end.
    let ended = spawn();
    scheduler.run().unwrap();
    assert_eq!(drops.count(), 1);
    drop(ended);
    assert_eq!(drops.count(), 2);
    // Detached by another thread after its end.
    let ended = spawn();
    scheduler.run().unwrap();
    thread::spawn(move || drop(ended)).join().unwrap();
    assert_eq!(drops.count(), 3);
    // Joined.
    let joined = spawn();
    scheduler.run().unwrap();
    let value = joined.join().unwrap();
    assert_eq!(drops.count(), 3);
    drop(value);
    assert_eq!(drops.count(), 4);
    // Cancelled before it starts: the closure is dropped.
    let cancelled = spawn();
    cancelled.cancel();
    assert_eq!(drops.count(), 4);
    scheduler.run().unwrap();
    assert_eq!(drops.count(), 5);
    assert!(cancelled.join().unwrap_err().is_cancelled());
    // Never run.
    let unstarted = spawn();
    drop(scheduler);
    assert_eq!(drops.count(), 6);
    assert!(unstarted.join().unwrap_err().is_cancelled());
}

#[test]
fn destructors_of_results_may_panic_spawn_and_wait() {
    ends(|| {
        let drops = Drops::default();
        let scheduler = scheduler();
        for waits_first in [false, true] {
            let before = drops.count();
            let result = || {
                let (one, two) = (drops.one(), drops.one());
                let mut two = Some(two);
                let wild = OnDrop(move || {
                    let two = two.take();
                    let child = spawn(move || {
                        yield_now();
                        drop(two);
                    });
                    sleep(Duration::from_millis(1));
                    child.join().unwrap();
                    panic!("a destructor of a result panics");
                });
                (wild, one)
            };
            let (dropped_by_the_task, dropped_by_the_handle) = (result(), result());
            let maybe_wait = move || {
                if waits_first {
                    yield_now();
                }
            };
            drop(scheduler.spawn_local(move || {
                maybe_wait();
                dropped_by_the_task
            }));
            let handle = scheduler.spawn_local(move || {
                maybe_wait();
                dropped_by_the_handle
            });
            scheduler.run().unwrap();
            assert_eq!(drops.count() - before, 2);
            // By a task, then by a plain thread.
            scheduler.block_on(move || drop(handle));
            assert_eq!(drops.count() - before, 4);
        }
        let plain = {
            let one = drops.one();
            scheduler.spawn(move || {
                OnDrop(move || {
                    sleep(Duration::from_millis(1));
                    let _ = &one;
                })
            })
        };
        scheduler.run().unwrap();
        let before = drops.count();
        drop(plain);
        assert_eq!(drops.count(), before + 1);
    });
}

#[test]
fn a_closure_that_never_runs_may_spawn_wait_and_panic_as_it_is_dropped() {
    let scheduler = scheduler();
    let drops = Drops::default();
    let one = drops.one();
    let waits = OnDrop(move || {
        yield_now();
        spawn(yield_now).join().unwrap();
        let _ = &one;
    });
    let waits = scheduler.spawn(move || drop(waits));
    let bomb = OnDrop(|| panic!("a closure that never ran"));
    let bomb = scheduler.spawn(move || drop(bomb));
    waits.cancel();
    bomb.cancel();
    scheduler.run().unwrap();
    assert_eq!(drops.count(), 1);
    assert!(waits.join().unwrap_err().is_cancelled());
    assert_eq!(
        bomb.join().unwrap_err().message(),
        Some("a closure that never ran")
    );
}

#[test]
fn a_panic_payload_whose_destructor_panics_harms_nobody() {
    let scheduler = scheduler();
    let throw = || std::panic::panic_any(OnDrop(|| panic!("a payload's destructor")));
    drop(scheduler.spawn(throw));
    let ended = scheduler.spawn(throw);
    let other = scheduler.spawn(|| 5);
    scheduler.run().unwrap();
    drop(ended);
    assert_eq!(other.join().unwrap(), 5);
}

// ---- join ----

#[test]
fn join_timeout_gives_the_handle_back_until_the_task_has_ended() {
    let scheduler = scheduler();
    scheduler.block_on(|| {
        let mut handle = spawn(|| {
            task::park();
            5
        });
        for _ in 0..100 {
            handle = match handle.join_timeout(Duration::from_micros(10)) {
                Err(JoinTimeoutError::Timeout(handle)) => handle,
                other => panic!("{other:?}"),
            };
        }
        let start = Instant::now();
        handle = match handle.join_timeout(SHORT) {
            Err(JoinTimeoutError::Timeout(handle)) => handle,
            other => panic!("{other:?}"),
        };
        assert!(start.elapsed() >= SHORT);
        handle.task().unpark();
        assert_eq!(handle.join_timeout(LONG).unwrap(), 5);
        let panics = spawn(|| panic!("oops"));
        match panics.join_timeout(Duration::MAX) {
            Err(JoinTimeoutError::Failed(error)) => assert_eq!(error.message(), Some("oops")),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_finished_task_is_joined_even_with_no_time_at_all() {
    let scheduler = scheduler();
    let handle = scheduler.spawn(|| 5);
    scheduler.run().unwrap();
    assert_eq!(handle.join_timeout(Duration::ZERO).unwrap(), 5);
}

#[test]
fn a_timer_and_an_end_in_the_same_turn_lose_no_result() {
    // The joiner's deadline passes in the turn in which the task ends, before or after it.
    let scheduler = scheduler();
    scheduler.block_on(|| {
        let mut random = Random::new(1);
        for round in 0..2_000 {
            let (joins, works) = (random.below(200), random.below(200));
            let worker = spawn(move || {
                sleep(Duration::from_micros(works as u64));
                round
            });
            let joined = match worker.join_timeout(Duration::from_micros(joins as u64)) {
                Err(JoinTimeoutError::Timeout(handle)) => handle.join().unwrap(),
                joined => joined.unwrap(),
            };
            assert_eq!(joined, round);
        }
    });
}

#[test]
fn a_join_that_is_unwound_detaches_the_task() {
    let scheduler = Scheduler::new().unwrap();
    let drops = Drops::default();
    scheduler.block_on(|| {
        let one = drops.one();
        let child = spawn(move || {
            task::park();
            one
        });
        let task = child.task().clone();
        yield_now();
        assert!(timeout(SHORT, || child.join()).is_err());
        assert_eq!(drops.count(), 0);
        task.unpark();
        yield_now();
        assert_eq!(drops.count(), 1);
    });
}

#[test]
fn a_task_that_joins_itself_can_still_be_cancelled() {
    let scheduler = Scheduler::new().unwrap();
    let slot = Rc::new(RefCell::new(None::<JoinHandle<()>>));
    let own = slot.clone();
    let drops = Drops::default();
    let one = drops.one();
    let handle = scheduler.spawn_local(move || {
        let _one = one;
        let me = own.borrow_mut().take().unwrap();
        match me.join_timeout(SHORT) {
            Err(JoinTimeoutError::Timeout(me)) => me.join().unwrap(),
            other => panic!("{other:?}"),
        }
    });
    let task = handle.task().clone();
    *slot.borrow_mut() = Some(handle);
    while scheduler.stats().tasks == 0 || scheduler.stats().timers > 0 || slot.borrow().is_some() {
        scheduler.turn(Some(SHORT)).unwrap();
    }
    task.unpark(); // does not end it
    settle(&scheduler);
    assert_eq!(scheduler.stats().live, 1);
    scheduler.handle().cancel_all();
    scheduler.run().unwrap();
    assert_eq!(drops.count(), 1);
}

// ---- who is who ----

#[test]
fn ids_are_unique_among_tasks_and_threads_for_ever() {
    let ids = Arc::new(Mutex::new(HashSet::new()));
    let note = |ids: &Mutex<HashSet<_>>| assert!(ids.lock().unwrap().insert(task::current().id()));
    note(&ids);
    let threads = (0..4).map(|_| {
        let ids = ids.clone();
        thread::spawn(move || {
            note(&ids);
            for _ in 0..3 {
                let scheduler = scheduler();
                for _ in 0..200 {
                    let ids = ids.clone();
                    scheduler.spawn(move || note(&ids));
                }
                scheduler.run().unwrap();
            }
        })
    });
    let threads: Vec<_> = threads.collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(ids.lock().unwrap().len(), 5 + 4 * 3 * 200);
}

#[test]
fn a_task_is_named_by_its_builder_and_a_thread_by_its_own() {
    let builder = Builder::new().name("worker".into());
    let handle = builder
        .clone()
        .spawn(|| task::current().name().map(str::to_owned))
        .unwrap();
    let kept: Task = handle.task().clone();
    assert_eq!(kept.name(), Some("worker"));
    assert_eq!(handle.join().unwrap().as_deref(), Some("worker"));
    // A handle outlives what it stands for, and what comes in its place.
    for _ in 0..1_000 {
        assert_eq!(
            spawn(|| task::current().name().map(str::to_owned))
                .join()
                .unwrap(),
            None
        );
    }
    assert_eq!(kept.name(), Some("worker"));
    assert!(format!("{kept:?}").contains("worker"));
    let thread = thread::Builder::new().name("plain".into());
    let outlived = thread.spawn(task::current).unwrap().join().unwrap();
    assert_eq!(outlived.name(), Some("plain"));
    outlived.unpark(); // nobody is there any more
}

#[test]
fn a_stack_is_as_large_as_was_asked() {
    fn deep(depth: usize) -> usize {
        let frame = std::hint::black_box([depth as u8; 1024]);
        if depth == 0 {
            yield_now();
            return 0;
        }
        deep(depth - 1) + frame[1023] as usize / 256 + 1
    }
    let scheduler = Scheduler::builder().stack_size(64 << 10).build().unwrap();
    scheduler.block_on(|| {
        let large = |size| {
            Builder::new()
                .stack_size(size)
                .spawn(|| deep(4_000))
                .unwrap()
        };
        let handles = [large(16 << 20), large(32 << 20), large(16 << 20)];
        assert!(handles
            .into_iter()
            .all(|handle| handle.join().unwrap() == 4_000));
        // Of a tiny one some pages are made.
        let tiny = Builder::new().stack_size(0).spawn(yield_now).unwrap();
        tiny.join().unwrap();
        let error = Builder::new()
            .stack_size((1 << 30) + 1)
            .spawn(|| ())
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let error = Builder::new()
            .stack_size(usize::MAX)
            .spawn(|| ())
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    });
    let error = Scheduler::builder()
        .stack_size(usize::MAX)
        .build()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_local_task_may_hold_what_is_not_send() {
    let scheduler = scheduler();
    let count = Rc::new(Cell::new(0));
    for _ in 0..10 {
        let count = count.clone();
        scheduler.spawn_local(move || {
            let inner = count.clone();
            let handle = spawn_local(move || {
                inner.set(inner.get() + 1);
                yield_now();
                inner
            });
            let back = handle.join().unwrap();
            back.set(back.get() + 1);
        });
    }
    scheduler.run().unwrap();
    assert_eq!(count.get(), 20);
    assert_eq!(Rc::strong_count(&count), 1);
}

// ---- order ----

#[test]
fn tasks_run_first_in_first_out() {
    let scheduler = Scheduler::new().unwrap();
    let order = Rc::new(RefCell::new(String::new()));
    for word in ["hello", "goodbye"] {
        let order = order.clone();
        scheduler.spawn_local(move || {
            for _ in 0..2 {
                *order.borrow_mut() += &format!("{word} ");
                yield_now();
            }
        });
    }
    scheduler.run().unwrap();
    assert_eq!(*order.borrow(), "hello goodbye hello goodbye ");
}

#[test]
fn yielding_goes_behind_all_that_is_ready() {
    let scheduler = Scheduler::new().unwrap();
    let order = Rc::new(RefCell::new(Vec::new()));
    let note = |n: usize| {
        let order = order.clone();
        move || order.borrow_mut().push(n)
    };
    let (first, second, third, fourth, fifth) = (note(1), note(2), note(3), note(4), note(5));
    let parked = scheduler.spawn_local(move || {
        task::park();
        fourth();
    });
    let parked = parked.task().clone();
    settle(&scheduler);
    scheduler.spawn_local(move || {
        first();
        spawn_local(third);
        parked.unpark();
        yield_now();
        fifth();
    });
    scheduler.spawn_local(second);
    scheduler.run().unwrap();
    assert_eq!(*order.borrow(), [1, 2, 3, 4, 5]);
}

#[test]
fn a_spawned_task_does_not_start_before_its_spawner_waits() {
    let scheduler = Scheduler::new().unwrap();
    scheduler.block_on(|| {
        let started = Arc::new(AtomicBool::new(false));
        let seen = started.clone();
        let child = spawn(move || seen.store(true, SeqCst));
        assert!(!started.load(SeqCst));
        yield_now();
        assert!(started.load(SeqCst) && child.is_finished());
    });
}

// ---- park ----

#[test]
fn an_unpark_before_the_park_is_not_lost_and_many_are_one() {
    let scheduler = scheduler();
    let parks = Rc::new(Cell::new(0));
    let count = parks.clone();
    let handle = scheduler.spawn_local(move || loop {
        task::park();
        count.set(count.get() + 1);
    });
    for _ in 0..5 {
        handle.task().unpark();
    }
    settle(&scheduler);
    assert_eq!(parks.get(), 1);
    for _ in 0..5 {
        handle.task().unpark();
    }
    settle(&scheduler);
    assert_eq!(parks.get(), 2);
}

#[test]
fn parking_with_a_time_limit_ends_by_it_and_keeps_a_token_that_comes_later() {
    let check = || {
        let start = Instant::now();
        task::park_timeout(SHORT);
        assert!(start.elapsed() >= SHORT);
        task::park_timeout(Duration::ZERO);
        task::park_deadline(start);
        task::current().unpark();
        let start = Instant::now();
        task::park_timeout(LONG);
        task::current().unpark();
        task::park_timeout(Duration::MAX);
        assert!(start.elapsed() < LONG);
    };
    check();
    spawn(check).join().unwrap();
    check();
    let _live = spawn(task::park);
    check();
}

#[test]
fn a_token_that_comes_when_the_time_is_up_is_kept_for_the_next_park() {
    ends(|| {
        let scheduler = Rc::new(Scheduler::new().unwrap());
        // Time enough for all to begin.
        let start = Instant::now() + Duration::from_secs(1);
        let end = start + Duration::from_millis(1);
        let late = scheduler.spawn(move || {
            task::park_deadline(end);
            task::park();
        });
        let (own, task) = (scheduler.clone(), late.task().clone());
        scheduler.spawn_local(move || {
            sleep_until(start);
            // The other one's time is up as well, and it has not gone on.
            assert_eq!(own.stats().runnable, 1);
            task.unpark();
        });
        scheduler.spawn(move || while Instant::now() < end + Duration::from_millis(1) {});
        scheduler.run().unwrap();
    });
}

#[test]
fn tokens_given_by_another_thread_are_neither_lost_nor_doubled() {
    ends(|| {
        const ROUNDS: usize = 20_000;
        let remote = Remote::start();
        let taken = Arc::new(AtomicUsize::new(0));
        let count = taken.clone();
        let pings = remote.handle.spawn(move || {
            for _ in 0..ROUNDS {
                task::park();
                count.fetch_add(1, SeqCst);
            }
        });
        let target = pings.task().clone();
        for round in 0..ROUNDS {
            target.unpark();
            while taken.load(SeqCst) == round {
                std::hint::spin_loop();
            }
            assert_eq!(taken.load(SeqCst), round + 1);
        }
        pings.join().unwrap();
        remote.stop();
    });
}

#[test]
fn a_plain_thread_parks_and_is_unparked_as_a_task_is() {
    ends(|| {
        for with_tasks in [false, true] {
            let me = task::current();
            let live = with_tasks.then(|| spawn(task::park));
            let thread = thread::spawn(move || {
                for _ in 0..1_000 {
                    me.unpark();
                    task::park_timeout(Duration::from_micros(10));
                }
                me.unpark();
            });
            let mut parks = 0;
            while !thread.is_finished() {
                task::park_timeout(SHORT);
                parks += 1;
            }
            assert!(parks > 0);
            thread.join().unwrap();
            drop(live);
        }
    });
}

#[test]
fn a_hundred_thousand_tasks_are_spawned_parked_and_unparked() {
    ends(|| {
        // Fewer where a stack takes mappings, or addresses are scarce.
        const TASKS: usize = if cfg!(all(
            target_os = "linux",
            target_pointer_width = "64",
            not(multitask_portable)
        )) {
            100_000
        } else {
            10_000
        };
        let scheduler = Scheduler::builder().stack_size(32 << 10).build().unwrap();
        let woken = Rc::new(Cell::new(0));
        let handles: Vec<_> = (0..TASKS)
            .map(|_| {
                let woken = woken.clone();
                scheduler.spawn_local(move || {
                    task::park();
                    woken.set(woken.get() + 1);
                })
            })
            .collect();
        settle(&scheduler);
        assert_eq!(scheduler.stats().tasks, TASKS);
        for handle in &handles {
            handle.task().unpark();
        }
        scheduler.run().unwrap();
        assert_eq!(woken.get(), TASKS);
        assert!(handles.into_iter().all(|handle| handle.join().is_ok()));
    });
}

// ---- races with other threads ----

/// What a handle's owner on another thread does while the task runs and ends.
#[test]
fn handles_may_be_joined_dropped_and_cancelled_at_any_moment_from_another_thread() {
    ends(|| {
        let remote = Remote::start();
        let drops = Drops::default();
        let mut random = Random::new(7);
        let mut made = 0;
        for _ in 0..30_000 {
            let (captured, result) = (drops.one(), drops.one());
            made += 2;
            let waits = random.below(4);
            let handle = remote.handle.spawn(move || {
                let _captured = captured;
                match waits {
                    0 => {}
                    1 => yield_now(),
                    2 => sleep(Duration::from_micros(20)),
                    _ => task::park_timeout(Duration::from_micros(20)),
                }
                result
            });
            for _ in 0..random.below(200) {
                std::hint::spin_loop();
            }
            match random.below(6) {
                0 => drop(handle),
                1 => {
                    handle.cancel();
                    drop(handle);
                }
                2 => {
                    handle.cancel();
                    handle.task().unpark();
                    match handle.join() {
                        Ok(_) | Err(JoinError::Cancelled) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
                3 => match handle.join_timeout(Duration::from_micros(random.below(60) as u64)) {
                    Ok(_) => {}
                    Err(JoinTimeoutError::Timeout(handle)) => drop(handle.join().unwrap()),
                    Err(error) => panic!("{error}"),
                },
                4 => match handle.join_timeout(Duration::ZERO) {
                    Ok(_) => {}
                    Err(JoinTimeoutError::Timeout(handle)) => drop(handle),
                    Err(error) => panic!("{error}"),
                },
                _ => drop(handle.join().unwrap()),
            }
        }
        remote.stop();
        assert_eq!(drops.count(), made);
    });
}

#[test]
fn tasks_of_two_schedulers_join_cancel_and_unpark_each_other() {
    ends(|| {
        const TASKS: usize = 40;
        const ROUNDS: usize = 300;
        let (one, two) = (Remote::start(), Remote::start());
        let drops = Drops::default();
        let completed = Arc::new(AtomicUsize::new(0));
        let drivers = (0..2 * TASKS).map(|seed| {
            let (home, away) = if seed % 2 == 0 {
                (&one, &two)
            } else {
                (&two, &one)
            };
            let (away, drops, completed) = (away.handle.clone(), drops.clone(), completed.clone());
            home.handle.spawn(move || {
                let mut random = Random::new(seed as u64);
                for _ in 0..ROUNDS {
                    let (captured, parks) = (drops.one(), random.below(2) == 0);
                    let child = away.spawn(move || {
                        if parks {
                            task::park();
                        }
                        captured
                    });
                    if random.below(3) == 0 {
                        yield_now();
                    }
                    let cancelled = random.below(3) == 0;
                    if cancelled {
                        child.cancel();
                    }
                    child.task().unpark();
                    match child.join() {
                        Ok(_) => {}
                        Err(JoinError::Cancelled) if cancelled => {}
                        Err(error) => panic!("{error}"),
                    }
                    completed.fetch_add(1, SeqCst);
                }
            })
        });
        let drivers: Vec<_> = drivers.collect();
        for driver in drivers {
            driver.join().unwrap();
        }
        assert_eq!(completed.load(SeqCst), 2 * TASKS * ROUNDS);
        one.stop();
        two.stop();
        assert_eq!(drops.count(), 2 * TASKS * ROUNDS);
    });
}

#[test]
fn scoped_timeouts_race_with_ends_on_another_thread() {
    ends(|| {
        let remote = Remote::start();
        let drops = Drops::default();
        let mut random = Random::new(3);
        let scheduler = scheduler();
        let handle = remote.handle.clone();
        let count = drops.clone();
        scheduler.block_on(move || {
            for _ in 0..5_000 {
                let one = count.one();
                let sleeps = random.below(100) as u64;
                let child = handle.spawn(move || {
                    sleep(Duration::from_micros(sleeps));
                    one
                });
                let limit = Duration::from_micros(random.below(200) as u64);
                // In time or not: the result is dropped once.
                drop(timeout(limit, || child.join().unwrap()));
            }
        });
        remote.stop();
        assert_eq!(drops.count(), 5_000);
    });
}

// ---- the last moments of a thread ----

#[test]
fn the_destructor_of_a_thread_local_may_use_the_library() {
    type Last = Box<dyn FnMut()>;
    thread_local! {
        static LAST: RefCell<Option<OnDrop<Last>>> = const { RefCell::new(None) };
    }
    ends(|| {
        for default_first in [None, Some(true), Some(false)] {
            let remote = Remote::start();
            let handle = remote.handle.clone();
            let (tell, told) = mpsc::channel();
            let thread = thread::spawn(move || {
                let last: OnDrop<Last> = OnDrop(Box::new(move || {
                    sleep(Duration::from_millis(1));
                    yield_now();
                    assert!(timeout(SHORT, task::park).is_err());
                    assert!(timeout(SHORT, || timeout(LONG, || sleep(LONG))).is_err());
                    task::current().unpark();
                    task::park();
                    assert_eq!(handle.spawn(|| 5).join().unwrap(), 5);
                    assert_eq!(scheduler().block_on(|| spawn(|| 5).join().unwrap()), 5);
                    // There may be a default scheduler, or none any more.
                    if let Ok(child) = Builder::new().spawn(|| 5) {
                        assert_eq!(child.join().unwrap(), 5);
                    }
                    tell.send(()).unwrap();
                }) as Box<dyn FnMut()>);
                if default_first == Some(true) {
                    spawn(|| ()).join().unwrap();
                }
                LAST.set(Some(last));
                if default_first == Some(false) {
                    spawn(|| ()).join().unwrap();
                    let _left = spawn(task::park);
                    yield_now();
                }
            });
            thread.join().unwrap();
            told.recv().expect("it came to its end");
            remote.stop();
        }
    });
}

#[test]
fn handles_have_the_auto_traits_that_a_threaded_program_needs() {
    use multitask::{Handle, JoinHandle};
    use std::panic::{RefUnwindSafe, UnwindSafe};
    fn have<T: Send + Sync + UnwindSafe + RefUnwindSafe + Unpin>() {}
    have::<JoinHandle<u8>>();
    have::<JoinHandle<std::cell::RefCell<u8>>>();
    have::<std::thread::Thread>();
    have::<task::Task>();
    have::<task::TaskId>();
    have::<Handle>();
}
