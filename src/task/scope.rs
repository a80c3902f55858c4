//! [`scope`]: tasks that may borrow, because the scope does not end before they have.
//!
//! 1. `within` leaves neither by returning nor by unwinding while a member is left: what members borrow outlives it. If that
//!    cannot be had, as in a deadlock, the process ends.
//! 2. `running` links the members that have begun. Their links lie in their own frames, and are taken out before these go.

use super::current::Task;
use super::join::{CancelHandle, JoinHandle, JoinTimeoutError};
use super::spawn::{expect_spawned, spawn_here_unchecked, unnamed, Builder};
use crate::base::list::{Linked, Links, List};
use crate::base::lock::Lock;
use crate::error::{panic_message, report, JoinError};
use crate::rt::group::Group;
use crate::rt::header::{Birth, Header, Why};
use crate::rt::park::{interrupt_if_due, is_due, me, park, Mode};
use crate::rt::unwind::target_of;
use crate::rt::waiter::Waiter;
use crate::rt::worker::{cancel, cancel_here};
use std::any::Any;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::mem;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe, Location};
use std::process::abort;
use std::ptr;
use std::time::{Duration, Instant};

const NEVER_UNWINDS: bool = cfg!(panic = "abort");

/// Calls `f` with a scope in which tasks can be spawned that borrow from the caller, and waits until all of them have ended.
/// As `std::thread::scope`.
///
/// Suspends the calling task while it waits (on a plain thread: blocks it, running its default scheduler).
///
/// # Examples
///
/// ```
/// use multitask::task;
///
/// let words = vec!["one", "two", "three"];
/// let mut count = 0;
/// let letters = task::scope(|s| {
///     let letters = s.spawn(|| words.iter().map(|word| word.len()).sum::<usize>());
///     s.spawn(|| count = words.len());
///     letters.join().unwrap()
/// });
/// assert_eq!((letters, count), (11, 3));
/// ```
///
/// # Cancelling and time limits
///
/// When the caller is cancelled, or the deadline of a [`timeout`](crate::timeout) round the scope passes, all tasks of the scope are
/// cancelled; the caller goes on unwinding when they have ended.
///
/// ```
/// use multitask::{task, timeout};
/// use std::time::Duration;
///
/// let mut ended = 0;
/// let result = timeout(Duration::from_millis(5), || {
///     task::scope(|s| {
///         s.spawn(|| {
///             scopeguard(|| ended += 1, || task::park());
///         });
///     })
/// });
/// assert!(result.is_err());
/// assert_eq!(ended, 1); // it is over, in time or not
/// # fn scopeguard(end: impl FnMut(), f: impl FnOnce()) {
/// #     struct Guard<F: FnMut()>(F);
/// #     impl<F: FnMut()> Drop for Guard<F> { fn drop(&mut self) { (self.0)() } }
/// #     let _guard = Guard(end);
/// #     f()
/// # }
/// ```
///
/// # Panics
///
/// If a task has panicked that was not joined, with what the first such task has panicked with, once all have ended. If `f`
/// panics, with that, once all have ended: as with std's, the others are not cancelled by it; see
/// [`try_scope`](super::try_scope). On a plain thread also if nothing can ever happen again on the thread's default
/// scheduler: the tasks are cancelled then.
#[track_caller]
pub fn scope<'env, F, T>(f: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    let scope = Scope::new();
    scope.within(|| f(&scope))
}

/// Where tasks are spawned that end before [`scope`] does. As `std::thread::Scope`.
///
/// Tasks of the scope may spawn more of them through a reference to it.
pub struct Scope<'scope, 'env: 'scope> {
    group: Group,
    members: Lock<Members>,
    /// Invariant in both lifetimes, as std's.
    _scope: PhantomData<&'scope mut &'scope ()>,
    _env: PhantomData<&'env mut &'env ()>,
}

struct Members {
    running: List<Member>,
    /// Members that begin from now on are cancelled.
    cancelled: bool,
}

struct Member {
    task: &'static Header,
    links: Links<Member>,
}

impl Linked for Member {
    fn links(&self) -> &Links<Self> {
        &self.links
    }
}

// SAFETY: the list is used under its lock, and leads to headers, which are `Sync`.
unsafe impl Send for Members {}

impl<'scope> Scope<'scope, '_> {
    /// Runs `f` as a new task beside the caller, as [`spawn`](super::spawn), that ends before the scope does.
    ///
    /// # Panics
    /// As [`spawn`](super::spawn).
    #[track_caller]
    pub fn spawn<F, T>(&'scope self, f: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        // SAFETY: both are `Send`, and so is the scope that the task refers to.
        let birth = unsafe { unnamed(Location::caller()).anywhere() };
        expect_spawned(self.add(birth, || Some(f())))
    }

    /// As [`spawn`](Scope::spawn), for a closure or a result that must stay on this thread.
    ///
    /// ```
    /// use std::cell::Cell;
    ///
    /// let count = Cell::new(0);
    /// multitask::task::scope(|s| {
    ///     s.spawn_local(|| count.set(count.get() + 1));
    ///     s.spawn_local(|| count.set(count.get() + 1));
    /// });
    /// assert_eq!(count.get(), 2);
    /// ```
    ///
    /// # Panics
    /// As [`spawn`](super::spawn).
    #[track_caller]
    pub fn spawn_local<F, T>(&'scope self, f: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + 'scope,
        T: 'scope,
    {
        let birth = unnamed(Location::caller());
        expect_spawned(self.add(birth, || Some(f())))
    }

    /// As [`spawn_local`](Scope::spawn_local), with what `builder` says.
    #[track_caller]
    pub(crate) fn spawn_local_with<F, T>(
        &'scope self,
        builder: Builder,
        f: F,
    ) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + 'scope,
        T: 'scope,
    {
        let birth = builder.birth(Location::caller());
        expect_spawned(birth.and_then(|birth| self.add(birth, || Some(f()))))
    }

    /// Cancels all tasks of the scope, and those that are spawned from now on; the caller itself goes on.
    ///
    /// ```
    /// use multitask::task;
    ///
    /// task::scope(|s| {
    ///     for _ in 0..3 {
    ///         s.spawn(|| task::park());
    ///     }
    ///     s.cancel(); // so the scope ends
    /// });
    /// ```
    pub fn cancel(&self) {
        let mut members = self.members.lock();
        members.cancelled = true;
        // SAFETY: the list is locked; by 2 its members live, and cancelling runs none of them here.
        unsafe { members.running.for_each(|member| cancel(member.task)) };
    }

    pub(crate) fn new() -> Self {
        Scope {
            group: Group::new(),
            members: Lock::new(Members {
                running: List::new(),
                cancelled: false,
            }),
            _scope: PhantomData,
            _env: PhantomData,
        }
    }

    /// Spawns a task that is counted; if `f` answers `None` it is as if it had been cancelled.
    pub(super) fn add<F, T>(
        &'scope self,
        birth: Birth,
        f: F,
    ) -> io::Result<ScopedJoinHandle<'scope, T>>
    where
        F: FnOnce() -> Option<T> + 'scope,
        T: 'scope,
    {
        let birth = birth.counted_in(ptr::from_ref(&self.group).cast());
        self.group.join();
        // SAFETY: by 1 what is borrowed for 'scope outlives the task, and the handle cannot leave 'scope.
        let spawned = unsafe { spawn_here_unchecked(birth, move || self.run(f)) };
        match spawned {
            Ok(handle) => Ok(ScopedJoinHandle {
                handle,
                _scope: PhantomData,
            }),
            Err(error) => {
                // SAFETY: it was counted above.
                unsafe { Group::leave(&self.group) };
                Err(error)
            }
        }
    }

    /// Runs a member's closure, on the member's stack.
    fn run<T>(&self, f: impl FnOnce() -> Option<T>) -> Option<T> {
        let member = Member {
            task: me(),
            links: Links::new(),
        };
        let _running = self.enlist(&member);
        // Else it has not come so far.
        if NEVER_UNWINDS && is_due(member.task) {
            return None;
        }
        f()
    }

    fn enlist<'a>(&'a self, member: &'a Member) -> Running<'a> {
        let members = self.members.lock();
        // SAFETY: the list is locked, and `Running` takes the member out before it goes.
        unsafe { members.running.push_back(member) };
        let cancelled = members.cancelled;
        drop(members);
        let running = Running(&self.members, member);
        if cancelled {
            cancel_here(member.task);
            interrupt_if_due(member.task);
        }
        running
    }

    // ---- the owner ----

    /// Calls `f`, and leaves when no member is left: invariant 1.
    pub(crate) fn within<T>(&self, f: impl FnOnce() -> T) -> T {
        let borrowed = AbortOnDrop;
        let outcome = catch_unwind(AssertUnwindSafe(f));
        let raised = self.finish(outcome.as_ref().is_err_and(is_ours));
        mem::forget(borrowed);
        let panic = self.group.take_panic();
        match (outcome, raised, panic) {
            // What interrupted the caller counts for less than a panic.
            (Err(ours), _, Some(panic)) if is_ours(&ours) => resume_unwind(panic),
            (Err(payload), ..) => resume_unwind(payload),
            (Ok(_), _, Some(panic)) => resume_unwind(panic),
            (Ok(_), Some(raised), None) => resume_unwind(raised),
            (Ok(value), None, None) => value,
        }
    }

    /// A member has panicked, and nobody will be told of it by joining.
    pub(super) fn panicked(&self, panic: Box<dyn Any + Send>) {
        self.group.panicked(panic);
    }

    /// Waits until no member is left, after cancelling them if the owner is `interrupted`, or when it is. Returns what
    /// interrupted the wait.
    fn finish(&self, interrupted: bool) -> Option<Box<dyn Any + Send>> {
        let mut raised = None;
        if !interrupted {
            raised = catch_unwind(AssertUnwindSafe(|| self.wait())).err();
            raised.as_ref()?;
        }
        self.cancel();
        let wait = || me().scopes.shield(|| self.wait());
        if let Err(deadlock) = catch_unwind(AssertUnwindSafe(wait)) {
            report(format_args!(
                "a scope cannot give up: a task of it waits in a destructor. {}",
                panic_message(&*deadlock).unwrap_or_default()
            ));
            abort();
        }
        raised
    }

    /// Waits until no member is left.
    fn wait(&self) {
        // A scope has no error of its own: who is interrupted where he cannot unwind waits again, and for real then.
        while !self.group.is_empty() {
            // In a build in which nothing unwinds, the tasks of the scope hear here of what ends it.
            if NEVER_UNWINDS && is_due(me()) {
                self.cancel();
            }
            let waiter = Waiter::here();
            if !self.group.set_waiter(waiter) {
                let retracted = waiter.retract();
                debug_assert!(retracted);
                return;
            }
            let _waiting = Waiting(&self.group);
            let _woken_or_again = park(waiter, None, Why::Scope, Mode::Infallible);
        }
    }
}

fn is_ours(payload: &Box<dyn Any + Send>) -> bool {
    target_of(&**payload).is_some()
}

/// Members are left: the frame that they borrow from must not go.
struct AbortOnDrop;

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        abort();
    }
}

/// A member is in the list; taken out when this is dropped.
struct Running<'a>(&'a Lock<Members>, &'a Member);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let members = self.0.lock();
        // SAFETY: the list is locked, and `enlist` put it in.
        unsafe { members.running.remove(self.1) };
    }
}

/// The owner waits; this ends it, however the wait ended.
struct Waiting<'a>(&'a Group);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.stop_waiting();
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").finish_non_exhaustive()
    }
}

impl Builder {
    /// As [`Scope::spawn`]. As `std::thread::Builder::spawn_scoped`.
    ///
    /// # Errors
    /// As [`spawn`](Builder::spawn).
    ///
    /// ```
    /// use multitask::task::{self, Builder};
    ///
    /// let name = task::scope(|s| {
    ///     let task = Builder::new().name("reader".into()).spawn_scoped(s, || task::current())?;
    ///     Ok::<_, std::io::Error>(task.join().unwrap().name().map(str::to_owned))
    /// })?;
    /// assert_eq!(name.as_deref(), Some("reader"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn spawn_scoped<'scope, F, T>(
        self,
        scope: &'scope Scope<'scope, '_>,
        f: F,
    ) -> io::Result<ScopedJoinHandle<'scope, T>>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        // SAFETY: both are `Send`, and so is the scope that the task refers to.
        let birth = unsafe { self.birth(Location::caller())?.anywhere() };
        scope.add(birth, || Some(f()))
    }
}

/// Owns the result of a task of a [`scope`]. As `std::thread::ScopedJoinHandle`.
///
/// Dropping it detaches the task, for which the scope waits.
pub struct ScopedJoinHandle<'scope, T> {
    handle: JoinHandle<Option<T>>,
    _scope: PhantomData<&'scope ()>,
}

impl<T> ScopedJoinHandle<'_, T> {
    /// Waits until the task has ended, and returns what it returned. As [`JoinHandle::join`].
    ///
    /// # Errors
    /// [`JoinError::Panic`] with what the task panicked with, and the scope does not panic with it any more;
    /// [`JoinError::Cancelled`] if it was cancelled, or was the one that made a [`try_scope`](super::try_scope) fail.
    ///
    /// # Panics
    /// As [`JoinHandle::join`].
    #[inline(always)]
    pub fn join(self) -> Result<T, JoinError> {
        self.handle.join()?.ok_or(JoinError::Cancelled)
    }

    /// As [`join`](ScopedJoinHandle::join), for at most `timeout`.
    ///
    /// # Errors
    /// As [`JoinHandle::join_timeout`].
    pub fn join_timeout(self, timeout: Duration) -> Result<T, JoinTimeoutError<Self>> {
        Self::settle(self.handle.join_timeout(timeout))
    }

    /// As [`join`](ScopedJoinHandle::join), until `deadline`.
    ///
    /// # Errors
    /// As [`JoinHandle::join_timeout`].
    pub fn join_deadline(self, deadline: Instant) -> Result<T, JoinTimeoutError<Self>> {
        Self::settle(self.handle.join_deadline(deadline))
    }

    fn settle(
        joined: Result<Option<T>, JoinTimeoutError<JoinHandle<Option<T>>>>,
    ) -> Result<T, JoinTimeoutError<Self>> {
        let scoped = |handle| ScopedJoinHandle {
            handle,
            _scope: PhantomData,
        };
        joined
            .map_err(|error| error.map(scoped))?
            .ok_or(JoinTimeoutError::Failed(JoinError::Cancelled))
    }

    /// Whether the task has ended, so that [`join`](ScopedJoinHandle::join) would not wait.
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    /// The task as such: its name and number.
    pub fn task(&self) -> &Task {
        self.handle.task()
    }

    /// Asks the task to end. As [`JoinHandle::cancel`].
    pub fn cancel(&self) {
        self.handle.cancel();
    }

    /// For somebody else who may end the task. As [`JoinHandle::cancel_handle`].
    pub fn cancel_handle(&self) -> CancelHandle {
        self.handle.cancel_handle()
    }
}

impl<T> fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedJoinHandle")
            .field("task", self.task())
            .field("finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}
