//! Descriptors and their readiness: one `mio::Poll` per worker, edge-triggered, and the waiters of each descriptor.
//!
//! A [`Port`] is the waiting-room of one descriptor. It is registered with the reactor of every worker on which
//! somebody waits for it, and each event wakes all waiters of its direction, wherever they are; they try their
//! system call again.
//!
//! 1. No edge is lost between a failed call and the wait. A caller reads the direction's *tick* before its call; an
//!    event advances the tick; [`Port::enlist`] refuses a waiter whose tick is old, and the caller tries again.
//!    Events of the time before the registration come with the registration.
//! 2. The rooms live in an immortal slab. A token carries the room's generation, so an event for a descriptor that
//!    was closed meanwhile finds nobody.
//! 3. A descriptor is taken out of its reactors before it is closed: a copy of it elsewhere would keep delivering.
//! 4. The lock of a room is held for a few instructions, never over a suspension or a system call that waits: others spin meanwhile.
//! 5. A future has no node: of each direction there is one waker, of who polled last, as in the crate `async-io`. An event takes it; and so
//!    does the next one to poll, by whom it is woken, so that nobody is forgotten. Wakers are woken, and dropped, with nothing locked.
//! 6. Where a descriptor was registered last is known without the lock. It is an address that is compared and never looked at; a weak reference to
//!    it is among the others for as long as it is there, so no other reactor comes to have that address.

use super::alarm::Alarm;
use super::header::Header;
use super::home::Bell;
use super::job::drop_quietly;
use super::post::Post;
use super::waiter::{Node, WaitList};
use crate::base::lock::{Lock, Locked};
use crate::base::slab::Slab;
use crate::sys::mem::{prefetch, LINE};
use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Events, Poll, Registry, Token, Waker};
use std::cell::RefCell;
use std::fmt;
use std::io;
use std::iter;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task;
use std::time::{Duration, Instant};

/// Which way data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    Read,
    Write,
    /// Data that overtakes the rest.
    Priority,
}

/// The directions there are.
const DIRECTIONS: [Interest; 3] = [Interest::Read, Interest::Write, Interest::Priority];

/// What to wait for on a descriptor, or what it is ready for: one or more of the constants, joined by `|`.
///
/// ```
/// use multitask::io::Interest;
///
/// let both = Interest::READABLE | Interest::WRITABLE;
/// assert!(both.is_readable() && both.is_writable() && !both.is_priority());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Interests(u8);

impl Interests {
    /// There is something to read, or the end of it, or an error.
    pub const READABLE: Interests = Interests(1 << Interest::Read as u8);
    /// There is room to write, or an error.
    pub const WRITABLE: Interests = Interests(1 << Interest::Write as u8);
    /// There is priority data, or what else this kind of descriptor calls exceptional: `POLLPRI` of `poll(2)`. Linux only.
    pub const PRIORITY: Interests = Interests(1 << Interest::Priority as u8);

    /// Whether `READABLE` is in it.
    pub fn is_readable(self) -> bool {
        self.has(Interest::Read)
    }

    /// Whether `WRITABLE` is in it.
    pub fn is_writable(self) -> bool {
        self.has(Interest::Write)
    }

    /// Whether `PRIORITY` is in it.
    pub fn is_priority(self) -> bool {
        self.has(Interest::Priority)
    }

    #[inline]
    fn has(self, interest: Interest) -> bool {
        self.0 & Interests::from(interest).0 != 0
    }

    /// Whether it is one direction.
    #[inline]
    pub(crate) fn is_single(self) -> bool {
        self.0.is_power_of_two()
    }

    #[inline]
    fn each(self) -> impl Iterator<Item = Interest> {
        DIRECTIONS
            .into_iter()
            .filter(move |&interest| self.has(interest))
    }
}

impl From<Interest> for Interests {
    #[inline]
    fn from(interest: Interest) -> Self {
        Interests(1 << interest as u8)
    }
}

impl std::ops::BitOr for Interests {
    type Output = Interests;
    fn bitor(self, other: Interests) -> Interests {
        Interests(self.0 | other.0)
    }
}

impl fmt::Debug for Interests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.each().map(|interest| match interest {
            Interest::Read => "READABLE",
            Interest::Write => "WRITABLE",
            Interest::Priority => "PRIORITY",
        });
        f.write_str(&names.collect::<Vec<_>>().join(" | "))
    }
}

// ---- the reactor ----

/// See the head of this file.
pub(crate) struct Reactor {
    poll: RefCell<Poll>,
    events: RefCell<Events>,
    /// The rooms of these events, which are being fetched meanwhile.
    rooms: RefCell<Vec<Option<&'static Room>>>,
    registrar: Arc<Registrar>,
    alarm: Alarm,
}

/// The part of a reactor that a port keeps, to take its descriptor out from any thread.
pub(super) struct Registrar {
    registry: Registry,
    /// Descriptors that are registered.
    count: AtomicUsize,
}

/// How long a poll may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    None,
    Until(Instant),
    Forever,
}

impl Patience {
    pub(crate) fn at_most(self, limit: Instant) -> Self {
        match self {
            Patience::None => self,
            Patience::Until(until) => Patience::Until(until.min(limit)),
            Patience::Forever => Patience::Until(limit),
        }
    }
}

/// Events taken from the system at once: no more than tasks run before the next poll, so that what is fetched to wake them is still in
/// the processor's caches when the last of them runs.
pub(super) const BATCH: usize = 64;
/// For how many events ahead the stack is fetched of who waits; of twice as many his header.
const AHEAD: usize = 4;
const BELL: Token = Token(usize::MAX);
/// The lower of the two; a descriptor's is below it.
const ALARM: Token = Token(usize::MAX - 1);

impl Reactor {
    /// # Errors
    /// The process is out of descriptors.
    pub(crate) fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let registry = poll.registry().try_clone()?;
        let alarm = Alarm::new()?;
        if let Some(fd) = alarm.descriptor() {
            registry.register(
                &mut SourceFd(&fd.as_raw_fd()),
                ALARM,
                mio::Interest::READABLE,
            )?;
        }
        Ok(Reactor {
            poll: RefCell::new(poll),
            events: RefCell::new(Events::with_capacity(BATCH)),
            rooms: RefCell::new(Vec::with_capacity(BATCH)),
            registrar: Arc::new(Registrar {
                registry,
                count: AtomicUsize::new(0),
            }),
            alarm,
        })
    }

    /// What ends a poll from any thread. There is one per reactor.
    pub(crate) fn bell(&self) -> io::Result<Bell> {
        let waker = Waker::new(&self.registrar.registry, BELL)?;
        // It fails when the pipe or counter behind it is full, and then the poll ends anyway.
        Ok(Box::new(move || drop(waker.wake())))
    }

    /// Whether any descriptor is registered.
    pub(crate) fn is_idle(&self) -> bool {
        self.registrar.count.load(Ordering::Relaxed) == 0
    }

    #[cfg_attr(not(feature = "futures-io"), allow(dead_code))]
    pub(super) fn registrar(&self) -> &Arc<Registrar> {
        &self.registrar
    }

    /// Waits for events for as long as `patience` allows, and wakes those who waited for them.
    pub(crate) fn poll(&self, patience: Patience) {
        let timeout = match patience {
            Patience::None => Some(Duration::ZERO),
            Patience::Until(deadline) => self.alarm.set(deadline),
            Patience::Forever => None,
        };
        let mut events = self.events.borrow_mut();
        if let Err(error) = self.poll.borrow_mut().poll(&mut events, timeout) {
            // A signal: the loop looks round and comes back.
            assert_eq!(
                error.kind(),
                io::ErrorKind::Interrupted,
                "polling failed: {error}"
            );
            return;
        }
        let mut rooms = self.rooms.borrow_mut();
        rooms.clear();
        rooms.extend(events.iter().map(|event| Room::foresee(event.token())));
        let ahead = |by: usize| rooms.get(by).copied().flatten();
        for (at, event) in events.iter().enumerate() {
            if let Some(room) = ahead(at + 2 * AHEAD) {
                room.foresee_waiter();
            }
            if let Some(room) = ahead(at + AHEAD) {
                room.foresee_stack();
            }
            match rooms[at] {
                Some(room) => room.deliver(event),
                None if event.token() == ALARM => self.alarm.has_rung(),
                None => {}
            }
        }
    }
}

// ---- ports and their rooms ----

/// The waiting-room of one descriptor; see the head of this file.
pub(crate) struct Port(&'static Room);

#[derive(Default)]
#[repr(C, align(64))]
struct Room {
    // The first line is all that a task touches which waits to read: when it does, its room is out of the caches again.
    /// By 6.
    latest: AtomicPtr<Registrar>,
    /// Who waited last, and alone: probably whom the next event wakes. Not more than a hint.
    waiter: AtomicPtr<Header>,
    ticks: [AtomicU32; DIRECTIONS.len()],
    /// An event told of more than bytes: the end of them, an error, or data that overtakes.
    past_bytes: AtomicBool,
    state: Lock<State, STREAK>,
}

#[derive(Default)]
#[repr(C)]
struct State {
    waiting: [WaitList; DIRECTIONS.len()],
    generation: u32,
    /// Its place in the slab.
    index: u32,
    /// A reactor in which the descriptor is registered, if there is any.
    registrar: Weak<Registrar>,
    /// What most rooms never need.
    more: Option<Box<More>>,
}

#[derive(Default)]
struct More {
    /// Other reactors in which it is registered.
    registrars: Vec<Weak<Registrar>>,
    /// Those of futures, by 5.
    wakers: Wakers,
}

#[cfg(all(target_pointer_width = "64", not(loom)))]
const _: () = {
    use std::mem::{offset_of, size_of};
    assert!(size_of::<Room>() == 2 * LINE);
    assert!(offset_of!(Room, state) + size_of::<Lock<()>>() + size_of::<WaitList>() <= LINE);
};

type Wakers = [Option<Asleep>; DIRECTIONS.len()];

#[cfg_attr(not(feature = "futures-io"), allow(dead_code))]
/// A future that waits.
pub(super) struct Asleep {
    waker: task::Waker,
    /// Where somebody polls for it, if that is not its own worker.
    _post: Option<Post>,
}

/// A room is its worker's own after some thirty requests, for as long as the connection lasts, as a rule. It is so before it is sure to pay, for
/// few connections are asked a thousand things; if another worker has the next connection there it costs a barrier, four times at the most.
const STREAK: u16 = 64;

static ROOMS: Slab<Room> = Slab::new();

/// How many rooms are not to be had.
#[cfg(multitask_faults)]
pub(crate) fn rooms_in_use() -> usize {
    ROOMS.in_use()
}

impl Port {
    pub(crate) fn new() -> Self {
        let index = ROOMS.alloc();
        let room = ROOMS.get(index);
        room.lock().index = index;
        Port(room)
    }

    /// To be read before the system call whose failure leads to a wait. That of several directions is the sum of theirs:
    /// each only grows, so any event changes it.
    pub(crate) fn tick(&self, interests: Interests) -> u32 {
        let ticks = &self.0.ticks;
        interests
            .each()
            .map(|interest| ticks[interest as usize].load(Ordering::Acquire))
            .fold(0, u32::wrapping_add)
    }

    /// Whether an event told of more than bytes to read, once: the end of them, an error, or data that overtakes the rest. To be
    /// asked after the tick was read, of whose events it then tells.
    pub(crate) fn is_past_bytes(&self) -> bool {
        self.0.past_bytes.load(Ordering::Relaxed)
    }

    /// Makes `reactor` watch the descriptor, if it does not yet.
    ///
    /// # Errors
    /// The descriptor cannot be watched (`EPERM`: a regular file), or there is no memory for it.
    pub(crate) fn register(&self, fd: BorrowedFd<'_>, reactor: &Reactor) -> io::Result<()> {
        self.register_with(fd, &reactor.registrar)
    }

    #[inline]
    fn register_with(&self, fd: BorrowedFd<'_>, here: &Arc<Registrar>) -> io::Result<()> {
        if ptr::eq(self.0.latest.load(Ordering::Acquire), Arc::as_ptr(here)) {
            return Ok(());
        }
        self.register_elsewhere(fd, here)
    }

    /// As `register_with`, if it was not the last to register it.
    #[cold]
    #[inline(never)]
    fn register_elsewhere(&self, fd: BorrowedFd<'_>, here: &Arc<Registrar>) -> io::Result<()> {
        let mut state = self.0.lock();
        let this = Arc::as_ptr(here);
        let set_latest = || self.0.latest.store(this.cast_mut(), Ordering::Release);
        if state
            .registrars()
            .any(|known| ptr::eq(known.as_ptr(), this))
        {
            set_latest();
            return Ok(());
        }
        let token = token(state.index, state.generation);
        here.registry
            .register(&mut SourceFd(&fd.as_raw_fd()), token, watched())?;
        here.count.fetch_add(1, Ordering::Relaxed);
        // Before the others are looked through: the one that it was may go.
        set_latest();
        state.add_registrar(Arc::downgrade(here));
        Ok(())
    }

    /// Adds a waiter in each direction, one node for each; false if an event came after `tick` was read.
    ///
    /// # Safety
    /// `nodes` stay where they are until `delist` was called with them; or, if it is a single one, until it was woken.
    #[inline]
    pub(crate) unsafe fn enlist(&self, interests: Interests, tick: u32, nodes: &[Node]) -> bool {
        debug_assert!(nodes.len() >= interests.each().count());
        // SAFETY: the caller's promise.
        unsafe {
            if interests.is_single() {
                self.enlist_one(interests, tick, &nodes[0])
            } else {
                self.enlist_all(interests, tick, nodes)
            }
        }
    }

    /// # Safety
    /// As for `enlist`.
    #[inline(never)]
    unsafe fn enlist_all(&self, interests: Interests, tick: u32, nodes: &[Node]) -> bool {
        let state = self.0.lock();
        let current = self.tick(interests) == tick;
        if current {
            for (interest, node) in interests.each().zip(nodes) {
                // SAFETY: the lock is held, and the caller calls `delist`.
                unsafe { state.waiting[interest as usize].push(node) };
            }
        }
        current
    }

    /// In a single direction.
    ///
    /// # Safety
    /// As for `enlist`.
    #[inline]
    unsafe fn enlist_one(&self, interest: Interests, tick: u32, node: &Node) -> bool {
        let direction = interest.0.trailing_zeros() as usize;
        let waiter = ptr::from_ref(node.waiter().header()).cast_mut();
        let state = self.0.lock();
        let current = self.0.ticks[direction].load(Ordering::Acquire) == tick;
        if current {
            self.0.waiter.store(waiter, Ordering::Relaxed);
            // SAFETY: the lock is held, and the caller calls `delist`.
            unsafe { state.waiting[direction].push(node) };
        }
        current
    }

    /// Takes the waiter out where it is still in.
    pub(crate) fn delist(&self, interests: Interests, nodes: &[Node]) {
        let state = self.0.lock();
        for (interest, node) in interests.each().zip(nodes) {
            // SAFETY: the lock is held; a node is used with one port and one direction.
            unsafe { state.waiting[interest as usize].remove(node) }
        }
    }

    #[cfg_attr(not(feature = "futures-io"), allow(dead_code))]
    /// Has `waker` woken by the next event of that direction, in place of the one before; false if there was one after `tick` was
    /// read. `by` is a reactor that is polled until then, with a `post` if by the lookout.
    ///
    /// # Errors
    /// Those of `register`.
    pub(super) fn call(
        &self,
        fd: BorrowedFd<'_>,
        (interest, tick): (Interest, u32),
        waker: task::Waker,
        (by, post): (&Arc<Registrar>, Option<Post>),
    ) -> io::Result<bool> {
        self.register_with(fd, by)?;
        let asleep = Asleep { waker, _post: post };
        let mut state = self.0.lock();
        if self.tick(interest.into()) != tick {
            drop(state);
            return Ok(false);
        }
        let place = &mut state.more().wakers[interest as usize];
        let same = |before: &Asleep| before.waker.will_wake(&asleep.waker);
        let is_other = !place.as_ref().is_some_and(same);
        let before = place.replace(asleep);
        drop(state);
        if let Some(before) = before.filter(|_| is_other) {
            before.wake();
        }
        Ok(true)
    }

    /// Takes the descriptor out of all reactors; late events find nobody.
    pub(crate) fn close(self, fd: BorrowedFd<'_>) {
        let room = self.0;
        let mut state = room.lock();
        room.latest.store(ptr::null_mut(), Ordering::Relaxed);
        state.generation = state.generation.wrapping_add(1);
        room.past_bytes.store(false, Ordering::Relaxed);
        for registrar in state.registrars().filter_map(Weak::upgrade) {
            // It fails if somebody closed the descriptor behind our back: then it is out already.
            drop(
                registrar
                    .registry
                    .deregister(&mut SourceFd(&fd.as_raw_fd())),
            );
            registrar.count.fetch_sub(1, Ordering::Relaxed);
        }
        state.registrar = Weak::new();
        let (more, index) = (state.more.take(), state.index);
        drop(state);
        // With the wakers, whose code is not ours.
        drop(more);
        ROOMS.free(index);
    }
}

impl Room {
    #[inline]
    fn lock(&self) -> Locked<'_, State, STREAK> {
        self.state.lock()
    }

    /// The room of a descriptor's events, which is being fetched.
    fn foresee(token: Token) -> Option<&'static Room> {
        let room = (token < ALARM).then(|| ROOMS.get(parts(token).0))?;
        prefetch(room);
        prefetch(ptr::from_ref(room).wrapping_byte_add(LINE));
        Some(room)
    }

    /// Has the header of who waits in it fetched.
    fn foresee_waiter(&self) {
        let waiter = self.waiter.load(Ordering::Relaxed);
        prefetch(waiter);
        prefetch(waiter.wrapping_byte_add(LINE));
    }

    /// Has what he will touch of his stack fetched.
    fn foresee_stack(&self) {
        // SAFETY: null, or a header, which is one for ever.
        if let Some(waiter) = unsafe { self.waiter.load(Ordering::Relaxed).as_ref() } {
            waiter.foresee();
        }
    }

    fn deliver(&self, event: &Event) {
        let (_, generation) = parts(event.token());
        let mut state = self.lock();
        if state.generation & GENERATIONS != generation {
            return;
        }
        let mut ready = Interests(0);
        // An error ends both kinds of wait: the next call reports it. The end of the stream is readable.
        let failed = event.is_error();
        if failed || event.is_read_closed() || event.is_priority() {
            // Seen by whoever sees the tick that is advanced below.
            self.past_bytes.store(true, Ordering::Relaxed);
        }
        if failed || event.is_readable() || event.is_read_closed() {
            ready = ready | Interest::Read.into();
        }
        if failed || event.is_writable() || event.is_write_closed() {
            ready = ready | Interest::Write.into();
        }
        // `poll(2)` lets an error and a hang-up end a wait for this as well.
        if failed || event.is_priority() || event.is_read_closed() || event.is_write_closed() {
            ready = ready | Interest::Priority.into();
        }
        ready
            .each()
            .for_each(|interest| self.signal(interest, &state));
        // Most rooms have never seen a future.
        let asleep = state
            .more
            .as_mut()
            .map(|more| take(&mut more.wakers, ready));
        drop(state);
        if let Some(asleep) = asleep {
            asleep.into_iter().flatten().for_each(Asleep::wake);
        }
    }

    fn signal(&self, interest: Interest, state: &State) {
        // Release: a call made after the new tick was read sees what the event announced.
        // Only who has the lock changes it.
        let tick = &self.ticks[interest as usize];
        tick.store(
            tick.load(Ordering::Relaxed).wrapping_add(1),
            Ordering::Release,
        );
        // SAFETY: the state is locked.
        unsafe { state.waiting[interest as usize].wake_all() }
    }
}

impl State {
    fn registrars(&self) -> impl Iterator<Item = &Weak<Registrar>> {
        let others = self.more.iter().flat_map(|more| &more.registrars);
        iter::once(&self.registrar).chain(others)
    }

    fn add_registrar(&mut self, registrar: Weak<Registrar>) {
        if self.registrar.strong_count() == 0 {
            self.registrar = registrar;
        } else {
            let others = &mut self.more().registrars;
            others.retain(|known| known.strong_count() > 0);
            others.push(registrar);
        }
    }

    fn more(&mut self) -> &mut More {
        self.more.get_or_insert_with(Box::default)
    }
}

/// Takes out the wakers of these directions.
fn take(wakers: &mut Wakers, ready: Interests) -> Wakers {
    let mut taken = Wakers::default();
    for interest in ready.each() {
        taken[interest as usize] = wakers[interest as usize].take();
    }
    taken
}

impl Asleep {
    fn wake(self) {
        drop_quietly(|| self.waker.wake());
    }
}

/// A place in a list for each direction that is waited for, and no more than there are of these.
pub(crate) type Nodes = [Node; DIRECTIONS.len()];

/// All directions: a descriptor is registered once, whoever waits for it in which.
fn watched() -> mio::Interest {
    let both = mio::Interest::READABLE | mio::Interest::WRITABLE;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let both = both | mio::Interest::PRIORITY;
    both
}

/// Bits of a token for the room's index; the rest is for the generation.
const INDEX_BITS: u32 = if usize::BITS == 64 { 32 } else { 20 };
/// The generation is kept to this many bits. One bit less than there is room for: the two tokens of the reactor
/// itself have all high bits set.
const GENERATIONS: u32 = ((1u64 << (usize::BITS - INDEX_BITS - 1)) - 1) as u32;

fn token(index: u32, generation: u32) -> Token {
    let index = index as usize;
    assert!(
        index >> INDEX_BITS == 0,
        "fewer descriptors than a token can number"
    );
    Token(index | ((generation & GENERATIONS) as usize) << INDEX_BITS)
}

fn parts(token: Token) -> (u32, u32) {
    let index = token.0 & ((1 << INDEX_BITS) - 1);
    (index as u32, (token.0 >> INDEX_BITS) as u32)
}
