//! What a scheduler has counted since it was made, to be read from any thread and without asking a worker.

use super::crew::Crew;
use super::header::Header;
use super::home::Home;
use super::scheduler::{Handle, Scheduler};

/// What a scheduler has counted since it was made: from [`Scheduler::metrics`] or [`Handle::metrics`].
///
/// Each number was right at some moment of that call. What is told of the present is called by its name (`live`, `suspended`, `asleep`); all
/// else only grows, as long as the scheduler is there. For what the tasks wait for, see [`Stats`](crate::Stats); for what each does, [`dump`](crate::dump).
///
/// ```
/// use multitask::Scheduler;
///
/// let scheduler = Scheduler::new()?;
/// scheduler.block_on(|| ());
/// scheduler.spawn(multitask::task::park).cancel();
/// scheduler.run()?;
///
/// let metrics = scheduler.metrics();
/// assert_eq!((metrics.spawned, metrics.ended, metrics.cancelled), (2, 2, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Workers, the calling thread's among them.
    pub workers: usize,
    /// Of these: asleep, until a descriptor, a timer or another thread wakes them.
    pub asleep: usize,
    /// Tasks that were spawned.
    pub spawned: u64,
    /// Of these: tasks that have ended, whichever way.
    pub ended: u64,
    /// Of these: tasks that panicked, or for which there was no stack.
    pub panicked: u64,
    /// And tasks that were cancelled. (One that was cancelled before it began, and whose values panic as they are dropped, is counted as both.)
    pub cancelled: u64,
    /// Tasks that have been spawned and have not ended.
    pub live: u64,
    /// Of these: tasks that have waited or yielded, and so have a stack of their own until they end.
    pub suspended: u64,
    /// Tasks that a worker took from another before they had begun.
    pub stolen: u64,
    /// How often another thread had to wake a worker's.
    pub rings: u64,
}

impl Handle {
    /// What the scheduler has counted so far. Takes some reads for each worker, and neither waits nor suspends.
    ///
    /// When the scheduler is gone it is what was counted last.
    ///
    /// ```
    /// use multitask::{spawn, Handle};
    ///
    /// let task = spawn(|| Handle::current().unwrap().metrics());
    /// assert_eq!(task.join().unwrap().live, 1);
    /// ```
    pub fn metrics(&self) -> Metrics {
        Metrics::of(self.crew())
    }
}

impl Scheduler {
    /// What the scheduler has counted so far; as [`Handle::metrics`].
    pub fn metrics(&self) -> Metrics {
        Metrics::of(self.worker().crew())
    }
}

impl Metrics {
    fn of(crew: &Crew) -> Self {
        let homes = crew.homes();
        let sum = |count: fn(&Home<Header>) -> u64| homes.iter().map(|home| count(home)).sum();
        // The ways to end before the ends, and these before the spawns: each is counted later than what it is subtracted from.
        let panicked = sum(|home| home.tally().panicked());
        let cancelled = sum(|home| home.tally().cancelled());
        let ended = sum(|home| home.ended() as u64);
        let suspended = sum(|home| home.housed() as u64);
        let spawned = crew.spawned() as u64;
        Metrics {
            workers: homes.len(),
            asleep: homes.iter().filter(|home| home.is_asleep()).count(),
            spawned,
            ended,
            panicked,
            cancelled,
            live: spawned.saturating_sub(ended),
            suspended,
            stolen: sum(|home| home.tally().stolen()),
            rings: sum(|home| home.tally().rings()),
        }
    }
}
