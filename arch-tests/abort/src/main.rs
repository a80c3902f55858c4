//! A build with `panic = "abort"`: what can fail says that it was cancelled or that the time is up, the rest waits for
//! real, and neither cancelling, nor a time limit, nor dropping a scheduler ends the process or hangs.
//!
//! Cargo builds tests with unwinding whatever the profile says, so this is a program of its own:
//!
//! ```text
//! cargo run -p abort --profile abort
//! ```

#[path = "../../../tests/children/mod.rs"]
mod children;

use children::Running;
use multitask::net::{TcpListener, TcpStream};
use multitask::sync::{mpsc, GetError, Mutex, Queue};
use multitask::task::{self, JoinTimeoutError};
use multitask::{sleep, spawn, timeout, yield_now, Cancelled, JoinHandle, Scheduler, Timeout};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::exit;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(5);
const LONG: Duration = Duration::from_secs(3600);

fn main() {
    if !cfg!(panic = "abort") {
        eprintln!("this shows nothing in a build that unwinds: say --profile abort");
        exit(1);
    }
    children::main(&[
        case!(
            what_can_fail_says_that_its_task_was_cancelled,
            Running::succeeds
        ),
        case!(
            what_can_fail_says_that_the_time_of_a_scope_is_up,
            Running::succeeds
        ),
        case!(what_cannot_fail_waits_for_real, Running::succeeds),
        case!(
            a_task_that_was_cancelled_before_it_began_never_begins,
            Running::succeeds
        ),
        case!(the_tasks_of_a_scope_hear_of_what_ends_it, Running::succeeds),
        case!(
            a_shutdown_names_those_that_cannot_be_told,
            Running::succeeds
        ),
        case!(
            a_drop_runs_the_destructors_of_tasks_that_heed_their_errors,
            Running::succeeds
        ),
        case!(
            a_drop_ends_those_who_wait_for_tasks_that_end_by_it,
            Running::succeeds
        ),
        case!(
            a_drop_waits_for_what_is_shielded_and_for_calls_that_block,
            Running::succeeds
        ),
        case!(a_drop_gives_up_on_tasks_that_cannot_be_told, |child| {
            gives_up(
                child,
                &[
                    "sleeps",
                    "for long",
                    "yields",
                    "parks",
                    "receives",
                    "locks",
                    "joins",
                    "owner",
                    "in a scope",
                ],
            )
        }),
        case!(a_drop_gives_up_on_them_on_every_worker, |child| gives_up(
            child,
            &["on 0", "on 1", "on 2"]
        )),
        case!(
            a_drop_gives_up_on_a_task_in_a_destructor_that_goes_on_for_ever,
            |child| gives_up(child, &["says goodbye"])
        ),
        case!(
            tasks_that_cannot_be_told_are_left_at_the_end_of_their_thread_and_of_main,
            Running::succeeds
        ),
        case!(
            a_panic_in_a_task_ends_the_process_with_its_message,
            |child| {
                let ended = child.end();
                assert_eq!(ended.status.signal(), Some(6), "{}", ended.stderr);
                assert!(ended.stderr.contains("the story ends"), "{}", ended.stderr);
            }
        ),
        case!(a_panic_hook_may_wait_before_the_process_ends, |child| {
            let ended = child.end();
            assert_eq!(ended.status.signal(), Some(6), "{}", ended.stderr);
            assert!(
                ended.stderr.contains("the others went on"),
                "{}",
                ended.stderr
            );
        }),
    ]);
}

/// It ends well, and says that it gave up on tasks of these names, and of no others.
fn gives_up(child: Running, names: &[&str]) {
    let ended = child.end();
    assert!(
        ended.status.success(),
        "{:?} {}",
        ended.status,
        ended.stderr
    );
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

fn pair() -> (TcpStream, std::net::TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let far = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener.accept().unwrap().0, far)
}

/// Lets the tasks go on until none is ready.
fn settle(scheduler: &Scheduler) {
    while scheduler.turn(Some(Duration::ZERO)).unwrap() > 0 {}
}

/// Counts itself when it is dropped.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

// ---- cancelling and limits ----

fn what_can_fail_says_that_its_task_was_cancelled() {
    let scheduler = Scheduler::new().unwrap();
    let (near, _far) = pair();
    let mut exact = near.try_clone().unwrap();
    let mut full = near.try_clone().unwrap();
    let mut reads = near;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let is_cancelled = |error: io::Error| {
        assert_eq!(error.kind(), ErrorKind::Other, "{error}");
        error.get_ref().is_some_and(|inner| inner.is::<Cancelled>())
    };
    let operations: Vec<Box<dyn FnOnce() -> bool>> = vec![
        Box::new(move || is_cancelled(reads.read(&mut [0; 8]).unwrap_err())),
        Box::new(move || is_cancelled(exact.read_exact(&mut [0; 8]).unwrap_err())),
        Box::new(move || is_cancelled(full.write_all(&vec![0; 64 << 20]).unwrap_err())),
        Box::new(move || is_cancelled(listener.accept().unwrap_err())),
        Box::new(|| Queue::<u8>::unbounded().get() == Err(GetError::Cancelled)),
        Box::new(|| {
            let child = spawn(task::park);
            let told = child.join_timeout(LONG);
            matches!(told, Err(JoinTimeoutError::Interrupted(child, Cancelled))
                if { child.task().unpark(); true })
        }),
    ];
    let count = Arc::new(AtomicUsize::new(0));
    let handles: Vec<_> = operations
        .into_iter()
        .map(|operation| {
            let one = Counted(count.clone());
            scheduler.spawn_local(move || {
                let _one = one;
                // Told by the wait that is under way. What comes after is for the task to decide.
                operation()
            })
        })
        .collect();
    settle(&scheduler);
    assert!(handles.iter().all(|handle| !handle.is_finished()));
    handles.iter().for_each(JoinHandle::cancel);
    scheduler.run().unwrap();
    assert_eq!(count.load(SeqCst), handles.len());
    for (n, handle) in handles.into_iter().enumerate() {
        assert!(handle.join().unwrap(), "operation {n}");
    }
}

fn what_can_fail_says_that_the_time_of_a_scope_is_up() {
    let scope = || {
        let (mut near, _far) = pair();
        let told = timeout(SHORT, || near.read(&mut [0; 8]));
        // It has returned, and so its value counts.
        let error = told.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(error.get_ref().unwrap().is::<Timeout>());
        let queue = Queue::<u8>::unbounded();
        assert_eq!(timeout(SHORT, || queue.get()), Ok(Err(GetError::Timeout)));
    };
    scope();
    Scheduler::new().unwrap().block_on(scope);
}

fn what_cannot_fail_waits_for_real() {
    let scheduler = Scheduler::new().unwrap();
    let start = Instant::now();
    let sleeps = scheduler.spawn(|| {
        sleep(4 * SHORT);
        timeout(SHORT, || sleep(4 * SHORT))
    });
    let parks = scheduler.spawn(task::park);
    let parked = parks.task().clone();
    let joins = scheduler.spawn(move || parks.join());
    let (tell, told) = mpsc::channel();
    let receives = scheduler.spawn(move || told.recv());
    settle(&scheduler);
    sleeps.cancel();
    joins.cancel();
    receives.cancel();
    settle(&scheduler);
    assert!(!joins.is_finished() && !receives.is_finished());
    parked.unpark();
    tell.send(5).unwrap();
    scheduler.run().unwrap();
    assert!(start.elapsed() >= 8 * SHORT);
    assert_eq!(sleeps.join().unwrap(), Ok(()));
    assert!(joins.join().unwrap().is_ok());
    assert_eq!(receives.join().unwrap(), Ok(5));
}

fn a_task_that_was_cancelled_before_it_began_never_begins() {
    let scheduler = Scheduler::new().unwrap();
    let refused = scheduler.spawn(|| exit(1));
    refused.cancel();
    scheduler.run().unwrap();
    assert!(refused.join().unwrap_err().is_cancelled());
}

fn the_tasks_of_a_scope_hear_of_what_ends_it() {
    // The caller is cancelled before it waits, or while it does.
    for early in [false, true] {
        let scheduler = Scheduler::new().unwrap();
        let owner = scheduler.spawn(move || {
            task::scope(|s| {
                let (mut near, _far) = pair();
                let reads = s.spawn(move || near.read(&mut [0; 8]).is_err());
                if early {
                    yield_now();
                    yield_now();
                }
                // None of those begins that come when it is over.
                let late = early.then(|| s.spawn(|| exit(1)));
                (reads.join().unwrap(), late.is_some())
            })
        });
        for _ in 0..2 {
            scheduler.turn(Some(Duration::ZERO)).unwrap();
        }
        owner.cancel();
        if early {
            // Nobody has told the scope yet.
            scheduler.turn(Some(Duration::ZERO)).unwrap();
        }
        drop((scheduler, owner));
    }
    // And by a deadline.
    let told = timeout(SHORT, || {
        task::scope(|s| {
            let (mut near, far) = pair();
            s.spawn(move || {
                let error = near.read(&mut [0; 8]).unwrap_err();
                drop(far);
                assert!(error.get_ref().unwrap().is::<Cancelled>());
            });
        })
    });
    assert_eq!(told, Ok(()));
}

fn a_shutdown_names_those_that_cannot_be_told() {
    let scheduler = Scheduler::new().unwrap();
    let sleeps = named("sleeps").spawn_on(&scheduler, || loop {
        sleep(SHORT);
    });
    settle(&scheduler);
    let soon = Instant::now() + 4 * SHORT;
    let left = scheduler.handle().shutdown(soon).unwrap_err();
    assert_eq!(left.tasks()[0].name(), Some("sleeps"));
    assert!(!sleeps.unwrap().is_finished());
    std::mem::forget(scheduler);
}

// ---- dropping a scheduler ----

fn a_drop_runs_the_destructors_of_tasks_that_heed_their_errors() {
    for workers in [1, 3] {
        let built = Scheduler::builder().workers(workers).build();
        let (scheduler, count) = (built.unwrap(), Arc::new(AtomicUsize::new(0)));
        let handles: Vec<_> = (0..workers)
            .map(|worker| {
                let one = Counted(count.clone());
                scheduler.spawn_on(worker, move || {
                    let _one = one;
                    let (mut near, _far) = pair();
                    near.read(&mut [0; 8]).map(drop)
                })
            })
            .collect();
        scheduler.turn(Some(SHORT)).unwrap();
        drop(scheduler);
        assert_eq!(count.load(SeqCst), workers);
        for handle in handles {
            assert!(!matches!(handle.join(), Ok(Ok(()))));
        }
    }
}

fn a_drop_ends_those_who_wait_for_tasks_that_end_by_it() {
    let scheduler = Scheduler::new().unwrap();
    let (mut near, _far) = pair();
    let (first, mut next) = mpsc::channel::<()>();
    scheduler.spawn(move || {
        let _held = first;
        near.read(&mut [0; 8]).is_err()
    });
    // Each has the sender that the next one waits for, and cannot be told itself.
    let handles: Vec<_> = (0..20)
        .map(|n| {
            let (held, other) = mpsc::channel();
            let told = std::mem::replace(&mut next, other);
            scheduler.spawn(move || {
                let _held = held;
                assert!(told.recv().is_err());
                // All together take longer than is borne with in one of them.
                sleep(Duration::from_millis(30));
                n
            })
        })
        .collect();
    settle(&scheduler);
    drop(scheduler);
    for (n, handle) in handles.into_iter().enumerate() {
        assert_eq!(handle.join().unwrap(), n);
    }
}

fn a_drop_waits_for_what_is_shielded_and_for_calls_that_block() {
    // Longer than it takes to give up on others.
    const LATE: Duration = Duration::from_millis(400);
    let scheduler = Scheduler::new().unwrap();
    let shielded = scheduler.spawn(|| task::shield(|| sleep(LATE)));
    let blocks = scheduler.spawn(|| task::blocking(|| thread::sleep(LATE)));
    settle(&scheduler);
    drop(scheduler);
    shielded.join().unwrap();
    blocks.join().unwrap();
}

fn a_drop_gives_up_on_tasks_that_cannot_be_told() {
    let scheduler = Scheduler::new().unwrap();
    let (tell, told) = mpsc::channel::<()>();
    let mutex = Arc::new(Mutex::new(()));
    let lock = mutex.clone();
    let held = mutex.lock().unwrap();
    let spawn = |name: &str, f: Box<dyn FnOnce() + Send>| {
        let spawned = named(name).spawn_on(&scheduler, f);
        spawned.unwrap()
    };
    let parks = spawn("parks", Box::new(task::park));
    let parked = parks.task().clone();
    let handles = [
        spawn(
            "sleeps",
            Box::new(|| loop {
                sleep(Duration::from_millis(1));
            }),
        ),
        spawn("for long", Box::new(|| sleep(LONG))),
        spawn(
            "yields",
            Box::new(|| loop {
                yield_now();
            }),
        ),
        spawn("receives", Box::new(move || assert!(told.recv().is_ok()))),
        spawn("locks", Box::new(move || drop(lock.lock()))),
        spawn("joins", Box::new(move || drop(parks.join()))),
        spawn(
            "owner",
            Box::new(|| {
                task::scope(|s| {
                    let inner = named("in a scope").spawn_scoped(s, || loop {
                        sleep(Duration::from_millis(1));
                    });
                    inner.unwrap();
                });
            }),
        ),
    ];
    for _ in 0..3 {
        scheduler.turn(Some(Duration::ZERO)).unwrap();
    }
    drop(scheduler);
    // What they held and waited for is still there for the others, and waking them does no harm.
    drop(held);
    let _nobody = tell.send(());
    parked.unpark();
    for handle in handles {
        assert!(handle.join().unwrap_err().is_cancelled());
    }
    let next = Scheduler::new().unwrap();
    assert_eq!(next.block_on(|| multitask::spawn(|| 5).join().unwrap()), 5);
}

fn a_drop_gives_up_on_them_on_every_worker() {
    let scheduler = Scheduler::builder().workers(3).build().unwrap();
    let handles: Vec<_> = (0..3)
        .map(|worker| {
            scheduler.spawn_on(worker, move || {
                let name = named(&format!("on {worker}"));
                let spawned = name.spawn_local(|| loop {
                    sleep(Duration::from_millis(1));
                });
                spawned.unwrap()
            })
        })
        .map(|spawner| spawner.join().unwrap())
        .collect();
    // Each has begun when it is asked for its name by a task that came after it.
    for worker in 0..3 {
        scheduler.spawn_on(worker, || sleep(SHORT)).join().unwrap();
    }
    drop(scheduler);
    for handle in handles {
        assert!(handle.join().unwrap_err().is_cancelled());
    }
}

fn a_drop_gives_up_on_a_task_in_a_destructor_that_goes_on_for_ever() {
    struct Goodbye;
    impl Drop for Goodbye {
        fn drop(&mut self) {
            loop {
                sleep(Duration::from_millis(1));
            }
        }
    }
    let scheduler = Scheduler::new().unwrap();
    let (mut near, _far) = pair();
    let says = named("says goodbye").spawn_on(&scheduler, move || {
        let _goodbye = Goodbye;
        near.read(&mut [0; 8]).is_err()
    });
    settle(&scheduler);
    drop(scheduler);
    assert!(says.unwrap().join().unwrap_err().is_cancelled());
}

fn tasks_that_cannot_be_told_are_left_at_the_end_of_their_thread_and_of_main() {
    let leave = || {
        let handle = spawn(|| loop {
            sleep(Duration::from_millis(1));
        });
        handle.cancel();
        sleep(SHORT);
        handle
    };
    let handle: JoinHandle<()> = thread::spawn(leave).join().unwrap();
    assert!(handle.join().unwrap_err().is_cancelled());
    drop(leave());
}

fn a_panic_in_a_task_ends_the_process_with_its_message() {
    let task = spawn(|| -> () { panic!("the story ends") });
    let _never: Result<(), _> = task.join();
}

fn a_panic_hook_may_wait_before_the_process_ends() {
    std::panic::set_hook(Box::new(|_| {
        let child = spawn(|| sleep(Duration::from_micros(100)));
        child.join().unwrap();
        eprintln!("the others went on");
    }));
    let task = spawn(|| -> () { panic!("the story ends") });
    let _never: Result<(), _> = task.join();
}
