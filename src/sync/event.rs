//! [`Event`] and [`Notify`]: a flag, and a line of those who wait for it.
//!
//! Who waits for an event as a future is an [`Attending`]; it is told by being out of the line: whoever takes its node out has found
//! that the flag was set.
//!
//! An event's flag stays set, and all go on; a notification is for one, who takes it along.

use super::wait::{Bound, Early, Line};
use crate::base::lock::Lock;
use crate::error::Timeout;
use crate::rt::choice::{Arm, Here};
use crate::rt::deputy::Attending;
use crate::rt::header::Why;
use crate::rt::park::charge;
use crate::rt::pledge::Wakers;
use crate::rt::waiter::{Node, WaitList};
use std::cell::UnsafeCell;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

struct State {
    flag: bool,
    line: WaitList,
}

impl State {
    const fn new() -> Lock<State> {
        Lock::new(State {
            flag: false,
            line: WaitList::new(),
        })
    }
}

/// Waits to be woken, unless the flag is set, of which `goes_on` makes what it likes.
#[inline(always)]
fn wait(
    state: &Lock<State>,
    why: Why,
    bound: Bound,
    goes_on: fn(&mut bool) -> bool,
) -> Result<(), Timeout> {
    charge();
    let line = Line::new(state, |state| &state.line, why);
    match line.wait(bound, || (), |state| goes_on(&mut state.flag)) {
        Ok(_) => Ok(()),
        Err(Early::TimedOut | Early::Interrupted(_)) => Err(Timeout),
    }
}

/// A flag that tasks and threads wait for: once it is set, all go on, until it is cleared.
///
/// # Examples
///
/// ```
/// use multitask::spawn;
/// use multitask::sync::{Arc, Event};
///
/// let ready = Arc::new(Event::new());
/// let waiters: Vec<_> = (0..3)
///     .map(|_| {
///         let ready = ready.clone();
///         spawn(move || ready.wait())
///     })
///     .collect();
/// ready.set();
/// for waiter in waiters {
///     waiter.join().unwrap();
/// }
/// ready.wait(); // returns at once
/// ```
pub struct Event(Lock<State>);

impl Event {
    /// One that is not set.
    #[inline]
    pub const fn new() -> Self {
        Event(State::new())
    }

    /// Sets the flag. All who wait go on, even if it is cleared before they have done so. Does not wait.
    pub fn set(&self) {
        let mut wakers = Wakers::default();
        let mut state = self.0.lock();
        state.flag = true;
        // SAFETY: the lock is held.
        unsafe { state.line.wake_all_but_futures(&mut wakers) };
        drop(state);
        wakers.wake();
    }

    /// Clears the flag: who comes from now on waits. Does not wait.
    pub fn clear(&self) {
        self.0.lock().flag = false;
    }

    /// Whether the flag is set.
    pub fn is_set(&self) -> bool {
        self.0.lock().flag
    }

    /// Waits until the flag is set.
    ///
    /// Suspends the calling task while it waits (on a plain thread: blocks it).
    ///
    /// # Panics
    /// On a plain thread, if nothing can ever happen again on the thread's default scheduler: see
    /// [`Deadlock`](crate::Deadlock).
    #[inline(always)]
    pub fn wait(&self) {
        // It cannot be late.
        let _set = self.wait_within(Bound::Never);
    }

    /// As [`wait`](Event::wait), for at most `timeout`. A flag that is set is seen, however short the time.
    ///
    /// # Errors
    /// [`Timeout`] if it was not set in time.
    ///
    /// # Panics
    /// As `wait`.
    ///
    /// ```
    /// use multitask::{sync::Event, Timeout};
    /// use std::time::Duration;
    ///
    /// let event = Event::new();
    /// assert_eq!(event.wait_timeout(Duration::from_millis(1)), Err(Timeout));
    /// event.set();
    /// assert_eq!(event.wait_timeout(Duration::ZERO), Ok(()));
    /// ```
    #[inline]
    pub fn wait_timeout(&self, timeout: Duration) -> Result<(), Timeout> {
        self.wait_within(Bound::For(timeout))
    }

    /// As [`wait`](Event::wait), until `deadline`.
    ///
    /// # Errors
    /// As [`wait_timeout`](Event::wait_timeout).
    ///
    /// # Panics
    /// As `wait`.
    #[inline]
    pub fn wait_deadline(&self, deadline: Instant) -> Result<(), Timeout> {
        self.wait_within(Bound::Until(deadline))
    }

    /// As [`wait`](Event::wait), for whatever runs futures. Polling never suspends.
    ///
    /// Who was pending when the flag was set is ready, even if it was cleared since. It can be dropped at any time.
    ///
    /// ```
    /// use multitask::{future, spawn, sync::{Arc, Event}};
    ///
    /// let started = Arc::new(Event::new());
    /// spawn({
    ///     let started = started.clone();
    ///     move || started.set()
    /// });
    /// future::block_on(async { started.wait_async().await });
    /// ```
    pub fn wait_async(&self) -> EventFuture<'_> {
        EventFuture(Attending::new(Standing {
            state: &self.0,
            place: UnsafeCell::new(None),
        }))
    }

    #[inline(always)]
    fn wait_within(&self, bound: Bound) -> Result<(), Timeout> {
        wait(&self.0, Why::Event, bound, |flag| *flag)
    }
}

impl Default for Event {
    fn default() -> Self {
        Event::new()
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_set = self.is_set();
        f.debug_struct("Event").field("is_set", &is_set).finish()
    }
}

/// Waits until an event is set; see [`Event::wait_async`].
#[must_use = "a future does nothing unless it is awaited"]
pub struct EventFuture<'a>(Attending<Standing<'a>>);

impl Future for EventFuture<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // SAFETY: it is not moved.
        unsafe { self.map_unchecked_mut(|this| &mut this.0) }.poll(cx)
    }
}

// SAFETY: of what is in it others know the node alone, which does not move while it is in the line, and is used by the lock.
unsafe impl Send for EventFuture<'_> {}
// SAFETY: through a shared reference nothing can be done with it.
unsafe impl Sync for EventFuture<'_> {}

impl fmt::Debug for EventFuture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventFuture").finish_non_exhaustive()
    }
}

/// A place in an event's line.
struct Standing<'a> {
    state: &'a Lock<State>,
    place: UnsafeCell<Option<Node>>,
}

// SAFETY: it names no end.
unsafe impl Arm for Standing<'_> {
    fn attempt(&self) -> bool {
        self.state.lock().flag
    }

    unsafe fn enlist(&self, here: &Here) -> bool {
        let state = self.state.lock();
        if state.flag {
            return false;
        }
        // SAFETY: not in a list, so nobody else looks at it.
        let node = unsafe { (*self.place.get()).insert(Node::new(here.waiter)) };
        // SAFETY: the lock is held; by the caller's promise it stays where it is until `delist`, which takes it out.
        unsafe { state.line.push(node) };
        true
    }

    fn delist(&self) -> bool {
        let state = self.state.lock();
        // SAFETY: the lock is held, and the wait is over.
        let place = unsafe { &mut *self.place.get() };
        let was_told = place.as_ref().is_some_and(|node| {
            let told = !node.is_in_list();
            // SAFETY: the lock is held, and it has been in this line only.
            unsafe { state.line.remove(node) };
            told
        });
        *place = None;
        was_told
    }
}

/// Awaited as it is, by reference: as [`wait_async`](Event::wait_async).
///
/// ```
/// use multitask::{future, sync::Event};
///
/// let event = Event::new();
/// event.set();
/// future::block_on(&event);
/// future::block_on(async { (&event).await });
/// ```
impl<'a> IntoFuture for &'a Event {
    type Output = ();
    type IntoFuture = EventFuture<'a>;

    fn into_future(self) -> EventFuture<'a> {
        self.wait_async()
    }
}

/// Wakes a task or a thread that waits, or the next one that comes.
///
/// A notification for which nobody waits is kept; there is at most one. So who looks for work, finds none and then waits,
/// misses nothing that is announced in between.
///
/// # Examples
///
/// ```
/// use multitask::spawn;
/// use multitask::sync::{Arc, Notify};
///
/// let work = Arc::new(Notify::new());
/// work.notify_one(); // nobody waits: it is kept
/// work.wait(); // returns at once
/// let waiter = spawn({
///     let work = work.clone();
///     move || work.wait()
/// });
/// work.notify_one();
/// waiter.join().unwrap();
/// ```
pub struct Notify(Lock<State>);

impl Notify {
    /// One without a notification.
    #[inline]
    pub const fn new() -> Self {
        Notify(State::new())
    }

    /// Lets the one go on that has waited for longest, or the next one that comes if nobody waits. Does not wait.
    ///
    /// One that is interrupted in that moment has either been notified, or leaves it to the next one.
    pub fn notify_one(&self) {
        let mut state = self.0.lock();
        // SAFETY: the lock is held.
        let first = unsafe { state.line.win_front(|()| true) };
        state.flag |= first.is_none();
        // The lock is free when it goes on: it may be on another thread and come for it.
        drop(state);
        drop(first);
    }

    /// Lets all go on that wait now, and keeps no notification. Does not wait.
    pub fn notify_waiters(&self) {
        // SAFETY: the lock is held.
        unsafe { self.0.lock().line.wake_all() };
    }

    /// Waits for a notification, and takes it.
    ///
    /// Suspends the calling task while it waits (on a plain thread: blocks it).
    ///
    /// # Panics
    /// On a plain thread, if nothing can ever happen again on the thread's default scheduler: see
    /// [`Deadlock`](crate::Deadlock).
    #[inline(always)]
    pub fn wait(&self) {
        // It cannot be late.
        let _notified = self.wait_within(Bound::Never);
    }

    /// As [`wait`](Notify::wait), for at most `timeout`. A notification that is here is taken, however short the time.
    ///
    /// # Errors
    /// [`Timeout`] if none came in time.
    ///
    /// # Panics
    /// As `wait`.
    #[inline]
    pub fn wait_timeout(&self, timeout: Duration) -> Result<(), Timeout> {
        self.wait_within(Bound::For(timeout))
    }

    /// As [`wait`](Notify::wait), until `deadline`.
    ///
    /// # Errors
    /// As [`wait_timeout`](Notify::wait_timeout).
    ///
    /// # Panics
    /// As `wait`.
    #[inline]
    pub fn wait_deadline(&self, deadline: Instant) -> Result<(), Timeout> {
        self.wait_within(Bound::Until(deadline))
    }

    #[inline(always)]
    fn wait_within(&self, bound: Bound) -> Result<(), Timeout> {
        wait(&self.0, Why::Notify, bound, std::mem::take)
    }
}

impl Default for Notify {
    fn default() -> Self {
        Notify::new()
    }
}

impl fmt::Debug for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notify").finish_non_exhaustive()
    }
}
