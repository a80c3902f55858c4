//! What the tests of sockets need: a scheduler to run in, a watch over tests that hang, and answers as text.

use multitask::{spawn, yield_now, JoinHandle, Scheduler, Timeout};
use socket2::SockRef;
use std::fmt::Debug;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{mpsc, Arc};
use std::time::Duration;
use std::{process, thread};

/// Longer than it takes to get to a wait, and short enough for a test to wait for it.
pub const SHORT: Duration = Duration::from_millis(20);

/// An answer without what differs from run to run.
pub fn told<T: Debug>(result: io::Result<T>) -> String {
    match result {
        Ok(value) => without_numbers(&format!("{value:?}")),
        Err(error) if error.kind() == ErrorKind::InvalidInput => format!("InvalidInput, {error}"),
        Err(error) => format!("{:?}, os error {:?}", error.kind(), error.raw_os_error()),
    }
}

/// Ports and descriptors differ from run to run; they are the numbers of four digits and more, and what follows `fd: `.
pub fn without_numbers(text: &str) -> String {
    let mut out = String::new();
    for word in text.split_inclusive(|c: char| !c.is_ascii_digit()) {
        let digits = word.chars().take_while(char::is_ascii_digit).count();
        let varying = digits >= 4 || digits > 0 && out.ends_with("fd: ");
        out.push_str(if varying { "#" } else { &word[..digits] });
        out.push_str(&word[digits..]);
    }
    out
}

/// Runs `body` as the first task of a scheduler of its own, on this thread, until every task has finished.
pub fn in_tasks<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> T {
    in_tasks_of(crate::common::scheduler(), body)
}

/// The same of a scheduler with one worker.
pub fn in_tasks_of_one_thread<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> T {
    in_tasks_of(Scheduler::new().unwrap(), body)
}

fn in_tasks_of<T: Send + 'static>(
    scheduler: Scheduler,
    body: impl FnOnce() -> T + Send + 'static,
) -> T {
    let _watch = watch();
    let body = scheduler.spawn(body);
    scheduler.run().unwrap();
    body.join().unwrap()
}

/// Ends the process if what is returned is not dropped in time: a test that hangs shall say which one it is.
pub fn watch() -> mpsc::Sender<()> {
    let (running, end) = mpsc::channel::<()>();
    let test = thread::current().name().map(str::to_owned);
    thread::spawn(move || {
        if end.recv_timeout(Duration::from_secs(60)) == Err(mpsc::RecvTimeoutError::Timeout) {
            // Not eprintln!, which the test harness keeps for itself.
            let _ = writeln!(io::stderr(), "{test:?} hangs");
            process::abort();
        }
    });
    running
}

#[track_caller]
pub fn assert_timed_out<T>(result: io::Result<T>) {
    let error = result.err().expect("it should have timed out");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(error.get_ref().unwrap().downcast_ref::<Timeout>().is_some());
}

pub fn non_blocking(socket: &impl AsFd) -> bool {
    SockRef::from(socket).nonblocking().unwrap()
}

pub fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        yield_now();
    }
}

#[derive(Clone)]
pub struct Flag(Arc<AtomicBool>);

impl Flag {
    pub fn new() -> Self {
        Flag(Arc::default())
    }

    pub fn raise(&self) {
        self.0.store(true, SeqCst);
    }

    pub fn up(&self) -> bool {
        self.0.load(SeqCst)
    }

    /// Returns when the task that raises the flag has done so. If it is of the caller's worker it waits for what it does next by then.
    pub fn seen(&self) {
        until(|| self.up());
    }
}

/// A task that has begun with `body`, and waits in it if there is one worker.
pub fn waiting<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let begun = Flag::new();
    let task = spawn({
        let begun = begun.clone();
        move || {
            begun.raise();
            body()
        }
    });
    begun.seen();
    task
}
