//! Deadlocks are reported, with all that is known about them, and nothing else is reported as one.

mod children;
mod common;

use children::{Running, SEES_DEADLOCKS};
use common::OnDrop;
use multitask::net::{TcpListener, TcpStream};
use multitask::sync::{self, mpsc as channels, oneshot, Queue};
use multitask::time::{interval_at, Timer, TimerError};
use multitask::{future, select, sleep, spawn, task, yield_now, Scheduler};
use std::cell::RefCell;
use std::io::{self, ErrorKind, Write};
use std::os::unix::process::ExitStatusExt;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::rc::Rc;
use std::sync::{mpsc, Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// A scheduler that can do nothing looks after 20 ms for the first time whether it is alone.
const BEYOND_DOUBT: Duration = Duration::from_millis(60);

fn main() {
    if !SEES_DEADLOCKS {
        println!("all cases skipped: no deadlock is seen on this system");
        return;
    }
    children::main(&[
        case!(
            run_names_every_task_its_place_and_what_it_waits_for,
            Running::succeeds
        ),
        case!(
            turn_reports_a_deadlock_when_it_would_wait_for_ever,
            Running::succeeds
        ),
        case!(
            block_on_panics_with_the_report_and_unwinds_its_task,
            Running::succeeds
        ),
        case!(a_task_that_joins_itself_is_reported, Running::succeeds),
        case!(
            a_task_that_waited_for_a_descriptor_before_it_was_stuck_is_reported,
            Running::succeeds
        ),
        case!(
            who_looks_on_does_not_stand_in_the_way_of_a_report,
            Running::succeeds
        ),
        case!(
            tasks_of_every_worker_are_in_the_report_of_a_deadlock,
            Running::succeeds
        ),
        case!(
            an_end_on_another_worker_is_not_taken_for_a_deadlock,
            Running::succeeds
        ),
        case!(tasks_that_join_each_other_are_reported, Running::succeeds),
        case!(
            tasks_that_wait_for_queues_are_reported_with_what_they_wait_for,
            Running::succeeds
        ),
        case!(
            a_task_that_locks_a_mutex_that_it_holds_is_reported,
            Running::succeeds
        ),
        case!(
            philosophers_who_each_take_the_left_fork_first_are_reported_by_name,
            Running::succeeds
        ),
        case!(
            tasks_that_wait_for_locks_are_reported_with_what_they_wait_for,
            Running::succeeds
        ),
        case!(
            tasks_that_wait_for_channels_are_reported_with_what_they_wait_for,
            Running::succeeds
        ),
        case!(
            tasks_that_wait_for_several_things_are_reported,
            Running::succeeds
        ),
        case!(
            a_task_that_waits_for_a_future_is_reported_as_such,
            Running::succeeds
        ),
        #[cfg(feature = "futures-io")]
        case!(
            a_future_that_waits_for_a_descriptor_is_no_deadlock_while_it_does,
            Running::succeeds
        ),
        case!(
            a_task_that_waits_for_a_descriptor_among_others_is_no_deadlock,
            Running::succeeds
        ),
        case!(
            the_tasks_of_a_deadlock_are_still_there_and_can_go_on,
            Running::succeeds
        ),
        case!(join_on_a_plain_main_panics_with_the_report, |child| {
            let ended = child.end();
            assert_eq!(ended.status.code(), Some(101));
            for part in [
                "waits for ever",
                "task 'stuck' (#",
                "tests/deadlock.rs:",
                "parked",
            ] {
                assert!(
                    ended.stderr.contains(part),
                    "{part} is missing in {}",
                    ended.stderr
                );
            }
        }),
        case!(park_on_a_plain_main_panics_with_the_report, |child| {
            let ended = child.end();
            assert_eq!(ended.status.code(), Some(101));
            assert!(ended.stderr.contains("task 'stuck' (#"), "{}", ended.stderr);
        }),
        case!(
            a_scope_on_a_plain_main_whose_tasks_are_stuck_cancels_them_and_panics,
            |child| {
                let ended = child.end();
                assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
                assert!(ended.stderr.contains("task 'stuck' (#"), "{}", ended.stderr);
            }
        ),
        case!(
            a_scope_on_a_plain_main_that_cannot_end_its_tasks_ends_the_process,
            |child| {
                let ended = child.end();
                assert_eq!(ended.status.signal(), Some(6), "{}", ended.stderr);
                assert!(
                    ended.stderr.contains("a scope cannot give up"),
                    "{}",
                    ended.stderr
                );
            }
        ),
        case!(a_task_in_a_scope_is_reported_as_such, Running::succeeds),
        case!(
            nothing_is_reported_while_another_thread_lives,
            Running::succeeds
        ),
        case!(
            a_deadlock_is_reported_when_the_last_other_thread_has_ended,
            Running::succeeds
        ),
        case!(
            a_timer_that_was_cancelled_hides_no_deadlock,
            Running::succeeds
        ),
        case!(a_sleeping_task_is_no_deadlock, Running::succeeds),
        case!(a_call_that_blocks_is_no_deadlock, Running::succeeds),
        case!(
            the_end_of_the_last_task_on_another_worker_is_no_deadlock,
            Running::succeeds
        ),
        case!(a_task_in_accept_is_no_deadlock, connects_late),
        case!(
            a_plain_main_in_accept_beside_a_parked_task_is_no_deadlock,
            connects_late
        ),
        case!(
            a_plain_main_in_read_beside_a_parked_task_is_no_deadlock,
            connects_late
        ),
        case!(
            a_nested_scheduler_that_waits_for_the_outer_one_is_reported,
            Running::succeeds
        ),
        case!(
            a_destructor_that_waits_for_ever_is_abandoned_with_a_message,
            |child| {
                let ended = child.end();
                assert!(
                    ended.status.success(),
                    "{:?} {}",
                    ended.status,
                    ended.stderr
                );
                for part in [
                    "abandoned",
                    "task 'stuck' (#",
                    "tests/deadlock.rs:",
                    "parked",
                ] {
                    assert!(
                        ended.stderr.contains(part),
                        "{part} is missing in {}",
                        ended.stderr
                    );
                }
            }
        ),
    ]);
}

fn named(name: &str) -> task::Builder {
    task::Builder::new().name(name.into())
}

fn run_names_every_task_its_place_and_what_it_waits_for() {
    let scheduler = Scheduler::new().unwrap();
    let (first, builder) = (line!(), named("first"));
    let parked = builder.spawn_on(&scheduler, task::park).unwrap();
    let (second, builder) = (line!(), named("second"));
    let joins = builder.spawn_on(&scheduler, move || parked.join());
    let third = line!() + 1;
    let shielded = scheduler.spawn(|| task::shield(task::park));
    scheduler.spawn(|| "this one ends");
    let report = scheduler.run().unwrap_err().to_string();
    let lines: Vec<_> = report.lines().collect();
    let title = lines[0];
    assert!(
        title.contains("deadlock") && title.contains("3 tasks"),
        "{report}"
    );
    let expected = [
        ("task 'first' (#", first + 1, "parked"),
        (
            "task 'second' (#",
            second + 1,
            "waiting for another task to end",
        ),
        ("task '<unnamed>' (#", third, "parked"),
    ];
    for (line, (title, place, why)) in lines[1..].iter().zip(expected) {
        let place = format!("tests/deadlock.rs:{place}:");
        for part in [title, &place, why] {
            assert!(line.contains(part), "{part} is missing in {line}");
        }
    }
    assert_eq!(lines.len(), 4, "{report}");
    assert_eq!(scheduler.stats().tasks, 3);
    shielded.task().unpark();
    drop(joins);
}

fn a_scope_on_a_plain_main_whose_tasks_are_stuck_cancels_them_and_panics() {
    let mut ended = false;
    let panic = catch_unwind(AssertUnwindSafe(|| {
        task::scope(|s| {
            let stuck = named("stuck").spawn_scoped(s, || {
                let _end = OnDrop(|| ended = true);
                task::park();
            });
            stuck.unwrap().task().name().unwrap().len()
        })
    }));
    assert!(panic.is_err() && ended);
}

fn a_scope_on_a_plain_main_that_cannot_end_its_tasks_ends_the_process() {
    task::scope(|s| {
        s.spawn(|| {
            let _stuck = OnDrop(task::park);
            task::park();
        });
    });
}

fn a_task_in_a_scope_is_reported_as_such() {
    let scheduler = Scheduler::new().unwrap();
    scheduler.spawn(|| {
        task::scope(|s| {
            s.spawn(task::park);
        });
    });
    let report = scheduler.run().unwrap_err().to_string();
    assert!(
        report.contains("waiting for the tasks of a scope to end"),
        "{report}"
    );
}

fn turn_reports_a_deadlock_when_it_would_wait_for_ever() {
    let scheduler = Scheduler::new().unwrap();
    let parked = scheduler.spawn(task::park);
    assert_eq!(scheduler.turn(None).unwrap(), 1);
    assert_eq!(
        scheduler.turn(Some(BEYOND_DOUBT)).unwrap(),
        0,
        "a wait that ends is no deadlock"
    );
    assert!(scheduler
        .turn(None)
        .unwrap_err()
        .to_string()
        .contains("parked"));
    parked.task().unpark();
    assert_eq!(scheduler.turn(None).unwrap(), 1);
    assert_eq!(scheduler.turn(None).unwrap(), 0, "nothing is left");
}

fn block_on_panics_with_the_report_and_unwinds_its_task() {
    std::panic::set_hook(Box::new(|_| ()));
    let scheduler = Scheduler::new().unwrap();
    let borrowed = RefCell::new(Vec::new());
    struct Note<'a>(&'a RefCell<Vec<&'static str>>);
    impl Drop for Note<'_> {
        fn drop(&mut self) {
            self.0.borrow_mut().push("dropped");
        }
    }
    let blocked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        scheduler.block_on(|| {
            let _note = Note(&borrowed);
            task::park();
        });
    }));
    let message = *blocked.unwrap_err().downcast::<String>().unwrap();
    assert!(
        message.contains("parked") && message.contains("deadlock.rs:"),
        "{message}"
    );
    assert_eq!(*borrowed.borrow(), ["dropped"]);
    assert_eq!(scheduler.block_on(|| 5), 5, "the scheduler goes on");
}

fn tasks_of_every_worker_are_in_the_report_of_a_deadlock() {
    let scheduler = Scheduler::builder().workers(3).build().unwrap();
    let handles = [0, 1, 2].map(|worker| scheduler.spawn_on(worker, task::park));
    let report = scheduler.run().unwrap_err().to_string();
    for handle in &handles {
        let id = format!("(#{})", handle.task().id());
        assert!(report.contains(&id), "{id} is not in {report}");
    }
    handles.iter().for_each(|handle| handle.cancel());
    scheduler.run().unwrap();
}

fn an_end_on_another_worker_is_not_taken_for_a_deadlock() {
    // The process has no other thread, so that the workers have only themselves to wait for.
    for _ in 0..200 {
        let scheduler = Scheduler::builder().workers(2).build().unwrap();
        let ended = scheduler.spawn_on(1, || 1);
        scheduler.run().unwrap();
        assert_eq!(ended.join().unwrap(), 1);
        // Nor when it is dropped, or when it was the captain who has woken the other.
        let (sender, receiver) = channels::channel::<u32>();
        scheduler.spawn_on(1, move || receiver.iter().count());
        scheduler.spawn_on(0, move || (0..3).for_each(|n| sender.send(n).unwrap()));
        assert_eq!(scheduler.run(), Ok(()));
        scheduler.spawn_on(1, task::park);
    }
}

fn who_looks_on_does_not_stand_in_the_way_of_a_report() {
    let builder = Scheduler::builder().trace_waits(true);
    let scheduler = builder.watchdog(Duration::from_secs(3600)).build().unwrap();
    named("stuck").spawn_on(&scheduler, task::park).unwrap();
    let deadlock = scheduler.run().unwrap_err().to_string();
    // The task is still there, and a dump tells the same of it.
    let dump = scheduler.dump();
    let line = deadlock.lines().nth(1).unwrap();
    assert!(
        dump.to_string().contains(line.trim()),
        "{line} is missing in {dump}"
    );
    assert!(dump.tasks()[0].backtrace().is_some());
}

/// However such waits have ended.
fn a_task_that_waited_for_a_descriptor_before_it_was_stuck_is_reported() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut far = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let near = listener.accept().unwrap().0;
    let scheduler = Scheduler::new().unwrap();
    let read = |mut stream: &TcpStream| io::Read::read(&mut stream, &mut [0; 1]);
    let waits = || read(&near).map_err(|error| error.kind());
    let cancelled = scheduler.spawn({
        let near = near.try_clone().unwrap();
        move || read(&near)
    });
    scheduler.block_on(|| {
        yield_now();
        cancelled.cancel();
        cancelled.join().unwrap_err();
        let limit = Some(Duration::from_millis(1));
        near.set_read_timeout(limit).unwrap();
        assert_eq!(waits(), Err(ErrorKind::TimedOut));
        near.set_read_timeout(None).unwrap();
        spawn(move || far.write_all(&[1]).unwrap());
        assert_eq!(waits(), Ok(1));
    });
    scheduler.spawn(task::park);
    let report = scheduler.run().unwrap_err().to_string();
    assert!(report.contains("parked"), "{report}");
}

fn a_task_that_joins_itself_is_reported() {
    let scheduler = Scheduler::new().unwrap();
    let own = Arc::new(Mutex::new(None::<task::JoinHandle<()>>));
    let slot = own.clone();
    let handle = scheduler.spawn(move || {
        let me = slot.lock().unwrap().take().unwrap();
        me.join().unwrap();
    });
    let task = handle.task().clone();
    *own.lock().unwrap() = Some(handle);
    let report = scheduler.run().unwrap_err().to_string();
    assert!(
        report.contains(&format!("(#{})", task.id())) && report.contains("another task to end"),
        "{report}"
    );
    drop(scheduler);
}

fn tasks_that_join_each_other_are_reported() {
    let scheduler = Scheduler::new().unwrap();
    let slot = Rc::new(RefCell::new(None::<task::JoinHandle<()>>));
    let other = slot.clone();
    let one = named("one").spawn_on(&scheduler, move || {
        let two = other.borrow_mut().take().unwrap();
        two.join().unwrap();
    });
    let one = one.unwrap();
    let two = named("two")
        .spawn_on(&scheduler, move || one.join().unwrap())
        .unwrap();
    *slot.borrow_mut() = Some(two);
    let report = scheduler.run().unwrap_err().to_string();
    assert!(
        report.contains("'one'") && report.contains("'two'"),
        "{report}"
    );
}

fn tasks_that_wait_for_queues_are_reported_with_what_they_wait_for() {
    let scheduler = Scheduler::new().unwrap();
    let (empty, full) = (Arc::new(Queue::bounded(1)), Arc::new(Queue::bounded(0)));
    let queue = empty.clone();
    scheduler.spawn(move || queue.get().unwrap());
    let queue = full.clone();
    scheduler.spawn(move || queue.put(1).unwrap());
    let report = scheduler.run().unwrap_err().to_string();
    for part in [
        "2 tasks",
        "waiting for an item of a queue",
        "waiting for room in a queue",
    ] {
        assert!(report.contains(part), "{part} is missing in {report}");
    }
    empty.put(2).unwrap();
    assert_eq!(full.get(), Ok(1));
    scheduler.run().unwrap();
}

fn a_task_that_waits_for_a_future_is_reported_as_such() {
    let scheduler = Scheduler::new().unwrap();
    let event = Arc::new(sync::Event::new());
    let waits = event.clone();
    scheduler.spawn(move || future::block_on(waits.wait_async()));
    let report = scheduler.run().unwrap_err().to_string();
    for part in ["1 task", "waiting for a future"] {
        assert!(report.contains(part), "{part} is missing in {report}");
    }
    event.set();
    scheduler.run().unwrap();
}

/// Whether there is a thread that polls for futures which no worker polls for.
#[cfg(feature = "futures-io")]
fn looks_out() -> bool {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let mut names = threads.map(|thread| {
        std::fs::read_to_string(thread.unwrap().path().join("comm")).unwrap_or_default()
    });
    // The system keeps 15 letters.
    names.any(|name| name.starts_with("multitask-looko"))
}

/// A pipe whose other end answers when the scheduler has had time to doubt; read once by the waker of the task, once by another.
#[cfg(feature = "futures-io")]
fn a_future_that_waits_for_a_descriptor_is_no_deadlock_while_it_does() {
    use futures::stream::{FuturesOrdered, StreamExt};
    use futures::AsyncReadExt;

    let late = || {
        let mut command = multitask::process::Command::new("sh");
        let command = command.args(["-c", "sleep 0.1; echo late"]);
        let mut child = command.stdout(multitask::process::Stdio::piped()).spawn();
        child.as_mut().unwrap().stdout.take().unwrap()
    };
    let scheduler = Scheduler::new().unwrap();
    let direct = scheduler.spawn(move || {
        let mut word = [0; 4];
        future::block_on(async { late().read_exact(&mut word).await }).unwrap();
        word
    });
    scheduler.run().unwrap();
    assert_eq!(&direct.join().unwrap(), b"late");
    assert!(!looks_out(), "its worker has polled for it");
    let indirect = scheduler.spawn(move || {
        let read = async {
            let mut word = [0; 4];
            late().read_exact(&mut word).await.unwrap();
            word
        };
        let mut reads: FuturesOrdered<_> = [read].into_iter().collect();
        future::block_on(reads.next()).unwrap()
    });
    scheduler.run().unwrap();
    assert_eq!(&indirect.join().unwrap(), b"late");
    assert!(looks_out());
    // The thread that looked out does not stand in the way of a report.
    scheduler.spawn(task::park);
    assert!(scheduler.run().is_err());
}

fn a_task_that_locks_a_mutex_that_it_holds_is_reported() {
    let scheduler = Scheduler::new().unwrap();
    let mutex = Arc::new(sync::Mutex::new(()));
    let shared = mutex.clone();
    let twice = named("twice").spawn_on(&scheduler, move || {
        let _guard = shared.lock().unwrap();
        drop(shared.lock().unwrap());
    });
    let report = scheduler.run().unwrap_err().to_string();
    for part in ["1 task", "task 'twice' (#", "waiting for a mutex"] {
        assert!(report.contains(part), "{part} is missing in {report}");
    }
    twice.unwrap().cancel();
    scheduler.run().unwrap();
    assert!(mutex.try_lock().is_ok());
}

fn philosophers_who_each_take_the_left_fork_first_are_reported_by_name() {
    let names = ["Plato", "Confucius", "Socrates", "Voltaire", "Descartes"];
    let scheduler = Scheduler::new().unwrap();
    let forks: Arc<[sync::Mutex<()>; 5]> = Arc::default();
    let seated = [0, 1, 2, 3, 4].map(|seat| {
        let forks = forks.clone();
        let eats = move || {
            let _left = forks[seat].lock().unwrap();
            yield_now();
            let _right = forks[(seat + 1) % 5].lock().unwrap();
        };
        named(names[seat]).spawn_on(&scheduler, eats).unwrap()
    });
    let report = scheduler.run().unwrap_err().to_string();
    let lines: Vec<_> = report.lines().collect();
    assert!(lines[0].contains("5 tasks"), "{report}");
    for (line, name) in lines[1..].iter().zip(names) {
        assert!(line.contains(&format!("task '{name}' (#")), "{report}");
        assert!(line.contains("waiting for a mutex"), "{report}");
    }
    assert_eq!(lines.len(), 6, "{report}");
    // One who gives up lets all the others eat.
    seated[2].cancel();
    scheduler.run().unwrap();
    let ate = seated.map(|philosopher| philosopher.join().is_ok());
    assert_eq!(ate, [true, true, false, true, true]);
    assert!(forks.iter().all(|fork| fork.try_lock().is_ok()));
}

fn tasks_that_wait_for_locks_are_reported_with_what_they_wait_for() {
    static MUTEX: sync::Mutex<()> = sync::Mutex::new(());
    static CHANGED: sync::Condvar = sync::Condvar::new();
    static LOCK: sync::RwLock<()> = sync::RwLock::new(());
    static CELL: sync::OnceLock<()> = sync::OnceLock::new();
    static BARRIER: sync::Barrier = sync::Barrier::new(2);
    static SEMAPHORE: sync::Semaphore = sync::Semaphore::new(0);
    static EVENT: sync::Event = sync::Event::new();
    static NOTIFY: sync::Notify = sync::Notify::new();
    let scheduler = Scheduler::new().unwrap();
    let group = sync::WaitGroup::new();
    let member = group.clone();
    let _reader = LOCK.read().unwrap();
    type Wait = Box<dyn FnOnce() + Send>;
    let waits: [(&str, Wait); 9] = [
        (
            "waiting for a condition variable",
            Box::new(|| drop(CHANGED.wait(MUTEX.lock().unwrap()))),
        ),
        (
            "waiting to write what an RwLock guards",
            Box::new(|| drop(LOCK.write())),
        ),
        (
            "waiting to read what an RwLock guards",
            Box::new(|| drop(LOCK.read())),
        ),
        (
            "waiting for another to initialize a value",
            Box::new(|| *CELL.wait()),
        ),
        ("waiting at a barrier", Box::new(|| _ = BARRIER.wait())),
        (
            "waiting for permits of a semaphore",
            Box::new(|| drop(SEMAPHORE.acquire())),
        ),
        ("waiting for an event", Box::new(|| EVENT.wait())),
        ("waiting to be notified", Box::new(|| NOTIFY.wait())),
        ("waiting for a group to be done", Box::new(|| member.wait())),
    ];
    let whys = waits.map(|(why, wait)| {
        scheduler.spawn(wait);
        why
    });
    let report = scheduler.run().unwrap_err().to_string();
    for part in ["9 tasks"].iter().chain(&whys) {
        assert!(report.contains(part), "{part} is missing in {report}");
    }
    drop(group);
}

fn tasks_that_wait_for_channels_are_reported_with_what_they_wait_for() {
    let scheduler = Scheduler::new().unwrap();
    let (full, empty) = (channels::sync_channel(0), channels::channel());
    let (sender, receiver) = (full.0, empty.1);
    scheduler.spawn(move || sender.send(1).unwrap());
    scheduler.spawn(move || receiver.recv().unwrap());
    let (answer, awaited) = oneshot::channel();
    scheduler.spawn(move || awaited.recv().unwrap());
    let report = scheduler.run().unwrap_err().to_string();
    for part in [
        "3 tasks",
        "waiting for the one message of a channel",
        "waiting to send into a channel",
        "waiting to receive from a channel",
    ] {
        assert!(report.contains(part), "{part} is missing in {report}");
    }
    answer.send(3).unwrap();
    empty.0.send(2).unwrap();
    assert_eq!(full.1.recv(), Ok(1));
    scheduler.run().unwrap();
}

fn tasks_that_wait_for_several_things_are_reported() {
    let scheduler = Scheduler::new().unwrap();
    let (sender, receiver) = channels::channel();
    let (answer, awaited) = oneshot::channel::<u8>();
    scheduler.spawn(move || {
        select! {
            recv(receiver) -> message => message.unwrap(),
            recv(awaited) -> answer => answer.unwrap(),
        }
    });
    let report = scheduler.run().unwrap_err().to_string();
    let part = "waiting for the first of several things";
    assert!(report.contains(part), "{part} is missing in {report}");
    sender.send(1).unwrap();
    scheduler.run().unwrap();
    drop(answer);
}

fn a_task_that_waits_for_a_descriptor_among_others_is_no_deadlock() {
    let scheduler = Scheduler::new().unwrap();
    let (reader, _writer) = std::io::pipe().unwrap();
    let (_sender, receiver) = channels::channel::<u8>();
    let waits = scheduler.spawn(move || {
        select! {
            recv(receiver) -> _ => {}
            readable(reader) => {}
        }
    });
    let deadline = Instant::now() + BEYOND_DOUBT;
    while Instant::now() < deadline {
        scheduler.turn(Some(BEYOND_DOUBT)).unwrap();
    }
    assert!(!waits.is_finished());
    assert_eq!(scheduler.stats().io, 1);
}

fn the_tasks_of_a_deadlock_are_still_there_and_can_go_on() {
    let scheduler = Scheduler::new().unwrap();
    let parked = scheduler.spawn(|| {
        task::park();
        5
    });
    assert!(scheduler.run().is_err());
    assert!(scheduler.run().is_err(), "again");
    assert!(!parked.is_finished());
    parked.task().unpark();
    scheduler.run().unwrap();
    assert_eq!(parked.join().unwrap(), 5);
}

fn join_on_a_plain_main_panics_with_the_report() {
    let _ = named("stuck").spawn(task::park).unwrap().join();
}

fn park_on_a_plain_main_panics_with_the_report() {
    let _parked = named("stuck").spawn(task::park).unwrap();
    task::park();
}

fn nothing_is_reported_while_another_thread_lives() {
    let scheduler = Scheduler::new().unwrap();
    let parked = scheduler.spawn(task::park);
    let task = parked.task().clone();
    let thread = thread::spawn(move || {
        thread::sleep(3 * BEYOND_DOUBT);
        task.unpark();
    });
    scheduler.run().unwrap();
    thread.join().unwrap();

    let parked = spawn(task::park);
    let task = parked.task().clone();
    let thread = thread::spawn(move || {
        thread::sleep(3 * BEYOND_DOUBT);
        task.unpark();
    });
    parked.join().unwrap();
    thread.join().unwrap();
}

fn a_deadlock_is_reported_when_the_last_other_thread_has_ended() {
    let scheduler = Scheduler::new().unwrap();
    scheduler.spawn(task::park);
    let (end, ending) = mpsc::channel::<()>();
    let start = Instant::now();
    let thread = thread::spawn(move || ending.recv_timeout(3 * BEYOND_DOUBT));
    assert!(scheduler.run().is_err());
    assert!(start.elapsed() >= 3 * BEYOND_DOUBT);
    drop(end);
    assert!(thread.join().unwrap().is_err());
}

fn the_end_of_the_last_task_on_another_worker_is_no_deadlock() {
    let builder = Scheduler::builder().workers(2).spin(Duration::ZERO);
    let scheduler = builder.build().unwrap();
    for _ in 0..1_000 {
        scheduler.spawn_on(1, || ());
        scheduler.run().unwrap();
        scheduler.spawn_on(1, || ());
        while scheduler.stats().live > 0 {
            scheduler.turn(None).unwrap();
        }
    }
}

fn a_call_that_blocks_is_no_deadlock() {
    let scheduler = Scheduler::new().unwrap();
    let parked = scheduler.spawn(task::park);
    let waiting = parked.task().clone();
    scheduler.spawn(move || {
        // Twice: the thread that was idle in between is busy again.
        for _ in 0..2 {
            task::blocking(|| thread::sleep(BEYOND_DOUBT));
        }
        waiting.unpark();
    });
    scheduler.run().unwrap();
    // Its thread waits for work, and wakes nobody.
    scheduler.spawn(task::park);
    scheduler.run().unwrap_err();
}

fn a_timer_that_was_cancelled_hides_no_deadlock() {
    let scheduler = Scheduler::new().unwrap();
    let long = Duration::from_secs(3600);
    let parked = scheduler.spawn(move || {
        task::park_timeout(long);
        multitask::timeout(long, task::park).unwrap();
        task::park();
    });
    for _ in 0..2 {
        scheduler.turn(None).unwrap();
        parked.task().unpark();
    }
    let sleeper = scheduler.spawn(move || sleep(long));
    scheduler.turn(None).unwrap();
    sleeper.cancel();
    assert!(scheduler
        .run()
        .unwrap_err()
        .to_string()
        .contains("1 task left"));
    // Nor does a `Timer` that its waiter learns to be cancelled, nor one that is never due.
    let scheduler = Scheduler::new().unwrap();
    let timer = Arc::new(Timer::new(long));
    let waits = timer.clone();
    let waiter = scheduler.spawn(move || {
        assert_eq!(waits.wait(), Err(TimerError::Disarmed));
        Timer::new(Duration::MAX).wait()
    });
    scheduler.turn(None).unwrap();
    assert!(timer.cancel());
    let deadlock = scheduler.run().unwrap_err().to_string();
    assert!(deadlock.contains(": waiting for a timer"), "{deadlock}");
    waiter.cancel();
    scheduler.run().unwrap();
}

fn a_sleeping_task_is_no_deadlock() {
    let scheduler = Scheduler::new().unwrap();
    let parked = scheduler.spawn(task::park);
    scheduler.spawn(move || {
        sleep(2 * BEYOND_DOUBT);
        interval_at(Instant::now() + 2 * BEYOND_DOUBT, BEYOND_DOUBT).tick();
        Timer::new(2 * BEYOND_DOUBT).wait().unwrap();
        parked.task().unpark();
    });
    scheduler.run().unwrap();
    // Nor is it on a plain thread.
    let parked = spawn(task::park);
    sleep(2 * BEYOND_DOUBT);
    parked.task().unpark();
    parked.join().unwrap();
}

/// Connects to the port that the child names, but only after the child has had the time for its doubts.
fn connects_late(mut child: Running) {
    let port = child.line().parse::<u16>().unwrap();
    thread::sleep(2 * BEYOND_DOUBT);
    let stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    thread::sleep(2 * BEYOND_DOUBT);
    (&stream).write_all(b"!").unwrap();
    child.succeeds();
}

fn listen() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", listener.local_addr().unwrap().port());
    listener
}

fn read_one(stream: &TcpStream) {
    use std::io::Read;
    let mut stream: &TcpStream = stream;
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 1);
}

fn a_task_in_accept_is_no_deadlock() {
    let scheduler = Scheduler::new().unwrap();
    scheduler.spawn(|| {
        let (stream, _) = listen().accept().unwrap();
        read_one(&stream);
    });
    scheduler.run().unwrap();
    assert_eq!(scheduler.stats(), multitask::Stats::default());
}

fn a_plain_main_in_accept_beside_a_parked_task_is_no_deadlock() {
    let _parked = spawn(task::park);
    listen().accept().unwrap();
}

fn a_plain_main_in_read_beside_a_parked_task_is_no_deadlock() {
    let (stream, _) = listen().accept().unwrap();
    let _parked = spawn(task::park);
    yield_now();
    read_one(&stream);
}

fn a_nested_scheduler_that_waits_for_the_outer_one_is_reported() {
    let outer = Scheduler::new().unwrap();
    let other = outer.spawn(|| ());
    let nested = outer.spawn(move || {
        let inner = Scheduler::new().unwrap();
        inner.spawn(move || other.join());
        // The outer scheduler stands still while the inner one runs. Its first task has ended by now.
        inner.run().unwrap();
        let parked = inner.spawn(task::park);
        let report = inner.run().unwrap_err().to_string();
        parked.task().unpark();
        inner.run().unwrap();
        report
    });
    outer.run().unwrap();
    assert!(nested.join().unwrap().contains("parked"));
}

fn a_destructor_that_waits_for_ever_is_abandoned_with_a_message() {
    struct Stuck;
    impl Drop for Stuck {
        fn drop(&mut self) {
            task::park();
        }
    }
    let scheduler = Scheduler::new().unwrap();
    let stuck = named("stuck").spawn_on(&scheduler, || {
        let _stuck = Stuck;
        task::park();
    });
    let stuck = stuck.unwrap();
    let task = stuck.task().clone();
    scheduler.turn(None).unwrap();
    drop(scheduler);
    // It is gone for all others, and waking it does no harm, on any scheduler.
    task.unpark();
    assert!(stuck.is_finished());
    stuck.cancel();
    assert!(stuck.join().unwrap_err().is_cancelled());
    let next = Scheduler::new().unwrap();
    task.unpark();
    assert_eq!(next.block_on(|| spawn(|| 5).join().unwrap()), 5);
}
