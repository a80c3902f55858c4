//! When a scheduler that is dropped gives up on tasks that go on although they were cancelled.
//!
//! 1. A task *defies* if it was cancelled, has had its chance to end by that, and is there still: it neither is shielded nor
//!    waits in a destructor of a stack that unwinds. It has caught what unwound it; or it is of a build in which nothing
//!    unwinds, and waits in what cannot fail. Who waits for the tasks of a scope is as good as they are.
//! 2. A scheduler gives up when all that is left defies, and none has ended, in [`LOOKS`] looks, one [`PAUSE`] apart and
//!    more if many are ready: between two of them each worker goes round. So a machine that stands still proves nothing.
//! 3. The captain looks between task runs, and does not wait for what the other workers answer: one of them may be blocked
//!    by a task that waits for one of the captain's.

use super::worker::{Stand, Worker, QUOTA};
use std::cell::{Cell, RefCell};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

/// Between two looks at least.
pub(super) const PAUSE: Duration = Duration::from_millis(10);
const LOOKS: usize = 10;

/// What the captain keeps in mind while its scheduler is dropped.
pub(super) struct Watch {
    /// The answers to the look that is under way: those to come, and those that are there.
    answers: RefCell<Option<(Receiver<Stand>, Vec<Stand>)>>,
    next: Cell<Instant>,
    /// Task runs since the last look.
    runs: Cell<u32>,
    /// How many tasks had ended at the last look.
    ended: Cell<usize>,
    /// How many looks were in vain since one has ended.
    vain: Cell<usize>,
}

impl Watch {
    pub(super) fn new() -> Self {
        Watch {
            answers: RefCell::new(None),
            next: Cell::new(Instant::now() + PAUSE),
            runs: Cell::new(0),
            ended: Cell::new(0),
            vain: Cell::new(0),
        }
    }

    /// Whether to give up; to be asked after each task run, and before the captain sleeps.
    pub(super) fn sees_defiance(&self, captain: &Worker) -> bool {
        self.runs.set(self.runs.get() + 1);
        let has_gone_round = self.runs.get() > QUOTA || !captain.has_ready();
        if !has_gone_round || Instant::now() < self.next.get() {
            return false;
        }
        let Some(stands) = self.look(captain) else {
            return false;
        };
        self.runs.set(0);
        self.next.set(Instant::now() + PAUSE);
        self.judge(&stands)
    }

    fn judge(&self, stands: &[Stand]) -> bool {
        let ended = stands
            .iter()
            .fold(0, |sum: usize, stand| sum.wrapping_add(stand.ended));
        let news = self.ended.replace(ended) != ended;
        if news || stands.iter().any(|stand| !stand.defiant) {
            self.vain.set(0);
            return false;
        }
        self.vain.set(self.vain.get() + 1);
        let ready = stands.iter().map(|stand| stand.ready).max().unwrap_or(0);
        // Twice as many rounds as it takes to come to each.
        self.vain.get() > LOOKS + 2 * (ready / QUOTA as usize)
    }

    /// How each worker stands; `None` if one has not answered yet.
    fn look(&self, captain: &Worker) -> Option<Vec<Stand>> {
        let mut under_way = self.answers.borrow_mut();
        let (answers, stands) =
            under_way.get_or_insert_with(|| (captain.ask(Worker::stand), Vec::new()));
        loop {
            match answers.try_recv() {
                Ok(stand) => stands.push(stand),
                Err(TryRecvError::Empty) => return None,
                Err(TryRecvError::Disconnected) => break,
            }
        }
        under_way.take().map(|(_, stands)| stands)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VAIN: Stand = Stand {
        defiant: true,
        ready: 1,
        ended: 5,
    };

    /// How many looks at `stands` it takes to give up.
    fn looks(watch: &Watch, stands: &[Stand]) -> usize {
        1 + (0..10_000).take_while(|_| !watch.judge(stands)).count()
    }

    #[test]
    fn a_look_at_which_one_has_ended_or_does_not_defy_begins_the_count_anew() {
        for news in [
            Stand { ended: 6, ..VAIN },
            Stand {
                defiant: false,
                ..VAIN
            },
        ] {
            let watch = Watch::new();
            let vain = (0..LOOKS).all(|_| !watch.judge(&[VAIN, VAIN]));
            assert!(vain && !watch.judge(&[VAIN, news]));
            let again = Stand {
                defiant: true,
                ..news
            };
            assert_eq!(looks(&watch, &[VAIN, again]), LOOKS + 1);
        }
    }

    #[test]
    fn one_that_does_not_defy_is_waited_for_whatever_the_others_do() {
        let calm = Stand {
            defiant: false,
            ..VAIN
        };
        assert_eq!(looks(&Watch::new(), &[VAIN, calm]), 10_001);
    }

    #[test]
    fn many_that_are_ready_are_each_given_their_turn() {
        let (watch, many) = (Watch::new(), 1000 * QUOTA as usize);
        let crowd = Stand {
            ready: many,
            ..VAIN
        };
        assert!(looks(&watch, &[crowd]) * QUOTA as usize >= many);
    }
}
