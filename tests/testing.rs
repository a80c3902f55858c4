//! The scheduler for tests: its clock, its order, and what it tells.

mod common;

use common::files::Folder;
use common::{ends, OnDrop};
use multitask::io::{pipe, Interest};
use multitask::sync::{mpsc, Event, Mutex};
use multitask::task::{self, JoinTimeoutError};
use multitask::testing::{self, assert_switches, count_switches, explore, run, run_with_seed};
use multitask::time::{interval, now, MissedTick, Timer};
use multitask::{net, sleep, spawn, spawn_local, timeout, yield_now, Timeout};
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::process::{Command, Output};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

const NANO: Duration = Duration::from_nanos(1);
/// About: and no whole number of the ticks of a wheel.
const HOUR: Duration = Duration::new(3600, 1);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

fn new() -> testing::Scheduler {
    testing::Scheduler::new().unwrap()
}

// ---- the clock ----

#[test]
fn a_year_of_sleep_is_a_year_to_the_nanosecond_and_no_time_outside() {
    let before = Instant::now();
    let scheduler = new();
    scheduler.block_on(|| {
        let start = now();
        for _ in 0..100 {
            sleep(YEAR + NANO);
        }
        assert_eq!(now() - start, 100 * (YEAR + NANO));
    });
    assert_eq!(scheduler.elapsed(), 100 * (YEAR + NANO));
    assert!(before.elapsed() < YEAR);
}

#[test]
fn every_kind_of_wait_goes_by_that_clock() {
    let (_keeps_open, lone) = mpsc::channel::<()>();
    let locked = Mutex::new(());
    type Wait<'a> = (&'a str, Box<dyn Fn() + 'a>);
    let waits: Vec<Wait<'_>> = vec![
        ("park", Box::new(|| task::park_timeout(HOUR))),
        (
            "recv",
            Box::new(|| _ = lone.recv_timeout(HOUR).unwrap_err()),
        ),
        (
            "scope",
            Box::new(|| assert_eq!(timeout(HOUR, task::park), Err(Timeout))),
        ),
        (
            "event",
            Box::new(|| _ = Event::new().wait_timeout(HOUR).unwrap_err()),
        ),
        ("timer", Box::new(|| Timer::new(HOUR).wait().unwrap())),
        (
            "tick",
            Box::new(|| {
                let mut ticks = interval(HOUR);
                assert_eq!(ticks.tick() + HOUR, ticks.tick());
            }),
        ),
        (
            "accept",
            Box::new(|| {
                let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
                let error = listener.accept_timeout(HOUR).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::TimedOut);
            }),
        ),
        (
            "read",
            Box::new(|| {
                let (mut ours, _theirs) = multitask::os::unix::net::UnixStream::pair().unwrap();
                ours.set_read_timeout(Some(HOUR)).unwrap();
                assert!(ours.read(&mut [0]).is_err());
            }),
        ),
        (
            "descriptor",
            Box::new(|| {
                let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
                multitask::io::wait(ours.as_fd(), Interest::READABLE, Some(HOUR)).unwrap_err();
            }),
        ),
        (
            "join",
            Box::new(|| {
                let parked = spawn(task::park);
                let Err(JoinTimeoutError::Timeout(parked)) = parked.join_timeout(HOUR) else {
                    panic!("nobody unparks it");
                };
                parked.cancel();
                assert!(parked.join().unwrap_err().is_cancelled());
            }),
        ),
        (
            "select",
            Box::new(|| {
                let mut select = multitask::select::Select::new();
                select.recv(&lone);
                assert!(select.select_timeout(HOUR).is_err());
            }),
        ),
        (
            "lock",
            Box::new(|| {
                let guard = locked.lock().unwrap();
                assert_eq!(timeout(HOUR, || drop(locked.lock())), Err(Timeout));
                drop(guard);
            }),
        ),
    ];
    for (name, wait) in waits {
        let start = Instant::now();
        let passed = run(|| {
            let start = now();
            wait();
            now() - start
        });
        assert_eq!(passed, HOUR, "{name}");
        assert!(start.elapsed() < HOUR, "{name}");
    }
}

#[test]
fn deadlines_a_nanosecond_apart_come_in_their_order_each_at_its_time() {
    explore(20, || {
        let start = now();
        let came = Rc::new(RefCell::new(Vec::new()));
        let far = [HOUR, YEAR, NANO * 70];
        let spans = (0..300).map(|n| NANO * (n * 7919 % 300) + far[n as usize % 3]);
        let sleepers: Vec<_> = spans
            .map(|span| {
                let came = came.clone();
                spawn_local(move || {
                    sleep(span);
                    assert_eq!(now() - start, span);
                    came.borrow_mut().push(span);
                })
            })
            .collect();
        for sleeper in sleepers {
            sleeper.join().unwrap();
        }
        assert!(came.borrow().is_sorted());
        assert_eq!(came.borrow().len(), 300);
    });
}

#[test]
fn time_stands_still_while_a_task_runs_or_yields() {
    run(|| {
        let slept = Rc::new(Cell::new(false));
        let tell = slept.clone();
        spawn_local(move || {
            sleep(NANO);
            tell.set(true);
        });
        let (start, real) = (now(), Instant::now());
        while real.elapsed() < Duration::from_millis(2) {
            yield_now();
        }
        assert_eq!(now(), start);
        assert!(!slept.get());
        sleep(NANO * 2);
        assert!(slept.get());
    });
}

#[test]
fn what_another_task_has_sent_through_the_system_comes_before_any_time_passes() {
    explore(50, || {
        let start = now();
        let (mut from, mut to) = pipe().unwrap();
        let (mut ours, mut theirs) = multitask::os::unix::net::UnixStream::pair().unwrap();
        let echoes = spawn(move || {
            let mut byte = [0];
            from.read_exact(&mut byte).unwrap();
            theirs.write_all(&byte).unwrap();
        });
        let sends = spawn(move || to.write_all(b"x").unwrap());
        let mut byte = [0];
        timeout(NANO, || ours.read_exact(&mut byte).unwrap()).unwrap();
        assert_eq!((&byte, now()), (b"x", start));
        echoes.join().unwrap();
        sends.join().unwrap();
    });
}

#[test]
fn a_call_that_blocks_takes_no_time() {
    let calls: [fn(); 3] = [
        || task::blocking(|| thread::sleep(Duration::from_millis(2))),
        || assert!(multitask::fs::metadata("/").unwrap().is_dir()),
        || assert!(net::TcpStream::connect("localhost:0").is_err()),
    ];
    for call in calls {
        run(|| {
            let start = now();
            let woken = Rc::new(Cell::new(false));
            let tell = woken.clone();
            spawn_local(move || {
                sleep(NANO);
                tell.set(true);
            });
            call();
            assert_eq!(now(), start);
            assert!(!woken.get());
        });
    }
}

#[test]
fn a_call_that_may_last_for_ever_does_not_stop_the_clock() {
    let folder = Folder::new();
    let path = folder.pipe("endless");
    run(|| {
        let start = now();
        let opened = timeout(HOUR, || multitask::fs::File::open(&path).map(drop));
        assert_eq!(opened.unwrap_err(), Timeout);
        assert_eq!(now() - start, HOUR);
    });
    // Whoever opens it is let go.
    fs::File::options().write(true).open(&path).unwrap();
}

#[test]
fn who_waits_for_a_call_that_may_last_for_ever_is_not_in_a_deadlock() {
    let folder = Folder::new();
    let path = folder.pipe("awaited");
    let scheduler = new();
    let other = path.clone();
    let opens = scheduler.spawn(move || multitask::fs::File::open(other).map(drop));
    assert_eq!(scheduler.settle(), 1);
    let thread = thread::spawn({
        let path = path.clone();
        move || {
            // By then the scheduler has looked for a deadlock.
            thread::sleep(Duration::from_millis(50));
            fs::File::options().write(true).open(path).map(drop)
        }
    });
    scheduler.run().unwrap();
    opens.join().unwrap().unwrap();
    thread.join().unwrap().unwrap();
}

#[test]
fn while_it_is_held_the_clock_stands_and_it_goes_on_when_it_is_let_go() {
    ends(|| {
        run(|| {
            let (sender, receiver) = mpsc::channel();
            let hold = testing::hold();
            let thread = thread::spawn(move || {
                thread::sleep(Duration::from_millis(2));
                sender.send(()).unwrap();
                let _let_go = hold;
            });
            receiver.recv_timeout(NANO).unwrap();
            thread.join().unwrap();
        });
        for spins in 0..2_000 {
            run(|| {
                let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
                spawn(move || listener.accept().map(drop));
                let hold = testing::hold();
                // It sends nothing: that it lets go is all that happens.
                let thread = thread::spawn(move || {
                    (0..spins % 500).for_each(|_| std::hint::spin_loop());
                    drop(hold);
                });
                sleep(HOUR);
                thread.join().unwrap();
            });
        }
    });
}

#[test]
fn a_scheduler_in_a_task_has_the_time_of_the_system() {
    run(|| {
        let start = now();
        let inner = multitask::Scheduler::new().unwrap();
        let span = Duration::from_millis(2);
        let real = Instant::now();
        let seen = inner.block_on(|| {
            sleep(span);
            now()
        });
        assert!(real.elapsed() >= span && seen >= real + span);
        assert_eq!(now(), start);
        sleep(NANO);
        assert_eq!(now(), start + NANO);
    });
}

#[test]
fn outside_of_the_tasks_time_is_real_and_what_it_bounds_there_is_as_far_away_inside() {
    let scheduler = new();
    scheduler.advance(YEAR);
    let real = Instant::now();
    assert!(now() < real + HOUR && scheduler.now() > real + HOUR);
    let sleeper = scheduler.spawn(|| sleep(HOUR));
    let Err(JoinTimeoutError::Timeout(sleeper)) = sleeper.join_timeout(HOUR / 2) else {
        panic!("it sleeps");
    };
    assert!(scheduler.elapsed() < YEAR + HOUR);
    sleeper.join_timeout(HOUR).unwrap();
    assert_eq!(scheduler.elapsed(), YEAR + HOUR);
    assert_eq!(
        timeout(HOUR, || scheduler.spawn(task::park).join().is_ok()),
        Err(Timeout)
    );
    assert!(real.elapsed() < HOUR);
}

#[test]
fn a_scheduler_is_shut_down_in_its_own_time() {
    let scheduler = new();
    scheduler.spawn(|| task::shield(|| sleep(YEAR)));
    scheduler.settle();
    let handle = scheduler.handle();
    let left = handle.shutdown(now() + HOUR).unwrap_err();
    assert_eq!(left.tasks().len(), 1);
    handle.shutdown(now() + YEAR).unwrap();
    assert_eq!(scheduler.elapsed(), YEAR);
}

#[test]
fn the_time_that_tasks_have_waited_is_theirs() {
    let builder = multitask::Scheduler::builder().trace_waits(true);
    let scheduler = testing::Scheduler::build(builder, 1).unwrap();
    scheduler.advance(HOUR);
    scheduler.spawn(task::park);
    scheduler.settle();
    scheduler.advance(YEAR);
    let dump = scheduler.dump();
    assert_eq!(dump.tasks()[0].waiting_for(), Some(YEAR));
}

#[test]
fn a_destructor_that_sleeps_when_the_scheduler_is_dropped_ends_at_once() {
    let woke = ends(|| {
        let woke = Arc::new(AtomicBool::new(false));
        let scheduler = new();
        let tell = woke.clone();
        scheduler.spawn(move || {
            let _last = OnDrop(|| {
                sleep(YEAR);
                tell.store(true, SeqCst);
            });
            task::park();
        });
        scheduler.settle();
        drop(scheduler);
        woke.load(SeqCst)
    });
    assert!(woke);
}

// ---- passes, and all tasks waiting ----

#[test]
fn a_pass_leaps_to_what_is_due_next_and_no_further_than_it_may() {
    let scheduler = new();
    for hours in [1, 1, 3] {
        scheduler.spawn(move || sleep(HOUR * hours));
    }
    assert_eq!(scheduler.turn(Some(Duration::ZERO)), Ok(3)); // they begin
    assert_eq!(scheduler.turn(Some(Duration::ZERO)), Ok(0));
    assert_eq!(scheduler.elapsed(), Duration::ZERO);
    assert_eq!(scheduler.turn(Some(HOUR / 2)), Ok(0));
    assert_eq!(scheduler.elapsed(), HOUR / 2);
    assert_eq!(scheduler.turn(None), Ok(2));
    assert_eq!(scheduler.elapsed(), HOUR);
    assert_eq!(scheduler.turn(Some(YEAR)), Ok(1));
    assert_eq!(scheduler.elapsed(), 3 * HOUR);
}

#[test]
fn a_pass_runs_each_task_that_is_ready_once() {
    for seed in 0..20 {
        let scheduler = testing::Scheduler::with_seed(seed).unwrap();
        let runs = Rc::new([const { Cell::new(0) }; 5]);
        for n in 0..5 {
            let runs = runs.clone();
            scheduler.spawn_local(move || loop {
                runs[n].set(runs[n].get() + 1);
                yield_now();
            });
        }
        for pass in 1..10 {
            assert_eq!(scheduler.turn(Some(Duration::ZERO)), Ok(5));
            assert!(runs.iter().all(|runs| runs.get() == pass));
        }
    }
}

#[test]
fn settling_runs_all_until_they_wait_says_how_many_and_lets_no_time_pass() {
    let scheduler = new();
    assert_eq!(scheduler.settle(), 0);
    scheduler.spawn(|| (0..1000).for_each(|_| yield_now()));
    scheduler.spawn(|| sleep(NANO));
    scheduler.spawn(task::park);
    let blocks = scheduler.spawn(|| task::blocking(|| thread::sleep(Duration::from_millis(2))));
    assert_eq!(scheduler.settle(), 2);
    assert!(blocks.is_finished());
    assert_eq!(scheduler.elapsed(), Duration::ZERO);
    let stats = scheduler.stats();
    assert_eq!((stats.timers, stats.tasks, stats.runnable), (1, 1, 0));
}

#[test]
fn a_task_that_settles_goes_on_when_all_others_wait_and_before_time_does() {
    explore(50, || {
        let (start, done) = (now(), Rc::new(Cell::new(0)));
        for n in 0..10 {
            let done = done.clone();
            spawn_local(move || {
                (0..n).for_each(|_| yield_now());
                done.set(done.get() + 1);
                sleep(NANO);
                done.set(done.get() + 100);
            });
        }
        let both = spawn_local({
            let done = done.clone();
            move || {
                testing::settle();
                done.get()
            }
        });
        testing::settle();
        assert_eq!(done.get(), 10);
        assert_eq!(both.join().unwrap(), 10);
        assert_eq!(now(), start);
        sleep(NANO);
        testing::settle();
        assert_eq!(done.get(), 1010);
    });
}

#[test]
fn who_settles_can_be_cancelled_and_runs_out_of_time_like_anybody() {
    let scheduler = new();
    let settles = scheduler.spawn(testing::settle);
    settles.cancel();
    assert_eq!(scheduler.settle(), 0);
    assert!(settles.join().unwrap_err().is_cancelled());
    scheduler.block_on(|| {
        assert_eq!(timeout(Duration::ZERO, testing::settle), Err(Timeout));
        testing::settle();
    });
}

#[test]
fn advancing_brings_all_that_is_due_in_order_and_nothing_later() {
    let scheduler = new();
    let ticks = Arc::new(AtomicUsize::new(0));
    let count = ticks.clone();
    scheduler.spawn(move || {
        let mut ticks = interval(HOUR).with_missed_tick(MissedTick::Delay);
        loop {
            ticks.tick();
            count.fetch_add(1, SeqCst);
        }
    });
    scheduler.advance(10 * HOUR - NANO);
    assert_eq!(ticks.load(SeqCst), 10); // that of the beginning as well
    scheduler.advance(NANO);
    assert_eq!(ticks.load(SeqCst), 11);
    assert_eq!(scheduler.elapsed(), 10 * HOUR);
}

#[test]
fn time_can_be_advanced_without_any_task_and_by_a_task() {
    let scheduler = Rc::new(new());
    scheduler.advance(YEAR);
    assert_eq!(scheduler.elapsed(), YEAR);
    let inner = scheduler.clone();
    let counted = scheduler.block_on(|| {
        spawn_local(task::park);
        let counted = inner.settle();
        inner.advance(HOUR);
        counted
    });
    assert_eq!(counted, 2); // the one that asks, and the one that waits
    assert_eq!(scheduler.elapsed(), YEAR + HOUR);
}

#[test]
fn a_deadlock_is_told_though_the_process_has_other_threads() {
    ends(|| {
        let scheduler = new();
        scheduler.spawn(task::park);
        let told = scheduler.run().unwrap_err();
        assert!(told.to_string().contains("parked"), "{told}");
        assert!(scheduler.turn(None).is_err());
    });
}

// ---- the order ----

/// What happens in a program that has all sorts of choices to make.
fn history(seed: u64) -> Vec<(u32, Duration)> {
    run_with_seed(seed, || {
        let (start, seen) = (now(), Rc::new(RefCell::new(Vec::new())));
        let note = {
            let seen = seen.clone();
            move |what| seen.borrow_mut().push((what, now() - start))
        };
        let (one, ones) = mpsc::sync_channel(2);
        let (two, twos) = mpsc::sync_channel(0);
        let lock = Arc::new(Mutex::new(()));
        let mut tasks = Vec::new();
        for n in 0..8 {
            let (one, two, note, lock) = (one.clone(), two.clone(), note.clone(), lock.clone());
            tasks.push(spawn_local(move || {
                for round in 0..5 {
                    let _one_at_a_time = lock.lock().unwrap();
                    note(n * 10 + round);
                    match testing::draw(4) {
                        0 => yield_now(),
                        1 => sleep(NANO * n),
                        2 => one.send(n).unwrap(),
                        _ => two.send(n).unwrap(),
                    }
                }
            }));
        }
        drop((one, two));
        let (mut open, mut select) = (2, multitask::select::Select::new());
        let (first, second) = (select.recv(&ones), select.recv(&twos));
        while open > 0 {
            let chosen = select.select();
            let (at, got) = match chosen.index() {
                at if at == first => (at, chosen.recv(&ones)),
                at => (at, chosen.recv(&twos)),
            };
            match got {
                Ok(n) => note(1000 + n),
                Err(_) => {
                    select.remove(at);
                    open -= 1;
                }
            }
        }
        assert_ne!(first, second);
        for task in tasks {
            task.join().unwrap();
        }
        seen.take()
    })
}

#[test]
fn a_run_is_repeated_exactly_by_its_seed_and_another_seed_has_another() {
    let histories: HashSet<_> = (0..20)
        .map(|seed| {
            let history = history(seed);
            assert_eq!(history, self::history(seed), "seed {seed}");
            history
        })
        .collect();
    assert_eq!(histories.len(), 20);
}

#[test]
fn each_of_those_that_are_ready_is_the_first_in_some_order() {
    let mut orders = HashSet::new();
    for seed in 0..500 {
        let scheduler = testing::Scheduler::with_seed(seed).unwrap();
        let order = Rc::new(RefCell::new(Vec::new()));
        for n in 0..4 {
            let order = order.clone();
            scheduler.spawn_local(move || order.borrow_mut().push(n));
        }
        scheduler.run().unwrap();
        orders.insert(order.take());
    }
    assert_eq!(orders.len(), 24); // all there are
}

#[test]
fn a_task_that_is_joined_is_drawn_like_the_others() {
    let mut firsts = HashSet::new();
    for seed in 0..100 {
        let first = run_with_seed(seed, || {
            let first = Rc::new(Cell::new(None));
            let others: Vec<_> = (0..5)
                .map(|n| {
                    let first = first.clone();
                    spawn_local(move || {
                        if first.get().is_none() {
                            first.set(Some(n));
                        }
                    })
                })
                .collect();
            for other in others {
                other.join().unwrap();
            }
            first.get()
        });
        firsts.insert(first);
    }
    assert_eq!(firsts.len(), 5);
}

#[test]
fn exploring_runs_that_often_each_time_with_another_seed() {
    let mut drawn = HashSet::new();
    explore(30, || _ = drawn.insert(testing::draw(usize::MAX)));
    assert_eq!(drawn.len(), 30);
}

/// Run as a program of its own by the test below.
#[test]
#[ignore = "fails, as it is meant to"]
fn fails_in_an_order() {
    explore(3, || {
        let order = Rc::new(RefCell::new(Vec::new()));
        for n in 0..10 {
            let order = order.clone();
            spawn_local(move || order.borrow_mut().push(n));
        }
        testing::settle();
        panic!("the order was {:?}", order.take());
    });
}

fn fails(seed: Option<&str>) -> Output {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["fails_in_an_order", "--exact", "--ignored", "--nocapture"]);
    command
        .env("RUST_BACKTRACE", "0")
        .env_remove("MULTITASK_SEED");
    command.envs(seed.map(|seed| ("MULTITASK_SEED", seed)));
    let output = command.output().unwrap();
    assert!(!output.status.success());
    output
}

#[test]
fn a_test_that_fails_says_by_which_seed_and_fails_the_same_way_with_it() {
    let text = |output: &Output| {
        let printed = [&output.stderr[..], &output.stdout[..]].concat();
        String::from_utf8(printed).unwrap()
    };
    let order = |text: &str| {
        let lines: Vec<_> = text
            .lines()
            .filter(|line| line.contains("the order was"))
            .collect();
        assert_eq!(lines.len(), 1, "{text}");
        lines[0].to_owned()
    };
    let first = text(&fails(None));
    let after = first.split("MULTITASK_SEED=").nth(1).expect(&first);
    let seed = after.split_whitespace().next().unwrap();
    for _ in 0..3 {
        let again = text(&fails(Some(seed)));
        assert_eq!(order(&again), order(&first));
        assert!(again.contains(&format!("MULTITASK_SEED={seed}")));
    }
    assert!(text(&fails(Some("twelve"))).contains("no number"));
}

// ---- switches ----

#[test]
fn switches_are_counted_of_the_task_that_asks_and_of_what_is_called() {
    explore(20, || {
        let noise = spawn(|| loop {
            yield_now();
        });
        let (outer, inner) = count_switches(|| {
            yield_now();
            let (inner, ()) = count_switches(|| {
                sleep(Duration::ZERO);
                yield_now();
            });
            inner
        });
        assert_eq!((outer, inner), (3, 2));
        let event = Arc::new(Event::new());
        let waits = event.clone();
        let other = spawn(move || assert_switches(1, || waits.wait()));
        // However often this one does.
        assert_switches(50, || (0..50).for_each(|_| yield_now()));
        event.set();
        noise.cancel();
        other.join().unwrap();
        assert_switches(0, || event.wait());
    });
}

#[test]
fn another_number_of_switches_is_a_panic_that_tells_both() {
    run(|| {
        let panic = catch_unwind(|| assert_switches(2, yield_now)).unwrap_err();
        let message = panic.downcast_ref::<String>().unwrap();
        assert_eq!(message, "it has suspended its task 1 times, not 2");
        // One that was left by a panic is counted no more.
        let left = catch_unwind(|| count_switches(|| panic!("out")));
        assert!(left.is_err());
        assert_switches(1, yield_now);
    });
}

// ---- what is refused ----

#[test]
fn outside_of_its_tasks_it_says_so() {
    let calls: [fn(); 4] = [
        testing::settle,
        || drop(testing::hold()),
        || _ = testing::draw(1),
        || assert_switches(0, || ()),
    ];
    let refused = |call: fn()| {
        let panic = catch_unwind(AssertUnwindSafe(call)).unwrap_err();
        let message = panic.downcast_ref::<&str>().copied();
        message.is_some_and(|message| message.contains("outside of the tasks"))
    };
    for call in calls {
        let _made = new();
        assert!(refused(call));
        let plain = multitask::Scheduler::new().unwrap();
        assert!(plain.block_on(|| refused(call)));
    }
}

#[test]
fn more_than_one_worker_is_refused() {
    let builder = multitask::Scheduler::builder().workers(2);
    let refused = testing::Scheduler::build(builder, 0).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
}

// ---- one clock ----

/// Files that ask the system what time it is, and why they may.
const REAL: [(&str, &str); 16] = [
    ("rt/alarm.rs", "ends a poll"),
    ("rt/alarm_off.rs", "ends a poll"),
    ("rt/clock.rs", "it is the one place"),
    (
        "rt/defiance.rs",
        "how long a scheduler that is dropped has patience",
    ),
    ("rt/fault.rs", "a deadline that has passed"),
    ("rt/header.rs", "where traces begin"),
    (
        "rt/pace.rs",
        "how long runs take, where there is no counter",
    ),
    ("rt/sample.rs", "for how long a thread may not answer"),
    ("rt/share.rs", "spinning"),
    ("rt/simulation.rs", "it holds the other clock"),
    ("rt/timer.rs", "where ticks begin"),
    ("rt/watchdog.rs", "it watches threads"),
    (
        "rt/worker.rs",
        "how long those may go first who belong together",
    ),
    (
        "rt/worker/look.rs",
        "how long to sleep, and when to give stacks back",
    ),
    ("rt/worker/simulated.rs", "it has the one or the other"),
    ("base/shared_loom.rs", "how long a model takes"),
];

#[test]
fn the_library_asks_for_the_time_in_one_place() {
    fn visit(folder: &std::path::Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                visit(&path, found);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
            let code = code.split("#[cfg(all(test, loom))]").next().unwrap();
            let asks = code.lines().any(|line| {
                let line = line.trim_start();
                !line.starts_with("//") && line.contains("Instant::now")
                    || line.contains("SystemTime::now")
            });
            if asks {
                found.push(path.to_str().unwrap().to_owned());
            }
        }
    }
    let mut found = Vec::new();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/");
    visit(source.as_ref(), &mut found);
    let unknown: Vec<_> = found
        .iter()
        .map(|path| &path[source.len()..])
        .filter(|path| !REAL.iter().any(|(known, _)| known == path))
        .collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert!(found.len() > 5, "it finds none");
}
