//! Each primitive of `sync`, with a task that is interrupted at its first suspension, at its second, and so on until
//! none is left: by being cancelled, by a scope round it, and by its own time limit. The others must go on, nothing is
//! lost, and everything is free afterwards.

mod common;

use common::interrupts::{interrupt_everywhere, Trial, Work};
use common::LONG;
use multitask::sync::{
    Arc, Barrier, Condvar, Event, LockTimeoutError, LockTimeoutResult, Mutex, Notify, OnceLock,
    RwLock, Semaphore, WaitGroup,
};
use multitask::{timeout_at, yield_now};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Instant;

/// The guard, if there is one: a victim that is late does nothing more.
fn in_time<G>(locked: LockTimeoutResult<G>) -> Option<G> {
    match locked {
        Ok(guard) => Some(guard),
        Err(LockTimeoutError::Timeout | LockTimeoutError::Cancelled) => None,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn whoever_is_interrupted_at_a_mutex_others_get_it_and_it_is_free_afterwards() {
    interrupt_everywhere(5, || {
        let mutex = Arc::new(Mutex::new(0));
        let done = Arc::new(AtomicUsize::new(0));
        let victim = {
            let (mutex, done) = (mutex.clone(), done.clone());
            move |limit| {
                for _ in 0..3 {
                    let Some(mut count) = in_time(mutex.lock_deadline(limit)) else {
                        return;
                    };
                    yield_now();
                    *count += 1;
                    done.fetch_add(1, SeqCst);
                }
            }
        };
        let other = || {
            let (mutex, done) = (mutex.clone(), done.clone());
            let work = move || {
                for _ in 0..3 {
                    let mut count = mutex.lock().unwrap();
                    yield_now();
                    *count += 1;
                    done.fetch_add(1, SeqCst);
                }
            };
            Box::new(work) as Work
        };
        Trial {
            victim: Box::new(victim),
            others: vec![other(), other()],
            then: Box::new(|| ()),
            end: Box::new({
                let mutex = mutex.clone();
                move || {
                    let count = *mutex.try_lock().expect("free and not poisoned");
                    assert!(count >= 6 && count == done.load(SeqCst));
                }
            }),
        }
    });
}

/// Tokens that some give and others wait for.
#[derive(Default)]
struct Tokens {
    here: Mutex<(usize, bool)>,
    changed: Condvar,
}

impl Tokens {
    /// Waits for one until then; false if none came, or none will.
    fn take(&self, limit: Instant) -> bool {
        let mut here = self.here.lock().unwrap();
        while here.0 == 0 && !here.1 {
            let late;
            (here, late) = self.changed.wait_deadline(here, limit).unwrap();
            if late.timed_out() {
                return false;
            }
        }
        let any = here.0 > 0;
        here.0 -= usize::from(any);
        any
    }
}

#[test]
fn whoever_is_interrupted_at_a_condvar_no_notification_is_lost_and_the_mutex_is_free() {
    interrupt_everywhere(5, || {
        let tokens = Arc::new(Tokens::default());
        let shared = tokens.clone();
        let victim = move |limit| {
            for _ in 0..2 {
                if !shared.take(limit) {
                    return;
                }
                yield_now();
            }
        };
        let takes = {
            let tokens = tokens.clone();
            move || while tokens.take(Instant::now() + LONG) {}
        };
        let gives = {
            let tokens = tokens.clone();
            move || {
                for _ in 0..6 {
                    yield_now();
                    let mut here = tokens.here.lock().unwrap();
                    yield_now();
                    here.0 += 1;
                    tokens.changed.notify_one();
                }
            }
        };
        let closes = {
            let tokens = tokens.clone();
            move || {
                let mut here = tokens.here.try_lock().expect("nobody has it");
                assert_eq!(here.0, 0, "somebody was notified for each");
                here.1 = true;
                tokens.changed.notify_all();
            }
        };
        Trial {
            victim: Box::new(victim),
            others: vec![Box::new(takes), Box::new(gives)],
            then: Box::new(closes),
            end: Box::new(move || assert_eq!(*tokens.here.try_lock().unwrap(), (0, true))),
        }
    });
}

#[test]
fn whoever_is_interrupted_at_an_rwlock_others_get_it_and_it_is_free_afterwards() {
    interrupt_everywhere(5, || {
        let lock = Arc::new(RwLock::new(0));
        let done = Arc::new(AtomicUsize::new(0));
        let victim = {
            let (lock, done) = (lock.clone(), done.clone());
            move |limit| {
                for _ in 0..3 {
                    let Some(mut count) = in_time(lock.write_deadline(limit)) else {
                        return;
                    };
                    yield_now();
                    *count += 1;
                    done.fetch_add(1, SeqCst);
                    drop(count);
                    let Some(_count) = in_time(lock.read_deadline(limit)) else {
                        return;
                    };
                    yield_now();
                }
            }
        };
        let other = || {
            let (lock, done) = (lock.clone(), done.clone());
            let work = move || {
                for _ in 0..3 {
                    let count = lock.read().unwrap();
                    yield_now();
                    drop(count);
                    let mut count = lock.write().unwrap();
                    yield_now();
                    *count += 1;
                    done.fetch_add(1, SeqCst);
                }
            };
            Box::new(work) as Work
        };
        Trial {
            victim: Box::new(victim),
            others: vec![other(), other(), other()],
            then: Box::new(|| ()),
            end: Box::new({
                let lock = lock.clone();
                move || {
                    let count = *lock.try_write().expect("free and not poisoned");
                    assert!(count >= 9 && count == done.load(SeqCst));
                }
            }),
        }
    });
}

#[test]
fn whoever_is_interrupted_at_a_once_another_initializes_it() {
    interrupt_everywhere(2, || {
        let cell = Arc::new(OnceLock::new());
        let runs = Arc::new(AtomicUsize::new(0));
        let work = |name| {
            let (cell, runs) = (cell.clone(), runs.clone());
            move || {
                cell.get_or_init(|| {
                    yield_now();
                    yield_now();
                    runs.fetch_add(1, SeqCst);
                    name
                });
            }
        };
        let (victim, cell) = (work("victim"), cell.clone());
        Trial {
            // Its own limit is a scope.
            victim: Box::new(move |limit| timeout_at(limit, victim).unwrap_or_default()),
            others: vec![Box::new(work("first")), Box::new(work("second"))],
            then: Box::new(|| ()),
            end: Box::new(move || {
                assert_eq!(runs.load(SeqCst), 1);
                assert!(cell.get().is_some());
            }),
        }
    });
}

#[test]
fn whoever_is_interrupted_at_a_semaphore_no_permit_is_lost() {
    interrupt_everywhere(5, || {
        let semaphore = Arc::new(Semaphore::new(3));
        let shared = semaphore.clone();
        let victim = move |limit| {
            for permits in [1, 3, 2] {
                let Ok(_permits) = shared.acquire_many_deadline(permits, limit) else {
                    return;
                };
                yield_now();
            }
        };
        let other = |sizes: [usize; 3]| {
            let semaphore = semaphore.clone();
            let work = move || {
                for permits in sizes {
                    let _permits = semaphore.acquire_many(permits).unwrap();
                    yield_now();
                }
            };
            Box::new(work) as Work
        };
        Trial {
            victim: Box::new(victim),
            others: vec![other([3, 1, 2]), other([2, 2, 3]), other([1, 3, 1])],
            then: Box::new(|| ()),
            end: Box::new({
                let semaphore = semaphore.clone();
                move || assert_eq!(semaphore.available_permits(), 3)
            }),
        }
    });
}

#[test]
fn whoever_is_interrupted_at_a_barrier_another_can_come_for_him() {
    interrupt_everywhere(1, || {
        let barrier = Arc::new(Barrier::new(3));
        let passed = Arc::new(AtomicUsize::new(0));
        let work = || {
            let (barrier, passed) = (barrier.clone(), passed.clone());
            move || {
                yield_now();
                barrier.wait();
                passed.fetch_add(1, SeqCst);
            }
        };
        let (victim, barrier) = (work(), barrier.clone());
        Trial {
            victim: Box::new(move |limit| timeout_at(limit, victim).unwrap_or_default()),
            others: vec![Box::new(work()), Box::new(work())],
            // If the victim has not passed, somebody has to come for it.
            then: Box::new({
                let passed = passed.clone();
                move || {
                    if passed.load(SeqCst) == 0 {
                        assert!(barrier.wait().is_leader());
                    }
                }
            }),
            end: Box::new(move || assert!(passed.load(SeqCst) >= 2)),
        }
    });
}

#[test]
fn whoever_is_interrupted_at_a_notify_no_notification_is_lost() {
    interrupt_everywhere(3, || {
        let notify = Arc::new(Notify::new());
        let taken = Arc::new(AtomicUsize::new(0));
        let victim = {
            let (notify, taken) = (notify.clone(), taken.clone());
            move |limit| {
                for _ in 0..2 {
                    if notify.wait_deadline(limit).is_err() {
                        return;
                    }
                    taken.fetch_add(1, SeqCst);
                    yield_now();
                }
            }
        };
        let takes = || {
            let (notify, taken) = (notify.clone(), taken.clone());
            let work = move || {
                for _ in 0..2 {
                    notify.wait();
                    taken.fetch_add(1, SeqCst);
                    yield_now();
                }
            };
            Box::new(work) as Work
        };
        let gives = {
            let notify = notify.clone();
            move || {
                for _ in 0..6 {
                    yield_now();
                    notify.notify_one();
                    yield_now();
                }
            }
        };
        Trial {
            victim: Box::new(victim),
            others: vec![takes(), takes(), Box::new(gives)],
            then: Box::new(|| ()),
            end: Box::new({
                let taken = taken.clone();
                move || assert!(taken.load(SeqCst) >= 4)
            }),
        }
    });
}

#[test]
fn whoever_is_interrupted_at_an_event_or_a_group_the_others_go_on() {
    interrupt_everywhere(2, || {
        let (event, group) = (Arc::new(Event::new()), WaitGroup::new());
        let work = || {
            let (event, group) = (event.clone(), group.clone());
            move || {
                event.wait();
                yield_now();
                group.wait();
            }
        };
        let (victim, other) = (work(), work());
        let sets = move || {
            yield_now();
            event.set();
            yield_now();
            group.wait();
        };
        Trial {
            victim: Box::new(move |limit| timeout_at(limit, victim).unwrap_or_default()),
            others: vec![Box::new(other), Box::new(sets)],
            then: Box::new(|| ()),
            end: Box::new(|| ()),
        }
    });
}
