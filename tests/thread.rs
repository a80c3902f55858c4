//! The same program, with std's threads and with tasks under their names.

use std::fmt::Write;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a program that uses threads would do, and what it sees; `$thread` is the module that it uses.
macro_rules! program {
    ($name:ident, $($thread:tt)*) => {
        fn $name() -> String {
            use $($thread)*::{self as thread, Builder, JoinHandle, Scope, ScopedJoinHandle, Thread, ThreadId};
            let mut seen = String::new();

            // Results, panics, names.
            let handle: JoinHandle<i32> = thread::spawn(|| 7);
            writeln!(seen, "{:?}", handle.join().unwrap()).unwrap();
            let panics: thread::Result<()> = thread::spawn(|| resume_unwind(Box::new("oops"))).join();
            writeln!(seen, "{:?}", panics.unwrap_err().downcast_ref::<&str>()).unwrap();
            let named = Builder::new().name("one".into()).stack_size(1 << 20);
            let named = named.spawn(|| thread::current().name().map(str::to_owned)).unwrap();
            writeln!(seen, "{:?}", named.thread().name()).unwrap();
            writeln!(seen, "{:?}", named.join().unwrap()).unwrap();
            let unnamed = thread::spawn(|| thread::current().name().is_none());
            writeln!(seen, "{}", unnamed.join().unwrap()).unwrap();

            // Who is who.
            let me: Thread = thread::current();
            let id: ThreadId = me.id();
            let other = thread::spawn(|| thread::current().id());
            let others = other.thread().id();
            let same = other.join().unwrap() == others;
            writeln!(seen, "{} {} {}", id == thread::current().id(), same, others == id).unwrap();
            writeln!(seen, "{}", thread::panicking()).unwrap();

            // Tokens.
            me.unpark();
            thread::park();
            let waits = thread::spawn(|| {
                thread::park();
                "unparked"
            });
            writeln!(seen, "{}", waits.is_finished()).unwrap();
            waits.thread().unpark();
            writeln!(seen, "{}", waits.join().unwrap()).unwrap();
            let start = Instant::now();
            thread::park_timeout(Duration::from_millis(2));
            thread::sleep(Duration::from_millis(2));
            writeln!(seen, "{}", start.elapsed() >= Duration::from_millis(2)).unwrap();
            thread::yield_now();

            // Scopes.
            let count = AtomicUsize::new(0);
            let mut local = 1;
            let words = thread::scope(|s: &Scope<'_, '_>| {
                let handle: ScopedJoinHandle<'_, _> = s.spawn(|| {
                    s.spawn(|| count.fetch_add(1, SeqCst));
                    "words"
                });
                s.spawn(|| local += 1);
                let scoped = Builder::new().name("two".into()).spawn_scoped(s, || count.fetch_add(1, SeqCst));
                writeln!(seen, "{:?}", scoped.unwrap().thread().name()).unwrap();
                handle.join().unwrap()
            });
            writeln!(seen, "{words} {local} {}", count.load(SeqCst)).unwrap();
            let joined = thread::scope(|s| s.spawn(|| resume_unwind(Box::new(5))).join().map(drop::<()>).is_err());
            let unjoined = catch_unwind(|| thread::scope(|s| { s.spawn(|| resume_unwind(Box::new(5))); }));
            writeln!(seen, "{joined} {}", unjoined.is_err()).unwrap();
            let of_the_closure = catch_unwind(AssertUnwindSafe(|| thread::scope(|s| {
                s.spawn(|| count.fetch_add(1, SeqCst));
                resume_unwind(Box::new("of the closure"))
            })));
            let payload: Box<dyn std::any::Any + Send> = match of_the_closure {
                Err(payload) => payload,
                Ok(()) => unreachable!(),
            };
            writeln!(seen, "{:?} {}", payload.downcast_ref::<&str>(), count.load(SeqCst)).unwrap();

            // Dropping a handle detaches.
            let alive = Arc::new(());
            let held = alive.clone();
            drop(thread::spawn(move || drop(held)));
            while Arc::strong_count(&alive) > 1 {
                thread::yield_now();
            }
            writeln!(seen, "{}", thread::available_parallelism().is_ok()).unwrap();
            seen
        }
    };
}

program!(with_threads, std::thread);
program!(with_tasks, multitask::thread);

#[test]
fn a_program_sees_the_same_whether_it_uses_threads_or_tasks() {
    let threads = with_threads();
    assert_eq!(threads, with_tasks());
    let in_a_task = multitask::spawn(with_tasks).join().unwrap();
    assert_eq!(threads, in_a_task);
}

#[test]
fn a_cancelled_task_has_that_as_its_payload() {
    use multitask::{thread, Cancelled};

    let handle = thread::spawn(thread::park);
    handle.cancel();
    assert!(handle.join().unwrap_err().is::<Cancelled>());
    thread::scope(|s| {
        let handle = s.spawn(thread::park);
        handle.cancel();
        assert!(handle.join().unwrap_err().is::<Cancelled>());
    });
}

#[test]
fn handles_are_those_of_tasks_under_another_name() {
    let handle: multitask::JoinHandle<_> = multitask::thread::spawn(|| 1).into();
    let handle: multitask::thread::JoinHandle<_> = handle.into();
    assert_eq!(handle.join().unwrap(), 1);
}

#[test]
fn what_is_sent_where_is_as_in_std() {
    fn both<T: Send + Sync>() {}
    both::<std::thread::JoinHandle<std::cell::Cell<u8>>>();
    both::<multitask::thread::JoinHandle<std::cell::Cell<u8>>>();
    both::<multitask::thread::ScopedJoinHandle<'_, std::cell::Cell<u8>>>();
    both::<multitask::thread::Scope<'_, '_>>();
    both::<multitask::thread::Thread>();
}
