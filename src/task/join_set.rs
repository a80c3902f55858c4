//! [`JoinSet`]: tasks of one kind, joined in the order in which they end.
//!
//! 1. A task of the set reports itself once: when its closure has returned, unwound, or was dropped without having begun.
//! 2. The set is waited for by its owner alone, through `&mut`: so one waiter is enough.

use super::current::TaskId;
use super::join::JoinHandle;
use super::spawn::{expect_spawned, Builder};
use crate::base::lock::Lock;
use crate::error::{JoinError, Timeout};
use crate::rt::clock::deadline_in;
use crate::rt::header::Why;
use crate::rt::park::{charge, park, Mode, Outcome};
use crate::rt::waiter::Waiter;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Tasks that give results of the same type, joined as they end. Dropping the set cancels them.
///
/// ```
/// use multitask::task::JoinSet;
///
/// let mut set = JoinSet::new();
/// for n in [3, 1, 2] {
///     set.spawn(move || n * 10);
/// }
/// let mut sum = 0;
/// while let Some(result) = set.join_next() {
///     sum += result.unwrap();
/// }
/// assert_eq!(sum, 60);
/// ```
///
/// With a limit it is a pool: [`spawn`](JoinSet::spawn) waits while so many run.
///
/// ```
/// use multitask::{sleep, task::JoinSet};
/// use std::num::NonZeroUsize;
/// use std::time::Duration;
///
/// let mut pages = JoinSet::with_limit(NonZeroUsize::new(4).unwrap());
/// for page in 0..20 {
///     pages.spawn(move || {
///         sleep(Duration::from_micros(50)); // four at a time
///         page
///     });
/// }
/// assert_eq!(pages.join_all().len(), 20);
/// ```
pub struct JoinSet<T> {
    /// By the number under which they report.
    handles: HashMap<u64, JoinHandle<T>>,
    /// The next number.
    next: u64,
    limit: Option<NonZeroUsize>,
    ended: Arc<Ended>,
}

impl<T> JoinSet<T> {
    /// An empty set.
    pub fn new() -> Self {
        JoinSet {
            handles: HashMap::new(),
            next: 0,
            limit: None,
            ended: Arc::default(),
        }
    }

    /// An empty set of which at most `limit` tasks run at a time. Those that have ended and were not joined do not count.
    pub fn with_limit(limit: NonZeroUsize) -> Self {
        let mut set = JoinSet::new();
        set.limit = Some(limit);
        set
    }

    /// How many tasks have not been joined.
    pub fn len(&self) -> usize {
        self.handles.len()
    }

    /// Whether all have been joined.
    pub fn is_empty(&self) -> bool {
        self.handles.is_empty()
    }

    /// Runs `f` as a new task of the set, as [`task::spawn`](super::spawn). If the set has a limit and so many run, it
    /// suspends the caller until one has ended.
    ///
    /// # Panics
    /// As [`task::spawn`](super::spawn).
    #[track_caller]
    pub fn spawn<F>(&mut self, f: F) -> TaskId
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        expect_spawned(self.spawn_with(Builder::new(), f))
    }

    /// As [`spawn`](JoinSet::spawn), for a closure or a result that must stay on this thread.
    ///
    /// # Panics
    /// As [`task::spawn`](super::spawn).
    #[track_caller]
    pub fn spawn_local<F>(&mut self, f: F) -> TaskId
    where
        F: FnOnce() -> T + 'static,
        T: 'static,
    {
        expect_spawned(self.add(|report| Builder::new().spawn_local(move || report.during(f))))
    }

    /// As [`spawn`](JoinSet::spawn), with a name or a stack size from `builder`.
    ///
    /// # Errors
    /// As [`Builder::spawn`].
    #[track_caller]
    pub fn spawn_with<F>(&mut self, builder: Builder, f: F) -> io::Result<TaskId>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.add(|report| builder.spawn(move || report.during(f)))
    }

    /// Waits for the next task to end, and gives its result; `None` if the set is empty. Suspends.
    pub fn join_next(&mut self) -> Option<Result<T, JoinError>> {
        self.join_next_with_id().map(|(_, result)| result)
    }

    /// As [`join_next`](JoinSet::join_next), and says which task it was: what [`spawn`](JoinSet::spawn) returned.
    pub fn join_next_with_id(&mut self) -> Option<(TaskId, Result<T, JoinError>)> {
        if self.is_empty() {
            return None;
        }
        // Without a deadline there is a result.
        let handle = self.next_ended(None)?;
        Some((handle.task().id(), handle.join()))
    }

    /// As [`join_next`](JoinSet::join_next), for at most `timeout`.
    ///
    /// # Errors
    /// [`Timeout`]; all tasks are still in the set.
    pub fn join_next_timeout(
        &mut self,
        timeout: Duration,
    ) -> Result<Option<Result<T, JoinError>>, Timeout> {
        match deadline_in(timeout) {
            Some(deadline) => self.join_next_deadline(deadline),
            None => Ok(self.join_next()),
        }
    }

    /// As [`join_next`](JoinSet::join_next), until `deadline`.
    ///
    /// # Errors
    /// As [`join_next_timeout`](JoinSet::join_next_timeout).
    pub fn join_next_deadline(
        &mut self,
        deadline: Instant,
    ) -> Result<Option<Result<T, JoinError>>, Timeout> {
        if self.is_empty() {
            return Ok(None);
        }
        let handle = self.next_ended(Some(deadline)).ok_or(Timeout)?;
        Ok(Some(handle.join()))
    }

    /// The result of a task that has ended already; `None` if there is none, whether or not others run.
    pub fn try_join_next(&mut self) -> Option<Result<T, JoinError>> {
        charge();
        let handle = self.ended.0.lock().take(&mut self.handles)?;
        Some(handle.join())
    }

    /// Waits for all, and gives their results in the order in which they ended. Suspends.
    pub fn join_all(mut self) -> Vec<Result<T, JoinError>> {
        let mut results = Vec::with_capacity(self.len());
        while let Some(result) = self.join_next() {
            results.push(result);
        }
        results
    }

    /// Cancels one task of the set, by what [`spawn`](JoinSet::spawn) returned: whether it is in the set. It is still to be
    /// joined. Looks through all of them.
    ///
    /// ```
    /// use multitask::task::{self, JoinSet};
    ///
    /// let mut set = JoinSet::new();
    /// let one = set.spawn(task::park);
    /// assert!(set.cancel(one));
    /// assert!(set.join_next().unwrap().unwrap_err().is_cancelled());
    /// assert!(!set.cancel(one)); // it has been joined
    /// ```
    pub fn cancel(&self, id: TaskId) -> bool {
        let one = self.handles.values().find(|one| one.task().id() == id);
        one.inspect(|one| one.cancel()).is_some()
    }

    /// Cancels all tasks of the set. They are still to be joined.
    pub fn cancel_all(&self) {
        self.handles.values().for_each(JoinHandle::cancel);
    }

    /// Cancels all tasks of the set, and waits until they have ended; their results are dropped. Suspends.
    pub fn shutdown(&mut self) {
        self.cancel_all();
        while let Some(result) = self.join_next() {
            drop(result);
        }
    }

    /// Takes all tasks out of the set; they go on.
    pub fn detach_all(&mut self) {
        // Their reports will find nobody.
        self.ended = Arc::default();
        self.handles.clear();
    }

    fn add(
        &mut self,
        spawn: impl FnOnce(Report) -> io::Result<JoinHandle<T>>,
    ) -> io::Result<TaskId> {
        if let Some(limit) = self.limit {
            let has_room = |ended: &mut State| (ended.running < limit.get()).then_some(());
            let _room = self.ended.wait(None, has_room);
        }
        let number = self.next;
        self.next += 1;
        self.ended.0.lock().running += 1;
        let handle = spawn(Report(self.ended.clone(), number))?;
        let id = handle.task().id();
        self.handles.insert(number, handle);
        Ok(id)
    }

    /// The handle of the next task that ends; `None` if `deadline` passes first. It has reported, so joining it is a matter of
    /// moments.
    fn next_ended(&mut self, deadline: Option<Instant>) -> Option<JoinHandle<T>> {
        let handles = &mut self.handles;
        self.ended.wait(deadline, |ended| ended.take(handles))
    }
}

/// What a set and its tasks have in common.
struct Ended(Lock<State>);

impl Default for Ended {
    fn default() -> Self {
        Ended(Lock::new(State::default()))
    }
}

impl Ended {
    /// Waits until `ready` answers; `None` if `deadline` passes first.
    fn wait<R>(
        &self,
        deadline: Option<Instant>,
        mut ready: impl FnMut(&mut State) -> Option<R>,
    ) -> Option<R> {
        loop {
            charge();
            let found = ready(&mut self.0.lock());
            if found.is_some() {
                return found;
            }
            let waiter = Waiter::here();
            let mut state = self.0.lock();
            let found = ready(&mut state);
            if found.is_some() {
                drop(state);
                let retracted = waiter.retract();
                debug_assert!(retracted);
                return found;
            }
            state.waiter = Some(waiter);
            drop(state);
            // It cannot answer that it was interrupted: where it cannot unwind it waits for real.
            if park(waiter, deadline, Why::Join, Mode::Infallible) == Outcome::TimedOut {
                return ready(&mut self.0.lock());
            }
        }
    }
}

#[derive(Default)]
struct State {
    /// Those that have reported and were not joined.
    numbers: VecDeque<u64>,
    /// How many have not reported.
    running: usize,
    /// The owner waits for the next report.
    waiter: Option<Waiter>,
}

impl State {
    fn take<T>(&mut self, handles: &mut HashMap<u64, JoinHandle<T>>) -> Option<JoinHandle<T>> {
        // What was refused a stack has reported, and has no handle.
        let handle = |number| handles.remove(&number);
        std::iter::from_fn(|| self.numbers.pop_front()).find_map(handle)
    }
}

/// Reports the end of a task when it is dropped: invariant 1.
struct Report(Arc<Ended>, u64);

impl Report {
    fn during<T>(self, f: impl FnOnce() -> T) -> T {
        f()
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        let mut state = self.0 .0.lock();
        state.numbers.push_back(self.1);
        state.running -= 1;
        let waiter = state.waiter.take();
        drop(state);
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }
}

impl<T> Drop for JoinSet<T> {
    fn drop(&mut self) {
        self.cancel_all();
    }
}

impl<T> Default for JoinSet<T> {
    fn default() -> Self {
        JoinSet::new()
    }
}

impl<T> fmt::Debug for JoinSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinSet")
            .field("len", &self.len())
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

/// The results, as the tasks end; it suspends between them. Dropping it cancels those that are left.
impl<T> Iterator for JoinSet<T> {
    type Item = Result<T, JoinError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.join_next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len(), Some(self.len()))
    }
}
