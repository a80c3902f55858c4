//! Signals: who is told of them, and what happens when nobody is. A signal is the whole process's, so each case has one.

mod children;

use children::Running;
use multitask::select::Select;
use multitask::signal::{
    self, Signal, Signals, SIGBUS, SIGFPE, SIGHUP, SIGILL, SIGINT, SIGKILL, SIGPIPE, SIGSEGV,
    SIGSTOP, SIGTERM, SIGUSR1, SIGUSR2,
};
use multitask::sync::mpsc as channels;
use multitask::{select, sleep, spawn, spawn_local, task, timeout, yield_now, Scheduler};
use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::os::unix::process::ExitStatusExt;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::process::Command;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{mpsc, Arc};
use std::thread;
use std::time::{Duration, Instant};

fn main() {
    children::main(&[
        case!(
            a_signal_that_came_before_the_wait_is_told,
            Running::succeeds
        ),
        case!(
            however_often_a_signal_came_before_the_wait_it_is_told_once,
            Running::succeeds
        ),
        case!(signals_are_told_apart_and_each_is_told, Running::succeeds),
        case!(
            tasks_schedulers_and_threads_are_each_told_of_every_signal,
            Running::succeeds
        ),
        case!(
            a_wait_ends_with_the_signal_and_not_before,
            Running::succeeds
        ),
        case!(
            a_signal_is_an_arm_of_a_select_and_a_losing_arm_takes_nothing,
            Running::succeeds
        ),
        case!(
            a_signal_that_a_select_was_told_and_nobody_asked_for_is_told_again,
            Running::succeeds
        ),
        case!(a_wait_that_times_out_takes_nothing, Running::succeeds),
        case!(a_wait_that_is_cancelled_takes_nothing, Running::succeeds),
        case!(
            no_signal_is_missed_by_one_who_comes_to_wait_just_then,
            Running::succeeds
        ),
        case!(closing_ends_the_wait_and_the_iteration, Running::succeeds),
        case!(
            what_came_before_it_was_closed_is_told_after_it,
            Running::succeeds
        ),
        case!(
            a_signal_added_during_the_wait_ends_that_wait,
            Running::succeeds
        ),
        case!(
            adding_a_signal_twice_tells_it_once_and_needs_no_descriptor,
            Running::succeeds
        ),
        case!(a_closed_handle_adds_nothing_and_keeps_nothing, |child| {
            dies_of(child, SIGTERM)
        }),
        case!(
            a_task_that_waits_for_a_signal_is_no_deadlock,
            |mut child| {
                assert_eq!(child.line(), "ready");
                // The scheduler looks after 20 ms for the first time.
                thread::sleep(Duration::from_millis(120));
                child.send("INT");
                child.succeeds();
            }
        ),
        case!(
            ctrl_c_and_a_shutdown_run_the_destructors_of_all_tasks,
            |mut child| {
                assert_eq!(child.line(), "ready");
                child.send("INT");
                let mut lines = [(); 4].map(|()| child.line());
                lines[..3].sort(); // each waited
                assert_eq!(lines, ["dropped 0", "dropped 1", "dropped 2", "goodbye"]);
                child.succeeds();
            }
        ),
        case!(
            the_second_ctrl_c_ends_a_program_that_waited_for_the_first,
            |mut child| {
                assert_eq!(child.line(), "ready");
                child.send("INT");
                assert_eq!(child.line(), "one moment");
                child.send("INT");
                dies_of(child, SIGINT);
            }
        ),
        case!(
            a_signal_that_nobody_listens_for_any_more_ends_the_program,
            |child| { dies_of(child, SIGTERM) }
        ),
        case!(
            a_signal_is_kept_off_until_the_last_listener_has_gone,
            |mut child| {
                assert_eq!(child.line(), "kept off");
                dies_of(child, SIGUSR1);
            }
        ),
        case!(
            one_who_comes_after_the_last_has_gone_is_told,
            Running::succeeds
        ),
        case!(what_was_ignored_is_ignored_again, Running::succeeds),
        case!(what_had_a_handler_has_it_still_and_again, Running::succeeds),
        case!(what_somebody_set_meanwhile_stays, Running::succeeds),
        case!(
            a_program_can_end_by_the_signal_it_was_told,
            |child| dies_of(child, SIGTERM)
        ),
        case!(signals_that_none_can_be_told_of_are_refused, |child| {
            dies_of(child, SIGTERM)
        }),
        case!(
            without_descriptors_nobody_listens_and_that_is_said,
            |child| { dies_of(child, SIGTERM) }
        ),
        case!(
            a_started_program_has_nothing_blocked_nor_ignored,
            Running::succeeds
        ),
        case!(
            a_handler_takes_nothing_of_the_stack_of_the_task_it_interrupts,
            Running::succeeds
        ),
        case!(
            signals_come_and_go_without_leaving_descriptors,
            Running::succeeds
        ),
        case!(debug_shows_names, Running::succeeds),
    ]);
}

/// The child has to say nothing, and to be ended by the signal.
fn dies_of(child: Running, signal: Signal) {
    let ended = child.end();
    assert_eq!(
        (ended.status.signal(), &*ended.stderr),
        (Some(signal.as_raw()), ""),
        "{:?}",
        ended.status
    );
}

fn say(line: &str) {
    println!("{line}");
}

fn is_timeout(error: &io::Error) -> bool {
    error.kind() == ErrorKind::TimedOut
        && error
            .get_ref()
            .is_some_and(|inner| inner.is::<multitask::Timeout>())
}

const SHORT: Duration = Duration::from_millis(5);

// ---- waiting ----

fn a_signal_that_came_before_the_wait_is_told() {
    let mut signals = Signals::new([SIGUSR1]).unwrap();
    SIGUSR1.raise().unwrap();
    assert_eq!(signals.wait().unwrap(), SIGUSR1, "on a plain thread");
    SIGUSR1.raise().unwrap();
    let told = spawn(move || {
        let first = signals.wait().unwrap();
        SIGUSR1.raise().unwrap();
        (first, signals.wait_deadline(Instant::now()).unwrap())
    });
    assert_eq!(told.join().unwrap(), (SIGUSR1, SIGUSR1), "in a task");
}

fn however_often_a_signal_came_before_the_wait_it_is_told_once() {
    let mut signals = Signals::new([SIGUSR1]).unwrap();
    // More than the bell holds.
    for _ in 0..10_000 {
        SIGUSR1.raise().unwrap();
    }
    assert_eq!(signals.wait().unwrap(), SIGUSR1);
    assert_eq!(signals.try_next(), None);
    assert!(is_timeout(&signals.wait_timeout(SHORT).unwrap_err()));
    SIGUSR1.raise().unwrap();
    assert_eq!(signals.wait().unwrap(), SIGUSR1, "the bell rings again");
}

fn signals_are_told_apart_and_each_is_told() {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).unwrap();
    SIGHUP.raise().unwrap();
    SIGINT.raise().unwrap();
    // In the order of listening, not of coming.
    assert_eq!(signals.next().unwrap().unwrap(), SIGINT);
    assert_eq!(signals.wait_timeout(Duration::ZERO).unwrap(), SIGHUP);
    SIGTERM.raise().unwrap();
    assert_eq!(signals.try_next(), Some(SIGTERM));
    assert_eq!(signals.try_next(), None);
}

fn tasks_schedulers_and_threads_are_each_told_of_every_signal() {
    const THREADS: usize = 3;
    const TASKS: usize = 3;
    const ALL: usize = THREADS * (1 + TASKS);
    #[derive(Default)]
    struct Counts {
        listen: AtomicUsize,
        told: AtomicUsize,
    }
    fn one(counts: &Counts) {
        let mut signals = Signals::new([SIGUSR1, SIGUSR2]).unwrap();
        counts.listen.fetch_add(1, SeqCst);
        assert_eq!(signals.wait().unwrap(), SIGUSR1);
        counts.told.fetch_add(1, SeqCst);
        assert_eq!(signals.wait().unwrap(), SIGUSR2);
        counts.told.fetch_add(1, SeqCst);
    }
    fn reach(count: &AtomicUsize, goal: usize) {
        while count.load(SeqCst) < goal {
            thread::yield_now();
        }
    }
    let counts = Arc::new(Counts::default());
    let mut threads = Vec::new();
    for _ in 0..THREADS {
        let plain = counts.clone();
        threads.push(thread::spawn(move || one(&plain)));
        let counts = counts.clone();
        threads.push(thread::spawn(move || {
            let scheduler = Scheduler::new().unwrap();
            for _ in 0..TASKS {
                let counts = counts.clone();
                scheduler.spawn(move || one(&counts));
            }
            scheduler.run().unwrap();
        }));
    }
    reach(&counts.listen, ALL);
    SIGUSR1.raise().unwrap();
    reach(&counts.told, ALL);
    SIGUSR2.raise().unwrap();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    assert_eq!(counts.told.load(SeqCst), 2 * ALL);
}

fn a_wait_ends_with_the_signal_and_not_before() {
    let raised = Rc::new(RefCell::new(false));
    let saw = raised.clone();
    let waits = spawn_local(move || {
        let mut signals = Signals::new([SIGUSR1]).unwrap();
        (signals.wait().unwrap(), *saw.borrow())
    });
    for _ in 0..10 {
        yield_now();
    }
    sleep(SHORT);
    assert!(!waits.is_finished());
    *raised.borrow_mut() = true;
    SIGUSR1.raise().unwrap();
    assert_eq!(waits.join().unwrap(), (SIGUSR1, true));
}

fn a_signal_is_an_arm_of_a_select_and_a_losing_arm_takes_nothing() {
    for_each_place(|| {
        let mut signals = Signals::new([SIGUSR1, SIGUSR2]).unwrap();
        let (sender, receiver) = channels::channel();
        // It waits, and the signal comes.
        let raises = spawn(|| SIGUSR2.raise().unwrap());
        select! {
            recv(signals) -> signal => assert_eq!(signal.unwrap(), SIGUSR2),
            recv(receiver) -> never => panic!("{never:?}"),
        }
        raises.join().unwrap();
        // Both are ready: whichever is taken, the other is still there.
        let mut first = [0; 2];
        for _ in 0..40 {
            SIGUSR1.raise().unwrap();
            sender.send(7).unwrap();
            select! {
                recv(signals) -> signal => {
                    assert_eq!(signal.unwrap(), SIGUSR1);
                    assert_eq!(receiver.try_recv(), Ok(7));
                    first[0] += 1;
                }
                recv(receiver) -> message => {
                    assert_eq!(message, Ok(7));
                    assert_eq!(signals.try_next(), Some(SIGUSR1));
                    first[1] += 1;
                }
            }
        }
        assert!(first[0] > 0 && first[1] > 0, "{first:?}");
        // Nothing came, and it was closed.
        select! {
            recv(signals) -> signal => panic!("{signal:?}"),
            default(SHORT) => {}
        }
        let handle = signals.handle();
        let closes = spawn(move || handle.close());
        select! {
            recv(signals) -> signal => {
                assert_eq!(signal.unwrap_err().kind(), ErrorKind::BrokenPipe);
            }
        }
        closes.join().unwrap();
    });
}

/// In a task and on a plain thread.
fn for_each_place(body: fn()) {
    body();
    spawn(body).join().unwrap();
}

fn a_signal_that_a_select_was_told_and_nobody_asked_for_is_told_again() {
    let mut signals = Signals::new([SIGUSR1]).unwrap();
    SIGUSR1.raise().unwrap();
    let mut select = Select::new();
    let index = select.recv(&signals);
    let chosen = select.select();
    assert_eq!(chosen.index(), index);
    // It is complete only when it is asked for: a panic in between loses nothing.
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(chosen)));
    drop(select);
    assert_eq!(signals.wait_timeout(SHORT).unwrap(), SIGUSR1);
    drop(dropped);
    SIGUSR1.raise().unwrap();
    let mut select = Select::new();
    select.recv(&signals);
    assert_eq!(select.select().recv(&signals).unwrap(), SIGUSR1);
    drop(select);
    assert_eq!(signals.try_next(), None);
}

fn a_wait_that_times_out_takes_nothing() {
    let mut signals = Signals::new([SIGUSR1]).unwrap();
    assert!(is_timeout(&signals.wait_timeout(SHORT).unwrap_err()));
    assert!(is_timeout(
        &signals.wait_deadline(Instant::now() + SHORT).unwrap_err()
    ));
    assert!(timeout(SHORT, || signals.wait()).is_err());
    SIGUSR1.raise().unwrap();
    assert_eq!(signals.try_next(), Some(SIGUSR1));
    spawn(move || {
        assert!(is_timeout(&signals.wait_timeout(SHORT).unwrap_err()));
        // When the task's turn comes, the signal has come, and its time is up.
        let late = timeout(SHORT, || {
            spawn(|| {
                thread::sleep(2 * SHORT);
                SIGUSR1.raise().unwrap();
            });
            signals.wait()
        });
        // Whichever was first: it is told, once.
        let told = late.unwrap_or_else(|_| signals.wait());
        assert_eq!(told.unwrap(), SIGUSR1);
        assert_eq!(signals.try_next(), None);
    })
    .join()
    .unwrap();
}

fn a_wait_that_is_cancelled_takes_nothing() {
    let signals = Rc::new(RefCell::new(Signals::new([SIGUSR1]).unwrap()));
    for raised_before_it_ends in [false, true] {
        let waiting = signals.clone();
        let waits = spawn_local(move || waiting.borrow_mut().wait());
        yield_now();
        if raised_before_it_ends {
            SIGUSR1.raise().unwrap();
        }
        waits.cancel();
        assert!(waits.join().unwrap_err().is_cancelled());
        if !raised_before_it_ends {
            SIGUSR1.raise().unwrap();
        }
        let next = signals.borrow_mut().try_next();
        assert_eq!(next, Some(SIGUSR1), "{raised_before_it_ends}");
    }
}

fn no_signal_is_missed_by_one_who_comes_to_wait_just_then() {
    const ROUNDS: usize = 2_000;
    let mut signals = Signals::new([SIGUSR1, SIGUSR2]).unwrap();
    let (ask, asked) = mpsc::channel();
    let raises = thread::spawn(move || {
        for signal in asked {
            Signal::raise(signal).unwrap();
        }
    });
    let waits = spawn(move || {
        for round in 0..ROUNDS {
            ask.send(SIGUSR1).unwrap();
            ask.send(SIGUSR2).unwrap();
            // At different distances from the raise.
            for _ in 0..round % 50 {
                std::hint::spin_loop();
            }
            let mut both = [signals.wait().unwrap(), signals.wait().unwrap()];
            both.sort();
            let mut expected = [SIGUSR1, SIGUSR2];
            expected.sort();
            assert_eq!(both, expected, "{round}");
        }
    });
    waits.join().unwrap();
    raises.join().unwrap();
}

// ---- closing and adding ----

fn closing_ends_the_wait_and_the_iteration() {
    let mut signals = Signals::new([SIGUSR1]).unwrap();
    let handle = signals.handle();
    let waits = spawn(move || {
        let waited = signals.wait().map_err(|error| error.kind());
        let again = signals.wait_timeout(SHORT).map_err(|error| error.kind());
        (waited, again, signals.next().is_none(), signals.try_next())
    });
    yield_now();
    assert!(!handle.is_closed());
    handle.close();
    let closed = Err(ErrorKind::BrokenPipe);
    assert_eq!(waits.join().unwrap(), (closed, closed, true, None));

    let signals = Signals::new([]).unwrap();
    let handle = signals.handle();
    let counts = spawn(|| signals.count());
    yield_now();
    handle.close();
    handle.close();
    assert!(handle.is_closed());
    assert_eq!(counts.join().unwrap(), 0);
}

fn what_came_before_it_was_closed_is_told_after_it() {
    let signals = Signals::new([SIGUSR1, SIGUSR2]).unwrap();
    SIGUSR2.raise().unwrap();
    SIGUSR1.raise().unwrap();
    signals.handle().close();
    let told: Vec<_> = signals.map(Result::unwrap).collect();
    assert_eq!(told, [SIGUSR1, SIGUSR2]);
}

fn a_signal_added_during_the_wait_ends_that_wait() {
    let mut signals = Signals::new([]).unwrap();
    let handle = signals.handle();
    let waits = spawn(move || (signals.wait().unwrap(), signals.wait().unwrap()));
    yield_now();
    handle.add(SIGUSR1).unwrap();
    SIGUSR1.raise().unwrap();
    yield_now();
    handle.add(SIGUSR2).unwrap();
    SIGUSR2.raise().unwrap();
    assert_eq!(waits.join().unwrap(), (SIGUSR1, SIGUSR2));
}

fn adding_a_signal_twice_tells_it_once_and_needs_no_descriptor() {
    let mut signals = Signals::new([SIGUSR1, SIGUSR1]).unwrap();
    let open = descriptors();
    signals.add(SIGUSR1).unwrap();
    assert_eq!(descriptors(), open);
    SIGUSR1.raise().unwrap();
    assert_eq!(signals.wait().unwrap(), SIGUSR1);
    assert_eq!(signals.try_next(), None);
}

fn a_closed_handle_adds_nothing_and_keeps_nothing() {
    let signals = Signals::new([SIGTERM]).unwrap();
    let (handle, other) = (signals.handle(), signals.handle());
    handle.close();
    let refused = |result: io::Result<()>| result.unwrap_err().kind() == ErrorKind::BrokenPipe;
    assert!(refused(other.add(SIGUSR1)) && refused(signals.add(SIGUSR1)));

    let signals = Signals::new([SIGTERM]).unwrap();
    let handle = signals.handle();
    drop(signals);
    assert!(handle.is_closed() && refused(handle.add(SIGUSR1)));
    SIGTERM.raise().unwrap();
    unreachable!("the handles are there, but nobody listens");
}

// ---- programs ----

fn a_task_that_waits_for_a_signal_is_no_deadlock() {
    let scheduler = Scheduler::new().unwrap();
    let told = scheduler.spawn(|| {
        let mut signals = Signals::new([SIGINT])?;
        say("ready"); // the parent's signal comes much later
        signals.wait()
    });
    let parked = scheduler.spawn(task::park);
    let unparks = parked.task().clone();
    scheduler.spawn(move || {
        told.join().unwrap().unwrap();
        unparks.unpark();
    });
    scheduler.run().unwrap();
}

fn ctrl_c_and_a_shutdown_run_the_destructors_of_all_tasks() {
    struct Tells(usize);
    impl Drop for Tells {
        fn drop(&mut self) {
            yield_now(); // may wait, as any code of a task
            say(&format!("dropped {}", self.0));
        }
    }
    let scheduler = Scheduler::new().unwrap();
    let handle = scheduler.handle();
    for n in 0..3 {
        scheduler.spawn(move || {
            let _tells = Tells(n);
            match n {
                0 => task::park(),
                1 => sleep(Duration::from_secs(3600)),
                _ => loop {
                    yield_now();
                },
            }
        });
    }
    scheduler.spawn(move || {
        let mut signals = Signals::new([SIGINT]).unwrap();
        say("ready");
        assert_eq!(signals.wait().unwrap(), SIGINT);
        handle.cancel_all();
    });
    scheduler.run().unwrap();
    say("goodbye");
}

fn the_second_ctrl_c_ends_a_program_that_waited_for_the_first() {
    let waits = spawn(signal::ctrl_c);
    yield_now(); // it listens
    say("ready");
    waits.join().unwrap().unwrap();
    say("one moment");
    loop {
        task::park_timeout(Duration::from_secs(3600));
    }
}

// ---- what happens on a signal ----

fn a_signal_that_nobody_listens_for_any_more_ends_the_program() {
    drop(Signals::new([SIGTERM]).unwrap());
    SIGTERM.raise().unwrap();
    unreachable!("nobody listens");
}

fn a_signal_is_kept_off_until_the_last_listener_has_gone() {
    let [first, mut second] = [(); 2].map(|()| Signals::new([SIGUSR1]).unwrap());
    drop(first);
    SIGUSR1.raise().unwrap();
    assert_eq!(second.wait().unwrap(), SIGUSR1);
    println!("kept off");
    second.handle().close();
    SIGUSR1.raise().unwrap();
    unreachable!("nobody listens");
}

fn one_who_comes_after_the_last_has_gone_is_told() {
    for _ in 0..3 {
        let mut signals = Signals::new([SIGTERM]).unwrap();
        SIGTERM.raise().unwrap();
        assert_eq!(signals.wait().unwrap(), SIGTERM);
    }
}

fn what_was_ignored_is_ignored_again() {
    // Rust's own start has SIGPIPE ignored.
    for _ in 0..2 {
        let mut signals = Signals::new([SIGPIPE]).unwrap();
        SIGPIPE.raise().unwrap();
        assert_eq!(signals.wait().unwrap(), SIGPIPE);
        drop(signals);
        SIGPIPE.raise().unwrap();
    }
    assert_eq!(own_status("SigIgn:") >> (SIGPIPE.as_raw() - 1) & 1, 1);
}

fn what_had_a_handler_has_it_still_and_again() {
    let told = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGUSR1.as_raw(), told.clone()).unwrap();
    let mut signals = Signals::new([SIGUSR1]).unwrap();
    SIGUSR1.raise().unwrap();
    assert!(told.swap(false, SeqCst));
    assert_eq!(signals.wait().unwrap(), SIGUSR1);
    drop(signals);
    SIGUSR1.raise().unwrap();
    assert!(told.load(SeqCst));
}

fn what_somebody_set_meanwhile_stays() {
    let signals = Signals::new([SIGUSR1]).unwrap();
    // SAFETY: it ignores the signal.
    unsafe { libc::signal(SIGUSR1.as_raw(), libc::SIG_IGN) };
    drop(signals);
    SIGUSR1.raise().unwrap();
}

fn a_program_can_end_by_the_signal_it_was_told() {
    let mut signals = Signals::new([SIGINT, SIGTERM]).unwrap();
    SIGTERM.raise().unwrap();
    let asked = signals.wait().unwrap();
    drop(signals);
    asked.raise().unwrap();
    unreachable!("nobody listens");
}

// ---- failures ----

fn signals_that_none_can_be_told_of_are_refused() {
    let numbers = [-1, 0, 1000].map(Signal::from_raw);
    let forbidden = [SIGKILL, SIGSTOP, SIGSEGV, SIGBUS, SIGILL, SIGFPE];
    let open = descriptors();
    for signal in numbers.into_iter().chain(forbidden) {
        let refused = Signals::new([SIGTERM, signal]).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{signal}");
        let named =
            !forbidden.contains(&signal) || refused.to_string().contains(signal.name().unwrap());
        assert!(named, "{refused}");
    }
    assert_eq!(descriptors(), open);
    let mut signals = Signals::new([SIGUSR1]).unwrap();
    signals.add(SIGKILL).unwrap_err();
    SIGUSR1.raise().unwrap();
    assert_eq!(
        signals.wait().unwrap(),
        SIGUSR1,
        "the others are still told"
    );
    SIGTERM.raise().unwrap();
    unreachable!("nobody listens");
}

fn without_descriptors_nobody_listens_and_that_is_said() {
    let (_, hard) = rlimit::Resource::NOFILE.get().unwrap();
    rlimit::Resource::NOFILE.set(64, hard).unwrap();
    let mut taken = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        taken.push(file);
    }
    let number = |result: io::Result<()>| result.map_err(|error| error.raw_os_error());
    for free in 0..4 {
        let listens = Signals::new([SIGTERM, SIGUSR1]).map(drop);
        assert_eq!(number(listens), Err(Some(libc::EMFILE)), "{free}");
        if free == 2 {
            assert_eq!(number(signal::ctrl_c()), Err(Some(libc::EMFILE)));
        }
        taken.pop();
    }
    drop(Signals::new([SIGTERM, SIGUSR1]).unwrap());
    SIGTERM.raise().unwrap();
    unreachable!("nobody listens");
}

// ---- the process ----

/// A line of hexadecimal digits in what the system says of this process.
fn own_status(line: &str) -> u64 {
    mask(&std::fs::read_to_string("/proc/self/status").unwrap(), line)
}

fn mask(status: &str, line: &str) -> u64 {
    let found = status.lines().find_map(|text| text.strip_prefix(line));
    u64::from_str_radix(found.unwrap().trim(), 16).unwrap()
}

fn descriptors() -> usize {
    // The one that the listing itself takes is closed by then, so it does not count.
    std::fs::read_dir("/proc/self/fd").unwrap().count() - 1
}

fn a_started_program_has_nothing_blocked_nor_ignored() {
    let before = ["SigBlk:", "SigIgn:"].map(own_status);
    let listened = [SIGINT, SIGTERM, SIGHUP, SIGUSR1];
    let _signals = Signals::new(listened).unwrap();
    assert_eq!(
        ["SigBlk:", "SigIgn:"].map(own_status),
        before,
        "no mask of ours"
    );
    let in_a_task = spawn(|| Command::new("cat").arg("/proc/self/status").output());
    let output = in_a_task.join().unwrap().unwrap();
    let status = String::from_utf8(output.stdout).unwrap();
    for signal in listened {
        for line in ["SigBlk:", "SigIgn:", "SigCgt:"] {
            let bit = mask(&status, line) >> (signal.as_raw() - 1) & 1;
            assert_eq!(bit, 0, "{signal} in {line} of\n{status}");
        }
    }
}

fn a_handler_takes_nothing_of_the_stack_of_the_task_it_interrupts() {
    static STOOD_AT: AtomicUsize = AtomicUsize::new(0);
    let stands = || {
        let here = 0_u8;
        STOOD_AT.store(std::ptr::from_ref(&here) as usize, SeqCst);
    };
    // SAFETY: a store into an atomic may be done at any time.
    unsafe { signal_hook::low_level::register(SIGUSR1.as_raw(), stands) }.unwrap();
    let mut signals = Signals::new([SIGUSR1]).unwrap();
    const SIZE: usize = 256 << 10;
    let task = task::Builder::new().stack_size(SIZE).spawn(move || {
        let here = 0_u8;
        let here = std::ptr::from_ref(&here) as usize;
        SIGUSR1.raise().unwrap();
        let far = here.abs_diff(STOOD_AT.load(SeqCst)) > SIZE;
        (signals.wait().unwrap(), far)
    });
    assert_eq!(task.unwrap().join().unwrap(), (SIGUSR1, true));
}

fn signals_come_and_go_without_leaving_descriptors() {
    let round = || {
        let mut signals = Signals::new([SIGUSR1, SIGUSR2]).unwrap();
        signals.add(SIGINT).unwrap();
        let waits = spawn(move || signals.wait());
        yield_now();
        SIGUSR2.raise().unwrap();
        assert_eq!(waits.join().unwrap().unwrap(), SIGUSR2);
    };
    round();
    let open = descriptors();
    for _ in 0..100 {
        round();
    }
    assert_eq!(descriptors(), open);
}

fn debug_shows_names() {
    let signals = Signals::new([SIGINT, SIGTERM]).unwrap();
    assert_eq!(format!("{signals:?}"), "Signals([SIGINT, SIGTERM])");
    assert_eq!(
        format!("{:?}", signals.handle()),
        "Handle([SIGINT, SIGTERM])"
    );
    assert_eq!(
        format!("{SIGINT:?} {SIGINT:>7}{:>10}", Signal::from_raw(40)),
        "SIGINT  SIGINT signal 40"
    );
}
