//! How a child measures.

use crate::model::{Figure, Outcome};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Nanoseconds of each of `size` operations, after a tenth of them so that pages and code are warm. `run` does so many and says how
/// long that took.
pub fn each(size: u64, run: impl Fn(u64) -> Duration) -> Outcome {
    run(size.div_ceil(10));
    Figure::only("ns", run(size).as_nanos() as f64 / size as f64)
}

/// For what lives as long as the process: what a peer has started is not taken down but left to the end of the process, which is no
/// part of any bench.
pub fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

/// How long to wait before looking again whether a gate is open. To wait by yielding would not do: with `may`, whose tasks
/// yield past what has been spawned, it would be for ever.
pub const WHILE: Duration = Duration::from_millis(1);

/// Times what several tasks do from the moment when all have started to that when all have finished.
pub struct Gate {
    tasks: usize,
    arrived: AtomicUsize,
    finished: AtomicUsize,
    open: OnceLock<Instant>,
    shut: OnceLock<Instant>,
}

impl Gate {
    pub fn new(tasks: usize) -> &'static Gate {
        leak(Gate {
            tasks,
            arrived: AtomicUsize::new(0),
            finished: AtomicUsize::new(0),
            open: OnceLock::new(),
            shut: OnceLock::new(),
        })
    }

    /// A task has started; it yields until the gate is open.
    pub fn arrive(&self) {
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == self.tasks {
            self.open.set(Instant::now()).expect("one is the last");
        }
    }

    pub fn is_open(&self) -> bool {
        self.arrived.load(Ordering::Acquire) == self.tasks
    }

    /// When the last has started.
    pub fn opened(&self) -> Instant {
        *self.open.get().expect("all have started")
    }

    pub fn finish(&self) {
        if self.finished.fetch_add(1, Ordering::AcqRel) + 1 == self.tasks {
            self.shut.set(Instant::now()).expect("one is the last");
        }
    }

    pub fn elapsed(&self) -> Duration {
        let shut = self.shut.get().expect("all have finished");
        *shut - self.opened()
    }
}
