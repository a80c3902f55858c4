//! Scopes: tasks that borrow end before what they borrow from does, whatever happens.

mod common;

use common::{ends, settle, Drops, OnDrop, Remote, LONG};
use multitask::sync::Event;
use multitask::task::{self, Builder, JoinTimeoutError};
use multitask::{sleep, spawn, timeout, yield_now, JoinError, Scheduler};
use std::cell::Cell;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(5);

#[test]
fn tasks_borrow_from_the_caller_and_give_their_results_back() {
    let numbers = [1, 2, 3, 4];
    let mut written = 0;
    let sums = task::scope(|s| {
        s.spawn(|| written = numbers.len());
        let halves = numbers
            .chunks(2)
            .map(|half| s.spawn(move || half.iter().sum::<i32>()));
        let halves: Vec<_> = halves.collect();
        halves
            .into_iter()
            .map(|half| half.join().unwrap())
            .collect::<Vec<_>>()
    });
    assert_eq!((sums, written), (vec![3, 7], 4));
}

#[test]
fn a_scope_waits_for_tasks_of_tasks_whose_handles_were_dropped() {
    fn tree<'scope>(s: &'scope task::Scope<'scope, '_>, depth: u32, leaves: &'scope AtomicUsize) {
        yield_now();
        if depth == 0 {
            leaves.fetch_add(1, SeqCst);
            return;
        }
        for _ in 0..2 {
            s.spawn(move || tree(s, depth - 1, leaves));
        }
    }
    let leaves = AtomicUsize::new(0);
    task::scope(|s| tree(s, 8, &leaves));
    assert_eq!(leaves.load(SeqCst), 256);
    spawn(|| {
        let leaves = AtomicUsize::new(0);
        task::scope(|s| tree(s, 8, &leaves));
        assert_eq!(leaves.load(SeqCst), 256);
    })
    .join()
    .unwrap();
}

#[test]
fn a_result_that_nobody_takes_is_dropped_before_the_scope_ends() {
    struct Looks<'a>(&'a Cell<u32>);
    impl Drop for Looks<'_> {
        fn drop(&mut self) {
            // Also when it takes its time.
            yield_now();
            self.0.set(self.0.get() + 1);
        }
    }
    let dropped = Cell::new(0);
    task::scope(|s| {
        drop(s.spawn_local(|| Looks(&dropped)));
        let _kept = s.spawn_local(|| Looks(&dropped));
        yield_now();
        let late = s.spawn_local(|| Looks(&dropped));
        yield_now();
        drop(late);
    });
    assert_eq!(dropped.get(), 3);
    // The last thing that the last one does.
    task::scope(|s| drop(s.spawn_local(|| Looks(&dropped))));
    assert_eq!(dropped.get(), 4);
}

#[test]
fn a_forgotten_handle_holds_nobody_up() {
    ends(|| {
        task::scope(|s| std::mem::forget(s.spawn(|| Box::new(1))));
        task::scope(|s| {
            let handle = s.spawn(|| Box::new(1));
            yield_now();
            std::mem::forget(handle);
        });
    });
}

/// A scheduler with a task in a scope of three, which wait each in its own way; their ends are counted.
fn three_in_a_scope(scheduler: &Scheduler, ends: &Drops) -> multitask::JoinHandle<()> {
    let ends = ends.clone();
    scheduler.spawn(move || {
        let borrowed = Cell::new(7);
        let (one, two, three) = (ends.one(), ends.one(), ends.one());
        task::scope(|s| {
            s.spawn_local(|| {
                let _one = one;
                let _waits = OnDrop(|| sleep(Duration::from_micros(50)));
                borrowed.set(8);
                task::park();
            });
            s.spawn_local(|| {
                let _two = two;
                loop {
                    yield_now();
                    borrowed.set(borrowed.get() + 1);
                }
            });
            s.spawn_local(|| {
                let _three = three;
                let borrowed = &borrowed;
                task::scope(|inner| {
                    inner.spawn_local(|| loop {
                        sleep(Duration::from_micros(50));
                        borrowed.set(1);
                    });
                });
            });
        });
        unreachable!("the three never end by themselves");
    })
}

#[test]
fn a_cancel_reaches_the_tasks_of_a_scope_at_every_turn() {
    ends(|| {
        // At the first suspension, at the second, and so on: before its tasks have begun, and in their midst.
        for turns in 0..8 {
            let scheduler = Scheduler::new().unwrap();
            let drops = Drops::default();
            let parent = three_in_a_scope(&scheduler, &drops);
            for _ in 0..turns {
                scheduler.turn(None).unwrap();
            }
            parent.cancel();
            scheduler.run().unwrap();
            assert!(parent.join().unwrap_err().is_cancelled());
            assert_eq!(drops.count(), if turns == 0 { 0 } else { 3 });
        }
    });
}

#[test]
fn a_deadline_round_a_scope_ends_its_tasks_and_waits_for_their_destructors() {
    let (begun, ended) = (Cell::new(0), Cell::new(0));
    // On a machine that has other things to do the time may be up before the task begins.
    let mut limits = std::iter::successors(Some(SHORT), |limit| Some(*limit * 2));
    while begun.get() == 0 {
        let limit = limits.next().expect("they go on for ever");
        let result = timeout(limit, || {
            task::scope(|s| {
                s.spawn_local(|| {
                    begun.set(begun.get() + 1);
                    let _end = OnDrop(|| {
                        sleep(Duration::from_millis(1));
                        ended.set(ended.get() + 1);
                    });
                    task::park();
                });
            })
        });
        assert!(result.is_err());
    }
    assert_eq!((begun.get(), ended.get()), (1, 1));
}

#[test]
fn dropping_a_scheduler_ends_the_scopes_of_its_tasks() {
    ends(|| {
        let scheduler = Scheduler::new().unwrap();
        let drops = Drops::default();
        let parent = three_in_a_scope(&scheduler, &drops);
        settle_a_little(&scheduler);
        drop(scheduler);
        assert!(parent.join().unwrap_err().is_cancelled());
        assert_eq!(drops.count(), 3);
    });
}

fn settle_a_little(scheduler: &Scheduler) {
    for _ in 0..5 {
        scheduler.turn(None).unwrap();
    }
}

#[test]
fn a_panic_that_nobody_joined_comes_out_of_the_scope_when_all_have_ended() {
    let after = Cell::new(false);
    let panic = catch_unwind(AssertUnwindSafe(|| {
        task::scope(|s| {
            s.spawn(|| resume_unwind(Box::new(5)));
            s.spawn_local(|| {
                sleep(Duration::from_millis(1));
                after.set(true);
            });
        });
    }));
    assert_eq!(panic.unwrap_err().downcast_ref(), Some(&5));
    assert!(after.get());
}

#[test]
fn a_panic_that_somebody_joined_does_not() {
    task::scope(|s| {
        let handle = s.spawn(|| resume_unwind(Box::new(5)));
        let panic = handle.join().map(drop::<()>).unwrap_err().into_panic();
        assert_eq!(panic.downcast_ref(), Some(&5));
    });
}

/// Lets tasks go on one after the other, from 1 on; each does its next thing before it waits again.
#[derive(Default)]
struct Turns(Cell<u64>);

impl Turns {
    fn wait_for(&self, turn: u64) {
        while self.0.get() + 1 < turn {
            yield_now();
        }
        self.0.set(turn);
    }
}

#[test]
fn of_several_panics_the_first_comes_out() {
    let turns = Turns::default();
    let panic = catch_unwind(AssertUnwindSafe(|| {
        task::scope(|s| {
            for n in [3, 1, 2] {
                let turns = &turns;
                s.spawn_local(move || {
                    turns.wait_for(n);
                    resume_unwind(Box::new(n));
                });
            }
            // A handle that is dropped when the panic is there already.
            let late = s.spawn(|| resume_unwind(Box::new(0_u64)));
            turns.wait_for(4);
            drop(late);
        });
    }));
    assert_eq!(panic.unwrap_err().downcast_ref(), Some(&1_u64));
}

#[test]
fn a_panic_of_the_closure_waits_for_the_tasks_and_does_not_cancel_them() {
    let done = Cell::new(false);
    let panic = catch_unwind(AssertUnwindSafe(|| {
        task::scope(|s| {
            s.spawn_local(|| {
                sleep(Duration::from_millis(1));
                done.set(true);
            });
            s.spawn(|| resume_unwind(Box::new("of a task")));
            resume_unwind(Box::new("of the closure"));
        });
    }));
    assert_eq!(panic.unwrap_err().downcast_ref(), Some(&"of the closure"));
    assert!(done.get());
}

#[test]
fn a_panic_counts_for_more_than_a_cancel() {
    for in_the_closure in [false, true] {
        let scheduler = Scheduler::new().unwrap();
        let parent = scheduler.spawn(move || {
            task::scope(|s| {
                s.spawn(|| resume_unwind(Box::new(5)));
                s.spawn(task::park);
                if in_the_closure {
                    task::park();
                }
            });
        });
        settle(&scheduler);
        parent.cancel();
        scheduler.run().unwrap();
        let panic = parent.join().unwrap_err().into_panic();
        assert_eq!(panic.downcast_ref(), Some(&5));
    }
}

#[test]
fn tasks_that_come_after_a_cancel_do_not_begin() {
    let begun = Cell::new(0);
    let handles = Cell::new(0);
    task::scope(|s| {
        s.spawn_local(|| {
            begun.set(begun.get() + 1);
            let _more = OnDrop(|| {
                let more = s.spawn_local(|| begun.set(begun.get() + 100));
                handles.set(handles.get() + u32::from(more.join().is_err()));
            });
            task::park();
        });
        yield_now();
        s.cancel();
        s.spawn_local(|| begun.set(begun.get() + 100));
        // The caller itself goes on.
        sleep(Duration::from_micros(1));
        yield_now();
    });
    assert_eq!((begun.get(), handles.get()), (1, 1));
}

#[test]
fn a_scope_in_a_destructor_of_a_cancelled_task_does_its_work() {
    let scheduler = Scheduler::new().unwrap();
    let done = Rc::new(Cell::new(0));
    let count = done.clone();
    let task = scheduler.spawn_local(move || {
        let _cleans_up = OnDrop(|| {
            task::scope(|s| {
                for _ in 0..3 {
                    s.spawn_local(|| {
                        sleep(Duration::from_micros(10));
                        count.set(count.get() + 1);
                    });
                }
            });
        });
        task::park();
    });
    settle(&scheduler);
    task.cancel();
    scheduler.run().unwrap();
    assert!(task.join().unwrap_err().is_cancelled());
    assert_eq!(done.get(), 3);
}

#[test]
fn a_scope_is_shielded_where_its_caller_is() {
    let scheduler = Scheduler::new().unwrap();
    let (done, gate) = (Rc::new(Cell::new(false)), Rc::new(Event::new()));
    let (told, opened) = (done.clone(), gate.clone());
    let task = scheduler.spawn_local(move || {
        task::shield(|| {
            task::scope(|s| {
                s.spawn_local(|| {
                    opened.wait();
                    told.set(true);
                });
            });
        });
    });
    settle(&scheduler);
    task.cancel();
    settle(&scheduler);
    assert!(!task.is_finished());
    gate.set();
    scheduler.run().unwrap();
    assert!(done.get() && task.join().unwrap_err().is_cancelled());
}

#[test]
fn handles_are_joined_with_a_limit_and_cancelled_one_by_one() {
    task::scope(|s| {
        let handle = Builder::new()
            .name("the one".into())
            .spawn_scoped(s, task::park)
            .unwrap();
        assert_eq!(handle.task().name(), Some("the one"));
        let Err(JoinTimeoutError::Timeout(handle)) = handle.join_timeout(SHORT) else {
            panic!("it is parked");
        };
        assert!(!handle.is_finished());
        handle.cancel();
        assert!(handle.join().unwrap_err().is_cancelled());
        let seven = s.spawn(|| 7);
        assert!(matches!(seven.join_timeout(LONG), Ok(7)));
    });
}

#[test]
fn scopes_of_many_threads_and_schedulers_do_not_mix() {
    ends(|| {
        let remote = Remote::start();
        thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| {
                    for n in 0..200 {
                        let sum = AtomicUsize::new(0);
                        task::scope(|s| {
                            for m in 0..n % 7 {
                                let sum = &sum;
                                s.spawn(move || {
                                    yield_now();
                                    sum.fetch_add(m, SeqCst);
                                });
                            }
                        });
                        assert_eq!(sum.into_inner(), (0..n % 7).sum());
                    }
                });
            }
            let far = remote.handle.spawn(|| {
                let sum = Mutex::new(0);
                task::scope(|s| {
                    for n in 0..100 {
                        let sum = &sum;
                        s.spawn(move || *sum.lock().unwrap() += n);
                    }
                });
                sum.into_inner().unwrap()
            });
            assert_eq!(far.join().unwrap(), 4950);
        });
        remote.stop();
    });
}

// ---- scopes that can fail ----

#[test]
fn the_first_failure_cancels_the_others_and_comes_out() {
    ends(|| {
        let (drops, turns) = (Drops::default(), Turns::default());
        let result = task::try_scope(|s| {
            for n in [3, 1, 2] {
                let (one, turns) = (drops.one(), &turns);
                s.spawn_local(move || {
                    let _one = one;
                    turns.wait_for(n);
                    if n < 3 {
                        return Err(n);
                    }
                    task::park();
                    Ok(())
                });
            }
            let one = drops.one();
            s.spawn_local(move || -> Result<(), _> {
                loop {
                    let _one = &one;
                    yield_now();
                }
            });
            // It fails later, on its way out.
            s.spawn_local(|| catch_unwind(task::park).map_err(|_cancelled| 99));
            let _one = drops.one();
            task::park();
            Ok("the closure is interrupted as well")
        });
        assert_eq!(result, Err(1));
        assert_eq!(drops.count(), 5);
    });
}

#[test]
fn a_failure_of_the_closure_cancels_the_tasks() {
    let ended = Cell::new(false);
    let result: Result<(), _> = task::try_scope(|s| {
        s.spawn_local(|| {
            let _end = OnDrop(|| ended.set(true));
            task::park();
            Ok(())
        });
        yield_now();
        Err("no")
    });
    assert_eq!(result, Err("no"));
    assert!(ended.get());
}

#[test]
fn a_scope_without_a_failure_gives_its_value_when_all_have_ended() {
    let last = Cell::new(0);
    let result: Result<_, ()> = task::try_scope(|s| {
        let one = s.spawn(|| Ok(1));
        s.spawn_local(|| {
            sleep(Duration::from_millis(1));
            last.set(3);
            Ok(())
        });
        Ok(one.join().unwrap() + 1)
    });
    assert_eq!((result, last.get()), (Ok(2), 3));
}

#[test]
fn a_scope_that_cancels_its_own_closure_says_so_but_an_error_counts_for_more() {
    let cancelled = catch_unwind(|| {
        task::try_scope(|s| {
            s.cancel();
            task::park();
            Ok::<_, ()>(())
        })
    });
    let panic = cancelled.unwrap_err();
    let text = panic.downcast_ref::<&str>().unwrap();
    assert!(text.contains("closure of a try_scope was cancelled"));
    let failed = task::try_scope(|s| {
        s.cancel();
        Err::<(), _>(7)
    });
    assert_eq!(failed, Err(7));
}

#[test]
fn a_failed_task_looks_cancelled_to_who_joins_it() {
    let seen = Cell::new(false);
    let result: Result<(), _> = task::try_scope(|s| {
        let fails = s.spawn(|| Err::<(), _>("no"));
        task::shield(|| seen.set(matches!(fails.join(), Err(JoinError::Cancelled))));
        Ok(())
    });
    assert_eq!(result, Err("no"));
    assert!(seen.get());
}

#[test]
fn a_panic_in_a_scope_that_can_fail_cancels_the_others_and_comes_out() {
    ends(|| {
        for by_the_closure in [false, true] {
            let ended = Cell::new(0);
            let panic = catch_unwind(AssertUnwindSafe(|| {
                task::try_scope(|s| {
                    for _ in 0..2 {
                        s.spawn_local(|| -> Result<(), ()> {
                            let _end = OnDrop(|| ended.set(ended.get() + 1));
                            task::park();
                            Ok(())
                        });
                    }
                    yield_now();
                    if by_the_closure {
                        resume_unwind(Box::new(5));
                    }
                    s.spawn(|| -> Result<(), ()> { resume_unwind(Box::new(5)) });
                    task::park();
                    Ok(())
                })
            }));
            assert_eq!(panic.unwrap_err().downcast_ref(), Some(&5));
            assert_eq!(ended.get(), 2);
        }
    });
}

#[test]
fn a_scope_that_can_fail_is_cancelled_with_its_caller_and_by_deadlines() {
    ends(|| {
        let drops = Drops::default();
        let one = drops.one();
        let result = timeout(SHORT, || {
            task::try_scope(|s| {
                s.spawn(|| -> Result<(), ()> {
                    let _one = one;
                    task::park();
                    Ok(())
                });
                task::park();
                Ok(())
            })
        });
        assert!(result.is_err());
        assert_eq!(drops.count(), 1);
    });
}
