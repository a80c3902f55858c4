//! A worker's fibers that no task uses: kept warm for the next task, and given back when they are too many.
//!
//! 1. For each task of a worker there is a stack *promised*: address space, and a guard's share of the budget. So a
//!    task that was spawned can start, and the error comes out where the task is spawned.
//! 2. An idle fiber stands suspended in the worker's loop over tasks (`body`), with nothing of a task on its stack.
//! 3. Fibers that were idle for a whole interval are too many; half of them go, oldest first, until [`FLOOR`] are
//!    left. So a burst keeps its stacks for the next one, and a quiet program gives them back. They go a few at a time, so that
//!    who is woken meanwhile does not wait for a hundred thousand of them.

use super::fiber::{Fiber, Switch};
use super::stack::StackPool;
use std::collections::VecDeque;
use std::io;

/// Idle fibers of a size that are always kept.
const FLOOR: usize = 64;
/// Fibers that go at a time: some hundred microseconds.
const PIECE: usize = 64;
/// Stacks promised at a time.
const STEP: usize = 64;
/// The smallest stack that is made.
const MIN_SIZE: usize = 16 << 10;
/// The largest stack that is made.
const MAX_SIZE: usize = 1 << 30;

/// See the head of this file.
pub(super) struct Fibers {
    /// The first is the scheduler's default.
    classes: Vec<Class>,
    body: fn(Switch),
}

struct Class {
    size: u32,
    pool: StackPool,
    /// The last is the next to go.
    idle: VecDeque<Idle>,
    /// The fewest that were idle since it was judged last how many are too many, less those that have gone.
    low: usize,
    /// How many are still to go.
    surplus: usize,
    tasks: usize,
    promised: usize,
}

struct Idle {
    fiber: Fiber,
    /// Of the task that had it last: an address at the top of its stack.
    switch: Switch,
}

impl Fibers {
    pub(super) fn new(default_size: u32, body: fn(Switch)) -> Self {
        Fibers {
            classes: vec![Class::new(default_size)],
            body,
        }
    }

    /// A stack for one more task of this size (zero: the default).
    ///
    /// # Errors
    /// `OutOfMemory`.
    #[inline]
    pub(super) fn promise(&mut self, size: u32) -> io::Result<()> {
        let class = self.class(size);
        if class.tasks == class.promised {
            class.promise_more()?;
        }
        class.tasks += 1;
        Ok(())
    }

    /// The task of a promise has ended.
    #[inline]
    pub(super) fn redeem(&mut self, size: u32) {
        self.class(size).tasks -= 1;
    }

    /// As `redeem`, for several that have ended, or were promised in vain.
    pub(super) fn redeem_many(&mut self, size: u32, count: usize) {
        self.class(size).tasks -= count;
    }

    /// An idle fiber, or a new one.
    ///
    /// # Errors
    /// `OutOfMemory`: the system broke the promise.
    #[inline]
    pub(super) fn take(&mut self, size: u32) -> io::Result<Fiber> {
        let body = self.body;
        let class = self.class(size);
        match class.idle.pop_back() {
            Some(idle) => {
                class.low = class.low.min(class.idle.len());
                Ok(idle.fiber)
            }
            None => {
                class.low = 0;
                Ok(Fiber::new(class.pool.take()?, body))
            }
        }
    }

    /// Takes back a fiber that is idle.
    #[inline]
    pub(super) fn give(&mut self, size: u32, fiber: Fiber, switch: Switch) {
        self.class(size).idle.push_back(Idle { fiber, switch });
    }

    /// The way back of the fiber of the default size that will be taken after so many others.
    #[inline]
    pub(super) fn peek(&self, ahead: usize) -> Option<Switch> {
        let idle = &self.classes[0].idle;
        let index = idle.len().checked_sub(ahead + 1)?;
        Some(idle[index].switch)
    }

    /// Whether there is something for `trim` to do, now or later.
    pub(super) fn are_many(&self) -> bool {
        self.classes.iter().any(|class| class.idle.len() > FLOOR)
    }

    /// Takes out some of the fibers that are too many; whether these were the last, and it is to be judged anew after a while. The caller ends
    /// them and gives the stacks to `put`.
    pub(super) fn trim(&mut self) -> (Vec<(u32, Fiber)>, bool) {
        if self.classes.iter().all(|class| class.surplus == 0) {
            self.classes.iter_mut().for_each(Class::judge);
        }
        let mut gone = Vec::new();
        for class in &mut self.classes {
            let size = class.size;
            let count = class.next_to_go(PIECE - gone.len());
            gone.extend(class.idle.drain(..count).map(|idle| (size, idle.fiber)));
        }
        (gone, self.classes.iter().all(|class| class.surplus == 0))
    }

    /// Takes out all.
    pub(super) fn drain(&mut self) -> Vec<(u32, Fiber)> {
        let take = |class: &mut Class| {
            let size = class.size;
            class
                .idle
                .drain(..)
                .map(move |idle| (size, idle.fiber))
                .collect::<Vec<_>>()
        };
        self.classes.iter_mut().flat_map(take).collect()
    }

    /// Takes back the stack of a fiber that has ended, and gives its memory to the system.
    pub(super) fn put(&mut self, size: u32, fiber: Fiber) {
        self.class(size).pool.put(fiber.into_slot());
    }

    /// Takes back the stack of a fiber that has ended; the pool will be dropped.
    pub(super) fn put_last(&mut self, size: u32, fiber: Fiber) {
        self.class(size).pool.put_last(fiber.into_slot());
    }

    #[inline]
    fn class(&mut self, size: u32) -> &mut Class {
        if size == 0 {
            return &mut self.classes[0];
        }
        self.other_class(size)
    }

    fn other_class(&mut self, size: u32) -> &mut Class {
        let known = self.classes.iter().position(|class| class.size == size);
        let index = known.unwrap_or_else(|| {
            self.classes.push(Class::new(size));
            self.classes.len() - 1
        });
        &mut self.classes[index]
    }
}

impl Class {
    fn new(size: u32) -> Self {
        Class {
            size,
            pool: StackPool::new(size as usize),
            idle: VecDeque::new(),
            low: 0,
            surplus: 0,
            tasks: 0,
            promised: 0,
        }
    }

    /// How many are too many.
    fn judge(&mut self) {
        self.surplus = self.spare(self.low).div_ceil(2);
        self.low = self.idle.len();
    }

    /// How many go now, `most` at the most; they do.
    fn next_to_go(&mut self, most: usize) -> usize {
        // Some may have been taken in the meantime.
        self.surplus = self.spare(self.surplus);
        let count = self.surplus.min(most);
        self.surplus -= count;
        self.low = self.low.saturating_sub(count);
        count
    }

    /// As many of `count` idle ones as are beyond the floor.
    fn spare(&self, count: usize) -> usize {
        count.min(self.idle.len().saturating_sub(FLOOR))
    }

    #[cold]
    fn promise_more(&mut self) -> io::Result<()> {
        let step = self.promised + STEP;
        let promised = match self.pool.reserve(step) {
            Ok(()) => step,
            // The last ones singly.
            Err(_) => self
                .pool
                .reserve(self.promised + 1)
                .map(|()| self.promised + 1)?,
        };
        self.promised = promised;
        Ok(())
    }
}

/// The size of stack that is made for somebody who asks for `bytes`: a power of two, so that tasks share pools.
///
/// # Errors
/// `InvalidInput`: more than 1 GiB.
pub(crate) fn rounded(bytes: usize) -> io::Result<u32> {
    if bytes > MAX_SIZE {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("a task's stack has at most {MAX_SIZE} bytes, not {bytes}"),
        ));
    }
    Ok(bytes.next_power_of_two().max(MIN_SIZE) as u32)
}

#[cfg(not(loom))]
#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u32 = MIN_SIZE as u32;

    /// As many idle fibers beyond the floor, all of which were in use and were judged so.
    fn with_idle(surplus: usize) -> Fibers {
        let mut fibers = Fibers::new(SIZE, |_| ());
        let count = FLOOR + surplus;
        (0..count).for_each(|_| fibers.promise(0).unwrap());
        let all: Vec<_> = (0..count).map(|_| fibers.take(0).unwrap()).collect();
        for fiber in all {
            fibers.give(0, fiber, Switch::none());
        }
        let (gone, is_last) = fibers.trim();
        assert!(gone.is_empty() && is_last, "none was idle all the time");
        fibers
    }

    /// How many go at a time until it is judged anew.
    fn trimmed(fibers: &mut Fibers) -> Vec<usize> {
        let mut pieces = Vec::new();
        loop {
            let (gone, is_last) = fibers.trim();
            pieces.push(gone.len());
            if is_last {
                return pieces;
            }
        }
    }

    #[test]
    fn half_of_those_that_were_not_used_go_a_few_at_a_time() {
        let mut fibers = with_idle(4 * PIECE);
        assert_eq!(trimmed(&mut fibers), [PIECE, PIECE]);
        assert_eq!(trimmed(&mut fibers), [PIECE]);
        assert_eq!(trimmed(&mut fibers), [PIECE / 2]);
    }

    #[test]
    fn those_that_have_gone_do_not_count_as_unused_again() {
        let mut fibers = with_idle(4 * PIECE);
        assert_eq!(fibers.trim().0.len(), PIECE);
        let idle = 3 * PIECE + FLOOR;
        let used: Vec<_> = (0..100).map(|_| fibers.take(0).unwrap()).collect();
        for fiber in used {
            fibers.give(0, fiber, Switch::none());
        }
        assert_eq!(trimmed(&mut fibers), [PIECE]);
        let unused = idle - 100 - PIECE;
        assert_eq!(trimmed(&mut fibers), [unused / 2]);
    }

    #[test]
    fn one_that_was_used_in_the_meantime_stays_and_so_does_the_floor() {
        let mut fibers = with_idle(4 * PIECE);
        let (gone, is_last) = fibers.trim();
        assert_eq!((gone.len(), is_last), (PIECE, false));
        let used: Vec<_> = (0..3 * PIECE + FLOOR - 1)
            .map(|_| fibers.take(0).unwrap())
            .collect();
        assert_eq!(trimmed(&mut fibers), [0], "all but one are in use");
        for fiber in used {
            fibers.give(0, fiber, Switch::none());
        }
        assert_eq!(trimmed(&mut fibers), [1], "one was idle all the time");
        assert_eq!(trimmed(&mut fibers), [PIECE, PIECE / 2]);
        for _ in 0..10 {
            trimmed(&mut fibers);
        }
        assert_eq!(trimmed(&mut fibers), [0]);
        assert_eq!(fibers.classes[0].idle.len(), FLOOR);
    }
}
