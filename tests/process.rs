//! What the process as a whole shows: reports on standard error, memory, and how it ends while tasks live.

mod children;

use children::{Running, SEES_DEADLOCKS};
use multitask::{sleep, spawn, task, timeout, yield_now, Scheduler};
use std::os::unix::process::ExitStatusExt;
use std::panic::{catch_unwind, panic_any, set_hook, take_hook};
use std::process::exit;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
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
                for part in ["in a destructor\n", "panic in a destructor during cleanup"] {
                    assert!(ended.stderr.contains(part), "{}", ended.stderr);
                }
            }
        ),
        case!(
            a_panic_in_a_destructor_that_has_waited_aborts_as_in_a_thread,
            |child| {
                let ended = child.end();
                assert_eq!(ended.status.signal(), Some(6), "{}", ended.stderr);
                let explained = "panic in a destructor during cleanup";
                assert!(ended.stderr.contains(explained), "{}", ended.stderr);
            }
        ),
        case!(
            a_panic_hook_may_wait_and_other_tasks_panic_meanwhile,
            |child| {
                let ended = child.end();
                assert!(ended.status.success(), "{}", ended.stderr);
            }
        ),
        case!(exit_works_in_a_task_of_any_worker, exits_with_7),
        case!(exit_works_while_tasks_stand_in_destructors, exits_with_7),
        case!(
            main_may_return_while_tasks_stand_in_destructors,
            Running::succeeds
        ),
        case!(
            main_may_return_while_a_leaked_scheduler_has_workers_at_work,
            Running::succeeds
        ),
        case!(
            a_drop_gives_up_on_tasks_that_swallow_their_cancelling_for_ever,
            |child| gives_up(child, &["yields", "sleeps", "in a scope", "owner"])
        ),
        case!(a_drop_gives_up_on_them_on_every_worker, |child| gives_up(
            child,
            &["on 0", "on 1", "on 2"]
        )),
        case!(
            a_drop_waits_for_a_destructor_though_a_task_swallows_its_cancelling,
            |child| gives_up(child, &["swallows"])
        ),
        case!(
            a_drop_waits_for_a_shield_though_a_task_swallows_its_cancelling,
            |child| gives_up(child, &["swallows"])
        ),
        case!(
            a_drop_lets_a_task_swallow_its_cancelling_ten_thousand_times,
            Running::succeeds
        ),
    ]);
}

fn exits_with_7(child: Running) {
    let ended = child.end();
    assert_eq!(ended.status.code(), Some(7), "{}", ended.stderr);
}

/// It ends well, and says that it gave up on tasks of these names, and of no others.
fn gives_up(child: Running, names: &[&str]) {
    let ended = child.end();
    assert!(ended.status.success(), "{}", ended.stderr);
    let mut lines = ended.stderr.lines();
    let headline = lines.next().unwrap_or_default();
    assert!(headline.contains("abandoned"), "{}", ended.stderr);
    assert_eq!(lines.count(), names.len(), "{}", ended.stderr);
    for name in names {
        let title = format!("task '{name}' (#");
        assert!(ended.stderr.contains(&title), "{name}: {}", ended.stderr);
    }
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

fn a_panic_in_a_destructor_that_has_waited_aborts_as_in_a_thread() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            sleep(Duration::from_micros(50));
            yield_now();
            panic!("in a destructor");
        }
    }
    // Beside others of its kind that stand in destructors, and end well.
    for _ in 0..3 {
        spawn(|| {
            let _waits = Unwinds(|| sleep(Duration::from_micros(10)));
            panic!("caught by nobody");
        });
    }
    let bomb = spawn(|| {
        let _bomb = Bomb;
        panic!("the first");
    });
    let _: Result<(), _> = bomb.join();
}

/// Calls a closure when it is dropped, which is to be by unwinding.
struct Unwinds<F: FnMut()>(F);

impl<F: FnMut()> Drop for Unwinds<F> {
    fn drop(&mut self) {
        assert!(thread::panicking());
        (self.0)();
    }
}

fn a_panic_hook_may_wait_and_other_tasks_panic_meanwhile() {
    static HOOKED: AtomicUsize = AtomicUsize::new(0);
    set_hook(Box::new(|_| {
        sleep(Duration::from_micros(100));
        yield_now();
        HOOKED.fetch_add(1, SeqCst);
    }));
    let tasks: Vec<_> = (0..20_usize)
        .map(|n| {
            spawn(move || {
                let _waits = Unwinds(yield_now);
                panic_any(n)
            })
        })
        .collect();
    let cancelled = spawn(|| {
        let _waits = Unwinds(|| sleep(Duration::from_micros(100)));
        task::park();
    });
    yield_now();
    cancelled.cancel();
    for (n, task) in tasks.into_iter().enumerate() {
        let panic: Result<(), _> = task.join();
        assert_eq!(panic.unwrap_err().into_panic().downcast_ref(), Some(&n));
    }
    assert!(cancelled.join().unwrap_err().is_cancelled());
    drop(take_hook());
    assert_eq!(HOOKED.load(SeqCst), 20);
    assert!(!thread::panicking());
}

fn exit_works_in_a_task_of_any_worker() {
    let scheduler = Scheduler::builder().workers(3).build().unwrap();
    for worker in 0..3 {
        scheduler.spawn_on(worker, || loop {
            yield_now();
        });
    }
    scheduler.spawn_on(2, || {
        yield_now();
        exit(7)
    });
    scheduler.run().unwrap();
}

fn exit_works_while_tasks_stand_in_destructors() {
    stand_in_a_destructor();
    spawn(|| {
        yield_now();
        exit(7)
    });
    multitask::run().unwrap();
}

fn main_may_return_while_tasks_stand_in_destructors() {
    stand_in_a_destructor();
}

/// Leaves a task of the default scheduler in a destructor that waits for ever.
fn stand_in_a_destructor() {
    let task = spawn(|| {
        let _waits = Unwinds(task::park);
        task::park();
    });
    yield_now();
    task.cancel();
    yield_now();
    assert!(!task.is_finished());
}

fn main_may_return_while_a_leaked_scheduler_has_workers_at_work() {
    let scheduler = Scheduler::builder().workers(3).build().unwrap();
    for worker in 0..3 {
        scheduler.spawn_on(worker, || loop {
            yield_now();
            sleep(Duration::from_micros(10));
        });
    }
    scheduler.turn(None).unwrap();
    std::mem::forget(scheduler);
}

/// A task that catches whatever ends its wait.
fn swallow(wait: fn()) {
    loop {
        let _swallowed = catch_unwind(wait);
    }
}

fn a_drop_gives_up_on_tasks_that_swallow_their_cancelling_for_ever() {
    let scheduler = Scheduler::new().unwrap();
    let spawn = |name, f: fn()| named(name).spawn_on(&scheduler, f).unwrap();
    let handles = [
        spawn("yields", || swallow(yield_now)),
        spawn("sleeps", || swallow(|| sleep(Duration::from_secs(1)))),
        spawn("owner", || {
            task::scope(|s| {
                let inner = named("in a scope").spawn_scoped(s, || swallow(task::park));
                inner.unwrap();
            });
        }),
    ];
    let ends = spawn("ends", task::park);
    let other = ends.task().clone();
    for _ in 0..3 {
        scheduler.turn(Some(Duration::ZERO)).unwrap();
    }
    drop(scheduler);
    for handle in handles.into_iter().chain([ends]) {
        assert!(handle.is_finished());
        handle.task().unpark();
        assert!(handle.join().unwrap_err().is_cancelled());
    }
    // What becomes of those that were given up is nobody else's concern.
    other.unpark();
    let next = Scheduler::new().unwrap();
    assert_eq!(next.block_on(|| multitask::spawn(|| 5).join().unwrap()), 5);
}

fn a_drop_gives_up_on_them_on_every_worker() {
    let scheduler = Scheduler::builder().workers(3).build().unwrap();
    let handles: Vec<_> = (0..3)
        .map(|worker| {
            scheduler.spawn_on(worker, move || {
                let name = named(&format!("on {worker}"));
                name.spawn_local(|| swallow(|| sleep(Duration::from_millis(1))))
                    .unwrap()
            })
        })
        .map(|spawner| spawner.join().unwrap())
        .collect();
    scheduler.turn(Some(Duration::from_millis(1))).unwrap();
    drop(scheduler);
    for handle in handles {
        assert!(handle.join().unwrap_err().is_cancelled());
    }
}

fn a_drop_waits_for_a_destructor_though_a_task_swallows_its_cancelling() {
    beside_one_who_swallows(|work| {
        let _waits = Unwinds(work);
        task::park();
    });
}

fn a_drop_waits_for_a_shield_though_a_task_swallows_its_cancelling() {
    beside_one_who_swallows(task::shield);
}

/// Drops a scheduler while a task does some work that takes longer than another is borne with that swallows.
fn beside_one_who_swallows(task: fn(fn())) {
    static DONE: AtomicUsize = AtomicUsize::new(0);
    fn work() {
        sleep(Duration::from_millis(400));
        DONE.fetch_add(1, SeqCst);
    }
    let scheduler = Scheduler::new().unwrap();
    let swallows = named("swallows").spawn_on(&scheduler, || swallow(yield_now));
    scheduler.spawn(move || task(work));
    scheduler.turn(None).unwrap();
    drop(scheduler);
    assert_eq!(DONE.load(SeqCst), 1);
    assert!(swallows.unwrap().join().unwrap_err().is_cancelled());
}

fn a_drop_lets_a_task_swallow_its_cancelling_ten_thousand_times() {
    let scheduler = Scheduler::new().unwrap();
    let patient = scheduler.spawn(|| {
        for _ in 0..10_000 {
            assert!(catch_unwind(task::park).is_err());
        }
        5
    });
    scheduler.turn(None).unwrap();
    drop(scheduler);
    assert_eq!(patient.join().unwrap(), 5);
}
