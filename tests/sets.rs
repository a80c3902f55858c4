//! Several tasks as one: sets, all of them, the first of them.

mod common;

use common::{ends, scheduler, settle, Drops, OnDrop};
use multitask::task::{self, Builder, JoinSet};
use multitask::{sleep, spawn, timeout, yield_now, Handle, Scheduler, Timeout};
use std::cell::Cell;
use std::num::NonZeroUsize;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(5);

fn limit(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap()
}

#[test]
fn results_come_in_the_order_in_which_the_tasks_end() {
    let mut set = JoinSet::new();
    let ids = [2, 0, 1].map(|yields| {
        set.spawn(move || {
            (0..yields).for_each(|_| yield_now());
            yields
        })
    });
    assert_eq!(set.len(), 3);
    let results: Vec<_> = std::iter::from_fn(|| set.join_next_with_id()).collect();
    let results: Vec<_> = results
        .into_iter()
        .map(|(id, n)| (id, n.unwrap()))
        .collect();
    assert_eq!(results, [(ids[1], 0), (ids[2], 1), (ids[0], 2)]);
    assert!(set.is_empty() && set.join_next().is_none() && set.try_join_next().is_none());
}

#[test]
fn every_end_is_reported_once_panics_and_cancels_and_tasks_that_never_began() {
    // Of one worker: another might take the first ones and not have begun them at the yield's end.
    let scheduler = Scheduler::new().unwrap();
    scheduler.block_on(|| {
        let mut set = JoinSet::new();
        set.spawn(|| 1);
        set.spawn(|| resume_unwind(Box::new(2)));
        set.spawn(|| loop {
            task::park();
        });
        yield_now();
        set.spawn(|| 4);
        set.cancel_all();
        let mut kinds = [0; 3];
        for result in set {
            match result {
                Ok(value) => kinds[0] += value,
                Err(error) if error.is_panic() => kinds[1] += 1,
                Err(_) => kinds[2] += 1,
            }
        }
        assert_eq!(kinds, [1, 1, 2]);
    });
}

#[test]
fn a_limit_holds_and_is_used_up() {
    let scheduler = scheduler();
    let (running, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    scheduler.block_on(|| {
        let mut set = JoinSet::with_limit(limit(3));
        for _ in 0..20 {
            let (running, most) = (running.clone(), most.clone());
            set.spawn_local(move || {
                running.set(running.get() + 1);
                most.set(running.get().max(most.get()));
                yield_now();
                running.set(running.get() - 1);
            });
        }
        assert_eq!(set.join_all().len(), 20);
    });
    assert_eq!(most.get(), 3);
}

#[test]
fn a_wait_for_room_or_for_a_result_that_is_interrupted_loses_nothing() {
    ends(|| {
        // At the first suspension, at the second, and so on.
        for turns in 0..12 {
            let scheduler = Scheduler::new().unwrap();
            let drops = Drops::default();
            let begun = Rc::new(Cell::new(0));
            let (count, ended) = (begun.clone(), drops.clone());
            let owner = scheduler.spawn_local(move || {
                let mut set = JoinSet::with_limit(limit(2));
                for _ in 0..4 {
                    let one = ended.one();
                    let count = count.clone();
                    set.spawn_local(move || {
                        let _one = one;
                        count.set(count.get() + 1);
                        yield_now();
                    });
                }
                while let Some(result) = set.join_next() {
                    result.unwrap();
                }
            });
            for _ in 0..turns {
                scheduler.turn(Some(Duration::ZERO)).unwrap();
            }
            owner.cancel();
            scheduler.run().unwrap();
            // Each that began has ended, and none is left.
            assert!(drops.count() >= begun.get());
            assert_eq!(scheduler.stats().live, 0);
        }
    });
}

#[test]
fn a_time_limit_of_a_join_leaves_the_tasks_in_the_set() {
    let mut set = JoinSet::new();
    set.spawn(task::park);
    assert_eq!(set.join_next_timeout(SHORT).unwrap_err(), Timeout);
    assert!(timeout(SHORT, || set.join_next()).is_err());
    assert!(set.try_join_next().is_none());
    assert_eq!(set.len(), 1);
    set.shutdown();
    assert!(set.is_empty());
    let past = Instant::now();
    assert!(set.join_next_deadline(past).unwrap().is_none());
    set.spawn(|| ());
    assert!(set.join_next_timeout(Duration::MAX).unwrap().is_some());
}

#[test]
fn one_task_of_a_set_is_cancelled_and_the_others_go_on() {
    scheduler().block_on(|| {
        let mut set = JoinSet::new();
        let [one, two, three] = [1, 2, 3].map(|n| {
            set.spawn(move || {
                if n == 2 {
                    loop {
                        task::park();
                    }
                }
                n
            })
        });
        assert!(set.cancel(two));
        let mut ended = Vec::new();
        while let Some((id, result)) = set.join_next_with_id() {
            ended.push((id, result.ok()));
        }
        ended.sort();
        assert_eq!(ended, [(one, Some(1)), (two, None), (three, Some(3))]);
        assert!(!set.cancel(one), "it is not in the set any more");
    });
}

#[test]
fn dropping_a_set_cancels_its_tasks_and_detaching_does_not() {
    let scheduler = scheduler();
    let (cancelled, done) = (Drops::default(), Drops::default());
    scheduler.block_on(|| {
        let mut set = JoinSet::new();
        let one = cancelled.one();
        set.spawn(move || {
            let _one = one;
            loop {
                task::park();
            }
        });
        yield_now();
        drop(set);
        let mut set = JoinSet::with_limit(limit(1));
        let one = done.one();
        let go_on = Rc::new(Cell::new(false));
        let may = go_on.clone();
        set.spawn_local(move || {
            while !may.get() {
                yield_now();
            }
            drop(one);
        });
        set.detach_all();
        // It has room again.
        set.spawn(|| ());
        assert_eq!(set.len(), 1);
        assert!(set.join_next().unwrap().is_ok());
        go_on.set(true);
    });
    settle(&scheduler);
    assert_eq!((cancelled.count(), done.count()), (1, 1));
}

#[test]
fn a_set_is_filled_and_emptied_by_a_plain_thread() {
    let mut set = JoinSet::with_limit(limit(5));
    for n in 0..50 {
        let builder = Builder::new().name(format!("number {n}"));
        set.spawn_with(builder, move || {
            sleep(Duration::from_micros(20));
            n
        })
        .unwrap();
    }
    let mut values: Vec<_> = set.map(Result::unwrap).collect();
    values.sort_unstable();
    assert_eq!(values, (0..50).collect::<Vec<_>>());
}

#[test]
fn a_set_moves_to_another_thread_and_is_emptied_there() {
    ends(|| {
        for _ in 0..50 {
            let scheduler = scheduler();
            let set = scheduler.block_on(|| {
                let mut set = JoinSet::new();
                for n in 0..10 {
                    set.spawn(move || {
                        (0..n).for_each(|_| yield_now());
                        n
                    });
                }
                set
            });
            let joins = thread::spawn(move || set.map(Result::unwrap).sum::<u64>());
            scheduler.run().unwrap();
            assert_eq!(joins.join().unwrap(), 45);
        }
    });
}

// ---- join_all and race ----

#[test]
fn join_all_gives_the_values_in_order_whatever_ends_first() {
    let values = task::join_all((0..4).map(|n| {
        move || {
            (0..4 - n).for_each(|_| yield_now());
            n
        }
    }));
    assert_eq!(values, [0, 1, 2, 3]);
    let none: Vec<fn() -> u8> = Vec::new();
    assert!(task::join_all(none).is_empty());
}

#[test]
fn a_panic_in_join_all_cancels_the_others_and_comes_out() {
    ends(|| {
        let drops = Drops::default();
        let (one, two) = (drops.one(), drops.one());
        let panic = catch_unwind(AssertUnwindSafe(|| {
            task::join_all::<_, Box<dyn FnOnce() + Send>, ()>([
                Box::new(move || {
                    let _one = one;
                    task::park();
                }) as Box<dyn FnOnce() + Send>,
                Box::new(|| resume_unwind(Box::new(5))),
                Box::new(move || {
                    let _two = two;
                    task::park();
                }),
            ])
        }));
        assert_eq!(panic.unwrap_err().downcast_ref(), Some(&5));
        assert_eq!(drops.count(), 2);
    });
}

/// What a task has panicked with that `calls` and cannot be cancelled meanwhile.
fn told(calls: fn(Handle)) -> Option<String> {
    let scheduler = Scheduler::new().unwrap();
    let handle = scheduler.handle();
    let caller = scheduler.spawn(move || task::shield(|| calls(handle)));
    scheduler.run().unwrap();
    caller.join().unwrap_err().message().map(str::to_owned)
}

#[test]
fn join_all_of_one_who_is_cancelled_says_so_to_a_caller_who_cannot_be() {
    ends(|| {
        let while_it_waits = told(|handle| {
            let cancels = || {
                handle.cancel_all();
                task::park();
            };
            task::join_all([cancels]);
        });
        // What hands the functions out is cancelled with them, and hides it until the first has ended.
        let before_it_waits = told(|handle| {
            let drops = Drops::default();
            let parks = |one| {
                move || {
                    let _one = one;
                    task::park();
                }
            };
            let first = std::iter::once(parks(drops.one()));
            task::join_all(first.chain(std::iter::from_fn(|| {
                handle.cancel_all();
                let until_it_has_ended = || {
                    while drops.count() == 0 {
                        yield_now();
                    }
                };
                let hidden = catch_unwind(AssertUnwindSafe(|| task::shield(until_it_has_ended)));
                assert!(hidden.is_err());
                None
            })));
        });
        let said = "a function of join_all was cancelled, and gives no value";
        assert_eq!(while_it_waits.as_deref(), Some(said));
        assert_eq!(before_it_waits.as_deref(), Some(said));
    });
}

#[test]
fn the_first_of_a_race_wins_and_the_losers_are_over_when_it_returns() {
    ends(|| {
        let ended = AtomicUsize::new(0);
        let winner = task::race((0..5).map(|n| {
            let ended = &ended;
            move || {
                let _end = OnDrop(|| {
                    yield_now();
                    ended.fetch_add(1, SeqCst);
                });
                if n != 3 {
                    task::park();
                }
                n
            }
        }));
        assert_eq!((winner, ended.into_inner()), (3, 5));
    });
}

#[test]
fn of_two_that_are_ready_the_earlier_wins_and_the_others_value_is_dropped() {
    let drops = Drops::default();
    let (one, two) = (drops.one(), drops.one());
    let mut both = [Some((1, one)), Some((2, two))];
    let (winner, kept) = task::race(both.iter_mut().map(|value| || value.take().unwrap()));
    assert_eq!(winner, 1);
    drop(kept);
    drop(both);
    assert_eq!(drops.count(), 2);
}

#[test]
fn a_race_is_bounded_by_a_scope_and_ends_its_runners() {
    ends(|| {
        let drops = Drops::default();
        let handle = spawn({
            let drops = drops.clone();
            move || {
                let runner = |one| {
                    move || {
                        let _one = one;
                        task::park();
                    }
                };
                timeout(SHORT, || task::race([drops.one(), drops.one()].map(runner)))
            }
        });
        assert_eq!(handle.join().unwrap(), Err(Timeout));
        assert_eq!(drops.count(), 2);
    });
}

#[test]
fn a_race_whose_runners_are_cancelled_says_so_to_a_caller_who_cannot_be() {
    ends(|| {
        let on_the_way = told(|handle| {
            let cancels = || {
                handle.cancel_all();
                task::park();
            };
            task::race([cancels]);
        });
        let before_the_start = told(|handle| {
            let drops = Drops::default();
            let one = drops.one();
            spawn(move || {
                let _one = one;
                task::park();
            });
            handle.cancel_all();
            while drops.count() == 0 {
                yield_now();
            }
            task::race([task::park]);
        });
        let said = "a race of nobody, or of cancelled tasks, has no winner";
        assert_eq!(on_the_way.as_deref(), Some(said));
        assert_eq!(before_the_start.as_deref(), Some(said));
    });
}

#[test]
fn a_race_of_nobody_panics() {
    let none: Vec<fn()> = Vec::new();
    assert!(catch_unwind(|| task::race(none)).is_err());
}
