//! The part of a worker that its tasks and other threads know: where to put a task that is to run.
//!
//! 1. Homes are immortal and recycled: a `&'static Home` is always valid memory.
//! 2. What is in a `Cell`, and the owner's side of the ring, belongs to the *home thread*, the one that runs the worker;
//!    another thread takes over when the home is recycled, after the last sender has gone. `captain`, `shares` and
//!    `index` are set before another thread knows the home.
//! 3. The homes of one scheduler have a *captain*, the first of them. What they share beyond that is in its [`Vigil`].
//! 4. A counter that only the home thread writes is an atomic all the same, written by a load and a store, if others
//!    read it.
//! 5. Whoever ends the sleep of a worker takes it out of what it was counted in as it lay down: of those who would
//!    take work, and of those who can do nothing by themselves. So both counts are right before the worker is up.

use super::tally::Tally;
use crate::base::claims::Claims;
use crate::base::inbox::{Inbox, AWAKE};
use crate::base::ring::{hole, Ring};
use crate::base::shared::{AtomicBool, AtomicUsize, Mutex, MutexGuard, Ordering};
use std::cell::{Cell, UnsafeCell};
use std::panic::RefUnwindSafe;
use std::ptr::NonNull;
use std::sync::PoisonError;

/// Threads of the library that wait for work and wake nobody by themselves.
pub(crate) mod idle {
    use std::sync::atomic::{AtomicU64, Ordering};

    /// How many there are, in the lower half; how often one has ceased to be one in the upper half.
    static HELPERS: AtomicU64 = AtomicU64::new(0);

    const ONE: u64 = 1;
    const CEASED: u64 = 1 << 32;

    /// There is one more.
    pub(crate) fn begin() {
        // Release: who counts it sees what it has done before.
        HELPERS.fetch_add(ONE, Ordering::Release);
    }

    /// There is one less: by whoever gives it something to do, before it can begin.
    pub(crate) fn end() {
        HELPERS.fetch_add(CEASED - ONE, Ordering::Release);
    }

    /// How many there were all the while that `look` took; `None` if one of them was not.
    pub(crate) fn during<R>(look: impl FnOnce() -> R) -> Option<(usize, R)> {
        let before = HELPERS.load(Ordering::Acquire);
        let seen = look();
        let same = HELPERS.load(Ordering::Acquire) == before;
        same.then_some(((before % CEASED) as usize, seen))
    }

    /// For models: how many there are.
    #[cfg(all(test, loom))]
    pub(super) fn count() -> usize {
        (HELPERS.load(Ordering::Relaxed) % CEASED) as usize
    }

    /// For models: a schedule begins.
    #[cfg(all(test, loom))]
    pub(super) fn reset() {
        HELPERS.store(0, Ordering::Relaxed);
    }
}

/// See the head of this file. `T` is the task's header.
pub(crate) struct Home<T: 'static> {
    inbox: Inbox<Message<T>>,
    bell: Mutex<Option<Bell>>,
    /// Tasks that are ready, first in first out; those that are up for grabs are marked, see [`Entry`].
    ring: Ring<T>,
    /// Entries of the ring that are marked.
    free: AtomicUsize,
    /// Who may take those how: this worker one by one, others in raids.
    pub(super) claims: Claims,
    /// Tasks that were up for grabs here and that others took, since the worker last asked.
    pub(super) taken: AtomicUsize,
    /// Tasks spawned by this worker, and tasks that ended on it, since the scheduler was made.
    spawned: AtomicUsize,
    ended: AtomicUsize,
    /// Tasks that have been suspended here and have not ended.
    housed: AtomicUsize,
    /// Grows with each pass of the loop.
    passes: AtomicUsize,
    /// So many tasks may still be put before the others in this pass of the loop.
    jumps: Cell<u32>,
    /// Tasks in a wait that a descriptor ends.
    pub(crate) waiting_io: Cell<usize>,
    /// Tasks are cancelled as they are spawned.
    pub(crate) closing: Cell<bool>,
    /// There are other workers, which may take tasks that have not begun.
    pub(super) shares: Cell<bool>,
    /// Task runs left until the loop looks round.
    pub(super) quota: Cell<u32>,
    /// Tasks were put up for grabs, and nobody has been told for certain. Then the quota is zero, so that the loop looks
    /// round at once, and this is what it was.
    untold: Cell<Option<u32>>,
    /// The first home of the scheduler; `None` is this one.
    captain: Cell<Option<&'static Home<T>>>,
    /// Of use in the captain.
    vigil: Vigil,
    /// Headers ready for the next tasks.
    spare: UnsafeCell<Vec<&'static T>>,
    /// Ids ready for the next tasks: the next, and the end of the batch.
    ids: Cell<(u64, u64)>,
    /// Its place in the slab.
    index: Cell<u32>,
    tally: Tally,
}

/// Wakes a worker's thread out of its poll.
pub(crate) type Bell = Box<dyn Fn() + Send>;

/// What other threads send to a worker.
pub(crate) enum Message<T: 'static> {
    /// The task's waiter was won: run it.
    Wake(&'static T),
    /// A new task, for this worker.
    Spawn(&'static T),
    /// A new task, for this worker or whoever has nothing to do.
    Offer(&'static T),
    /// Cancel the task; comes with a reference.
    Cancel(&'static T),
    /// Cancel every task but this one, and those that come.
    Shutdown(Option<&'static T>),
    /// Do this.
    Ask(Box<Errand>),
}

/// Boxed again where it is sent: it is rare, and a message should be small.
pub(crate) type Errand = Box<dyn FnOnce() + Send>;

/// What is in the ring.
pub(crate) enum Entry<T: 'static> {
    /// To be run.
    Ready(&'static T),
    /// To be run if it is still to be had: another worker may have taken it, and the header may be somebody else's by now.
    Free(&'static T),
}

impl<T: 'static> Clone for Entry<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: 'static> Copy for Entry<T> {}

/// Who of a scheduler's workers looks for work. On cache lines of its own: all workers look at it, and it rarely changes.
#[repr(align(128))]
struct Vigil {
    /// Workers that would take work: those that sleep so, and the one that spins.
    hungry: AtomicUsize,
    /// One spins.
    spinning: AtomicBool,
    /// There was work for the one that spins.
    work: AtomicBool,
}

// SAFETY: by invariant 2 the cells are used by one thread at a time, and a hand-over goes through the slab's lock.
unsafe impl<T: Sync> Sync for Home<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Send for Home<T> {}

// Nothing panics while it changes a home.
impl<T: 'static> RefUnwindSafe for Home<T> {}

/// How a worker sleeps.
pub(super) mod sleep {
    /// It lies down; without this it would count as awake.
    pub(in crate::rt) const ASLEEP: u32 = 1;
    /// Nothing that it waits for by itself: it is among the [`idle`](super::idle) helpers.
    pub(in crate::rt) const IDLE: u32 = 2;
    /// It would take work: it is among the hungry.
    pub(in crate::rt) const HUNGRY: u32 = 4;
}

impl<T: 'static> Home<T> {
    /// Sends to the worker from any thread.
    pub(crate) fn send(&self, message: Message<T>) {
        self.wake_up(self.inbox.push(message));
    }

    /// Makes the worker look round, from any thread; true if it slept.
    pub(crate) fn nudge(&self) -> bool {
        self.wake_up(self.inbox.rouse())
    }

    /// For who has ended the worker's sleep, if it did sleep.
    #[inline]
    fn wake_up(&self, slept: u32) -> bool {
        let woken = slept != AWAKE;
        if woken {
            self.count_up(slept);
            self.ring_bell();
        }
        woken
    }

    /// Invariant 5.
    fn count_up(&self, slept: u32) {
        if slept & sleep::HUNGRY != 0 {
            self.vigil().hungry.fetch_sub(1, Ordering::Relaxed);
        }
        if slept & sleep::IDLE != 0 {
            idle::end();
        }
    }

    pub(crate) fn inbox(&self) -> &Inbox<Message<T>> {
        &self.inbox
    }

    /// The first home of its scheduler.
    pub(crate) fn captain(&'static self) -> &'static Home<T> {
        self.captain.get().unwrap_or(self)
    }

    fn vigil(&self) -> &Vigil {
        self.captain
            .get()
            .map_or(&self.vigil, |captain| &captain.vigil)
    }

    /// Waits by `poll` until the bell rings; false if there is a message or `done`, and it did not wait. For the home
    /// thread; `how` is made of the constants of [`sleep`].
    ///
    /// Who makes `done` true nudges afterwards.
    pub(super) fn sleep(&self, how: u32, done: impl Fn() -> bool, poll: impl FnOnce()) -> bool {
        if how & sleep::HUNGRY != 0 {
            self.vigil().hungry.fetch_add(1, Ordering::Relaxed);
        }
        if how & sleep::IDLE != 0 {
            idle::begin();
        }
        // A sender may act here: it sees that we sleep and rings, or we see its message. One that nudges as well: it
        // sees that we sleep, or we see what it has done.
        let sleep = self.inbox.about_to_sleep(how | sleep::ASLEEP) && !done();
        if sleep {
            poll();
        }
        self.count_up(self.inbox.awake());
        sleep
    }

    /// Waits by `poll` until the bell rings, and leaves messages lying, unless `done`.
    pub(super) fn doze(&self, done: impl Fn() -> bool, poll: impl FnOnce()) {
        idle::begin();
        let _messages_lie = self.inbox.about_to_sleep(sleep::IDLE | sleep::ASLEEP);
        if !done() {
            poll();
        }
        self.count_up(self.inbox.awake());
    }

    #[cold]
    fn ring_bell(&self) {
        if let Some(bell) = &*self.bell() {
            bell();
            self.tally.count_ring();
        }
    }

    fn bell(&self) -> MutexGuard<'_, Option<Bell>> {
        self.bell.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn start(&self, index: u32, bell: Bell) {
        self.index.set(index);
        self.closing.set(false);
        self.waiting_io.set(0);
        self.shares.set(false);
        self.untold.set(None);
        self.captain.set(None);
        for counter in [
            &self.taken,
            &self.spawned,
            &self.ended,
            &self.housed,
            &self.vigil.hungry,
        ] {
            counter.store(0, Ordering::Relaxed);
        }
        self.tally.reset();
        *self.bell() = Some(bell);
    }

    /// Makes it one of several homes.
    pub(super) fn enlist(&self, captain: Option<&'static Home<T>>) {
        self.captain.set(captain);
        self.shares.set(true);
    }

    pub(super) fn silence(&self) {
        *self.bell() = None;
    }

    pub(super) fn index(&self) -> u32 {
        self.index.get()
    }

    /// The next number of a batch; `more` begins a new batch of `count`.
    #[inline]
    pub(super) fn numbered(&self, more: impl FnOnce() -> u64, count: u64) -> u64 {
        let (mut next, mut end) = self.ids.get();
        if next == end {
            next = more();
            end = next + count;
        }
        self.ids.set((next + 1, end));
        next
    }

    /// # Safety
    /// The caller is the home thread and keeps the reference for no longer than the statement.
    #[allow(clippy::mut_from_ref)]
    #[inline]
    pub(super) unsafe fn spare(&self) -> &mut Vec<&'static T> {
        // SAFETY: the caller keeps it exclusive.
        unsafe { &mut *self.spare.get() }
    }

    // ---- the queue, for the home thread ----

    /// Puts a task at the end of the queue.
    ///
    /// # Safety
    /// The caller is the home thread.
    #[inline(always)]
    pub(crate) unsafe fn push(&self, task: &'static T) {
        self.ring.push(NonNull::from(task));
    }

    /// A pass of the loop begins, of so many runs, of which so many may be of tasks that were put before all others.
    #[inline]
    pub(super) fn begin_pass(&self, runs: u32, jumps: u32) {
        self.jumps.set(jumps);
        self.resume_pass(runs);
    }

    /// A pass goes on that was held up, with so many runs left.
    #[inline]
    pub(super) fn resume_pass(&self, runs: u32) {
        match self.untold.get() {
            None => self.quota.set(runs),
            Some(_) => self.untold.set(Some(runs)),
        }
    }

    /// How many may still be put before all others in this pass.
    pub(super) fn jumps_left(&self) -> u32 {
        self.jumps.get()
    }

    /// How many have been put before all others of `jumps` that might have been.
    pub(super) fn jumped(&self, jumps: u32) -> u32 {
        jumps.saturating_sub(self.jumps.get())
    }

    /// Tasks are up for grabs: ends the pass.
    #[inline]
    pub(super) fn interrupt_pass(&self) {
        if self.untold.get().is_none() {
            self.untold.set(Some(self.quota.replace(0)));
        }
    }

    /// Whether the pass was interrupted.
    #[inline(always)]
    pub(super) fn is_interrupted(&self) -> bool {
        self.untold.get().is_some()
    }

    /// Goes on with a pass that was interrupted; false if it was not.
    #[inline]
    pub(super) fn continue_pass(&self) -> bool {
        let left = self.untold.take();
        left.inspect(|&left| self.quota.set(left)).is_some()
    }

    /// Puts an entry at the end; returns where.
    ///
    /// # Safety
    /// The caller is the home thread.
    #[inline(always)]
    pub(super) unsafe fn push_entry(&self, entry: Entry<T>) -> u32 {
        if let Entry::Free(_) = entry {
            add(&self.free, 1);
        }
        self.ring.push(entry.pack()) as u32
    }

    /// What is up for grabs at `position` is this worker's from now on; false if it is not there.
    ///
    /// # Safety
    /// The caller is the home thread, and has taken the task.
    #[inline]
    pub(super) unsafe fn settle_entry(&self, position: u32, task: &'static T) -> bool {
        let (old, new) = (Entry::Free(task).pack(), Entry::Ready(task).pack());
        let settled = self.ring.replace(position, old, new);
        if settled {
            add(&self.free, usize::MAX);
        }
        settled
    }

    /// Brings a task at `position`, and what comes after it, before all others, unless they are too many or that was done too
    /// often in this pass; then returns the position of a hole behind them. For who waits for the task: what comes
    /// after it is most likely of the same origin.
    ///
    /// # Safety
    /// The caller is the home thread.
    #[inline]
    pub(super) unsafe fn bring_forward(&self, position: u32, task: &'static T) -> Option<u32> {
        let entry = Entry::Ready(task).pack();
        self.ring
            .hole_behind(position, entry)
            .or_else(|| self.bring_entry_forward(position, entry))
    }

    #[inline(never)]
    fn bring_entry_forward(&self, position: u32, entry: NonNull<T>) -> Option<u32> {
        // Not there: it was sent here and is on its way, or it was moved with others before.
        if !self.ring.replace(position, entry, entry) {
            return None;
        }
        let jumps = self.jumps.get();
        let (count, hole) = self.ring.bring_forward(position, jumps as usize)?;
        self.jumps.set(jumps - count as u32);
        if self.free() > 0 {
            // Who looked on meanwhile may have missed what was moved, and sleep now.
            self.interrupt_pass();
        }
        Some(hole)
    }

    /// Brings the last `count` of the queue before all others.
    ///
    /// # Safety
    /// The caller is the home thread. None of them is up for grabs.
    pub(super) unsafe fn bring_last_forward(&self, count: usize) {
        self.ring.bring_last_forward(count);
    }

    /// Puts a task into a hole at `position`, or at the end if there is none.
    ///
    /// # Safety
    /// The caller is the home thread.
    #[inline]
    pub(super) unsafe fn push_into(&self, position: u32, task: &'static T) {
        let task = NonNull::from(task);
        if !self.ring.replace(position, hole(), task) {
            self.ring.push(task);
        }
    }

    /// Takes the entry that has been there for longest.
    ///
    /// # Safety
    /// The caller is the home thread.
    #[inline(always)]
    pub(super) unsafe fn pop(&self) -> Option<Entry<T>> {
        loop {
            let entry = self.ring.pop()?;
            if is_plain(entry) {
                return Some(Entry::unpack(entry));
            }
            if entry != hole() {
                add(&self.free, usize::MAX);
                return Some(Entry::unpack(entry));
            }
        }
    }

    /// Takes a task that is not up for grabs, if nothing else is there.
    ///
    /// # Safety
    /// The caller is the home thread.
    #[inline(always)]
    pub(super) unsafe fn pop_only(&self, task: &'static T) -> bool {
        self.ring.pop_only(Entry::Ready(task).pack())
    }

    /// The task that is ready, if that is one alone, and not up for grabs.
    ///
    /// # Safety
    /// The caller is the home thread.
    #[inline(always)]
    pub(super) unsafe fn only(&self) -> Option<&'static T> {
        let only = self.ring.only().filter(|&entry| is_plain(entry))?;
        match Entry::unpack(only) {
            Entry::Ready(task) => Some(task),
            Entry::Free(_) => None,
        }
    }

    /// Takes the task that is ready alone, and puts `task` into the queue.
    ///
    /// # Safety
    /// The caller is the home thread; [`only`](Home::only) has said that there is such a task.
    #[inline(always)]
    pub(super) unsafe fn replace_only(&self, task: &'static T) {
        self.ring.replace_first(NonNull::from(task));
    }

    /// Takes a task that is not up for grabs, if it has been there for longest.
    ///
    /// # Safety
    /// The caller is the home thread.
    #[inline(always)]
    pub(super) unsafe fn pop_first(&self, task: &'static T) -> bool {
        self.ring.pop_first(Entry::Ready(task).pack())
    }

    /// Exchanges the entry that has been there for longest with the one after `ahead` others.
    ///
    /// # Safety
    /// The caller is the home thread.
    #[inline(always)]
    pub(super) unsafe fn exchange_first(&self, ahead: usize) {
        self.ring.exchange_first(ahead);
    }

    /// The entry that `pop` would take after so many others; `None` also if there is a hole.
    ///
    /// # Safety
    /// The caller is the home thread.
    #[inline(always)]
    pub(super) unsafe fn peek(&self, ahead: usize) -> Option<Entry<T>> {
        let entry = self.ring.peek(ahead)?;
        (entry != hole()).then(|| Entry::unpack(entry))
    }

    /// Where the next one would be put.
    pub(super) fn queue_end(&self) -> usize {
        self.ring.end()
    }

    /// Whether all have been taken that were in the queue when its end was there.
    pub(super) fn is_past(&self, end: usize) -> bool {
        self.ring.is_past(end)
    }

    /// How many tasks are ready.
    ///
    /// # Safety
    /// The caller is the home thread.
    #[inline]
    pub(crate) unsafe fn ready(&self) -> usize {
        self.ring.len()
    }

    /// All entries, first to last.
    ///
    /// # Safety
    /// The caller is the home thread, and neither spawns nor wakes meanwhile.
    pub(super) unsafe fn entries(&self) -> impl Iterator<Item = Entry<T>> + '_ {
        let entries = self.ring.iter().filter(|entry| *entry != hole());
        entries.map(Entry::unpack)
    }

    // ---- counters ----

    /// Counts a task that the worker spawns.
    #[inline]
    pub(super) fn count_spawned(&self) {
        add(&self.spawned, 1);
    }

    /// Counts a task that has ended on the worker.
    #[inline]
    pub(super) fn count_ended(&self) {
        add(&self.ended, 1);
    }

    /// Counts a task that was suspended for the first time, by one, or one such that has ended.
    #[inline]
    pub(super) fn count_housed(&self, by: isize) {
        add(&self.housed, by.cast_unsigned());
    }

    pub(super) fn count_pass(&self) {
        add(&self.passes, 1);
    }

    // ---- for anybody ----

    pub(super) fn spawned(&self) -> usize {
        self.spawned.load(Ordering::Acquire)
    }

    pub(super) fn ended(&self) -> usize {
        self.ended.load(Ordering::Acquire)
    }

    /// How many tasks stand suspended there, as far as can be seen from here.
    pub(super) fn housed(&self) -> usize {
        self.housed.load(Ordering::Relaxed)
    }

    /// What else is counted.
    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// A number that changes while the loop goes round.
    pub(super) fn passes(&self) -> usize {
        self.passes.load(Ordering::Relaxed)
    }

    pub(super) fn is_asleep(&self) -> bool {
        self.inbox.is_asleep()
    }

    /// How many tasks are up for grabs, at the most.
    pub(super) fn free(&self) -> usize {
        self.free.load(Ordering::Relaxed)
    }

    /// Calls `visit` with tasks that may be up for grabs, last first, while that says so; looks at `limit` entries.
    pub(super) fn look_for_free(&self, limit: usize, mut visit: impl FnMut(&'static T) -> bool) {
        self.ring
            .look_on(limit, |entry| match entry == hole() || is_plain(entry) {
                true => true,
                false => match Entry::unpack(entry) {
                    Entry::Free(task) => visit(task),
                    Entry::Ready(_) => true,
                },
            });
    }

    // ---- the vigil ----

    /// Whether a worker of the scheduler would take work.
    #[inline]
    pub(super) fn is_anybody_hungry(&self) -> bool {
        self.vigil().hungry.load(Ordering::Relaxed) > 0
    }

    /// Tells the worker that spins, if one does, that there is work.
    pub(super) fn tell_who_spins(&self) -> bool {
        let vigil = self.vigil();
        let spins = vigil.spinning.load(Ordering::Relaxed);
        if spins && !vigil.work.load(Ordering::Relaxed) {
            vigil.work.store(true, Ordering::Relaxed);
        }
        spins
    }

    /// Makes this worker the one that spins until what is returned is dropped; `None` if there is one.
    pub(super) fn spin(&self) -> Option<Spinning<'_>> {
        let vigil = self.vigil();
        let (acquire, relaxed) = (Ordering::Acquire, Ordering::Relaxed);
        vigil
            .spinning
            .compare_exchange(false, true, acquire, relaxed)
            .ok()?;
        vigil.work.store(false, relaxed);
        vigil.hungry.fetch_add(1, relaxed);
        Some(Spinning(vigil))
    }
}

/// A worker spins.
pub(super) struct Spinning<'a>(&'a Vigil);

impl Spinning<'_> {
    /// Whether somebody has said so since.
    pub(super) fn is_there_work(&self) -> bool {
        self.0.work.load(Ordering::Relaxed)
    }
}

impl Drop for Spinning<'_> {
    fn drop(&mut self) {
        self.0.hungry.fetch_sub(1, Ordering::Relaxed);
        self.0.spinning.store(false, Ordering::Release);
    }
}

/// Invariant 4.
#[inline(always)]
fn add(counter: &AtomicUsize, by: usize) {
    // Release: who sees that a task was counted as ended sees what it did.
    counter.store(
        counter.load(Ordering::Relaxed).wrapping_add(by),
        Ordering::Release,
    );
}

impl<T: 'static> Entry<T> {
    /// The pointer, with its lowest bit set if the task is free.
    #[inline(always)]
    fn pack(self) -> NonNull<T> {
        const { assert!(align_of::<T>() > 1) };
        match self {
            Entry::Ready(task) => NonNull::from(task),
            Entry::Free(task) => NonNull::from(task).map_addr(|address| address | 1),
        }
    }

    #[inline(always)]
    fn unpack(packed: NonNull<T>) -> Self {
        debug_assert_ne!(packed, hole());
        let task = packed.as_ptr().map_addr(|address| address & !1);
        // SAFETY: `pack` made it of a reference that is valid for ever.
        let task = unsafe { &*task };
        if is_plain(packed) {
            Entry::Ready(task)
        } else {
            Entry::Free(task)
        }
    }
}

/// Whether it is neither a task that is up for grabs nor a hole.
#[inline(always)]
fn is_plain<T>(packed: NonNull<T>) -> bool {
    packed.addr().get() & 1 == 0
}

impl<T: 'static> Default for Home<T> {
    fn default() -> Self {
        Home {
            inbox: Inbox::new(),
            bell: Mutex::new(None),
            ring: Ring::new(),
            free: AtomicUsize::new(0),
            claims: Claims::new(),
            taken: AtomicUsize::new(0),
            spawned: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
            housed: AtomicUsize::new(0),
            passes: AtomicUsize::new(0),
            jumps: Cell::new(0),
            waiting_io: Cell::new(0),
            closing: Cell::new(false),
            shares: Cell::new(false),
            quota: Cell::new(0),
            untold: Cell::new(None),
            captain: Cell::new(None),
            vigil: Vigil {
                hungry: AtomicUsize::new(0),
                spinning: AtomicBool::new(false),
                work: AtomicBool::new(false),
            },
            spare: UnsafeCell::new(Vec::new()),
            ids: Cell::new((0, 0)),
            index: Cell::new(u32::MAX),
            tally: Tally::default(),
        }
    }
}

#[cfg(all(test, loom))]
pub(super) mod models {
    use super::*;
    use crate::base::shared::{explore, AtomicBool, Ordering};
    use loom::sync::Notify;
    use loom::thread;
    use std::sync::atomic::AtomicUsize;
    use std::sync::Arc;

    /// What a bell of the models does, and how its owner polls.
    #[derive(Default)]
    pub(crate) struct Rings {
        /// One ring is kept for the next poll.
        notify: Notify,
        count: AtomicUsize,
    }

    impl Rings {
        pub(crate) fn poll(&self) {
            self.notify.wait();
        }

        fn ring(&self) {
            self.count.fetch_add(1, Ordering::Relaxed);
            self.notify.notify();
        }
    }

    impl<T: Sync> Home<T> {
        /// A home whose owner polls what is returned as well.
        pub(crate) fn of_model() -> (Self, Arc<Rings>) {
            let home = Home::default();
            home.inbox.make();
            home.ring.make();
            home.free.make();
            home.claims.make();
            home.passes.make();
            home.vigil.spinning.make();
            home.vigil.work.make();
            let rings = Arc::new(Rings::default());
            let bell = rings.clone();
            home.start(0, Box::new(move || bell.ring()));
            (home, rings)
        }
    }

    fn senders(home: &Arc<Home<u32>>, messages: usize) -> [thread::JoinHandle<()>; 2] {
        [(); 2].map(|()| {
            let home = home.clone();
            thread::spawn(move || (0..messages).for_each(|_| home.send(Message::Wake(&0))))
        })
    }

    #[test]
    fn no_message_is_left_lying_while_the_owner_sleeps() {
        explore(3, || {
            let (home, rings) = Home::of_model();
            let home = Arc::new(home);
            let senders = senders(&home, 1);
            for _ in 0..2 {
                while home.inbox.pop().is_none() {
                    home.sleep(0, || false, || rings.poll());
                }
            }
            senders
                .into_iter()
                .for_each(|sender| sender.join().unwrap());
        });
    }

    #[test]
    fn a_sleeping_owner_is_rung_once_whoever_sends_and_how_much() {
        explore(3, || {
            let (home, rings) = Home::of_model();
            let home = Arc::new(home);
            assert!(home.inbox.about_to_sleep(sleep::ASLEEP));
            senders(&home, 2)
                .into_iter()
                .for_each(|sender| sender.join().unwrap());
            assert_eq!(rings.count.load(Ordering::Relaxed), 1);
            assert_eq!(std::iter::from_fn(|| home.inbox.pop()).count(), 4);
        });
    }

    #[test]
    fn an_owner_that_waits_for_news_told_elsewhere_does_not_sleep_through_it() {
        explore(3, || {
            let (home, rings) = Home::<u32>::of_model();
            let news = AtomicBool::new(false);
            news.make();
            let (home, news) = (Arc::new(home), Arc::new(news));
            let (to, told) = (home.clone(), news.clone());
            let teller = thread::spawn(move || {
                told.store(true, Ordering::Release);
                let _slept = to.nudge();
            });
            let done = || news.load(Ordering::Acquire);
            while !done() {
                home.sleep(0, done, || rings.poll());
            }
            teller.join().unwrap();
        });
    }

    /// All ways to sleep.
    const HOW: u32 = sleep::HUNGRY | sleep::IDLE;

    fn counts(home: &Home<u32>) -> (usize, usize) {
        // What a read-modify-write finds is what is there.
        let hungry = home.vigil.hungry.fetch_add(0, Ordering::Relaxed);
        (hungry, idle::count())
    }

    #[test]
    fn who_rings_a_sleeper_has_taken_it_out_of_both_counts_before() {
        explore(3, || {
            idle::reset();
            let (home, rings) = Home::<u32>::of_model();
            let home = Arc::new(home);
            let to = home.clone();
            let news = Arc::new(AtomicBool::new(false));
            news.make();
            let told = news.clone();
            let ringer = thread::spawn(move || {
                told.store(true, Ordering::Release);
                to.nudge();
            });
            let rung = || rings.count.load(Ordering::Relaxed) > 0;
            let poll = || {
                while !rung() {
                    rings.poll();
                }
                assert_eq!(counts(&home), (0, 0));
            };
            home.sleep(HOW, || news.load(Ordering::Acquire), poll);
            ringer.join().unwrap();
        });
    }

    #[test]
    fn whoever_ends_a_sleep_its_owner_is_taken_out_of_both_counts_once() {
        explore(3, || {
            idle::reset();
            let (home, _rings) = Home::<u32>::of_model();
            let home = Arc::new(home);
            let ringers = [(); 2].map(|()| {
                let home = home.clone();
                thread::spawn(move || home.nudge())
            });
            // It ends by itself at any moment.
            for _ in 0..2 {
                home.sleep(HOW, || false, thread::yield_now);
            }
            for ringer in ringers {
                let _slept = ringer.join().unwrap();
            }
            assert_eq!(counts(&home), (0, 0));
        });
    }
}
