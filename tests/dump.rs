//! Dumps: each task is told of as it is, and none notices.

mod common;

use common::{ends, scheduler, settle, Random, LONG};
use multitask::dump::{Answer, Dump, State, TaskInfo, WorkerInfo};
use multitask::net::TcpListener;
use multitask::sync::{mpsc, Mutex, Queue};
use multitask::{sleep, spawn, task, timeout, yield_now, Handle, JoinHandle, Scheduler};
use std::io::{Read, Write};
use std::net::TcpStream as StdStream;
use std::ptr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

fn named(name: &str) -> task::Builder {
    task::Builder::new().name(name.into())
}

fn find<'a>(dump: &'a Dump, name: &str) -> &'a TaskInfo {
    let mut found = dump.tasks().iter().filter(|task| task.name() == Some(name));
    let task = found.next();
    assert!(found.next().is_none(), "{name} is there twice: {dump}");
    task.unwrap_or_else(|| panic!("{name} is missing: {dump}"))
}

/// The state of the task of that name.
fn state(dump: &Dump, name: &str) -> State {
    find(dump, name).state()
}

fn all_answer(dump: &Dump) -> bool {
    dump.workers()
        .iter()
        .all(|worker| worker.answer() == Answer::Given)
}

#[test]
fn a_task_is_told_of_in_each_of_its_states() {
    let scheduler = Scheduler::new().unwrap();
    named("parked").spawn_on(&scheduler, task::park).unwrap();
    let woken = named("woken").spawn_on(&scheduler, task::park).unwrap();
    scheduler.turn(Some(Duration::ZERO)).unwrap();
    woken.task().unpark();
    named("yields").spawn_on(&scheduler, yield_now).unwrap();
    let handle = scheduler.handle();
    let asks = move || {
        spawn(|| ()).join().unwrap();
        handle.dump_within(LONG)
    };
    let asks = named("asks").spawn_on(&scheduler, asks).unwrap();
    named("new").spawn_on(&scheduler, || ()).unwrap();

    let outside = scheduler.dump();
    assert_eq!(state(&outside, "parked"), State::Waiting);
    assert_eq!(
        find(&outside, "parked").waits_for(),
        "parked until somebody unparks it"
    );
    assert_eq!(state(&outside, "woken"), State::Ready);
    for unstarted in ["yields", "asks", "new"] {
        let task = find(&outside, unstarted);
        assert_eq!(
            (task.state(), task.waits_for()),
            (State::Unstarted, "not begun")
        );
        assert!(task.stack().is_none() && task.backtrace().is_none());
    }
    // The loop comes to what it is asked when all have had their turn: the one that has yielded is ready then, if it
    // has not ended.
    named("yields for long")
        .spawn_on(&scheduler, || loop {
            yield_now();
        })
        .unwrap();
    let inside = scheduler.block_on(|| asks.join().unwrap());
    assert_eq!(state(&inside, "asks"), State::Running);
    assert_eq!(find(&inside, "asks").waits_for(), "running");
    assert_eq!(state(&inside, "yields for long"), State::Ready);
    assert_eq!(find(&inside, "yields for long").waits_for(), "ready to run");
    assert_eq!(state(&inside, "parked"), State::Waiting);
    assert!(all_answer(&outside) && all_answer(&inside));
}

#[inline(never)]
fn waits_deep_down(levels: usize) {
    match levels {
        1 => task::park(),
        _ => waits_deep_down(levels - 1),
    }
    std::hint::black_box(levels);
}

#[test]
fn each_field_of_a_task_says_what_it_is_about() {
    const DEPTH: usize = 20 << 10;
    const SIZE: usize = 128 << 10;
    let scheduler = Scheduler::new().unwrap();
    let builder = named("deep").stack_size(SIZE);
    let waits = || {
        let first = 0_u8;
        waits_at_depth((&raw const first).addr(), DEPTH);
    };
    let (place, deep) = (line!(), builder.spawn_on(&scheduler, waits).unwrap());
    let shallow = named("shallow").spawn_on(&scheduler, task::park).unwrap();
    let unnamed = scheduler.spawn(|| ());
    scheduler.turn(Some(Duration::ZERO)).unwrap();
    let dump = scheduler.dump();
    assert!(unnamed.join().is_ok() && dump.tasks().len() == 2, "{dump}");

    let task = find(&dump, "deep");
    assert_eq!(task.id(), deep.task().id());
    assert_eq!(
        (task.worker(), task.is_cancelled(), task.waiting_for()),
        (0, false, None)
    );
    assert_eq!(
        (task.spawned_at().file(), task.spawned_at().line()),
        (file!(), place)
    );
    let stack = task.stack().unwrap();
    assert_eq!(stack.size, SIZE);
    assert!(
        (DEPTH..DEPTH + (16 << 10)).contains(&stack.used),
        "{stack:?}"
    );
    let touched = stack.touched.unwrap();
    assert!((stack.used..=SIZE).contains(&touched), "{stack:?}");
    let less = find(&dump, "shallow").stack().unwrap();
    assert!(less.used < DEPTH, "{less:?}");

    let shown = task.to_string();
    let parts = [
        format!(
            "task 'deep' (#{}), spawned at {}:{place}:",
            deep.task().id(),
            file!()
        ),
        "parked until somebody unparks it".into(),
        "worker 0".into(),
        format!(
            "{} bytes of 128 KiB in use, {} KiB touched",
            stack.used,
            touched >> 10
        ),
        "waits_at_depth".into(),
    ];
    for part in parts {
        assert!(shown.contains(&part), "{part} is missing in {shown}");
        assert!(dump.to_string().contains(&part));
    }
    assert!(dump.to_string().starts_with("2 tasks\ntask '"), "{dump}");
    let ids: Vec<_> = dump.tasks().iter().map(TaskInfo::id).collect();
    assert_eq!(ids, [deep.task().id(), shallow.task().id()]);
}

/// Names of functions are there if the system has debug information.
/// Functions that were inlined have their bare names in a backtrace, and may have none.
const NAMES_ARE_WHOLE: bool = cfg!(debug_assertions);

#[test]
fn a_backtrace_begins_at_the_call_that_waits_and_ends_at_what_was_spawned() {
    let scheduler = Scheduler::new().unwrap();
    named("deep")
        .spawn_on(&scheduler, || waits_deep_down(4))
        .unwrap();
    named("yields")
        .spawn_on(&scheduler, yields_for_ever)
        .unwrap();
    scheduler.turn(Some(Duration::ZERO)).unwrap();
    let dump = scheduler.dump();
    let trace = find(&dump, "deep").backtrace().unwrap();
    let (own, whole) = (trace.to_string(), format!("{trace:#}"));
    if NAMES_ARE_WHOLE {
        assert_eq!(own.matches("dump::waits_deep_down").count(), 4, "{own}");
        assert!(own.contains("multitask::task::parking::park\n"), "{own}");
    }
    assert!(own.contains("tests/dump.rs:"), "{own}");
    assert!(
        own.lines().all(|line| !line.contains("multitask::rt::")),
        "{own}"
    );
    assert!(
        whole.contains("src/rt/park.rs:") && whole.contains("src/rt/job.rs:"),
        "{whole}"
    );
    let yields = find(&dump, "yields").backtrace().unwrap().to_string();
    assert!(yields.contains("yields_for_ever"), "{yields}");
}

fn yields_for_ever() {
    loop {
        yield_now();
    }
}

#[test]
fn what_was_cancelled_and_goes_on_is_told_of_as_such() {
    ends(|| {
        let scheduler = Scheduler::new().unwrap();
        let shielded = named("shielded")
            .spawn_on(&scheduler, || task::shield(task::park))
            .unwrap();
        scheduler.turn(Some(Duration::ZERO)).unwrap();
        let new = named("new").spawn_on(&scheduler, || ()).unwrap();
        assert!(!find(&scheduler.dump(), "shielded").is_cancelled());
        shielded.cancel();
        new.cancel();
        let dump = scheduler.dump();
        let task = find(&dump, "shielded");
        assert_eq!((task.state(), task.is_cancelled()), (State::Waiting, true));
        assert!(task.to_string().contains(", cancelled\n"), "{task}");
        assert_eq!(
            (state(&dump, "new"), find(&dump, "new").is_cancelled()),
            (State::Unstarted, true)
        );
        shielded.task().unpark();
        scheduler.run().unwrap();
        assert!(shielded.join().is_err() && new.join().is_err());

        // Of its own thread a task hears without a message.
        let shielded = named("shielded")
            .spawn_on(&scheduler, || task::shield(task::park))
            .unwrap();
        scheduler.turn(Some(Duration::ZERO)).unwrap();
        scheduler.block_on(|| shielded.cancel());
        assert!(find(&scheduler.dump(), "shielded").is_cancelled());
        shielded.task().unpark();
        scheduler.run().unwrap();
        assert!(shielded.join().is_err());
    });
}

#[test]
fn since_when_a_task_waits_is_known_if_that_was_asked_for() {
    for traced in [false, true] {
        let scheduler = Scheduler::builder().trace_waits(traced).build().unwrap();
        let waits = || {
            task::park();
            task::park();
        };
        let waits = named("waits").spawn_on(&scheduler, waits).unwrap();
        named("sized")
            .stack_size(1 << 20)
            .spawn_on(&scheduler, task::park)
            .unwrap();
        named("new").spawn_on(&scheduler, || ()).unwrap();
        let mut bounds = (Instant::now(), Instant::now());
        for round in 0..2 {
            if round == 0 {
                scheduler.turn(Some(Duration::ZERO)).unwrap();
            } else {
                bounds.0 = Instant::now();
                waits.task().unpark();
                assert_eq!(find(&scheduler.dump(), "waits").waiting_for(), None);
                scheduler.turn(Some(Duration::ZERO)).unwrap();
            }
            bounds.1 = Instant::now();
            let least = bounds.1.elapsed();
            let dump = scheduler.dump();
            let most = bounds.0.elapsed();
            let waited = find(&dump, "waits").waiting_for();
            assert_eq!(waited.is_some(), traced);
            assert!(
                waited.is_none_or(|waited| (least..=most).contains(&waited)),
                "{waited:?}"
            );
            assert_eq!(find(&dump, "sized").waiting_for().is_some(), traced);
            assert_eq!(
                dump.to_string().contains("unparks it, for "),
                traced,
                "{dump}"
            );
        }
    }
}

#[test]
fn tasks_of_all_workers_are_told_of_whoever_asks() {
    ends(|| {
        let scheduler = Scheduler::builder().workers(3).build().unwrap();
        let handle = scheduler.handle();
        for worker in 0..3 {
            let handle = handle.clone();
            scheduler.spawn_on(worker, move || {
                named(&format!("at {worker}"))
                    .spawn_local(task::park)
                    .unwrap();
                drop(handle);
                task::park();
            });
        }
        let complete = |dump: &Dump| {
            let at = |worker: usize| {
                let mut tasks = dump.tasks().iter();
                tasks.any(|task| {
                    task.name() == Some(&format!("at {worker}")) && task.worker() == worker
                })
            };
            all_answer(dump) && (0..3).all(at)
        };
        // Inside.
        scheduler.block_on(|| {
            while !complete(&handle.dump_within(LONG)) {
                yield_now();
            }
        });
        // By its own thread, and the mates go on by themselves.
        assert!(complete(&scheduler.handle().dump_within(LONG)));
        // By another thread.
        let over = Arc::new(AtomicBool::new(false));
        let asks = {
            let (handle, over) = (handle.clone(), over.clone());
            thread::spawn(move || {
                let dump = handle.dump_within(LONG);
                over.store(true, SeqCst);
                dump
            })
        };
        while !over.load(SeqCst) {
            scheduler.turn(Some(Duration::from_millis(1))).unwrap();
        }
        let dump = asks.join().unwrap();
        assert!(complete(&dump), "{dump}");
    });
}

#[test]
fn workers_that_have_not_begun_are_told_of_as_such_and_begin_with_what_they_were_sent() {
    ends(|| {
        let scheduler = Scheduler::builder().workers(2).build().unwrap();
        let free: Vec<_> = (0..10)
            .map(|number| scheduler.spawn(move || number))
            .collect();
        let bound = scheduler.spawn_on(1, || 10);
        let dump = scheduler.dump();
        let answers: Vec<_> = dump
            .workers()
            .iter()
            .map(|worker| (worker.number(), worker.answer()))
            .collect();
        assert_eq!(answers, [(0, Answer::Given), (1, Answer::NotBegun)]);
        assert!(
            dump.to_string().contains("worker 1 has not begun"),
            "{dump}"
        );
        // Those that are up for grabs are there, and still are.
        assert_eq!(dump.tasks().len(), 10, "{dump}");
        assert!(dump
            .tasks()
            .iter()
            .all(|task| task.state() == State::Unstarted));
        scheduler.run().unwrap();
        let numbers = free
            .into_iter()
            .chain([bound])
            .map(|task| task.join().unwrap());
        assert!(numbers.eq(0..11));
    });
}

#[test]
fn an_empty_scheduler_has_no_tasks_and_one_that_is_gone_no_workers_that_answer() {
    ends(|| {
        let scheduler = scheduler();
        let dump = scheduler.dump();
        assert!(dump.tasks().is_empty());
        assert_eq!(dump.workers()[0].answer(), Answer::Given);
        assert!(dump.to_string().starts_with("0 tasks"));
        let handle = scheduler.handle();
        drop(scheduler);
        let dump = handle.dump_within(LONG);
        assert!(dump.tasks().is_empty());
        assert!(
            dump.workers()
                .iter()
                .all(|worker| worker.answer() == Answer::Gone),
            "{dump}"
        );
        assert!(dump.to_string().contains("worker 0 is gone"), "{dump}");
    });
}

#[test]
fn a_worker_that_does_not_come_round_is_named() {
    ends(|| {
        let scheduler = Scheduler::builder().workers(2).build().unwrap();
        let computes = Arc::new(AtomicBool::new(true));
        scheduler.spawn_on(1, {
            let computes = computes.clone();
            move || {
                while computes.load(SeqCst) {
                    thread::yield_now();
                }
            }
        });
        scheduler.spawn_on(0, task::park);
        let handle = scheduler.handle();
        // It has begun when the other task is seen to wait: both came before.
        let dump = scheduler.block_on(|| loop {
            let dump = handle.dump_within(Duration::from_millis(5));
            let late = |number: usize| dump.workers()[number].answer() == Answer::Late;
            if late(1) && !late(0) {
                return dump;
            }
        });
        assert!(
            dump.to_string().contains("worker 1 does not come round"),
            "{dump}"
        );
        assert!(dump.tasks().iter().all(|task| task.worker() == 0));
        computes.store(false, SeqCst);
        // It answers again, and what it was asked in vain does not disturb it.
        let dump = scheduler.block_on(|| handle.dump_within(LONG));
        assert!(all_answer(&dump), "{dump}");
    });
}

#[test]
fn a_scheduler_whose_task_runs_the_one_that_asks_is_not_waited_for() {
    ends(|| {
        let outer = Scheduler::new().unwrap();
        let handle = outer.handle();
        let dump = outer.block_on(move || {
            let inner = Scheduler::new().unwrap();
            inner.block_on(|| handle.dump_within(LONG))
        });
        assert_eq!(dump.workers()[0].answer(), Answer::Late);
    });
}

#[test]
fn a_task_of_another_scheduler_of_the_thread_sees_one_that_is_at_rest() {
    let rests = Rc::new(Scheduler::new().unwrap());
    named("rests").spawn_on(&rests, task::park).unwrap();
    rests.turn(Some(Duration::ZERO)).unwrap();
    named("sent").spawn_on(&rests, || ()).unwrap();
    rests.handle().spawn(|| ());
    let other = Scheduler::new().unwrap();
    let dump = other.block_on(|| rests.dump());
    assert_eq!(dump.tasks().len(), 3, "{dump}");
    assert!(find(&dump, "rests").backtrace().is_some());
}

/// Parks with at least `depth` bytes of its stack below `first`.
#[inline(never)]
fn waits_at_depth(first: usize, depth: usize) {
    let here = std::hint::black_box([0_u8; 64]);
    if first - here.as_ptr().addr() < depth {
        waits_at_depth(first, depth);
    } else {
        task::park();
    }
    std::hint::black_box(here);
}

#[test]
fn who_has_no_room_on_its_stack_to_show_itself_is_not_asked_to() {
    const SIZE: usize = 64 << 10;
    let scheduler = Scheduler::new().unwrap();
    let mut depth = 0;
    for full in [false, true] {
        let waits = move || {
            let first = 0_u8;
            waits_at_depth((&raw const first).addr(), depth);
        };
        let waits = named("waits")
            .stack_size(SIZE)
            .spawn_on(&scheduler, waits)
            .unwrap();
        scheduler.turn(Some(Duration::ZERO)).unwrap();
        let dump = scheduler.dump();
        let task = find(&dump, "waits");
        let stack = task.stack().unwrap();
        assert_eq!(stack.size - stack.used < 4096, full, "{stack:?}");
        assert_eq!(task.backtrace().is_none(), full, "{dump}");
        // The next one has the same stack; of it less may be left than that.
        depth = (stack.size - stack.used).saturating_sub(3072);
        waits.task().unpark();
        scheduler.run().unwrap();
    }
}

/// Parks once when it is dropped, and says whether its stack was unwinding before and after.
struct Parks(Arc<Mutex<Vec<bool>>>);

impl Drop for Parks {
    fn drop(&mut self) {
        let before = thread::panicking();
        task::park();
        self.0.lock().unwrap().extend([before, thread::panicking()]);
    }
}

#[test]
fn tasks_that_wait_in_destructors_while_they_unwind_show_where_and_go_on_unwinding() {
    ends(|| {
        let scheduler = Scheduler::new().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let unwinds = |name: &str| {
            let parks = Parks(seen.clone());
            let unwinds = move || {
                let _parks = parks;
                task::park();
                // No hook: it is not to be seen on standard error.
                std::panic::resume_unwind(Box::new("on purpose"));
            };
            named(name).spawn_on(&scheduler, unwinds).unwrap()
        };
        let (panics, cancelled) = (unwinds("panics"), unwinds("cancelled"));
        scheduler.turn(Some(Duration::ZERO)).unwrap();
        panics.task().unpark();
        cancelled.cancel();
        scheduler.turn(Some(Duration::ZERO)).unwrap();
        for _ in 0..3 {
            let dump = scheduler.dump();
            for name in ["panics", "cancelled"] {
                assert_eq!(state(&dump, name), State::Waiting);
                let trace = find(&dump, name).backtrace().unwrap().to_string();
                let name = if NAMES_ARE_WHOLE {
                    "<dump::Parks as core::ops::drop::Drop>::drop"
                } else {
                    "tests/dump.rs:"
                };
                assert!(trace.contains(name), "{trace}");
            }
            assert!(!thread::panicking());
        }
        panics.task().unpark();
        cancelled.task().unpark();
        scheduler.run().unwrap();
        assert_eq!(*seen.lock().unwrap(), [true; 4]);
        assert_eq!(panics.join().unwrap_err().message(), Some("on purpose"));
        assert!(cancelled.join().unwrap_err().is_cancelled());
    });
}

#[test]
fn a_destructor_that_unwinds_can_ask_for_a_dump() {
    struct Asks(Handle, Arc<Mutex<Option<Dump>>>);
    impl Drop for Asks {
        fn drop(&mut self) {
            *self.1.lock().unwrap() = Some(self.0.dump_within(LONG));
        }
    }
    ends(|| {
        let scheduler = scheduler();
        let told = Arc::new(Mutex::new(None));
        let asks = Asks(scheduler.handle(), told.clone());
        let panics = named("panics").spawn_on(&scheduler, || {
            let _asks = asks;
            std::panic::resume_unwind(Box::new("on purpose"));
        });
        scheduler.run().unwrap();
        assert!(panics.unwrap().join().unwrap_err().is_panic());
        let dump = told.lock().unwrap().take().unwrap();
        assert_eq!(state(&dump, "panics"), State::Running);
    });
}

#[test]
fn a_scheduler_that_is_being_dropped_is_told_of_until_it_is_gone() {
    ends(|| {
        let scheduler = scheduler();
        let handle = scheduler.handle();
        let waits = Arc::new(AtomicBool::new(true));
        let held = waits.clone();
        let stays = move || {
            let _slow = common::OnDrop(move || {
                while held.load(SeqCst) {
                    sleep(Duration::from_micros(100));
                }
            });
            task::park();
        };
        named("stays").spawn_on(&scheduler, stays).unwrap();
        settle(&scheduler); // what has not begun would never begin
        let looks = thread::spawn(move || {
            // Cancelled, which it is by the drop alone.
            while !handle
                .dump_within(LONG)
                .tasks()
                .iter()
                .any(TaskInfo::is_cancelled)
            {
                thread::yield_now();
            }
            waits.store(false, SeqCst);
            while handle.dump_within(LONG).workers()[0].answer() != Answer::Gone {
                thread::yield_now();
            }
        });
        drop(scheduler);
        looks.join().unwrap();
    });
}

/// Two threads that dump a scheduler again and again.
struct Dumping {
    goes_on: Arc<AtomicBool>,
    dumps: Arc<AtomicUsize>,
    threads: [thread::JoinHandle<()>; 2],
}

impl Dumping {
    fn of(handle: &Handle) -> Self {
        let (goes_on, dumps) = (
            Arc::new(AtomicBool::new(true)),
            Arc::new(AtomicUsize::new(0)),
        );
        let dump = |_| {
            let (handle, goes_on, dumps) = (handle.clone(), goes_on.clone(), dumps.clone());
            thread::spawn(move || {
                while goes_on.load(SeqCst) {
                    let dump = handle.dump_within(LONG);
                    let silent = |answer| matches!(answer, Answer::Late | Answer::Gone);
                    let mut answers = dump.workers().iter().map(WorkerInfo::answer);
                    assert!(!answers.any(silent), "{dump}");
                    dumps.fetch_add(1, SeqCst);
                }
            })
        };
        let threads = [0, 1].map(dump);
        Dumping {
            goes_on,
            dumps,
            threads,
        }
    }

    /// Lets others run until there were some dumps more.
    fn await_some(&self) {
        let before = self.dumps.load(SeqCst);
        while self.dumps.load(SeqCst) < before + 3 {
            yield_now();
        }
    }

    fn stop(self) {
        self.goes_on.store(false, SeqCst);
        self.threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    }
}

const ROUNDS: usize = if cfg!(debug_assertions) { 300 } else { 2000 };

/// Runs `main` as a task while the scheduler is dumped by two threads.
fn while_dumped(main: fn()) {
    // Those that remember since when they wait take other ways.
    for traced in [false, true] {
        ends(move || {
            let builder = Scheduler::builder().workers(common::workers());
            let scheduler = builder.trace_waits(traced).build().unwrap();
            let dumping = Dumping::of(&scheduler.handle());
            scheduler.block_on(|| {
                dumping.await_some();
                main();
                dumping.await_some();
                // Who asks now is answered as well.
                task::blocking(|| dumping.stop());
            });
        });
    }
}

#[test]
fn dumps_lose_no_wake_of_tasks_that_send_to_and_fro() {
    while_dumped(|| {
        let pairs = (0..4).map(|pair| {
            let (there, comes) = mpsc::sync_channel(pair % 2);
            let (back, returns) = mpsc::channel();
            spawn(move || {
                comes
                    .iter()
                    .for_each(|number: usize| back.send(number + 1).unwrap())
            });
            spawn(move || {
                (0..ROUNDS).fold(0, |sum, round| {
                    there.send(round).unwrap();
                    sum + returns.recv().unwrap()
                })
            })
        });
        let sums: Vec<_> = pairs
            .collect::<Vec<_>>()
            .into_iter()
            .map(|pair| pair.join().unwrap())
            .collect();
        assert_eq!(sums, [ROUNDS * (ROUNDS + 1) / 2; 4]);
    });
}

#[test]
fn dumps_lose_no_wake_of_tasks_that_lock_sleep_yield_and_queue() {
    while_dumped(|| {
        let total = Arc::new(Mutex::new(0));
        let queue = Arc::new(Queue::bounded(3));
        let adds = |_| {
            let (total, queue) = (total.clone(), queue.clone());
            spawn(move || {
                for round in 0..ROUNDS {
                    let mut total = total.lock().unwrap();
                    let before = *total;
                    if round % 16 == 0 {
                        sleep(Duration::from_micros(10));
                    } else {
                        yield_now();
                    }
                    *total = before + 1;
                    drop(total);
                    queue.put(()).unwrap();
                    let late = timeout(Duration::from_nanos(1), || task::park_timeout(LONG));
                    assert!(late.is_err());
                }
            })
        };
        let takes = spawn({
            let queue = queue.clone();
            move || queue.iter().count()
        });
        let all: Vec<JoinHandle<()>> = (0..4).map(adds).collect();
        all.into_iter().for_each(|task| task.join().unwrap());
        queue.close();
        assert_eq!(takes.join().unwrap(), 4 * ROUNDS);
        assert_eq!(*total.lock().unwrap(), 4 * ROUNDS);
    });
}

#[test]
fn dumps_lose_no_byte_and_no_event_of_a_socket() {
    while_dumped(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = listener.local_addr().unwrap();
        let echoes = spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut byte = [0];
            let mut count = 0;
            while stream.read(&mut byte).unwrap() == 1 {
                stream.write_all(&byte).unwrap();
                count += 1;
            }
            count
        });
        let client = thread::spawn(move || {
            let mut stream = StdStream::connect(peer).unwrap();
            for round in 0..ROUNDS {
                let mut back = [0];
                stream.write_all(&[round as u8]).unwrap();
                stream.read_exact(&mut back).unwrap();
                assert_eq!(back, [round as u8]);
            }
        });
        assert_eq!(echoes.join().unwrap(), ROUNDS);
        client.join().unwrap();
    });
}

#[test]
fn tasks_that_are_cancelled_at_any_moment_of_a_dump_end_once() {
    while_dumped(|| {
        let mut random = Random::new(7);
        let dropped = common::Drops::default();
        for round in 0..ROUNDS {
            let guard = dropped.one();
            let waits = spawn(move || {
                let _guard = guard;
                match round % 3 {
                    0 => task::park(),
                    1 => sleep(LONG),
                    _ => loop {
                        yield_now();
                    },
                }
            });
            (0..random.below(4)).for_each(|_| yield_now());
            waits.cancel();
            assert!(waits.join().unwrap_err().is_cancelled());
        }
        assert_eq!(dropped.count(), ROUNDS);
    });
}

#[test]
fn tasks_that_are_up_for_grabs_while_a_dump_looks_at_them_run_once() {
    /// More than a worker runs before it sees what it was sent.
    const TASKS: usize = 500;
    ends(|| {
        let scheduler = Scheduler::builder().workers(3).build().unwrap();
        let dumping = Dumping::of(&scheduler.handle());
        scheduler.block_on(|| dumping.await_some());
        let ran = Arc::new(AtomicUsize::new(0));
        for _ in 0..ROUNDS / 10 {
            let ran = ran.clone();
            scheduler.block_on(move || {
                let tasks: Vec<_> = (0..TASKS)
                    .map(|_| {
                        let ran = ran.clone();
                        spawn(move || ran.fetch_add(1, SeqCst))
                    })
                    .collect();
                tasks
                    .into_iter()
                    .for_each(|task| assert!(task.join().is_ok()));
            });
        }
        scheduler.block_on(|| task::blocking(|| dumping.stop()));
        assert_eq!(ran.load(SeqCst), ROUNDS / 10 * TASKS);
    });
}

#[test]
fn tasks_dump_the_scheduler_they_are_of_all_at_once() {
    ends(|| {
        let scheduler = scheduler();
        let handle = scheduler.handle();
        let dumps = scheduler.block_on(|| {
            let asks = |_| {
                let handle = handle.clone();
                spawn(move || {
                    let id = task::current().id();
                    (id, handle.dump_within(LONG))
                })
            };
            let asks: Vec<_> = (0..20).map(asks).collect();
            asks.into_iter()
                .map(|asks| asks.join().unwrap())
                .collect::<Vec<_>>()
        });
        for (id, dump) in dumps {
            assert!(all_answer(&dump));
            let running = dump
                .tasks()
                .iter()
                .filter(|task| task.state() == State::Running);
            assert_eq!(running.map(TaskInfo::id).collect::<Vec<_>>(), [id]);
        }
    });
}

#[test]
fn a_dump_goes_to_other_threads_and_is_cheap_to_copy() {
    fn is_shared<T: Send + Sync + Clone + std::fmt::Debug + 'static>(value: T) -> T {
        value
    }
    let scheduler = Scheduler::new().unwrap();
    scheduler.spawn(task::park);
    scheduler.turn(Some(Duration::ZERO)).unwrap();
    let dump = is_shared(scheduler.dump());
    let copy = dump.clone();
    assert!(
        ptr::eq(dump.tasks(), copy.tasks()) && ptr::eq(dump.workers(), copy.workers()),
        "nothing was copied"
    );
    drop(scheduler);
    let shown = thread::spawn(move || copy.to_string()).join().unwrap();
    assert_eq!(shown, dump.to_string());
    assert!(format!("{dump:?}").contains("Waiting"));
}
