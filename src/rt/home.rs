//! The part of a worker that its tasks and other threads know: where to put a task that is to run.
//!
//! 1. Homes are immortal and recycled: a `&'static Home` is always valid memory.
//! 2. All but `send` and `nudge` belongs to the *home thread*, the one that runs the worker; another thread takes
//!    over when the home is recycled, after the last sender has gone.

use crate::base::inbox::Inbox;
use crate::base::ring::Ring;
use crate::base::shared::{Mutex, MutexGuard};
use std::cell::{Cell, UnsafeCell};
use std::panic::RefUnwindSafe;
use std::sync::PoisonError;

/// See the head of this file. `T` is the task's header.
pub(crate) struct Home<T: 'static> {
    inbox: Inbox<Message<T>>,
    bell: Mutex<Option<Bell>>,
    /// Tasks that are ready, first in first out.
    ring: UnsafeCell<Ring<&'static T>>,
    /// Tasks that have been received and have not ended.
    pub(crate) live: Cell<usize>,
    /// Tasks in a wait that a descriptor ends.
    pub(crate) waiting_io: Cell<usize>,
    /// Tasks are cancelled as they are spawned.
    pub(crate) closing: Cell<bool>,
    /// Headers ready for the next tasks.
    spare: UnsafeCell<Vec<&'static T>>,
    /// Ids ready for the next tasks: the next, and the end of the batch.
    ids: Cell<(u64, u64)>,
    /// Its place in the slab.
    index: Cell<u32>,
}

/// Wakes a worker's thread out of its poll.
pub(crate) type Bell = Box<dyn Fn() + Send>;

/// What other threads send to a worker.
pub(crate) enum Message<T: 'static> {
    /// The task's waiter was won: run it.
    Wake(&'static T),
    /// A new task.
    Spawn(&'static T),
    /// Cancel the task; comes with a reference.
    Cancel(&'static T),
    /// Cancel every task, and those that come.
    Shutdown,
}

// SAFETY: by invariant 2 the cells are used by one thread at a time, and a hand-over goes through the slab's lock.
unsafe impl<T: Sync> Sync for Home<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Send for Home<T> {}

// Nothing panics while it changes a home.
impl<T: 'static> RefUnwindSafe for Home<T> {}

impl<T: 'static> Home<T> {
    /// Sends to the worker from any thread.
    pub(crate) fn send(&self, message: Message<T>) {
        if self.inbox.push(message) {
            self.ring_bell();
        }
    }

    /// Makes the worker look round, from any thread.
    pub(crate) fn nudge(&self) {
        if self.inbox.must_ring() {
            self.ring_bell();
        }
    }

    pub(crate) fn inbox(&self) -> &Inbox<Message<T>> {
        &self.inbox
    }

    /// Waits by `poll` until the bell rings; false if there is a message or `done`, and it did not wait. For the home
    /// thread.
    ///
    /// Who makes `done` true nudges afterwards.
    pub(super) fn sleep(&self, done: impl Fn() -> bool, poll: impl FnOnce()) -> bool {
        // A sender may act here: it sees that we sleep and rings, or we see its message. One that nudges as well: it
        // sees that we sleep, or we see what it has done.
        if !self.inbox.about_to_sleep() {
            return false;
        }
        let sleep = !done();
        if sleep {
            poll();
        }
        self.inbox.awake();
        sleep
    }

    #[cold]
    fn ring_bell(&self) {
        if let Some(bell) = &*self.bell() {
            bell();
        }
    }

    fn bell(&self) -> MutexGuard<'_, Option<Bell>> {
        self.bell.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn start(&self, index: u32, bell: Bell) {
        self.index.set(index);
        self.closing.set(false);
        self.live.set(0);
        self.waiting_io.set(0);
        *self.bell() = Some(bell);
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

    /// Puts a task at the end of the queue.
    ///
    /// # Safety
    /// The caller is the home thread.
    #[inline(always)]
    pub(crate) unsafe fn push(&self, task: &'static T) {
        // SAFETY: the caller is the home thread, and nothing below calls back.
        unsafe { (*self.ring.get()).push(task) }
    }

    /// Takes the task that has been ready for longest.
    ///
    /// # Safety
    /// The caller is the home thread.
    #[inline(always)]
    pub(crate) unsafe fn pop(&self) -> Option<&'static T> {
        // SAFETY: as above.
        unsafe { (*self.ring.get()).pop() }
    }

    /// The task that `pop` would take after `ahead` others.
    ///
    /// # Safety
    /// The caller is the home thread.
    #[inline(always)]
    pub(crate) unsafe fn peek(&self, ahead: usize) -> Option<&'static T> {
        // SAFETY: as above.
        unsafe { (*self.ring.get()).peek(ahead) }
    }

    /// How many tasks are ready.
    ///
    /// # Safety
    /// The caller is the home thread.
    #[inline]
    pub(crate) unsafe fn ready(&self) -> usize {
        // SAFETY: as above.
        unsafe { (*self.ring.get()).len() }
    }

    /// Calls `visit` with every task that is ready.
    ///
    /// # Safety
    /// The caller is the home thread, and `visit` neither spawns nor wakes.
    pub(crate) unsafe fn for_each_ready(&self, visit: impl FnMut(&'static T)) {
        // SAFETY: as above.
        unsafe { (*self.ring.get()).iter().for_each(visit) }
    }
}

impl<T: 'static> Default for Home<T> {
    fn default() -> Self {
        Home {
            inbox: Inbox::new(),
            bell: Mutex::new(None),
            ring: UnsafeCell::new(Ring::new()),
            live: Cell::new(0),
            waiting_io: Cell::new(0),
            closing: Cell::new(false),
            spare: UnsafeCell::new(Vec::new()),
            ids: Cell::new((0, 0)),
            index: Cell::new(u32::MAX),
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
                    home.sleep(|| false, || rings.poll());
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
            assert!(home.inbox.about_to_sleep());
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
                to.nudge();
            });
            let done = || news.load(Ordering::Acquire);
            while !done() {
                home.sleep(done, || rings.poll());
            }
            teller.join().unwrap();
        });
    }
}
