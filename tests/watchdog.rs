//! The watchdog: whoever keeps a worker for too long is reported, and nobody else.

mod common;

use common::{ends, flat::Belongings};
use multitask::dump::Stall;
use multitask::{spawn, task, yield_now, Scheduler};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{mpsc, Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const ALLOWED: Duration = Duration::from_millis(20);

/// A scheduler that is watched, and what is reported.
fn watched(workers: usize) -> (Scheduler, mpsc::Receiver<Stall>) {
    let (tell, stalls) = mpsc::channel();
    let scheduler = Scheduler::builder()
        .workers(workers)
        .watchdog(ALLOWED)
        .on_stall(move |stall| _ = tell.send(stall.clone()))
        .build()
        .unwrap();
    (scheduler, stalls)
}

/// Of the reports those about the task of this name: others may be kept from their processor by somebody else.
fn next(stalls: &mpsc::Receiver<Stall>, name: &str) -> Stall {
    loop {
        let stall = stalls.recv().unwrap();
        if stall.name() == Some(name) {
            return stall;
        }
    }
}

#[inline(never)]
fn waits_after_the_stall() {
    task::park();
}

#[test]
fn a_task_that_computes_is_reported_while_it_does_and_once_more_where_it_waits() {
    ends(|| {
        let (scheduler, stalls) = watched(1);
        let stalls = Arc::new(Mutex::new(stalls));
        let seen = Arc::new(Mutex::new(None));
        let computes = {
            let (stalls, seen) = (stalls.clone(), seen.clone());
            move || {
                // It goes on until it is reported, and for a good while after that.
                let stall = next(&stalls.lock().unwrap(), "computes");
                *seen.lock().unwrap() = Some(stall);
                let reported = Instant::now();
                while reported.elapsed() < 5 * ALLOWED {
                    std::hint::spin_loop();
                }
                waits_after_the_stall();
            }
        };
        let builder = task::Builder::new().name("computes".into());
        let (line, task) = (line!(), builder.spawn_on(&scheduler, computes).unwrap());
        scheduler.turn(None).unwrap();

        let during = seen.lock().unwrap().take().unwrap();
        assert_eq!((during.worker(), during.id()), (0, task.task().id()));
        assert_eq!(
            (during.spawned_at().file(), during.spawned_at().line()),
            (file!(), line)
        );
        assert!(during.lasted() >= ALLOWED && !during.is_over());
        // See `stall_backtrace.rs`.
        assert!(cfg!(feature = "stall-backtrace") || during.backtrace().is_none());
        let shown = during.to_string();
        let title = format!(
            "task 'computes' (#{}), spawned at {}:{line}:",
            task.task().id(),
            file!()
        );
        assert!(shown.starts_with(&title), "{shown}");
        assert!(
            shown.contains("keeps worker 0 from all others for"),
            "{shown}"
        );

        // Once: the next is of its end.
        let after = next(&stalls.lock().unwrap(), "computes");
        assert!(
            after.is_over() && after.lasted() >= during.lasted() + 5 * ALLOWED,
            "{after}"
        );
        assert_eq!((after.worker(), after.id()), (0, task.task().id()));
        assert!(after.to_string().contains("it waits here:"), "{after}");
        let trace = after.backtrace().unwrap().to_string();
        // A function that was inlined may have no name.
        let here = if cfg!(debug_assertions) {
            "watchdog::waits_after_the_stall"
        } else {
            file!()
        };
        assert!(trace.contains(here), "{trace}");

        // The wait was none for that.
        let woken = Instant::now();
        task.task().unpark();
        scheduler.run().unwrap();
        let took = woken.elapsed();
        task.join().unwrap();
        drop(scheduler);
        let stalls = stalls.lock().unwrap();
        let more: Vec<_> = stalls
            .iter()
            .filter(|stall| stall.name() == Some("computes"))
            .collect();
        // By another program it may have been kept from its end.
        assert!(more.is_empty() || took >= ALLOWED, "{more:?}");
    });
}

#[test]
fn a_task_that_ends_after_it_has_blocked_the_thread_is_reported_as_ended() {
    ends(|| {
        let (scheduler, stalls) = watched(2);
        let (tell, told) = mpsc::channel::<()>();
        scheduler.spawn_on(1, move || {
            let blocks = task::Builder::new().name("blocks".into());
            blocks.spawn_local(move || told.recv()).unwrap();
        });
        let tells = thread::spawn(move || {
            let during = next(&stalls, "blocks");
            drop(tell);
            (during, next(&stalls, "blocks"))
        });
        scheduler.run().unwrap();
        let (during, after) = tells.join().unwrap();
        assert_eq!((during.worker(), during.is_over()), (1, false));
        assert_eq!((after.worker(), after.is_over()), (1, true));
        assert!(after.backtrace().is_none());
        assert!(
            after.to_string().contains("has ended and kept worker 1"),
            "{after}"
        );
    });
}

#[test]
fn who_lets_others_run_in_time_is_not_reported_however_long_it_goes_on() {
    // On a machine that is never free for so long nothing can be said.
    const TRIES: usize = 100;
    ends(|| {
        for _ in 0..TRIES {
            let (scheduler, stalls) = watched(1);
            // The longest time between two looks at the clock, as far as it was let by other programs: no run takes more than twice that.
            let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
            let end = last + 5 * ALLOWED;
            scheduler.block_on(|| {
                while last < end {
                    yield_now();
                    let now = Instant::now();
                    longest = longest.max(now - last);
                    last = now;
                }
            });
            longest = longest.max(last.elapsed());
            drop(scheduler);
            // Until the thread that looks on has gone.
            let stalls: Vec<_> = stalls.iter().collect();
            if longest < ALLOWED / 2 {
                assert!(stalls.is_empty(), "{stalls:?}");
                return;
            }
        }
    });
}

#[test]
fn tasks_of_a_scheduler_that_is_watched_end_as_ever() {
    const ROUNDS: usize = if cfg!(debug_assertions) { 200 } else { 2000 };
    for workers in [1, 3] {
        ends(move || {
            let (scheduler, _stalls) = watched(workers);
            let ran = Arc::new(AtomicUsize::new(0));
            for round in 0..ROUNDS {
                let ran = ran.clone();
                scheduler.spawn(move || {
                    let child = spawn(move || {
                        (0..round % 4).for_each(|_| yield_now());
                        ran.fetch_add(1, SeqCst)
                    });
                    if round % 3 == 0 {
                        yield_now();
                    }
                    child.join().unwrap();
                });
            }
            if workers == 1 {
                // Runs are counted as ever: all tasks begin in the first pass, none more than once.
                assert_eq!(scheduler.turn(Some(Duration::ZERO)).unwrap(), ROUNDS);
            }
            scheduler.run().unwrap();
            assert_eq!(ran.load(SeqCst), ROUNDS);
            assert_eq!(scheduler.stats().live, 0);
        });
    }
}

#[test]
fn what_begins_when_another_has_ended_is_reported_by_its_own_name() {
    ends(|| {
        let (scheduler, stalls) = watched(1);
        scheduler.spawn(|| ());
        let computes = task::Builder::new().name("computes".into());
        let computes = computes.spawn_on(&scheduler, move || next(&stalls, "computes"));
        scheduler.run().unwrap();
        let computes = computes.unwrap();
        let id = computes.task().id();
        assert_eq!(computes.join().unwrap().id(), id);
    });
}

#[test]
fn who_watches_keeps_nothing_of_tasks_that_have_ended() {
    const TASKS: usize = 300_000;
    /// Of each task: its header is larger. What else is tested beside this takes some as well.
    const BYTES: u64 = 64;
    ends(|| {
        let (scheduler, stalls) = watched(1);
        // What is read to show where somebody is stays; the tests beside this show that.
        let computes = task::Builder::new().name("computes".into());
        let shows = move || next(&stalls, "computes").to_string();
        let shown = computes.spawn_on(&scheduler, shows).unwrap();
        scheduler.run().unwrap();
        shown.join().unwrap();
        let some = |count: usize| {
            scheduler.block_on(|| (0..count).for_each(|_| spawn(yield_now).join().unwrap()));
            Belongings::now().resident
        };
        let before = some(TASKS / 10);
        let after = some(TASKS);
        assert!(
            after < before + TASKS as u64 * BYTES,
            "{before}, then {after}"
        );
    });
}

#[test]
fn a_watchdog_that_allows_no_time_is_refused() {
    let refused = Scheduler::builder().watchdog(Duration::ZERO).build();
    assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::InvalidInput);
}
