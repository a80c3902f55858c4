//! Time limits: scopes, their nesting, the operations' own, and sleeping; in tasks and on plain threads alike.

mod common;

use common::{ends, everywhere, scheduler, settle, Drops, OnDrop, Random, LONG};
use multitask::net::{TcpListener, TcpStream};
use multitask::task::{self, JoinTimeoutError};
use multitask::{
    sleep, sleep_until, spawn, spawn_local, timeout, timeout_at, yield_now, Scheduler, Timeout,
};
use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, Read};
use std::panic::catch_unwind;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(5);

/// How long `f` takes, which is no longer than anybody has patience for.
fn timed<T>(f: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let value = f();
    let elapsed = start.elapsed();
    assert!(elapsed < Duration::from_secs(30), "{elapsed:?}");
    (value, elapsed)
}

fn pair() -> (TcpStream, std::net::TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let far = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener.accept().unwrap().0, far)
}

// ---- one scope ----

#[test]
fn a_scope_ends_every_kind_of_wait() {
    everywhere(|| {
        let waits: [fn(); 8] = [
            task::park,
            || sleep(LONG),
            || sleep(Duration::MAX),
            || task::park_timeout(LONG),
            || drop(TcpListener::bind("127.0.0.1:0").unwrap().accept()),
            || drop(pair().0.read(&mut [0])),
            || loop {
                yield_now();
            },
            || loop {
                sleep(Duration::ZERO);
            },
        ];
        for wait in waits {
            let (outcome, elapsed) = timed(|| timeout(SHORT, wait));
            assert_eq!(outcome, Err(Timeout));
            assert!(elapsed >= SHORT, "{elapsed:?}");
        }
    });
}

#[test]
fn a_scope_ends_a_join_and_the_task_goes_on() {
    everywhere(|| {
        let child = spawn(|| {
            task::park();
            5
        });
        let task = child.task().clone();
        let (tell, told) = mpsc::channel();
        assert!(timeout(SHORT, || child.join().unwrap()).is_err());
        spawn(move || tell.send(()).unwrap()).join().unwrap();
        told.recv().unwrap();
        task.unpark();
    });
}

#[test]
fn a_value_that_comes_in_time_wins_over_the_deadline() {
    everywhere(|| {
        assert_eq!(timeout(LONG, || 5), Ok(5));
        assert_eq!(timeout(Duration::ZERO, || 5), Ok(5));
        assert_eq!(timeout_at(Instant::now(), || 5), Ok(5));
        // The deadline passes, but nothing waits.
        let busy = || {
            let start = Instant::now();
            while start.elapsed() < SHORT {
                std::hint::spin_loop();
            }
            5
        };
        assert_eq!(timeout(Duration::from_micros(1), busy), Ok(5));
        // A token that is there is taken without waiting.
        task::current().unpark();
        assert_eq!(timeout(Duration::ZERO, task::park), Ok(()));
    });
}

#[test]
fn no_time_at_all_ends_the_first_wait() {
    everywhere(|| {
        for wait in [task::park as fn(), || sleep(LONG), yield_now] {
            assert_eq!(timed(|| timeout(Duration::ZERO, wait)).0, Err(Timeout));
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(
            timed(|| timeout(Duration::ZERO, || listener.accept().map(drop)))
                .0
                .is_err()
        );
    });
}

#[test]
fn a_time_beyond_the_clock_is_never() {
    everywhere(|| {
        for never in [
            Duration::MAX,
            Duration::from_secs(u64::MAX / 4),
            LONG * 24 * 365 * 100,
        ] {
            assert_eq!(timeout(never, || sleep(SHORT)), Ok(()));
            assert_eq!(
                timeout(never, || timeout(SHORT, task::park)),
                Ok(Err(Timeout))
            );
            assert_eq!(timeout(SHORT, || timeout(never, task::park)), Err(Timeout));
            assert_eq!(timeout(SHORT, || sleep(never)), Err(Timeout));
            assert_eq!(timeout(SHORT, || task::park_timeout(never)), Err(Timeout));
        }
    });
}

#[test]
fn a_deadline_counts_from_the_call_and_not_from_the_wait() {
    everywhere(|| {
        let woke = Rc::new(Cell::new(false));
        let sleeper = Rc::new(RefCell::new(None));
        let (tell, keep) = (woke.clone(), sleeper.clone());
        let (outcome, elapsed) = timed(|| {
            timeout(SHORT * 2, || {
                let start = Instant::now();
                while start.elapsed() < SHORT * 2 {
                    std::hint::spin_loop();
                }
                // The time is up. Counted from the wait there would be more left than this one sleeps.
                let sleeps = spawn_local(move || {
                    sleep(SHORT);
                    tell.set(true);
                });
                keep.replace(Some(sleeps));
                task::park();
            })
        });
        assert_eq!(outcome, Err(Timeout));
        assert!(!woke.get());
        assert!(elapsed >= SHORT * 2);
        let sleeper = sleeper.take().expect("spawned");
        sleeper.join().unwrap();
        let (_, elapsed) = timed(|| timeout_at(Instant::now() + SHORT, task::park));
        assert!(elapsed >= SHORT);
    });
}

#[test]
fn destructors_run_and_the_next_scope_starts_afresh() {
    everywhere(|| {
        let drops = Drops::default();
        for round in 1..=50 {
            let one = drops.one();
            let outcome = timeout(Duration::from_micros(100), || {
                let _one = one;
                task::park();
            });
            assert_eq!(outcome, Err(Timeout));
            assert_eq!(drops.count(), round);
            assert!(!std::thread::panicking());
        }
        sleep(SHORT);
        yield_now();
    });
}

#[test]
fn a_panic_passes_through_scopes() {
    everywhere(|| {
        let panic =
            catch_unwind(|| timeout(LONG, || timeout(LONG, || panic!("as it was")))).unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"as it was"));
        // And leaves none behind.
        sleep(Duration::from_micros(1));
    });
}

// ---- nesting ----

#[test]
fn the_inner_scope_ends_if_its_deadline_is_the_nearer_one() {
    everywhere(|| {
        let outcome = timeout(LONG, || {
            let inner = timeout(SHORT, task::park);
            sleep(Duration::from_micros(1));
            inner
        });
        assert_eq!(outcome, Ok(Err(Timeout)));
    });
}

#[test]
fn an_outer_deadline_passes_through_the_inner_scopes() {
    everywhere(|| {
        let reached = Cell::new(false);
        let outcome = timeout(SHORT, || {
            let _inner = timeout(LONG, || timeout(2 * LONG, task::park));
            reached.set(true);
        });
        assert_eq!(outcome, Err(Timeout));
        assert!(!reached.get());
    });
}

#[test]
fn of_equal_deadlines_the_inner_scope_ends_first_and_the_outer_one_at_the_next_wait() {
    everywhere(|| {
        let deadline = Instant::now() + SHORT;
        let inner = timeout_at(deadline, || timeout_at(deadline, task::park));
        assert_eq!(inner, Ok(Err(Timeout)));
        let deadline = Instant::now() + SHORT;
        let reached = Cell::new(false);
        let outer = timeout_at(deadline, || {
            assert_eq!(timeout_at(deadline, task::park), Err(Timeout));
            reached.set(true);
            task::park();
        });
        assert_eq!(outer, Err(Timeout));
        assert!(reached.get());
    });
}

#[test]
fn each_of_many_nested_scopes_answers_for_itself() {
    everywhere(|| {
        fn nest(deadlines: &[Duration], start: Instant, path: &RefCell<Vec<usize>>) {
            match deadlines {
                [] => task::park(),
                [first, rest @ ..] => {
                    let outcome = timeout_at(start + *first, || nest(rest, start, path));
                    if outcome.is_err() {
                        path.borrow_mut().push(rest.len());
                        assert!(start.elapsed() >= *first);
                        task::park();
                    }
                }
            }
        }
        let mut random = Random::new(5);
        for _ in 0..20 {
            let mut deadlines: Vec<_> = (0..6)
                .map(|_| Duration::from_micros(random.below(3_000) as u64))
                .collect();
            deadlines[0] = Duration::from_millis(4);
            let path = RefCell::new(Vec::new());
            let start = Instant::now();
            assert!(
                timeout_at(start + deadlines[0], || nest(&deadlines[1..], start, &path)).is_err()
            );
            // Each expired scope is outside of the one before, and lives no longer than the ones round it allow.
            let expired = path.into_inner();
            assert!(expired.is_sorted() && !expired.is_empty(), "{expired:?}");
            let mut last = Duration::ZERO;
            for left in expired {
                let deadline = deadlines[deadlines.len() - 1 - left];
                assert!(deadline >= last);
                last = deadline;
            }
        }
    });
}

#[test]
fn a_swallowed_expiry_is_met_again_at_the_next_wait() {
    everywhere(|| {
        let caught = Cell::new(0);
        let outcome = timeout(SHORT, || {
            for wait in [
                task::park as fn(),
                || sleep(LONG),
                yield_now,
                || task::park_timeout(LONG),
            ] {
                assert!(catch_unwind(wait).is_err());
                caught.set(caught.get() + 1);
            }
            task::park();
        });
        assert_eq!(outcome, Err(Timeout));
        assert_eq!(caught.get(), 4);
    });
}

// ---- an operation's own limit ----

#[test]
fn an_operations_own_limit_is_its_error_and_does_not_unwind() {
    everywhere(|| {
        let (mut near, _far) = pair();
        near.set_read_timeout(Some(SHORT)).unwrap();
        let (outcome, elapsed) = timed(|| timeout(LONG, || near.read(&mut [0]).unwrap_err()));
        let error = outcome.unwrap();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(error.get_ref().unwrap().is::<Timeout>());
        assert!(elapsed >= SHORT);
        let parked = spawn(task::park);
        match timeout(LONG, || parked.join_timeout(SHORT)).unwrap() {
            Err(JoinTimeoutError::Timeout(parked)) => {
                parked.task().unpark();
                parked.join().unwrap();
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(timeout(LONG, || task::park_timeout(SHORT)), Ok(()));
        assert_eq!(timeout(LONG, || sleep(SHORT)), Ok(()));
    });
}

#[test]
fn a_scope_whose_deadline_is_nearer_than_the_operations_own_unwinds() {
    everywhere(|| {
        let (mut near, _far) = pair();
        near.set_read_timeout(Some(LONG)).unwrap();
        assert!(timeout(SHORT, || near.read(&mut [0]).map(drop)).is_err());
        let parked = spawn(task::park);
        let task = parked.task().clone();
        assert!(timeout(SHORT, || parked.join_timeout(LONG).map_err(drop)).is_err());
        task.unpark();
        assert_eq!(timeout(SHORT, || task::park_timeout(LONG)), Err(Timeout));
        assert_eq!(
            timeout(SHORT, || sleep_until(Instant::now() + LONG)),
            Err(Timeout)
        );
    });
}

#[test]
fn a_timeout_becomes_an_error_of_input_and_output() {
    let error = io::Error::from(timeout(Duration::ZERO, yield_now).unwrap_err());
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(error.get_ref().unwrap().is::<Timeout>());
}

// ---- shields ----

#[test]
fn a_shield_defers_outer_deadlines_to_its_end_and_keeps_inner_ones() {
    everywhere(|| {
        let reached = Cell::new(0);
        let (outcome, elapsed) = timed(|| {
            timeout(Duration::from_millis(1), || {
                task::shield(|| {
                    sleep(SHORT);
                    yield_now();
                    reached.set(1);
                    assert_eq!(timeout(Duration::from_micros(10), task::park), Err(Timeout));
                    reached.set(2);
                });
                reached.set(3);
            })
        });
        assert_eq!(outcome, Err(Timeout));
        assert_eq!(reached.get(), 2);
        assert!(elapsed >= SHORT);
        assert_eq!(timeout(LONG, || task::shield(|| 5)), Ok(5));
    });
}

// ---- destructors ----

#[test]
fn a_destructor_of_an_expired_scope_sleeps_for_real_and_reads_say_timed_out() {
    everywhere(|| {
        let (mut near, _far) = pair();
        let error = RefCell::new(None);
        let (outcome, elapsed) = timed(|| {
            timeout(SHORT, || {
                let _tries = OnDrop(|| {
                    sleep(2 * SHORT);
                    yield_now();
                    task::park_timeout(Duration::from_micros(10));
                    *error.borrow_mut() = Some(near.read(&mut [0]).unwrap_err());
                    let exact = near.read_exact(&mut [0; 2]).unwrap_err();
                    assert_eq!(exact.kind(), ErrorKind::TimedOut);
                });
                task::park();
            })
        });
        assert_eq!(outcome, Err(Timeout));
        assert!(elapsed >= 3 * SHORT, "{elapsed:?}");
        let error = error.take().unwrap();
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
        assert!(error.get_ref().unwrap().is::<Timeout>());
    });
}

#[test]
fn a_scope_inside_of_a_destructor_bounds_what_can_fail() {
    everywhere(|| {
        let (mut near, _far) = pair();
        let seen = Cell::new(false);
        let unwound = timed(|| {
            timeout(SHORT, || {
                let _tries = OnDrop(|| {
                    let inner = timeout(SHORT, || near.read(&mut [0]).unwrap_err());
                    assert_eq!(inner.unwrap().kind(), ErrorKind::TimedOut);
                    seen.set(true);
                });
                task::park();
            })
        });
        assert_eq!(unwound.0, Err(Timeout));
        assert!(seen.get());
    });
}

#[test]
fn an_outer_deadline_that_passes_in_a_destructor_of_the_inner_one_is_met_after_it() {
    everywhere(|| {
        let reached = Cell::new(false);
        let outcome = timeout(2 * SHORT, || {
            let inner = timeout(SHORT, || {
                let _slow = OnDrop(|| sleep(3 * SHORT));
                task::park();
            });
            assert_eq!(inner, Err(Timeout));
            reached.set(true);
            task::park();
        });
        assert_eq!(outcome, Err(Timeout));
        assert!(reached.get());
    });
}

// ---- sleeping ----

#[test]
fn a_sleep_is_never_too_short_and_none_yields() {
    everywhere(|| {
        for micros in [1, 10, 100, 1_000, 3_333] {
            let duration = Duration::from_micros(micros);
            assert!(timed(|| sleep(duration)).1 >= duration);
            let deadline = Instant::now() + duration;
            sleep_until(deadline);
            assert!(Instant::now() >= deadline);
        }
        let start = Instant::now();
        sleep_until(start);
        sleep(Duration::ZERO);
    });
    let scheduler = scheduler();
    let order = Rc::new(RefCell::new(Vec::new()));
    for name in ["a", "b"] {
        let order = order.clone();
        scheduler.spawn_local(move || {
            for _ in 0..2 {
                order.borrow_mut().push(name);
                sleep(Duration::ZERO);
            }
        });
    }
    scheduler.run().unwrap();
    assert_eq!(*order.borrow(), ["a", "b", "a", "b"]);
}

#[test]
fn sleepers_wake_in_the_order_of_their_deadlines() {
    let scheduler = Scheduler::new().unwrap();
    let mut random = Random::new(9);
    // Those that are due at one look at the clock may come in any order within a tick.
    let tick = Duration::from_micros(10);
    loop {
        let woken = Rc::new(RefCell::new(Vec::new()));
        let start = Instant::now() + Duration::from_millis(100);
        for _ in 0..2_000 {
            let deadline = start + Duration::from_micros(random.below(20_000) as u64);
            let woken = woken.clone();
            scheduler.spawn_local(move || {
                sleep_until(deadline);
                assert!(Instant::now() >= deadline);
                woken.borrow_mut().push(deadline);
            });
        }
        settle(&scheduler);
        let all_slept = Instant::now() < start;
        scheduler.run().unwrap();
        let woken = woken.borrow();
        assert_eq!(woken.len(), 2_000);
        if all_slept {
            return assert!(woken.windows(2).all(|pair| pair[1] + tick >= pair[0]));
        }
    }
}

#[test]
fn whose_time_is_up_does_not_wait_behind_all_who_are_ready() {
    const CROWD: usize = 10_000;
    let scheduler = Scheduler::new().unwrap();
    let (runs, until) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(None)));
    let sleeper = {
        let (runs, until) = (runs.clone(), until.clone());
        scheduler.spawn_local(move || {
            let deadline = Instant::now() + SHORT;
            until.set(Some(deadline));
            sleep_until(deadline);
            runs.get()
        })
    };
    for _ in 0..CROWD {
        let (runs, until) = (runs.clone(), until.clone());
        scheduler.spawn_local(move || {
            // The first of them lasts until the sleeper's time is up.
            while until
                .get()
                .is_some_and(|until| Instant::now() < until + SHORT)
            {}
            runs.set(runs.get() + 1);
        });
    }
    scheduler.run().unwrap();
    assert_eq!(runs.get(), CROWD);
    let before = sleeper.join().unwrap();
    assert!(before < 1_000, "{before} of {CROWD} ran before");
}

#[test]
fn those_whose_time_is_up_without_end_leave_half_of_the_turns_to_the_others() {
    ends(|| {
        let scheduler = Scheduler::new().unwrap();
        let (naps, over) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
        for _ in 0..1_000 {
            let (naps, over) = (naps.clone(), over.clone());
            scheduler.spawn_local(move || {
                while !over.get() {
                    sleep(Duration::from_nanos(1));
                    naps.set(naps.get() + 1);
                }
            });
        }
        let turns = 10_000;
        let yields = scheduler.spawn_local(move || {
            (0..100).for_each(|_| yield_now());
            let before = naps.get();
            (0..turns).for_each(|_| yield_now());
            over.set(true);
            naps.get() - before
        });
        scheduler.run().unwrap();
        // A lone one has a turn whenever those of the timers have had theirs, of whom there are 32 at the most.
        let naps = yields.join().unwrap();
        assert!(naps <= 33 * turns, "{naps} for {turns} turns");
    });
}

#[test]
fn many_that_are_due_at_once_go_on_in_order_though_others_are_ready() {
    ends(|| {
        let scheduler = Scheduler::new().unwrap();
        let order = Rc::new(RefCell::new(Vec::new()));
        const MANY: u32 = 1_000;
        // Time enough for all to begin.
        let start = Instant::now() + Duration::from_secs(1);
        // Their deadlines are ticks apart.
        let deadline = move |n| start + Duration::from_micros(20) * n;
        for n in (0..MANY).rev() {
            let order = order.clone();
            scheduler.spawn_local(move || {
                sleep_until(deadline(n));
                order.borrow_mut().push(n);
            });
        }
        settle(&scheduler);
        assert!(Instant::now() < start, "it takes a second to begin");
        // While it runs all become due.
        scheduler.spawn_local(move || while Instant::now() < deadline(MANY) {});
        for _ in 0..50 {
            let order = order.clone();
            scheduler.spawn_local(move || {
                while order.borrow().len() < MANY as usize {
                    yield_now();
                }
            });
        }
        scheduler.run().unwrap();
        assert!(order.borrow().iter().copied().eq(0..MANY));
    });
}
