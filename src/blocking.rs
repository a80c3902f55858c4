//! Threads for what truly blocks: a name that has to be looked up.
//!
//! 1. A job owns all that it uses: a caller that is cancelled or times out goes away, and the job's result is thrown
//!    away when it comes.
//! 2. A lane has at most `limit` threads; jobs beyond that queue, first come first served. Idle threads go after a while.
//! 3. `IDLE_HELPERS` counts the threads that wait for work. A job takes one out of that count when it is queued, not
//!    when the thread wakes up, so a scheduler never takes a busy pool for an idle one.

use crate::rt::header::Why;
use crate::rt::park::{may_block, park, Mode, Outcome};
use crate::rt::waiter::Waiter;
use crate::rt::worker::IDLE_HELPERS;
use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;
use std::vec;

/// Looks a host up as std does, away from the worker: suspends the calling task.
///
/// # Errors
/// Those of std's lookup; that of interrupting; or no thread can be had.
pub(crate) fn resolve(host: &str, port: u16) -> io::Result<vec::IntoIter<SocketAddr>> {
    if may_block() {
        return (host, port).to_socket_addrs();
    }
    let host = host.to_owned();
    NAMES.run(Why::Resolve, move || {
        (host.as_str(), port).to_socket_addrs()
    })?
}

/// Lookups wait for servers, not for this machine: a few dozen at a time.
static NAMES: Lane = Lane::new("multitask-names", 32);

/// How long a thread waits for its next job.
const IDLE: Duration = Duration::from_secs(10);

type Job = Box<dyn FnOnce() + Send>;

struct Lane {
    name: &'static str,
    limit: usize,
    state: Mutex<State>,
    work: Condvar,
}

struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    /// Threads that wait for work...
    idle: usize,
    /// ...and how many of these are on their way to a job.
    claimed: usize,
}

impl Lane {
    const fn new(name: &'static str, limit: usize) -> Self {
        Lane {
            name,
            limit,
            state: Mutex::new(State {
                jobs: VecDeque::new(),
                threads: 0,
                idle: 0,
                claimed: 0,
            }),
            work: Condvar::new(),
        }
    }

    /// Runs `f` on a thread of the lane, and suspends the caller until it is done. A panic comes out here.
    ///
    /// # Errors
    /// No thread can be had, or the wait was interrupted.
    fn run<T: Send + 'static>(
        &'static self,
        why: Why,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let answer = Arc::new(Mutex::new(None));
        let waiter = Waiter::here();
        let job = {
            let answer = answer.clone();
            move || {
                let outcome = catch_unwind(AssertUnwindSafe(f));
                *answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
                waiter.wake();
            }
        };
        if let Err(error) = self.submit(Box::new(job)) {
            let retracted = waiter.retract();
            debug_assert!(retracted);
            return Err(error);
        }
        match park(waiter, None, why, Mode::Fallible) {
            Outcome::Interrupted(interrupt) => return Err(interrupt.into()),
            Outcome::Woken | Outcome::TimedOut => {}
        }
        let outcome = answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(outcome
            .expect("woken by the job")
            .unwrap_or_else(|panic| resume_unwind(panic)))
    }

    fn submit(&'static self, job: Job) -> io::Result<()> {
        let mut state = self.lock();
        if state.idle > state.claimed {
            state.claimed += 1;
            IDLE_HELPERS.fetch_sub(1, Ordering::Relaxed);
            self.work.notify_one();
        } else if state.threads < self.limit {
            let spawned = thread::Builder::new()
                .name(self.name.into())
                .spawn(|| self.serve());
            match spawned {
                Ok(_) => state.threads += 1,
                // Those that are there will come to it.
                Err(_) if state.threads > 0 => {}
                Err(error) => return Err(error),
            }
        }
        state.jobs.push_back(job);
        Ok(())
    }

    fn serve(&self) {
        let mut state = self.lock();
        loop {
            while let Some(job) = state.jobs.pop_front() {
                drop(state);
                job();
                state = self.lock();
            }
            state.idle += 1;
            IDLE_HELPERS.fetch_add(1, Ordering::Relaxed);
            loop {
                let (woken, timeout) = self
                    .work
                    .wait_timeout(state, IDLE)
                    .unwrap_or_else(PoisonError::into_inner);
                state = woken;
                if state.claimed > 0 {
                    state.claimed -= 1;
                    state.idle -= 1;
                    break;
                }
                if timeout.timed_out() {
                    state.idle -= 1;
                    state.threads -= 1;
                    IDLE_HELPERS.fetch_sub(1, Ordering::Relaxed);
                    return;
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
