//! Threads for what truly blocks: a name that has to be looked up, a file, a terminal, a call of the user's.
//!
//! 1. A job either owns all that it uses ([`Lane::run`]): a caller that is cancelled or times out goes away, and the job's
//!    result is thrown away when it comes. Or it borrows from its caller ([`Lane::lend`]), which then stands still until the
//!    job has ended, whatever happens.
//! 2. A lane has at most `limit` threads; jobs beyond that queue, first come first served. Idle threads go after a while.
//!    Lanes share nothing: a lookup that hangs delays no file.
//! 3. `rt::home::idle` counts the threads that wait for work. A job takes one out of that count when it is queued, not
//!    when the thread wakes up, so a scheduler never takes a busy pool for an idle one.
//!
//! It knows waits, and nothing of tasks: so it lies below `task`, which hands [`blocking`] on.

use crate::error::Timeout;
use crate::rt::header::Why;
use crate::rt::home::idle;
use crate::rt::park::{interrupt_if_due, is_idle_thread, may_block, me, park, Mode, Outcome};
use crate::rt::simulation::Hold;
use crate::rt::span;
use crate::rt::waiter::Waiter;
use crate::rt::worker::hold;
use crate::sys;
use std::cell::UnsafeCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{mem, process, thread, vec};

/// Calls `f` on a thread where it may block, and suspends the calling task until it returns.
///
/// For what cannot be made to suspend: a library that waits by itself, a long computation, a system call without a form
/// that does not wait. The other tasks of the worker go on meanwhile. `f` may borrow from the caller, for the caller stands
/// still until `f` has returned.
///
/// ```
/// use multitask::{spawn, task};
///
/// spawn(|| {
///     let words = ["slowly", "does", "it"];
///     let longest = task::blocking(|| words.iter().max_by_key(|word| word.len()).copied());
///     assert_eq!(longest, Some("slowly"));
/// })
/// .join()
/// .unwrap();
/// ```
///
/// # Cancelling and time limits
///
/// A call that has begun is not interrupted. Cancelling, and the deadline of a [`timeout`](crate::timeout) scope, wait for
/// its end, and unwind then, as after [`shield`](crate::task::shield); what `f` returned is dropped. A task that was cancelled
/// before does not begin.
///
/// # Threads
///
/// There are up to 256 of them, made when they are needed, and gone after ten idle seconds; further calls queue, first come
/// first served. So calls that wait for one another can fill the pool and stop for ever. Names and files have threads of
/// their own. On a plain thread `f` is called where it is, unless the thread's default scheduler has tasks, which run
/// meanwhile.
///
/// # Panics
///
/// With what `f` panics with; or if the system gives no thread at all.
pub fn blocking<F, T>(f: F) -> T
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    interrupt_if_due(me());
    let here = span::here();
    let value = CALLS
        .lend(|| here.run(f))
        .unwrap_or_else(|error| panic!("no thread for a call that blocks: {error}"));
    interrupt_if_due(me());
    value
}

/// Calls `f`, which works on a file, away from the worker. What it did counts: a deadline that passes meanwhile is met at
/// the next wait.
///
/// # Errors
/// Those of `f`; or no thread can be had.
pub(crate) fn file<T: Send>(f: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    interrupt_if_due(me());
    FILES.lend(f)?
}

/// Makes a call that may wait for another program, for ever perhaps, and owns what it uses. A caller that is cancelled or times
/// out goes away; the call goes on, and what comes of it is dropped.
///
/// # Errors
/// Those of `f`; that of interrupting; or no thread can be had.
pub(crate) fn patient<T: Send + 'static>(
    why: Why,
    f: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    interrupt_if_due(me());
    WAITS.run(why, None, f)?
}

/// Writes to a descriptor that may wait for room. A caller that is cancelled or times out goes away; what is being written then
/// may be written later, or never.
///
/// # Errors
/// Those of writing; `TimedOut` with [`Timeout`] inside; that of interrupting; or no thread can be had.
pub(crate) fn write(fd: OwnedFd, bytes: Vec<u8>, deadline: Option<Instant>) -> io::Result<usize> {
    let write = move || sys::file::write(fd.as_fd(), &[IoSlice::new(&bytes)]);
    WRITES.run(Why::Write, deadline, write)?
}

/// Looks a host up as std does, away from the worker: suspends the calling task.
///
/// # Errors
/// Those of std's lookup; that of interrupting; or no thread can be had.
pub(crate) fn resolve(host: &str, port: u16) -> io::Result<vec::IntoIter<SocketAddr>> {
    if may_block() {
        return (host, port).to_socket_addrs();
    }
    let host = host.to_owned();
    NAMES.run(Why::Resolve, None, move || {
        (host.as_str(), port).to_socket_addrs()
    })?
}

/// Calls `f`, which waits for the end of a child, on a thread where it may.
///
/// # Errors
/// No thread can be had; `f` was dropped.
pub(crate) fn watch(f: impl FnOnce() + Send + 'static) -> io::Result<()> {
    WATCHES.submit(Box::new(f))
}

/// Calls `f`, which waits for a child that was killed, on a thread where it may.
///
/// # Errors
/// No thread can be had; `f` was dropped.
pub(crate) fn reap(f: impl FnOnce() + Send + 'static) -> io::Result<()> {
    REAPING.submit(Box::new(f))
}

/// Lookups wait for servers, not for this machine: a few dozen at a time.
static NAMES: Lane = Lane::new("multitask-names", 32, IDLE);
/// Disks answer sooner or later.
static FILES: Lane = Lane::new("multitask-files", 64, IDLE);
/// Named pipes wait for somebody at the other end: one thread each.
static WAITS: Lane = Lane::new("multitask-waits", 256, IDLE).endless();
/// Terminals that nobody looks at take nothing for ever.
static WRITES: Lane = Lane::new("multitask-write", 64, IDLE).endless();
/// One for each child that is waited for, where the kernel has no descriptor for that; it may live for ever.
static WATCHES: Lane = Lane::new("multitask-child", 1024, IDLE);
/// Who was killed dies at once, but for some that the kernel holds.
static REAPING: Lane = Lane::new("multitask-reap", 16, IDLE);
/// What users do here is theirs to know.
static CALLS: Lane = Lane::new("multitask-calls", 256, IDLE);

/// How long a thread waits for its next job.
const IDLE: Duration = Duration::from_secs(10);

type Job = Box<dyn FnOnce() + Send>;

struct Lane {
    name: &'static str,
    limit: usize,
    /// How long a thread waits for its next job.
    idle: Duration,
    /// A job may last for ever: where time is simulated it does not wait for the end.
    endless: bool,
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
    const fn new(name: &'static str, limit: usize, idle: Duration) -> Self {
        Lane {
            name,
            limit,
            idle,
            endless: false,
            state: Mutex::new(State {
                jobs: VecDeque::new(),
                threads: 0,
                idle: 0,
                claimed: 0,
            }),
            work: Condvar::new(),
        }
    }

    /// One whose jobs may last for ever.
    const fn endless(mut self) -> Self {
        self.endless = true;
        self
    }

    /// Runs `f` on a thread of the lane, and suspends the caller until it is done. A panic comes out here.
    ///
    /// # Errors
    /// No thread can be had, `deadline` passed, or the wait was interrupted.
    fn run<T: Send + 'static>(
        &'static self,
        why: Why,
        deadline: Option<Instant>,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let answer = Arc::new(Mutex::new(None));
        let waiter = Waiter::here();
        let job = {
            let (answer, hold) = (answer.clone(), hold(self.endless));
            move || {
                let outcome = catch_unwind(AssertUnwindSafe(f));
                *answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
                waiter.wake();
                drop(hold);
            }
        };
        if let Err(error) = self.submit(Box::new(job)) {
            let retracted = waiter.retract();
            debug_assert!(retracted);
            return Err(error);
        }
        match park(waiter, deadline, why, Mode::Fallible) {
            Outcome::Interrupted(interrupt) => return Err(interrupt.into()),
            Outcome::TimedOut => return Err(Timeout.into()),
            Outcome::Woken => {}
        }
        let outcome = answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(outcome
            .expect("woken by the job")
            .unwrap_or_else(|panic| resume_unwind(panic)))
    }

    /// Runs `f`, which may borrow, on a thread of the lane; the caller stands still until it is done, and listens to
    /// nobody. A panic comes out here. A plain thread that has no tasks to run meanwhile calls it itself.
    ///
    /// # Errors
    /// No thread can be had; `f` was not called.
    fn lend<F, T>(&'static self, f: F) -> io::Result<T>
    where
        F: FnOnce() -> T + Send,
        T: Send,
    {
        if is_idle_thread() {
            return Ok(f());
        }
        let waiter = Waiter::here();
        let loan = Loan {
            f: UnsafeCell::new(Some(f)),
            outcome: UnsafeCell::new(None),
            waiter,
        };
        if let Err(error) = self.submit(loan.job(hold(self.endless))) {
            let retracted = waiter.retract();
            debug_assert!(retracted);
            return Err(error);
        }
        // Shielded and without a deadline, the wait ends by being woken only. If it ever unwound, the job would use a frame
        // that is gone.
        let returned = AbortOnUnwind;
        let outcome = me()
            .scopes
            .shield(|| park(waiter, None, Why::Blocking, Mode::Infallible));
        if outcome != Outcome::Woken {
            process::abort();
        }
        mem::forget(returned);
        let outcome = loan.outcome.into_inner().expect("woken by the job");
        Ok(outcome.unwrap_or_else(|panic| resume_unwind(panic)))
    }

    fn submit(&'static self, job: Job) -> io::Result<()> {
        let mut state = self.lock();
        if state.idle > state.claimed {
            state.claimed += 1;
            idle::end();
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
        // Whoever has started it may be kept on one processor.
        sys::thread::unpin();
        let mut state = self.lock();
        loop {
            while let Some(job) = state.jobs.pop_front() {
                drop(state);
                job();
                state = self.lock();
            }
            state.idle += 1;
            idle::begin();
            loop {
                let (woken, timeout) = self
                    .work
                    .wait_timeout(state, self.idle)
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
                    idle::end();
                    return;
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a caller that stands still lends to a thread: a closure to call, and a place for what comes of it.
///
/// 1. The job has it from `submit` until it wakes the waiter, and the caller has it before and after.
struct Loan<F, T> {
    f: UnsafeCell<Option<F>>,
    outcome: UnsafeCell<Option<thread::Result<T>>>,
    waiter: Waiter,
}

/// A loan on its way to the thread that has it by 1.
struct Lent<F, T>(*const Loan<F, T>);

// SAFETY: what is sent along is the closure and its result.
unsafe impl<F: Send, T: Send> Send for Lent<F, T> {}

impl<F: FnOnce() -> T + Send, T: Send> Loan<F, T> {
    /// The job that calls the closure, to be run once while the caller waits.
    fn job(&self, hold: Option<Hold>) -> Job {
        let lent = Lent(self);
        let job: Box<dyn FnOnce() + Send + '_> = Box::new(move || {
            lent.fulfil();
            drop(hold);
        });
        // SAFETY: only the lifetime changes. The job is run before the caller goes on, see `lend`.
        unsafe { mem::transmute::<Box<dyn FnOnce() + Send + '_>, Job>(job) }
    }
}

impl<F: FnOnce() -> T, T> Lent<F, T> {
    fn fulfil(self) {
        // SAFETY: by 1 the loan is there until its waiter is woken, which is the last thing done here.
        let loan = unsafe { &*self.0 };
        // SAFETY: by 1 it is ours.
        let f = unsafe { (*loan.f.get()).take() }.expect("a job is run once");
        let outcome = catch_unwind(AssertUnwindSafe(f));
        // SAFETY: as above.
        unsafe { *loan.outcome.get() = Some(outcome) };
        let waiter = loan.waiter;
        waiter.wake();
    }
}

struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        process::abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt::scheduler::Scheduler;
    use crate::task::spawn;
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering;

    fn threads(lane: &Lane) -> usize {
        lane.lock().threads
    }

    #[test]
    fn idle_threads_go_away_and_new_ones_come() {
        static LANE: Lane = Lane::new("test", 2, Duration::from_millis(1));
        let scheduler = Scheduler::new().expect("descriptors");
        for _ in 0..2 {
            assert_eq!(scheduler.block_on(|| LANE.lend(|| 7).expect("a thread")), 7);
            while threads(&LANE) > 0 {
                thread::yield_now();
            }
        }
    }

    #[test]
    fn a_lane_never_runs_more_jobs_at_once_than_its_limit() {
        static LANE: Lane = Lane::new("test", 3, Duration::from_millis(100));
        static RUNNING: AtomicUsize = AtomicUsize::new(0);
        static MOST: AtomicUsize = AtomicUsize::new(0);
        let scheduler = Scheduler::new().expect("descriptors");
        scheduler.block_on(|| {
            let callers = (0..50).map(|_| {
                spawn(|| {
                    LANE.lend(|| {
                        let running = 1 + RUNNING.fetch_add(1, Ordering::SeqCst);
                        MOST.fetch_max(running, Ordering::SeqCst);
                        thread::yield_now();
                        RUNNING.fetch_sub(1, Ordering::SeqCst);
                    })
                })
            });
            for caller in callers.collect::<Vec<_>>() {
                caller.join().expect("no panic").expect("a thread");
            }
        });
        assert!((1..=3).contains(&MOST.load(Ordering::SeqCst)));
        assert!(threads(&LANE) <= 3);
    }

    #[test]
    fn a_job_that_hangs_in_one_lane_delays_no_other() {
        static FULL: Lane = Lane::new("test", 1, Duration::from_millis(100));
        static FREE: Lane = Lane::new("test", 1, Duration::from_millis(100));
        let (release, held) = std::sync::mpsc::channel::<()>();
        let scheduler = Scheduler::new().expect("descriptors");
        scheduler.block_on(|| {
            let hangs = spawn(move || FULL.lend(move || held.recv()));
            let waits = spawn(|| FULL.lend(|| ()));
            assert_eq!(
                spawn(|| FREE.lend(|| 7))
                    .join()
                    .expect("no panic")
                    .expect("a thread"),
                7
            );
            assert!(!hangs.is_finished() && !waits.is_finished());
            drop(release);
            let _hung_up = hangs.join();
            waits.join().expect("no panic").expect("a thread");
        });
    }
}
