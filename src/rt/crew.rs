//! What a scheduler, its workers and its handles have in common.
//!
//! 1. A scheduler has one or more workers, each with a home. The first is the *captain*: the thread that made the
//!    scheduler. The others are *mates*, threads of the library's own, which begin when the captain first runs the
//!    loop.
//! 2. The homes are recycled when the scheduler, its workers and all its handles are gone: nobody can send to them any
//!    more but those who hold a task of theirs, and there is none. If tasks had to be abandoned the homes are never
//!    recycled: a late waker must not reach another worker.
//! 3. What is sent to a scheduler that is closed is thrown away by whoever comes last: a sender pushes and then
//!    looks whether it is closed; closing is announced first, and the inboxes emptied then.
//! 4. A task is counted as spawned before anybody can run it, and as ended when it has. Both counts only grow. So if the
//!    sum of what ended, read first, is the sum of what was spawned, read then, there was a moment in between at
//!    which no task was left (the argument is Mattern's, of counting messages).

use super::header::Header;
use super::home::{Home, Message};
use crate::base::shared::{fence, AtomicBool, AtomicUsize, Ordering};
use crate::error::JoinError;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// See the head of this file.
pub(crate) struct Crew {
    /// The captain's is the first.
    homes: Box<[&'static Home<Header>]>,
    name: Option<Box<str>>,
    /// Tasks that were spawned by none of the workers.
    sent: AtomicUsize,
    /// Draws whom the next of these goes to.
    turn: AtomicUsize,
    /// The captain is in its loop.
    manned: AtomicBool,
    /// The mates may begin.
    begun: AtomicBool,
    /// The mates are to end when they have no task.
    over: AtomicBool,
    /// Tasks from elsewhere are not let in any more.
    refuses: AtomicBool,
    /// How many mates have ended.
    gone: AtomicUsize,
    /// Nobody takes messages any more.
    closed: AtomicBool,
    /// Tasks were left that somebody may still try to wake.
    haunted: AtomicBool,
    /// Whom to tell when no more tasks are left than so many; and whether there is somebody.
    watchers: Mutex<Vec<(usize, Told)>>,
    watched: AtomicBool,
}

type Told = Box<dyn FnOnce() + Send>;

/// So many tasks from elsewhere go to one worker before it is the next one's turn: they come in batches, and a batch
/// rings once.
const STRETCH: usize = 64;

impl Crew {
    /// For the captain's thread, before the mates go on.
    pub(super) fn new(homes: Vec<&'static Home<Header>>, name: Option<Box<str>>) -> Self {
        if let [captain, mates @ ..] = &*homes {
            if !mates.is_empty() {
                captain.enlist(None);
            }
            mates.iter().for_each(|home| home.enlist(Some(captain)));
        }
        Crew {
            homes: homes.into(),
            name,
            sent: AtomicUsize::new(0),
            turn: AtomicUsize::new(0),
            manned: AtomicBool::new(false),
            begun: AtomicBool::new(false),
            over: AtomicBool::new(false),
            refuses: AtomicBool::new(false),
            gone: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            haunted: AtomicBool::new(false),
            watchers: Mutex::new(Vec::new()),
            watched: AtomicBool::new(false),
        }
    }

    pub(super) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    #[inline]
    pub(crate) fn homes(&self) -> &[&'static Home<Header>] {
        &self.homes
    }

    pub(crate) fn captain(&self) -> &'static Home<Header> {
        self.homes[0]
    }

    /// All but the captain's.
    pub(super) fn mates(&self) -> &[&'static Home<Header>] {
        &self.homes[1..]
    }

    // ---- tasks ----

    /// How many tasks there are: at most as many as this says, and none if it says so; see 4.
    #[inline]
    pub(super) fn live(&self) -> usize {
        let sum = |count: fn(&Home<Header>) -> usize| {
            let counts = self.homes.iter().map(|home| count(home));
            counts.fold(0, usize::wrapping_add)
        };
        let ended = sum(Home::ended);
        sum(Home::spawned)
            .wrapping_add(self.sent.load(Ordering::Acquire))
            .wrapping_sub(ended)
    }

    /// How many there were.
    pub(super) fn spawned(&self) -> usize {
        let counts = self.homes.iter().map(|home| home.spawned());
        counts.fold(self.sent.load(Ordering::Acquire), usize::wrapping_add)
    }

    pub(crate) fn is_at_most(&self, tasks: usize) -> bool {
        self.live() <= tasks
    }

    /// Calls `told` when no more tasks are left than so many; at once if that is so.
    pub(crate) fn when_at_most(&self, tasks: usize, told: Told) {
        self.watchers().push((tasks, told));
        self.watched.store(true, Ordering::Relaxed);
        // The last one may end here: its worker sees that it is watched, or we see that it has ended.
        fence(Ordering::SeqCst);
        self.tell_watchers();
    }

    /// For a worker that has nothing to do, after a fence that follows the end of its last task.
    pub(super) fn tell_watchers(&self) {
        if !self.watched.load(Ordering::Relaxed) {
            return;
        }
        let live = self.live();
        let mut watchers = self.watchers();
        let (due, left) = watchers.drain(..).partition(|(tasks, _)| live <= *tasks);
        *watchers = left;
        self.watched.store(!watchers.is_empty(), Ordering::Relaxed);
        drop(watchers);
        let due: Vec<(usize, Told)> = due;
        due.into_iter().for_each(|(_, told)| told());
    }

    fn watchers(&self) -> MutexGuard<'_, Vec<(usize, Told)>> {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a new task from a thread that is none of the workers: to `home`, or to whoever's turn it is.
    pub(crate) fn send_task(&self, task: &'static Header, to: Option<&'static Home<Header>>) {
        if self.refuses.load(Ordering::Relaxed) {
            return task.refuse(JoinError::Cancelled);
        }
        self.sent.fetch_add(1, Ordering::Relaxed);
        match to {
            Some(home) => self.send(home, Message::Spawn(task)),
            None => {
                let home = self.draw();
                task.set_off_for(home);
                self.send(home, Message::Offer(task));
            }
        }
    }

    /// Whose turn it is to get a task from elsewhere.
    fn draw(&self) -> &'static Home<Header> {
        if self.homes.len() == 1 {
            return self.captain();
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) / STRETCH;
        // While the captain does something else, what it is sent lies there.
        let waits = !self.is_manned() && self.begun.load(Ordering::Relaxed);
        let takers = if waits { self.mates() } else { &self.homes };
        takers[turn % takers.len()]
    }

    // ---- messages ----

    pub(crate) fn send(&self, to: &'static Home<Header>, message: Message<Header>) {
        to.send(message);
        // The scheduler may close here: it empties the inbox then, or we do.
        if self.closed.load(Ordering::SeqCst) {
            throw_away(to);
        }
    }

    // ---- how far it is ----

    /// The captain goes into its loop, or out of it; says where it was.
    pub(super) fn man(&self, manned: bool) -> bool {
        self.manned.swap(manned, Ordering::Relaxed)
    }

    /// Lets the mates begin; for the captain.
    #[inline]
    pub(super) fn begin(&self) {
        if self.homes.len() > 1 && !self.begun.load(Ordering::Relaxed) {
            self.begun.store(true, Ordering::Release);
            self.nudge_mates();
        }
    }

    pub(super) fn is_manned(&self) -> bool {
        self.manned.load(Ordering::Relaxed)
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }

    /// Lets the mates end when they have no task; for the captain.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Release);
        self.nudge_mates();
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// A mate has ended.
    pub(super) fn leave(&self) {
        self.gone.fetch_add(1, Ordering::Release);
        self.captain().nudge();
    }

    pub(super) fn have_mates_left(&self) -> bool {
        self.gone.load(Ordering::Acquire) == self.mates().len()
    }

    /// Lets no task in any more that comes from elsewhere.
    pub(super) fn refuse_others(&self) {
        self.refuses.store(true, Ordering::Relaxed);
    }

    fn nudge_mates(&self) {
        for home in self.mates() {
            home.nudge();
        }
    }

    /// Tasks were abandoned.
    pub(super) fn haunt(&self) {
        self.haunted.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_haunted(&self) -> bool {
        self.haunted.load(Ordering::Relaxed)
    }

    /// Nobody takes messages any more.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.homes.iter().for_each(|home| throw_away(home));
    }
}

/// Empties the inbox of a scheduler that is closed.
fn throw_away(home: &Home<Header>) {
    while let Some(message) = home.inbox().pop() {
        match message {
            // Its task was abandoned, or belongs to the past.
            Message::Wake(_) | Message::Shutdown(_) => {}
            // Who waits for it sees that it was dropped.
            Message::Ask(_) => {}
            Message::Spawn(task) | Message::Offer(task) => task.refuse(JoinError::Cancelled),
            Message::Cancel(task) => task.release(),
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        if !self.is_haunted() {
            for home in &self.homes {
                throw_away(home);
                home.recycle();
            }
        }
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;

    impl Crew {
        /// One whose mates have begun, and whose homes do not go back to where others come from.
        pub(crate) fn of_model(homes: Vec<&'static Home<Header>>) -> Self {
            let crew = Crew::new(homes, None);
            crew.sent.make();
            crew.turn.make();
            crew.manned.make();
            crew.over.make();
            crew.closed.make();
            crew.refuses.make();
            crew.gone.make();
            crew.watched.make();
            crew.begun.store(true, Ordering::Release);
            crew.haunt();
            crew
        }
    }
}
