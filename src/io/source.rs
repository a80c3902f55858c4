//! A descriptor and its waits: the one loop that tries a system call, waits for readiness, and tries again.
//!
//! 1. The descriptor is non-blocking while a `Source` has it; or it is one that is only waited for, such as the duplicate of
//!    [`Source::watch`].
//! 2. A source takes its descriptor out of all reactors before it closes it or hands it out.
//! 3. The settings that std keeps in the open file description (non-blocking mode, timeouts) are shared by the
//!    sources that share it.

use super::settings::Settings;
use crate::error::Timeout;
use crate::rt::clock::{self, deadline_in};
use crate::rt::header::{Header, Why, CX};
use crate::rt::home::Home;
use crate::rt::park::{charge, interrupt_if_due, me, park, Interrupt, Mode, Outcome};
use crate::rt::reactor::{Interest, Interests, Nodes, Port};
use crate::rt::unwind::can_raise;
use crate::rt::waiter::{Node, Waiter};
use crate::rt::worker::{with_default, with_local, with_running, Worker};
use crate::sys::fd::{poll_any, set_nonblocking, Poll};
use std::array;
use std::io;
use std::mem::{self, ManuallyDrop};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::OnceLock;
use std::task::Waker;
use std::time::{Duration, Instant};

/// See the head of this file.
pub(crate) struct Source<T: AsFd> {
    inner: ManuallyDrop<T>,
    /// Made at the first wait.
    port: OnceLock<Port>,
    /// The tick at which a read found the last byte, plus one; zero if none did. See [`retry_read`](Source::retry_read).
    emptied: AtomicU32,
    settings: Settings,
}

impl<T: AsFd> Source<T> {
    /// Takes a descriptor in, blocking or not.
    ///
    /// # Errors
    /// It is not open.
    pub(crate) fn new(inner: T) -> io::Result<Self> {
        Source::with_settings(inner, Settings::default())
    }

    /// Takes in a duplicate of a descriptor whose source has these settings.
    ///
    /// # Errors
    /// It is not open.
    pub(crate) fn with_settings(inner: T, settings: Settings) -> io::Result<Self> {
        set_nonblocking(inner.as_fd(), true)?;
        Ok(Source::assemble(inner, settings))
    }

    /// Takes in a descriptor that is known to be non-blocking, or is only waited for, and that nobody else has.
    pub(crate) fn adopt(inner: T) -> Self {
        Source::assemble(inner, Settings::default())
    }

    fn assemble(inner: T, settings: Settings) -> Self {
        Source {
            inner: ManuallyDrop::new(inner),
            port: OnceLock::new(),
            emptied: AtomicU32::new(0),
            settings,
        }
    }

    pub(crate) fn get(&self) -> &T {
        &self.inner
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Gives the descriptor away: blocking again, unless the user set it non-blocking, or sources remain that share it.
    /// The mode belongs to what they share: theirs would block a worker.
    ///
    /// # Errors
    /// It is not open (somebody closed it behind our back).
    pub(crate) fn into_inner(self) -> io::Result<T> {
        let mut this = ManuallyDrop::new(self);
        this.leave_reactors();
        // SAFETY: `this` is not used any more, and will not be dropped.
        let inner = unsafe { ManuallyDrop::take(&mut this.inner) };
        // SAFETY: as above.
        let settings = unsafe { ptr::read(&this.settings) };
        if !settings.nonblocking() && !settings.is_shared() {
            set_nonblocking(inner.as_fd(), false)?;
        }
        Ok(inner)
    }

    /// Calls `op` until it answers something other than `WouldBlock`, for at most `limit`; waits in between.
    ///
    /// # Errors
    /// Those of `op`; `TimedOut` with [`Timeout`] inside; that of interrupting.
    pub(crate) fn retry<R>(
        &self,
        interests: impl Into<Interests>,
        why: Why,
        limit: Option<Duration>,
        mut op: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        let interests = interests.into();
        self.within(interests, why, limit, |_| false, |inner, _| op(inner))
    }

    /// As `retry`, for a call that reads from a TCP connection and has `room` for so many bytes.
    ///
    /// One that leaves room has emptied the connection. Until the next event another would find nothing, so it is not made: half
    /// of the reads of a server that is asked and answers, and a third of its system calls (tokio does so, too). It goes for bytes in a row only: at
    /// the end of them, at an error and at urgent data a read stops short of what the event told of, so after such an
    /// event each call is made. Other kinds of descriptors stop short at other places, as a Unix socket does at a descriptor that is sent along.
    ///
    /// # Errors
    /// As `retry`.
    pub(crate) fn retry_read(
        &self,
        room: usize,
        limit: Option<Duration>,
        mut op: impl FnMut(&T) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let op = |inner: &T, tick: u32| {
            let done = op(inner);
            if matches!(done, Ok(count) if 0 < count && count < room) {
                self.emptied.store(tick.wrapping_add(1), Ordering::Relaxed);
            }
            done
        };
        let is_vain = |tick| self.is_empty_since(tick);
        self.within(Interest::Read.into(), Why::Read, limit, is_vain, op)
    }

    /// Calls `op` for at most `limit`, as `attempt` does; but not before there is news if the first call `is_vain`.
    #[inline]
    fn within<R>(
        &self,
        interests: Interests,
        why: Why,
        limit: Option<Duration>,
        is_vain: impl FnOnce(u32) -> bool,
        mut op: impl FnMut(&T, u32) -> io::Result<R>,
    ) -> io::Result<R> {
        charge();
        let tick = self.tick(interests);
        if !is_vain(tick) {
            match op(&self.inner, tick) {
                Err(error) if self.must_wait(&error) => {}
                done => return done,
            }
        }
        // The clock is read only if there is something to wait for.
        let deadline = limit.and_then(deadline_in);
        self.wait(interests, why, tick, deadline)?;
        self.attempt(interests, why, deadline, op)
    }

    /// Whether a read has emptied it, and no event came since, `tick` being read just now.
    fn is_empty_since(&self, tick: u32) -> bool {
        let emptied = self.emptied.load(Ordering::Relaxed);
        emptied != 0
            && emptied == tick.wrapping_add(1)
            && !self.settings.nonblocking()
            && !self.port.get().is_some_and(Port::is_past_bytes)
    }

    /// As `retry`, until `deadline`.
    ///
    /// # Errors
    /// As `retry`.
    pub(crate) fn retry_until<R>(
        &self,
        interests: impl Into<Interests>,
        why: Why,
        deadline: Option<Instant>,
        mut op: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        charge();
        self.attempt(interests.into(), why, deadline, |inner, _| op(inner))
    }

    /// As `retry`, for a call that would wait for something of which no event tells: see [`retry_unannounced`].
    ///
    /// # Errors
    /// As `retry`.
    pub(crate) fn retry_unannounced<R>(
        &self,
        why: Why,
        limit: Option<Duration>,
        mut op: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        retry_unannounced(why, limit, || match op(&self.inner) {
            Err(error) if self.must_wait(&error) => Ok(None),
            done => done.map(Some),
        })
    }

    /// Calls `op` with the tick that was read before it, and waits in between, until it answers.
    fn attempt<R>(
        &self,
        interests: Interests,
        why: Why,
        deadline: Option<Instant>,
        mut op: impl FnMut(&T, u32) -> io::Result<R>,
    ) -> io::Result<R> {
        loop {
            let tick = self.tick(interests);
            match op(&self.inner, tick) {
                Err(error) if self.must_wait(&error) => {
                    self.wait(interests, why, tick, deadline)?;
                }
                done => return done,
            }
        }
    }

    fn must_wait(&self, error: &io::Error) -> bool {
        error.kind() == io::ErrorKind::WouldBlock && !self.settings.nonblocking()
    }

    /// To be read before a call that may have to wait. Without a port there was no event yet: registering brings those
    /// of the past.
    pub(crate) fn tick(&self, interests: Interests) -> u32 {
        self.port.get().map_or(0, |port| port.tick(interests))
    }

    /// Waits for an event newer than `tick`.
    fn wait(
        &self,
        interests: Interests,
        why: Why,
        tick: u32,
        deadline: Option<Instant>,
    ) -> io::Result<()> {
        let awaited = Awaited {
            port: self.port.get_or_init(Port::new),
            fd: self.inner.as_fd(),
            interests,
            tick,
        };
        match CX.with(|cx| cx.task.get()) {
            Some(me) if interests.is_single() && deadline.is_none() => wait_alone(me, awaited, why),
            _ => wait_any([awaited], why, deadline),
        }
    }

    /// To be taken before a call that may have to wait, and handed to [`wait_any`] then.
    pub(crate) fn awaited(&self, interests: impl Into<Interests>) -> Awaited<'_> {
        let interests = interests.into();
        let port = self.port.get_or_init(Port::new);
        Awaited {
            port,
            fd: self.inner.as_fd(),
            interests,
            tick: port.tick(interests),
        }
    }

    #[cfg_attr(not(feature = "futures-io"), allow(dead_code))]
    /// Has `waker` woken by the next event after `tick`; false if there was one. `here` says whether it calls a task of the worker
    /// whose task this is.
    ///
    /// # Errors
    /// The descriptor cannot be watched.
    pub(crate) fn wake_by_event(
        &self,
        interest: Interest,
        tick: u32,
        waker: &Waker,
        here: bool,
    ) -> io::Result<bool> {
        let port = self.port.get_or_init(Port::new);
        let (fd, awaited, waker) = (self.inner.as_fd(), (interest, tick), waker.clone());
        if !here {
            return port.wake_by(fd, awaited, waker, None);
        }
        let by_worker = |worker: &Worker| port.wake_by(fd, awaited, waker, Some(&worker.reactor));
        with_running(by_worker).expect("a task runs")
    }

    fn leave_reactors(&mut self) {
        if let Some(port) = self.port.take() {
            port.close(self.inner.as_fd());
        }
    }
}

impl<T: AsFd> Drop for Source<T> {
    fn drop(&mut self) {
        self.leave_reactors();
        // SAFETY: this is the end of the source.
        unsafe { ManuallyDrop::drop(&mut self.inner) };
    }
}

impl Source<OwnedFd> {
    /// To wait for a descriptor that belongs to others: through a duplicate, so that it does not matter whether, and how
    /// often, it is registered already. Its mode stays as it is, so `op` must be one that never waits.
    ///
    /// Events are counted from here on: the first call of `op` after a wait means that there was one.
    ///
    /// # Errors
    /// The process is out of descriptors.
    pub(crate) fn watch(fd: BorrowedFd<'_>) -> io::Result<Self> {
        let source = Source::assemble(fd.try_clone_to_owned()?, Settings::default());
        source.port.get_or_init(Port::new);
        Ok(source)
    }

    // ---- in a wait for several things ----

    /// Has the worker of `home` watch the descriptor; false if it is not of this thread.
    ///
    /// # Errors
    /// The descriptor cannot be watched.
    pub(super) fn register(&self, home: &Home<Header>) -> io::Result<bool> {
        let port = self.port.get_or_init(Port::new);
        let fd = self.inner.as_fd();
        with_local(home, |worker| port.register(fd, &worker.reactor))
            .transpose()
            .map(|registered| registered.is_some())
    }

    /// Adds a waiter; false if an event came after `tick` was read.
    ///
    /// # Safety
    /// `nodes` stay where they are until `delist` was called with them.
    pub(super) unsafe fn enlist(&self, interests: Interests, tick: u32, nodes: &[Node]) -> bool {
        let port = self.port.get_or_init(Port::new);
        // SAFETY: the caller's promise.
        unsafe { port.enlist(interests, tick, nodes) }
    }

    /// Takes the waiter out where it is still in.
    pub(super) fn delist(&self, interests: Interests, nodes: &[Node]) {
        self.port.get_or_init(Port::new).delist(interests, nodes);
    }
}

/// Calls `op` until it answers something, for at most `limit`, where no event tells when that will be: looks again after a
/// pause, of 1 ms at first and of 16 ms in the end.
///
/// # Errors
/// Those of `op`; `TimedOut` with [`Timeout`] inside; that of interrupting.
pub(crate) fn retry_unannounced<R>(
    why: Why,
    limit: Option<Duration>,
    mut op: impl FnMut() -> io::Result<Option<R>>,
) -> io::Result<R> {
    charge();
    let (mut deadline, mut pause) = (None, FIRST_PAUSE);
    loop {
        if let Some(answer) = op()? {
            return Ok(answer);
        }
        let now = clock::now();
        let deadline =
            *deadline.get_or_insert_with(|| limit.and_then(|limit| now.checked_add(limit)));
        let next = now + pause;
        let until = deadline.map_or(next, |deadline| deadline.min(next));
        match park(Waiter::here(), Some(until), why, Mode::Fallible) {
            Outcome::TimedOut if deadline == Some(until) => return Err(Timeout.into()),
            Outcome::TimedOut | Outcome::Woken => {}
            Outcome::Interrupted(interrupt) => return Err(interrupt.into()),
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Something that may happen at a descriptor.
pub(crate) struct Awaited<'a> {
    port: &'a Port,
    fd: BorrowedFd<'a>,
    interests: Interests,
    /// Only an event that is newer counts.
    tick: u32,
}

/// As `wait_any`, of the task that runs, for one direction of a descriptor and without a deadline of its own. That is most waits, and
/// what they use of a stack that is not in the caches has to be fetched: so it is little.
///
/// # Errors
/// As `wait_any`.
#[inline]
fn wait_alone(me: &'static Header, one: Awaited<'_>, why: Why) -> io::Result<()> {
    let register = |worker: &Worker| one.port.register(one.fd, &worker.reactor);
    with_running(register).expect("a task runs")?;
    let waiter = Waiter::new(me);
    // SAFETY: it is shown to nobody but by this node.
    let node = unsafe { Node::alone(waiter, ()) };
    wait_in(&[one], &[[node]], waiter, || {
        park(waiter, None, why, Mode::Fallible)
    })
}

/// Waits until one of several has happened.
///
/// # Errors
/// `TimedOut` with [`Timeout`] inside; that of interrupting; a descriptor cannot be waited for.
#[inline(never)]
pub(crate) fn wait_any<const N: usize>(
    awaited: [Awaited<'_>; N],
    why: Why,
    deadline: Option<Instant>,
) -> io::Result<()> {
    let register = |worker: &Worker| {
        let mut all = awaited.iter();
        all.try_for_each(|one| one.port.register(one.fd, &worker.reactor))
    };
    let in_task = CX.with(|cx| cx.task.get()).is_some();
    let registered = if in_task {
        with_running(register)
    } else if with_running(|_| ()).is_none() {
        with_default(|worker| (!worker.is_finished()).then(|| register(worker))).flatten()
    } else {
        None
    };
    match registered {
        Some(registered) => registered?,
        None => return block(&awaited, deadline),
    }
    let waiter = Waiter::here();
    let park = || park(waiter, deadline, why, Mode::Fallible);
    match &awaited[..] {
        [one] if one.interests.is_single() => {
            // SAFETY: it is shown to nobody but by this node.
            let node = unsafe { Node::alone(waiter, ()) };
            wait_in(&awaited, &[[node]], waiter, park)
        }
        _ => {
            let nodes: [Nodes; N] = array::from_fn(|_| array::from_fn(|_| Node::new(waiter)));
            wait_in(&awaited, &nodes, waiter, park)
        }
    }
}

/// As `wait_any`, for a `waiter` that has a place in each list, and can `park`.
#[inline(always)]
fn wait_in<const M: usize>(
    awaited: &[Awaited<'_>],
    nodes: &[[Node; M]],
    waiter: Waiter,
    park: impl FnOnce() -> Outcome,
) -> io::Result<()> {
    let listed = Listed(awaited, nodes);
    let nothing_new = awaited.iter().zip(nodes).all(|(one, nodes)| {
        // SAFETY: `listed` takes them out before they go, or who woke the only one has done so.
        unsafe { one.port.enlist(one.interests, one.tick, nodes) }
    });
    // If one has happened and another has woken us by now, that is to be taken in, by parking.
    if !nothing_new && waiter.retract() {
        return Ok(());
    }
    let outcome = park();
    if nodes.as_flattened().len() == 1 && outcome == Outcome::Woken {
        // Who woke it has taken its only node out, so that the lock need not be taken for that.
        mem::forget(listed);
    } else {
        drop(listed);
    }
    match outcome {
        Outcome::Woken => Ok(()),
        Outcome::TimedOut => Err(Timeout.into()),
        Outcome::Interrupted(interrupt) => Err(interrupt.into()),
    }
}

/// A plain thread that has no tasks to run waits in the system.
fn block<const N: usize>(awaited: &[Awaited<'_>; N], own: Option<Instant>) -> io::Result<()> {
    let scope = me().scopes.limit().map(|limit| limit.deadline);
    let deadline = own.into_iter().chain(scope).min();
    let entries = awaited
        .each_ref()
        .map(|one| (one.fd, Poll::from(one.interests)));
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(clock::now()));
        match poll_any(entries, left) {
            Ok(true) => return Ok(()),
            Ok(false) if deadline.is_some_and(|deadline| clock::now() >= deadline) => break,
            Ok(false) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    if own.is_none_or(|own| scope.is_some_and(|scope| scope < own)) && can_raise() {
        interrupt_if_due(me());
    }
    Err(Interrupt::Timeout.into())
}

/// The nodes of a wait in the lists of its ports; taken out when this is dropped, however the wait ends.
struct Listed<'a, const M: usize>(&'a [Awaited<'a>], &'a [[Node; M]]);

impl<const M: usize> Drop for Listed<'_, M> {
    fn drop(&mut self) {
        for (one, nodes) in self.0.iter().zip(self.1) {
            one.port.delist(one.interests, nodes);
        }
    }
}

impl From<Interests> for Poll {
    fn from(interests: Interests) -> Self {
        Poll {
            readable: interests.is_readable(),
            writable: interests.is_writable(),
            priority: interests.is_priority(),
        }
    }
}

/// Between two looks of `retry_unannounced`. Short, for what it waits for is another program's next step; and growing, for a
/// program that has stopped takes none.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(16);
