//! `timers`: time limits that are put round something and do not pass, while many others are outstanding; and very many sleepers.

use crate::measure::{each, leak, Gate, WHILE};
use crate::model::{Bench, Case, Figure, Job, Outcome, Peer, Work};
use crate::peer::bare::{Fiber, Slot, Stacks};
use crate::peer::{dispatch, Stackful, Stackless};
use crate::process::cpu_time;
use hdrhistogram::Histogram;
use std::cell::{Cell, RefCell};
use std::hint::black_box;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

const SLEEPERS: &str = "tasks sleeping 0 to 1,000 ms";
const READY: &str = "limit round what is ready";
const LIMIT: Duration = Duration::from_secs(5);
const MILLISECOND: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(3600);

pub const BENCH: Bench = Bench {
    name: "timers",
    about: "time limits with 100,000 outstanding (--quick: 10,000), per limit; a million sleepers (100,000)",
    cases: &[
        Case {
            param: READY,
            n: 100_000,
            workers: 1,
            size: [5_000_000, 0, 0],
        },
        Case {
            param: READY,
            n: 10_000,
            workers: 1,
            size: [0, 500_000, 1_000],
        },
        Case {
            param: "limit round what suspends",
            n: 100_000,
            workers: 1,
            size: [5_000_000, 0, 0],
        },
        Case {
            param: "limit round what suspends",
            n: 10_000,
            workers: 1,
            size: [0, 200_000, 1_000],
        },
        Case {
            param: SLEEPERS,
            n: 1,
            workers: 1,
            size: [1_000_000, 100_000, 1_001],
        },
    ],
    peers: &[
        Peer::Multitask,
        Peer::Tokio,
        Peer::TokioMulti,
        Peer::May,
        Peer::Smol,
        Peer::Go,
        Peer::Floor,
    ],
    shown: None,
    work: Work::Here(run),
};

fn run(peer: Peer, job: &Job) -> Outcome {
    if job.param == SLEEPERS {
        dispatch!(peer, job, sleep, async_sleep, floor(job))
    } else {
        let floor = Err("what is bare has no limits".into());
        dispatch!(peer, job, limit, async_limit, floor)
    }
}

// ---- limits ----

fn limit<P: Stackful>(job: &Job) -> Outcome {
    P::timeout(LIMIT, || ())?;
    let (peer, n) = (leak(P::start(job.workers)?), job.n);
    peer.run(move || {
        let gate = Gate::new(n);
        for _ in 0..n {
            P::spawn(|| {
                gate.arrive();
                P::sleep_until(Instant::now() + LONG);
            });
        }
        while !gate.is_open() {
            P::sleep_until(Instant::now() + WHILE);
        }
    });
    let ready = job.param == READY;
    each(job.size, |size| {
        peer.run(move || {
            let start = Instant::now();
            for i in 0..size {
                let answer = P::timeout(LIMIT, || {
                    if !ready {
                        P::yield_now();
                    }
                    black_box(i)
                });
                assert_eq!(answer, Ok(Some(i)));
            }
            start.elapsed()
        })
    })
}

fn async_limit<P: Stackless>(peer: Peer, job: &Job) -> Outcome {
    let (peer, n) = (leak(P::start(peer, job.workers)?), job.n);
    peer.run(async move {
        let gate = Gate::new(n);
        for _ in 0..n {
            P::detach(P::spawn(async {
                gate.arrive();
                P::sleep_until(Instant::now() + LONG).await;
            }));
        }
        while !gate.is_open() {
            P::sleep_until(Instant::now() + WHILE).await;
        }
    });
    let ready = job.param == READY;
    each(job.size, |size| {
        peer.run(async move {
            let start = Instant::now();
            for i in 0..size {
                let answer = P::timeout(LIMIT, async {
                    if !ready {
                        P::yield_now().await;
                    }
                    black_box(i)
                });
                assert_eq!(answer.await, Some(i));
            }
            start.elapsed()
        })
    })
}

// ---- sleepers ----

/// How long the one with this number sleeps.
fn nap(number: u64) -> Duration {
    Duration::from_millis(number % 1_001)
}

fn sleep<P: Stackful>(job: &Job) -> Outcome {
    let (peer, count) = (leak(P::start(job.workers)?), job.size);
    let cpu = cpu_time();
    let late = peer.run(move || {
        let sleeper = |i| {
            move || {
                let due = Instant::now() + nap(i);
                P::sleep_until(due);
                lateness(due)
            }
        };
        let tasks: Vec<_> = (0..count).map(|i| P::spawn(sleeper(i))).collect();
        tasks.into_iter().map(P::join).collect::<Vec<_>>()
    });
    figures(late, count, cpu_time() - cpu)
}

fn async_sleep<P: Stackless>(peer: Peer, job: &Job) -> Outcome {
    let (peer, count) = (leak(P::start(peer, job.workers)?), job.size);
    let cpu = cpu_time();
    let late = peer.run(async move {
        let sleeper = |i| async move {
            let due = Instant::now() + nap(i);
            P::sleep_until(due).await;
            lateness(due)
        };
        let tasks: Vec<_> = (0..count).map(|i| P::spawn(sleeper(i))).collect();
        let mut late = Vec::with_capacity(count as usize);
        for task in tasks {
            late.push(P::join(task).await);
        }
        late
    });
    figures(late, count, cpu_time() - cpu)
}

/// As many coroutines, in a list for each millisecond, by a loop that looks at the clock once for so many new ones. Who has ended leaves its
/// stack to the next one.
fn floor(job: &Job) -> Outcome {
    const LOOK: u64 = 64;
    let cpu = cpu_time();
    let mut sleepers = Sleepers::new(job.size as usize);
    for i in 0..job.size {
        sleepers.begin(nap(i));
        if i % LOOK == 0 {
            sleepers.wake();
        }
    }
    while sleepers.late.borrow().len() < job.size as usize {
        thread::sleep(MILLISECOND);
        sleepers.wake();
    }
    let cpu = cpu_time() - cpu;
    figures(sleepers.late.take(), job.size, cpu)
}

struct Sleepers {
    start: Instant,
    stacks: Stacks,
    spare: Vec<Slot>,
    /// Those that are due by the end of each millisecond since the start.
    due: Vec<Vec<Fiber>>,
    /// Milliseconds that are over.
    over: usize,
    /// When the one that was begun last is due.
    last: Rc<Cell<Instant>>,
    late: Rc<RefCell<Vec<u64>>>,
}

impl Sleepers {
    fn new(count: usize) -> Sleepers {
        let start = Instant::now();
        Sleepers {
            start,
            stacks: Stacks::new(count),
            spare: Vec::new(),
            due: Vec::new(),
            over: 0,
            last: Rc::new(Cell::new(start)),
            late: Rc::new(RefCell::new(Vec::with_capacity(count))),
        }
    }

    fn begin(&mut self, nap: Duration) {
        let (last, late) = (self.last.clone(), self.late.clone());
        let slot = self.spare.pop().unwrap_or_else(|| self.stacks.slot());
        let mut fiber = Fiber::new(slot, move |yields| {
            let due = Instant::now() + nap;
            last.set(due);
            yields.suspend(());
            late.borrow_mut().push(lateness(due));
        });
        assert!(fiber.resume());
        let millisecond = (self.last.get() - self.start).as_millis() as usize;
        if self.due.len() <= millisecond {
            self.due.resize_with(millisecond + 1, Vec::new);
        }
        self.due[millisecond].push(fiber);
    }

    fn wake(&mut self) {
        let now = self.start.elapsed().as_millis() as usize;
        for millisecond in self.over..now.min(self.due.len()) {
            for mut fiber in self.due[millisecond].drain(..) {
                assert!(!fiber.resume());
                self.spare.push(fiber.into_slot());
            }
        }
        self.over = now;
    }
}

/// In nanoseconds.
fn lateness(due: Instant) -> u64 {
    let late = Instant::now().checked_duration_since(due);
    late.expect("nobody wakes early").as_nanos() as u64
}

fn figures(late: Vec<u64>, count: u64, cpu: Duration) -> Outcome {
    assert_eq!(late.len() as u64, count);
    let mut histogram = Histogram::<u64>::new(3).expect("three digits");
    for nanoseconds in late {
        histogram.record(nanoseconds).expect("it grows");
    }
    let milliseconds = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e6;
    Ok(vec![
        Figure::new("CPU", "s", cpu.as_secs_f64()),
        Figure::new("late, median", "ms", milliseconds(0.5)),
        Figure::new("late, 99 %", "ms", milliseconds(0.99)),
    ])
}
