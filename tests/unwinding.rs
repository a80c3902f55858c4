//! A stack that unwinds is nobody's business but its own, also while it stands still in a destructor.

mod common;

use common::{ends, scheduler, settle, Drops, OnDrop, LONG};
use multitask::{sleep, spawn, task, timeout, yield_now, Scheduler, Timeout};
use std::cell::{Cell, OnceCell};
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::rc::Rc;
use std::sync::{mpsc, Arc, Mutex};
use std::thread;
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(5);

/// A task of this thread that stands still in a destructor, while it unwinds, until it is unparked.
fn standing_in_a_destructor(scheduler: &Scheduler) -> task::JoinHandle<()> {
    let handle = scheduler.spawn_local(|| {
        let _stands = OnDrop(|| {
            assert!(thread::panicking());
            task::park();
            assert!(thread::panicking());
        });
        task::park();
    });
    settle(scheduler);
    handle.cancel();
    settle(scheduler);
    handle
}

#[test]
fn a_task_that_waits_in_a_destructor_leaves_the_others_their_deadlines() {
    ends(|| {
        let scheduler = scheduler();
        let stands = standing_in_a_destructor(&scheduler);
        scheduler.block_on(|| {
            assert!(!thread::panicking());
            for wait in [
                task::park as fn(),
                || sleep(LONG),
                || loop {
                    yield_now();
                },
            ] {
                assert_eq!(timeout(SHORT, wait), Err(Timeout));
            }
        });
        assert!(!thread::panicking());
        assert!(timeout(SHORT, task::park).is_err());
        stands.task().unpark();
        scheduler.run().unwrap();
        assert!(stands.join().unwrap_err().is_cancelled());
    });
}

#[test]
fn a_guard_that_cancels_and_joins_its_child_ends_whatever_the_child_does() {
    ends(|| {
        let bodies: [fn(); 4] = [
            || loop {
                yield_now();
            },
            || loop {
                sleep(Duration::from_micros(20));
            },
            || loop {
                task::park_timeout(Duration::from_micros(20));
            },
            || {
                // It does the same, once more.
                let child = spawn(|| loop {
                    yield_now();
                });
                let mut child = Some(child);
                let _guard = OnDrop(move || {
                    let child = child.take().unwrap();
                    child.cancel();
                    assert!(child.join().unwrap_err().is_cancelled());
                });
                loop {
                    yield_now();
                }
            },
        ];
        let scheduler = scheduler();
        for body in bodies {
            let joined = Rc::new(Cell::new(false));
            let seen = joined.clone();
            let parent = scheduler.spawn_local(move || {
                let mut child = Some(spawn(body));
                let _guard = OnDrop(move || {
                    let child = child.take().unwrap();
                    child.cancel();
                    seen.set(child.join().unwrap_err().is_cancelled());
                });
                task::park();
            });
            for _ in 0..3 {
                scheduler.turn(Some(Duration::from_millis(1))).unwrap();
            }
            parent.cancel();
            scheduler.run().unwrap();
            assert!(joined.get());
        }
    });
}

#[test]
fn locks_of_others_are_not_poisoned_by_a_task_that_stands_in_a_destructor() {
    let scheduler = scheduler();
    let stands = standing_in_a_destructor(&scheduler);
    let mutex = Arc::new(Mutex::new(0));
    let lock = mutex.clone();
    scheduler.block_on(move || *lock.lock().unwrap() += 1);
    *mutex.lock().unwrap() += 1;
    assert!(!mutex.is_poisoned());
    stands.task().unpark();
    scheduler.run().unwrap();
    // Its own still are.
    let own = mutex.clone();
    let poisons = scheduler.spawn(move || {
        let _waits = OnDrop(yield_now);
        let _guard = own.lock().unwrap();
        let _waits = OnDrop(yield_now);
        task::park();
    });
    settle(&scheduler);
    poisons.cancel();
    scheduler.run().unwrap();
    assert!(mutex.is_poisoned());
}

#[test]
fn a_scheduler_that_is_dropped_by_a_panic_ends_its_tasks_whatever_they_do() {
    ends(|| {
        let drops = Drops::default();
        let panic = catch_unwind(AssertUnwindSafe(|| {
            let scheduler = scheduler();
            for n in 0..6 {
                let one = drops.one();
                scheduler.spawn(move || {
                    let _one = one;
                    let _waits = OnDrop(|| sleep(Duration::from_micros(50)));
                    loop {
                        match n % 3 {
                            0 => yield_now(),
                            1 => sleep(Duration::from_micros(50)),
                            _ => task::park_timeout(Duration::from_micros(50)),
                        }
                    }
                });
            }
            scheduler.block_on(|| {
                yield_now();
                panic!("the story ends");
            });
        }));
        assert!(panic.is_err());
        assert_eq!(drops.count(), 6);
        assert!(!thread::panicking());
    });
}

#[test]
fn unwindings_of_many_tasks_are_kept_apart() {
    ends(|| {
        let scheduler = scheduler();
        let drops = Drops::default();
        for n in 0..200 {
            let mut one = Some(drops.one());
            scheduler.spawn(move || {
                let _outer = OnDrop(move || {
                    assert!(thread::panicking());
                    for _ in 0..n % 7 {
                        yield_now();
                        assert!(thread::panicking());
                    }
                    // Two deep: a panic that is caught, in a destructor, with waits on its way.
                    let caught = catch_unwind(|| {
                        let _inner = OnDrop(|| {
                            sleep(Duration::from_micros(n % 5));
                            assert!(thread::panicking());
                        });
                        std::panic::resume_unwind(Box::new(n));
                    });
                    assert_eq!(caught.unwrap_err().downcast_ref(), Some(&n));
                    assert!(thread::panicking());
                    yield_now();
                    drop(one.take());
                });
                if n % 2 == 0 {
                    task::park();
                } else {
                    let _ = timeout(Duration::from_micros(n), task::park);
                    assert!(!thread::panicking());
                    yield_now();
                    assert!(!thread::panicking());
                    task::park();
                }
            });
        }
        // Calm ones beside them.
        for _ in 0..10 {
            let one = drops.one();
            scheduler.spawn(move || {
                let _one = one;
                for _ in 0..50 {
                    assert!(!thread::panicking());
                    assert_eq!(timeout(Duration::from_micros(20), task::park), Err(Timeout));
                }
            });
        }
        for _ in 0..20 {
            scheduler.turn(Some(Duration::from_micros(100))).unwrap();
        }
        scheduler.handle().cancel_all();
        scheduler.run().unwrap();
        assert_eq!(drops.count(), 210);
        assert!(!thread::panicking());
    });
}

#[test]
fn a_thread_that_unwinds_may_wait_and_run_its_tasks() {
    ends(|| {
        let ticks = Rc::new(Cell::new(0));
        let count = ticks.clone();
        let ticker = multitask::spawn_local(move || loop {
            assert!(!thread::panicking());
            assert_eq!(timeout(Duration::from_micros(50), task::park), Err(Timeout));
            count.set(count.get() + 1);
        });
        let panic = catch_unwind(AssertUnwindSafe(|| {
            let _waits = OnDrop(|| {
                while ticks.get() <= 2 {
                    assert!(thread::panicking());
                    sleep(SHORT);
                }
                assert!(thread::panicking());
            });
            std::panic::resume_unwind(Box::new(5));
        }));
        assert_eq!(panic.unwrap_err().downcast_ref(), Some(&5));
        assert!(!thread::panicking());
        ticker.cancel();
        assert!(ticker.join().unwrap_err().is_cancelled());
    });
}

#[test]
fn many_threads_set_unwindings_aside_at_once() {
    ends(|| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                thread::spawn(|| {
                    for _ in 0..50 {
                        let scheduler = scheduler();
                        let stand: Vec<_> = (0..4)
                            .map(|_| standing_in_a_destructor(&scheduler))
                            .collect();
                        assert!(!thread::panicking());
                        for handle in stand {
                            handle.task().unpark();
                        }
                        scheduler.run().unwrap();
                        assert!(!thread::panicking());
                    }
                })
            })
            .collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    });
}

// ---- panics ----

#[test]
fn a_panic_arrives_as_it_was_thrown_though_destructors_wait_on_its_way() {
    ends(|| {
        let scheduler = scheduler();
        let panics: Vec<_> = (0..50)
            .map(|n| {
                scheduler.spawn(move || {
                    let _joins = OnDrop(|| assert_eq!(spawn(|| 5).join().unwrap(), 5));
                    let _sleeps = OnDrop(|| sleep(Duration::from_micros(n % 7)));
                    let _yields = OnDrop(yield_now);
                    if n % 10 == 0 {
                        panic!("number {n}");
                    }
                    resume_unwind(Box::new(n))
                })
            })
            .collect();
        scheduler.run().unwrap();
        for (n, task) in (0..).zip(panics) {
            let panic: Result<(), _> = task.join();
            let panic = panic.unwrap_err().into_panic();
            match panic.downcast_ref::<u64>() {
                Some(&thrown) => assert_eq!(thrown, n),
                None => assert_eq!(panic.downcast_ref(), Some(&format!("number {n}"))),
            }
        }
    });
}

#[test]
fn a_panic_of_one_task_and_a_destructor_in_which_another_waits_know_nothing_of_each_other() {
    ends(|| {
        let scheduler = scheduler();
        for panics_first in [false, true] {
            let cancelled = (!panics_first).then(|| standing_in_a_destructor(&scheduler));
            let waits = scheduler.spawn_local(|| {
                let _waits = OnDrop(task::park);
                panic!("first");
            });
            settle(&scheduler);
            let panics = scheduler.spawn_local(|| -> () { panic!("second") });
            let calm = scheduler.spawn_local(thread::panicking);
            settle(&scheduler);
            assert!(!waits.is_finished() && !thread::panicking());
            assert_eq!(panics.join().unwrap_err().message(), Some("second"));
            assert!(!calm.join().unwrap());
            waits.task().unpark();
            settle(&scheduler);
            let first: Result<(), _> = waits.join();
            assert_eq!(first.unwrap_err().message(), Some("first"));
            if let Some(cancelled) = cancelled {
                cancelled.task().unpark();
                scheduler.run().unwrap();
                assert!(cancelled.join().unwrap_err().is_cancelled());
            }
        }
    });
}

#[test]
fn a_panic_in_a_destructor_while_nothing_unwinds_is_the_task_s_and_the_other_destructors_run() {
    let scheduler = scheduler();
    let drops = Drops::default();
    for waits in [false, true] {
        let one = drops.one();
        let before = drops.count();
        let task = scheduler.spawn(move || {
            let _one = one;
            let _waits = OnDrop(yield_now);
            let _panics = OnDrop(|| {
                if waits {
                    yield_now();
                }
                panic!("in a destructor");
            });
        });
        scheduler.run().unwrap();
        let panic = task.join().unwrap_err();
        assert_eq!(panic.message(), Some("in a destructor"));
        assert_eq!(drops.count(), before + 1);
    }
}

// ---- schedulers that go in odd places ----

#[test]
fn a_scheduler_that_goes_with_a_task_that_unwinds_ends_its_own_tasks_as_anywhere() {
    ends(|| {
        let outer = scheduler();
        let drops = Drops::default();
        let one = drops.one();
        let holder = outer.spawn_local(move || {
            let inner = scheduler();
            inner.spawn(move || {
                let mut one = Some(one);
                let _waits = OnDrop(move || {
                    assert!(thread::panicking());
                    // The others of this one are calm.
                    assert!(
                        timeout(Duration::from_micros(50), || spawn(thread::panicking)
                            .join())
                        .is_ok_and(|refused| refused.is_err())
                    );
                    sleep(Duration::from_micros(50));
                    drop(one.take());
                });
                loop {
                    yield_now();
                }
            });
            inner.turn(Some(Duration::ZERO)).unwrap();
            let _outer_waits_too = OnDrop(yield_now);
            panic!("with a scheduler in its frame");
        });
        outer.run().unwrap();
        let panic: Result<(), _> = holder.join();
        let panic = panic.unwrap_err();
        assert_eq!(panic.message(), Some("with a scheduler in its frame"));
        assert_eq!(drops.count(), 1);
    });
}

#[test]
fn a_scheduler_dropped_by_a_task_of_its_own_cancels_the_others_and_goes_on_below() {
    ends(|| {
        for workers in [1, 3] {
            let built = Scheduler::builder().workers(workers).build();
            let owner = Rc::new(built.unwrap());
            let (own, handle, drops) = (owner.clone(), owner.handle(), Drops::default());
            let one = drops.one();
            let other = owner.spawn(move || {
                let mut one = Some(one);
                let _slow = OnDrop(move || {
                    sleep(Duration::from_micros(50));
                    drop(one.take());
                });
                loop {
                    yield_now();
                }
            });
            let elsewhere = owner.spawn_on(workers - 1, || loop {
                sleep(Duration::from_micros(50));
            });
            let last = owner.spawn_local(move || {
                yield_now();
                drop(own);
                // It was spared, but nothing begins here any more.
                yield_now();
                let late: Result<(), _> = spawn(|| panic!("it began")).join();
                assert!(late.unwrap_err().is_cancelled());
                5
            });
            drop(owner);
            // These run the loop, which no scheduler owns.
            assert_eq!(last.join().unwrap(), 5);
            assert!(elsewhere.join().unwrap_err().is_cancelled());
            assert!(other.join().unwrap_err().is_cancelled());
            assert_eq!(drops.count(), 1);
            assert!(handle.spawn(|| ()).join().unwrap_err().is_cancelled());
        }
    });
}

#[test]
fn a_scheduler_in_a_thread_local_ends_its_tasks_when_the_thread_does() {
    ends(|| {
        thread_local! {
            static EARLY: Rc<Cell<u32>> = Rc::default();
            static KEPT: OnceCell<Scheduler> = const { OnceCell::new() };
            static LATE: Rc<Cell<u32>> = Rc::default();
        }
        for _ in 0..20 {
            let (tell, told) = mpsc::channel();
            thread::spawn(move || {
                // Of the two, one is gone before the scheduler is, and one after it.
                EARLY.with(|early| early.set(1));
                KEPT.with(|kept| kept.set(scheduler()).unwrap());
                LATE.with(|late| late.set(1));
                KEPT.with(|kept| {
                    let kept = kept.get().unwrap();
                    kept.spawn_local(move || {
                        let _waits = OnDrop(move || {
                            sleep(Duration::from_micros(20));
                            let seen = [EARLY.try_with(|_| ()), LATE.try_with(|_| ())];
                            tell.send(seen.map(|seen| seen.is_ok())).unwrap();
                        });
                        task::park();
                    });
                    settle(kept);
                });
            })
            .join()
            .unwrap();
            let seen = told.recv().expect("its destructor ran");
            assert_ne!(seen[0], seen[1]);
        }
    });
}
