//! [`JoinHandle`]: waiting for a task's result, cancelling it. [`CancelHandle`]: only the latter.

use super::current::Task;
use crate::error::{Cancelled, JoinError};
use crate::rt::clock::deadline_in;
use crate::rt::deputy::Deputy;
use crate::rt::header::Why;
use crate::rt::park::{charge, let_begin, park, try_charge, Interrupt, Mode, Outcome};
use crate::rt::waiter::Waiter;
use crate::rt::worker::cancel;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Owns the result of a task that may still run. As `std::thread::JoinHandle`.
///
/// Dropping it detaches the task, which goes on. A panic of a task that nobody joins is reported on standard error,
/// once, with the task's name and where it was spawned.
///
/// # Examples
///
/// ```
/// use multitask::spawn;
///
/// let handle = spawn(|| (1..=10).sum::<u32>());
/// assert_eq!(handle.join().unwrap(), 55);
/// ```
///
/// A panic comes out where the task is joined:
///
/// ```
/// use multitask::spawn;
///
/// let handle = spawn(|| panic!("oops!"));
/// assert_eq!(handle.join().unwrap_err().message(), Some("oops!"));
/// ```
///
/// It is a future as well, for whoever is in an async runtime: see there.
///
/// A handle whose result must stay on its thread stays there too:
///
/// ```compile_fail
/// let handle = multitask::spawn_local(|| std::rc::Rc::new(1));
/// std::thread::spawn(move || handle.join());
/// ```
pub struct JoinHandle<T> {
    /// With the handle's reference, which is given up by joining or detaching. What else there is to be known, `end` has in the header.
    task: ManuallyDrop<Task>,
    _result: PhantomData<T>,
}

const _: () = assert!(size_of::<Option<JoinHandle<u8>>>() == size_of::<usize>());

// SAFETY: the result is the only thing of type `T` that can be reached, by the owner.
unsafe impl<T: Send> Send for JoinHandle<T> {}
// SAFETY: through a shared reference the result cannot be reached.
unsafe impl<T> Sync for JoinHandle<T> {}

// Whoever panics beside it, a handle stays what it is.
impl<T> UnwindSafe for JoinHandle<T> {}
impl<T> RefUnwindSafe for JoinHandle<T> {}

impl<T> JoinHandle<T> {
    /// # Safety
    /// The task was spawned with `T` as its result, and there is no other handle to it.
    pub(super) unsafe fn new(task: Task) -> Self {
        JoinHandle {
            task: ManuallyDrop::new(task),
            _result: PhantomData,
        }
    }

    /// Waits until the task has ended, and returns what it returned. A task that has not begun begins next.
    ///
    /// Suspends the calling task (on a plain thread: blocks it, running its default scheduler if that has tasks).
    /// If the caller is cancelled or a [`timeout`](crate::timeout) round it passes, the handle is dropped by the
    /// unwinding, and the task goes on detached.
    ///
    /// # Errors
    /// [`JoinError::Panic`] with what the task panicked with; [`JoinError::Cancelled`] if it was cancelled.
    ///
    /// # Panics
    /// On a plain thread, if nothing can ever happen again on the thread's default scheduler: see
    /// [`Deadlock`](crate::Deadlock). If it was ready as a future: then it has given the result.
    #[inline(always)]
    pub fn join(self) -> Result<T, JoinError> {
        let header = self.task.header();
        if !header.is_done() {
            self.prepare();
            let_begin(header);
            while !header.is_done() {
                // It cannot be answered with an error of its own: so it waits for real where it cannot unwind.
                let _woken_or_again = self.stand_still(None, Mode::Infallible);
            }
        }
        self.take()
    }

    /// Waits until the task has ended, and leaves the handle. As `join`, it may unwind.
    pub(crate) fn wait_for_end(&mut self) {
        while !self.is_finished() {
            let _woken_or_again = self.wait(None, Mode::Infallible);
        }
    }

    /// As `wait_for_end`, for who can say that he was interrupted where he cannot unwind.
    pub(crate) fn try_wait_for_end(&mut self) -> Result<(), Interrupt> {
        while !self.is_finished() {
            if let Outcome::Interrupted(interrupt) = self.wait(None, Mode::Fallible) {
                return Err(interrupt);
            }
        }
        Ok(())
    }

    /// As [`join`](JoinHandle::join), for at most `timeout`.
    ///
    /// # Errors
    /// [`JoinTimeoutError::Timeout`] gives the handle back; [`JoinTimeoutError::Failed`] is what `join` would say.
    ///
    /// ```
    /// use multitask::{sleep, spawn, task::JoinTimeoutError};
    /// use std::time::Duration;
    ///
    /// let handle = spawn(|| sleep(Duration::from_millis(20)));
    /// match handle.join_timeout(Duration::from_millis(1)) {
    ///     Err(JoinTimeoutError::Timeout(handle)) => handle.join().unwrap(),
    ///     _ => unreachable!("it sleeps for longer"),
    /// }
    /// ```
    pub fn join_timeout(self, timeout: Duration) -> Result<T, JoinTimeoutError<Self>> {
        match deadline_in(timeout) {
            Some(deadline) => self.join_deadline(deadline),
            None => self.join().map_err(JoinTimeoutError::Failed),
        }
    }

    /// As [`join`](JoinHandle::join), until `deadline`.
    ///
    /// # Errors
    /// As [`join_timeout`](JoinHandle::join_timeout).
    pub fn join_deadline(self, deadline: Instant) -> Result<T, JoinTimeoutError<Self>> {
        if !self.is_finished() {
            match self.wait(Some(deadline), Mode::Fallible) {
                Outcome::Woken => {}
                // A result that came at the last moment is one.
                _ if self.is_finished() => {}
                Outcome::Interrupted(Interrupt::Cancelled) => {
                    return Err(JoinTimeoutError::Interrupted(self, Cancelled));
                }
                Outcome::TimedOut | Outcome::Interrupted(Interrupt::Timeout) => {
                    return Err(JoinTimeoutError::Timeout(self));
                }
            }
        }
        self.take().map_err(JoinTimeoutError::Failed)
    }

    /// Whether the task has ended, so that [`join`](JoinHandle::join) would not wait.
    pub fn is_finished(&self) -> bool {
        self.task.header().is_done()
    }

    /// The task as such: its name and number.
    pub fn task(&self) -> &Task {
        &self.task
    }

    /// Asks the task to end: it unwinds from where it waits, running destructors, and `join` answers
    /// [`JoinError::Cancelled`]. Returns at once; may be called from any thread, and again.
    ///
    /// A task that has not started never starts. One that runs goes on to its next wait; one that is inside of
    /// [`shield`](super::shield), to the end of that. One that has ended, or ends without waiting, keeps its result.
    /// A task can swallow the unwinding with `std::panic::catch_unwind`; it meets it again at its next wait.
    ///
    /// ```
    /// use multitask::{spawn, task};
    ///
    /// let handle = spawn(|| loop {
    ///     task::park();
    /// });
    /// handle.cancel();
    /// assert!(handle.join().unwrap_err().is_cancelled());
    /// ```
    pub fn cancel(&self) {
        cancel_task(&self.task);
    }

    /// For somebody else who may end the task, while the handle goes to the one who [joins](JoinHandle::join) it.
    ///
    /// ```
    /// use multitask::{spawn, task, yield_now};
    ///
    /// let handle = spawn(task::park);
    /// let ends = handle.cancel_handle();
    /// let joins = spawn(move || handle.join());
    /// yield_now(); // it waits for the task
    /// ends.cancel();
    /// assert!(joins.join().unwrap().unwrap_err().is_cancelled());
    /// assert!(ends.is_finished());
    /// ```
    pub fn cancel_handle(&self) -> CancelHandle {
        CancelHandle(Task::clone(&self.task))
    }

    // Inlined, as `join` is, down to the switch: see `Switch::suspend`.
    #[inline(always)]
    fn wait(&self, deadline: Option<Instant>, mode: Mode) -> Outcome {
        self.prepare();
        self.stand_still(deadline, mode)
    }

    #[inline(always)]
    fn prepare(&self) {
        charge();
        self.look_back();
    }

    #[inline(always)]
    fn stand_still(&self, deadline: Option<Instant>, mode: Mode) -> Outcome {
        let header = self.task.header();
        let waiter = Waiter::here_for(header.home());
        if !header.set_joiner(waiter) {
            // The end was not told of this waiter.
            let retracted = waiter.retract();
            debug_assert!(retracted);
            return Outcome::Woken;
        }
        let _joining = Joining(header);
        let outcome = park(waiter, deadline, Why::Join, mode);
        // It tells how its stack came to be resumed: see `Tasks::leave`.
        waiter.header().why.set(Why::Join);
        outcome
    }

    #[inline(always)]
    fn take(self) -> Result<T, JoinError> {
        self.look_back();
        let this = ManuallyDrop::new(self);
        // SAFETY: this is the only handle, it is not used any more, and by `new` the type is right.
        unsafe { this.task.header().take_result() }
    }

    /// Before the handle is used otherwise than as a future: what it has left as one is undone.
    ///
    /// # Panics
    /// If it has given the result.
    #[inline(always)]
    fn look_back(&self) {
        if self.task.header().was_polled() {
            self.look_back_for_certain();
        }
    }

    #[cold]
    #[inline(never)]
    fn look_back_for_certain(&self) {
        self.recall_deputy();
        assert!(!self.task.header().is_taken(), "{TAKEN}");
    }

    /// Nobody stands at the task's end any more for the future that was pending when it was last polled. To be called before the
    /// owner names another joiner.
    pub(super) fn recall_deputy(&self) {
        if let Some(deputy) = self.task.header().take_deputy() {
            // SAFETY: `poll` left it, and who takes it has it to himself.
            drop(unsafe { Deputy::left(deputy) });
        }
    }
}

/// Asks a task to end, without being the one who waits for its result: made by [`JoinHandle::cancel_handle`].
///
/// Any number of them may be there, on any thread, and outlive the task. Dropping one does nothing.
#[doc(alias = "AbortHandle")]
#[derive(Clone, Debug)]
pub struct CancelHandle(Task);

impl CancelHandle {
    /// Asks the task to end. As [`JoinHandle::cancel`]: it returns at once, and does nothing if the task has ended.
    pub fn cancel(&self) {
        cancel_task(&self.0);
    }

    /// Whether the task has ended.
    pub fn is_finished(&self) -> bool {
        self.0.header().is_done()
    }

    /// The task as such: its name and number.
    pub fn task(&self) -> &Task {
        &self.0
    }
}

fn cancel_task(task: &Task) {
    let header = task.header();
    if !header.is_done() {
        cancel(header);
    }
}

const TAKEN: &str = "the handle has given the task's result already";

/// Ready when the task has ended, with what [`join`](JoinHandle::join) would return: the task can be awaited by whatever runs
/// futures.
///
/// Polling never suspends. A handle that is dropped while it is pending detaches its task, as ever; it can still be
/// [joined](JoinHandle::join), cancelled and waited for by [`select!`](crate::select!). A task that is awaited does not begin sooner for that.
///
/// # Panics
/// If it is polled after it was ready.
///
/// ```
/// use multitask::spawn;
///
/// let handle = spawn(|| 6 * 7);
/// let answer = multitask::future::block_on(async { handle.await.unwrap() });
/// assert_eq!(answer, 42);
/// ```
impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let header = self.task.header();
        assert!(!header.is_taken(), "{TAKEN}");
        if !try_charge() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.recall_deputy();
        if !header.is_done() {
            let deputy = Deputy::new(cx.waker());
            if header.set_joiner_among_others(deputy.waiter()) {
                header.set_deputed();
                deputy.leave();
                return Poll::Pending;
            }
        }
        // SAFETY: it is done, this is the only handle, and by `new` the type is right; asked once: it is not taken.
        Poll::Ready(unsafe { header.take_result_only() })
    }
}

// The result is not in it.
impl<T> Unpin for JoinHandle<T> {}

/// Nobody is woken any more when the wait is over, however it ended.
struct Joining(&'static crate::rt::header::Header);

impl Drop for Joining {
    #[inline]
    fn drop(&mut self) {
        if !self.0.is_done() {
            self.0.clear_joiner();
        }
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        let header = self.task.header();
        self.recall_deputy();
        if header.is_taken() {
            header.release_with_inheritance();
        } else {
            header.detach();
        }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("task", &*self.task)
            .field("finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}

/// Why [`JoinHandle::join_timeout`] has no result.
pub enum JoinTimeoutError<H> {
    /// The task had not ended in time; here is its handle again.
    Timeout(H),
    /// The task ended without a result.
    Failed(JoinError),
    /// The *calling* task was cancelled while it could not be unwound; here is the handle again. Only in a
    /// destructor that runs while unwinding, and in a build with `panic = "abort"`.
    Interrupted(H, Cancelled),
}

impl<H> JoinTimeoutError<H> {
    pub(super) fn map<G>(self, f: impl FnOnce(H) -> G) -> JoinTimeoutError<G> {
        match self {
            JoinTimeoutError::Timeout(handle) => JoinTimeoutError::Timeout(f(handle)),
            JoinTimeoutError::Failed(error) => JoinTimeoutError::Failed(error),
            JoinTimeoutError::Interrupted(handle, cancelled) => {
                JoinTimeoutError::Interrupted(f(handle), cancelled)
            }
        }
    }
}

impl<H> fmt::Display for JoinTimeoutError<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JoinTimeoutError::Timeout(_) => f.write_str("timed out before the task ended"),
            JoinTimeoutError::Failed(error) => fmt::Display::fmt(error, f),
            JoinTimeoutError::Interrupted(_, cancelled) => fmt::Display::fmt(cancelled, f),
        }
    }
}

impl<H: fmt::Debug> fmt::Debug for JoinTimeoutError<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JoinTimeoutError::Timeout(handle) => f.debug_tuple("Timeout").field(handle).finish(),
            JoinTimeoutError::Failed(error) => f.debug_tuple("Failed").field(error).finish(),
            JoinTimeoutError::Interrupted(handle, _) => {
                f.debug_tuple("Interrupted").field(handle).finish()
            }
        }
    }
}

impl<H: fmt::Debug> std::error::Error for JoinTimeoutError<H> {}
