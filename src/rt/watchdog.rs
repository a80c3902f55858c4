//! Tells of tasks that keep their worker for too long.
//!
//! 1. A worker that is watched says whenever it lets a task go on, and when that one stands still or has ended. A thread looks on, and
//!    reports a task that it has seen going on for the time allowed; once, and once more when that is over. Where nobody
//!    sights, nothing is said.
//! 2. A run holds a reference to its task, so its name and place may be read by whoever holds the lock. The worker takes it
//!    back when the run is over.
//! 3. Reports are made by the thread that looks on, with nothing locked. While it waits it counts as idle: it wakes nobody.
//! 4. Where the task goes on is seen with the feature `stall-backtrace` only: its thread is interrupted for that (`sample`; see the rationale, 107). The signal
//!    is sent under the lock that ends a run, and so to a thread that is there. Where it comes to wait when that is over is shown by itself, as for a dump.

use super::header::{title, Header};
use super::home::idle;
use super::sample::{self, Frames, Mark};
use super::trace::TaskBacktrace;
use crate::error::report;
use crate::sys::thread::unpin;
use std::backtrace::Backtrace;
use std::fmt;
use std::io;
use std::panic::Location;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The longest and the shortest time between two looks.
const PERIODS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(1));
/// So often it looks in the time that is allowed.
const LOOKS: u32 = 4;

/// A task that keeps its worker from all others: it computes, or blocks the thread, for longer than
/// [`Builder::watchdog`](crate::SchedulerBuilder::watchdog) allows.
#[derive(Clone, Debug)]
pub struct Stall {
    name: Option<Box<str>>,
    pub(crate) number: u64,
    place: &'static Location<'static>,
    worker: usize,
    lasted: Duration,
    state: State,
}

/// What the task does by now, and where.
#[derive(Clone, Debug)]
enum State {
    GoesOn(Option<Arc<Frames>>),
    Waits(Arc<Backtrace>),
    Ended,
}

impl Stall {
    /// The name of the task, if it has one.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Where it was spawned.
    pub fn spawned_at(&self) -> &'static Location<'static> {
        self.place
    }

    /// The number of the worker that it is on.
    pub fn worker(&self) -> usize {
        self.worker
    }

    /// For how long it has been going on, or went on, without waiting: at least. Up to a quarter of the time that is allowed may be
    /// missing.
    pub fn lasted(&self) -> Duration {
        self.lasted
    }

    /// Whether it has come to its end: the task waits, or has ended.
    pub fn is_over(&self) -> bool {
        !matches!(self.state, State::GoesOn(_))
    }

    /// Where the task came to wait; or, as long as it goes on, where it computes or blocks.
    ///
    /// `None` if it has ended. And as long as it goes on: without the feature `stall-backtrace`; on other systems than Linux, and other processors than x86_64
    /// and aarch64; if its thread has not answered within a tenth of a second, since it has no processor or blocks `SIGURG`, or since somebody else
    /// handles that signal by now; and if it was in a handler of its own, on another stack. The last 256 KiB of the stack are seen, and 128 calls in them; if the task
    /// runs another scheduler, those on the innermost stack. Code without unwind tables, such as a JIT compiler's, ends it.
    pub fn backtrace(&self) -> Option<TaskBacktrace<'_>> {
        match &self.state {
            State::GoesOn(frames) => frames.as_deref().map(TaskBacktrace::of_frames),
            State::Waits(trace) => Some(TaskBacktrace::new(trace)),
            State::Ended => None,
        }
    }
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = title(self.name(), self.number);
        let (place, worker, lasted) = (self.place, self.worker, self.lasted);
        let (keeps, here) = match self.state {
            State::GoesOn(_) => ("keeps", "it is here"),
            State::Waits(_) => ("waits at last and kept", "it waits here"),
            State::Ended => ("has ended and kept", ""),
        };
        write!(
            f,
            "{title}, spawned at {place}, {keeps} worker {worker} from all others for {lasted:.3?}"
        )?;
        match self.backtrace() {
            Some(backtrace) => write!(f, "; {here}:\n{backtrace}"),
            None => Ok(()),
        }
    }
}

/// What is called with each stall.
#[derive(Clone)]
pub(super) struct Hook(Arc<dyn Fn(&Stall) + Send + Sync>);

impl Hook {
    pub(super) fn new(hook: impl Fn(&Stall) + Send + Sync + 'static) -> Self {
        Hook(Arc::new(hook))
    }
}

impl Default for Hook {
    fn default() -> Self {
        Hook::new(|stall| report(format_args!("{stall}")))
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
}

/// What is seen of a worker.
#[derive(Default)]
pub(super) struct Sight {
    seen: Mutex<Seen>,
    /// The same run, for a signal.
    mark: Mark,
}

#[derive(Default)]
struct Seen {
    /// The task that runs, with a reference.
    task: Option<&'static Header>,
    /// Of the run; grows.
    run: u64,
    /// Which run was seen when for the first time.
    first: Option<(u64, Instant)>,
    /// What was told of this run.
    told: Option<Stall>,
    /// Stalls that are over, and of which that was not told.
    over: Vec<Stall>,
}

impl Sight {
    /// A run of `task` begins; for the worker.
    pub(super) fn begin(&self, task: &'static Header) {
        let mut seen = self.seen();
        seen.run += 1;
        seen.task = Some(task.retain());
        self.mark.begin(seen.run);
    }

    /// It is over. If that was a stall, `trace` says where the task stands.
    pub(super) fn end(&self, trace: impl FnOnce(&'static Header) -> Option<Arc<Backtrace>>) {
        self.mark.end();
        let mut seen = self.seen();
        let (task, told, first) = (seen.task.take(), seen.told.take(), seen.first);
        drop(seen);
        let Some(task) = task else { return };
        if let (Some(stall), Some((_, since))) = (told, first) {
            let over = Stall {
                lasted: since.elapsed(),
                state: trace(task).map_or(State::Ended, State::Waits),
                ..stall
            };
            self.seen().over.push(over);
        }
        task.release();
    }

    /// What there is to tell of the worker of that number.
    fn look(&self, worker: usize, allowed: Duration) -> Vec<Stall> {
        let mut seen = self.seen();
        let mut stalls = std::mem::take(&mut seen.over);
        let (Some(task), run, now) = (seen.task, seen.run, Instant::now()) else {
            return stalls;
        };
        let since = match seen.first {
            Some((first, since)) if first == run => since,
            _ => now,
        };
        seen.first = Some((run, since));
        let lasted = now - since;
        if lasted >= allowed && seen.told.is_none() {
            let stall = Stall {
                name: task.name().map(Into::into),
                number: task.id(),
                place: task.place(),
                worker,
                lasted,
                state: State::GoesOn(None),
            };
            seen.told = Some(stall.clone());
            stalls.push(stall);
        }
        stalls
    }

    /// Where the task is that was told of, if it still goes on; blocks for a little while.
    fn sample(&self) -> Option<Frames> {
        let turn = sample::turn();
        let seen = self.seen();
        seen.told.as_ref()?;
        // Under the lock: its run cannot end now, nor its thread.
        let asked = turn.ask(&self.mark, seen.run)?;
        drop(seen);
        asked.frames()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Watches the workers of a scheduler until it is dropped.
pub(super) struct Watchdog(Arc<Lookout>);

struct Lookout {
    sights: Vec<Arc<Sight>>,
    allowed: Duration,
    hook: Hook,
    over: Mutex<bool>,
    end: Condvar,
}

impl Watchdog {
    /// # Errors
    /// There is no thread for it.
    pub(super) fn start(
        sights: Vec<Arc<Sight>>,
        allowed: Duration,
        hook: Hook,
    ) -> io::Result<Self> {
        sample::prepare();
        let lookout = Arc::new(Lookout {
            sights,
            allowed,
            hook,
            over: Mutex::new(false),
            end: Condvar::new(),
        });
        let looks = lookout.clone();
        let name = "multitask-watchdog".to_string();
        // Nobody waits for its end: what it calls may wait for whoever drops the scheduler.
        let _detached = thread::Builder::new()
            .name(name)
            .spawn(move || looks.look_on())?;
        Ok(Watchdog(lookout))
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        *self.0.over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.end.notify_one();
    }
}

impl Lookout {
    fn look_on(&self) {
        // A worker that is pinned has started it.
        unpin();
        while !self.wait() {
            self.tell();
        }
        // Of what is over, at least.
        self.tell();
    }

    fn tell(&self) {
        for (worker, sight) in self.sights.iter().enumerate() {
            for mut stall in sight.look(worker, self.allowed) {
                if let State::GoesOn(frames) = &mut stall.state {
                    *frames = sight.sample().map(Arc::new);
                }
                (self.hook.0)(&stall);
            }
        }
    }

    /// Waits until it is time to look; true if there is nothing to look at any more.
    fn wait(&self) -> bool {
        let period = (self.allowed / LOOKS).clamp(PERIODS.0, PERIODS.1);
        let over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        idle::begin();
        let waited = self.end.wait_timeout_while(over, period, |over| !*over);
        idle::end();
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}
