//! What does it cost to wake a task, by each of the means, against the two switches alone that it takes?
//!
//! `cargo bench --bench wake`. Rounds are interleaved, because machines are shared and their speed drifts; each row
//! shows the median of the rounds, the minimum, and the median ratio to the first row of its group. There and
//! back is two wake-ups; where one is a thread's, that costs most of it.

mod common;

use common::{per_item, table, Bench};
use multitask::sync::{oneshot, Arc, Event, Notify, WaitGroup};
use multitask::{spawn, task, yield_now, Scheduler};
use std::thread;
use std::time::{Duration, Instant};

const TRIPS: u64 = 300_000;

/// Two tasks that run `$here` and `$there`, in turn. Not a function: what suspends has to be inlined into the task's loop, or the
/// processor foresees no return.
macro_rules! two_tasks {
    ($scheduler:expr, $here:expr, $there:expr) => {{
        let start = Instant::now();
        $scheduler.spawn(move || {
            for _ in 0..TRIPS {
                $here;
            }
        });
        $scheduler.spawn(move || {
            for _ in 0..TRIPS {
                $there;
            }
        });
        $scheduler.run().expect("no deadlock");
        per_item(start, TRIPS)
    }};
}

/// The same, by tokens.
macro_rules! parks {
    ($scheduler:expr, $park:expr) => {{
        $scheduler.block_on(|| {
            let asker = task::current();
            let answerer = spawn(move || {
                for _ in 0..TRIPS {
                    $park;
                    asker.unpark();
                }
            });
            let start = Instant::now();
            for _ in 0..TRIPS {
                answerer.task().unpark();
                $park;
            }
            per_item(start, TRIPS)
        })
    }};
}

/// Two tasks of one worker.
const TASKS: &[Bench] = &[
    ("yield there and back", yields),
    ("park + unpark, there and back", |s| parks!(s, task::park())),
    ("the same with a time limit", |s| {
        parks!(s, task::park_timeout(Duration::from_secs(5)))
    }),
    ("Notify, there and back", notify),
    ("Event, there and back", event),
    ("oneshot of a new task", oneshots),
    ("WaitGroup of a new task", wait_groups),
];

/// 1,000 are woken at once; of each of them.
const CROWD: &[Bench] = &[
    ("yield, 1,000 tasks", |s| crowd(s, yield_now)),
    ("Notify, 1,000 tasks", notified_crowd),
];

/// From a thread that is no worker, or between two of those.
const THREADS: &[Bench] = &[
    ("std's park + unpark, 2 threads", |_| std_threads()),
    ("a thread and a task", thread_and_task),
    ("the same, no spinning", |_| {
        let sleepy = Scheduler::builder().spin(Duration::ZERO).build();
        thread_and_task(&sleepy.expect("a few descriptors"))
    }),
];

fn main() {
    let scheduler = Scheduler::new().expect("a few descriptors");
    table(&scheduler, &[TASKS, CROWD, THREADS], "ratio");
}

fn yields(scheduler: &Scheduler) -> f64 {
    two_tasks!(scheduler, yield_now(), yield_now())
}

fn notify(scheduler: &Scheduler) -> f64 {
    let (ping, pong) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (asked, answer) = (ping.clone(), pong.clone());
    two_tasks!(
        scheduler,
        {
            ping.notify_one();
            pong.wait();
        },
        {
            asked.wait();
            answer.notify_one();
        }
    )
}

fn event(scheduler: &Scheduler) -> f64 {
    let (ping, pong) = (Arc::new(Event::new()), Arc::new(Event::new()));
    let (asked, answer) = (ping.clone(), pong.clone());
    two_tasks!(
        scheduler,
        {
            ping.set();
            pong.wait();
            pong.clear();
        },
        {
            asked.wait();
            asked.clear();
            answer.set();
        }
    )
}

fn oneshots(scheduler: &Scheduler) -> f64 {
    scheduler.block_on(|| {
        let start = Instant::now();
        for i in 0..TRIPS {
            let (tell, told) = oneshot::channel();
            spawn(move || tell.send(i).expect("somebody waits"));
            assert_eq!(told.recv(), Ok(i));
        }
        per_item(start, TRIPS)
    })
}

fn wait_groups(scheduler: &Scheduler) -> f64 {
    scheduler.block_on(|| {
        let start = Instant::now();
        for _ in 0..TRIPS {
            let group = WaitGroup::new();
            let member = group.clone();
            spawn(move || drop(member));
            group.wait();
        }
        per_item(start, TRIPS)
    })
}

// ---- many at once ----

const CROWD_SIZE: u64 = 1_000;
const TIMES: u64 = 300;

fn crowd(scheduler: &Scheduler, wait: impl Fn() + Clone + Send + 'static) -> f64 {
    for _ in 0..CROWD_SIZE {
        let wait = wait.clone();
        scheduler.spawn(move || (0..TIMES).for_each(|_| wait()));
    }
    let start = Instant::now();
    scheduler.run().expect("no deadlock");
    per_item(start, CROWD_SIZE * TIMES)
}

fn notified_crowd(scheduler: &Scheduler) -> f64 {
    let notify = Arc::new(Notify::new());
    let waker = notify.clone();
    scheduler.spawn(move || {
        for _ in 0..TIMES {
            // Behind all of them, who wait when it goes on.
            yield_now();
            waker.notify_waiters();
        }
    });
    crowd(scheduler, move || notify.wait())
}

// ---- threads ----

const THREAD_TRIPS: u64 = 3_000;

fn std_threads() -> f64 {
    let asker = thread::current();
    let answerer = thread::spawn(move || {
        for _ in 0..THREAD_TRIPS {
            thread::park();
            asker.unpark();
        }
    });
    let start = Instant::now();
    for _ in 0..THREAD_TRIPS {
        answerer.thread().unpark();
        thread::park();
    }
    let figure = per_item(start, THREAD_TRIPS);
    answerer.join().expect("no panic");
    figure
}

/// A thread asks, a task answers.
fn thread_and_task(scheduler: &Scheduler) -> f64 {
    let (ping, pong) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (asked, answer) = (ping.clone(), pong.clone());
    let asker = thread::spawn(move || {
        let start = Instant::now();
        for _ in 0..THREAD_TRIPS {
            ping.notify_one();
            pong.wait();
        }
        per_item(start, THREAD_TRIPS)
    });
    scheduler.block_on(move || {
        for _ in 0..THREAD_TRIPS {
            asked.wait();
            answer.notify_one();
        }
    });
    asker.join().expect("no panic")
}
