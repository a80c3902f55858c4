//! What the process as a whole shows: reports on standard error, memory, and how it ends while tasks live.

mod children;

use children::{Running, SEES_DEADLOCKS};
use multitask::{sleep, spawn, task, timeout, yield_now, Scheduler};
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

fn main() {
    children::main(&[
        case!(a_panic_that_nobody_joins_is_reported_once, |child| {
            let stderr = child.end().stderr;
            let reports: Vec<_> = stderr
                .lines()
                .filter(|line| line.contains("nobody joined"))
                .collect();
            assert_eq!(reports.len(), 3, "{stderr}");
            for (report, name) in reports.into_iter().zip(["early", "late", "number"]) {
                let (title, place) = (format!("task '{name}' (#"), "tests/process.rs:");
                assert!(
                    report.contains(&title) && report.contains(place),
                    "{report}"
                );
            }
            assert!(
                stderr.contains("nobody joined it: oops early\n"),
                "{stderr}"
            );
        }),
        case!(a_panic_that_is_joined_is_not_reported, |child| {
            let stderr = child.end().stderr;
            assert!(!stderr.contains("nobody joined"), "{stderr}");
        }),
        case!(a_cancelled_task_is_not_reported, Running::succeeds),
        case!(a_report_that_cannot_be_written_harms_nobody, |mut child| {
            child.deafen();
            assert!(child.end().status.success());
        }),
        case!(memory_stays_flat_over_a_million_spawns, Running::succeeds),
        case!(
            cancelling_again_and_again_costs_no_memory,
            Running::succeeds
        ),
        case!(
            main_may_return_while_tasks_of_the_default_scheduler_live,
            Running::succeeds
        ),
        case!(
            main_may_return_while_a_leaked_scheduler_has_tasks,
            Running::succeeds
        ),
        case!(exit_works_in_a_task_that_has_not_been_suspended, |child| {
            let ended = child.end();
            assert_eq!(
                ended.status.code(),
                Some(7),
                "{:?} {}",
                ended.status,
                ended.stderr
            );
        }),
        case!(exit_works_in_a_task_that_was_suspended, |child| {
            let ended = child.end();
            assert_eq!(
                ended.status.code(),
                Some(7),
                "{:?} {}",
                ended.status,
                ended.stderr
            );
        }),
        case!(exit_works_in_a_task_of_a_scheduler_of_its_own, |child| {
            let ended = child.end();
            assert_eq!(
                ended.status.code(),
                Some(7),
                "{:?} {}",
                ended.status,
                ended.stderr
            );
        }),
        case!(
            a_panic_in_main_ends_the_process_although_tasks_spin,
            |child| {
                assert_eq!(child.end().status.code(), Some(101));
            }
        ),
        case!(
            a_panic_in_a_destructor_during_cancel_aborts_as_in_a_thread,
            |child| {
                let ended = child.end();
                assert_eq!(
                    ended.status.signal(),
                    Some(6),
                    "{:?} {}",
                    ended.status,
                    ended.stderr
                );
            }
        ),
    ]);
}

fn named(name: &str) -> task::Builder {
    task::Builder::new().name(name.into())
}

fn a_panic_that_nobody_joins_is_reported_once() {
    // Detached before its end, after its end, and with a payload that is no string.
    drop(named("early").spawn(|| panic!("oops early")).unwrap());
    multitask::run().unwrap();
    let late = named("late").spawn(|| panic!("oops late")).unwrap();
    multitask::run().unwrap();
    drop(late);
    drop(named("number").spawn(|| std::panic::panic_any(5)).unwrap());
    multitask::run().unwrap();
}

fn a_panic_that_is_joined_is_not_reported() {
    assert!(spawn(|| panic!("oops")).join().unwrap_err().is_panic());
    let ended = spawn(|| panic!("oops"));
    multitask::run().unwrap();
    assert!(ended.join_timeout(Duration::ZERO).is_err());
}

fn a_cancelled_task_is_not_reported() {
    let parked = spawn(task::park);
    let unstarted = spawn(|| ());
    unstarted.cancel();
    yield_now();
    parked.cancel();
    drop((parked, unstarted));
    multitask::run().unwrap();
}

fn a_report_that_cannot_be_written_harms_nobody() {
    // The parent has closed the other end of the pipe, or will: its end of file is what we wait for.
    std::panic::set_hook(Box::new(|_| ()));
    let scheduler = Scheduler::new().unwrap();
    use std::io::Write;
    while std::io::stderr().write_all(b"still there?\n").is_ok() {
        std::thread::yield_now();
    }
    drop(scheduler.spawn(|| panic!("oops")));
    let ended = scheduler.spawn(|| panic!("oops"));
    let other = scheduler.spawn(|| {
        yield_now();
        5
    });
    scheduler.run().unwrap();
    drop(ended);
    assert_eq!(other.join().unwrap(), 5);
    if !SEES_DEADLOCKS {
        return;
    }
    // Abandoned with a message, for its destructor waits for ever.
    let stuck = scheduler.spawn(|| {
        struct Stuck;
        impl Drop for Stuck {
            fn drop(&mut self) {
                task::park();
            }
        }
        let _stuck = Stuck;
        task::park();
    });
    scheduler.turn(None).unwrap();
    drop(scheduler);
    assert!(stuck.join().unwrap_err().is_cancelled());
}

/// Resident memory of this process in KiB.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.unwrap().split_whitespace().nth(1);
    number.unwrap().parse().unwrap()
}

fn memory_stays_flat_over_a_million_spawns() {
    let long = Duration::from_secs(3600);
    let scheduler = Scheduler::new().unwrap();
    let rounds = |count: usize| {
        scheduler.block_on(|| {
            for n in 0..count {
                // Now and then one with a box, a name, a suspension, a timer, a cancel.
                match n % 8 {
                    0 => drop(spawn(move || [n; 20])),
                    1 => drop(named(&format!("task {n}")).spawn(yield_now)),
                    2 => spawn(yield_now).join().unwrap(),
                    3 => spawn(|| ()).cancel(),
                    4 => {
                        let parked = spawn(task::park);
                        yield_now();
                        parked.cancel();
                    }
                    5 => timeout(long, || spawn(|| ()).join().unwrap()).unwrap(),
                    _ => spawn(|| ()).join().unwrap(),
                }
            }
        });
        scheduler.run().unwrap();
    };
    rounds(100_000);
    let before = resident();
    rounds(1_000_000);
    let grown = resident().saturating_sub(before);
    assert!(grown < 2 << 10, "grown by {grown} KiB");
}

fn cancelling_again_and_again_costs_no_memory() {
    // Its scheduler does not run meanwhile: nothing is taken out of the inbox.
    let scheduler = Scheduler::new().unwrap();
    let handle = scheduler.spawn(task::park);
    let before = resident();
    let handle = std::thread::spawn(move || {
        for _ in 0..1_000_000 {
            handle.cancel();
        }
        handle
    });
    let handle = handle.join().unwrap();
    let grown = resident().saturating_sub(before);
    assert!(grown < 2 << 10, "grown by {grown} KiB");
    scheduler.run().unwrap();
    assert!(handle.join().unwrap_err().is_cancelled());
}

fn main_may_return_while_tasks_of_the_default_scheduler_live() {
    spawn(|| loop {
        task::park();
    });
    spawn(|| sleep(Duration::from_secs(3600)));
    spawn(|| loop {
        yield_now();
    });
    for _ in 0..10 {
        yield_now();
    }
    spawn(|| unreachable!("it never starts"));
}

fn main_may_return_while_a_leaked_scheduler_has_tasks() {
    let scheduler = Scheduler::new().unwrap();
    scheduler.spawn(task::park);
    scheduler.turn(None).unwrap();
    scheduler.spawn(|| ());
    std::mem::forget(scheduler);
}

fn exit_works_in_a_task_that_has_not_been_suspended() {
    spawn(task::park);
    spawn(|| ());
    yield_now();
    spawn(|| std::process::exit(7));
    multitask::run().unwrap();
}

fn exit_works_in_a_task_that_was_suspended() {
    spawn(task::park);
    spawn(|| {
        yield_now();
        std::process::exit(7)
    });
    multitask::run().unwrap();
}

fn exit_works_in_a_task_of_a_scheduler_of_its_own() {
    spawn(task::park);
    yield_now();
    Scheduler::new().unwrap().block_on(|| std::process::exit(7))
}

fn a_panic_in_main_ends_the_process_although_tasks_spin() {
    let scheduler = Scheduler::new().unwrap();
    scheduler.spawn(|| loop {
        yield_now();
    });
    scheduler.spawn(|| loop {
        sleep(Duration::from_millis(1));
    });
    scheduler.block_on(|| {
        yield_now();
        panic!("the end of the story")
    })
}

fn a_panic_in_a_destructor_during_cancel_aborts_as_in_a_thread() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("in a destructor");
        }
    }
    let bomb = spawn(|| {
        let _bomb = Bomb;
        task::park();
    });
    yield_now();
    bomb.cancel();
    let _ = bomb.join();
}
