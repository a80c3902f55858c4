//! What a worker tells of its tasks: how many wait for what, which they are, where each stands; and what others ask of all workers.
//!
//! 1. It is told by the home thread, while no task of this worker runs.

use super::{with_running, Counts, Entry, Errand, Header, Message, Portrait, Waiter, Worker};
use crate::error::Deadlock;
use std::backtrace::Backtrace;
use std::fmt::Write;
use std::sync::{mpsc, Arc};

/// Bytes that a task needs on its stack to show where it stands, and a good deal more.
const POSE: usize = 4096;

impl Worker {
    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts {
            // SAFETY: this is the home thread.
            runnable: unsafe { self.home.entries() }
                .filter(|entry| match entry {
                    Entry::Ready(_) => true,
                    Entry::Free(task) => task.is_up_at(self.home),
                })
                .count(),
            ..Counts::default()
        };
        self.for_each_waiting(|task| match task.why.get() {
            why if why.is_io() => counts.io += 1,
            why if why.is_time() => counts.timers += 1,
            _ => counts.others += 1,
        });
        counts
    }

    /// What is left, for the message of a deadlock and for a scheduler that gives up on tasks.
    pub(crate) fn report(&self, headline: &str) -> String {
        let mut report = String::from(headline);
        for line in self.ask_all(Worker::left).iter().flatten() {
            let _infallible = write!(report, "\n  {line}");
        }
        report
    }

    /// The tasks that stand suspended.
    pub(crate) fn left(&self) -> Vec<Portrait> {
        let _now = self.simulation.here();
        let mut left = Vec::new();
        // SAFETY: this is the home thread, which only looks.
        unsafe {
            self.suspended
                .for_each(|task| left.push(Portrait::of(task)))
        };
        left
    }

    /// As `portraits`, when the loop does not run: what was sent comes first.
    pub(crate) fn portraits_at_rest(&self) -> Vec<Portrait> {
        let _running = self.enter();
        self.receive();
        self.portraits()
    }

    /// All its tasks: as `left`, with where each stands; and then those that have not begun. None of them runs.
    pub(crate) fn portraits(&self) -> Vec<Portrait> {
        let _running = self.enter();
        let _now = self.simulation.here();
        let mut standing = Vec::new();
        // SAFETY: this is the home thread, which only looks.
        unsafe { self.suspended.for_each(|task| standing.push(task)) };
        let mut portraits: Vec<_> = standing.iter().map(|task| Portrait::of(task)).collect();
        for (portrait, task) in portraits.iter_mut().zip(standing) {
            portrait.trace = self.trace_of(task);
        }
        self.portray_new(&mut portraits);
        portraits
    }

    fn portray_new(&self, portraits: &mut Vec<Portrait>) {
        let mut were_free = false;
        // SAFETY: this is the home thread, and what is called spawns and wakes nobody.
        for entry in unsafe { self.home.entries() } {
            match entry {
                Entry::Ready(task) if task.housed.get() => {}
                Entry::Ready(task) => portraits.push(Portrait::of(task)),
                Entry::Free(task) => {
                    were_free = true;
                    let look = |task| portraits.push(Portrait::of(task));
                    // SAFETY: as above.
                    unsafe { self.home.look_at_free(task, look) };
                }
            }
        }
        if were_free {
            self.home.interrupt_pass();
            self.share.tell();
        }
    }

    /// Where a task stands, if it is suspended and has room on its stack to show that.
    pub(super) fn trace_of(&self, task: &'static Header) -> Option<Arc<Backtrace>> {
        let stack = Portrait::stack_of(task)?;
        (stack.left() >= POSE).then(|| self.pose(task)).flatten()
    }

    /// Has a task that stands still show where.
    fn pose(&self, task: &'static Header) -> Option<Arc<Backtrace>> {
        task.ask_to_pose();
        // SAFETY: by invariant 3 of `rt/worker` it is there, and by 1 nobody uses it.
        if let Some(fiber) = unsafe { &mut *task.fiber.get() } {
            // That it may be unwinding is not seen meanwhile, nor asked: its unwindings stay set aside.
            fiber.resume();
        }
        self.posed.take().map(Arc::new)
    }

    /// Where the task that was resumed by `pose` stands.
    pub(in crate::rt) fn keep_pose(&self, trace: Backtrace) {
        self.posed.set(Some(trace));
    }

    /// What `question` answers of each worker of the scheduler; for the captain. Blocks until they have answered, which
    /// those do that have begun when they come round.
    pub(crate) fn ask_all<R: Send + 'static>(&self, question: fn(&Worker) -> R) -> Vec<R> {
        self.ask(question).into_iter().collect()
    }

    /// As `ask_all`, for who does not wait: the answers come, and then the channel is closed.
    pub(in crate::rt) fn ask<R: Send + 'static>(
        &self,
        question: fn(&Worker) -> R,
    ) -> mpsc::Receiver<R> {
        let (tell, told) = mpsc::channel();
        let _we_hold_it = tell.send(question(self));
        let begun = self.crew().has_begun();
        for home in self.crew().mates().iter().filter(|_| begun) {
            let tell = tell.clone();
            let errand: Errand = Box::new(move || {
                let answer = with_running(question).expect("a worker is on its errand");
                let _asker_waits = tell.send(answer);
            });
            home.send(Message::Ask(Box::new(errand)));
        }
        told
    }

    #[cold]
    pub(super) fn deadlock(&self) -> Deadlock {
        let count = self.live();
        let tasks = if count == 1 { "task" } else { "tasks" };
        Deadlock::new(self.report(&format!(
            "deadlock: nothing can ever wake the {count} {tasks} left:"
        )))
    }

    pub(super) fn for_each_waiting(&self, mut visit: impl FnMut(&'static Header)) {
        // SAFETY: this is the home thread; the callers only look.
        unsafe {
            self.suspended.for_each(|task| {
                if Waiter::current(task).is_some() {
                    visit(task);
                }
            });
        }
    }
}
