//! What several of the test programs need.
#![allow(dead_code)] // each of them uses a part

pub mod children;
pub mod files;
pub mod flat;
pub mod futures;
pub mod interrupts;
pub mod sockets;

use multitask::{sleep, spawn, task, Handle, Scheduler};
use std::env;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{mpsc, Arc};
use std::thread;
use std::time::Duration;

/// Far beyond what any test takes: who waits for so long waits for ever.
pub const LONG: Duration = Duration::from_secs(3600);

/// Who has not ended by then hangs, on a machine that has much else to do, too.
const PATIENCE: Duration = Duration::from_secs(600);

/// A scheduler of as many workers as the environment says in `MULTITASK_WORKERS`; of one if it says nothing.
///
/// A test whose claim is one about a single worker (in which order tasks run and come to wait, what one pass of the loop
/// does, what is left when the loop stands still) makes its own by `Scheduler::new`.
pub fn scheduler() -> Scheduler {
    Scheduler::builder().workers(workers()).build().unwrap()
}

/// See [`scheduler`].
pub fn workers() -> usize {
    let workers = env::var("MULTITASK_WORKERS");
    workers.map_or(1, |number| number.parse().unwrap())
}

/// Runs a test on a thread of its own, and fails it if it does not end.
#[track_caller]
pub fn ends<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, told) = mpsc::channel();
    let thread = thread::spawn(move || {
        let value = test();
        // Nobody listens if it came too late.
        let _ = tell.send(());
        value
    });
    match told.recv_timeout(PATIENCE) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("it hangs"),
        Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => {
            thread.join().unwrap_or_else(|panic| resume_unwind(panic))
        }
    }
}

/// Runs a check in a task, on a plain thread, and on a plain thread whose scheduler has tasks to run meanwhile.
pub fn everywhere(check: fn()) {
    ends(move || scheduler().block_on(check));
    ends(check);
    ends(move || {
        let live = spawn(|| loop {
            sleep(Duration::from_micros(500));
        });
        check();
        live.cancel();
        assert!(live.join().unwrap_err().is_cancelled());
    });
}

/// Counts how often it (or a clone) is dropped.
#[derive(Clone, Debug, Default)]
pub struct Drops(Arc<AtomicUsize>);

impl Drops {
    pub fn count(&self) -> usize {
        self.0.load(SeqCst)
    }

    /// Something whose destructor is counted.
    pub fn one(&self) -> Dropped {
        Dropped(self.clone())
    }
}

#[derive(Debug)]
pub struct Dropped(Drops);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0 .0.fetch_add(1, SeqCst);
    }
}

/// Calls a closure when it is dropped.
pub struct OnDrop<F: FnMut()>(pub F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        self.0();
    }
}

/// Lets the scheduler's tasks go on until none is ready: each that is left waits.
pub fn settle(scheduler: &Scheduler) {
    // Of several workers one may have been asked before it was sent something by the next.
    let mut quiet = 0;
    while quiet < scheduler.workers() {
        let runs = scheduler.turn(Some(Duration::ZERO)).unwrap();
        let stats = scheduler.stats();
        let all_wait = stats.live == stats.io + stats.timers + stats.tasks;
        quiet = if runs == 0 && all_wait { quiet + 1 } else { 0 };
    }
}

/// A scheduler on a thread of its own, which runs until `stop`.
pub struct Remote {
    pub handle: Handle,
    thread: thread::JoinHandle<()>,
}

impl Remote {
    pub fn start() -> Remote {
        let (tell, told) = mpsc::channel();
        let thread = thread::spawn(move || {
            let scheduler = scheduler();
            scheduler.spawn(|| loop {
                task::park();
            });
            tell.send(scheduler.handle()).unwrap();
            scheduler.run().unwrap();
            assert_eq!(scheduler.stats().live, 0);
        });
        Remote {
            handle: told.recv().unwrap(),
            thread,
        }
    }

    /// Cancels what is left, and waits for its end.
    pub fn stop(self) {
        self.handle.cancel_all();
        self.thread.join().unwrap();
    }
}

/// Numbers that are the same in each run (xorshift64*, by Vigna).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize) % end
    }
}

/// Work that is repeated until it says that it is over.
pub type Work = Arc<dyn Fn(&mut Random) -> bool + Send + Sync>;

/// Those who use something at the same time: plain threads, and tasks of two schedulers, some of which are cancelled.
pub struct Crowd {
    remotes: [Remote; 2],
    seed: u64,
    interruptions: Arc<AtomicUsize>,
}

impl Crowd {
    pub fn new(seed: u64) -> Crowd {
        Crowd {
            remotes: [Remote::start(), Remote::start()],
            seed,
            interruptions: Arc::default(),
        }
    }

    /// Of every four numbers two are plain threads, and one is of each scheduler.
    pub fn run(&self, number: usize, work: Work) -> thread::JoinHandle<()> {
        let remote = self.remotes.get(number % 4);
        let remote = remote.map(|remote| remote.handle.clone());
        let mut random = Random::new(self.seed ^ (number as u64 * 0x5555 + 1));
        let interruptions = self.interruptions.clone();
        thread::spawn(move || loop {
            let mut inner = Random::new(random.below(1 << 30) as u64);
            let work = work.clone();
            let goes_on = match &remote {
                None => work(&mut inner),
                Some(remote) => {
                    let task = remote.spawn(move || work(&mut inner));
                    if random.below(4) == 0 {
                        interruptions.fetch_add(1, SeqCst);
                        task.cancel();
                    }
                    task.join().unwrap_or_else(|error| error.is_cancelled())
                }
            };
            if !goes_on {
                return;
            }
        })
    }

    /// When all have ended; how many were cancelled.
    pub fn stop(self) -> usize {
        self.remotes.into_iter().for_each(Remote::stop);
        self.interruptions.load(SeqCst)
    }
}
